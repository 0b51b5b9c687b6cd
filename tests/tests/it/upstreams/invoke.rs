//! A model of the Invoke API, over the model of the Runtime API: what the upstream
//! sends is what a real worker binary is invoked with.

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use queuebridge_gateway::aws::sdk_config_at;
use queuebridge_gateway::config::UpstreamTarget;
use queuebridge_gateway::upstream::Upstream;
use queuebridge_tests::python;
use queuebridge_tests::runtime_api::{Answer, Function};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The time that the function has.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The functions that the API knows.
const FUNCTION: &str = "worker";
/// One that has as many calls as it may have.
pub(super) const BUSY: &str = "busy";
/// One that is no worker of ours.
pub(super) const STRANGER: &str = "stranger";
/// One that ends by a time-out of Lambda.
pub(super) const LATE: &str = "late";

/// The API, and the one worker that it invokes.
pub(super) struct Invoke {
    url: String,
}

impl Invoke {
    pub(super) async fn new() -> Self {
        let binaries = tokio::task::spawn_blocking(python::binaries).await.unwrap();
        let variables = [("AWS_LAMBDA_MAX_CONCURRENCY", "8")];
        let function = Function::start(&binaries.join("queuebridge-demo"), &variables).await;
        let function = Arc::new(function.unwrap());
        function.ready().await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let function = function.clone();
                let service = hyper::service::service_fn(move |request| {
                    let function = function.clone();
                    async move { Ok::<_, Infallible>(answer(&function, request).await) }
                });
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Self { url }
    }

    /// The worker as an upstream.
    pub(super) async fn worker(&self) -> Upstream {
        self.function(FUNCTION).await
    }

    /// A function of this name.
    pub(super) async fn function(&self, name: &str) -> Upstream {
        let sdk = sdk_config_at(&self.url).await;
        Upstream::new(&UpstreamTarget::Lambda { function: name.to_owned() }, &sdk).unwrap()
    }
}

async fn answer(function: &Function, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let name = path.strip_prefix("/2015-03-31/functions/").unwrap_or_default();
    let name = name.strip_suffix("/invocations").unwrap_or_default();
    let signed = request.headers().contains_key("authorization");
    let event = request.into_body().collect().await.unwrap().to_bytes();
    match name {
        _ if !signed => refused(StatusCode::FORBIDDEN, "AccessDeniedException"),
        FUNCTION => match function.invoke(event, TIMEOUT).await {
            Answer::Response(document) => Response::new(Full::new(document)),
            Answer::Error(error) if error.kind == "RequestTooLarge" => {
                refused(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException")
            }
            Answer::Error(error) => failed(error.body),
            other => failed(format!("{{\"errorMessage\":\"{other:?}\"}}").into()),
        },
        BUSY => {
            let mut busy = refused(StatusCode::TOO_MANY_REQUESTS, "TooManyRequestsException");
            busy.headers_mut().insert("retry-after", 3.into());
            busy
        }
        STRANGER => Response::new(Full::new(Bytes::from_static(b"\"hello\""))),
        LATE => failed(r#"{"errorMessage":"1 Task timed out after 3.00 seconds"}"#.into()),
        _ => refused(StatusCode::NOT_FOUND, "ResourceNotFoundException"),
    }
}

fn failed(document: Bytes) -> Response<Full<Bytes>> {
    let response = Response::builder().header("x-amz-function-error", "Unhandled");
    response.body(Full::new(document)).unwrap()
}

fn refused(status: StatusCode, code: &str) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("x-amzn-errortype", code);
    response.body(Full::new(Bytes::from_static(b"{\"Message\":\"refused\"}"))).unwrap()
}
