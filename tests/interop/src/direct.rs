//! The service without a bridge: what the same calls do when nothing is between.

use std::future::Future;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Error, Server};

/// How long a shutdown waits for calls in hand, which may be streams without end.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves until `shutdown`.
///
/// # Errors
/// When the server fails.
pub async fn serve(
    routes: Routes,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Error> {
    let draining = CancellationToken::new();
    let server = Server::builder().add_routes(routes).serve_with_incoming_shutdown(
        TcpIncoming::from(listener).with_nodelay(Some(true)),
        draining.clone().cancelled_owned(),
    );
    let drain = async {
        shutdown.await;
        draining.cancel();
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        served = server => served,
        () = drain => Ok(()),
    }
}
