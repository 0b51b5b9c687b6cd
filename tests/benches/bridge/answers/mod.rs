//! (e): from a submission to its answer, at a quiet pace and at half of what is
//! possible, by each way in which an answer finds its caller.

mod bare;
mod bridge;
pub(crate) mod counting;
pub(crate) mod pace;

use crate::Failure;
use crate::args::Args;
use crate::child::Child;
use crate::endpoints::Running;
use crate::grpc::{Answer, Connections, Echo, Submitter};
use crate::load::{self, Caller};
use crate::serve;
use crate::targets::Targets;
use bare::{Alone, ByHand};
use bridge::Bridge;
use pace::Paced;

const QUIET_PER_SECOND: f64 = 10.0;
const LOOPBACK_P50_MS: f64 = 1.0;
const P99_OF_P50: f64 = 10.0;
const P50_OF_BARE: f64 = 1.5;

/// How an answer finds its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// It is announced to the gateway at which the caller waits.
    Shard,
    /// The gateway polls the store for the caller.
    Store,
    /// The caller polls the gateway, every 5 ms.
    Client,
}

impl Way {
    const ALL: [Self; 3] = [Self::Shard, Self::Store, Self::Client];

    fn name(self) -> &'static str {
        match self {
            Self::Shard => "shard wait",
            Self::Store => "store polling",
            Self::Client => "client polling",
        }
    }

    fn answer(self) -> Answer {
        match self {
            Self::Shard | Self::Store => Answer::SameCall,
            Self::Client => Answer::Polling,
        }
    }

    fn announced(self) -> bool {
        self == Self::Shard
    }
}

/// One way, at both paces.
#[derive(Debug)]
struct Line {
    name: String,
    quiet: Paced,
    half: Paced,
    note: String,
}

pub(crate) async fn run(args: &Args, targets: &mut Targets) -> Result<(), Failure> {
    let mut lines = vec![echo(args).await?];
    for way in Way::ALL {
        lines.push(loopback(args, way).await?);
    }
    print("Loopback", &lines);
    lines.remove(0);
    let p50 = lines[0].quiet.p50;
    targets.at_most("(e) loopback: p50 ms at 10/s".to_owned(), LOOPBACK_P50_MS, p50);
    let tail = lines[0].half.p99 / lines[0].half.p50;
    targets.at_most("(e) loopback: p99 of p50 at half load".to_owned(), P99_OF_P50, tail);

    let endpoint = match Running::start(crate::endpoints::Kind::Ministack).await {
        Ok(running) => running,
        Err(error) => {
            println!("\n(e) not over an endpoint: {error}");
            return Ok(());
        }
    };
    let alone = Alone::many(endpoint.url(), args.callers).await?;
    let by_hand = ByHand::many(endpoint.url(), args.callers).await?;
    let mut lines = vec![
        bare(args, "bare SDK, alone", alone).await?,
        bare(args, "bare SDK, by hand", by_hand).await?,
    ];
    for way in Way::ALL {
        lines.push(over(args, &endpoint, way).await?);
    }
    let ratio = lines[2].quiet.p50 / lines[1].quiet.p50;
    let name = endpoint.kind().name();
    print(&format!("Over {name}"), &lines);
    targets.at_most(format!("(e) {name}: p50 of by hand at 10/s"), P50_OF_BARE, ratio);
    Ok(())
}

/// What a call costs that finds its answer at the other end of the connection.
async fn echo(args: &Args) -> Result<Line, Failure> {
    let server = Child::start(&[serve::ECHO]).await?;
    let connections = Connections::open(server.url(), args.connections).await?;
    let line = bare(args, "bare tonic echo", connections.callers(args.callers, Echo::new)).await?;
    server.stop().await?;
    Ok(line)
}

async fn loopback(args: &Args, way: Way) -> Result<Line, Failure> {
    let role: &[&str] =
        if way.announced() { &[serve::STACK] } else { &[serve::STACK, serve::QUIETLY] };
    let mut server = Child::start(role).await?;
    let line = both(args, way, server.url(), Some(&mut server), String::new()).await?;
    server.stop().await?;
    Ok(line)
}

async fn over(args: &Args, endpoint: &Running, way: Way) -> Result<Line, Failure> {
    let requests = {
        // Counted by themselves: what counts them takes time.
        let network = counting::Network::before(endpoint.url()).await?;
        let bridge = Bridge::start(network.url(), way.announced()).await?;
        let callers = callers(args, way, bridge.url(), 1).await?;
        pace::at(&callers, QUIET_PER_SECOND, args.warm_up).await?;
        network.reset();
        let paced = pace::at(&callers, QUIET_PER_SECOND, args.measure).await?;
        network.per_job(paced.done)
    };
    let bridge = Bridge::start(endpoint.url(), way.announced()).await?;
    both(args, way, bridge.url(), None, requests).await
}

async fn callers(
    args: &Args,
    way: Way,
    url: String,
    number: usize,
) -> Result<Vec<Submitter>, Failure> {
    let connections = Connections::open(url, args.connections).await?;
    Ok(connections.callers(number, |channel| Submitter::new(channel, way.answer())))
}

async fn both(
    args: &Args,
    way: Way,
    url: String,
    server: Option<&mut Child>,
    note: String,
) -> Result<Line, Failure> {
    let all = callers(args, way, url, args.callers).await?;
    pace::at(&all, QUIET_PER_SECOND, args.warm_up).await?;
    let quiet = pace::at(&all, QUIET_PER_SECOND, args.measure).await?;
    let most = load::run(args, all.clone(), server).await?.rate;
    let half = pace::at(&all, most / 2.0, args.measure).await?;
    Ok(Line { name: way.name().to_owned(), quiet, half, note })
}

async fn bare<C: Caller + Clone>(
    args: &Args,
    name: &str,
    callers: Vec<C>,
) -> Result<Line, Failure> {
    pace::at(&callers, QUIET_PER_SECOND, args.warm_up).await?;
    let quiet = pace::at(&callers, QUIET_PER_SECOND, args.measure).await?;
    let most = load::run(args, callers.clone(), None).await?.rate;
    let half = pace::at(&callers, most / 2.0, args.measure).await?;
    Ok(Line { name: name.to_owned(), quiet, half, note: String::new() })
}

fn print(title: &str, lines: &[Line]) {
    println!(
        "\n{title:<18}  {:>10}  {:>10}  {:>10}  {:>10}  {:>10}",
        "10/s p50", "10/s p99", "half per s", "half p50", "half p99"
    );
    for Line { name, quiet, half, note } in lines {
        println!(
            "{name:<18}  {:>10.3}  {:>10.3}  {:>10.0}  {:>10.3}  {:>10.3}  {note}{}",
            quiet.p50,
            quiet.p99,
            half.rate,
            half.p50,
            half.p99,
            failed(quiet, half)
        );
    }
}

fn failed(quiet: &Paced, half: &Paced) -> String {
    let failure = quiet.first_failure.as_ref().or(half.first_failure.as_ref());
    failure.map(|why| format!("; failures, the first: {why}")).unwrap_or_default()
}
