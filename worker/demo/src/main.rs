//! The worker binary of the demo services.

mod config;

use queuebridge_worker::{RunError, Worker};

#[tokio::main]
async fn main() -> Result<(), RunError> {
    let routes = match config::append_dir() {
        Some(dir) => queuebridge_demo::routes_with_probe(dir),
        None => queuebridge_demo::routes(),
    };
    Worker::new(routes).run().await
}
