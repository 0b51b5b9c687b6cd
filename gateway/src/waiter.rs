//! Waiting for a job to finish.
//!
//! Everyone who waits for a job on this gateway shares one subscription, and one
//! task that polls the store for it, slower and slower. An announcement makes
//! the waiters look at once; a lost one costs time, never the answer.

use crate::lookup::{Found, Lookup};
use queuebridge_proto::JobId;
use queuebridge_proto::v1::Job;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

/// The pause before the first poll: a job over SQS takes tens of milliseconds.
const FIRST_POLL: Duration = Duration::from_millis(20);
/// The longest pause between two polls.
const SLOWEST_POLL: Duration = Duration::from_secs(1);

/// Waits for jobs.
#[derive(Clone)]
pub struct Waiter {
    lookup: Arc<Lookup>,
    subscriptions: Arc<Mutex<HashMap<Uuid, Subscription>>>,
    draining: CancellationToken,
}

struct Subscription {
    signal: watch::Sender<Signal>,
    waiters: usize,
    polled: bool,
}

#[derive(Clone, Debug)]
enum Signal {
    /// Nothing is known.
    Nothing,
    /// Something happened: look.
    Look,
    /// The poller has found the job finished.
    Found(Arc<Found>),
}

impl Waiter {
    /// A waiter over `lookup`; once `draining` fires, everyone who waits is
    /// answered with the state as it is.
    #[must_use]
    pub fn new(lookup: Arc<Lookup>, draining: CancellationToken) -> Self {
        Self { lookup, subscriptions: Arc::default(), draining }
    }

    /// The job when it is finished, or as it stands after `wait`.
    ///
    /// # Errors
    /// Those of [`Lookup::job`].
    pub async fn wait(&self, id: &JobId, wait: Duration) -> Result<Job, Status> {
        if wait.is_zero() {
            return self.lookup.job(id).await;
        }
        // Subscribed before the first look, so that nothing happens in between.
        let mut place = self.subscribe(id.uuid());
        let until = Instant::now() + wait;
        let mut found = self.lookup.find(id).await?;
        // Most answers are announced before the first poll would be due.
        let mut next = until.min(Instant::now() + FIRST_POLL);
        while matches!(found, Found::Pending | Found::Underway(_)) {
            let signalled = tokio::select! {
                changed = timeout_at(next, place.signal.changed()) => changed.is_ok(),
                () = self.draining.cancelled() => {
                    next = until;
                    false
                }
            };
            if !signalled && next < until {
                next = until;
                self.ensure_poll(id);
                continue;
            }
            let signal = place.signal.borrow_and_update().clone();
            found = match signal {
                Signal::Found(found) => Found::clone(&found),
                Signal::Look | Signal::Nothing => self.lookup.find(id).await?,
            };
            if !signalled {
                break;
            }
        }
        self.lookup.show(id, found).await
    }

    /// Says that a job has changed: whoever waits for it looks.
    pub fn announce(&self, job: Uuid) {
        if let Some(subscription) = self.lock().get(&job) {
            subscription.signal.send_replace(Signal::Look);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uuid, Subscription>> {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subscribe(&self, job: Uuid) -> Place {
        let mut all = self.lock();
        let subscription = all.entry(job).or_insert_with(|| Subscription {
            signal: watch::channel(Signal::Nothing).0,
            waiters: 0,
            polled: false,
        });
        subscription.waiters += 1;
        Place { signal: subscription.signal.subscribe(), job, waiter: self.clone() }
    }

    /// Starts the one task that polls for this job, if it has not been started.
    fn ensure_poll(&self, id: &JobId) {
        let mut all = self.lock();
        if let Some(subscription) = all.get_mut(&id.uuid())
            && !std::mem::replace(&mut subscription.polled, true)
        {
            tokio::spawn(self.clone().poll(*id, subscription.signal.subscribe()));
        }
    }

    /// Polls for a job as long as someone waits for it.
    async fn poll(self, id: JobId, mut signal: watch::Receiver<Signal>) {
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                () = sleep(jittered(pause, &id)) => {}
                // An announcement was handed to the waiters; nothing to do here
                // but to begin again with short pauses.
                changed = signal.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    pause = FIRST_POLL;
                    continue;
                }
            }
            pause = (pause * 3 / 2).clamp(FIRST_POLL, SLOWEST_POLL);
            let found = self.lookup.find(&id).await;
            let all = self.lock();
            let Some(subscription) = all.get(&id.uuid()) else { return };
            if let Ok(found @ (Found::Finished(_) | Found::Purged)) = found {
                subscription.signal.send_replace(Signal::Found(Arc::new(found)));
                return;
            }
        }
    }
}

/// Spreads the polls of many jobs; the job's own random bits are jitter enough.
fn jittered(pause: Duration, id: &JobId) -> Duration {
    let random = f64::from(id.uuid().as_bytes()[15]) / 255.0;
    pause.mul_f64(0.75 + random / 2.0)
}

/// One waiter's place in a subscription; the last one to leave ends it.
struct Place {
    signal: watch::Receiver<Signal>,
    job: Uuid,
    waiter: Waiter,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.waiter.lock();
        if let Some(subscription) = all.get_mut(&self.job) {
            subscription.waiters -= 1;
            if subscription.waiters == 0 {
                all.remove(&self.job);
            }
        }
    }
}
