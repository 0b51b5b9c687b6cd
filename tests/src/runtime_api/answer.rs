//! An invocation from the caller's side.

use super::process::{Exit, Killer};
use bytes::{Bytes, BytesMut};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout_at;

/// How an invocation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The function answered, in one piece.
    Response(Bytes),
    /// The function streamed its answer.
    Streamed {
        /// The content type by which it said what the stream holds.
        content_type: String,
        /// The whole of it. Metadata come first, then eight zero bytes, then the
        /// body.
        body: Bytes,
        /// What went wrong in the middle, from the trailers.
        error: Option<FunctionError>,
    },
    /// The function failed, or Lambda refused its answer.
    Error(FunctionError),
    /// There was no answer at the deadline.
    TimedOut,
    /// The process ended before it answered.
    Exited,
}

/// An error as the function reported it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionError {
    /// Its type, from the header.
    pub kind: String,
    /// Its document.
    pub body: Bytes,
}

impl FunctionError {
    pub(super) fn new(kind: &str, message: &str) -> Self {
        Self { kind: kind.to_owned(), body: Bytes::copy_from_slice(message.as_bytes()) }
    }
}

impl Answer {
    /// The document that the function answered.
    ///
    /// # Panics
    /// When it did not answer with JSON in one piece.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let Self::Response(body) = self else { panic!("there is no answer but {self:?}") };
        serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {body:?}"))
    }
}

/// An invocation that is under way.
pub struct Invocation {
    answer: oneshot::Receiver<Answer>,
    chunks: mpsc::UnboundedReceiver<Bytes>,
    seen: BytesMut,
    deadline: Instant,
    exit: Exit,
    kill: Option<Killer>,
}

impl Invocation {
    pub(super) fn new(
        answer: oneshot::Receiver<Answer>,
        chunks: mpsc::UnboundedReceiver<Bytes>,
        deadline: Instant,
        exit: Exit,
        kill: Option<Killer>,
    ) -> Self {
        Self { answer, chunks, seen: BytesMut::new(), deadline, exit, kill }
    }

    /// The next piece of a streamed answer; `None` at its end, or when the answer
    /// is not streamed.
    pub async fn chunk(&mut self) -> Option<Bytes> {
        let next = async {
            tokio::select! {
                biased;
                chunk = self.chunks.recv() => chunk,
                _ = self.exit.wait_for(Option::is_some) => None,
            }
        };
        let chunk = timeout_at(self.deadline.into(), next).await.ok().flatten()?;
        self.seen.extend_from_slice(&chunk);
        Some(chunk)
    }

    /// The end of it. At the deadline the process is killed, as Lambda does,
    /// unless it runs several invocations at once.
    pub async fn end(mut self) -> Answer {
        while self.chunk().await.is_some() {}
        let ended = async {
            tokio::select! {
                biased;
                answer = &mut self.answer => answer.unwrap_or(Answer::Exited),
                _ = self.exit.wait_for(Option::is_some) => Answer::Exited,
            }
        };
        match timeout_at(self.deadline.into(), ended).await {
            Ok(Answer::Streamed { content_type, error, .. }) => {
                Answer::Streamed { content_type, body: self.seen.freeze(), error }
            }
            Ok(answer) => answer,
            Err(_) => {
                if let Some(kill) = self.kill {
                    kill.notify_one();
                }
                Answer::TimedOut
            }
        }
    }
}
