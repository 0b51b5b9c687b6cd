mod fake;

use super::super::parked::tests::{call, keys, received};
use super::*;
use crate::cli::replay::args::ReplayArgs;
use crate::cli::{Cli, ClientCommand, Command};
use clap::Parser;
use fake::Fake;
use queuebridge_proto::envelope;
use queuebridge_proto::v1::Call;

fn args(selection: &[&str]) -> ReplayArgs {
    let start = ["queuebridge", "replay", "--parking-queue", "http://h/1/parking"];
    match Cli::try_parse_from(start.iter().chain(selection)).unwrap().command {
        Command::Client(command) => match *command {
            ClientCommand::Replay(args) => *args,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// A parked message of the method `/a.B/<name>`, as the queue hands it out.
fn message(name: &str, receipt: &str) -> Received {
    let call = Call { method: format!("/a.B/{name}"), ..call() };
    let (message_id, receipt) = (name.to_owned(), receipt.to_owned());
    Received { message_id, receipt, ..received(envelope::seal(&call, &keys())) }
}

/// Lists what is selected among these batches; says what became of the receipts.
async fn listed(
    selection: &[&str],
    limit: u64,
    batches: Vec<Vec<Received>>,
) -> (Summary, End, Vec<String>) {
    let fake = Fake::start(batches).await;
    let pass = Pass {
        callback_queue: None,
        queue: fake.queue().await,
        seal: keys().into(),
        selection: Selection::of(&args(selection)),
        submitter: None,
        limit,
        as_json: true,
        clock: Clock::system(),
        stopping: CancellationToken::new(),
    };
    let (summary, end) = pass.run().await;
    (summary, end, fake.released())
}

fn batches(names: &[&[&str]]) -> Vec<Vec<Received>> {
    let batch = |(at, names): (usize, &&[&str])| {
        names.iter().map(|name| message(name, &format!("{name}-{at}"))).collect()
    };
    names.iter().enumerate().map(batch).collect()
}

#[tokio::test]
async fn everything_is_looked_at_once_and_what_stays_is_released() {
    let names: [&[&str]; 2] = [&["a", "b"], &["c"]];
    let (summary, end, released) = listed(&["--method", "/a.B/b"], u64::MAX, batches(&names)).await;
    assert!(matches!(end, End::Whole) && summary.complete);
    assert_eq!((summary.listed, summary.not_selected), (1, 2));
    assert_eq!(released, ["a-0", "b-0", "c-1"]);
}

#[tokio::test]
async fn what_comes_back_is_not_counted_again_and_hides_nothing_new() {
    // Hiding has ended for both by the third batch, and nothing new was between.
    let names: [&[&str]; 4] = [&["a"], &["new", "a"], &["new"], &["never"]];
    let (summary, end, released) = listed(&["--all"], u64::MAX, batches(&names)).await;
    assert!(matches!(end, End::Whole));
    assert_eq!((summary.listed, summary.not_selected), (2, 0));
    assert_eq!(released, ["a-1", "new-2"], "by the newest receipts");
}

#[tokio::test]
async fn beyond_the_limit_nothing_is_taken_and_the_rest_is_released() {
    let names: [&[&str]; 2] = [&["a", "b", "c"], &["never"]];
    let (summary, end, released) = listed(&["--all"], 2, batches(&names)).await;
    assert!(matches!(end, End::Limit) && !summary.complete);
    assert_eq!((summary.listed, summary.not_selected), (2, 0));
    assert_eq!(released, ["a-0", "b-0", "c-0"]);
}

#[tokio::test]
async fn a_job_that_was_asked_for_is_missing_only_after_everything_was_seen() {
    let ids = ["A", "E"].map(|end| format!("AQ{}{end}", "A".repeat(68)));
    let args = ["--job", &ids[0], "--job", &ids[1]];
    let here = || {
        let call = Call { job_id: ids[0].clone(), ..call() };
        vec![vec![Received { ..received(envelope::seal(&call, &keys())) }]]
    };
    let (summary, _, _) = listed(&args, u64::MAX, here()).await;
    assert_eq!((summary.listed, &summary.missing[..]), (1, &ids[1..]));
    let (summary, end, _) = listed(&args, 1, here()).await;
    assert!(matches!(end, End::Limit) && summary.missing.is_empty());
}

#[tokio::test]
async fn a_queue_that_cannot_be_read_ends_it() {
    let fake = Fake::start(vec![]).await;
    fake.forbid();
    let pass = Pass {
        callback_queue: None,
        queue: fake.queue().await,
        seal: keys().into(),
        selection: Selection::default(),
        submitter: None,
        limit: 1,
        as_json: true,
        clock: Clock::system(),
        stopping: CancellationToken::new(),
    };
    let (_, end) = pass.run().await;
    let End::Failed(failure) = end else { panic!("not failed") };
    assert!(failure.to_string().contains("cannot be read"), "{failure}");
}
