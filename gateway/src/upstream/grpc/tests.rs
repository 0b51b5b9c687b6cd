//! Against servers of bare HTTP/2, which can refuse what a server of gRPC would not.

use super::*;
use crate::config::LimitsConfig;
use crate::listener::testing::{self, Authority, Files, next};
use crate::listener::tls::Tls;
use bytes::Bytes;
use futures_util::stream;
use h2::Reason;
use h2::server::{self, SendResponse};
use http_body::Frame;
use http_body_util::{Full, StreamBody};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tonic::Code;

/// What the server does with a request.
type Deed = fn(Request<h2::RecvStream>, SendResponse<Bytes>);

async fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Serves connections one after the other.
async fn plain(deed: Deed) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream, deed).await;
        }
    });
    address
}

async fn serve<T: AsyncRead + AsyncWrite + Unpin>(stream: T, deed: Deed) {
    let mut connection = server::handshake(stream).await.unwrap();
    while let Some(Ok((request, answer))) = connection.accept().await {
        deed(request, answer);
    }
}

fn fine(_: Request<h2::RecvStream>, mut answer: SendResponse<Bytes>) {
    let response = Response::builder().header("grpc-status", "0");
    answer.send_response(response.body(()).unwrap(), true).unwrap();
}

fn server(address: SocketAddr) -> GrpcServer {
    let url = format!("http://{address}").parse().unwrap();
    GrpcServer::new(&url, 1, CircuitBreaker::default()).unwrap()
}

fn request() -> Request<Body> {
    let body = Body::new(Full::new(Bytes::from_static(&[0; 5])));
    Request::post("/a.B/C").header("content-type", "application/grpc").body(body).unwrap()
}

#[tokio::test]
async fn what_a_server_refuses_it_has_not_run() {
    let address = plain(|_, mut answer| answer.send_reset(Reason::REFUSED_STREAM)).await;
    let not_run = server(address).attempt(request()).await.unwrap_err();
    assert_eq!(not_run.status.code(), Code::Unavailable);
    // Its message may be on its way already.
    assert!(not_run.request.is_none());
}

#[tokio::test]
async fn the_end_of_a_request_comes_with_its_last_message() {
    let address = plain(|request, mut answer| {
        tokio::spawn(async move {
            let (mut body, mut frames) = (request.into_body(), 0);
            while let Some(data) = body.data().await {
                assert!(!data.unwrap().is_empty());
                frames += 1;
            }
            let response = Response::builder().header("grpc-status", "0").header("frames", frames);
            answer.send_response(response.body(()).unwrap(), true).unwrap();
        });
    });
    let server = server(address.await);
    for frames in 1..4 {
        // Of this body only the next poll tells that it has ended.
        let body = std::iter::repeat_n(Ok::<_, tonic::Status>(Bytes::from_static(&[0; 5])), frames);
        let body = StreamBody::new(stream::iter(body.map(|data| data.map(Frame::data))));
        let answer = server.attempt(request().map(|_| Body::new(body))).await.unwrap();
        assert_eq!(answer.headers()["frames"], frames.to_string());
    }
}

#[tokio::test]
async fn what_a_server_resets_may_have_run() {
    for (reset, code) in [
        (Reason::CANCEL, Code::Cancelled),
        (Reason::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
        (Reason::INTERNAL_ERROR, Code::Internal),
    ] {
        let deed: Deed = match reset {
            Reason::CANCEL => |_, mut answer| answer.send_reset(Reason::CANCEL),
            Reason::INTERNAL_ERROR => |_, mut answer| answer.send_reset(Reason::INTERNAL_ERROR),
            _ => |_, mut answer| answer.send_reset(Reason::ENHANCE_YOUR_CALM),
        };
        let answer = server(plain(deed).await).attempt(request()).await.unwrap();
        let status = Status::from_header_map(answer.headers()).unwrap();
        assert_eq!(status.code(), code);
    }
}

#[tokio::test]
async fn a_connection_that_the_server_ends_is_replaced() {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = server::handshake(stream).await.unwrap();
            // One call, and the connection ends as a server in maintenance ends it.
            let Some(Ok((request, answer))) = connection.accept().await else { continue };
            fine(request, answer);
            connection.graceful_shutdown();
            while connection.accept().await.is_some() {}
        }
    });
    let server = server(address);
    for _ in 0..20 {
        // A call that meets the end may be refused, and never for anything else.
        if let Err(not_run) = server.attempt(request()).await {
            assert_eq!(not_run.status.code(), Code::Unavailable, "{:?}", not_run.status);
        }
    }
    let answered = server.attempt(request()).await.is_ok();
    assert!(answered || server.attempt(request()).await.is_ok());
}

fn fixture(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "../tests/fixtures/tls", name].iter().collect()
}

async fn secure(protocols: &[&[u8]]) -> SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificate = CertificateDer::from_pem_file(fixture("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(fixture("server.key")).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                serve(stream, fine).await;
            }
        }
    });
    address
}

/// The server at this port, by its name or by another one.
fn trusting(host: &str, address: SocketAddr, certificate: Option<&str>) -> GrpcServer {
    let url: Uri = format!("https://{host}:{}", address.port()).parse().unwrap();
    let trust = Trust { ca: certificate.map(fixture), own: None };
    GrpcServer::trusting(&trust, &url, 1, CircuitBreaker::default()).unwrap()
}

#[tokio::test]
async fn tls_is_spoken_with_servers_that_can_prove_their_name() {
    let address = secure(&[b"h2"]).await;
    let answer = trusting("localhost", address, Some("ca.pem")).attempt(request()).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "0");
    for (host, certificate) in [("localhost", None), ("127.0.0.1", Some("ca.pem"))] {
        let server = trusting(host, address, certificate);
        let not_run = server.attempt(request()).await.unwrap_err();
        assert_eq!(not_run.status.code(), Code::Unavailable, "{host}");
        assert!(not_run.request.is_some());
    }
    let old = trusting("localhost", secure(&[]).await, Some("ca.pem"));
    assert!(old.attempt(request()).await.is_ok(), "one that does not negotiate is believed");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_is_shown_the_one_that_there_is_now() {
    let authority = Authority::new("a");
    let files = Files::with(&authority.server(), Some(&authority));
    let tls = Some(Arc::new(Tls::load(&files.config()).unwrap()));
    let (mut incoming, address) = testing::listen(tls, LimitsConfig::default()).await;
    tokio::spawn(async move {
        loop {
            let connection = next(&mut incoming).await;
            tokio::spawn(serve(connection, fine));
        }
    });
    let url: Uri = format!("https://localhost:{}", address.port()).parse().unwrap();
    let (own, foreign) = (authority.client("c"), Authority::new("b").client("c"));
    let (certificate, key) =
        (files.write("c.pem", &foreign.certificate), files.write("c.key", &foreign.key));
    let trust = Trust { ca: Some(files.path("clients.pem")), own: Some((certificate, key)) };
    let server = GrpcServer::trusting(&trust, &url, 1, CircuitBreaker::default()).unwrap();
    let refused = match server.attempt(request()).await {
        Err(not_run) => not_run.status,
        Ok(answer) => Status::from_header_map(answer.headers()).unwrap(),
    };
    assert_eq!(refused.code(), Code::Unavailable);
    files.write("c.pem", &own.certificate);
    files.write("c.key", &own.key);
    let answer = server.attempt(request()).await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "0");
}

/// Two servers at one port and several addresses, and how many calls each has taken.
async fn at_both() -> ([(tokio::task::JoinHandle<()>, Arc<AtomicUsize>); 2], [SocketAddr; 2]) {
    let (first, one) = listen().await;
    let other = SocketAddr::from(([127, 0, 0, 2], one.port()));
    let second = TcpListener::bind(other).await.unwrap();
    (([first, second].map(counting)), [one, other])
}

fn counting(listener: TcpListener) -> (tokio::task::JoinHandle<()>, Arc<AtomicUsize>) {
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = taken.clone();
    let server = tokio::spawn(async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let counted = counted.clone();
            connections.spawn(async move {
                let mut connection = server::handshake(stream).await.unwrap();
                while let Some(Ok((request, answer))) = connection.accept().await {
                    counted.fetch_add(1, Ordering::Relaxed);
                    fine(request, answer);
                }
            });
        }
    });
    (server, taken)
}

#[tokio::test]
async fn calls_are_spread_over_all_addresses_and_a_dead_one_leaves_the_others() {
    let ([(one, at_one), (_other, at_other)], addresses) = at_both().await;
    let url: Uri = format!("http://localhost:{}", addresses[0].port()).parse().unwrap();
    let upstream = GrpcServer::new(&url, 2, CircuitBreaker::default()).unwrap();
    upstream.pool.replace(addresses.to_vec());
    for _ in 0..20 {
        upstream.attempt(request()).await.unwrap();
    }
    let taken = || [&at_one, &at_other].map(|at| at.load(Ordering::Relaxed));
    assert_eq!(taken(), [10, 10]);
    one.abort();
    assert!(one.await.unwrap_err().is_cancelled());
    let mut lost = 0;
    for _ in 0..20 {
        // A call that meets the end of its connection may be lost with it.
        lost += usize::from(upstream.attempt(request()).await.is_err());
    }
    assert!(lost <= 2, "{lost} calls of 20");
    assert!(taken()[1] >= 28, "{:?}", taken());
    // It is back, and found by a try beside the calls.
    let (_again, at_again) = counting(TcpListener::bind(addresses[0]).await.unwrap());
    upstream.pool.forget_times();
    for _ in 0..100_000 {
        upstream.attempt(request()).await.unwrap();
        if at_again.load(Ordering::Relaxed) > 0 {
            break;
        }
    }
    let before = at_again.load(Ordering::Relaxed);
    for _ in 0..10 {
        upstream.attempt(request()).await.unwrap();
    }
    assert_eq!(at_again.load(Ordering::Relaxed) - before, 5);
}

#[tokio::test]
async fn a_name_that_leads_elsewhere_now_is_looked_up_again() {
    let (listener, address) = listen().await;
    let (_server, taken) = counting(listener);
    let url: Uri = format!("http://localhost:{}", address.port()).parse().unwrap();
    let upstream = GrpcServer::new(&url, 1, CircuitBreaker::default()).unwrap();
    // At its earlier address there is no server any more.
    upstream.pool.replace(vec![SocketAddr::from(([127, 0, 0, 3], address.port()))]);
    upstream.pool.forget_times();
    // All who meet the failure go where the name leads now.
    let calls = (0..8).map(|_| upstream.attempt(request()));
    for answer in futures_util::future::join_all(calls).await {
        answer.unwrap();
    }
    assert_eq!(taken.load(Ordering::Relaxed), 8);
}
