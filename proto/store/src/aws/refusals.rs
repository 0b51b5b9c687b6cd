//! What SQS and SNS mean by a refusal.

/// The code of a batch whose messages are too large together.
const BATCH_TOO_LONG: [&str; 2] = ["BatchRequestTooLong", "BatchRequestTooLongException"];
/// Codes under which a message is too large, among many other mistakes.
const INVALID: [&str; 4] = [
    "InvalidParameterValue",
    "InvalidParameterValueException",
    "InvalidParameter",
    "InvalidParameterException",
];

/// Whether a queue or topic has refused a message, or a batch, for its bytes. For a single
/// message there is no code of its own, only a text.
#[must_use]
pub fn is_too_large(code: &str, message: Option<&str>) -> bool {
    // The query protocol of old puts a namespace before some codes.
    let code = code.strip_prefix("AWS.SimpleQueueService.").unwrap_or(code);
    let about_size = |text: &str| {
        let text = text.to_ascii_lowercase();
        text.contains("message too long")
            || text.contains("bytes") && text.contains("must be shorter than")
    };
    BATCH_TOO_LONG.contains(&code) || INVALID.contains(&code) && message.is_some_and(about_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_refusals_of_the_size_are_about_the_size() {
        let shorter = "One or more parameters are invalid. Reason: Message must be shorter than 262144 bytes.";
        let delay =
            "Value 901 for parameter DelaySeconds is invalid. Reason: must be >= 0 and <= 900";
        for (code, message, expected) in [
            ("InvalidParameterValue", Some(shorter), true),
            ("InvalidParameter", Some("Invalid parameter: Message too long"), true),
            ("BatchRequestTooLong", None, true),
            ("AWS.SimpleQueueService.BatchRequestTooLong", Some("any"), true),
            ("InvalidParameterValue", Some(delay), false),
            ("InvalidParameterValue", None, false),
            ("AccessDenied", Some(shorter), false),
        ] {
            assert_eq!(is_too_large(code, message), expected, "{code} {message:?}");
        }
    }
}
