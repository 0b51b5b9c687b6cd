//! The gateway's port: the same protocols, and reflection for what lives behind it.

use super::door::over_http;
use super::protocol::{Call, Message, Outcome, PROTOCOLS, Protocol};
use super::{Reply, Request};
use bytes::Bytes;
use prost::Message as _;
use queuebridge_demo::v1;
use queuebridge_gateway::descriptors::DescriptorRegistry;
use queuebridge_gateway::descriptors::learn::{Bounds, learn};
use queuebridge_local::Stack;
use queuebridge_proto::v1::{
    GetResultRequest, Job, State, SubmitRequest, SubmitResult, WatchResultRequest,
    WatchResultResponse,
};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::transport::Endpoint;

/// The embedded stack, which ends with the test.
pub(super) struct Bridge {
    pub(super) address: String,
    task: JoinHandle<()>,
}

impl Drop for Bridge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Bridge {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let sets = vec![queuebridge_demo::FILE_DESCRIPTOR_SET];
        let stack = Stack { descriptor_sets: sets, ..Stack::default() };
        let served = stack.serve_on(listener, queuebridge_demo::routes(), std::future::pending());
        Self { address, task: tokio::spawn(async move { served.await.unwrap() }) }
    }

    async fn send(&self, protocol: Protocol, call: &Call) -> Outcome {
        protocol.outcome(&over_http(&self.address, protocol.request(call)).await)
    }
}

fn message(message: &impl prost::Message, json: Value) -> (Bytes, Value) {
    (message.encode_to_vec().into(), json)
}

fn submission() -> (SubmitRequest, Value) {
    let request = v1::EchoRequest { payload: "hi".into(), ..Default::default() };
    let method = "/queuebridge.demo.v1.Probe/Echo".to_owned();
    let wait = Some(prost_types::Duration { seconds: 30, nanos: 0 });
    let request =
        SubmitRequest { method, request: request.encode_to_vec().into(), wait, ..<_>::default() };
    let json = json!({"method": request.method, "request": "CgJoaQ==", "wait": "30s"});
    (request, json)
}

fn submit() -> Call {
    let (request, json) = submission();
    let messages = vec![message(&request, json)];
    Call { method: "/queuebridge.v1.Jobs/Submit", streaming: false, messages }
}

/// What arrived, as JSON where it is.
fn states(protocol: Protocol, outcome: &Outcome) -> Vec<String> {
    let state = |message: &Message| match message {
        Message::Binary(bytes) => {
            assert_ne!(protocol, Protocol::ConnectJson);
            let job = Job::decode(bytes.clone()).unwrap();
            State::try_from(job.state).unwrap().as_str_name().to_owned()
        }
        Message::Json(job) => job["state"].as_str().unwrap_or_default().to_owned(),
    };
    outcome.messages.iter().map(state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_submitted_in_every_protocol_but_by_get() {
    let bridge = Bridge::new().await;
    for protocol in PROTOCOLS {
        let outcome = bridge.send(protocol, &submit()).await;
        if protocol == Protocol::ConnectGet {
            assert_eq!(outcome.code, Code::Unknown as i32, "{outcome:?}");
            continue;
        }
        assert_eq!(outcome.code, 0, "{protocol:?} {outcome:?}");
        assert_eq!(states(protocol, &outcome), ["STATE_SUCCEEDED"], "{protocol:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_keeps_its_code_and_its_details_in_every_protocol() {
    let bridge = Bridge::new().await;
    let request = GetResultRequest { id: "no id".to_owned(), ..<_>::default() };
    let messages = vec![message(&request, json!({"id": "no id"}))];
    let call = Call { method: "/queuebridge.v1.Jobs/GetResult", streaming: false, messages };
    for protocol in PROTOCOLS.into_iter().filter(|p| *p != Protocol::ConnectGet) {
        let outcome = bridge.send(protocol, &call).await;
        assert_eq!(outcome.code, Code::InvalidArgument as i32, "{protocol:?} {outcome:?}");
        let info = outcome.details.iter().any(|name| name == "google.rpc.ErrorInfo");
        assert!(info, "{protocol:?} {outcome:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_pass_in_both_directions() {
    let bridge = Bridge::new().await;
    let submitted = bridge.send(Protocol::ConnectProto, &submit()).await;
    let [Message::Binary(job)] = &submitted.messages[..] else { panic!("{submitted:?}") };
    let id = Job::decode(job.clone()).unwrap().id;
    let request = WatchResultRequest { id: id.clone(), ..<_>::default() };
    let messages = vec![message(&request, json!({"id": id}))];
    let watch = Call { method: "/queuebridge.v1.Jobs/WatchResult", streaming: true, messages };
    let (request, json) = submission();
    let messages = vec![message(&request, json.clone()), message(&request, json)];
    let many = Call { method: "/queuebridge.v1.Jobs/SubmitStream", streaming: true, messages };
    for protocol in
        [Protocol::GrpcWeb, Protocol::GrpcWebText, Protocol::ConnectProto, Protocol::ConnectJson]
    {
        let watched = bridge.send(protocol, &watch).await;
        assert_eq!(watched.code, 0, "{protocol:?} {watched:?}");
        let last = match watched.messages.last() {
            Some(Message::Binary(bytes)) => {
                WatchResultResponse::decode(bytes.clone()).unwrap().job.unwrap().id
            }
            Some(Message::Json(json)) => json["job"]["id"].as_str().unwrap().to_owned(),
            None => panic!("{protocol:?} {watched:?}"),
        };
        assert_eq!(last, id, "{protocol:?}");
        let accepted = bridge.send(protocol, &many).await;
        assert_eq!((accepted.code, accepted.messages.len()), (0, 2), "{protocol:?} {accepted:?}");
        for message in accepted.messages {
            match message {
                Message::Binary(bytes) => {
                    let result = SubmitResult::decode(bytes).unwrap().result;
                    assert!(matches!(
                        result,
                        Some(queuebridge_proto::v1::submit_result::Result::Job(_))
                    ));
                }
                Message::Json(json) => assert!(json["job"].is_object(), "{json}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_over_native_grpc_on_the_same_port_lists_what_lives_behind_it() {
    let bridge = Bridge::new().await;
    let endpoint = Endpoint::from_shared(format!("http://{}", bridge.address)).unwrap();
    let set = learn(endpoint.connect_lazy(), Bounds::default()).await.unwrap();
    let registry = DescriptorRegistry::default();
    registry.replace("it", &set).unwrap();
    let known = registry.current();
    for service in [
        "queuebridge.v1.Jobs",
        "google.longrunning.Operations",
        "grpc.health.v1.Health",
        "queuebridge.demo.v1.Probe",
        "queuebridge.demo.v1.Images",
    ] {
        assert!(known.services().contains(service), "{service} {:?}", known.services());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_call_is_told_so() {
    let bridge = Bridge::new().await;
    let Reply { status, body, .. } = over_http(&bridge.address, Request::get("/healthz")).await;
    assert_eq!((status, &body[..]), (200, &b"ok\n"[..]));
    let reply = over_http(&bridge.address, Request::post("/x", "text/html", "")).await;
    assert_eq!(reply.status, 415, "{reply:?}");
}
