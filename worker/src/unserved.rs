//! Methods that a worker does not have: what its answer says of them.

use queuebridge_proto::MethodName;
use queuebridge_proto::error::{self, reason};
use queuebridge_web::Descriptors;
use tonic::{Code, Status};

/// Gives the bare `UNIMPLEMENTED` of tonic's router a reason, the method, and the services
/// that the worker's descriptors name. Any other status stays as it is.
pub(crate) fn explain(
    status: Status,
    method: &MethodName,
    descriptors: Option<&Descriptors>,
) -> Status {
    let is_bare = status.message().is_empty() && status.details().is_empty();
    if status.code() != Code::Unimplemented || !is_bare {
        return status;
    }
    let services = descriptors.map(|known| known.services().join(", ")).unwrap_or_default();
    let served = match services.as_str() {
        "" => String::new(),
        services => format!("; its services are {services}"),
    };
    let message = format!("the worker of this queue does not implement {method}{served}");
    let (code, reason) = (Code::Unimplemented, reason::METHOD_NOT_SERVED);
    let facts = [("method", method.to_string()), ("services", services)];
    let mut explained = error::status_with(code, reason, message, facts);
    *explained.metadata_mut() = status.metadata().clone();
    explained
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_unimplemented_is_explained() {
        let method = MethodName::parse("/a.B/C").unwrap();
        let explained = explain(Status::unimplemented(""), &method, None);
        let message = "the worker of this queue does not implement /a.B/C";
        assert_eq!((explained.code(), explained.message()), (Code::Unimplemented, message));
        for status in [Status::unimplemented("not yet"), Status::internal("")] {
            let (code, message) = (status.code(), status.message().to_owned());
            let kept = explain(status, &method, None);
            assert_eq!((kept.code(), kept.message()), (code, &message[..]));
        }
    }
}
