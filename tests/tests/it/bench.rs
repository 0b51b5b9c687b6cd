//! The bench that service owners test with, used as they would.

use queuebridge_demo::v1;
use queuebridge_demo::v1::next_request::Wish;
use queuebridge_proto::v1::{LeasePolicy, State};
use queuebridge_worker::Verdict;
use queuebridge_worker::testing::{Bench, Submission};
use std::time::Duration;
use tonic::Code;

const SECOND: Duration = Duration::from_secs(1);
const PROBE: &str = "/queuebridge.demo.v1.Probe/";

fn bench() -> (Bench, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (Bench::new(queuebridge_demo::routes_with_probe(dir.path())), dir)
}

fn method(name: &str) -> String {
    format!("{PROBE}{name}")
}

fn append(then_wait: i64) -> v1::AppendRequest {
    let then_wait = Some(prost_types::Duration { seconds: then_wait, nanos: 0 });
    v1::AppendRequest { file: "runs".into(), line: "x".into(), then_wait }
}

fn runs(dir: &tempfile::TempDir) -> usize {
    std::fs::read_to_string(dir.path().join("runs")).map_or(0, |text| text.lines().count())
}

#[tokio::test(start_paused = true)]
async fn an_answer_comes_back_typed() {
    let (mut bench, _dir) = bench();
    let request = v1::EchoRequest { payload: "hello".into(), ..Default::default() };
    let job = bench.submit(&method("Echo"), &request, Submission::default());
    assert_eq!(bench.state(&job).await, State::Accepted);
    assert_eq!(bench.result::<v1::EchoResponse>(&job).await.unwrap_err().code(), Code::Unavailable);
    bench.drain().await;
    assert_eq!(bench.result::<v1::EchoResponse>(&job).await.unwrap().payload, "hello");
    assert_eq!(bench.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn duplicates_run_once() {
    let (mut bench, dir) = bench();
    let job = bench.submit(&method("Append"), &append(1), Submission::default());
    bench.duplicate(&job);
    bench.duplicate(&job);
    let all = bench.drain().await;
    assert!(all.len() > 4, "held copies came back: {}", all.len());
    assert_eq!(runs(&dir), 1);
}

#[tokio::test(start_paused = true)]
async fn a_crash_is_followed_by_a_redelivery() {
    let (mut bench, dir) = bench();
    let job = bench.submit(&method("Append"), &append(30), Submission::default());
    bench.invoke_and_crash_after(SECOND).await;
    assert_eq!((runs(&dir), bench.state(&job).await), (1, State::Running));
    bench.drain().await;
    assert_eq!((runs(&dir), bench.state(&job).await), (2, State::Succeeded));
    assert_eq!(bench.record(&job).await.unwrap().attempt, 2);

    let never = Submission { lease_policy: LeasePolicy::Fail, ..Submission::default() };
    let job = bench.submit(&method("Append"), &append(30), never);
    bench.invoke_and_crash_after(SECOND).await;
    bench.drain().await;
    assert_eq!((runs(&dir), bench.state(&job).await), (3, State::Failed));
    assert_eq!(bench.parked(), ["WORKER_LOST"]);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_of_the_host_costs_an_attempt_of_that_job_only() {
    let (mut bench, dir) = bench();
    let once = || Submission { max_attempts: 2, ..Submission::default() };
    let slow = bench.submit(&method("Append"), &append(50), once());
    let quick = bench.submit(&method("Echo"), &v1::EchoRequest::default(), once());
    let delivered = bench.invoke_for(SECOND * 10).await;
    assert_eq!(delivered[0].job, Some(slow));
    assert!(!delivered[0].verdict.is_ack());
    assert_eq!(delivered[1].verdict, Verdict::Ack);
    assert_eq!(bench.state(&quick).await, State::Succeeded);
    bench.drain().await;
    assert_eq!((runs(&dir), bench.state(&slow).await), (2, State::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn retries_and_their_end_can_be_seen() {
    let (mut bench, _dir) = bench();
    let request = v1::FlakyRequest { key: "bench".into(), failures: 99 };
    let job = bench.submit(&method("Flaky"), &request, Submission::default());
    assert_eq!(bench.drain().await.len(), 5);
    assert_eq!(bench.result::<()>(&job).await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(bench.parked(), ["ATTEMPTS_EXHAUSTED"]);
}

#[tokio::test(start_paused = true)]
async fn a_snooze_passes_in_no_time() {
    let (mut bench, _dir) = bench();
    let after = Some(prost_types::Duration { seconds: 3000, nanos: 0 });
    let request = v1::NextRequest { key: "b".into(), times: 1, wish: Wish::Snooze as i32, after };
    let job = bench.submit(&method("Next"), &request, Submission::default());
    let begun = bench.now();
    bench.drain().await;
    assert_eq!(bench.result::<v1::NextResponse>(&job).await.unwrap().attempt, 1);
    assert!(begun.until(bench.now()) >= SECOND * 3000);
}

#[tokio::test(start_paused = true)]
async fn ordered_jobs_wait_for_each_other_and_raw_messages_are_parked() {
    let (mut bench, _dir) = bench();
    let ordered = || Submission { ordering_key: Some("k".into()), ..Submission::default() };
    let flaky = v1::FlakyRequest { key: "first".into(), failures: 1 };
    let first = bench.submit(&method("Flaky"), &flaky, ordered());
    let second = bench.submit(&method("Echo"), &v1::EchoRequest::default(), ordered());
    bench.submit_raw("nonsense");
    bench.invoke().await;
    assert_eq!(bench.state(&second).await, State::Accepted, "behind the first");
    bench.drain().await;
    assert_eq!(bench.state(&first).await, State::Succeeded);
    assert_eq!(bench.state(&second).await, State::Succeeded);
    assert_eq!(bench.parked(), ["UNDECODABLE"]);
}
