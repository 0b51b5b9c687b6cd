//! Where an issuer's keys are read: a URL, or a file.

use super::super::AuthError;
use crate::config::Jwks;
use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, USER_AGENT};
use http::{HeaderMap, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;

/// For everything together.
const PATIENCE: Duration = Duration::from_secs(5);
/// Larger than any set of keys that is meant.
const MAX_BYTES: usize = 512 * 1024;
/// How long keys are taken from memory when their server does not say it, and the bounds
/// of what it may say: a withdrawn key is not trusted for longer.
const FRESH: Duration = Duration::from_secs(300);
const LEAST: u64 = 30;
const MOST: u64 = 3600;
const FRESH_FILE: Duration = Duration::from_secs(30);

/// A place where keys are read.
pub(super) enum Fetch {
    File(PathBuf),
    Url(Uri, Box<Web>),
}

type Web = Client<HttpsConnector<HttpConnector>, Empty<Bytes>>;

/// What was read, and for how long it is new.
pub(super) struct Fetched {
    pub(super) json: Bytes,
    pub(super) fresh: Duration,
}

impl Fetch {
    pub(super) fn new(place: &Jwks) -> Result<Self, AuthError> {
        let url = match place {
            Jwks::File(path) => return Ok(Self::File(path.clone())),
            Jwks::Url(url) => url.clone(),
        };
        let provider = rustls::crypto::ring::default_provider();
        let https = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(provider)
            .map_err(|error| AuthError::Roots(error.to_string()))?;
        // The configuration lets http be on this machine only.
        let connector = https.https_or_http().enable_http1().enable_http2().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        Ok(Self::Url(url, Box::new(client)))
    }

    pub(super) async fn fetch(&self) -> Result<Fetched, String> {
        match self {
            Self::File(path) => {
                let read = tokio::fs::read(path).await;
                let json = read.map_err(|error| format!("{}: {error}", path.display()))?;
                Ok(Fetched { json: json.into(), fresh: FRESH_FILE })
            }
            Self::Url(url, client) => {
                let request = Request::get(url.clone())
                    .header(ACCEPT, "application/jwk-set+json, application/json")
                    .header(USER_AGENT, "Queuebridge")
                    .body(Empty::new())
                    .map_err(|error| error.to_string())?;
                let fetched = async {
                    let response =
                        client.request(request).await.map_err(|error| error.to_string())?;
                    if response.status() != StatusCode::OK {
                        return Err(format!("HTTP {}", response.status()));
                    }
                    let fresh = freshness(response.headers());
                    let body = Limited::new(response.into_body(), MAX_BYTES).collect().await;
                    let json = body.map_err(|error| error.to_string())?.to_bytes();
                    Ok(Fetched { json, fresh })
                };
                let result = timeout(PATIENCE, fetched).await;
                let result = result.unwrap_or_else(|_| Err("no answer in time".to_owned()));
                result.map_err(|problem| format!("{url}: {problem}"))
            }
        }
    }
}

/// As long as `Cache-Control: max-age` says, within bounds.
fn freshness(headers: &HeaderMap) -> Duration {
    let control = headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).unwrap_or("");
    let age =
        control.split(',').find_map(|part| part.trim().strip_prefix("max-age=")?.parse().ok());
    age.map_or(FRESH, |age: u64| Duration::from_secs(age.clamp(LEAST, MOST)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_says_how_long_within_bounds() {
        let fresh = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, text.parse().unwrap());
            freshness(&headers).as_secs()
        };
        assert_eq!(fresh("public, max-age=600"), 600);
        assert_eq!(fresh("max-age=0"), LEAST);
        assert_eq!(fresh("max-age=99999999"), MOST);
        assert_eq!(fresh("no-store"), FRESH.as_secs());
        assert_eq!(freshness(&HeaderMap::new()), FRESH);
    }
}
