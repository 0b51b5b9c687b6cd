//! Counting how often a service is called.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tonic::codegen::Service;
use tonic::server::NamedService;

/// How many calls there were.
#[derive(Clone, Default)]
pub(super) struct Calls(Arc<AtomicU64>);

impl Calls {
    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A service that counts its calls and changes nothing.
#[derive(Clone)]
pub(super) struct Counted<S> {
    inner: S,
    calls: Calls,
}

impl<S> Counted<S> {
    pub(super) fn new(inner: S) -> (Self, Calls) {
        let calls = Calls::default();
        (Self { inner, calls: calls.clone() }, calls)
    }
}

impl<S: NamedService> NamedService for Counted<S> {
    const NAME: &'static str = S::NAME;
}

impl<S: Service<R>, R> Service<R> for Counted<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> S::Future {
        self.calls.0.fetch_add(1, Ordering::Relaxed);
        self.inner.call(request)
    }
}
