//! `Executions`: jobs as streams of operations.

use crate::auth::Verb;
use crate::jobs::JobsService;
use crate::operations::operation;
use crate::watch;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use queuebridge_proto::JobId;
use queuebridge_proto::longrunning::Operation;
use queuebridge_proto::v1::executions_server::Executions;
use queuebridge_proto::v1::{SubmitRequest, WaitExecutionRequest};
use tonic::{Request, Response, Status};

type Operations = BoxStream<'static, Result<Operation, Status>>;

impl JobsService {
    fn follow(&self, id: JobId) -> Operations {
        let changes = watch::changes(self.waiter(), id, None);
        changes.map(|shown| shown.map(|(job, _)| operation(job))).boxed()
    }
}

#[tonic::async_trait]
impl Executions for JobsService {
    type ExecuteStream = Operations;

    async fn execute(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<Self::ExecuteStream>, Status> {
        let id = self.submit_job(request).await?;
        Ok(Response::new(self.follow(id)))
    }

    type WaitExecutionStream = Operations;

    async fn wait_execution(
        &self,
        request: Request<WaitExecutionRequest>,
    ) -> Result<Response<Self::WaitExecutionStream>, Status> {
        let id = self.job_named(&request, Verb::Watch, &request.get_ref().name)?;
        Ok(Response::new(self.follow(id)))
    }
}
