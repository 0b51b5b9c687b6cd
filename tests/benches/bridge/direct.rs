//! (g): calls of a service's own methods, as its clients make them: without the bridge,
//! through a gateway that passes them on, and through a queue.
//!
//! It is the same bare service everywhere, so that only the ways differ.

use crate::Failure;
use crate::args::Args;
use crate::child::Child;
use crate::grpc::{Connections, Count, Echo, PAYLOAD_BYTES};
use crate::load::{self, Sample};
use crate::report::{Row, Table};
use crate::serve;
use crate::targets::Targets;

const UPSTREAM_OF_DIRECT: f64 = 0.45;
const SYNC_OF_DIRECT: f64 = 0.25;
const SYNC_P50_MS: f64 = 1.0;
const STREAM_OF_DIRECT: f64 = 3.0;

const LARGE_BYTES: usize = 64 * 1024;
const ANSWERS: u32 = 1_000;
/// Longer than any call takes, and short enough that large answers do not pile up.
const KEEP_SECONDS: &str = "2";

/// What is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// One message each way, of so many bytes.
    Unary(usize),
    /// One message, and a stream of answers; counted is the stream.
    Stream,
}

/// How it is called.
#[derive(Clone, Copy)]
enum Way {
    /// The service itself.
    Direct,
    /// Through a gateway. CPU time is the gateway's.
    Upstream,
    /// Through a gateway, a queue and a worker in one process, and waited for.
    Sync,
}

impl Way {
    const ALL: [Self; 3] = [Self::Direct, Self::Upstream, Self::Sync];

    fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Upstream => "upstream",
            Self::Sync => "sync",
        }
    }
}

pub(crate) async fn run(args: &Args, targets: &mut Targets) -> Result<(), Failure> {
    let calls = [Call::Unary(PAYLOAD_BYTES), Call::Unary(LARGE_BYTES), Call::Stream];
    let mut cases = Vec::new();
    for call in calls {
        for callers in [1, args.callers] {
            let title = match call {
                Call::Unary(bytes) => format!("(g) {bytes} B x{callers}"),
                Call::Stream => format!("(g) stream x{callers}"),
            };
            let row = |way: Way| Row::new(&format!("{title} {}", way.name()));
            cases.push((title.clone(), call, callers, Way::ALL.map(row)));
        }
    }
    for _ in 0..args.rounds {
        for (_, call, callers, rows) in &mut cases {
            for (way, row) in Way::ALL.into_iter().zip(rows) {
                row.add(one(args, way, *call, *callers).await?);
            }
        }
    }
    for (title, call, callers, rows) in cases {
        judge(&title, call, callers, &rows, targets);
        let reference = rows[0].rate();
        Table { title: &title, unit: "of direct", reference, rows: rows.into() }.print();
    }
    Ok(())
}

async fn one(args: &Args, way: Way, call: Call, callers: usize) -> Result<Sample, Failure> {
    let service = match way {
        Way::Direct | Way::Upstream => Child::start(&[serve::ECHO]).await?,
        Way::Sync => Child::start(&[serve::CALLED, KEEP_SECONDS]).await?,
    };
    let mut servers = vec![service];
    if let Way::Upstream = way {
        servers.insert(0, Child::start(&[serve::UPSTREAM, &servers[0].url()]).await?);
    }
    let connections = args.connections.min(callers);
    let connections = Connections::open(servers[0].url(), connections).await?;
    let server = servers.first_mut();
    let sample = match call {
        Call::Unary(bytes) => {
            let new = |channel| Echo::of(channel, bytes);
            load::run(args, connections.callers(callers, new), server).await?
        }
        Call::Stream => {
            let new = |channel| Count::new(channel, ANSWERS);
            load::run(args, connections.callers(callers, new), server).await?
        }
    };
    for server in servers {
        server.stop().await?;
    }
    Ok(sample)
}

fn judge(title: &str, call: Call, callers: usize, rows: &[Row; 3], targets: &mut Targets) {
    let [direct, upstream, sync] = rows;
    if call == Call::Stream {
        let ratio = direct.rate() / sync.rate();
        targets.at_most(format!("{title}: sync, time of direct"), STREAM_OF_DIRECT, ratio);
        return;
    }
    let ratio = |row: &Row| row.rate() / direct.rate();
    targets.at_least(format!("{title}: upstream of direct"), UPSTREAM_OF_DIRECT, ratio(upstream));
    targets.at_least(format!("{title}: sync of direct"), SYNC_OF_DIRECT, ratio(sync));
    if callers == 1 {
        let p50 = sync.median(|sample| Some(sample.p50)).unwrap_or(f64::NAN);
        targets.at_most(format!("{title}: sync, p50 ms"), SYNC_P50_MS, p50);
    }
}
