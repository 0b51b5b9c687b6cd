//! What an event holds, and what becomes of each record.

use super::{LONG, Lambda, ids};
use crate::fixture::append;
use queuebridge_demo::v1;
use queuebridge_proto::v1::{Guarantee, State};
use queuebridge_tests::events::{least, record, sqs};
use queuebridge_tests::runtime_api::MAX_EVENT_BYTES;

#[tokio::test]
async fn a_message_with_all_that_sqs_can_attach_is_run() {
    let lambda = Lambda::start(&[]).await;
    let (job, body) = lambda.job("Echo", &v1::EchoRequest::default());
    let full = record("sqs.json", "full", &body);
    assert_eq!(full["messageAttributes"].as_object().unwrap().len(), 10);
    assert!(lambda.redelivered(&[full]).await.is_empty());
    assert_eq!(lambda.state(&job).await, Some(State::Succeeded));
}

#[tokio::test]
async fn an_event_without_records_has_no_failures() {
    let lambda = Lambda::start(&[]).await;
    assert!(lambda.redelivered(&[]).await.is_empty());
}

#[tokio::test]
async fn the_largest_batch_fails_for_its_bad_record_only() {
    const COUNT: usize = 10_000;
    let lambda = Lambda::start(&[]).await;
    let mut records = Vec::with_capacity(COUNT);
    let mut jobs = Vec::with_capacity(COUNT);
    for number in 0..COUNT {
        let request = v1::EchoRequest::default();
        let (job, body) = lambda.messages.seal("Echo", &request, Guarantee::AtLeastOnce);
        let body = if number == COUNT / 2 { "poison" } else { &body };
        records.push(least(&format!("m-{number}"), body));
        jobs.push(job);
    }
    let event = sqs(&records);
    assert!(event.len() <= MAX_EVENT_BYTES, "{} bytes", event.len());
    let answer = lambda.function.invoke(event, LONG).await;
    assert_eq!(ids(&answer.json()), [format!("m-{}", COUNT / 2)]);
    for number in [0, COUNT / 2 - 1, COUNT / 2 + 1, COUNT - 1] {
        assert_eq!(lambda.state(&jobs[number]).await, Some(State::Succeeded), "{number}");
    }
    assert_eq!(lambda.state(&jobs[COUNT / 2]).await, None);
}

#[tokio::test]
async fn a_message_that_comes_twice_in_one_batch_runs_once() {
    let lambda = Lambda::start(&[]).await;
    let (job, body) = lambda.job("Append", &append("twice"));
    let same = record("sqs.json", "same", &body);
    let other = record("sqs.json", "other", &body);
    // The same message twice, and a second message of the same job. Whichever
    // comes late finds the job finished or held; it is not run.
    let redelivered = lambda.redelivered(&[same.clone(), same, other]).await;
    assert!(redelivered.iter().all(|id| ["same", "other"].contains(&id.as_str())));
    assert_eq!(lambda.lines("twice").len(), 1);
    assert_eq!(lambda.state(&job).await, Some(State::Succeeded));
}

#[tokio::test]
async fn invocations_side_by_side_get_their_own_answers() {
    const SIDE_BY_SIDE: usize = 4;
    let concurrency = SIDE_BY_SIDE.to_string();
    let lambda = Lambda::start(&[("AWS_LAMBDA_MAX_CONCURRENCY", &concurrency)]).await;
    let invocations = (0..3 * SIDE_BY_SIDE).map(async |number| {
        let (_, good) = lambda.job("Echo", &v1::EchoRequest::default());
        let waits = v1::EchoRequest {
            delay: Some(prost_types::Duration { seconds: 0, nanos: 200_000_000 }),
            ..v1::EchoRequest::default()
        };
        let (slow, slow_body) = lambda.job("Echo", &waits);
        let bad = format!("bad-{number}");
        let records = [
            record("sqs.json", "good", &good),
            record("sqs.json", &bad, "poison"),
            record("sqs.json", "slow", &slow_body),
        ];
        assert_eq!(lambda.redelivered(&records).await, [bad]);
        assert_eq!(lambda.state(&slow).await, Some(State::Succeeded));
    });
    futures_util::future::join_all(invocations).await;
    assert_eq!(lambda.function.most_at_once(), SIDE_BY_SIDE);
}
