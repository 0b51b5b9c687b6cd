//! The payload store in memory.

use super::agenda::Agenda;
use super::lock;
use crate::clock::Clock;
use crate::payload::{PayloadError, PayloadStore, PayloadStream, checked, digest};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use queuebridge_proto::UnixMillis;
use queuebridge_proto::v1::PayloadRef;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is handed out at once.
const PIECE: usize = 64 * 1024;

/// Keeps payloads in this process; they end with it.
#[derive(Debug)]
pub struct MemoryPayloadStore {
    keep: Duration,
    clock: Clock,
    // One lock is enough: digests are made outside, and what happens inside
    // only moves references.
    shelf: Mutex<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    objects: HashMap<Arc<str>, Object>,
    agenda: Agenda<Arc<str>>,
}

#[derive(Debug)]
struct Object {
    bytes: Bytes,
    sha256: Bytes,
    until: UnixMillis,
}

impl MemoryPayloadStore {
    /// An empty store that drops an object when it has been there for `keep`,
    /// by `clock`. `keep` must be longer than anything that points to an object
    /// can live: work expiry, retention and surviving copies together.
    #[must_use]
    pub fn new(keep: Duration, clock: Clock) -> Self {
        let shelf = Shelf { objects: HashMap::new(), agenda: Agenda::new() };
        Self { keep, clock, shelf: Mutex::new(shelf) }
    }

    /// How many objects rest here.
    #[must_use]
    pub fn object_count(&self) -> usize {
        lock(&self.shelf).objects.len()
    }
}

#[async_trait]
impl PayloadStore for MemoryPayloadStore {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<PayloadRef, PayloadError> {
        let sha256 = digest(&bytes).await;
        let now = self.clock.now();
        let until = now.plus(self.keep);
        let size = bytes.len() as u64;
        let object = Object { bytes, sha256: sha256.clone(), until };
        let mut shelf = lock(&self.shelf);
        let Shelf { objects, agenda } = &mut *shelf;
        agenda.sweep(now, |at, key| {
            if objects.get(key).is_some_and(|known| known.until == at) {
                objects.remove(key);
            }
            None
        });
        let name: Arc<str> = key.into();
        agenda.add(until, name.clone());
        objects.insert(name, object);
        Ok(PayloadRef { key: key.to_owned(), size, sha256, encrypted: false })
    }

    async fn get(&self, payload: &PayloadRef) -> Result<Bytes, PayloadError> {
        let now = self.clock.now();
        let shelf = lock(&self.shelf);
        let object = shelf.objects.get(payload.key.as_str()).filter(|object| object.until > now);
        let Some(object) = object else {
            return Err(PayloadError::Missing(payload.key.clone()));
        };
        // Nobody can change the bytes here without `put`, which made this digest.
        if object.bytes.len() as u64 != payload.size || object.sha256 != payload.sha256 {
            return Err(PayloadError::Altered(payload.key.clone()));
        }
        Ok(object.bytes.clone())
    }

    async fn open(&self, payload: &PayloadRef, offset: u64) -> Result<PayloadStream, PayloadError> {
        let object = {
            let now = self.clock.now();
            let shelf = lock(&self.shelf);
            let object = shelf.objects.get(payload.key.as_str());
            object.filter(|object| object.until > now).map(|object| object.bytes.clone())
        };
        let bytes = object.ok_or_else(|| PayloadError::Missing(payload.key.clone()))?;
        if bytes.len() as u64 != payload.size {
            return Err(PayloadError::Altered(payload.key.clone()));
        }
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        // In pieces, so that a digest of the whole does not hold up other tasks.
        let pieces = stream::unfold(bytes.slice(begin..), |mut rest| async move {
            let piece = rest.split_to(rest.len().min(PIECE));
            (!piece.is_empty()).then_some((Ok(piece), rest))
        });
        Ok(checked(payload, offset, pieces))
    }

    async fn delete(&self, key: &str) -> Result<(), PayloadError> {
        lock(&self.shelf).objects.remove(key);
        Ok(())
    }
}
