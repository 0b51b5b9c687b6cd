//! The long-poll loop: a container that receives from one queue.

use super::source::{Received, Source};
use crate::batch::{self, Batch};
use crate::runner::{Runner, random};
use crate::verdict::{Verdict, backoff};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// The pause after the first failed receive; it doubles.
const BACKOFF: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Receives under way at once: what one connection pool serves well.
const MAX_LOOPS: usize = 8;

/// How the loop behaves.
#[derive(Clone, Debug)]
pub struct PollerSettings {
    /// Jobs that run at once in this process.
    pub concurrency: usize,
    /// How long a shutdown waits for running jobs.
    pub drain_timeout: Duration,
}

/// Receives, runs and settles until `shutdown`; then receives no more and waits
/// for what is running. What does not finish in time is given back to the queue.
pub async fn run<S: Source>(
    runner: Arc<Runner>,
    source: S,
    settings: PollerSettings,
    shutdown: impl Future<Output = ()> + Send,
) {
    let concurrency = settings.concurrency.max(1);
    // One loop keeps a receive's worth of jobs busy per round trip.
    let loops = (concurrency / source.receive_max()).clamp(1, MAX_LOOPS);
    let poller = Arc::new(Poller {
        places: Arc::new(Semaphore::new(concurrency)),
        giving_up: CancellationToken::new(),
        runner,
        source,
    });
    let stopping = CancellationToken::new();
    let mut receiving = JoinSet::new();
    for _ in 0..loops {
        receiving.spawn(poller.clone().receive_loop(stopping.clone()));
    }
    tracing::info!(loops, concurrency, "polling");
    shutdown.await;
    tracing::info!("draining");
    stopping.cancel();
    let drain = async { while receiving.join_next().await.is_some() {} };
    tokio::pin!(drain);
    if timeout(settings.drain_timeout, &mut drain).await.is_err() {
        tracing::warn!("the drain time-out gives running jobs back to the queue");
        poller.giving_up.cancel();
        drain.await;
    }
    tracing::info!("stopped");
}

struct Poller<S> {
    runner: Arc<Runner>,
    source: S,
    places: Arc<Semaphore>,
    giving_up: CancellationToken,
}

impl<S: Source> Poller<S> {
    async fn receive_loop(self: Arc<Self>, stopping: CancellationToken) {
        let mut running = JoinSet::new();
        let mut failures = 0;
        while !stopping.is_cancelled() {
            let places = tokio::select! {
                places = self.free_places() => places,
                () = stopping.cancelled() => break,
            };
            match self.source.receive(places.len(), self.lease(), &stopping).await {
                Ok(messages) if stopping.is_cancelled() => {
                    let back = |m: Received<S::Receipt>| (m.receipt, Duration::ZERO);
                    self.source.change_visibility(messages.into_iter().map(back).collect()).await;
                }
                Ok(messages) => {
                    failures = 0;
                    if !messages.is_empty() {
                        running.spawn(self.clone().run_batch(messages, places));
                    }
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error, failures, "receiving failed");
                    drop(places);
                    tokio::select! {
                        () = sleep(backoff(failures, BACKOFF, BACKOFF_MAX, random())) => {}
                        () = stopping.cancelled() => break,
                    }
                }
            }
            while running.try_join_next().is_some() {}
        }
        while running.join_next().await.is_some() {}
    }

    /// As many free places as one receive can use, at least one.
    async fn free_places(&self) -> Vec<OwnedSemaphorePermit> {
        let mut places = Vec::with_capacity(self.source.receive_max());
        places.extend(self.places.clone().acquire_owned().await.ok());
        while places.len() < self.source.receive_max()
            && let Ok(place) = self.places.clone().try_acquire_owned()
        {
            places.push(place);
        }
        places
    }

    async fn run_batch(
        self: Arc<Self>,
        messages: Vec<Received<S::Receipt>>,
        mut places: Vec<OwnedSemaphorePermit>,
    ) {
        places.truncate(messages.len());
        let (deliveries, mut open): (Vec<_>, Vec<_>) =
            messages.into_iter().map(|m| (m.delivery, Some(m.receipt))).unzip();
        let mut batch = batch::start(&self.runner, deliveries, None);
        let third = self.lease() / 3;
        let mut heartbeat = interval_at(Instant::now() + third, third);
        let mut gave_up = false;
        loop {
            tokio::select! {
                biased;
                next = batch.next() => {
                    let Some(first) = next else { break };
                    let settled = gather(first, &mut batch);
                    places.truncate(places.len().saturating_sub(settled.len()));
                    self.settle(settled, &mut open).await;
                }
                _ = heartbeat.tick() => self.extend(&open).await,
                () = self.giving_up.cancelled(), if !gave_up => {
                    gave_up = true;
                    batch.stop();
                }
            }
        }
    }

    async fn settle(&self, verdicts: Vec<(usize, Verdict)>, open: &mut [Option<S::Receipt>]) {
        let mut finished = Vec::new();
        let mut later = Vec::new();
        for (index, verdict) in verdicts {
            let Some(receipt) = open[index].take() else { continue };
            match verdict {
                Verdict::Ack => finished.push(receipt),
                Verdict::Redeliver { after, reason } => {
                    tracing::debug!(?after, %reason, "a message is redelivered");
                    later.push((receipt, after));
                }
            }
        }
        if !finished.is_empty() {
            self.source.delete(finished).await;
        }
        if !later.is_empty() {
            self.source.change_visibility(later).await;
        }
    }

    /// Keeps the messages of running jobs invisible.
    async fn extend(&self, open: &[Option<S::Receipt>]) {
        let messages = open.iter().flatten().map(|r| (r.clone(), self.lease())).collect();
        self.source.change_visibility(messages).await;
    }

    fn lease(&self) -> Duration {
        self.runner.settings().lease
    }
}

/// The verdicts that are there already go into the same calls as the first.
fn gather(first: (usize, Verdict), batch: &mut Batch) -> Vec<(usize, Verdict)> {
    let mut verdicts = vec![first];
    while let Some(next) = batch.ready() {
        verdicts.push(next);
    }
    verdicts
}
