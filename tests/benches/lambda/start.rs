//! From the start of the release binary to its first finished record.

use crate::Failure;
use crate::report::median;
use queuebridge_demo::v1::EchoRequest;
use queuebridge_proto::v1::Guarantee;
use queuebridge_store::dynamodb::create_table;
use queuebridge_tests::emulator::unique;
use queuebridge_tests::runtime_api::Function;
use queuebridge_tests::{Emulator, Messages, events, python};
use std::process::Command;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn print(rounds: usize) -> Result<(), Failure> {
    let binary = tokio::task::spawn_blocking(|| {
        let build = ["build", "--quiet", "--release", "-p", "queuebridge-demo"];
        python::run(Command::new(env!("CARGO")).args(build).current_dir(python::root()))?;
        // This program is `<target>/release/deps/<name>`.
        let program = std::env::current_exe()?;
        let folder =
            program.ancestors().nth(2).ok_or_else(|| std::io::Error::other("no folder"))?;
        std::io::Result::Ok(folder.join("queuebridge-demo"))
    })
    .await??;
    let emulator = Emulator::shared().await;
    let table = unique("start");
    create_table(&emulator.dynamodb().await, &table).await?;
    let messages = Messages::default();
    let variables = [
        ("AWS_ENDPOINT_URL", emulator.endpoint()),
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("QB_ENVELOPE_KEYS", messages.keys_variable()),
        ("QB_STORE_TABLE", &table),
    ];
    let (mut polled, mut answered) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let (_, body) = messages.seal("Echo", &EchoRequest::default(), Guarantee::Claimed);
        let event = events::sqs(&[events::record("sqs.json", "first", &body)]);
        let begun = Instant::now();
        let function = Function::start(&binary, &variables).await?;
        function.ready().await?;
        polled.push(begun.elapsed().as_secs_f64() * 1e3);
        let answer = function.invoke(event, PATIENCE).await.json();
        answered.push(begun.elapsed().as_secs_f64() * 1e3);
        if !events::failures(&answer).is_empty() {
            return Err(format!("the first record failed: {answer}").into());
        }
    }
    let size = std::fs::metadata(&binary)?.len() as f64 / f64::from(1 << 20);
    println!("the demo worker's release binary, {size:.1} MiB, median of {rounds} starts");
    println!("  to its first poll: {:.1} ms", median(polled));
    println!("  to its first finished record, over the emulator: {:.1} ms", median(answered));
    Ok(())
}
