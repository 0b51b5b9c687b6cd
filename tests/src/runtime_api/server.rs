//! The HTTP side of the model.

use super::answer::{Answer, FunctionError};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use queuebridge_proto::UnixMillis;
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};

/// The largest answer in one piece: 6 MB and room for what stands around it.
const MAX_RESPONSE_BYTES: usize = 6_291_556;
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const ERROR_BODY: &str = "lambda-runtime-function-error-body";

/// An invocation that waits for the function.
pub(super) struct Queued {
    pub(super) event: Bytes,
    pub(super) deadline: UnixMillis,
    pub(super) answer: oneshot::Sender<Answer>,
    /// Takes what is streamed; closed when the answer is complete.
    pub(super) chunk: mpsc::UnboundedSender<Bytes>,
}

/// The state behind the endpoints.
pub(super) struct Api {
    send: mpsc::UnboundedSender<Queued>,
    waiting: tokio::sync::Mutex<mpsc::UnboundedReceiver<Queued>>,
    running: Mutex<HashMap<String, Queued>>,
    pub(super) most_running: AtomicUsize,
    polled: AtomicBool,
    first_poll: Notify,
    extension: AtomicBool,
    init_error: Mutex<Option<FunctionError>>,
}

type Reply = Response<Full<Bytes>>;

impl Api {
    /// Serves a new API on a free port of the loopback interface, until it is
    /// dropped everywhere else. Returns it with its `host:port`.
    pub(super) async fn serve() -> io::Result<(Arc<Self>, String)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let (send, waiting) = mpsc::unbounded_channel();
        let api = Arc::new(Self {
            send,
            waiting: tokio::sync::Mutex::new(waiting),
            running: Mutex::default(),
            most_running: AtomicUsize::new(0),
            polled: AtomicBool::new(false),
            first_poll: Notify::new(),
            extension: AtomicBool::new(false),
            init_error: Mutex::default(),
        });
        let weak = Arc::downgrade(&api);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Some(api) = weak.upgrade() else { break };
                let service = hyper::service::service_fn(move |request| {
                    let api = api.clone();
                    async move { Ok::<_, Infallible>(api.reply(request).await) }
                });
                let _ = stream.set_nodelay(true);
                let http = hyper::server::conn::http1::Builder::new();
                tokio::spawn(http.serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok((api, address))
    }

    pub(super) fn queue(&self, queued: Queued) {
        // It holds the receiver itself.
        let _ = self.send.send(queued);
    }

    pub(super) async fn first_poll(&self) {
        let polled = self.first_poll.notified();
        if !self.polled.load(Ordering::Acquire) {
            polled.await;
        }
    }

    pub(super) fn has_extension(&self) -> bool {
        self.extension.load(Ordering::Relaxed)
    }

    pub(super) fn init_error(&self) -> Option<FunctionError> {
        self.init_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn running(&self) -> MutexGuard<'_, HashMap<String, Queued>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reply(&self, request: Request<Incoming>) -> Reply {
        let (head, body) = request.into_parts();
        let path: Vec<&str> = head.uri.path().split('/').skip(1).collect();
        match (&head.method, path.as_slice()) {
            (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => self.next().await,
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
                let Some(queued) = self.running().remove(*id) else { return unknown(id) };
                if header(&head.headers, "lambda-runtime-function-response-mode") == "streaming" {
                    stream(queued, &head.headers, body).await
                } else {
                    respond(queued, body).await
                }
            }
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
                let Some(queued) = self.running().remove(*id) else { return unknown(id) };
                let error = error(&head.headers, body).await;
                let _ = queued.answer.send(Answer::Error(error));
                accepted()
            }
            (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
                let error = error(&head.headers, body).await;
                *self.init_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                accepted()
            }
            (&Method::POST, ["2020-01-01", "extension", "register"]) => {
                self.extension.store(true, Ordering::Relaxed);
                let known = r#"{"functionName":"function","functionVersion":"$LATEST","handler":"bootstrap"}"#;
                let mut reply = reply(StatusCode::OK, known);
                let id = HeaderValue::from_static("00000000-0000-4000-8000-000000000001");
                reply.headers_mut().insert("lambda-extension-identifier", id);
                reply
            }
            // An internal extension can register for INVOKE only, and ours register
            // for nothing: they wait to the end.
            (&Method::GET, ["2020-01-01", "extension", "event", "next"]) => {
                std::future::pending().await
            }
            _ => reply(StatusCode::NOT_FOUND, r#"{"errorType":"NotFound"}"#),
        }
    }

    async fn next(&self) -> Reply {
        self.polled.store(true, Ordering::Release);
        self.first_poll.notify_waiters();
        // One poll takes the place of the other when its connection is lost.
        let Some(queued) = self.waiting.lock().await.recv().await else {
            return reply(StatusCode::GONE, "");
        };
        let id = uuid::Uuid::new_v4().to_string();
        let mut reply = reply(StatusCode::OK, queued.event.clone());
        let function = "arn:aws:lambda:us-east-1:123456789012:function:function";
        let trace = format!("Root=1-00000000-{};Sampled=0", &id.replace('-', "")[..24]);
        for (name, value) in [
            ("lambda-runtime-aws-request-id", &id),
            ("lambda-runtime-deadline-ms", &queued.deadline.0.to_string()),
            ("lambda-runtime-invoked-function-arn", &function.to_owned()),
            ("lambda-runtime-trace-id", &trace),
        ] {
            if let Ok(value) = HeaderValue::from_str(value) {
                reply.headers_mut().insert(name, value);
            }
        }
        let mut running = self.running();
        running.insert(id, queued);
        self.most_running.fetch_max(running.len(), Ordering::Relaxed);
        reply
    }
}

async fn respond(queued: Queued, body: Incoming) -> Reply {
    let Ok(body) = body.collect().await else { return reply(StatusCode::BAD_REQUEST, "") };
    let body = body.to_bytes();
    if body.len() > MAX_RESPONSE_BYTES {
        let message = "the answer is larger than 6 MB";
        let error = FunctionError::new("Function.ResponseSizeTooLarge", message);
        let _ = queued.answer.send(Answer::Error(error));
        return reply(StatusCode::PAYLOAD_TOO_LARGE, r#"{"errorType":"RequestEntityTooLarge"}"#);
    }
    let _ = queued.answer.send(Answer::Response(body));
    accepted()
}

async fn stream(queued: Queued, headers: &HeaderMap, mut body: Incoming) -> Reply {
    let content_type = header(headers, CONTENT_TYPE.as_str()).to_owned();
    let mut error = None;
    while let Some(Ok(frame)) = body.frame().await {
        match frame.into_data() {
            Ok(data) => {
                let _ = queued.chunk.send(data);
            }
            Err(frame) => {
                error = frame.into_trailers().ok().and_then(|trailers| {
                    let kind = trailers.get(ERROR_TYPE)?.to_str().ok()?.to_owned();
                    let body = BASE64_STANDARD.decode(header(&trailers, ERROR_BODY)).ok()?;
                    Some(FunctionError { kind, body: body.into() })
                });
            }
        }
    }
    let streamed = Answer::Streamed { content_type, body: Bytes::new(), error };
    let _ = queued.answer.send(streamed);
    accepted()
}

async fn error(headers: &HeaderMap, body: Incoming) -> FunctionError {
    let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    FunctionError { kind: header(headers, ERROR_TYPE).to_owned(), body }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn accepted() -> Reply {
    reply(StatusCode::ACCEPTED, r#"{"status":"OK"}"#)
}

fn unknown(id: &str) -> Reply {
    let error = serde_json::json!({"errorType": "InvalidRequestID", "errorMessage": id});
    reply(StatusCode::BAD_REQUEST, error.to_string())
}

fn reply(status: StatusCode, body: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    reply
}
