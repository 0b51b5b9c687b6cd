//! The worker kit as a Lambda function over stores in memory: what it costs, and
//! what it does with large batches, without the network in between.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::config::BehaviorVersion;
use queuebridge_store::Clock;
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use queuebridge_web::Web;
use queuebridge_worker::config::Config;
use queuebridge_worker::host::lambda::{self, DoorSettings};
use queuebridge_worker::outbox::NoOutbox;
use queuebridge_worker::telemetry::Telemetry;
use queuebridge_worker::{Runner, RunnerSettings};
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    let config = Config::from_process()?;
    let bridge = config.bridge.ok_or("the keys and the table are missing")?;
    let clock = Clock::system();
    let store = Arc::new(MemoryResultStore::new(bridge.copies_survive));
    let payloads = Arc::new(MemoryPayloadStore::new(bridge.copies_survive, clock));
    let settings = RunnerSettings {
        lease: config.lease,
        concurrency: config.concurrency,
        ..RunnerSettings::default()
    };
    // The name of the table is required, and means nothing here: it is the folder
    // of `Probe.Append`.
    let routes = queuebridge_demo::routes_with_probe(bridge.table);
    let outbox = Arc::new(NoOutbox);
    let runner = Runner::new(
        routes.clone(),
        store,
        Some(payloads),
        outbox,
        bridge.envelope_keys,
        clock,
        settings,
    );
    // Without a Region every call fails at once: there is no queue.
    let sqs = aws_sdk_sqs::Config::builder().behavior_version(BehaviorVersion::latest());
    let web = Web::new(routes, None);
    lambda::run(
        Some(runner),
        Client::from_conf(sqs.build()),
        web,
        DoorSettings::default(),
        Telemetry::default(),
    )
    .await
}
