//! Requests that are too large, malformed, or for a service that the gateway has not.

use super::assert_refused;
use super::bridge::{Bridge, Serving, Setup, echo};
use bytes::Bytes;
use http::uri::PathAndQuery;
use queuebridge_proto::raw::RawCodec;
use queuebridge_proto::v1::{SubmitBatchRequest, SubmitRequest};
use tonic::client::Grpc;
use tonic::{Code, Request, Response, Status};

const JOBS: &str = "/queuebridge.v1.Jobs";

/// Calls a method with bytes.
async fn raw(gateway: &Serving, method: &str, bytes: Bytes) -> Result<Response<Bytes>, Status> {
    let mut grpc = Grpc::new(gateway.channel.clone());
    grpc.ready().await.unwrap();
    grpc.unary(Request::new(bytes), PathAndQuery::try_from(method).unwrap(), RawCodec).await
}

#[tokio::test]
async fn a_message_above_the_limit_is_refused_for_good() {
    let mut gateway = Bridge::new().gateway(Setup::default()).await;
    let request = SubmitRequest { request: vec![0; 5 << 20].into(), ..echo() };
    let batch = SubmitBatchRequest { jobs: vec![request.clone()], group: None };
    let one = gateway.jobs.submit(request).await.map(drop);
    let many = gateway.jobs.submit_batch(batch).await.map(drop);
    for answer in [one, many] {
        let code = Code::ResourceExhausted;
        let status = assert_refused(answer, code, "PAYLOAD_TOO_LARGE", "request");
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    }
}

#[tokio::test]
async fn an_empty_batch_is_refused() {
    let mut gateway = Bridge::new().gateway(Setup::default()).await;
    let answer = gateway.jobs.submit_batch(SubmitBatchRequest::default()).await;
    assert_refused(answer, Code::InvalidArgument, "INVALID_FIELD", "jobs");
}

#[tokio::test]
async fn a_batch_that_decodes_to_hundreds_of_times_its_size_is_malformed() {
    let gateway = Bridge::new().gateway(Setup::default()).await;
    let many = Bytes::from([0x0a, 0].repeat(100_000));
    let answer = raw(&gateway, &format!("{JOBS}/SubmitBatch"), many).await;
    assert_refused(answer, Code::InvalidArgument, "MALFORMED_MESSAGE", "");
}

#[tokio::test]
async fn text_that_is_not_utf8_is_malformed_and_names_its_field() {
    let gateway = Bridge::new().gateway(Setup::default()).await;
    let text = Bytes::from_static(b"\x0a\x02\xff\xfe");
    let answer = raw(&gateway, &format!("{JOBS}/Submit"), text).await;
    assert_refused(answer, Code::InvalidArgument, "MALFORMED_MESSAGE", "method");
}

#[tokio::test]
async fn an_unknown_service_is_unimplemented() {
    let mut bridge = Bridge::new();
    bridge.work();
    let mut unrouted = Setup::default();
    unrouted.route.methods = "/only.This/*".parse().unwrap();
    for setup in [Setup::default(), unrouted] {
        let gateway = bridge.gateway(setup).await;
        let answer = raw(&gateway, "/no.Such/Method", Bytes::new()).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
    }
}
