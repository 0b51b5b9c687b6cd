//! Submissions beyond `max_pending`.

use super::bridge::{Bridge, Setup, echo};
use super::told;
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use queuebridge_gateway::publish::{Limits, Message, PublishError, Publisher};
use queuebridge_local::loopback::Loopback;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tonic::Code;

/// A queue that takes messages once it is opened.
struct Gate {
    queue: Arc<Loopback>,
    opened: Arc<Semaphore>,
}

#[async_trait]
impl Publisher for Gate {
    fn limits(&self) -> Limits {
        self.queue.limits()
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        drop(self.opened.acquire().await);
        self.queue.publish(batch).await
    }
}

#[tokio::test]
async fn an_overload_is_refused_with_a_retry_time() {
    let bridge = Bridge::new();
    let opened = Arc::new(Semaphore::new(0));
    let gate = Gate { queue: bridge.queue.clone(), opened: opened.clone() };
    let publisher: Option<Arc<dyn Publisher>> = Some(Arc::new(gate));
    let gateway = bridge.gateway(Setup { max_pending: 1, publisher, ..Setup::default() }).await;
    let submit = || {
        let mut jobs = gateway.jobs.clone();
        async move { jobs.submit(echo()).await }
    };
    let mut calls: FuturesUnordered<_> = (0..200).map(|_| submit()).collect();
    for _ in 0..199 {
        let status = calls.next().await.unwrap().expect_err("one place");
        assert_eq!(told(&status), (Code::ResourceExhausted, "OVERLOADED".into(), String::new()));
        assert!(status.metadata().contains_key("grpc-retry-pushback-ms"), "{status:?}");
    }
    opened.close();
    calls.next().await.unwrap().expect("the one in hand is accepted");
}
