//! For tests: a server on a real socket that answers one request as it is told,
//! and the SDK's configuration to call it.

use crate::publish::Message;
use aws_config::SdkConfig;
use aws_sdk_sqs::config::{BehaviorVersion, Credentials, Region, SharedCredentialsProvider};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub(in crate::publish) fn sdk(address: SocketAddr) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let credentials = Credentials::new("id", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(http)
        .region(Region::new("eu-central-1"))
        .endpoint_url(format!("http://{address}"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// Serves one request on one connection with the answer, which is status,
/// content type and body, or breaks the connection off instead. The task ends
/// with the body of the request.
pub(in crate::publish) async fn serve_once(
    answer: Option<(&'static str, &'static str, String)>,
) -> (SocketAddr, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        // From here on a second attempt finds no server.
        drop(listener);
        let mut request = Vec::new();
        let body = loop {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            if let Some(body) = complete_body(&request) {
                break body;
            }
        };
        if let Some((status, kind, text)) = answer {
            let length = text.len();
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
            );
            stream.write_all((head + &text).as_bytes()).await.unwrap();
        }
        body
    });
    (address, server)
}

fn complete_body(request: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(request).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    })?;
    (body.len() >= length).then(|| body.to_owned())
}

/// An address on which nobody listens.
pub(in crate::publish) async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

pub(in crate::publish) fn message(body: &str) -> Message {
    Message {
        body: body.into(),
        attributes: vec![("qb-version", "1".into())],
        delay_seconds: 7,
        group_id: Some("tenant".into()),
        deduplication_id: Some("job".into()),
        trace_header: Some("Root=1-2-3".into()),
    }
}
