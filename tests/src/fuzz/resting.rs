//! What comes out of files, tables and buckets.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use prost::Message;
use queuebridge_gateway::config::Config;
use queuebridge_proto::v1::{Outcome, PayloadRef, Progress, StreamChunk};
use queuebridge_store::encryption::{EncryptedStore, Encryption, LocalKey, Writes};
use queuebridge_store::{PayloadError, PayloadStore, PayloadStream, Record};
use std::sync::Arc;

/// A configuration file, and behind a zero byte variables, one a line.
pub(super) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (file, variables) = text.split_once('\0').unwrap_or((text, ""));
    let env = variables.lines().filter_map(|line| line.split_once('='));
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned()));
    match Config::parse(file, env) {
        Ok(config) => drop(config.to_string()),
        Err(errors) => assert!(!errors.0.is_empty(), "refused without a reason"),
    }
}

/// The outcome, or the progress, of a record.
pub(super) fn record(data: &[u8]) {
    let outcome = Outcome::decode(data).ok();
    let progress = Progress::decode(data).ok();
    let record = Record { outcome, progress, ..Record::new("/a.B/C") };
    let _ = Record::of_finished(record.into_finished());
}

/// A chunk of a stream.
pub(super) fn chunk(data: &[u8]) {
    if let Ok(chunk) = StreamChunk::decode(data) {
        let _ = queuebridge_store::stream::fetched(chunk, None).now_or_never();
    }
}

/// An object of the bucket behind the encryption: the first three bytes are what its
/// reference says of its length, and where it is read from.
pub(super) fn object(data: &[u8]) {
    let Some((says, bytes)) = data.split_at_checked(3) else { return };
    let key = LocalKey::new("local:a", [1; 32].into(), "d");
    let encryption = Encryption::new(vec![Arc::new(key)], Writes::Own, false);
    let store = EncryptedStore::new(Arc::new(One(Bytes::copy_from_slice(bytes))), encryption);
    let payload = PayloadRef {
        key: "k".into(),
        size: u64::from(u16::from_be_bytes([says[0], says[1]])),
        encrypted: true,
        ..PayloadRef::default()
    };
    let whole = store.get(&payload).now_or_never().expect("nothing to wait for");
    assert!(whole.is_err(), "its digest is that of nothing");
    let offset = u64::from(says[2]) * 256;
    if let Some(Ok(chunks)) = store.open(&payload, offset).now_or_never() {
        let _ = chunks.map(drop).collect::<Vec<()>>().now_or_never();
    }
}

/// One object, which is as long as it is asked for.
struct One(Bytes);

#[async_trait]
impl PayloadStore for One {
    async fn put(&self, _: &str, _: Bytes) -> Result<PayloadRef, PayloadError> {
        Err(PayloadError::Unavailable("read only".into()))
    }

    async fn get(&self, _: &PayloadRef) -> Result<Bytes, PayloadError> {
        Ok(self.0.clone())
    }

    async fn open(&self, _: &PayloadRef, offset: u64) -> Result<PayloadStream, PayloadError> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let rest = self.0.slice(from..);
        Ok(stream::once(async move { Ok(rest) }).boxed())
    }

    async fn delete(&self, _: &str) -> Result<(), PayloadError> {
        Ok(())
    }
}
