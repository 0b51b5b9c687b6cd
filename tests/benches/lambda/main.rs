//! What the worker costs as a Lambda function: records per second and CPU per
//! 1,000 records through the model of the Runtime API, beside a function that
//! does nothing, in one run. One environment, one invocation at a time, as
//! Lambda has it. Ratios count; absolute figures are those of the machine.

mod load;
mod report;
mod start;
#[path = "../bridge/usage.rs"]
mod usage;

use load::{Program, measure};
use report::Row;
use std::process::ExitCode;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const HELP: &str = "\
just bench-lambda [ARGUMENTS]
  --rounds N    interleaved; their median is shown; default 3
  --records N   of each measurement; default 60000";

const BATCHES: [usize; 2] = [10, 1_000];

#[tokio::main]
async fn main() -> ExitCode {
    match run(std::env::args().skip(1).filter(|argument| argument != "--bench")).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(mut given: impl Iterator<Item = String>) -> Result<(), Failure> {
    let (mut rounds, mut records) = (3, 60_000);
    while let Some(name) = given.next() {
        let target = match name.as_str() {
            "--rounds" => &mut rounds,
            "--records" => &mut records,
            "--help" | "-h" => {
                println!("{HELP}");
                return Ok(());
            }
            other => return Err(format!("{other} is unknown; see --help").into()),
        };
        let value = given.next().ok_or_else(|| format!("{name} has no value; see --help"))?;
        *target = value.parse().ok().filter(|number| *number > 0).ok_or("expected a number")?;
    }
    println!("{records} records of 256 bytes, median of {rounds}");
    for batch in BATCHES {
        let mut rows = Program::ALL.map(|program| (program, Row::new(program.name())));
        for _ in 0..rounds {
            for (program, row) in &mut rows {
                row.add(measure(*program, batch, records).await?);
            }
        }
        report::print(batch, rows.map(|(_, row)| row));
    }
    start::print(rounds.max(5)).await
}
