//! The time of an invocation, told to the calls in it.

use crate::typed::HostsDeadline;
use http::{HeaderValue, Request, Response};
use queuebridge_proto::time::grpc_timeout;
use queuebridge_web::Services;
use queuebridge_web_lambda::Ends;
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tonic::body::Body;
use tower::Service;

const TIMEOUT: &str = "grpc-timeout";
/// The most that eight digits of milliseconds can say.
const LONGEST: u128 = 99_999_999;
/// An HTTP API answers 503 after 30 s, however long the function may take.
const HTTP_API: Duration = Duration::from_secs(29);

/// The ends of an invocation by an HTTP API, which does not wait for the function's own.
/// What is under way after the answer keeps its time.
pub(super) fn in_time_for_an_api(ends: Ends) -> Ends {
    Ends { calls: ends.calls.min(Instant::now() + HTTP_API), ..ends }
}

/// Services whose callers have no more time than the invocation. To them it is a
/// deadline like any other: a wait ends before it, with the job as it stands, and a call
/// in the mode `auto` with a ticket.
#[derive(Clone)]
pub(super) struct Within<S> {
    services: S,
    ends_at: Option<Instant>,
}

impl<S> Within<S> {
    pub(super) fn new(services: S, ends_at: Option<Instant>) -> Self {
        Self { services, ends_at }
    }
}

impl<S: Services> Service<Request<Body>> for Within<S> {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.services.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        if let Some(ends_at) = self.ends_at {
            shorten(&mut request, ends_at.saturating_duration_since(Instant::now()));
        }
        self.services.call(request)
    }
}

/// Leaves the caller's own time if it is shorter.
fn shorten<B>(request: &mut Request<B>, left: Duration) {
    if !request.headers().contains_key(TIMEOUT) {
        request.extensions_mut().insert(HostsDeadline);
    }
    let asked = request.headers().get(TIMEOUT).and_then(|value| grpc_timeout(value.to_str().ok()?));
    if asked.is_none_or(|asked| asked > left) {
        // Digits and a letter are a header's value.
        if let Ok(value) = HeaderValue::from_str(&format!("{}m", left.as_millis().min(LONGEST))) {
            request.headers_mut().insert(TIMEOUT, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn calls_through_an_api_are_answered_before_it_gives_up() {
        let now = Instant::now();
        let secs = Duration::from_secs;
        for (own, expected) in [(900, 29), (30, 29), (10, 10)] {
            let ends = Ends { calls: now + secs(own), rest: now + secs(own + 1) };
            let ends = in_time_for_an_api(ends);
            assert_eq!(ends.calls, now + secs(expected));
            assert_eq!(ends.rest, now + secs(own + 1));
        }
    }

    fn shortened(asked: Option<&str>, left: Duration) -> Option<Duration> {
        let mut request = Request::new(());
        if let Some(asked) = asked {
            request.headers_mut().insert(TIMEOUT, asked.parse().unwrap());
        }
        shorten(&mut request, left);
        assert_eq!(request.extensions().get::<HostsDeadline>().is_some(), asked.is_none());
        grpc_timeout(request.headers()[TIMEOUT].to_str().unwrap())
    }

    #[test]
    fn a_call_has_the_shorter_of_both_times() {
        let (millis, secs) = (Duration::from_millis, Duration::from_secs);
        assert_eq!(shortened(None, millis(2_500)), Some(millis(2_500)));
        assert_eq!(shortened(Some("10S"), millis(2_500)), Some(millis(2_500)));
        assert_eq!(shortened(Some("1S"), millis(2_500)), Some(secs(1)));
        assert_eq!(shortened(Some("nonsense"), secs(1)), Some(secs(1)));
        assert_eq!(shortened(None, secs(900)), Some(secs(900)));
        assert_eq!(shortened(None, Duration::ZERO), Some(Duration::ZERO));
        assert_eq!(shortened(None, Duration::MAX), Some(millis(99_999_999)));
    }
}
