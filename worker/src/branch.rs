//! Which branch a worker is, of jobs that go to several.

use crate::delivery::Delivery;
use crate::job::NoJob;
use queuebridge_proto::v1::{Addressee, Call};
use std::collections::HashMap;
use std::str::FromStr;
use std::sync::Arc;

/// What a worker knows about its branch. It is needed where a topic copies one message
/// to several queues; a message that was sent to one branch alone says so itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Branch {
    /// None.
    #[default]
    Unknown,
    /// All its deliveries are of this branch.
    Named(Arc<str>),
    /// A delivery is of the branch that belongs to the name of its queue.
    ByQueue(Arc<HashMap<String, String>>),
}

/// The text names no branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected the name of a branch, or `queue=name` pairs with commas between them")]
pub struct NotABranch;

impl FromStr for Branch {
    type Err = NotABranch;

    fn from_str(text: &str) -> Result<Self, NotABranch> {
        if !text.contains(['=', ',']) {
            return if text.is_empty() { Err(NotABranch) } else { Ok(Self::Named(text.into())) };
        }
        let pair = |text: &str| match text.trim().split_once('=') {
            Some((queue, name)) if !queue.is_empty() && !name.is_empty() => {
                Ok((queue.to_owned(), name.to_owned()))
            }
            _ => Err(NotABranch),
        };
        let pairs: Result<_, _> = text.split(',').map(pair).collect();
        Ok(Self::ByQueue(Arc::new(pairs?)))
    }
}

impl Branch {
    /// The branch of a delivery.
    fn of(&self, delivery: &Delivery) -> Option<&str> {
        match self {
            Self::Unknown => None,
            Self::Named(name) => Some(name),
            Self::ByQueue(names) => {
                // The last part of a URL or an ARN.
                let queue = delivery.source.rsplit(['/', ':']).next()?;
                names.get(queue).map(String::as_str)
            }
        }
    }

    /// Makes the call of a message for several branches the call of this one. Whether
    /// others have received the same message.
    pub(crate) fn take_place(&self, call: &mut Call, delivery: &Delivery) -> Result<bool, NoJob> {
        let Some(membership) = &mut call.membership else { return Ok(false) };
        if membership.addressees.is_empty() {
            return Ok(false);
        }
        let name = self.of(delivery).ok_or(NoJob::NoBranch)?;
        let all = std::mem::take(&mut membership.addressees);
        let mine = (0..).zip(all).find(|(_, addressee)| addressee.branch == name);
        let (index, Addressee { branch, job_id, method }) = mine.ok_or(NoJob::NotAddressed)?;
        (membership.index, membership.branch) = (index, branch);
        call.job_id = job_id;
        if !method.is_empty() {
            call.method = method;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::v1::Membership;

    fn call(branches: &[&str]) -> Call {
        let addressee = |name: &&str| Addressee {
            branch: (*name).into(),
            job_id: format!("id-{name}"),
            method: if *name == "b" { "/a.B/D".into() } else { String::new() },
        };
        Call {
            job_id: "gather".into(),
            method: "/a.B/C".into(),
            membership: Some(Box::new(Membership {
                addressees: branches.iter().map(addressee).collect(),
                ..Membership::default()
            })),
            ..Call::default()
        }
    }

    #[test]
    fn each_branch_takes_its_own_place() {
        for (name, index, method) in [("a", 0, "/a.B/C"), ("b", 1, "/a.B/D")] {
            let mut call = call(&["a", "b"]);
            let branch: Branch = name.parse().unwrap();
            assert!(branch.take_place(&mut call, &Delivery::new("")).unwrap());
            let membership = call.membership.unwrap();
            assert_eq!((membership.index, membership.branch.as_str()), (index, name));
            assert_eq!((call.job_id, call.method.as_str()), (format!("id-{name}"), method));
            assert!(membership.addressees.is_empty());
        }
    }

    #[test]
    fn a_queue_leads_to_its_branch() {
        let branch: Branch = "one-dead=a, two-dead=b".parse().unwrap();
        for (source, index) in [("arn:aws:sqs:r:1:one-dead", 0), ("https://sqs/1/two-dead", 1)] {
            let mut call = call(&["a", "b"]);
            let delivery = Delivery { source: source.into(), ..Delivery::new("") };
            branch.take_place(&mut call, &delivery).unwrap();
            assert_eq!(call.membership.unwrap().index, index);
        }
    }

    #[test]
    fn what_is_for_others_and_what_nobody_can_place() {
        let delivery = Delivery::new("");
        let named: Branch = "c".parse().unwrap();
        let other = named.take_place(&mut call(&["a", "b"]), &delivery);
        assert!(matches!(other, Err(NoJob::NotAddressed)));
        let nobody = Branch::Unknown.take_place(&mut call(&["a"]), &delivery);
        assert!(matches!(nobody, Err(NoJob::NoBranch)));
        let single = Branch::Unknown.take_place(&mut Call::default(), &delivery);
        assert!(matches!(single, Ok(false)));
    }

    #[test]
    fn nonsense_names_no_branch() {
        for text in ["", "a,b", "=a", "q=", "q=a,"] {
            assert_eq!(text.parse::<Branch>(), Err(NotABranch), "{text}");
        }
    }
}
