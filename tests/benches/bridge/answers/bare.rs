//! The least that any such bridge has to do, with the SDK alone: send, receive, put
//! the answer, get it.

use crate::Failure;
use crate::grpc::payload;
use crate::load::Caller;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::Message;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use queuebridge_store::dynamodb::create_table;
use queuebridge_tests::emulator::unique;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// As many long polls as the worker has at once.
const RECEIVERS: usize = 4;
const POLL: Duration = Duration::from_millis(5);

/// A queue and a table at an endpoint.
#[derive(Clone)]
struct Place {
    sqs: aws_sdk_sqs::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    queue: String,
    table: String,
}

impl Place {
    async fn many(endpoint: &str, number: usize) -> Result<Vec<Self>, Failure> {
        let sdk = queuebridge_gateway::aws::sdk_config_at(endpoint).await;
        let sqs = aws_sdk_sqs::Client::new(&sdk);
        let dynamodb = aws_sdk_dynamodb::Client::new(&sdk);
        let table = unique("bare");
        create_table(&dynamodb, &table).await?;
        let mut places = Vec::with_capacity(number);
        for _ in 0..number {
            let made = sqs.create_queue().queue_name(unique("bare")).send().await;
            let made = made.map_err(|error| DisplayErrorContext(error).to_string())?;
            let queue = made.queue_url.ok_or("a queue without a URL")?;
            let (sqs, dynamodb, table) = (sqs.clone(), dynamodb.clone(), table.clone());
            places.push(Self { sqs, dynamodb, queue, table });
        }
        Ok(places)
    }

    /// Returns the message's id.
    async fn send(&self) -> Result<String, String> {
        let send = self.sqs.send_message().queue_url(&self.queue);
        let sent = send.message_body(STANDARD.encode(payload())).send().await.map_err(failed)?;
        Ok(sent.message_id.unwrap_or_default())
    }

    async fn receive(&self) -> Result<Vec<Message>, String> {
        let receive = self.sqs.receive_message().queue_url(&self.queue);
        let receive = receive.max_number_of_messages(10).wait_time_seconds(5);
        Ok(receive.send().await.map_err(failed)?.messages.unwrap_or_default())
    }

    async fn put(&self, id: String) -> Result<(), String> {
        let answer = AttributeValue::B(Blob::new(payload()));
        let put = self.dynamodb.put_item().table_name(&self.table);
        let put = put.item("pk", AttributeValue::S(id)).item("answer", answer);
        put.send().await.map_err(failed)?;
        Ok(())
    }

    async fn get(&self, id: &str) -> Result<bool, String> {
        let get = self.dynamodb.get_item().table_name(&self.table).consistent_read(true);
        let got = get.key("pk", AttributeValue::S(id.to_owned())).send().await.map_err(failed)?;
        Ok(got.item.is_some())
    }

    async fn delete(&self, message: &Message) -> Result<(), String> {
        let receipt = message.receipt_handle.clone().unwrap_or_default();
        let delete = self.sqs.delete_message().queue_url(&self.queue).receipt_handle(receipt);
        delete.send().await.map_err(failed)?;
        Ok(())
    }
}

/// One who does it all, one step after the other, on a queue of its own: nothing ever
/// waits for a message.
#[derive(Clone)]
pub(super) struct Alone(Place);

impl Alone {
    pub(super) async fn many(endpoint: &str, number: usize) -> Result<Vec<Self>, Failure> {
        Ok(Place::many(endpoint, number).await?.into_iter().map(Self).collect())
    }
}

impl Caller for Alone {
    async fn call(&mut self) -> Result<u64, String> {
        let Self(place) = self;
        place.send().await?;
        let message = place.receive().await?.pop().ok_or("nothing came")?;
        let id = message.message_id.clone().unwrap_or_default();
        place.put(id.clone()).await?;
        place.get(&id).await?;
        place.delete(&message).await?;
        Ok(1)
    }
}

/// A caller who sends, and looks every 5 ms for what a receiver puts that waits at the
/// queue: the bridge by hand.
#[derive(Clone)]
pub(super) struct ByHand {
    place: Place,
    _receivers: Arc<JoinSet<()>>,
}

impl ByHand {
    pub(super) async fn many(endpoint: &str, number: usize) -> Result<Vec<Self>, Failure> {
        let place = Place::many(endpoint, 1).await?.pop().ok_or("no queue")?;
        let mut receivers = JoinSet::new();
        for _ in 0..RECEIVERS {
            let place = place.clone();
            receivers.spawn(async move {
                loop {
                    for message in place.receive().await.unwrap_or_default() {
                        let place = place.clone();
                        tokio::spawn(async move {
                            place.put(message.message_id.clone().unwrap_or_default()).await?;
                            place.delete(&message).await
                        });
                    }
                }
            });
        }
        let receivers = Arc::new(receivers);
        Ok(vec![Self { place, _receivers: receivers }; number])
    }
}

impl Caller for ByHand {
    async fn call(&mut self) -> Result<u64, String> {
        let id = self.place.send().await?;
        while !self.place.get(&id).await? {
            sleep(POLL).await;
        }
        Ok(1)
    }
}

fn failed<E: std::error::Error>(error: E) -> String {
    DisplayErrorContext(error).to_string()
}
