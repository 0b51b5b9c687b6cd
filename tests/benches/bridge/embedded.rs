//! (a), (b) and (c): the embedded stack beside a bare tonic echo.

use crate::Failure;
use crate::args::{Args, Group};
use crate::child::Child;
use crate::grpc::{Answer, Connections, Echo, Submitter};
use crate::load::{self, Sample};
use crate::report::{Row, Table};
use crate::serve;
use crate::targets::Targets;

const SUBMIT_OF_ECHO: f64 = 0.5;
const RESULT_OF_ECHO: f64 = 0.25;
const RESULT_OF_ECHO_AIM: f64 = 0.35;

/// Measures them in turns. Returns the CPU milliseconds of the bare server per
/// 1,000 calls.
pub(crate) async fn run(args: &Args, targets: &mut Targets) -> Result<Option<f64>, Failure> {
    let mut programs = vec![("(a) bare tonic echo", None)];
    if args.runs(Group::Submit) {
        programs.push(("(b) Submit", Some(Answer::None)));
    }
    if args.runs(Group::Result) {
        programs.push(("(c) Submit, GetResult", Some(Answer::SecondCall)));
        programs.push(("(c') Submit with wait", Some(Answer::SameCall)));
    }
    let mut rows: Vec<Row> = programs.iter().map(|(name, _)| Row::new(name)).collect();
    for _ in 0..args.rounds {
        for ((_, answer), row) in programs.iter().zip(&mut rows) {
            row.add(one(args, *answer).await?);
        }
    }
    // The server counts the jobs that it has started.
    for ((_, answer), row) in programs.iter().zip(&mut rows) {
        if let (Some(_), Some(started)) = (answer, row.median(|sample| Some(sample.counted?[0]))) {
            row.note(format!("{started:.2} executed per accepted"));
        }
    }
    let rates: Vec<f64> = rows.iter().map(Row::rate).collect();
    let echo_cpu = rows[0].median(|sample| sample.server_cpu);
    Table { title: "Embedded", unit: "of (a)", reference: rates[0], rows }.print();
    for ((name, answer), rate) in programs.iter().zip(&rates) {
        let ratio = rate / rates[0];
        match answer {
            None => {}
            Some(Answer::None) => targets.at_least(format!("{name} of (a)"), SUBMIT_OF_ECHO, ratio),
            Some(_) => {
                targets.at_least(format!("{name} of (a)"), RESULT_OF_ECHO, ratio);
                targets.at_least(format!("{name} of (a), the aim"), RESULT_OF_ECHO_AIM, ratio);
            }
        }
    }
    Ok(echo_cpu)
}

async fn one(args: &Args, answer: Option<Answer>) -> Result<Sample, Failure> {
    let role = if answer.is_some() { serve::STACK } else { serve::ECHO };
    let mut server = Child::start(&[role]).await?;
    let connections = Connections::open(server.url(), args.connections).await?;
    let sample = match answer {
        None => {
            let callers = connections.callers(args.callers, Echo::new);
            load::run(args, callers, Some(&mut server)).await?
        }
        Some(answer) => {
            let new = |channel| Submitter::new(channel, answer);
            let callers = connections.callers(args.callers, new);
            load::run(args, callers, Some(&mut server)).await?
        }
    };
    server.stop().await?;
    Ok(sample)
}
