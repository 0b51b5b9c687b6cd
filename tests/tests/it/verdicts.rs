//! Every row of the worker's verdict table, on batches without a host.

use crate::fixture::{Job, Worker, append, flaky, redelivered, sleep_for};
use bytes::Bytes;
use prost::Message;
use queuebridge_demo::v1;
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{Guarantee, PayloadRef, State};
use queuebridge_store::testing::Fault;
use queuebridge_store::{Cancelled, ClaimRequest, Lane, Lapsed, ResultStore, StreamStore, Token};
use queuebridge_web::Descriptors;
use queuebridge_worker::{Reason, RunnerSettings, Verdict};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, advance};
use tonic::Code;

#[tokio::test(start_paused = true)]
async fn an_answer_is_stored_with_its_metadata_and_acknowledged() {
    let worker = Worker::new();
    let request = v1::EchoRequest { payload: "hello".into(), ..Default::default() };
    let (id, delivery) = worker.job("Echo", &request, &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let record = worker.record(&id).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Succeeded, 1));
    let outcome = record.outcome.unwrap();
    let Some(Kind::Response(response)) = outcome.result else { panic!() };
    assert_eq!(v1::EchoResponse::decode(response).unwrap().payload, "hello");
    assert!(outcome.trailing_metadata.iter().any(|entry| entry.key == "probe-trailer-bin"));
    assert!(!outcome.initial_metadata.iter().any(|entry| entry.key.starts_with("probe-")));
}

#[tokio::test(start_paused = true)]
async fn an_application_error_is_a_result() {
    let worker = Worker::new();
    let request = v1::FailRequest { code: 5, message: "none".into(), reason: "NO_SUCH".into() };
    let (id, delivery) = worker.job("Fail", &request, &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await, (State::Failed, Code::NotFound, "NO_SUCH".into()));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_method_is_unimplemented() {
    let descriptors = Descriptors::parse([queuebridge_demo::FILE_DESCRIPTOR_SET]).unwrap();
    let descriptors = Some(Arc::new(descriptors));
    let worker = Worker::with(RunnerSettings { descriptors, ..RunnerSettings::default() });
    let (id, delivery) = worker.job("Nothing", &(), &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let ended = (State::Failed, Code::Unimplemented, "METHOD_NOT_SERVED".to_owned());
    assert_eq!(worker.ended(&id).await, ended);
    let outcome = worker.record(&id).await.unwrap().outcome.unwrap();
    let Some(Kind::Error(status)) = outcome.result else { panic!("no error: {outcome:?}") };
    for named in ["/queuebridge.demo.v1.Probe/Nothing", "queuebridge.demo.v1.Images"] {
        assert!(status.message.contains(named), "{named}: {}", status.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_retried_status_releases_the_claim_and_backs_off() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Flaky", &flaky(1), &Job::default());
    let after = redelivered(&worker.run(&delivery).await, Reason::Retry);
    assert!((Duration::from_secs(4)..=Duration::from_secs(8)).contains(&after), "{after:?}");
    assert_eq!(worker.record(&id).await.unwrap().state, State::Accepted);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack, "the claim was released");
    let record = worker.record(&id).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Succeeded, 2));
}

#[tokio::test(start_paused = true)]
async fn when_the_attempts_are_used_up_the_last_error_is_the_result() {
    let worker = Worker::new();
    let job = Job { max_attempts: 2, ..Job::default() };
    let (id, delivery) = worker.job("Flaky", &flaky(9), &job);
    redelivered(&worker.run(&delivery).await, Reason::Retry);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let (state, code, _) = worker.ended(&id).await;
    assert_eq!((state, code), (State::Failed, Code::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_panic_hurts_only_its_own_job_and_shows_no_text() {
    let worker = Worker::new();
    let job = Job { max_attempts: 2, ..Job::default() };
    let panic = v1::PanicRequest { message: "secret".into() };
    let (id, bad) = worker.job("Panic", &panic, &job);
    let (_, good) = worker.job("Echo", &v1::EchoRequest::default(), &job);
    let verdicts = worker.run_all(vec![bad.clone(), good], None).await;
    redelivered(&verdicts[0], Reason::Panicked);
    assert_eq!(verdicts[1], Verdict::Ack);
    assert_eq!(worker.run(&bad).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await, (State::Failed, Code::Internal, "HANDLER_PANICKED".into()));
    assert!(!format!("{:?}", worker.record(&id).await).contains("secret"));
}

#[tokio::test(start_paused = true)]
async fn a_hang_ends_with_the_hosts_time_and_hurts_no_neighbour() {
    let worker = Worker::new();
    let (id, slow) = worker.job("Sleep", &sleep_for(800), &Job::default());
    let (_, good) = worker.job("Echo", &v1::EchoRequest::default(), &Job::default());
    let begun = Instant::now();
    let verdicts = worker.run_all(vec![slow, good], Some(Duration::from_secs(10))).await;
    assert!(begun.elapsed() <= Duration::from_secs(11), "{:?}", begun.elapsed());
    redelivered(&verdicts[0], Reason::OutOfTime);
    assert_eq!(verdicts[1], Verdict::Ack);
    assert_ne!(worker.record(&id).await.unwrap().state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn more_claims_than_attempts_mean_that_workers_died() {
    let worker = Worker::new();
    let job = Job { max_attempts: 2, ..Job::default() };
    let (id, delivery) = worker.job("Append", &append("died"), &job);
    for _ in 0..2 {
        let now = worker.clock.now();
        let lease = now.plus(Duration::from_secs(1));
        let request = ClaimRequest::new("/m", Token::random(), lease, Lapsed::Take);
        worker.store.claim(&id, request, now).await.unwrap();
        advance(Duration::from_secs(2)).await;
    }
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.2, "ATTEMPTS_EXHAUSTED");
    assert_eq!(worker.executions("died"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_past_its_expiry_never_starts() {
    let worker = Worker::new();
    let job = Job { expires_in: Duration::from_secs(5), ..Job::default() };
    let (id, delivery) = worker.job("Append", &append("late"), &job);
    advance(Duration::from_secs(5)).await;
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let expected = (State::Expired, Code::DeadlineExceeded, "JOB_EXPIRED".to_owned());
    assert_eq!(worker.ended(&id).await, expected);
    assert_eq!(worker.executions("late"), 0);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_into_its_expiry_is_expired() {
    let worker = Worker::new();
    let job = Job { expires_in: Duration::from_secs(5), ..Job::default() };
    let (id, delivery) = worker.job("Sleep", &sleep_for(60), &job);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.0, State::Expired);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_job_never_runs() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Append", &append("cancelled"), &Job::default());
    let cancelled = worker.store.cancel(&id, worker.clock.now()).await.unwrap();
    assert_eq!(cancelled, Cancelled::BeforeStart);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.executions("cancelled"), 0);
    assert_eq!(worker.ended(&id).await.0, State::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_running_job_gives_way_to_its_cancellation() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Sleep", &sleep_for(800), &Job::default());
    let run = worker.run(&delivery);
    let cancel = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        worker.store.cancel(&id, worker.clock.now()).await.unwrap()
    };
    let (verdict, cancelled) = tokio::join!(run, cancel);
    assert_eq!((verdict, cancelled), (Verdict::Ack, Cancelled::Requested));
    assert_eq!(worker.ended(&id).await.0, State::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_is_acknowledged_unrun() {
    let worker = Worker::new();
    let (_, delivery) = worker.job("Append", &append("twice"), &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.executions("twice"), 1);
}

#[tokio::test(start_paused = true)]
async fn two_copies_at_once_run_once() {
    let worker = Worker::new();
    let wait = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let request = v1::AppendRequest { then_wait: wait, ..append("copies") };
    let (_, delivery) = worker.job("Append", &request, &Job::default());
    let verdicts = worker.run_all(vec![delivery.clone(); 5], None).await;
    assert_eq!(verdicts.iter().filter(|v| v.is_ack()).count(), 1);
    let held = verdicts.iter().find(|v| !v.is_ack()).unwrap();
    let after = redelivered(held, Reason::Held);
    assert!(after <= RunnerSettings::default().lease, "when the lease ends: {after:?}");
    assert_eq!(worker.executions("copies"), 1);
}

#[tokio::test(start_paused = true)]
async fn the_claim_is_kept_while_the_job_runs() {
    let worker = Worker::new();
    let lease = worker.runner.settings().lease;
    let (id, delivery) = worker.job("Sleep", &sleep_for(600), &Job::default());
    let rival = async {
        tokio::time::sleep(lease * 5).await;
        let now = worker.clock.now();
        let request = ClaimRequest::new("/m", Token::random(), now.plus(lease), Lapsed::Take);
        worker.store.claim(&id, request, now).await.unwrap().claim
    };
    let (verdict, rival) = tokio::join!(worker.run(&delivery), rival);
    assert!(matches!(rival, queuebridge_store::Claim::HeldUntil(_)), "{rival:?}");
    assert_eq!(verdict, Verdict::Ack);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_could_read_is_a_failure_that_says_so() {
    let settings = RunnerSettings { max_response_bytes: 1000, ..RunnerSettings::default() };
    let worker = Worker::with(settings);
    let request = v1::EchoRequest { response_bytes: 5000, ..Default::default() };
    let (id, delivery) = worker.job("Echo", &request, &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let expected = (State::Failed, Code::ResourceExhausted, "RESPONSE_TOO_LARGE".to_owned());
    assert_eq!(worker.ended(&id).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_goes_to_the_payload_store() {
    let worker = Worker::new();
    let request = v1::EchoRequest { response_bytes: 100_000, ..Default::default() };
    let (id, delivery) = worker.job("Echo", &request, &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let outcome = worker.record(&id).await.unwrap().outcome.unwrap();
    let Some(Kind::ResponseRef(at)) = outcome.result else { panic!("inline") };
    assert!(at.key.starts_with("t/answers/") && at.size > 100_000, "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_gone_is_a_failure_that_says_so() {
    let worker = Worker::new();
    let at = PayloadRef {
        key: "t/requests/x".into(),
        size: 1,
        sha256: Bytes::from(vec![0; 32]),
        ..PayloadRef::default()
    };
    let (id, delivery) = worker.job_with("Echo", Payload::RequestRef(at), &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.ended(&id).await.2, "PAYLOAD_LOST");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_down_costs_a_redelivery_and_no_attempt() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Append", &append("down"), &Job::default());
    worker.store.script([Fault::LoseRequest]);
    redelivered(&worker.run(&delivery).await, Reason::StoreUnavailable);
    assert_eq!(worker.record(&id).await, None);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.executions("down"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_store_does_not_repeat_the_work() {
    let worker = Worker::new();
    let (id, delivery) = worker.job("Append", &append("lost"), &Job::default());
    worker.store.script([Fault::None, Fault::LoseResponse]);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.record(&id).await.unwrap().state, State::Succeeded);
    assert_eq!(worker.executions("lost"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_ordered_group_stops_at_its_first_failure_and_others_go_on() {
    let worker = Worker::new();
    let ordered = |group| Job { group: Some(group), ..Job::default() };
    let deliveries = vec![
        worker.job("Append", &append("a"), &ordered("a")).1,
        worker.job("Flaky", &flaky(1), &ordered("a")).1,
        worker.job("Append", &append("a"), &ordered("a")).1,
        worker.job("Append", &append("b"), &ordered("b")).1,
    ];
    let verdicts = worker.run_all(deliveries, None).await;
    assert_eq!((&verdicts[0], &verdicts[3]), (&Verdict::Ack, &Verdict::Ack));
    redelivered(&verdicts[1], Reason::Retry);
    redelivered(&verdicts[2], Reason::FollowsFailure);
    assert_eq!((worker.executions("a"), worker.executions("b")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn at_least_once_claims_nothing_and_the_first_completion_wins() {
    let worker = Worker::new();
    let job = Job { guarantee: Guarantee::AtLeastOnce, ..Job::default() };
    let (id, delivery) = worker.job("Append", &append("alo"), &job);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let first = worker.record(&id).await.unwrap();
    assert_eq!((first.state, first.attempt), (State::Succeeded, 0));
    advance(Duration::from_secs(1)).await;
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.executions("alo"), 2, "it may run again");
    assert_eq!(worker.record(&id).await.unwrap(), first);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_answers_rests_under_the_attempt_that_gave_it() {
    let worker = Worker::new();
    let count = v1::CountRequest { up_to: 2, pause: None };
    let (id, delivery) = worker.job("Count", &count, &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let record = worker.record(&id).await.unwrap();
    assert_eq!(record.state, State::Succeeded);
    let stream = record.outcome.unwrap().stream.unwrap();
    assert_eq!((stream.chunks, stream.messages), (1, 2));
    let lane = Lane::Answer(Token::from_bytes(stream.attempt[..].try_into().unwrap()));
    let chunk = worker.store.read(&id, lane, 0, Duration::ZERO).await.unwrap().unwrap();
    assert_eq!(chunk.messages.len(), 2);
    // One message is a stream, too.
    let (id, delivery) = worker.job("Sum", &v1::SumRequest { number: 7 }, &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let record = worker.record(&id).await.unwrap();
    assert!(record.outcome.unwrap().stream.is_none(), "an answer of one message is one");
}

#[tokio::test(start_paused = true)]
async fn without_a_claim_a_stream_of_answers_is_a_failure_that_says_so() {
    let worker = Worker::new();
    let count = v1::CountRequest { up_to: 2, pause: None };
    let job = Job { guarantee: Guarantee::AtLeastOnce, ..Job::default() };
    let (id, delivery) = worker.job("Count", &count, &job);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let (_, code, reason) = worker.ended(&id).await;
    assert_eq!((code, reason.as_str()), (Code::Unimplemented, "NO_STREAM"));
}
