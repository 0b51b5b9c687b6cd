//! Messages that came through an SNS topic.
//!
//! A subscription with raw delivery hands the body over as it is. Without it the
//! body is a JSON document with the message inside.

use serde::Deserialize;
use std::sync::Arc;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Notification {
    r#type: String,
    message: String,
}

/// The body of a queue message without what SNS put around it. Whatever is no
/// notification stays as it is.
pub(super) fn unwrapped(body: String) -> Arc<str> {
    // An envelope is Base64, which never begins like this.
    if body.starts_with('{')
        && let Ok(notification) = serde_json::from_str::<Notification>(&body)
        && notification.r#type == "Notification"
    {
        return notification.message.into();
    }
    body.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_notifications_are_unwrapped() {
        let wrapped = r#"{"Type": "Notification", "MessageId": "1", "Message": "CgE=",
            "TopicArn": "arn:aws:sns:eu-central-1:123456789012:jobs", "Subject": null,
            "MessageAttributes": {"qb-version": {"Type": "String", "Value": "1"}}}"#;
        assert_eq!(&*unwrapped(wrapped.to_owned()), "CgE=");
        for body in ["CgE=", "", "{}", "{", r#"{"Type": "Notification"}"#, r#"{"Message": "x"}"#] {
            assert_eq!(&*unwrapped(body.to_owned()), body);
        }
    }
}
