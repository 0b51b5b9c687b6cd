//! (f): jobs with branches, over a topic and over queues, beside as many single jobs.

use crate::Failure;
use crate::answers::counting::Network;
use crate::answers::pace;
use crate::args::Args;
use crate::child::Child;
use crate::endpoints::{Kind, Running};
use crate::grpc::{Answer, Connections, Scatterer, Submitter};
use crate::load;
use crate::report::{Row, Table};
use crate::serve;
use std::sync::{Arc, Mutex, PoisonError};

const COUNTS: [u64; 3] = [1, 3, 10];
const WAYS: [&str; 2] = [serve::TOPIC, serve::QUEUES];
/// Slow enough that jobs do not meet in batches.
const QUIET_PER_SECOND: f64 = 5.0;

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    print("Loopback, branches", throughput(args, false).await?);
    if let Err(error) = Running::start(Kind::Ministack).await {
        println!("\n(f) not over an endpoint: {error}");
        return Ok(());
    }
    print("ministack, branches", throughput(args, true).await?);
    println!("\nRequests to AWS per job, alone in their batches");
    for way in WAYS {
        for count in COUNTS {
            let endpoint = Running::start(Kind::Ministack).await?;
            let network = Network::before(endpoint.url()).await?;
            let server = start(way, count, Some(network.url())).await?;
            let late = Arc::default();
            let callers = callers(args, &server, count, 1, &late).await?;
            pace::at(&callers, QUIET_PER_SECOND, args.warm_up).await?;
            network.reset();
            let paced = pace::at(&callers, QUIET_PER_SECOND, args.measure).await?;
            println!("{way:<8} {count:>2}  {}", network.per_job(paced.done));
            server.stop().await?;
        }
    }
    Ok(())
}

/// A fresh one for every measurement: long polls of a server that was stopped would
/// swallow messages of the next.
async fn endpoint(wanted: bool) -> Result<Option<Running>, Failure> {
    if wanted { Running::start(Kind::Ministack).await.map(Some) } else { Ok(None) }
}

async fn start(way: &str, count: u64, endpoint: Option<&str>) -> Result<Child, Failure> {
    let count = count.to_string();
    let mut role = vec![serve::BRANCHES, way, &count];
    role.extend(endpoint);
    Child::start(&role).await
}

async fn callers(
    args: &Args,
    server: &Child,
    branches: u64,
    number: usize,
    late: &Arc<Mutex<Vec<f64>>>,
) -> Result<Vec<Scatterer>, Failure> {
    let connections = Connections::open(server.url(), args.connections).await?;
    Ok(connections.callers(number, |channel| Scatterer::new(channel, branches, late.clone())))
}

/// Single jobs that are waited for, then gathers: a branch counts as a job.
async fn throughput(args: &Args, over_endpoint: bool) -> Result<Vec<Row>, Failure> {
    let mut single = Row::new("single jobs");
    let mut rows: Vec<(&str, u64, Row)> = Vec::new();
    for way in WAYS {
        rows.extend(COUNTS.map(|count| (way, count, Row::new(&format!("{count} by {way}")))));
    }
    for round in 0..args.rounds {
        let running = endpoint(over_endpoint).await?;
        let mut server = match &running {
            None => Child::start(&[serve::STACK]).await?,
            // Its method has no branches there.
            Some(at) => Child::start(&[serve::BRANCHES, serve::QUEUES, "0", at.url()]).await?,
        };
        let connections = Connections::open(server.url(), args.connections).await?;
        let new = |channel| Submitter::new(channel, Answer::SameCall);
        single
            .add(load::run(args, connections.callers(args.callers, new), Some(&mut server)).await?);
        server.stop().await?;
        for (way, count, row) in &mut rows {
            let running = endpoint(over_endpoint).await?;
            let mut server = start(way, *count, running.as_ref().map(Running::url)).await?;
            let late = Arc::<Mutex<Vec<f64>>>::default();
            let all = callers(args, &server, *count, args.callers, &late).await?;
            match load::run(args, all, Some(&mut server)).await {
                Ok(sample) => row.add(sample),
                Err(error) => row.note(error.to_string()),
            }
            late.lock().unwrap_or_else(PoisonError::into_inner).clear();
            let few = callers(args, &server, *count, 4, &late).await?;
            pace::at(&few, QUIET_PER_SECOND * 2.0, args.measure).await?;
            if round + 1 == args.rounds {
                row.note(format!("last branch to caller {:.1} ms", median(&late)));
            }
            server.stop().await?;
        }
    }
    Ok(std::iter::once(single).chain(rows.into_iter().map(|(.., row)| row)).collect())
}

/// Ends of branches are known to the millisecond.
fn median(late: &Mutex<Vec<f64>>) -> f64 {
    let mut late = late.lock().unwrap_or_else(PoisonError::into_inner).clone();
    late.sort_by(f64::total_cmp);
    late.get(late.len() / 2).copied().unwrap_or(f64::NAN)
}

fn print(title: &str, rows: Vec<Row>) {
    let reference = rows[0].rate();
    Table { title, unit: "of single", reference, rows }.print();
}
