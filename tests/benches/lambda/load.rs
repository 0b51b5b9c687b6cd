//! One program under load.

use crate::Failure;
use crate::report::Sample;
use crate::usage::Usage;
use queuebridge_demo::v1::EchoRequest;
use queuebridge_proto::v1::Guarantee;
use queuebridge_tests::runtime_api::Function;
use queuebridge_tests::{Messages, events};
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};

const PAYLOAD_BYTES: usize = 256;
const PATIENCE: Duration = Duration::from_secs(900);
/// The part of the records that is run before the clock starts.
const WARM_UP: usize = 10;

/// What is compared.
#[derive(Clone, Copy)]
pub(crate) enum Program {
    Bare,
    AtLeastOnce,
    Claimed,
}

impl Program {
    pub(crate) const ALL: [Self; 3] = [Self::Bare, Self::AtLeastOnce, Self::Claimed];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "empty handler",
            Self::AtLeastOnce => "worker, at_least_once",
            Self::Claimed => "worker, claimed",
        }
    }

    fn binary(self) -> &'static Path {
        Path::new(match self {
            Self::Bare => env!("CARGO_BIN_EXE_lambda_bare"),
            Self::AtLeastOnce | Self::Claimed => env!("CARGO_BIN_EXE_lambda_memory"),
        })
    }

    fn guarantee(self) -> Guarantee {
        match self {
            Self::AtLeastOnce => Guarantee::AtLeastOnce,
            Self::Bare | Self::Claimed => Guarantee::Claimed,
        }
    }
}

/// Runs so many records in batches of this size through a fresh process.
pub(crate) async fn measure(
    program: Program,
    batch: usize,
    records: usize,
) -> Result<Sample, Failure> {
    let messages = Messages::default();
    let count = records.div_ceil(batch);
    let warm_up = (count / WARM_UP).max(1);
    // Every record is a job of its own: a duplicate would cost less.
    let record = Record::new();
    let events: Vec<Vec<u8>> = (0..warm_up + count)
        .map(|_| events::sqs(&record.batch(&messages, program.guarantee(), batch)))
        .collect();
    let variables =
        [("QB_ENVELOPE_KEYS", messages.keys_variable()), ("QB_STORE_TABLE", "/nowhere")];
    let function = Function::start(program.binary(), &variables).await?;
    function.ready().await?;
    let mut measured = None;
    for (number, event) in events.into_iter().enumerate() {
        if number == warm_up {
            measured = Some((Instant::now(), Usage::of(function.process_id())?, Usage::own()?));
        }
        let answer = function.invoke(event, PATIENCE).await.json();
        if !events::failures(&answer).is_empty() {
            return Err(format!("{}: {answer}", program.name()).into());
        }
    }
    let (begun, before, own) = measured.ok_or("nothing was measured")?;
    let elapsed = begun.elapsed();
    let after = Usage::of(function.process_id())?;
    let thousands = (count * batch) as f64 / 1e3;
    let per_thousand = |used: Duration| used.as_secs_f64() * 1e3 / thousands;
    Ok(Sample {
        rate: thousands * 1e3 / elapsed.as_secs_f64(),
        cpu: per_thousand(after.cpu - before.cpu),
        model_cpu: per_thousand(Usage::own()?.cpu - own.cpu),
        resident: after.resident as f64 / f64::from(1 << 20),
    })
}

/// A message as the gateway sends it: with its own attributes and no others.
struct Record(Value);

impl Record {
    fn new() -> Self {
        let mut record = events::record("sqs.json", "", "");
        if let Some(attributes) = record["messageAttributes"].as_object_mut() {
            attributes.retain(|name, _| name.starts_with("qb-"));
        }
        Self(record)
    }

    fn batch(&self, messages: &Messages, guarantee: Guarantee, count: usize) -> Vec<Value> {
        let request =
            EchoRequest { payload: vec![7; PAYLOAD_BYTES].into(), ..EchoRequest::default() };
        let one = |number: usize| {
            let (job, body) = messages.seal("Echo", &request, guarantee);
            let mut record = self.0.clone();
            record["messageId"] = number.to_string().into();
            record["body"] = body.into();
            record["messageAttributes"]["qb-job"]["stringValue"] = job.to_string().into();
            record
        };
        (0..count).map(one).collect()
    }
}
