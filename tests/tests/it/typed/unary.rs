//! One message each way.

use super::world::{PATIENCE, RUN, Script, World, messages, one, reason};
use bytes::Bytes;
use queuebridge_demo::v1::probe_client::ProbeClient;
use queuebridge_demo::v1::{EchoRequest, FailRequest, PanicRequest};
use queuebridge_gateway::config::{BranchConfig, CallConfig, FanOut, Mode};
use queuebridge_local::{Branches, Over, Stack};
use queuebridge_proto::v1::GatherRule;
use queuebridge_proto::v1::gather_rule::Answer;
use std::time::Duration;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Response};
use tonic_types::StatusExt;

#[tokio::test(flavor = "multi_thread")]
async fn an_unchanged_stub_gets_answer_and_metadata_of_an_unchanged_service() {
    let world = World::demo().await;
    let mut client = ProbeClient::new(world.channel.clone());
    let echo = EchoRequest { payload: Bytes::from_static(b"hello"), ..EchoRequest::default() };
    let mut request = Request::new(echo);
    request.metadata_mut().append("x-many", "1".parse().unwrap());
    request.metadata_mut().append("x-many", "2".parse().unwrap());
    let binary = MetadataValue::from_bytes(&[0, 1, 255]);
    request.metadata_mut().insert_bin("x-bytes-bin", binary.clone());
    let answer = client.echo(request).await.unwrap();
    let metadata = answer.metadata().clone();
    assert_eq!(answer.into_inner().payload, "hello");
    let many: Vec<_> = metadata.get_all("x-many").iter().collect();
    assert_eq!(many, ["1", "2"]);
    assert_eq!(metadata.get_bin("x-bytes-bin"), Some(&binary));
    assert_eq!(metadata.get("probe-trailer").unwrap(), "done", "trailing metadata");
    assert!(metadata.get("qb-job-id").is_none(), "nothing of the bridge is to be seen");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_keeps_code_text_details_and_metadata() {
    let world = World::demo().await;
    let mut client = ProbeClient::new(world.channel.clone());
    let message = "\t\ntest with whitespace\r\nand Unicode BMP ☺ and non-BMP 😈\t\n";
    let fail = FailRequest { code: 9, message: message.into(), reason: "NO_WAY".into() };
    let status = client.fail(fail).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, message));
    let info = status.get_details_error_info().unwrap();
    assert_eq!((info.reason.as_str(), info.domain.as_str()), ("NO_WAY", "demo.queuebridge"));
    assert_eq!(status.metadata().get("probe-trailer").unwrap(), "done");
    let status = client.panic(PanicRequest { message: "secret".into() }).await.unwrap_err();
    assert_eq!(status.code(), Code::Internal);
    assert!(!status.message().contains("secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_handler_sees_what_is_left_of_the_callers_time() {
    let left = Script::new(|request| async move {
        let left = request.metadata().get("grpc-timeout").unwrap().to_str().unwrap().to_owned();
        let left = queuebridge_proto::time::grpc_timeout(&left).unwrap();
        let near = left <= Duration::from_secs(600) && left > Duration::from_secs(300);
        Ok(Response::new(messages([if near { "near" } else { "far" }])))
    });
    let world = World::script(left, CallConfig::default()).await;
    let mut request = Request::new(one(""));
    request.set_timeout(Duration::from_secs(600));
    let mut answer = world.call(RUN, request).await.unwrap().into_inner();
    assert_eq!(answer.message().await.unwrap().unwrap(), "near");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_may_be_compressed_on_the_way_to_the_gateway() {
    let world = World::demo().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = ProbeClient::new(world.channel.clone())
            .send_compressed(encoding)
            .accept_compressed(encoding);
        let echo = EchoRequest { payload: vec![7; 100_000].into(), ..EchoRequest::default() };
        let answer = client.echo(echo.clone()).await.unwrap();
        assert_eq!(answer.into_inner().payload, echo.payload);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_routed_or_not_grpc_is_refused_in_the_words_of_the_protocol() {
    let world = World::demo().await;
    for method in ["/test.Nobody/Here", "/queuebridge.demo.v1.Probe/Nothing"] {
        let answer = world.call(method, Request::new(one(""))).await;
        let answer = match answer {
            Err(status) => status,
            Ok(mut stream) => stream.get_mut().message().await.unwrap_err(),
        };
        assert_eq!(answer.code(), Code::Unimplemented, "{method}: {answer:?}");
    }
    let most = EchoRequest { payload: vec![7; 5 << 20].into(), ..EchoRequest::default() };
    let status = ProbeClient::new(world.channel.clone()).echo(most).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason(&status), "PAYLOAD_TOO_LARGE");
    let large = EchoRequest { response_bytes: 5 << 20, ..EchoRequest::default() };
    let status = ProbeClient::new(world.channel.clone()).echo(large).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(reason(&status), "RESPONSE_TOO_LARGE");
}

/// A stack in which `Echo` goes to two branches.
fn two_branches(rule: GatherRule) -> Stack {
    let branch = |name| BranchConfig::new(name, None);
    Stack {
        branches: vec![Branches {
            methods: "/queuebridge.demo.v1.Probe/Echo".parse().unwrap(),
            over: Over::Topic,
            fan_out: FanOut { rule, branches: vec![branch("one"), branch("other")] },
            without: Vec::new(),
        }],
        calls: CallConfig {
            modes: vec![Mode::Sync, Mode::Auto, Mode::Async],
            ..CallConfig::default()
        },
        ..Stack::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_a_method_with_branches_answers_with_the_methods_type() {
    let primary = Answer::Primary("one".into());
    for answer in [primary, Answer::Merge(true)] {
        let rule = GatherRule { answer: Some(answer), ..GatherRule::default() };
        let world = World::with(queuebridge_demo::routes(), two_branches(rule)).await;
        let mut client = ProbeClient::new(world.channel.clone());
        let echo = EchoRequest { payload: Bytes::from_static(b"hello"), ..EchoRequest::default() };
        let answer = timeout(PATIENCE, client.echo(echo)).await.unwrap().unwrap();
        assert_eq!(answer.into_inner().payload, "hello");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_would_answer_with_the_list_of_its_branches_is_refused() {
    let stack = two_branches(GatherRule::default());
    let world = World::with(queuebridge_demo::routes(), stack).await;
    let mut client = ProbeClient::new(world.channel.clone());
    for mode in ["sync", "auto"] {
        let mut request = Request::new(EchoRequest::default());
        request.metadata_mut().insert("qb-mode", mode.parse().unwrap());
        let status = client.echo(request).await.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition, "{status}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "NO_SINGLE_ANSWER");
    }
    let mut request = Request::new(EchoRequest::default());
    request.metadata_mut().insert("qb-mode", "async".parse().unwrap());
    let accepted = client.echo(request).await.unwrap();
    assert!(accepted.metadata().contains_key("qb-operation"), "{accepted:?}");
}
