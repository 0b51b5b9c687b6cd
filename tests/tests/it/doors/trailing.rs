//! Trailing metadata that a handler knows only at the end, over real connections,
//! by the service of gRPC's published interoperability tests.

use super::door::over_http;
use super::protocol::{Call, PROTOCOLS, Protocol};
use queuebridge_gateway::descriptors::DescriptorRegistry;
use queuebridge_gateway::front::{Front, Protocols};
use queuebridge_interop::testing::{ResponseParameters, StreamingOutputCallRequest};
use queuebridge_store::Clock;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::layer::layer_fn;

const INITIAL: &str = "x-grpc-test-echo-initial";
const TRAILING: &str = "x-grpc-test-echo-trailing-bin";

/// The service behind the gateway's protocols, until the test ends.
async fn serve() -> String {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let descriptors = Arc::new(DescriptorRegistry::default());
    descriptors.replace("interop", queuebridge_interop::FILE_DESCRIPTOR_SET).unwrap();
    let protocols =
        Arc::new(Protocols { descriptors, max_request_bytes: 65_536, ..Protocols::default() });
    let server = Server::builder()
        .accept_http1(true)
        .layer(layer_fn(move |services| Front::new(services, protocols.clone())))
        .add_routes(queuebridge_interop::routes(Clock::system()))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);
    address
}

fn call(method: &'static str, streaming: bool) -> Call {
    let size = |size| ResponseParameters { size, ..<_>::default() };
    let request = StreamingOutputCallRequest {
        // A unary request has other fields here, and none that is needed.
        response_parameters: if streaming { vec![size(3), size(70_000)] } else { vec![] },
        ..<_>::default()
    };
    let json = match streaming {
        true => json!({"responseParameters": [{"size": 3}, {"size": 70_000}]}),
        false => json!({}),
    };
    let message = prost::Message::encode_to_vec(&request).into();
    Call { method, streaming, messages: vec![(message, json)] }
}

#[tokio::test(flavor = "multi_thread")]
async fn they_arrive_whatever_the_protocol_and_the_kind_of_call() {
    let address = serve().await;
    for protocol in PROTOCOLS.into_iter().filter(|protocol| *protocol != Protocol::ConnectGet) {
        for (method, streaming) in [
            ("/grpc.testing.TestService/UnaryCall", false),
            ("/grpc.testing.TestService/StreamingOutputCall", true),
            ("/grpc.testing.TestService/FullDuplexCall", true),
        ] {
            let bridge = matches!(protocol, Protocol::BridgeFramed | Protocol::BridgeUnframed);
            if streaming && bridge {
                continue;
            }
            let request = protocol.request(&call(method, streaming));
            let request = request.with(INITIAL, "begin").with(TRAILING, "q6ur");
            let reply = over_http(&address, request).await;
            let outcome = protocol.outcome(&reply);
            let case = format!("{protocol:?} {method} {:?}", outcome.text);
            assert_eq!(outcome.code, 0, "{case}");
            assert_eq!(outcome.messages.len(), if streaming { 2 } else { 1 }, "{case}");
            assert_eq!(reply.header(INITIAL), Some("begin"), "{case}");
            let trailing = outcome.trailers.iter().filter(|(name, _)| name == TRAILING);
            let trailing: Vec<&str> = trailing.map(|(_, value)| value.as_str()).collect();
            assert_eq!(trailing, ["q6ur"], "{case}");
        }
    }
}
