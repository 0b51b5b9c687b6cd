//! Memory for answers: a budget of bytes that calls load, until those bytes have left.
//!
//! A call of a few bytes can ask for megabytes: an answer that is kept, a page of them, the
//! next chunk of a stream. Whatever is loaded for an answer takes room first, and a client
//! that does not read what it has asked for keeps its room. A refused call has loaded nothing.
//!
//! Room follows the bytes. What a handler takes is first *kept* by the call; each frame of the
//! answer takes its part of that with it, and gives it back when its buffer is freed. The end
//! of the body would be too early: hyper hands a frame to HTTP/2 as soon as there is room for
//! one byte of it, asks for the next, and is done with the body when the last one is handed
//! over, with all of it unsent in the buffer of `h2`. HTTP/1 buffers a whole frame likewise.
//!
//! What is not counted: up to 8 KiB of each call, and what a call to an upstream
//! passes on, which flow control bounds.

mod body;

use crate::room::{ALL, Budget, FREE, LARGEST, Room, TURN};
use crate::until_end::keep_with;
use body::{LeavingBody, PartOfRoom};
use bytes::Bytes;
use http::{Request, Response};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync;
use tokio::time::{Instant, sleep_until};
use tonic::Status;
use tonic::body::Body;

/// The room for what is going out. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leaving(Budget);

impl Default for Leaving {
    fn default() -> Self {
        Self::new(ALL / LARGEST, false)
    }
}

impl Leaving {
    /// Room for messages of at most `most` bytes. A tenant that is `alone` has all of it,
    /// one of several leaves a quarter to the others.
    pub(crate) fn new(most: usize, alone: bool) -> Self {
        Self(Budget::new(most, alone))
    }

    /// The room of one call, which holds nothing yet.
    pub(crate) fn call(&self, tenant: &Arc<str>) -> CallRoom {
        let (kept, passed, leaving) = (0, 0, 0);
        let held = Held { room: self.0.room(tenant), kept, passed, leaving };
        let (held, turn) = (Mutex::new(held), sync::Mutex::default());
        CallRoom(Arc::new(Shared { budget: self.0.clone(), held, turn }))
    }

    /// Puts the room of a call among the extensions of its request. `None`: it has one, and
    /// whoever made it has the answer pass through [`CallRoom::answer`].
    pub(crate) fn enter(&self, tenant: &Arc<str>, request: &mut Request<Body>) -> Option<CallRoom> {
        if request.extensions().get::<CallRoom>().is_some() {
            return None;
        }
        let room = self.call(tenant);
        request.extensions_mut().insert(room.clone());
        Some(room)
    }
}

/// The room of one call. Cheap to clone; all clones are the same room.
///
/// A call that keeps something does not wait for more: calls that do would wait for each
/// other. It is refused at once, like everything that has waited for 10 s. So a handler takes
/// what it needs at once, or the most important first; and a stream has handed on its last
/// item when it takes for the next one ([`Self::take_next`]), because that leaves whether the
/// stream waits or not.
#[derive(Clone, Debug)]
pub struct CallRoom(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    budget: Budget,
    held: Mutex<Held>,
    /// One at a time takes: what another one gets meanwhile would be kept by a call that waits.
    turn: sync::Mutex<()>,
}

/// What a call holds, of the budget all together.
#[derive(Debug)]
struct Held {
    room: Room,
    /// For what it works on.
    kept: usize,
    /// For what it has handed on to its answer, and is no frame yet.
    passed: usize,
    /// With frames whose buffers are not freed yet.
    leaving: usize,
}

impl CallRoom {
    /// The room that the server attached to a request. Without one, in tests of handlers, it
    /// is one of a budget of its own.
    #[must_use]
    pub fn of<T>(request: &tonic::Request<T>) -> Self {
        let attached = request.extensions().get::<Self>().cloned();
        attached.unwrap_or_else(|| Leaving::default().call(&Arc::from("")))
    }

    /// Room for so many bytes more, before they are loaded: at once if there is, else as soon
    /// as there is, in 10 s at most. A call that keeps more than 8 KiB already does not wait.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`/`OVERLOADED` with the time to come back.
    pub async fn take(&self, bytes: usize) -> Result<(), Status> {
        if self.try_take(bytes) { Ok(()) } else { self.wait(bytes, false).await }
    }

    /// Room for the next item of a stream, as [`Self::take`]. Everything that was taken before
    /// is in the answer, or in what was given back: it is kept no more, and the call may wait.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub async fn take_next(&self, bytes: usize) -> Result<(), Status> {
        self.held().pass();
        if self.try_take(bytes) { Ok(()) } else { self.wait(bytes, true).await }
    }

    /// As [`Self::take_next`], at once or not at all: whoever has loaded something to see how
    /// much it is lets it go before it waits.
    #[must_use]
    pub fn try_next(&self, bytes: usize) -> bool {
        self.held().pass();
        self.try_take(bytes)
    }

    /// Room for so many bytes more at once, or `false`, and nothing is taken.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> bool {
        self.0.turn.try_lock().is_ok_and(|_turn| self.held().take(bytes).is_ok())
    }

    /// Gives back what was taken and does not go into the answer.
    pub fn give_back(&self, bytes: usize) {
        self.held().give_back(bytes);
    }

    async fn wait(&self, bytes: usize, next: bool) -> Result<(), Status> {
        let end = sleep_until(Instant::now() + TURN);
        tokio::pin!(end);
        let _turn = self.0.turn.lock().await;
        loop {
            // Whatever is given back from here on is noticed.
            let given_back = self.0.budget.given_back();
            let refusal = {
                let mut held = self.held();
                if next {
                    held.pass();
                }
                match held.take(bytes) {
                    Ok(()) => return Ok(()),
                    Err(refusal) if held.kept > FREE => return Err(refusal),
                    Err(refusal) => refusal,
                }
            };
            tokio::select! {
                () = given_back => {}
                () = &mut end => return Err(refusal),
            }
        }
    }

    /// The call's answer, which gives back what it takes along as it leaves, and the rest at
    /// its end or when it is dropped.
    pub(crate) fn answer(self, response: Response<Body>) -> Response<Body> {
        // Small single answers pay nothing: the handler is done, and has counted nothing.
        if Arc::strong_count(&self.0) == 1 && self.held().all() <= FREE {
            return response;
        }
        response.map(|body| Body::new(LeavingBody::new(body, self)))
    }

    /// A piece of the answer, with its part of the room.
    fn leave(&self, data: Bytes) -> Bytes {
        let bytes = self.held().leave(data.len());
        if bytes == 0 { data } else { keep_with(data, PartOfRoom { bytes, room: self.clone() }) }
    }

    /// The answer has no more pieces.
    fn end(&self) {
        self.held().give_back(usize::MAX);
    }

    /// A piece is freed.
    fn left(&self, bytes: usize) {
        let mut held = self.held();
        held.leaving -= bytes;
        held.settle();
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn all(&self) -> usize {
        self.kept + self.passed + self.leaving
    }

    fn take(&mut self, bytes: usize) -> Result<(), Status> {
        self.room.hold(self.all().saturating_add(bytes))?;
        self.kept += bytes;
        Ok(())
    }

    /// Of what was handed on before the last item, everything is in frames by now, but for
    /// what became less on the way (compressed, or left out).
    fn pass(&mut self) {
        if self.kept > 0 {
            self.passed = std::mem::take(&mut self.kept);
            self.settle();
        }
    }

    fn give_back(&mut self, bytes: usize) {
        let kept = bytes.min(self.kept);
        self.kept -= kept;
        self.passed -= (bytes - kept).min(self.passed);
        self.settle();
    }

    /// A piece of so many bytes leaves: how many it takes along.
    fn leave(&mut self, bytes: usize) -> usize {
        let passed = bytes.min(self.passed);
        let kept = (bytes - passed).min(self.kept);
        let is_free = self.all() <= FREE;
        self.passed -= passed;
        self.kept -= kept;
        // What is free is not worth counting any longer.
        let along = if is_free { 0 } else { passed + kept };
        self.leaving += along;
        along
    }

    /// Less is always had.
    fn settle(&mut self) {
        let _ = self.room.hold(self.all());
    }
}

#[cfg(test)]
mod tests;
