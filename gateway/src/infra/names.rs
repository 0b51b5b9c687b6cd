//! The names of AWS, taken apart and put together.

use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::fmt::Write as _;

/// Whose a queue or topic is, and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) region: String,
    pub(super) account: String,
    pub(super) name: String,
}

/// A queue by its URL.
pub(super) fn queue(url: &str) -> Option<Place> {
    let (host, path) = url.strip_prefix("https://sqs.")?.split_once('/')?;
    let (region, domain) = host.split_once('.')?;
    let (account, name) = path.split_once('/')?;
    let right = domain.starts_with("amazonaws.com") && is_account(account) && is_name(name, 80);
    right.then(|| Place { region: region.into(), account: account.into(), name: name.into() })
}

/// A topic by its ARN.
pub(super) fn topic(arn: &str) -> Option<Place> {
    let parts: Vec<&str> = arn.split(':').collect();
    let [_, _, "sns", region, account, name] = parts.as_slice() else { return None };
    (is_account(account) && is_name(name, 256)).then(|| Place {
        region: (*region).into(),
        account: (*account).into(),
        name: (*name).into(),
    })
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|c| c.is_ascii_digit())
}

/// Whether queues and topics may be called so.
pub(super) fn is_name(text: &str, longest: usize) -> bool {
    let stem = text.strip_suffix(".fifo").unwrap_or(text);
    let legal = |c: u8| c.is_ascii_alphanumeric() || c == b'_' || c == b'-';
    !stem.is_empty() && text.len() <= longest && stem.bytes().all(legal)
}

/// The name with something at its end, before `.fifo`.
pub(super) fn with_suffix(name: &str, suffix: &str) -> String {
    match name.strip_suffix(".fifo") {
        Some(stem) => format!("{stem}-{suffix}.fifo"),
        None => format!("{name}-{suffix}"),
    }
}

/// The name, if it is too long with a hash in place of its end.
pub(super) fn fit(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    let mut short = name[..longest - 9].to_owned();
    short.push('-');
    for byte in &Sha256::digest(name)[..4] {
        let _ = write!(short, "{byte:02x}");
    }
    short
}

/// Ids of resources in templates: letters and digits.
#[derive(Debug, Default)]
pub(super) struct Ids(HashSet<String>);

impl Ids {
    /// Those that are taken already.
    pub(super) fn without(taken: &[&str]) -> Self {
        Self(taken.iter().map(|id| (*id).to_owned()).collect())
    }

    /// An id for a name: its words, without what all names begin with.
    pub(super) fn take(&mut self, name: &str, beginning: &str) -> String {
        let beginning = format!("{beginning}-");
        let rest = name.strip_prefix(&beginning).unwrap_or(name);
        let mut id = String::new();
        for word in rest.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
        {
            let (first, rest) = word.split_at(1);
            id.extend([&first.to_ascii_uppercase(), rest]);
        }
        let mut unique = id.clone();
        let mut number = 2;
        while !self.0.insert(unique.clone()) {
            unique = format!("{id}{number}");
            number += 1;
        }
        unique
    }
}

/// The ARN of a resource of this account and region, for `!Sub`.
pub(super) fn arn(service: &str, name: &str) -> String {
    format!("arn:${{AWS::Partition}}:{service}:${{AWS::Region}}:${{AWS::AccountId}}:{name}")
}

/// The URL of a queue of this account and region, for `!Sub`.
pub(super) fn queue_url(name: &str) -> String {
    format!("https://sqs.${{AWS::Region}}.${{AWS::URLSuffix}}/${{AWS::AccountId}}/{name}")
}

/// A text in a template; its parts between `${` and `}`, if any, CloudFormation fills in.
pub(super) fn sub(text: &str) -> String {
    let function = if text.contains("${") { "!Sub " } else { "" };
    format!("{function}\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_found_and_nonsense_is_not() {
        let place = queue("https://sqs.eu-central-1.amazonaws.com/111122223333/a-b.fifo").unwrap();
        assert_eq!((place.region.as_str(), place.name.as_str()), ("eu-central-1", "a-b.fifo"));
        assert_eq!(topic("arn:aws:sns:eu-west-1:111122223333:t").unwrap().account, "111122223333");
        for bad in [
            "http://127.0.0.1:4566/000000000000/a",
            "https://sqs.eu-central-1.amazonaws.com/1111/a",
            "https://sqs.eu-central-1.amazonaws.com/111122223333/a b",
            "https://sqs.eu-central-1.example.com/111122223333/a",
        ] {
            assert_eq!(queue(bad), None, "{bad}");
        }
        assert_eq!(topic("arn:aws:sqs:eu-west-1:111122223333:t"), None);
    }

    #[test]
    fn ids_are_unique_and_short() {
        let mut ids = Ids::without(&["Parking"]);
        assert_eq!(ids.take("shop-orders.fifo", "shop"), "OrdersFifo");
        assert_eq!(ids.take("shop-orders-fifo", "shop"), "OrdersFifo2");
        assert_eq!(ids.take("parking", "shop"), "Parking2");
        assert_eq!(with_suffix("a.fifo", "dead"), "a-dead.fifo");
        let long = "x".repeat(80);
        assert_eq!(fit(&long, 64).len(), 64);
        assert_ne!(fit(&long, 64), fit(&"x".repeat(81), 64));
    }
}
