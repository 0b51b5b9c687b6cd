//! A gRPC server as an upstream: a reverse proxy on the level of HTTP/2.
//!
//! Frames, compression, metadata, trailers and every kind of streaming pass as
//! they are, with the flow control of both sides joined, so that nothing piles up
//! here. It works with `h2` itself: a call costs no task of its own unless both
//! sides stream at once.

mod answer;
mod connection;
mod dial;
mod failure;
mod head;
mod pool;
mod pump;

pub use dial::DialError;

use super::deadline::Deadline;
use super::{CircuitBreaker, NotRun};
use crate::trust::Trust;
use answer::Stop;
use dial::Dial;
use failure::Failure;
use h2::client::ResponseFuture;
use http::uri::{Authority, Scheme};
use http::{Request, Response, Uri};
use http_body::Body as _;
use pool::Pool;
use pump::Pump;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use tonic::Status;
use tonic::body::Body;

/// A gRPC server, and the connections to it.
pub struct GrpcServer {
    scheme: Scheme,
    authority: Authority,
    pool: Arc<Pool>,
}

/// How a call ended that has no answer.
enum Ended {
    Failed(Failure),
    TooLate(Status),
}

impl GrpcServer {
    /// The server at `http://host:port` or `https://host:port`, over so many
    /// connections to each address of the host, which are made when they are needed.
    ///
    /// # Errors
    /// When the URL is another one, or TLS cannot work.
    pub fn new(url: &Uri, connections: usize, breaker: CircuitBreaker) -> Result<Self, DialError> {
        Self::trusting(&Trust::default(), url, connections, breaker)
    }

    /// The same with authorities and a certificate of one's own.
    ///
    /// # Errors
    /// The same.
    pub fn trusting(
        trust: &Trust,
        url: &Uri,
        connections: usize,
        breaker: CircuitBreaker,
    ) -> Result<Self, DialError> {
        let parts = url.clone().into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(DialError::Url);
        };
        let pool = Arc::new(Pool::new(Dial::new(url, trust)?, connections, breaker));
        Ok(Self { scheme, authority, pool })
    }

    /// Calls the server; see [`super::Upstream::attempt`].
    pub(super) async fn attempt(&self, request: Request<Body>) -> Result<Response<Body>, NotRun> {
        let mut deadline = Deadline::of(request.headers());
        let mut requests = match deadline.bound(self.pool.ready()).await {
            Ok(Ok(requests)) => requests,
            Ok(Err(failure)) => return Err(NotRun::new(failure.status, Some(request))),
            Err(late) => return Ok(late.into_http()),
        };
        let (parts, body) = request.into_parts();
        let head = head::of_request(parts, &self.scheme, &self.authority);
        let complete = body.is_end_stream();
        let sent = requests.send_request(head, complete);
        let answered = match sent {
            Ok((answer, stream)) => {
                let pump = (!complete).then(|| Pump::new(body, stream));
                exchange(answer, pump, deadline).await
            }
            Err(error) => Err(Ended::Failed(failure::of(&error).before_sending())),
        };
        match answered {
            Ok(response) => Ok(response),
            Err(Ended::TooLate(status)) => Ok(status.into_http()),
            Err(Ended::Failed(Failure { status, not_run: true })) => Err(NotRun::new(status, None)),
            Err(Ended::Failed(Failure { status, .. })) => Ok(status.into_http()),
        }
    }
}

/// Moves the request and waits for the answer's head in one task. What remains of
/// the request then gets a task of its own: an answer that nobody reads must not
/// hold up the request.
async fn exchange(
    mut answer: ResponseFuture,
    mut pump: Option<Pump>,
    mut deadline: Deadline,
) -> Result<Response<Body>, Ended> {
    let head = poll_fn(|context| {
        if pump.as_mut().is_some_and(|pump| pump.poll(context).is_ready()) {
            pump = None;
        }
        match Pin::new(&mut answer).poll(context) {
            Poll::Ready(Ok(head)) => Poll::Ready(Ok(head)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(Ended::Failed(failure::of(&error)))),
            Poll::Pending if deadline.poll(context) => {
                Poll::Ready(Err(Ended::TooLate(super::deadline::too_late())))
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await?;
    let stop = pump.map(|mut pump| {
        let rest = tokio::spawn(async move { poll_fn(|context| pump.poll(context)).await });
        Stop(rest.abort_handle())
    });
    Ok(answer::passed_on(head, deadline, stop))
}

#[cfg(test)]
mod tests;
