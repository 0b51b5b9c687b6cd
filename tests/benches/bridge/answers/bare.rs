//! The least that any such bridge has to do, with the SDK alone: send, receive, put
//! the answer, get it.

use crate::Failure;
use crate::grpc::payload;
use crate::load::Caller;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::error::DisplayErrorContext;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use queuebridge_store::dynamodb::create_table;
use queuebridge_tests::emulator::unique;

/// One caller with a queue of its own, so that it receives what it has sent.
#[derive(Clone)]
pub(super) struct Loop {
    sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    queue: String,
    table: String,
}

impl Loop {
    pub(super) async fn many(endpoint: &str, number: usize) -> Result<Vec<Self>, Failure> {
        let sdk = queuebridge_gateway::aws::sdk_config_at(endpoint).await;
        let sqs = aws_sdk_sqs::Client::new(&sdk);
        let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
        let table = unique("bare");
        create_table(&dynamodb, &table).await?;
        let mut loops = Vec::with_capacity(number);
        for _ in 0..number {
            let made = sqs.create_queue().queue_name(unique("bare")).send().await;
            let made = made.map_err(|error| DisplayErrorContext(error).to_string())?;
            let queue = made.queue_url.ok_or("a queue without a URL")?;
            let (sqs, dynamodb, table) = (sqs.clone(), dynamodb.clone(), table.clone());
            loops.push(Self { sqs, dynamodb, queue, table });
        }
        Ok(loops)
    }
}

fn failed<E: std::error::Error>(error: E) -> String {
    DisplayErrorContext(error).to_string()
}

impl Caller for Loop {
    async fn call(&mut self) -> Result<u64, String> {
        let body = STANDARD.encode(payload());
        let Self { sqs, dynamodb, queue, table } = self;
        sqs.send_message().queue_url(&*queue).message_body(body).send().await.map_err(failed)?;
        let receive = sqs.receive_message().queue_url(&*queue).wait_time_seconds(5);
        let received = receive.send().await.map_err(failed)?;
        let message = received.messages.and_then(|mut all| all.pop()).ok_or("nothing came")?;
        let key = AttributeValue::S(message.message_id.unwrap_or_default());
        let answer = AttributeValue::B(Blob::new(payload()));
        let put = dynamodb.put_item().table_name(&*table).item("pk", key.clone());
        put.item("answer", answer).send().await.map_err(failed)?;
        let get = dynamodb.get_item().table_name(&*table).key("pk", key).consistent_read(true);
        get.send().await.map_err(failed)?;
        let receipt = message.receipt_handle.unwrap_or_default();
        let delete = sqs.delete_message().queue_url(&*queue).receipt_handle(receipt).send();
        delete.await.map_err(failed)?;
        Ok(1)
    }
}
