//! A connection that is made when it is needed, and made again when it has ended.

use super::dial::Dial;
use super::failure::{self, Failure};
use crate::upstream::CircuitBreaker;
use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use h2::client::SendRequest;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// The one attempt that all callers wait for, and afterwards what it has made.
type Attempt = Shared<BoxFuture<'static, Result<SendRequest<Bytes>, Arc<io::Error>>>>;

/// One connection of an upstream.
pub(super) struct Connection {
    dial: Arc<Dial>,
    address: SocketAddr,
    breaker: Arc<CircuitBreaker>,
    attempt: Mutex<Option<Attempt>>,
}

impl Connection {
    pub(super) fn new(dial: Arc<Dial>, address: SocketAddr, breaker: Arc<CircuitBreaker>) -> Self {
        Self { dial, address, breaker, attempt: Mutex::default() }
    }

    /// A handle by which a request can be sent now.
    pub(super) async fn ready(&self) -> Result<SendRequest<Bytes>, Failure> {
        // The connection may have ended since its last call: then there is another.
        if let Ok(requests) = self.once().await? {
            return Ok(requests);
        }
        self.once().await?.map_err(|error| failure::of(&error).before_sending())
    }

    async fn once(&self) -> Result<Result<SendRequest<Bytes>, h2::Error>, Failure> {
        let attempt = self.attempt()?;
        let connected = attempt.clone().await;
        let mut requests = connected.map_err(|error| {
            self.forget(&attempt);
            failure::unreachable(&error)
        })?;
        let ready = poll_fn(|context| requests.poll_ready(context)).await;
        Ok(match ready {
            Ok(()) => Ok(requests),
            Err(error) => {
                self.forget(&attempt);
                Err(error)
            }
        })
    }

    fn attempt(&self) -> Result<Attempt, Failure> {
        let mut current = self.lock();
        if let Some(attempt) = &*current {
            return Ok(attempt.clone());
        }
        if let Some(left) = self.breaker.open_for(Instant::now()) {
            return Err(failure::paused(left));
        }
        let (dial, address) = (self.dial.clone(), self.address);
        let breaker = self.breaker.clone();
        let attempt = async move {
            let connected = dial.connect(address).await;
            match &connected {
                Ok(_) => breaker.succeeded(),
                Err(error) => {
                    // It is tried often, and said once.
                    match breaker.is_failing() {
                        false => tracing::warn!(%address, %error, "an upstream cannot be reached"),
                        true => tracing::debug!(%address, %error, "nor can it be now"),
                    }
                    breaker.failed(Instant::now());
                }
            }
            connected.map_err(Arc::new)
        };
        Ok(current.insert(attempt.boxed().shared()).clone())
    }

    /// The next caller connects anew, unless somebody has done so already.
    fn forget(&self, attempt: &Attempt) {
        let mut current = self.lock();
        if current.as_ref().is_some_and(|current| current.ptr_eq(attempt)) {
            *current = None;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Attempt>> {
        self.attempt.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
