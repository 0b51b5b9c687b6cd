//! The servers that are measured, each as its own process.

mod aws;
mod counted;
mod echo;
mod gateway;
mod upstream;

use crate::Failure;
use crate::child::Counters;
use counted::Counted;
use echo::BareEcho;
use queuebridge_demo::Probe;
use queuebridge_demo::v1::probe_server::ProbeServer;
use queuebridge_gateway::config::{BranchConfig, FanOut};
use queuebridge_local::{Branches, Over, Stack};
use queuebridge_proto::v1::GatherRule;
use std::io::Write;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// A tonic server with nothing else. It counts nothing.
pub(crate) const ECHO: &str = "echo";
/// The embedded stack; with an argument, expiry and retentions are that many
/// seconds. It counts the jobs that were started.
pub(crate) const STACK: &str = "stack";
/// The embedded stack: those who wait poll the store.
pub(crate) const QUIETLY: &str = "quietly";
/// The embedded stack whose Echo goes to branches: over a topic or queues, how many, and
/// an endpoint or nothing.
pub(crate) const BRANCHES: &str = "branches";
/// Over a topic.
pub(crate) const TOPIC: &str = "topic";
/// Over a queue for each branch.
pub(crate) const QUEUES: &str = "queues";
/// A whole gateway at an endpoint: its URL, a table, a queue, and a reply shard or
/// nothing.
pub(crate) const BRIDGE: &str = "bridge";
/// A worker at an endpoint: its URL, a table and a queue.
pub(crate) const WORKER: &str = "worker";
/// A gateway in front of a service that is called directly: its URL.
pub(crate) const UPSTREAM: &str = "upstream";
/// The embedded stack around the service of [`ECHO`], with expiry and retentions of so
/// many seconds.
pub(crate) const CALLED: &str = "called";
/// A gateway over queues at an endpoint: its URL, and the queues' URLs. It
/// counts requests to the queue, and the messages in them.
pub(crate) const GATEWAY: &str = "gateway";

/// Serves until the standard input is closed.
pub(crate) async fn run(role: &[String]) -> Result<(), Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    match role.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [ECHO] => {
            let service = ProbeServer::new(BareEcho);
            let incoming = TcpIncoming::from(announce(listener, || [0, 0])?);
            let incoming = incoming.with_nodelay(Some(true));
            Server::builder().add_service(service).serve_with_incoming(incoming).await?;
        }
        [BRIDGE, endpoint, table, queue, replies] => {
            let listener = announce(listener, || [0, 0])?;
            aws::gateway(listener, endpoint, table, queue, replies).await?;
        }
        [WORKER, endpoint, table, queue] => {
            announce(listener, || [0, 0])?;
            aws::worker(endpoint, table, queue).await;
        }
        [STACK, QUIETLY] => {
            let stack = Stack { announce: false, ..Stack::default() };
            let listener = announce(listener, || [0, 0])?;
            let routes = Routes::new(Probe::new(None).into_service());
            stack.serve_on(listener, routes, std::future::pending()).await?;
        }
        [BRANCHES, over, count, endpoint @ ..] => {
            let stack = Stack {
                endpoint: endpoint.first().map(|url| (*url).to_owned()),
                branches: branches(over, count.parse()?)?,
                ..Stack::default()
            };
            let listener = announce(listener, || [0, 0])?;
            let routes = Routes::new(Probe::new(None).into_service());
            stack.serve_on(listener, routes, std::future::pending()).await?;
        }
        [UPSTREAM, url] => {
            let gateway = upstream::gateway(url)?;
            let listener = announce(listener, || [0, 0])?;
            gateway.serve(listener, std::future::pending()).await?;
        }
        [CALLED, seconds] => {
            let routes = Routes::new(ProbeServer::new(BareEcho));
            let listener = announce(listener, || [0, 0])?;
            keeping(seconds)?.serve_on(listener, routes, std::future::pending()).await?;
        }
        [STACK, keep @ ..] => {
            let stack = keep.first().map_or_else(|| Ok(Stack::default()), |keep| keeping(keep))?;
            let (probe, started) = Counted::new(Probe::new(None).into_service());
            let listener = announce(listener, move || [started.get(), 0])?;
            stack.serve_on(listener, Routes::new(probe), std::future::pending()).await?;
        }
        [GATEWAY, endpoint, queues @ ..] => {
            let (gateway, requests) = gateway::build(endpoint, queues).await?;
            let listener = announce(listener, move || requests.counters())?;
            gateway.serve(listener, std::future::pending()).await?;
        }
        other => return Err(format!("there is no server {other:?}").into()),
    }
    Ok(())
}

/// An embedded stack that keeps nothing for longer than so many seconds.
fn keeping(seconds: &str) -> Result<Stack, Failure> {
    let keep = Duration::from_secs(seconds.parse()?);
    Ok(Stack {
        queue_retention: keep,
        default_expiry: keep,
        default_retention: keep,
        ..Stack::default()
    })
}

/// None at all, if there are to be none.
fn branches(over: &str, count: usize) -> Result<Vec<Branches>, Failure> {
    if count == 0 {
        return Ok(Vec::new());
    }
    let branch = |index: usize| BranchConfig::new(&format!("b{index}"), None);
    Ok(vec![Branches {
        methods: "/queuebridge.demo.v1.Probe/Echo".parse()?,
        over: if over == TOPIC { Over::Topic } else { Over::Queues },
        fan_out: FanOut { rule: GatherRule::default(), branches: (0..count).map(branch).collect() },
        without: Vec::new(),
    }])
}

/// Says where the server listens, and answers for its counters from now on.
fn announce(
    listener: TcpListener,
    counters: impl Fn() -> Counters + Send + 'static,
) -> Result<TcpListener, Failure> {
    println!("{}", listener.local_addr()?);
    std::thread::spawn(move || {
        for _question in std::io::stdin().lines() {
            let [first, second] = counters();
            println!("{first} {second}");
            let _ = std::io::stdout().flush();
        }
        // There is nothing to drain: what is measured is over.
        std::process::exit(0);
    });
    Ok(listener)
}
