//! What goes wrong with one record, and what stays with it.

use super::{LONG, Lambda};
use crate::fixture::{append, sleep_for};
use queuebridge_demo::v1;
use queuebridge_proto::v1::State;
use queuebridge_tests::events::{fixture, record, sqs};
use queuebridge_tests::runtime_api::{Answer, Ended};
use serde_json::Value;
use std::time::Duration;

#[tokio::test]
async fn a_record_without_an_id_fails_its_batch_before_anything_runs() {
    let lambda = Lambda::start(&[]).await;
    for id in [Value::from(""), Value::Null] {
        let (job, body) = lambda.job("Echo", &v1::EchoRequest::default());
        let good = record("sqs.json", "good", &body);
        let mut bad = record("sqs.json", "", &body);
        bad["messageId"] = id;
        let answer = lambda.function.invoke(sqs(&[good, bad]), LONG).await;
        assert!(matches!(answer, Answer::Error(_)), "{answer:?}");
        assert_eq!(lambda.state(&job).await, None);
    }
}

#[tokio::test]
async fn a_body_that_is_no_envelope_hurts_nobody_else() {
    let lambda = Lambda::start(&[]).await;
    let mut records = Vec::new();
    let mut jobs = Vec::new();
    let (_, sealed) = lambda.job("Echo", &v1::EchoRequest::default());
    let cut = &sealed[..sealed.len() / 2];
    let stranger = queuebridge_tests::Messages::default();
    let guarantee = queuebridge_proto::v1::Guarantee::Claimed;
    let (_, forged) = stranger.seal("Echo", &v1::EchoRequest::default(), guarantee);
    for (number, bad) in ["", "{}", "\u{fffd}", cut, &forged].into_iter().enumerate() {
        let (job, body) = lambda.job("Echo", &v1::EchoRequest::default());
        records.push(record("sqs.json", &format!("good-{number}"), &body));
        records.push(record("sqs.json", &format!("bad-{number}"), bad));
        jobs.push(job);
    }
    let mut redelivered = lambda.redelivered(&records).await;
    redelivered.sort();
    assert_eq!(redelivered, ["bad-0", "bad-1", "bad-2", "bad-3", "bad-4"]);
    for job in jobs {
        assert_eq!(lambda.state(&job).await, Some(State::Succeeded));
    }
}

#[tokio::test]
async fn a_panic_stays_with_its_job() {
    let lambda = Lambda::start(&[]).await;
    let (panics, body) = lambda.job("Panic", &v1::PanicRequest { message: "secret".into() });
    let panicking = record("sqs.json", "panics", &body);
    let (fine, body) = lambda.job("Echo", &v1::EchoRequest::default());
    let good = record("sqs.json", "fine", &body);
    assert_eq!(lambda.redelivered(&[panicking.clone(), good]).await, ["panics"]);
    assert_eq!(lambda.state(&fine).await, Some(State::Succeeded));
    // Three attempts; the last one is the end, and it is said without the text.
    assert_eq!(lambda.redelivered(std::slice::from_ref(&panicking)).await, ["panics"]);
    assert!(lambda.redelivered(&[panicking]).await.is_empty());
    let ended = lambda.record(&panics).await.unwrap();
    assert_eq!((ended.state, ended.attempt), (State::Failed, 3));
    assert!(!format!("{:?}", ended.outcome).contains("secret"));
}

#[tokio::test]
async fn a_handler_that_hangs_is_redelivered_and_the_batch_is_answered() {
    let lambda = Lambda::start(&[]).await;
    let (hangs, body) = lambda.job("Sleep", &sleep_for(600));
    let hanging = record("sqs.json", "hangs", &body);
    let (fine, body) = lambda.job("Echo", &v1::EchoRequest::default());
    let good = record("sqs.json", "fine", &body);
    // The model kills the process some time after the deadline, and then there is no answer.
    // `verdicts` has the margin before the deadline, in simulated time.
    let event = sqs(&[hanging, good]);
    let answer = lambda.function.invoke(event, Duration::from_secs(15)).await;
    assert_eq!(super::ids(&answer.json()), ["hangs"]);
    assert_eq!(lambda.state(&fine).await, Some(State::Succeeded));
    // The claim was given back: nobody has to wait for its lease.
    let left = lambda.record(&hangs).await.unwrap();
    assert_eq!((left.state, left.token), (State::Accepted, None));
}

#[tokio::test]
async fn what_a_topic_has_wrapped_is_run() {
    let lambda = Lambda::start(&[]).await;
    let (wrapped, body) = lambda.job("Echo", &v1::EchoRequest::default());
    let text = fixture("sqs_sns.json")["Records"][0]["body"].take();
    let mut notification: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    notification["Message"] = body.into();
    let good = record("sqs_sns.json", "wrapped", &notification.to_string());
    notification["Message"] = "poison".into();
    let bad = record("sqs_sns.json", "poison", &notification.to_string());
    assert_eq!(lambda.redelivered(&[bad, good]).await, ["poison"]);
    assert_eq!(lambda.state(&wrapped).await, Some(State::Succeeded));
}

#[tokio::test]
async fn an_id_is_listed_once_however_often_it_comes() {
    let lambda = Lambda::start(&[]).await;
    let twice = record("sqs.json", "same", "poison");
    assert_eq!(lambda.redelivered(&[twice.clone(), twice]).await, ["same"]);
}

#[tokio::test]
async fn what_runs_at_the_end_of_its_environment_gives_its_claim_back() {
    let lambda = Lambda::start(&[("AWS_LAMBDA_MAX_CONCURRENCY", "2")]).await;
    let request = v1::AppendRequest { then_wait: sleep_for(600).duration, ..append("begun") };
    let (job, body) = lambda.job("Append", &request);
    let event = sqs(&[record("sqs.json", "runs", &body)]);
    let invocation = lambda.function.begin(event, LONG);
    while lambda.lines("begun").is_empty() {
        tokio::task::yield_now().await;
    }
    let Ended::ByItself(status) = lambda.function.shut_down().await else {
        panic!("killed: {}", lambda.function.log())
    };
    assert!(status.success(), "{status}");
    drop(invocation);
    let left = lambda.record(&job).await.unwrap();
    assert_eq!((left.state, left.token), (State::Accepted, None));
    assert_eq!(lambda.lines("begun").len(), 1);
}

#[tokio::test]
async fn a_queue_that_has_gone_silent_does_not_cost_the_batch_its_answer() {
    // The system takes connections, and nobody answers on them.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let queues = format!("http://{}", silent.local_addr().unwrap());
    let lambda = Lambda::start(&[("AWS_ENDPOINT_URL_SQS", &queues)]).await;
    let (_, body) = lambda.job("Flaky", &v1::FlakyRequest { key: "k".into(), failures: 1 });
    let again = record("sqs.json", "again", &body);
    let (fine, body) = lambda.job("Echo", &v1::EchoRequest::default());
    let good = record("sqs.json", "fine", &body);
    let answer = lambda.function.invoke(sqs(&[again, good]), Duration::from_secs(15)).await;
    assert_eq!(super::ids(&answer.json()), ["again"]);
    assert_eq!(lambda.state(&fine).await, Some(State::Succeeded));
}
