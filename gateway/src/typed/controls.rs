//! What a caller says to the gateway, and not to the handler: metadata that begins with
//! `qb-`.

use crate::config::{Mode, RouteConfig};
use queuebridge_proto::error;
use tonic::Status;
use tonic::metadata::MetadataMap;

/// How the call is answered: `sync`, `auto` or `async`, of those that its route has.
pub const MODE: &str = "qb-mode";
/// Makes the call idempotent, as `request_id` does for a submission.
pub const REQUEST_ID: &str = "qb-request-id";
/// Calls with the same key run one after the other, on ordered queues.
pub const ORDERING_KEY: &str = "qb-ordering-key";
/// In answers: the id of the job.
pub const JOB_ID: &str = "qb-job-id";
/// In answers: the name of the operation.
pub const OPERATION: &str = "qb-operation";

const PREFIX: &str = "qb-";

/// What the caller has chosen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Controls {
    pub(super) mode: Mode,
    pub(super) request_id: String,
    pub(super) ordering_key: String,
}

impl Controls {
    /// Takes them out of the metadata.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` that names the key.
    pub(super) fn take(metadata: &mut MetadataMap, route: &RouteConfig) -> Result<Self, Status> {
        let mut take = |key: &'static str| {
            if metadata.get_all(key).iter().nth(1).is_some() {
                return Some(Err(error::invalid_field(key, "it is given more than once")));
            }
            let value = metadata.remove(key)?;
            Some(
                value
                    .to_str()
                    .map(str::to_owned)
                    .map_err(|_| error::invalid_field(key, "printable ASCII characters")),
            )
        };
        let mode = match take(MODE).transpose()? {
            None => route.calls.modes.first().copied(),
            Some(name) => route.calls.modes.iter().copied().find(|mode| mode.name() == name),
        };
        let mode = mode.ok_or_else(|| {
            let names: Vec<&str> = route.calls.modes.iter().map(|mode| mode.name()).collect();
            error::invalid_field(MODE, format!("the route has {}", names.join(", ")))
        })?;
        let request_id = take(REQUEST_ID).transpose()?;
        if request_id.as_ref().is_some_and(String::is_empty) {
            return Err(error::invalid_field(REQUEST_ID, "it is empty"));
        }
        let ordering_key = take(ORDERING_KEY).transpose()?.unwrap_or_default();
        if let Some(key) = metadata.keys().find_map(|key| match key {
            tonic::metadata::KeyRef::Ascii(key) => {
                key.as_str().starts_with(PREFIX).then_some(key.as_str())
            }
            tonic::metadata::KeyRef::Binary(key) => {
                key.as_str().starts_with(PREFIX).then_some(key.as_str())
            }
        }) {
            return Err(error::invalid_field(key, "there is no such control"));
        }
        Ok(Self { mode, request_id: request_id.unwrap_or_default(), ordering_key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CallConfig, Destination, MethodPattern};
    use tonic_types::StatusExt;

    fn take(given: &[(&'static str, &'static str)]) -> Result<(Controls, MetadataMap), String> {
        let mut metadata = MetadataMap::new();
        for (key, value) in given {
            metadata.append(*key, value.parse().unwrap());
        }
        let calls = CallConfig { modes: vec![Mode::Auto, Mode::Async], ..CallConfig::default() };
        let route = RouteConfig::new(MethodPattern::All, Destination::Queue("q".into()));
        let taken = Controls::take(&mut metadata, &RouteConfig { calls, ..route });
        let field = |status: Status| {
            status.get_error_details().error_info().unwrap().metadata["field"].clone()
        };
        taken.map(|controls| (controls, metadata)).map_err(field)
    }

    #[test]
    fn the_route_has_a_default_and_the_caller_a_choice() {
        let (controls, metadata) = take(&[("mine", "1")]).unwrap();
        assert_eq!(controls.mode, Mode::Auto);
        assert_eq!(metadata.len(), 1);
        let all = [("qb-mode", "async"), ("qb-request-id", "r"), ("qb-ordering-key", "k")];
        let (controls, metadata) = take(&all).unwrap();
        let (request_id, ordering_key) = ("r".into(), "k".into());
        assert_eq!(controls, Controls { mode: Mode::Async, request_id, ordering_key });
        assert!(metadata.is_empty(), "the handler sees none of them");
    }

    #[test]
    fn what_is_no_choice_is_refused_by_name() {
        for (key, value) in [("qb-mode", "sync"), ("qb-request-id", ""), ("qb-mood", "bad")] {
            assert_eq!(take(&[(key, value)]).unwrap_err(), key);
        }
    }

    #[test]
    fn a_control_is_given_once() {
        for (key, value) in [("qb-mode", "async"), ("qb-request-id", "r"), ("qb-ordering-key", "k")]
        {
            assert_eq!(take(&[(key, value), (key, value)]).unwrap_err(), key);
        }
    }
}
