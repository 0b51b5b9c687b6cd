//! (h): honest calls while others mean harm, beside the same calls when nobody does.
//!
//! One honest caller, so that what is seen is how long a call takes and not how the cores
//! are shared. Whoever means harm is in this process, and takes CPU time of its own.

use crate::Failure;
use crate::args::Args;
use crate::child::Child;
use crate::grpc::{Answer, Connections, Submitter};
use crate::load;
use crate::report::{Row, Table};
use crate::serve;
use crate::targets::Targets;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::sleep;

const P50_OF_PEACE: f64 = 2.0;
const IDLE: usize = 2_000;
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
/// Frames in one piece of a flood.
const BURST: u32 = 200;
/// Between two pieces: a flood of a network, and not of a loopback's bandwidth.
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Harm {
    None,
    /// Thousands of connections that say nothing.
    Idle,
    /// Calls that are reset as soon as they begin, over one connection after the other.
    Resets,
    /// Pings, whose answers are not read.
    Pings,
}

impl Harm {
    const ALL: [Self; 4] = [Self::None, Self::Idle, Self::Resets, Self::Pings];

    fn name(self) -> &'static str {
        match self {
            Self::None => "nobody",
            Self::Idle => "idle connections",
            Self::Resets => "resets",
            Self::Pings => "pings",
        }
    }

    /// Goes on until the tasks are dropped.
    async fn begin(self, address: &str) -> Result<JoinSet<()>, Failure> {
        let mut tasks = JoinSet::new();
        match self {
            Self::None => {}
            Self::Idle => {
                let mut connections = Vec::with_capacity(IDLE);
                for _ in 0..IDLE {
                    let mut connection = TcpStream::connect(address).await?;
                    connection.write_all(PREFACE).await?;
                    connections.push(connection);
                }
                tasks.spawn(async move {
                    std::future::pending::<()>().await;
                    drop(connections);
                });
            }
            Self::Resets => drop(tasks.spawn(flood(address.to_owned(), resets, true))),
            Self::Pings => drop(tasks.spawn(flood(address.to_owned(), pings, false))),
        }
        Ok(tasks)
    }
}

/// Sends pieces as long as the other side takes them, and begins anew when it does not.
async fn flood(address: String, piece: fn(u32) -> Vec<u8>, reading: bool) {
    loop {
        let Ok(mut connection) = TcpStream::connect(&address).await else { return };
        let (mut answers, mut connection) = connection.split();
        let send = async {
            let mut sent = connection.write_all(PREFACE).await;
            let mut number = 0;
            while sent.is_ok() {
                sent = connection.write_all(&piece(number)).await;
                number += 1;
                sleep(PAUSE).await;
            }
        };
        let read = async {
            let mut buffer = vec![0; 1 << 16];
            while reading && answers.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
            if !reading {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = send => {}
            () = read => {}
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

fn resets(piece: u32) -> Vec<u8> {
    // Literals of HPACK that are not remembered.
    let fields = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/queuebridge.v1.Jobs/Submit"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
    ];
    let length = |text: &str| u8::try_from(text.len()).unwrap_or_default();
    let head = fields.iter().flat_map(|(name, value)| {
        let name = [&[0, length(name)], name.as_bytes()].concat();
        [name, [&[length(value)], value.as_bytes()].concat()].concat()
    });
    let head: Vec<u8> = head.collect();
    let first = piece * BURST;
    let call = |number: u32| {
        let stream = 2 * (first + number) + 1;
        [frame(1, 4, stream, &head), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
    };
    (0..BURST).flat_map(call).collect()
}

fn pings(_: u32) -> Vec<u8> {
    frame(6, 0, 0, &[1; 8]).repeat(BURST as usize)
}

pub(crate) async fn run(args: &Args, targets: &mut Targets) -> Result<(), Failure> {
    let mut rows = Harm::ALL.map(|harm| Row::new(&format!("(h) {}", harm.name())));
    for _ in 0..args.rounds {
        for (harm, row) in Harm::ALL.into_iter().zip(&mut rows) {
            let mut server = Child::start(&[serve::STACK]).await?;
            let url = server.url();
            let harmful = harm.begin(url.trim_start_matches("http://")).await?;
            let connections = Connections::open(url, 1).await?;
            let callers =
                connections.callers(1, |channel| Submitter::new(channel, Answer::SameCall));
            row.add(load::run(args, callers, Some(&mut server)).await?);
            drop(harmful);
            server.stop().await?;
        }
    }
    let p50 = |row: &Row| row.median(|sample| Some(sample.p50)).unwrap_or(f64::NAN);
    let peace = p50(&rows[0]);
    for (harm, row) in Harm::ALL.into_iter().zip(&rows).skip(1) {
        let name = format!("(h) {}: p50 of that with nobody", harm.name());
        targets.at_most(name, P50_OF_PEACE, p50(row) / peace);
    }
    let reference = rows[0].rate();
    Table { title: "While others mean harm", unit: "of nobody", reference, rows: rows.into() }
        .print();
    Ok(())
}
