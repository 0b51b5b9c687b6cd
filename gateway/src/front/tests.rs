//! What passes straight, and what browsers are told.

use super::*;
use crate::auth::api_keys::{Entry, hash_of, to_file};
use crate::auth::{Grant, Verb};
use crate::config::{AuthConfig, CallersConfig};
use crate::descriptors::tests::set;
use crate::listener::{Peer, UnknownCalls};
use http::header::{HeaderMap, HeaderValue};
use http::{Method, StatusCode, Version};
use http_body::Body as _;
use tower::ServiceExt;

/// Services that say how they were called.
fn services() -> impl Services {
    service_fn(|request: Request<Body>| {
        let mut response = tonic::Status::ok("").into_http::<Body>();
        let kind = request.headers()["content-type"].clone();
        response.headers_mut().insert("x-called-with", kind);
        response.headers_mut().insert("x-any-bin", HeaderValue::from_static("AP8"));
        std::future::ready(Ok::<_, Infallible>(response))
    })
}

fn request(method: Method, version: Version, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).version(version).uri("/a.B/C");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap()
}

async fn send(origins: &[&str], request: Request<Body>) -> Response<Body> {
    let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
    let protocols =
        Protocols { cors: Cors::new(&origins), max_request_bytes: 1024, ..Protocols::default() };
    let front = Front::new(services(), Arc::new(protocols));
    front.oneshot(request).await.unwrap()
}

fn names(headers: &HeaderMap, name: &str) -> Vec<String> {
    let values = headers.get_all(name).iter().flat_map(|v| v.to_str().unwrap().split(','));
    values.map(|name| name.trim().to_lowercase()).collect()
}

const PAGE: (&str, &str) = ("origin", "https://a.com");
const WEB: (&str, &str) = ("content-type", "application/grpc-web+proto");

#[tokio::test]
async fn native_grpc_reaches_the_services_as_it_is_and_the_rest_as_native_grpc() {
    for (version, kind, called_with) in [
        (Version::HTTP_2, "application/grpc+custom", Some("application/grpc+custom")),
        (Version::HTTP_2, "application/grpc-web", Some("application/grpc")),
        (Version::HTTP_11, "application/grpc-web-text", Some("application/grpc")),
        (Version::HTTP_2, "text/html", None),
    ] {
        let headers = [("content-type", kind), PAGE];
        let response = send(&["*"], request(Method::POST, version, &headers)).await;
        let found = response.headers().get("x-called-with").map(|v| v.to_str().unwrap());
        assert_eq!(found, called_with, "{kind}");
        // Native gRPC is not for pages: nothing is put around it.
        let native = kind.starts_with("application/grpc+");
        assert_eq!(response.headers().contains_key("access-control-allow-origin"), !native);
    }
}

#[tokio::test]
async fn only_without_keep_alive_is_an_answer_of_http_1_the_last_one() {
    for (keep_alive, version, kind, last) in [
        (false, Version::HTTP_11, WEB.1, true),
        (false, Version::HTTP_10, WEB.1, true),
        // Also what is refused.
        (false, Version::HTTP_11, "text/html", true),
        (false, Version::HTTP_2, WEB.1, false),
        (false, Version::HTTP_2, "application/grpc", false),
        (true, Version::HTTP_11, WEB.1, false),
    ] {
        let front = Front::new(services(), Arc::default()).http1_keep_alive(keep_alive);
        let request = request(Method::POST, version, &[("content-type", kind)]);
        let response = front.oneshot(request).await.unwrap();
        let said = response.headers().get("connection");
        assert_eq!(said.map(HeaderValue::as_bytes), last.then_some(&b"close"[..]), "{version:?}");
    }
}

#[tokio::test]
async fn a_preflight_lets_the_page_send_what_it_asks_for() {
    let asked = [
        PAGE,
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "connect-protocol-version,x-grpc-web,x-mine-bin"),
    ];
    for (origins, allowed) in [
        (&["https://b.com", "https://a.com"][..], Some("https://a.com")),
        (&["*"], Some("*")),
        (&["https://b.com"], None),
    ] {
        let response = send(origins, request(Method::OPTIONS, Version::HTTP_11, &asked)).await;
        let headers = response.headers();
        assert_eq!(response.status(), StatusCode::OK);
        let origin = headers.get("access-control-allow-origin").map(|v| v.to_str().unwrap());
        assert_eq!(origin, allowed);
        // The same for all depends on nothing.
        let varies = names(headers, "vary").contains(&"origin".to_owned());
        assert_eq!(varies, origins != ["*"], "{headers:?}");
        assert_eq!(names(headers, "access-control-allow-methods"), ["get", "post"]);
        let allowed = names(headers, "access-control-allow-headers");
        assert_eq!(allowed, ["connect-protocol-version", "x-grpc-web", "x-mine-bin"]);
        assert_eq!(headers["access-control-max-age"], "7200");
        assert!(!headers.contains_key("access-control-allow-credentials"));
    }
}

#[tokio::test]
async fn a_preflight_that_asks_for_much_gets_none_of_it_back() {
    for (bytes, status) in
        [(2048, StatusCode::OK), (2049, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)]
    {
        let names = "x".repeat(bytes);
        let asked = [PAGE, ("access-control-request-headers", &names)];
        let answer = send(&["*"], request(Method::OPTIONS, Version::HTTP_2, &asked)).await;
        assert_eq!(answer.status(), status);
        let head: usize = answer.headers().values().map(HeaderValue::len).sum();
        assert!(head < 2048 + 512 && (status == StatusCode::OK || head == 0), "{head}");
    }
}

#[tokio::test]
async fn an_answer_shows_the_page_its_status_and_all_metadata() {
    for (origins, visible) in
        [(&["https://a.com"][..], true), (&["*"], true), (&["https://b.com"], false), (&[], false)]
    {
        let response = send(origins, request(Method::POST, Version::HTTP_11, &[PAGE, WEB])).await;
        let headers = response.headers();
        assert_eq!(headers.contains_key("access-control-allow-origin"), visible, "{headers:?}");
        let exposed = names(headers, "access-control-expose-headers");
        for name in ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-any-bin"] {
            assert_eq!(exposed.contains(&name.to_owned()), visible, "{name} {exposed:?}");
        }
        let varies = names(headers, "vary").contains(&"origin".to_owned());
        assert_eq!(varies, !origins.is_empty() && origins != ["*"]);
    }
}

#[tokio::test]
async fn without_origins_a_preflight_is_nothing_special() {
    let response = send(&[], request(Method::OPTIONS, Version::HTTP_11, &[PAGE])).await;
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn who_was_not_granted_a_method_does_not_hear_whether_it_exists() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    let entry = |id: &str| Entry {
        id: id.to_owned(),
        sha256: hash_of("secret"),
        tenant: "shop".to_owned(),
        roles: vec![id.to_owned()],
    };
    std::fs::write(keys.path(), to_file(vec![entry("clerk"), entry("other")])).unwrap();
    let grant = Grant {
        roles: vec!["clerk".to_owned()],
        methods: vec!["*".parse().unwrap()],
        verbs: vec![Verb::Submit],
    };
    let callers = CallersConfig {
        api_keys: Some(keys.path().into()),
        grants: vec![grant],
        ..CallersConfig::default()
    };
    let auth = Authenticator::new(&AuthConfig::Callers(callers), "default").unwrap();
    let registry = DescriptorRegistry::default();
    registry.replace("a", &set("a")).unwrap();
    let protocols = Protocols {
        auth: Some(auth),
        descriptors: Arc::new(registry),
        max_request_bytes: 1024,
        ..Protocols::default()
    };
    let front = Front::new(services(), Arc::new(protocols));
    let ask = async |id: &str, path: &str| {
        let key = format!("{id}.secret");
        let headers = [("content-type", "application/json"), ("x-api-key", &key)];
        let mut request = request(Method::POST, Version::HTTP_11, &headers);
        *request.uri_mut() = path.parse().unwrap();
        let request = request.map(|_| Body::new(http_body_util::Full::from("no json")));
        let (head, body) = front.clone().oneshot(request).await.unwrap().into_parts();
        (head.status, http_body_util::BodyExt::collect(body).await.unwrap().to_bytes())
    };
    let (known, unknown) = ("/a.Service/Call", "/no.Service/Call");
    assert_ne!(ask("clerk", known).await.0, ask("clerk", unknown).await.0);
    let refused = ask("other", known).await;
    assert_eq!(refused.0, StatusCode::FORBIDDEN);
    assert_eq!(refused, ask("other", unknown).await);
    // What the gateway has itself asks by itself, when it knows which job it is about.
    let own = ask("other", "/queuebridge.v1.Jobs/GetResult").await;
    assert_ne!(own.0, StatusCode::FORBIDDEN);
}

/// Everything that a caller of a translated protocol hears.
async fn said(response: Response<Body>) -> String {
    let (head, body) = response.into_parts();
    let body = http_body_util::BodyExt::collect(body).await.unwrap().to_bytes();
    format!("{} {:?} {}", head.status, head.headers, String::from_utf8_lossy(&body))
}

#[tokio::test]
async fn of_callers_who_are_not_known_a_connection_has_few_calls_in_every_protocol() {
    let own =
        [queuebridge_proto::FILE_DESCRIPTOR_SET, queuebridge_proto::HEALTH_FILE_DESCRIPTOR_SET];
    let descriptors = Arc::new(DescriptorRegistry::default());
    descriptors.open(&own, Arc::new(|_| false)).unwrap();
    // Nobody is asked for credentials, and nobody has shown any.
    let auth = Some(Authenticator::open("default"));
    let protocols =
        Protocols { auth, descriptors, max_request_bytes: 1024, ..Protocols::default() };
    // Watches that say nothing.
    let services = service_fn(|request: Request<Body>| {
        assert!(request.extensions().get::<HasPlace>().is_some());
        let silent = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<bytes::Bytes>, Status>,
        >());
        let mut response = Response::new(Body::new(silent));
        let grpc = HeaderValue::from_static("application/grpc");
        response.headers_mut().insert("content-type", grpc);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let front = Front::new(services, Arc::new(protocols));
    for (version, kind) in [
        (Version::HTTP_2, "application/grpc-web"),
        (Version::HTTP_11, "application/grpc-web-text"),
        (Version::HTTP_2, "application/connect+proto"),
        (Version::HTTP_11, "application/connect+json"),
    ] {
        let peer = Peer {
            address: ([127, 0, 0, 1], 1).into(),
            certificate: None,
            unknown: UnknownCalls::default(),
        };
        let call = |path: &'static str, body: &'static [u8]| {
            let method = if body.is_empty() { Method::GET } else { Method::POST };
            let mut call = request(method, version, &[("content-type", kind)]);
            *call.uri_mut() = path.parse().unwrap();
            call.extensions_mut().insert(peer.clone());
            let body = http_body_util::Full::new(bytes::Bytes::from_static(body));
            front.clone().oneshot(call.map(|_| Body::new(body)))
        };
        let empty: &[u8] = match kind {
            "application/connect+json" => b"\0\0\0\0\x02{}",
            "application/grpc-web-text" => b"AAAAAAA=",
            _ => b"\0\0\0\0\0",
        };
        let watch = || call("/grpc.health.v1.Health/Watch", empty);
        let mut held = Vec::new();
        for _ in 0..8 {
            held.push(watch().await.unwrap());
        }
        let refused = said(watch().await.unwrap()).await.replace("%20", " ");
        assert!(refused.contains("as much work in hand as it may"), "{kind} {refused}");
        // Other answers to everybody have places of their own, while they are not taken.
        let mut unread = Vec::new();
        for _ in 0..32 {
            unread.push(call("/healthz", b"").await.unwrap());
        }
        let full = call("/healthz", b"").await.unwrap();
        assert_eq!((full.status(), full.body().is_end_stream()), (StatusCode::OK, true), "{kind}");
        let untaken = watch().await.unwrap();
        assert!(untaken.body().is_end_stream(), "a refusal waits for nobody");
        drop((held, unread));
        assert!(!watch().await.unwrap().body().is_end_stream(), "the places are given back");
    }
}

/// A body that is never to be read.
struct Unread;

impl http_body::Body for Unread {
    type Data = bytes::Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, tonic::Status>>> {
        panic!("the body of a stranger is read")
    }
}

#[tokio::test]
async fn of_a_stranger_nothing_but_the_head_is_read() {
    let keys = tempfile::NamedTempFile::new().unwrap();
    let callers = CallersConfig { api_keys: Some(keys.path().into()), ..CallersConfig::default() };
    let auth = Authenticator::new(&AuthConfig::Callers(callers), "default").unwrap();
    let protocols = Protocols {
        auth: Some(auth),
        cors: Cors::new(&["*".to_owned()]),
        max_request_bytes: 1 << 20,
        ..Protocols::default()
    };
    let front = Front::new(services(), Arc::new(protocols));
    for (version, kind, status) in [
        (Version::HTTP_2, "application/proto", StatusCode::UNAUTHORIZED),
        (Version::HTTP_11, "application/proto", StatusCode::UNAUTHORIZED),
        (Version::HTTP_11, "application/grpc-web", StatusCode::OK),
        (Version::HTTP_11, "application/grpc", StatusCode::OK),
    ] {
        let length = ("content-length", "8000000");
        let headers = [("content-type", kind), PAGE, length, ("connect-protocol-version", "1")];
        let stranger = request(Method::POST, version, &headers).map(|_| Body::new(Unread));
        let response = front.clone().oneshot(stranger).await.unwrap();
        assert_eq!(response.status(), status, "{kind}");
        assert!(!response.headers().contains_key("x-called-with"), "{kind}");
        assert!(response.headers().contains_key("access-control-allow-origin"), "{kind}");
        let ends = response.headers().get("connection").is_some_and(|value| value == "close");
        assert_eq!(ends, version == Version::HTTP_11, "{kind}");
    }
    // Whoever checks its health is no stranger, and needs few bytes for it.
    let headers = [("content-type", "application/proto"), ("connect-protocol-version", "1")];
    for (bytes, called) in [(4, true), (HEALTH_BYTES + 1, false)] {
        let mut check = request(Method::POST, Version::HTTP_11, &headers);
        *check.uri_mut() = "/grpc.health.v1.Health/Check".parse().unwrap();
        let body = http_body_util::Full::new(bytes::Bytes::from(vec![8; bytes]));
        let response = front.clone().oneshot(check.map(|_| Body::new(body))).await.unwrap();
        assert_eq!(response.status() != StatusCode::TOO_MANY_REQUESTS, called, "{response:?}");
    }
}
