//! Connecting to the gateway: with or without TLS, and with the caller's token.

use super::args::Gateway;
use super::failure::Failure;
use crate::config::token_from_process;
use crate::trust::Trust;
use hyper_util::rt::TokioIo;
use queuebridge_proto::v1::jobs_client::JobsClient;
use rustls::pki_types::ServerName;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tower::service_fn;

const CONNECT: Duration = Duration::from_secs(5);

/// The gateway's service, called with what the caller shows.
pub(super) type Jobs = JobsClient<InterceptedService<Channel, Token>>;

/// What is sent with every call, if anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Token(Option<MetadataValue<Ascii>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

pub(super) async fn connect(gateway: &Gateway) -> Result<Jobs, Failure> {
    let endpoint = gateway.gateway.clone().connect_timeout(CONNECT);
    let secure = endpoint.uri().scheme_str() == Some("https");
    let trust = trust(gateway);
    if !secure && trust != Trust::default() {
        return Err(usage("--tls-… is for https:// gateways"));
    }
    let token = token(gateway)?;
    let host = host_of(endpoint.uri());
    let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if token.0.is_some() && !secure && !here {
        return Err(usage("a token is sent over https:// only, or to this machine"));
    }
    let channel = match secure {
        false => endpoint.connect().await,
        true => {
            let config = trust.client_config().map_err(|mistakes| usage(Mistakes(mistakes)))?;
            let connector = TlsConnector::from(config);
            let name = ServerName::try_from(host.clone());
            let name = name.map_err(|_| usage("the gateway's host is no name"))?;
            let port = endpoint.uri().port_u16().unwrap_or(443);
            let open =
                service_fn(move |_| open(connector.clone(), name.clone(), host.clone(), port));
            endpoint.connect_with_connector(open).await
        }
    };
    let channel = channel.map_err(Failure::Connect)?;
    // The answers are the caller's own: their size is not for us to limit.
    Ok(JobsClient::with_interceptor(channel, token)
        .max_decoding_message_size(usize::MAX)
        .max_encoding_message_size(usize::MAX))
}

async fn open(
    connector: TlsConnector,
    name: ServerName<'static>,
    host: String,
    port: u16,
) -> io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let stream = connector.connect(name, stream).await?;
    match stream.get_ref().1.alpn_protocol() {
        Some(chosen) if chosen != b"h2" => Err(io::Error::other("it does not speak HTTP/2")),
        _ => Ok(TokioIo::new(stream)),
    }
}

/// Without the brackets that a URL puts around an address of IPv6.
fn host_of(uri: &http::Uri) -> String {
    let host = uri.host().unwrap_or_default();
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

fn trust(gateway: &Gateway) -> Trust {
    let own = gateway.tls_certificate.clone().zip(gateway.tls_key.clone());
    Trust { ca: gateway.tls_ca.clone(), own }
}

fn token(gateway: &Gateway) -> Result<Token, Failure> {
    let text = match &gateway.token_file {
        Some(path) => {
            let read = std::fs::read_to_string(path);
            Some(read.map_err(|error| Failure::File(path.clone(), error))?)
        }
        None => token_from_process(),
    };
    let Some(text) = text else { return Ok(Token::default()) };
    let value = MetadataValue::try_from(format!("Bearer {}", text.trim()));
    let mut value = value
        .ok()
        .filter(|_| !text.trim().is_empty())
        .ok_or_else(|| usage("the token is empty, or has characters that no token has"))?;
    value.set_sensitive(true);
    Ok(Token(Some(value)))
}

fn usage(words: impl fmt::Display) -> Failure {
    Failure::Usage(words.to_string())
}

/// As they stand on the command line.
struct Mistakes(Vec<crate::listener::tls::TlsMistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines = self.0.iter().map(|mistake| format!("--tls-{mistake}"));
        f.write_str(&lines.collect::<Vec<_>>().join("\n"))
    }
}
