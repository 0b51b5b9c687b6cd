//! The two programs over an endpoint, as they run over AWS.

use crate::Failure;
use queuebridge_demo::Probe;
use queuebridge_gateway::auth::Authenticator;
use queuebridge_gateway::config::{Destination, MethodPattern, RouteConfig};
use queuebridge_gateway::publish::sqs::SqsPublisher;
use queuebridge_gateway::quota::Quotas;
use queuebridge_gateway::replies::{self, Replies, keeper};
use queuebridge_gateway::route::Routes as GatewayRoutes;
use queuebridge_gateway::server::{Gateway, Settings};
use queuebridge_proto::Keyring;
use queuebridge_store::dynamodb::DynamoResultStore;
use queuebridge_store::{Clock, Stores};
use queuebridge_worker::host::outbox::{Queues, SqsOutbox};
use queuebridge_worker::host::poller::{self, PollerSettings};
use queuebridge_worker::host::sqs::{LONGEST_WAIT, SqsSource};
use queuebridge_worker::{Runner, RunnerSettings};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::service::Routes;

const SECOND: Duration = Duration::from_secs(1);

fn keys() -> Keyring {
    Keyring::single(&[2; 32])
}

pub(super) async fn gateway(
    listener: TcpListener,
    endpoint: &str,
    table: &str,
    queue: &str,
    shard: &str,
) -> Result<(), Failure> {
    let sdk = queuebridge_gateway::aws::sdk_config_at(endpoint).await;
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let store = DynamoResultStore::new(aws_sdk_dynamodb::Client::new(&sdk), table, SECOND * 3600);
    let stores = Stores::new(Arc::new(store), None);
    let shards = [shard].into_iter().filter(|url| !url.is_empty()).map(str::to_owned).collect();
    let replies = Arc::new(Replies::new(shards));
    let settings = Settings {
        auth: Authenticator::open("default"),
        quotas: Quotas::default(),
        job_id_keys: keys(),
        envelope_keys: keys(),
        max_message_bytes: 4 * 1024 * 1024,
        max_pending: 10_000,
        drain_timeout: SECOND,
        replies: replies.clone(),
        callbacks: None,
        hosts: Vec::new(),
        cors_origins: Vec::new(),
        descriptors: Arc::default(),
    };
    let route = RouteConfig::new(MethodPattern::All, Destination::Queue(queue.to_owned()));
    let publisher = Arc::new(SqsPublisher::new(sqs.clone(), queue.to_owned()));
    let routes = GatewayRoutes::new().with(route, publisher);
    let leases = stores.leases.clone();
    let gateway = Gateway::new(settings, routes, stores, Clock::system());
    let waiter = gateway.waiter();
    let read = move |url| replies::read(sqs.clone(), url, keys().into(), waiter.clone());
    tokio::spawn(keeper::keep(replies, leases, Clock::system(), read, gateway.draining()));
    gateway.serve(listener, std::future::pending()).await?;
    Ok(())
}

pub(super) async fn worker(endpoint: &str, table: &str, queue: &str) {
    let sdk = queuebridge_gateway::aws::sdk_config_at(endpoint).await;
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let store = DynamoResultStore::new(aws_sdk_dynamodb::Client::new(&sdk), table, SECOND * 3600);
    let outbox = Arc::new(SqsOutbox::new(sqs.clone(), Queues::default(), keys()));
    let routes = Routes::new(Probe::new(None).into_service());
    let settings = RunnerSettings::default();
    let runner =
        Runner::new(routes, Arc::new(store), None, outbox, keys(), Clock::system(), settings);
    let settings = PollerSettings { concurrency: 100, drain_timeout: SECOND };
    let source = SqsSource::new(sqs, queue.to_owned(), LONGEST_WAIT);
    poller::run(runner, source, settings, std::future::pending()).await;
}
