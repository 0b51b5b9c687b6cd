//! Gathers concurrent submissions into batches.
//!
//! When nothing is under way a message is sent at once by its own caller: no
//! timer, no other task. While calls are under way, messages gather; a full
//! batch leaves as soon as a call may be started, a partial one when the last
//! call under way returns, or after a few milliseconds.

use super::{Limits, Message, PublishError, Publisher};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;

/// How long a partial batch waits for company while other calls are under way:
/// less than a round trip to SQS, which takes tens of milliseconds, and enough
/// for the callers of a batch that just returned to come back.
const LINGER: Duration = Duration::from_millis(5);
/// How often a message is offered before its caller is told.
const TRIES: u32 = 3;
/// No further try begins after this time.
const PATIENCE: Duration = Duration::from_secs(10);
/// The pause before the second try; it doubles.
const BACKOFF: Duration = Duration::from_millis(50);

type Answer = Result<(), PublishError>;

/// Batches the messages for one destination.
#[derive(Clone)]
pub struct Batcher(Arc<Shared>);

struct Shared {
    publisher: Arc<dyn Publisher>,
    state: Mutex<State>,
    /// Calls and pauses that no caller runs itself.
    tasks: TaskTracker,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    under_way: usize,
    lingering: bool,
}

struct Waiting {
    message: Message,
    size: usize,
    answer: oneshot::Sender<Answer>,
}

impl Batcher {
    /// A batcher above `publisher`.
    #[must_use]
    pub fn new(publisher: Arc<dyn Publisher>) -> Self {
        let (state, tasks) = (Mutex::default(), TaskTracker::new());
        // Closed, so that it can be waited for; it still takes tasks.
        tasks.close();
        Self(Arc::new(Shared { publisher, state, tasks }))
    }

    /// What one message may hold, as far as is known now.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.0.limits()
    }

    /// Asks the destination what a message may hold.
    pub async fn learn_limits(&self) {
        self.0.publisher.learn_limits().await;
    }

    /// What tells it from other batchers; its clones have the same.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0) as usize
    }

    /// Returns when no call is under way for callers that have gone away.
    pub(crate) async fn settled(&self) {
        self.0.tasks.wait().await;
    }

    /// Publishes one message and answers for this one only.
    ///
    /// # Errors
    /// See [`PublishError`]. A message larger than the limit is refused.
    pub async fn publish(&self, message: Message) -> Answer {
        let size = message.size();
        let limit = self.0.limits().message_bytes;
        if size > limit {
            let why = format!("the message has {size} bytes, and {limit} are taken");
            return Err(PublishError::TooLarge(why));
        }
        let turn = {
            let mut state = self.0.lock();
            if state.under_way == 0 && state.waiting.is_empty() {
                state.under_way = 1;
                Turn::Now(message)
            } else {
                let (answer, receiver) = oneshot::channel();
                state.waiting.push_back(Waiting { message, size, answer });
                self.0.start_ready(&mut state, false);
                Turn::Later(receiver)
            }
        };
        match turn {
            Turn::Now(message) => {
                // Dropped also when the caller goes away: then its message is the
                // only one concerned.
                let _under_way = UnderWay(self.0.clone());
                self.0.send(vec![message]).await.pop().unwrap_or_else(lost)
            }
            Turn::Later(answer) => answer.await.unwrap_or_else(|_| lost()),
        }
    }
}

enum Turn {
    Now(Message),
    Later(oneshot::Receiver<Answer>),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> Limits {
        let mut limits = self.publisher.limits();
        if limits.fifo {
            // Two calls could overtake each other, and with them the order.
            limits.concurrency = 1;
        }
        limits
    }

    /// Starts the calls that may leave now; `flush` lets a partial batch go too.
    fn start_ready(self: &Arc<Self>, state: &mut State, mut flush: bool) {
        let limits = self.limits();
        while state.under_way < limits.concurrency && !state.waiting.is_empty() {
            let (entries, full) = next_batch(state, &limits);
            if !full && state.under_way > 0 && !flush {
                break;
            }
            flush = false;
            state.under_way += 1;
            let batch: Vec<Waiting> = state.waiting.drain(..entries).collect();
            let shared = self.clone();
            self.tasks.spawn(async move { shared.run(batch).await });
        }
        let may_linger = state.under_way < limits.concurrency && !state.lingering;
        if may_linger && !state.waiting.is_empty() {
            state.lingering = true;
            let shared = self.clone();
            self.tasks.spawn(async move {
                sleep(LINGER).await;
                let mut state = shared.lock();
                state.lingering = false;
                shared.start_ready(&mut state, true);
            });
        }
    }

    async fn run(self: Arc<Self>, batch: Vec<Waiting>) {
        let _under_way = UnderWay(self.clone());
        let mut messages = Vec::with_capacity(batch.len());
        let mut callers = Vec::with_capacity(batch.len());
        for waiting in batch {
            messages.push(waiting.message);
            callers.push(waiting.answer);
        }
        let answers = self.send(messages).await;
        for (caller, answer) in callers.into_iter().zip(answers) {
            // A caller that went away needs no answer.
            let _ = caller.send(answer);
        }
    }

    /// Offers the messages, the failed ones again, and answers for each.
    async fn send(&self, messages: Vec<Message>) -> Vec<Answer> {
        let begun = Instant::now();
        let mut answers = self.offer(&messages).await;
        for attempt in 1..TRIES {
            let again: Vec<usize> = (0..answers.len())
                .filter(|i| answers[*i].as_ref().is_err_and(worth_a_try))
                .collect();
            if again.is_empty() || begun.elapsed() > PATIENCE {
                break;
            }
            sleep(jittered(BACKOFF * 2u32.pow(attempt - 1))).await;
            let batch: Vec<Message> = again.iter().map(|i| messages[*i].clone()).collect();
            let results = self.offer(&batch).await;
            for (index, result) in again.into_iter().zip(results) {
                // Once nobody knew whether it was taken, only success ends the doubt.
                if result.is_ok() || !matches!(answers[index], Err(PublishError::Unknown(_))) {
                    answers[index] = result;
                }
            }
        }
        answers
    }

    /// Offers the messages once. What is too large together is offered one by one, in
    /// order.
    async fn offer(&self, messages: &[Message]) -> Vec<Answer> {
        let mut answers = self.publisher.publish(messages).await;
        answers.resize_with(messages.len(), lost);
        let too_large = |answer: &Answer| matches!(answer, Err(PublishError::TooLarge(_)));
        if messages.len() > 1 && answers.iter().all(too_large) {
            answers.clear();
            for message in messages.chunks(1) {
                let one = self.publisher.publish(message).await.pop();
                answers.push(one.unwrap_or_else(lost));
            }
        }
        answers
    }
}

/// How many of the waiting messages fit into one call, and whether no further one
/// would. The first one leaves in any case: the destination judges its size.
fn next_batch(state: &State, limits: &Limits) -> (usize, bool) {
    let mut bytes = 0;
    let mut entries = 0;
    for waiting in &state.waiting {
        bytes += waiting.size;
        if entries == limits.batch_entries || entries > 0 && bytes > limits.batch_bytes {
            return (entries, true);
        }
        entries += 1;
    }
    (entries, entries == limits.batch_entries)
}

/// Sending a message twice is harmless: it carries the same job id, and the
/// claim (or the first completion) absorbs the second copy.
fn worth_a_try(error: &PublishError) -> bool {
    matches!(error, PublishError::Retryable(_) | PublishError::Unknown(_))
}

fn lost() -> Answer {
    Err(PublishError::Unknown("the destination did not answer for this message".into()))
}

fn jittered(pause: Duration) -> Duration {
    // The random bits of a UUID are at hand and good enough for jitter.
    let half = pause / 2;
    half + half.mul_f64(f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX))
}

/// Counts a call as under way; when it is over, whatever waited goes on.
struct UnderWay(Arc<Shared>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.under_way -= 1;
        if !state.waiting.is_empty() {
            self.0.start_ready(&mut state, false);
        }
    }
}

#[cfg(test)]
mod tests;
