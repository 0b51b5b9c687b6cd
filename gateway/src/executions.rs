//! `Executions`: jobs as streams of operations.

use crate::auth::Verb;
use crate::jobs::JobsService;
use crate::operations::operation;
use crate::reading::Reading;
use crate::watch;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use queuebridge_proto::longrunning::Operation;
use queuebridge_proto::v1::executions_server::Executions;
use queuebridge_proto::v1::{SubmitRequest, WaitExecutionRequest};
use tonic::{Request, Response, Status};

type Operations = BoxStream<'static, Result<Operation, Status>>;

impl JobsService {
    fn follow(&self, job: Reading) -> Operations {
        let changes = watch::changes(self.waiter(), job, None);
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
        let job = self.submit_job(request).await?;
        Ok(Response::new(self.follow(job)))
    }

    type WaitExecutionStream = Operations;

    async fn wait_execution(
        &self,
        request: Request<WaitExecutionRequest>,
    ) -> Result<Response<Self::WaitExecutionStream>, Status> {
        let job = self.reading_named(&request, Verb::Watch, &request.get_ref().name)?;
        Ok(Response::new(self.follow(job)))
    }
}
