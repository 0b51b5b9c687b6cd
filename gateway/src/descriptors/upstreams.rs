//! Learning, again and again, what the upstreams offer.

use super::learn::{Bounds, LearnError, learn};
use super::{DescriptorRegistry, files};
use crate::upstream::Upstream;
use http::{Request, Response};
use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tonic::Code;
use tonic::body::Body;
use tower::service_fn;

/// How often a server that has told is asked again: it may have been replaced.
const AGAIN: Duration = Duration::from_secs(300);
/// How soon one that could not be asked is asked again.
const SOON: Duration = Duration::from_secs(15);

/// Asks a gRPC server for its descriptors, for as long as the task runs. What was learned
/// stays when it cannot be asked any more.
pub(crate) async fn keep(registry: Arc<DescriptorRegistry>, name: String, upstream: Upstream) {
    let mut told = HashSet::new();
    loop {
        let server = service_fn(|request: Request<Body>| {
            let upstream = upstream.clone();
            async move { Ok::<Response<Body>, Infallible>(upstream.call(request).await) }
        });
        let pause = match learn(server, Bounds::default()).await {
            Ok(set) => {
                let (registry, source) = (registry.clone(), name.clone());
                // Others wait for this thread.
                let read = move || registry.replace(&source, &set);
                match tokio::task::spawn_blocking(read).await {
                    Ok(Ok(left_out)) => {
                        for problem in files::told(&name, &left_out) {
                            // Once is enough for what stays as it is.
                            if told.insert(problem.clone()) {
                                tracing::warn!(upstream = name, problem, "learned descriptors");
                            }
                        }
                    }
                    Ok(Err(error)) => {
                        tracing::warn!(upstream = name, %error, "descriptors could not be read");
                    }
                    Err(error) => {
                        tracing::warn!(upstream = name, %error, "descriptors could not be read");
                    }
                }
                AGAIN
            }
            // Many servers have no reflection, and need none.
            Err(LearnError::Refused { status, .. }) if status.code() == Code::Unimplemented => {
                AGAIN
            }
            Err(error) => {
                tracing::debug!(upstream = name, %error, "descriptors were not learned");
                SOON
            }
        };
        sleep(pause).await;
    }
}
