//! What HTTP/2 and HTTP/1.1 may take of the gateway.

use crate::config::LimitsConfig;
use std::time::Duration;
use tonic::transport::Server;

/// Connections that say nothing are probed after this time, which is shorter
/// than the idle time-outs of common load balancers (60 s).
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// A peer that does not answer, or takes nothing of what is sent before the probe, is cut off.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// What a connection may send ahead. Callers of many small messages need it: HTTP/2 servers
/// end connections with too many small frames that were not read yet, and what is too many
/// is counted by this.
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;
/// Fewer and larger frames than the 16 KiB of the standard.
const FRAME: u32 = 64 * 1024;

/// A server within these limits. What floods HTTP/2 beside them is bounded by `h2`.
pub(super) fn with(limits: &LimitsConfig) -> Server {
    let server = Server::builder()
        .accept_http1(true)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .http2_max_header_list_size(limits.header_bytes)
        .max_concurrent_streams(limits.streams)
        .max_frame_size(FRAME)
        .initial_connection_window_size(CONNECTION_WINDOW);
    match limits.connection_age {
        Some(age) => server.max_connection_age(age),
        None => server,
    }
}
