//! What the gateway itself says to a direct call.

use crate::operations;
use crate::view;
use prost::Message;
use prost_types::Any;
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::outcome::{from_rpc_status, to_rpc_status};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

/// No route takes the method.
pub(crate) fn no_route() -> Status {
    error::status(Code::Unimplemented, reason::NO_ROUTE, "no route takes this method")
}

/// A route with branches whose rule makes a list of them: no message of the method's type.
pub(super) fn no_single_answer() -> Status {
    let message = "jobs of this method go to several branches and answer with the list of them, \
                   not with a message of the method's type; submit it by Jobs.Submit, or give its \
                   route `gather.primary` or `gather.merge`";
    error::status(Code::FailedPrecondition, reason::NO_SINGLE_ANSWER, message)
}

/// The caller's time is over.
pub(super) fn too_late() -> Status {
    let message = "the caller's deadline has passed";
    error::status(Code::DeadlineExceeded, reason::DEADLINE_PASSED, message)
}

/// The gateway shuts down before there is an answer.
pub(super) fn draining() -> Status {
    let message = "the gateway is shutting down, and has no answer yet";
    error::status(Code::Unavailable, reason::DRAINING, message)
}

/// The work goes on, and this is the operation to follow.
pub(super) fn ticket(id: &JobId, method: &str) -> Status {
    let message = "the work goes on; its operation is in the details";
    let facts = [("job_id", id.to_string())];
    let status = error::status_with(Code::DeadlineExceeded, reason::STILL_RUNNING, message, facts);
    let operation = operations::operation(view::accepted(id, method.to_owned()));
    let mut full = to_rpc_status(&status);
    full.details.push(Any {
        type_url: "type.googleapis.com/google.longrunning.Operation".to_owned(),
        value: operation.encode_to_vec(),
    });
    let mut status = error::do_not_retry(from_rpc_status(&full));
    name(status.metadata_mut(), id);
    status
}

/// Names the job in metadata.
pub(super) fn name(metadata: &mut MetadataMap, id: &JobId) {
    let operation = operations::name_of(id);
    for (key, value) in
        [(super::controls::JOB_ID, id.to_string()), (super::controls::OPERATION, operation)]
    {
        // An id is of letters that metadata may have.
        if let Ok(value) = MetadataValue::try_from(value) {
            metadata.insert(key, value);
        }
    }
}
