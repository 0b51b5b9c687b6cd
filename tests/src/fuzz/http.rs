//! Requests in gRPC-Web, Connect and JSON.

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use queuebridge_web::{Descriptors, Limits, Web};
use std::sync::{Arc, OnceLock};
use tokio::runtime::{Builder, Runtime};

const UNARY: &str = "/queuebridge.demo.v1.Probe/Fail";
const STREAMS: &str = "/queuebridge.demo.v1.Probe/Sum";

/// The first byte chooses the content type and the kind of method.
pub(super) fn grpc_web(data: &[u8]) {
    let types = ["application/grpc-web", "application/grpc-web-text", "application/grpc-web+proto"];
    call(data, &types);
}

/// The first byte chooses the content type and the kind of method.
pub(super) fn connect(data: &[u8]) {
    let types = [
        "application/proto",
        "application/json",
        "application/connect+proto",
        "application/connect+json",
        "application/grpc",
    ];
    call(data, &types);
}

fn call(data: &[u8], types: &[&str]) {
    let Some((choice, body)) = data.split_first() else { return };
    let kind = types[usize::from(choice & 0x7f) % types.len()];
    let path = if choice & 0x80 == 0 { UNARY } else { STREAMS };
    let request = Request::post(path)
        .header("content-type", kind)
        .header("connect-protocol-version", "1")
        .body(Full::new(Bytes::copy_from_slice(body)))
        .unwrap_or_else(|error| unreachable!("{error}"));
    let (runtime, web) = served();
    runtime.block_on(async {
        let limits = Limits { ends_at: None, response_bytes: Some(1 << 20) };
        let answer = web.call(request, limits).await;
        let _ = answer.into_body().collect().await;
    });
}

fn served() -> &'static (Runtime, Web) {
    static SERVED: OnceLock<(Runtime, Web)> = OnceLock::new();
    SERVED.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build();
        let sets = queuebridge_demo::FILE_DESCRIPTOR_SET;
        let descriptors = Descriptors::parse([sets]).ok().map(Arc::new);
        let web = Web::new(queuebridge_demo::routes(), descriptors);
        (runtime.unwrap_or_else(|error| unreachable!("{error}")), web)
    })
}
