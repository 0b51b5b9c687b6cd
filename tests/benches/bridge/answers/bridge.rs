//! Gateway and worker as two processes over an endpoint, with everything that they
//! need there.

use crate::Failure;
use crate::child::Child;
use crate::serve;
use aws_sdk_sqs::error::DisplayErrorContext;
use queuebridge_store::dynamodb::create_table;
use queuebridge_tests::emulator::unique;

pub(super) struct Bridge {
    gateway: Child,
    _worker: Child,
}

impl Bridge {
    pub(super) async fn start(endpoint: &str, announced: bool) -> Result<Self, Failure> {
        let sdk = queuebridge_gateway::aws::sdk_config_at(endpoint).await;
        let sqs = aws_sdk_sqs::Client::new(&sdk);
        let table = unique("answers");
        create_table(&aws_sdk_dynamodb::Client::new(&sdk), &table).await?;
        let mut queues = Vec::new();
        for name in ["answers", "replies"] {
            let made = sqs.create_queue().queue_name(unique(name)).send().await;
            let made = made.map_err(|error| DisplayErrorContext(error).to_string())?;
            queues.push(made.queue_url.ok_or("a queue without a URL")?);
        }
        let replies = if announced { queues[1].as_str() } else { "" };
        let worker = Child::start(&[serve::WORKER, endpoint, &table, &queues[0]]).await?;
        let gateway = Child::start(&[serve::BRIDGE, endpoint, &table, &queues[0], replies]).await?;
        Ok(Self { gateway, _worker: worker })
    }

    pub(super) fn url(&self) -> String {
        self.gateway.url()
    }
}
