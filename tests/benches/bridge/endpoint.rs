//! (d): sending over a queue's endpoint, beside the bare AWS SDK.

use crate::Failure;
use crate::args::Args;
use crate::child::Child;
use crate::endpoints::{Kind, Running};
use crate::grpc::{Answer, Connections, Submitter};
use crate::load::{self, Sample};
use crate::report::{Row, Table};
use crate::serve;
use crate::sqs::{self, Queues, Sender};
use crate::targets::Targets;
use aws_sdk_sqs::Client;
use std::sync::Arc;

const REQUESTS_PER_JOB: f64 = 0.12;
const RATE_OF_BATCHES: f64 = 0.8;
const CPU_OF_ECHO: f64 = 4.0;
const LATENCY_OF_SEND: f64 = 1.3;
/// More than any endpoint takes in a second.
const MESSAGES_PER_SECOND: u64 = 60_000;

#[derive(Clone, Copy)]
enum Program {
    Send { callers: usize },
    SendBatch { callers: usize },
    Submit { callers: usize },
}

/// Measures them in turns at one endpoint.
pub(crate) async fn run(
    args: &Args,
    endpoint: &Running,
    echo_cpu: Option<f64>,
    targets: &mut Targets,
) -> Result<(), Failure> {
    // As many messages under way as with single ones.
    let batches = args.callers.div_ceil(10);
    let programs = [
        ("SendMessage x1".to_owned(), Program::Send { callers: 1 }),
        (format!("SendMessage x{}", args.callers), Program::Send { callers: args.callers }),
        ("SendMessageBatch x1".to_owned(), Program::SendBatch { callers: 1 }),
        (format!("SendMessageBatch x{batches}"), Program::SendBatch { callers: batches }),
        ("(d) Submit x1".to_owned(), Program::Submit { callers: 1 }),
        (format!("(d) Submit x{}", args.callers), Program::Submit { callers: args.callers }),
    ];
    let sdk = queuebridge_gateway::aws::sdk_config_at(endpoint.url()).await;
    let client = Client::new(&sdk);
    let mut rows: Vec<Row> = programs.iter().map(|(name, _)| Row::new(name)).collect();
    for _ in 0..args.rounds {
        for ((_, program), row) in programs.iter().zip(&mut rows) {
            row.add(one(args, endpoint, &client, *program).await?);
        }
    }
    for row in &mut rows[4..] {
        // The server counts its requests to the queue.
        if let Some(requests) = row.median(|sample| Some(sample.counted?[0])) {
            row.note(format!("{requests:.3} requests per job"));
        }
    }
    let name = endpoint.kind().name();
    judge(endpoint.kind(), &rows, echo_cpu, targets);
    let reference = rows[2].rate().max(rows[3].rate());
    let title = format!("Over {name}");
    Table { title: &title, unit: "of batches", reference, rows }.print();
    Ok(())
}

fn judge(kind: Kind, rows: &[Row], echo_cpu: Option<f64>, targets: &mut Targets) {
    let [send, _, batch, batches, submit, submits] = rows else { return };
    let name = kind.name();
    if let Some(requests) = submits.median(|sample| Some(sample.counted?[0])) {
        targets.at_most(format!("(d) {name}: requests per job"), REQUESTS_PER_JOB, requests);
    }
    let latency = |row: &Row| row.median(|sample| Some(sample.p50)).unwrap_or(f64::NAN);
    let ratio = latency(submit) / latency(send);
    targets.at_most(format!("(d) {name}: p50 x1 of SendMessage"), LATENCY_OF_SEND, ratio);
    match kind {
        // There the endpoint is the bottleneck,
        Kind::Ministack => {
            let ratio = submits.rate() / batch.rate().max(batches.rate());
            targets.at_least(format!("(d) {name}: rate of bare batches"), RATE_OF_BATCHES, ratio);
        }
        // and here the gateway has to work.
        Kind::Fauxqs => {
            let cpu = submits.median(|sample| sample.server_cpu);
            if let Some((cpu, echo)) = cpu.zip(echo_cpu) {
                let ratio = cpu / echo;
                targets.at_most(format!("(d) {name}: CPU per job of (a)"), CPU_OF_ECHO, ratio);
            }
        }
    }
}

async fn one(
    args: &Args,
    endpoint: &Running,
    client: &Client,
    program: Program,
) -> Result<Sample, Failure> {
    let seconds = (args.warm_up + args.measure).as_secs();
    let messages = usize::try_from(seconds * MESSAGES_PER_SECOND)?;
    let urls = sqs::create(client, messages).await?;
    let sender = |batched| {
        let (client, queues) = (client.clone(), Arc::new(Queues::new(urls.clone())));
        move || Sender { client: client.clone(), queues: queues.clone(), batched }
    };
    let sample = match program {
        Program::Send { callers } => {
            let senders = std::iter::repeat_with(sender(false)).take(callers).collect();
            load::run(args, senders, None).await?
        }
        Program::SendBatch { callers } => {
            let senders = std::iter::repeat_with(sender(true)).take(callers).collect();
            load::run(args, senders, None).await?
        }
        Program::Submit { callers } => {
            let mut role = vec![serve::GATEWAY, endpoint.url()];
            role.extend(urls.iter().map(String::as_str));
            let mut server = Child::start(&role).await?;
            let number = args.connections.min(callers);
            let connections = Connections::open(server.url(), number).await?;
            let new = |channel| Submitter::new(channel, Answer::None);
            let callers = connections.callers(callers, new);
            let sample = load::run(args, callers, Some(&mut server)).await?;
            server.stop().await?;
            sample
        }
    };
    sqs::delete(client, &urls).await?;
    Ok(sample)
}
