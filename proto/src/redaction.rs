//! What is never logged.
//!
//! Our own lines carry ids, methods, sizes and reasons: no byte of a request or an answer,
//! no value of metadata, no token and no secret. Libraries below us know no such rule.

/// Libraries that show headers or bodies in lines below `info`.
const TALKATIVE: [&str; 13] = [
    "aws_config",
    "aws_runtime",
    "aws_sdk_",
    "aws_sigv4",
    "aws_smithy_",
    "connectrpc",
    "h2",
    "hyper",
    "lambda_runtime",
    "rustls",
    "tokio_rustls",
    "tonic",
    "tower",
];

/// Whether lines of this target are left out below `info`, whatever a filter says: they
/// come from a library that may show what it carries.
#[must_use]
pub fn is_talkative(target: &str) -> bool {
    let name = target.split("::").next().unwrap_or_default();
    TALKATIVE.iter().any(|library| match library.strip_suffix('_') {
        Some(_) => name.starts_with(library),
        // `hyper` stands for `hyper_util` as well.
        None => {
            name.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_known_by_their_name_and_nobody_else_is() {
        for library in ["h2::codec::framed_read", "hyper", "hyper_util::client", "aws_sdk_s3::op"] {
            assert!(is_talkative(library), "{library}");
        }
        for other in ["queuebridge_worker::job", "h2o::tap", "my_hyper", "towering", ""] {
            assert!(!is_talkative(other), "{other}");
        }
    }
}
