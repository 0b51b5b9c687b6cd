//! A network that counts the requests to AWS that pass it, by operation.

use crate::Failure;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The header that names an operation of the JSON protocols.
const TARGET: &[u8] = b"x-amz-target: ";

/// What names it in the query protocol, which SNS speaks.
const ACTION: &[u8] = b"action=";

type Counts = Arc<Mutex<BTreeMap<String, u64>>>;

pub(crate) struct Network {
    url: String,
    counts: Counts,
    _accepting: JoinSet<()>,
}

impl Network {
    /// A network in front of an endpoint.
    pub(crate) async fn before(endpoint: &str) -> Result<Self, Failure> {
        let address = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let counts = Counts::default();
        let mut accepting = JoinSet::new();
        let seen = counts.clone();
        accepting.spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&address).await else { continue };
                let _ = (near.set_nodelay(true), far.set_nodelay(true));
                let (near_in, mut near_out) = near.into_split();
                let (mut far_in, far_out) = far.into_split();
                tokio::spawn(count(near_in, far_out, seen.clone()));
                tokio::spawn(async move { copy(&mut far_in, &mut near_out).await });
            }
        });
        Ok(Self { url, counts, _accepting: accepting })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn reset(&self) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The requests per job, by operation, most of them first.
    pub(crate) fn per_job(&self, jobs: u64) -> String {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts: Vec<_> = counts.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let each = |count: u64| count as f64 / jobs as f64;
        let all: u64 = counts.iter().map(|(_, count)| **count).sum();
        let parts: Vec<String> =
            counts.iter().map(|(name, count)| format!("{name} {:.2}", each(**count))).collect();
        format!("{:.2} requests per job: {}", each(all), parts.join(", "))
    }
}

/// Passes requests on and looks for the names of their operations.
async fn count(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, counts: Counts) {
    let mut buffer = vec![0; 64 * 1024];
    let mut line = Vec::new();
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        for byte in &buffer[..read] {
            if *byte != b'\n' {
                // Bodies are one line; no header is that long.
                if line.len() < 256 {
                    line.push(byte.to_ascii_lowercase());
                }
                continue;
            }
            if let Some(name) = line.strip_prefix(TARGET) {
                let name = String::from_utf8_lossy(name).trim().to_owned();
                let name = name.rsplit('.').next().unwrap_or_default().to_owned();
                *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() +=
                    1;
            }
            // The body of the query protocol is one line, which the next request ends.
            if let Some(rest) = line.strip_prefix(ACTION) {
                let name = rest.split(|byte| *byte == b'&').next().unwrap_or_default();
                let name = String::from_utf8_lossy(name).into_owned();
                *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(name).or_default() +=
                    1;
            }
            line.clear();
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
