//! Whether messages come and go compressed.
//!
//! tonic decompresses before a handler sees a message, and compresses all answers
//! of a call or none. [`Observing`] looks at the frames underneath: handlers learn
//! of each message whether it was compressed.

use crate::testing::BoolValue;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::NamedService;
use tonic::{Request, Status};

/// The only method whose answers are compressed on request. In streams that is to
/// be decided for each message, which tonic cannot; so they never are.
const COMPRESSING: &str = "/grpc.testing.TestService/UnaryCall";

/// Which messages of a call were compressed, in the order of their arrival.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags(Arc<Mutex<VecDeque<bool>>>);

impl Flags {
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        request.extensions().get().cloned().unwrap_or_default()
    }

    /// Judges the next message. To be called once for each.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` when it was to be compressed and was not.
    pub(crate) fn check(&self, expected: Option<BoolValue>) -> Result<(), Status> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let compressed = all.pop_front().unwrap_or_default();
        if expected.is_some_and(|expected| expected.value) && !compressed {
            return Err(Status::invalid_argument("expected a compressed message"));
        }
        Ok(())
    }

    fn push(&self, compressed: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(compressed);
    }
}

/// A service whose requests carry their [`Flags`].
#[derive(Clone, Debug)]
pub(crate) struct Observing<S>(S);

impl<S> Observing<S> {
    pub(crate) fn new(inner: S) -> Self {
        Self(inner)
    }
}

impl<S: NamedService> NamedService for Observing<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<http::Request<Body>>> Service<http::Request<Body>> for Observing<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> S::Future {
        if request.uri().path() != COMPRESSING {
            request.headers_mut().remove("grpc-accept-encoding");
        }
        let flags = Flags::default();
        request.extensions_mut().insert(flags.clone());
        let prefixes = Prefixes { flags, prefix: [0; 5], read: 0, message: 0 };
        self.0.call(request.map(|inner| Body::new(Observed { inner, prefixes })))
    }
}

struct Observed {
    inner: Body,
    prefixes: Prefixes,
}

/// Reads the five bytes before each message, in whatever pieces they come.
struct Prefixes {
    flags: Flags,
    prefix: [u8; 5],
    /// How much of the prefix has come.
    read: usize,
    /// How much of the message is still to come.
    message: usize,
}

impl Prefixes {
    fn see(&mut self, mut data: &[u8]) {
        while let [first, rest @ ..] = data {
            if self.message > 0 {
                let here = self.message.min(data.len());
                self.message -= here;
                data = &data[here..];
                continue;
            }
            self.prefix[self.read] = *first;
            self.read = (self.read + 1) % self.prefix.len();
            data = rest;
            if self.read == 0 {
                let [flag, length @ ..] = self.prefix;
                self.flags.push(flag != 0);
                self.message = u32::from_be_bytes(length) as usize;
            }
        }
    }
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.inner).poll_frame(context));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.prefixes.see(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_from_pieces_of_any_size() {
        let stream = [&[1, 0, 0, 0, 2, 9, 9][..], &[0; 5], &[1, 0, 0, 0, 1, 0]].concat();
        for size in 1..=stream.len() {
            let flags = Flags::default();
            let mut prefixes =
                Prefixes { flags: flags.clone(), prefix: [0; 5], read: 0, message: 0 };
            stream.chunks(size).for_each(|piece| prefixes.see(piece));
            let seen: Vec<_> = flags.0.lock().unwrap().drain(..).collect();
            assert_eq!(seen, [true, false, true], "in pieces of {size}");
        }
    }
}
