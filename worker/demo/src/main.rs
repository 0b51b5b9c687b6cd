//! The worker binary of the demo services.

mod config;

use queuebridge_worker::{RunError, Worker};

// Many small allocations on several threads, freed on others: less CPU per job
// than with the system's allocator, and less memory kept.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), RunError> {
    let routes = match config::append_dir() {
        Some(dir) => queuebridge_demo::routes_with_probe(dir),
        None => queuebridge_demo::routes(),
    };
    Worker::new(routes).descriptors(queuebridge_demo::FILE_DESCRIPTOR_SET).run().await
}
