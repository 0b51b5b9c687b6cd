//! The URLs of queues.

use http::Uri;

/// Reads the URL of a queue. SQS takes nothing else, and says no more of an ARN or a name
/// than that it is an invalid address.
pub(super) fn queue_url<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    name: &str,
    errors: &mut Vec<String>,
) -> Option<String> {
    let text = get(name)?;
    let uri: Option<Uri> = text.parse().ok();
    let web = uri.as_ref().and_then(Uri::scheme_str).is_some_and(|s| matches!(s, "http" | "https"));
    let host = uri.as_ref().and_then(Uri::host).is_some_and(|host| !host.is_empty());
    if web && host {
        return Some(text.to_owned());
    }
    let parts: Vec<&str> = text.split(':').collect();
    let (found, command) = match parts.as_slice() {
        ["arn", _, "sqs", region, account, queue] => (
            "the ARN of one".to_owned(),
            format!(
                "--queue-name {queue} --queue-owner-aws-account-id {account} --region {region}"
            ),
        ),
        _ => (format!("`{text}`"), "--queue-name NAME".to_owned()),
    };
    errors.push(format!(
        "{name}: expected the URL of a queue, such as \
         https://sqs.eu-west-1.amazonaws.com/123456789012/jobs, found {found}; \
         `aws sqs get-queue-url {command}` says it"
    ));
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<String>, String> {
        let mut errors = Vec::new();
        let read = queue_url(&|_| Some(text), "QB_QUEUE_URL", &mut errors);
        errors.pop().map_or(Ok(read), Err)
    }

    #[test]
    fn urls_of_clouds_and_emulators_are_taken() {
        for url in [
            "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs.fifo",
            "https://sqs.cn-north-1.amazonaws.com.cn/123456789012/jobs",
            "https://vpce-1.sqs.eu-west-1.vpce.amazonaws.com/123456789012/jobs",
            "http://localhost:9324/000000000000/jobs",
            "http://[::1]:4566/queue/jobs",
        ] {
            assert_eq!(read(url), Ok(Some(url.to_owned())));
        }
    }

    #[test]
    fn an_arn_is_refused_with_the_command_that_tells_the_url() {
        let error = read("arn:aws:sqs:eu-west-1:123456789012:jobs.fifo").unwrap_err();
        let command = "aws sqs get-queue-url --queue-name jobs.fifo \
            --queue-owner-aws-account-id 123456789012 --region eu-west-1`";
        assert!(error.starts_with("QB_QUEUE_URL: expected the URL of a queue"), "{error}");
        assert!(error.contains("found the ARN") && error.contains(command), "{error}");
        for other in ["jobs", "sqs://jobs", "https://", "/123456789012/jobs", "arn:aws:sns:a:1:t"] {
            let error = read(other).unwrap_err();
            assert!(error.contains(other) && error.contains("get-queue-url"), "{error}");
        }
    }
}
