//! Errors of handlers as their callers see them.

use super::world::{PATIENCE, Script, World, messages, read, reason};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use queuebridge_demo::v1::FailRequest;
use queuebridge_gateway::config::CallConfig;
use queuebridge_proto::v1::job::Outcome;
use queuebridge_proto::v1::{GetResultRequest, Metadatum, ReadStreamRequest, metadatum::Value};
use queuebridge_worker::{JobContext, next};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::metadata::MetadataMap;
use tonic::{Code, Response, Status};

/// What gRPC's C core takes of headers before it refuses them (`GRPC_ARG_MAX_METADATA_SIZE`).
const C_CORE: usize = 8 * 1024;

fn with(key: &'static str, value: &str) -> MetadataMap {
    let mut metadata = MetadataMap::new();
    metadata.insert(key, value.parse().unwrap());
    metadata
}

/// gRFC A6: a server tells its clients when to try again, or that they must not.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_whether_to_try_again() {
    let unavailable = |pushback| {
        let metadata = with("grpc-retry-pushback-ms", pushback);
        Status::with_metadata(Code::Unavailable, "busy", metadata)
    };
    for (status, late, expected) in [
        (unavailable("-1"), false, Some("-1")),
        (unavailable("1500"), false, Some("1500")),
        (unavailable("1500"), true, Some("1500")),
        (next::fail(Status::unavailable("gone for good")), false, Some("-1")),
        (Status::unavailable("busy"), false, None),
    ] {
        let fails = Script::new(move |_| {
            let status = status.clone();
            async move {
                let before = if late { messages(["a"]) } else { messages([]) };
                let failing = Response::new(before.chain(stream::iter([Err(status.clone())])));
                if late { Ok(failing.map(StreamExt::boxed)) } else { Err(status) }
            }
        });
        let world = World::script(fails, CallConfig::default()).await;
        let status = match world.run("").await {
            Ok(answer) => read(answer.into_inner()).await.1.unwrap_err(),
            Err(status) => status,
        };
        assert_eq!(status.code(), Code::Unavailable);
        let told = status.metadata().get("grpc-retry-pushback-ms");
        assert_eq!(told.map(|told| told.to_str().unwrap()), expected);
        assert!(status.metadata().get("queuebridge-next").is_none());
    }
}

fn size(status: &Status) -> usize {
    let headers = status.clone().into_http::<()>();
    headers.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 32).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_error_keeps_its_code_and_the_whole_is_there_by_its_id() {
    let text = "\u{20ac} and so on, ".repeat(1_000);
    let details = |count| {
        let any = |n: u8| prost_types::Any { type_url: "t/a".into(), value: vec![n; 2_000] };
        (0..count).map(any).collect::<Vec<_>>()
    };
    for (text, details, metadata, cut) in [
        (text.clone(), details(0), 0, "message"),
        ("short".to_owned(), details(9), 0, "details"),
        (text, details(9), 9_000, "metadata, message, details"),
    ] {
        let whole = tonic_types::Status { code: 9, message: text.clone(), details };
        let bytes = if whole.details.is_empty() { vec![] } else { whole.encode_to_vec() };
        let mut metadata = with("x-own", &"v".repeat(metadata));
        metadata.insert("grpc-retry-pushback-ms", "-1".parse().unwrap());
        let code = Code::FailedPrecondition;
        let status = Status::with_details_and_metadata(code, text, bytes.into(), metadata.clone());
        for late in [false, true] {
            let status = status.clone();
            let fails = Script::new(move |_| {
                let status = status.clone();
                async move {
                    let failing = messages(["a"]).chain(stream::iter([Err(status.clone())]));
                    if late { Ok(Response::new(failing.boxed())) } else { Err(status) }
                }
            });
            let world = World::script(fails, CallConfig::default()).await;
            let status = match world.run("").await {
                Ok(answer) => read(answer.into_inner()).await.1.unwrap_err(),
                Err(status) => status,
            };
            assert_eq!(status.code(), code);
            assert!(size(&status) < C_CORE, "{}", size(&status));
            assert_eq!(status.metadata().get("qb-truncated").unwrap(), cut);
            assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
            let begin = status.message().trim_end_matches("\u{2026} [truncated]");
            assert!(whole.message.starts_with(begin) && !begin.is_empty());
            let id = status.metadata().get("qb-job-id").unwrap().to_str().unwrap().to_owned();
            let request = GetResultRequest { id, ..GetResultRequest::default() };
            let job = world.jobs().get_result(request).await.unwrap().into_inner();
            assert_eq!(job.outcome, Some(Outcome::Error(whole.clone())));
            let own = Some(Value::Ascii("v".repeat(metadata.get("x-own").unwrap().len())));
            assert!(job.trailing_metadata.contains(&Metadatum { key: "x-own".into(), value: own }));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_body_of_connect_stays_whole() {
    let world = World::demo().await;
    let message = "m".repeat(20_000);
    let fail = FailRequest { code: 9, message: message.clone(), reason: "NO_WAY".into() };
    let uri = format!("http://{}/queuebridge.demo.v1.Probe/Fail", world.address);
    let request = http::Request::post(uri).header("content-type", "application/proto");
    let request = request.body(Full::new(Bytes::from(fail.encode_to_vec()))).unwrap();
    let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let answer = timeout(PATIENCE, client.request(request)).await.unwrap().unwrap();
    assert_eq!(answer.status(), 400, "Connect has it for FAILED_PRECONDITION");
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let error: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(
        (error["code"].as_str(), error["message"].as_str()),
        (Some("failed_precondition"), Some(&*message))
    );
}

const MOST: usize = 4 << 20;

/// The messages of one size, after a small one, and how the stream has ended.
async fn large(size: usize) -> (World, Vec<usize>, Result<(), Status>, String) {
    let (tell, mut told) = mpsc::unbounded_channel();
    let script = Script::new(move |request| {
        let context = request.extensions().get::<JobContext>().unwrap();
        tell.send(context.id.to_string()).unwrap();
        async move {
            let all = [Bytes::from_static(b"small"), Bytes::from(vec![7; size])].map(Ok);
            Ok(Response::new(stream::iter(all).boxed()))
        }
    });
    let world = World::script(script, CallConfig::default()).await;
    let mut answer = world.run("").await.unwrap().into_inner();
    let mut sizes = Vec::new();
    let end = loop {
        match answer.message().await {
            Ok(Some(message)) => sizes.push(message.len()),
            Ok(None) => break Ok(()),
            Err(status) => break Err(status),
        }
    };
    (world, sizes, end, told.recv().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_takes_none_with_it_and_what_passes_can_be_read_again() {
    for (size, passes) in
        [(MOST - 1_000, true), (MOST - 64, true), (MOST, false), (MOST + 1, false)]
    {
        let (world, sizes, end, id) = large(size).await;
        let request = ReadStreamRequest { id, ..ReadStreamRequest::default() };
        let mut again = world.jobs().read_stream(request).await.unwrap().into_inner();
        let mut sizes_again = vec![again.message().await.unwrap().unwrap().message.len()];
        let second = again.message().await;
        if passes {
            assert!(end.is_ok(), "{size}: {end:?}");
            assert_eq!(sizes, [5, size]);
            sizes_again.push(second.unwrap().unwrap().message.len());
            assert_eq!(sizes_again, sizes);
        } else {
            assert_eq!((sizes, sizes_again), (vec![5], vec![5]), "those before it");
            for status in [end.unwrap_err(), second.unwrap_err()] {
                assert_eq!(status.code(), Code::ResourceExhausted);
                assert_eq!(reason(&status), "RESPONSE_TOO_LARGE");
            }
        }
    }
}
