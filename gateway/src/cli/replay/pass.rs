//! One pass over the parking queue.

use super::held::Held;
use super::parked::Parked;
use super::queue::{ParkingQueue, Received};
use super::report::{self, Done, Summary};
use super::selection::Selection;
use super::submit::{Stays, Submitted, Submitter};
use crate::cli::client::to_stdout;
use crate::cli::failure::Failure;
use futures_util::{StreamExt, stream};
use queuebridge_store::{Clock, Seal};
use std::collections::BTreeSet;
use tokio_util::sync::CancellationToken;

/// One pass over the parking queue: every message is looked at, the selected
/// ones are submitted and deleted, and the rest is made visible again.
pub(super) struct Pass {
    pub(super) queue: ParkingQueue,
    pub(super) seal: Seal,
    pub(super) selection: Selection,
    /// Without one the selected messages are only listed.
    pub(super) submitter: Option<Submitter>,
    /// Where parked callbacks go.
    pub(super) callback_queue: Option<String>,
    /// How many messages are taken in hand.
    pub(super) limit: u64,
    pub(super) as_json: bool,
    pub(super) clock: Clock,
    /// Told to stop: what is in hand is finished, nothing else is begun.
    pub(super) stopping: CancellationToken,
}

/// How a pass ended.
pub(super) enum End {
    /// Everything was looked at.
    Whole,
    /// As many were taken in hand as were asked for.
    Limit,
    /// It was told to stop.
    Stopped,
    /// So much stays that no more can be held back.
    Full,
    /// Something failed that every other message needs as well.
    Failed(Failure),
}

/// What is known in the middle of a pass.
#[derive(Default)]
struct State {
    held: Held,
    summary: Summary,
    /// Which of the jobs that were asked for have a message.
    found: BTreeSet<String>,
    begun: u64,
}

impl Pass {
    /// Goes through the queue. Whatever happens, what stays is released.
    pub(super) async fn run(self) -> (Summary, End) {
        let mut state = State::default();
        let end = self.go(&mut state).await;
        let State { held, mut summary, found, .. } = state;
        let hidden = self.queue.release(held.into_receipts()).await;
        if hidden > 0 {
            eprintln!("{hidden} messages stay hidden for up to ten minutes");
        }
        summary.complete = matches!(end, End::Whole);
        if summary.complete {
            summary.missing = self.selection.jobs().difference(&found).cloned().collect();
        }
        (summary, end)
    }

    async fn go(&self, state: &mut State) -> End {
        loop {
            if self.stopping.is_cancelled() {
                return End::Stopped;
            }
            if state.begun >= self.limit {
                return End::Limit;
            }
            if state.held.is_full() {
                return End::Full;
            }
            // A signal waits for the end of the poll: what an abandoned one then
            // takes would be hidden for nothing.
            let batch = match self.queue.receive().await {
                Ok(batch) => batch,
                Err(error) => return End::Failed(Failure::Other(error)),
            };
            let empty = batch.is_empty();
            let chosen = self.choose(batch, state).await;
            if empty || (chosen.is_empty() && state.held.has_all_come_back()) {
                return End::Whole;
            }
            if let Err(failure) = self.replay(chosen, state).await {
                return End::Failed(failure);
            }
        }
    }

    /// The messages of a batch that are taken in hand; the others are held.
    async fn choose(&self, batch: Vec<Received>, state: &mut State) -> Vec<Parked> {
        let mut chosen = vec![];
        for message in batch {
            if !state.held.is_new(&message.message_id, &message.receipt) {
                continue;
            }
            let parked = Parked::open(message, &self.seal).await;
            let selected = self.selection.takes(&parked);
            if selected && state.begun < self.limit {
                state.begun += 1;
                if self.selection.jobs().contains(&parked.job) {
                    state.found.insert(parked.job.clone());
                }
                chosen.push(parked);
                continue;
            }
            state.summary.not_selected += u64::from(!selected);
            state.held.keep(parked.message_id, parked.receipt);
        }
        chosen
    }

    /// Replays messages, several at once, in an ordered queue one by one. After
    /// a failure nothing more is begun, and what was begun is finished.
    async fn replay(&self, chosen: Vec<Parked>, state: &mut State) -> Result<(), Failure> {
        let at_once = if self.queue.is_fifo() { 1 } else { 10 };
        let stopping = self.stopping.child_token();
        let mut results = stream::iter(chosen)
            .map(async |parked| {
                let done = self.one(&parked, &stopping).await;
                (parked, done)
            })
            .buffer_unordered(at_once);
        let mut failed = None;
        while let Some((parked, done)) = results.next().await {
            let shown = match &done {
                Ok(Some(done)) => {
                    state.summary.count(done);
                    self.print(&report::line(&parked, done, self.clock.now(), self.as_json))
                }
                Ok(None) | Err(_) => Ok(()),
            };
            if !matches!(done, Ok(Some(Done::Replayed(_) | Done::CalledBack))) {
                state.held.keep(parked.message_id, parked.receipt);
            }
            if let Some(failure) = done.err().or(shown.err()) {
                stopping.cancel();
                failed.get_or_insert(failure);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// One message from submission to deletion. `None`: it was not begun.
    async fn one(
        &self,
        parked: &Parked,
        stopping: &CancellationToken,
    ) -> Result<Option<Done>, Failure> {
        let Some(submitter) = &self.submitter else {
            return Ok(Some(match &parked.call {
                Ok(_) => Done::Listed,
                Err(_) if parked.callback.is_some() => Done::Listed,
                Err(error) => Done::Stays(error.clone().into()),
            }));
        };
        if let Some(body) = &parked.callback {
            return self.call_back(parked, body).await.map(Some);
        }
        let job = match submitter.submit(parked, stopping).await? {
            Submitted::As(job) => job,
            Submitted::Not(why) => return Ok(Some(Done::Stays(why))),
            Submitted::Stopped => return Ok(None),
        };
        Ok(Some(match self.queue.delete(&parked.receipt).await {
            Ok(()) => Done::Replayed(job),
            Err(error) => Done::NotDeleted(job, error),
        }))
    }

    /// A parked callback goes to the callback queue again: first there, then away here.
    async fn call_back(&self, parked: &Parked, body: &str) -> Result<Done, Failure> {
        let Some(callbacks) = &self.callback_queue else {
            return Ok(Done::Stays(Stays::Callback));
        };
        self.queue.send_to(callbacks, body, parked).await.map_err(Failure::Other)?;
        Ok(match self.queue.delete(&parked.receipt).await {
            Ok(()) => Done::CalledBack,
            Err(error) => Done::Stays(Stays::NotDeleted(error)),
        })
    }

    fn print(&self, line: &str) -> Result<(), Failure> {
        to_stdout(format!("{line}\n").as_bytes()).map_err(|error| Failure::File("-".into(), error))
    }
}

#[cfg(test)]
mod tests;
