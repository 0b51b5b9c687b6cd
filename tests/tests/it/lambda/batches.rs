//! What an event holds, and what becomes of each record.

use super::{LONG, Lambda, ids};
use crate::fixture::append;
use queuebridge_demo::v1;
use queuebridge_proto::v1::{Guarantee, State};
use queuebridge_tests::Messages;
use queuebridge_tests::events::{least, record, sqs};
use queuebridge_tests::runtime_api::{Function, MAX_EVENT_BYTES};
use std::collections::HashSet;
use std::path::Path;

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

/// Over stores in memory: what is at stake is the kit, not the emulator's speed.
#[tokio::test]
async fn ten_thousand_records_fail_for_their_bad_one_only() {
    const COUNT: usize = 10_000;
    let (messages, dir) = (Messages::default(), tempfile::tempdir().unwrap());
    let variables = [
        ("QB_ENVELOPE_KEYS", messages.keys_variable()),
        ("QB_STORE_TABLE", dir.path().to_str().unwrap()),
    ];
    let binary = Path::new(env!("CARGO_BIN_EXE_lambda_memory"));
    let function = Function::start(binary, &variables).await.unwrap();
    let record = |number: usize| {
        let request = v1::AppendRequest { line: number.to_string(), ..append("ran") };
        let (_, body) = messages.seal("Append", &request, Guarantee::AtLeastOnce);
        let body = if number == COUNT / 2 { "poison" } else { &body };
        least(&number.to_string(), body)
    };
    let records: Vec<_> = (0..COUNT).map(record).collect();
    let event = sqs(&records);
    assert!(event.len() <= MAX_EVENT_BYTES, "{} bytes", event.len());
    let answer = function.invoke(event, LONG).await;
    assert_eq!(ids(&answer.json()), [(COUNT / 2).to_string()]);
    let text = std::fs::read_to_string(dir.path().join("ran")).unwrap();
    let ran: HashSet<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!((ran.len(), text.lines().count()), (COUNT - 1, COUNT - 1));
}

#[tokio::test]
async fn the_largest_event_fails_for_its_bad_record_only() {
    let lambda = Lambda::start(&[]).await;
    // Of 1 MiB messages only a few fit into 6 MB.
    // What can be compressed would not fill them.
    let noise = std::iter::repeat_with(|| uuid::Uuid::new_v4().into_bytes());
    let payload: Vec<u8> = noise.take(46_250).flatten().collect();
    let (mut records, mut jobs) = (Vec::new(), Vec::new());
    for number in 0..6 {
        let request = v1::EchoRequest { payload: payload.clone().into(), ..Default::default() };
        let request = v1::EchoRequest { response_bytes: 1, ..request };
        let (job, body) = lambda.job("Echo", &request);
        records.push(record("sqs.json", &number.to_string(), &body));
        jobs.push(job);
    }
    records.insert(3, record("sqs.json", "bad", &"x".repeat(200_000)));
    let event = sqs(&records);
    assert!((5_900_000..=MAX_EVENT_BYTES).contains(&event.len()), "{} bytes", event.len());
    let answer = lambda.function.invoke(event, LONG).await;
    assert_eq!(ids(&answer.json()), ["bad"]);
    for job in jobs {
        assert_eq!(lambda.state(&job).await, Some(State::Succeeded));
    }
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
