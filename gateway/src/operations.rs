//! `google.longrunning.Operations`: the same jobs in the shape that long-running
//! operations have elsewhere.

use crate::auth::Verb;
use crate::identity::Identity;
use crate::jobs::{JobsService, MAX_WAIT};
use crate::reading::Reading;
use crate::submission::duration;
use prost::Message;
use prost_types::Any;
use queuebridge_proto::JobId;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::longrunning::operation::Result as Ending;
use queuebridge_proto::longrunning::operations_server::Operations;
use queuebridge_proto::longrunning::{
    CancelOperationRequest, DeleteOperationRequest, GetOperationRequest, ListOperationsRequest,
    ListOperationsResponse, Operation, WaitOperationRequest,
};
use queuebridge_proto::v1::job::Outcome;
use queuebridge_proto::v1::{Job, Response as Answer};
use tonic::{Code, Request, Response, Status};

/// What names begin with.
const PREFIX: &str = "operations/";
/// What the types of packed messages begin with.
const TYPE_PREFIX: &str = "type.googleapis.com/";
const JOB: &str = "queuebridge.v1.Job";
const RESPONSE: &str = "queuebridge.v1.Response";

/// A job as an operation.
pub(crate) fn operation(mut job: Job) -> Operation {
    let result = job.outcome.take().map(|outcome| match outcome {
        Outcome::Error(status) => Ending::Error(status),
        Outcome::Response(answer) => Ending::Response(packed(answer)),
    });
    let name = format!("{PREFIX}{}", job.id);
    let metadata = Any { type_url: type_url(JOB), value: job.encode_to_vec() };
    Operation { name, metadata: Some(metadata), done: result.is_some(), result }
}

/// The answer under its own type, if that is known.
fn packed(answer: Answer) -> Any {
    // What is too large for a message is downloaded.
    if answer.r#type.is_empty() || answer.size > answer.message.len() as u64 {
        let value = answer.encode_to_vec();
        return Any { type_url: type_url(RESPONSE), value };
    }
    Any { type_url: type_url(&answer.r#type), value: answer.message.into() }
}

/// The name of a job's operation.
pub(crate) fn name_of(id: &JobId) -> String {
    format!("{PREFIX}{id}")
}

fn type_url(name: &str) -> String {
    format!("{TYPE_PREFIX}{name}")
}

/// The id of the job that an operation is named after.
fn id_in(name: &str) -> Result<&str, Status> {
    let rule = "operations/ and the id of a job";
    name.strip_prefix(PREFIX).ok_or_else(|| error::invalid_field("name", rule))
}

impl JobsService {
    fn job_named<T>(&self, request: &Request<T>, verb: Verb, name: &str) -> Result<JobId, Status> {
        self.verify(request, verb, "name", id_in(name)?)
    }

    /// The job of an operation's name, if the caller may see it.
    pub(crate) fn reading_named<T>(
        &self,
        request: &Request<T>,
        verb: Verb,
        name: &str,
    ) -> Result<Reading, Status> {
        self.reading(request, verb, "name", id_in(name)?)
    }
}

#[tonic::async_trait]
impl Operations for JobsService {
    async fn list_operations(
        &self,
        _request: Request<ListOperationsRequest>,
    ) -> Result<Response<ListOperationsResponse>, Status> {
        let message = "jobs are found by their ids only: there is no index to list them by";
        Err(error::status(Code::Unimplemented, reason::NOT_LISTED, message))
    }

    async fn get_operation(
        &self,
        request: Request<GetOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let job = self.reading_named(&request, Verb::Read, &request.get_ref().name)?;
        Ok(Response::new(operation(self.lookup().job(&job).await?)))
    }

    async fn delete_operation(
        &self,
        request: Request<DeleteOperationRequest>,
    ) -> Result<Response<()>, Status> {
        let id = self.job_named(&request, Verb::Admin, &request.get_ref().name)?;
        Ok(Response::new(self.delete_for(&Identity::of(&request)?, &id).await?))
    }

    async fn cancel_operation(
        &self,
        request: Request<CancelOperationRequest>,
    ) -> Result<Response<()>, Status> {
        let id = self.job_named(&request, Verb::Cancel, &request.get_ref().name)?;
        self.cancel_for(&Identity::of(&request)?, &id).await?;
        Ok(Response::new(()))
    }

    async fn wait_operation(
        &self,
        request: Request<WaitOperationRequest>,
    ) -> Result<Response<Operation>, Status> {
        let job = self.reading_named(&request, Verb::Read, &request.get_ref().name)?;
        // Without a time-out the caller's deadline is the limit.
        let wait = match &request.get_ref().timeout {
            None => MAX_WAIT,
            timeout => duration("timeout", timeout.as_ref())?,
        };
        let job = self.wait(&job, wait, request.metadata()).await?;
        Ok(Response::new(operation(job)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn job(outcome: Option<Outcome>) -> Job {
        Job { id: "id".into(), method: "/a.B/C".into(), outcome, ..Job::default() }
    }

    #[test]
    fn an_answer_has_its_own_type_where_it_is_known() {
        let message = Bytes::from_static(b"\x08\x01");
        let answer = |name: &str| Answer {
            message: message.clone(),
            size: message.len() as u64,
            r#type: name.into(),
            ..Answer::default()
        };
        let ending = |name| operation(job(Some(Outcome::Response(answer(name))))).result.unwrap();
        let Ending::Response(known) = ending("shop.v1.Order") else { panic!() };
        assert_eq!(known.type_url, "type.googleapis.com/shop.v1.Order");
        assert_eq!(known.value, message);
        let Ending::Response(unknown) = ending("") else { panic!() };
        assert_eq!(unknown.type_url, "type.googleapis.com/queuebridge.v1.Response");
        assert_eq!(Answer::decode(&unknown.value[..]).unwrap(), answer(""));
    }

    #[test]
    fn metadata_is_the_job_without_its_outcome() {
        for outcome in [None, Some(Outcome::Error(tonic_types::Status::default()))] {
            let shown = operation(job(outcome.clone()));
            assert_eq!((shown.name.as_str(), shown.done), ("operations/id", outcome.is_some()));
            let metadata = shown.metadata.unwrap();
            assert_eq!(metadata.type_url, "type.googleapis.com/queuebridge.v1.Job");
            assert_eq!(Job::decode(&metadata.value[..]).unwrap(), job(None));
        }
    }
}
