//! `strangers`: a worker of the published services that many gRPC servers have, as their
//! libraries ship them, and of a method for everything else that returns what it is sent.

use queuebridge_interop::strangers;
use queuebridge_worker::{RunError, Worker};

#[tokio::main]
async fn main() -> Result<(), RunError> {
    Worker::new(strangers::routes().await).descriptors(strangers::ROUTE_GUIDE).run().await
}
