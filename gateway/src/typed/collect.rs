//! Taking in the messages of a request.
//!
//! The wire does not tell a call with one message from a stream. A request that is
//! complete, or becomes so within a moment, is sent as a whole. One that stays open is
//! sent as it is by then, and what follows goes after it: whether its caller is slow, or
//! waits for a first answer, makes no difference then.

use crate::admission::Held;
use crate::oversize;
use crate::submission::too_large;
use bytes::Bytes;
use futures_util::FutureExt;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::framing;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tonic::{Code, Status, Streaming};

/// How long an open request is waited for, however often something comes.
const MOMENT: Duration = Duration::from_millis(50);
/// How long its next message is waited for where it cannot be sent before its end.
const PATIENCE: Duration = Duration::from_secs(10);
/// And how long its end.
const ALL_PATIENCE: Duration = Duration::from_secs(120);
/// What a message costs where there are many, however small it is.
const LEAST: usize = 64;
/// An open request is sent when this much of it is there.
const ENOUGH: usize = 256 * 1024;
/// The most that a whole request of several messages may have.
pub(super) const MOST: usize = 64 * 1024 * 1024;

/// The messages that have come.
pub(super) struct Collected {
    pub(super) messages: Vec<Bytes>,
    /// More may come.
    pub(super) open: bool,
}

impl Collected {
    /// The bytes of the messages.
    pub(super) fn size(&self) -> usize {
        self.messages.iter().map(|message| framing::PREFIX + message.len()).sum()
    }

    /// As a payload, and whether that is a stream.
    pub(super) fn into_payload(mut self) -> (Bytes, bool) {
        match self.messages.pop() {
            Some(message) if self.messages.is_empty() && !self.open => (message, false),
            last => {
                self.messages.extend(last);
                (framing::join(&self.messages), true)
            }
        }
    }
}

/// Takes in what comes, as far as there is room for it. With `may_open` a request need not
/// be complete.
///
/// # Errors
/// `RESOURCE_EXHAUSTED`, `UNIMPLEMENTED`/`NO_STREAM`, and what the caller's side says.
pub(super) async fn collect(
    stream: &mut Streaming<Bytes>,
    may_open: bool,
    held: &mut Held,
) -> Result<Collected, Status> {
    let mut collected = Collected { messages: Vec::new(), open: false };
    let (mut size, begun) = (0, Instant::now());
    let moment = begun + MOMENT;
    loop {
        let next = match stream.message().now_or_never() {
            Some(next) => next,
            None => {
                let patience = (Instant::now() + PATIENCE).min(begun + ALL_PATIENCE);
                let end = if may_open { moment } else { patience };
                match timeout_at(end, stream.message()).await {
                    Ok(next) => next,
                    Err(_) if may_open => {
                        collected.open = true;
                        return Ok(collected);
                    }
                    Err(_) => return Err(stays_open()),
                }
            }
        };
        match next.map_err(oversize::of_message)? {
            Some(message) => {
                size += framing::PREFIX + message.len();
                held.add((framing::PREFIX + message.len()).max(LEAST))?;
                collected.messages.push(message);
            }
            None => return Ok(collected),
        }
        if may_open && size > ENOUGH && collected.messages.len() > 1 {
            collected.open = true;
            return Ok(collected);
        }
        if size > MOST && collected.messages.len() > 1 {
            return Err(too_large("request", "a stream of more than 64 MiB"));
        }
    }
}

fn stays_open() -> Status {
    let message = "this call is sent only when its request is complete, and the request stays \
                   open: half-close it";
    error::status(Code::Unimplemented, reason::NO_STREAM, message)
}
