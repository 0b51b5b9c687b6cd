//! The model of the Lambda Runtime API keeps what the real one promises.

use queuebridge_tests::python;
use queuebridge_tests::runtime_api::{Answer, Ended, Function, MAX_EVENT_BYTES};
use serde_json::{Value, json};
use std::time::Duration;

/// More than any answer here takes.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(300);

async fn start(environment: &[(&str, &str)]) -> Function {
    let bootstrap = python::root().join("tests/python/bootstrap.py");
    Function::start(&bootstrap, environment).await.unwrap()
}

async fn invoke(function: &Function, event: Value) -> Answer {
    function.invoke(event.to_string(), LONG).await
}

fn kind(answer: &Answer) -> &str {
    let Answer::Error(error) = answer else { panic!("not an error: {answer:?}") };
    &error.kind
}

#[tokio::test]
async fn an_invocation_is_answered_once() {
    let function = start(&[]).await;
    let event = json!({"do": "echo", "x": 1});
    assert_eq!(invoke(&function, event.clone()).await.json(), event);
    // The next one comes after the second answer to the first.
    assert_eq!(kind(&invoke(&function, json!({"do": "fail"})).await), "Handler.Failed");
    assert!(function.log().contains("a second answer: 400"), "{}", function.log());
}

#[tokio::test]
async fn events_and_answers_have_their_limits() {
    let function = start(&[]).await;
    let large = vec![b' '; MAX_EVENT_BYTES + 1];
    assert_eq!(kind(&function.invoke(large, LONG).await), "RequestTooLarge");
    let fits = invoke(&function, json!({"do": "answer", "bytes": 6_291_556})).await;
    assert!(matches!(fits, Answer::Response(body) if body.len() == 6_291_556));
    let large = invoke(&function, json!({"do": "answer", "bytes": 6_291_557})).await;
    assert_eq!(kind(&large), "Function.ResponseSizeTooLarge");
    assert_eq!(kind(&invoke(&function, json!({"do": "fail"})).await), "Handler.Failed");
    assert!(function.log().contains("an answer: 413"), "{}", function.log());
}

#[tokio::test]
async fn a_streamed_answer_arrives_in_pieces_and_may_fail_in_the_middle() {
    let function = start(&[]).await;
    for failing in [false, true] {
        let event = json!({"do": "stream", "chunks": ["one", "two"], "failing": failing});
        let mut invocation = function.begin(event.to_string(), LONG);
        let first = invocation.chunk().await.expect("a piece");
        assert!(first.starts_with(b"one"));
        let Answer::Streamed { content_type, body, error } = invocation.end().await else {
            panic!("not streamed")
        };
        assert_eq!((content_type.as_str(), &body[..]), ("text/plain", &b"onetwo"[..]));
        let error = error.map(|error| (error.kind, error.body));
        let broke = failing.then(|| ("Stream.Broke".to_owned(), "in the middle".into()));
        assert_eq!(error, broke);
    }
}

#[tokio::test]
async fn a_process_that_misses_its_deadline_is_killed() {
    let function = start(&[]).await.punctual();
    function.ready().await.unwrap();
    let hang = json!({"do": "hang"}).to_string();
    assert_eq!(function.invoke(hang, SHORT).await, Answer::TimedOut);
    assert_eq!(invoke(&function, json!({"do": "echo"})).await, Answer::Exited);
}

#[tokio::test]
async fn a_concurrent_process_outlives_one_late_invocation() {
    let function = start(&[("AWS_LAMBDA_MAX_CONCURRENCY", "2")]).await.punctual();
    function.ready().await.unwrap();
    let hang = json!({"do": "hang"}).to_string();
    assert_eq!(function.invoke(hang, SHORT).await, Answer::TimedOut);
    let event = json!({"do": "echo"});
    assert_eq!(invoke(&function, event.clone()).await.json(), event);
    assert_eq!(function.most_at_once(), 2);
}

#[tokio::test]
async fn a_process_that_ends_answers_nothing() {
    let function = start(&[]).await;
    assert_eq!(invoke(&function, json!({"do": "exit", "code": 3})).await, Answer::Exited);
    let function = start(&[("START", "fail")]).await;
    assert!(function.ready().await.is_err());
    assert_eq!(function.init_error().map(|error| error.kind).as_deref(), Some("Init.Failed"));
}

#[tokio::test]
async fn only_a_process_with_an_extension_hears_of_its_end() {
    let function = start(&[]).await;
    function.ready().await.unwrap();
    assert_eq!(function.shut_down().await, Ended::Killed);

    let function = start(&[("START", "extension")]).await;
    function.ready().await.unwrap();
    let Ended::ByItself(status) = function.shut_down().await else { panic!("killed") };
    assert_eq!(status.code(), Some(7));

    let function = start(&[("START", "extension"), ("IGNORE_SIGTERM", "yes")]).await;
    function.ready().await.unwrap();
    assert_eq!(function.shut_down_after(Duration::from_secs(5)).await, Ended::Killed);
    assert!(function.log().contains("told to stop"), "{}", function.log());
}
