//! Metadata for the gateway (`qb-…`) on calls that go to an upstream: none of it leaves, and
//! what only a queue can do is refused.

use crate::typed::controls::MODE;
use http::{HeaderMap, HeaderName, HeaderValue};
use queuebridge_proto::error;
use tonic::Status;

const PREFIX: &str = "qb-";
/// The mode of every call that goes to an upstream.
const SYNC: &str = "sync";

/// Whether a header speaks to the gateway, and not to the service behind it.
pub(super) fn is_control(name: &HeaderName) -> bool {
    name.as_str().starts_with(PREFIX)
}

/// What a call asks of the gateway that no upstream can do: the first such header.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Asked(HeaderName);

impl Asked {
    /// What `headers` ask for. A `qb-mode` of `sync` is what a call of an upstream is.
    pub(crate) fn find(headers: &HeaderMap) -> Option<Self> {
        let is_sync = |name: &HeaderName, value: &HeaderValue| name == MODE && value == SYNC;
        let mut asked =
            headers.iter().filter(|(name, value)| is_control(name) && !is_sync(name, value));
        asked.next().map(|(name, _)| Self(name.clone()))
    }

    /// The refusal on a route whose calls go to an upstream, with or without a queue
    /// beside it.
    pub(crate) fn refusal(&self, has_queue: bool) -> Status {
        let rule = if self.0 == MODE {
            "calls of this method go to an upstream, which has the mode sync only"
        } else {
            "calls of this method go to an upstream, and only queues heed it"
        };
        let way_out = if has_queue { "; Jobs.Submit sends a call through the queue" } else { "" };
        error::invalid_field(self.0.as_str(), format!("{rule}{way_out}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::StatusExt;

    fn find(name: &'static str, value: &'static str) -> Option<Asked> {
        let mut headers = HeaderMap::new();
        headers.insert("x-other", HeaderValue::from_static("qb-mode"));
        headers.insert(name, HeaderValue::from_static(value));
        Asked::find(&headers)
    }

    #[test]
    fn only_the_mode_sync_is_for_an_upstream_as_well() {
        assert_eq!(find("qb-mode", "sync"), None);
        assert_eq!(find("x-mode", "async"), None);
        for (name, value) in [
            ("qb-mode", "async"),
            ("qb-mode", "auto"),
            ("qb-mode", "never"),
            ("qb-request-id", "r"),
            ("qb-ordering-key", "k"),
            ("qb-made-up-bin", "AA"),
        ] {
            for has_queue in [false, true] {
                let status = find(name, value).unwrap().refusal(has_queue);
                let info = status.get_error_details().error_info().unwrap().clone();
                assert_eq!(status.code(), tonic::Code::InvalidArgument);
                assert_eq!(
                    (info.reason.as_str(), &info.metadata["field"][..]),
                    ("INVALID_FIELD", name)
                );
                assert_eq!(status.message().contains("Jobs.Submit"), has_queue);
            }
        }
    }
}
