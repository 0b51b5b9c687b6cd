//! What a function has said when its invocation ends: afterwards it may be frozen.

use super::Lambda;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use queuebridge_demo::v1;
use queuebridge_tests::events::record;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;

const TRACE: &str = "5759e988bd862e3fe1be46a994272793";
const HEADER: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

/// The bodies that a collector was sent.
type Bodies = Arc<Mutex<Vec<Bytes>>>;

async fn collector() -> (String, Bodies) {
    let bodies = Bodies::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let kept = bodies.clone();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let kept = kept.clone();
            let keep = service_fn(move |request: Request<Incoming>| {
                let kept = kept.clone();
                async move {
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    kept.lock().unwrap().push(body);
                    Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
                }
            });
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), keep));
        }
    });
    (endpoint, bodies)
}

fn metrics(lambda: &Lambda) -> Vec<Value> {
    let log = lambda.function.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get("_aws").is_some()).collect()
}

#[tokio::test]
async fn traces_are_with_the_collector_when_the_invocation_ends() {
    let (endpoint, bodies) = collector().await;
    // Nothing is sent by itself.
    let patient = ("OTEL_BSP_SCHEDULE_DELAY", "600000");
    let lambda = Lambda::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), patient]).await;
    let trace: Vec<u8> =
        (0..32).step_by(2).map(|at| u8::from_str_radix(&TRACE[at..at + 2], 16).unwrap()).collect();
    for round in 1..=20 {
        let (_, body) = lambda.job("Echo", &v1::EchoRequest::default());
        let mut record = record("sqs.json", "m", &body);
        record["attributes"]["AWSTraceHeader"] = HEADER.into();
        assert!(lambda.redelivered(&[record]).await.is_empty());
        let bodies = bodies.lock().unwrap();
        assert_eq!(bodies.len(), round, "one export each");
        let sent = &bodies[round - 1];
        // In the span of the message as its own, and in the links of both.
        assert_eq!(sent.windows(16).filter(|window| *window == trace).count(), 3);
        assert!(sent.windows(6).any(|window| window == b"pubsub"));
    }
}

#[tokio::test]
async fn a_collector_that_never_answers_costs_no_job() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let lambda = Lambda::start(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint)]).await;
    for _ in 0..10 {
        let (_, body) = lambda.job("Echo", &v1::EchoRequest::default());
        assert!(lambda.redelivered(&[record("sqs.json", "m", &body)]).await.is_empty());
    }
    let log = lambda.function.log();
    let waits = log.matches("the collector of traces is too slow").count();
    assert_eq!(waits, 1, "the others do not wait: {log}");
}

#[tokio::test]
async fn metrics_are_on_and_tell_the_cold_start_once() {
    let lambda = Lambda::start(&[]).await;
    for _ in 0..2 {
        let (_, body) = lambda.job("Echo", &v1::EchoRequest::default());
        let good = record("sqs.json", "good", &body);
        let broken = record("sqs.json", "broken", "not ours");
        assert_eq!(lambda.redelivered(&[good, broken]).await, ["broken"]);
    }
    let documents = metrics(&lambda);
    let first: Vec<&Value> = documents.iter().filter(|line| line["BatchSize"] == 2).collect();
    assert_eq!(first.len(), 2, "{documents:?}");
    let cold: Vec<&Value> = first.iter().map(|document| &document["ColdStart"]).collect();
    assert_eq!(cold, [&json!(1), &Value::Null]);
    for document in first {
        let counted = ["Jobs", "Succeeded", "Unopened", "Redelivered.UNOPENED"];
        assert!(counted.iter().all(|name| document[name] == 1), "{document}");
    }
}

#[tokio::test]
async fn every_line_says_its_invocation() {
    let lambda = Lambda::start(&[]).await;
    let (job, body) = lambda.job("Panic", &v1::PanicRequest::default());
    assert_eq!(lambda.redelivered(&[record("sqs.json", "m", &body)]).await, ["m"]);
    let log = lambda.function.log();
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let panicked = lines.filter(|line| line["fields"]["message"] == "a handler panicked");
    let spans: Vec<Value> = panicked.map(|line| line["spans"].clone()).collect();
    let [spans] = &*spans else { panic!("{log}") };
    let [invocation, batch, delivery] = spans.as_array().unwrap().as_slice() else {
        panic!("{spans}")
    };
    assert!(invocation["request_id"].as_str().is_some_and(|id| !id.is_empty()), "{spans}");
    assert!(batch["queue"].is_string(), "{spans}");
    assert_eq!(delivery["job"], job.to_string());
    assert_eq!(delivery["attempt"], 1);
}
