//! The gateway over SQS, without a store of weight and without a worker: only
//! sending is measured.

use crate::Failure;
use crate::child::Counters;
use crate::sqs::Queues;
use queuebridge_gateway::auth::Authenticator;
use queuebridge_gateway::config::{Destination, MethodPattern, RouteConfig};
use queuebridge_gateway::publish::sqs::SqsPublisher;
use queuebridge_gateway::publish::{Limits, Message, PublishError, Publisher};
use queuebridge_gateway::quota::Quotas;
use queuebridge_gateway::route::Routes;
use queuebridge_gateway::server::{Gateway, Settings};
use queuebridge_proto::Keyring;
use queuebridge_store::memory::MemoryResultStore;
use queuebridge_store::{Clock, Stores};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The gateway, and where its requests are counted.
pub(super) async fn build(
    endpoint: &str,
    urls: &[&str],
) -> Result<(Gateway, Arc<Counting>), Failure> {
    let sdk = queuebridge_gateway::aws::sdk_config_at(endpoint).await;
    let client = aws_sdk_sqs::Client::new(&sdk);
    let first = (*urls.first().ok_or("the gateway needs a queue")?).to_owned();
    let publishers = urls.iter().map(|url| SqsPublisher::new(client.clone(), (*url).to_owned()));
    let publisher = Arc::new(Counting {
        queues: Queues::new(publishers.collect()),
        requests: AtomicU64::new(0),
        messages: AtomicU64::new(0),
    });
    let route = RouteConfig::new(MethodPattern::All, Destination::Queue(first));
    let routes = Routes::new().with(route, publisher.clone());
    Ok((over(routes), publisher))
}

/// A gateway with these routes, and nothing that a measurement would notice.
pub(super) fn over(routes: Routes) -> Gateway {
    let settings = Settings {
        auth: Authenticator::open("default"),
        quotas: Quotas::default(),
        job_id_keys: Keyring::single(&[1; 32]),
        envelope_keys: Keyring::single(&[2; 32]),
        max_message_bytes: 4 * 1024 * 1024,
        max_pending: 10_000,
        drain_timeout: Duration::from_secs(1),
        replies: Arc::default(),
        callbacks: None,
        hosts: Vec::new(),
        cors_origins: Vec::new(),
        descriptors: Arc::default(),
    };
    let store = Arc::new(MemoryResultStore::new(Duration::from_secs(60)));
    Gateway::new(settings, routes, Stores::new(store, None), Clock::system())
}

/// Counts what it sends on, and takes the next queue when one is full enough.
pub(super) struct Counting {
    queues: Queues<SqsPublisher>,
    requests: AtomicU64,
    messages: AtomicU64,
}

impl Counting {
    pub(super) fn counters(&self) -> Counters {
        [&self.requests, &self.messages].map(|counter| counter.load(Ordering::Relaxed))
    }
}

#[tonic::async_trait]
impl Publisher for Counting {
    fn limits(&self) -> Limits {
        self.queues.first().limits()
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.messages.fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.queues.next(batch.len()).publish(batch).await
    }
}
