//! The worker binary of the demo services.

use queuebridge_worker::{RunError, Worker};

#[tokio::main]
async fn main() -> Result<(), RunError> {
    Worker::new(queuebridge_demo::routes()).run().await
}
