//! The conformance suite of [`PayloadStore`].

use super::run;
use crate::payload::{PayloadError, PayloadStore};
use crate::record::Token;
use crate::testing::{Fault, Faulty};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use queuebridge_proto::v1::PayloadRef;
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Changes an object behind the back of the store under test.
#[async_trait]
pub trait Overwrite: Send + Sync + 'static {
    /// Replaces the object that the store keeps under `key`.
    async fn overwrite(&self, key: &str, bytes: Bytes);
}

/// Overwrites by the store's own `put`, where there is no other way in.
#[async_trait]
impl<S: PayloadStore> Overwrite for S {
    async fn overwrite(&self, key: &str, bytes: Bytes) {
        self.put(key, bytes).await.unwrap();
    }
}

/// Runs every case against `store`, under keys of its own.
///
/// # Panics
/// When a case fails, with its name.
pub async fn conformance(store: Arc<dyn PayloadStore>, behind: Arc<dyn Overwrite>) {
    let subject = Subject { store, behind };
    run!(subject;
        cases:
            what_was_put_comes_back,
            an_empty_payload_is_a_payload,
            a_large_payload_comes_back_whole,
            a_reference_says_length_and_digest,
            storing_the_same_again_is_harmless,
            keys_are_taken_as_they_are,
            a_missing_payload_says_so,
            an_altered_payload_is_refused,
            a_payload_of_another_length_is_refused,
            a_payload_is_read_from_any_offset,
            an_alteration_is_noticed_at_the_end_of_a_stream,
            a_deleted_payload_is_missing_and_may_be_deleted_again,
            a_lost_response_is_repeated_without_harm;
    );
}

#[derive(Clone)]
struct Subject {
    store: Arc<dyn PayloadStore>,
    behind: Arc<dyn Overwrite>,
}

mod cases {
    use super::*;

    fn key() -> String {
        format!("suite/{}", Token::random())
    }

    async fn round_trip(s: &Subject, key: &str, bytes: Bytes) -> PayloadRef {
        let payload = s.store.put(key, bytes.clone()).await.unwrap();
        assert!(s.store.get(&payload).await.unwrap() == bytes, "other bytes came back");
        payload
    }

    pub(super) async fn what_was_put_comes_back(s: Subject) {
        round_trip(&s, &key(), Bytes::from_static(b"\0payload\xff")).await;
    }

    pub(super) async fn an_empty_payload_is_a_payload(s: Subject) {
        let payload = round_trip(&s, &key(), Bytes::new()).await;
        assert_eq!(payload.size, 0);
    }

    pub(super) async fn a_large_payload_comes_back_whole(s: Subject) {
        let bytes: Vec<u8> = (0..(1u32 << 20) + 12_345).map(|n| (n % 251) as u8).collect();
        round_trip(&s, &key(), bytes.into()).await;
    }

    pub(super) async fn a_reference_says_length_and_digest(s: Subject) {
        let key = key();
        let payload = round_trip(&s, &key, Bytes::from_static(b"abc")).await;
        let sha256 = Bytes::copy_from_slice(&Sha256::digest(b"abc"));
        assert_eq!(payload, PayloadRef { key, size: 3, sha256 });
    }

    pub(super) async fn storing_the_same_again_is_harmless(s: Subject) {
        let key = key();
        let first = round_trip(&s, &key, Bytes::from_static(b"abc")).await;
        let second = round_trip(&s, &key, Bytes::from_static(b"abc")).await;
        assert_eq!(first, second);
    }

    pub(super) async fn keys_are_taken_as_they_are(s: Subject) {
        let key = format!("{}/with space+plus%25/ü", key());
        let payload = round_trip(&s, &key, Bytes::from_static(b"abc")).await;
        assert_eq!(payload.key, key);
    }

    pub(super) async fn a_missing_payload_says_so(s: Subject) {
        let payload = PayloadRef { key: key(), size: 3, sha256: Bytes::from_static(&[0; 32]) };
        match s.store.get(&payload).await {
            Err(PayloadError::Missing(name)) => assert_eq!(name, payload.key),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn an_altered_payload_is_refused(s: Subject) {
        let payload = round_trip(&s, &key(), Bytes::from_static(b"abc")).await;
        s.behind.overwrite(&payload.key, Bytes::from_static(b"abd")).await;
        match s.store.get(&payload).await {
            Err(PayloadError::Altered(name)) => assert_eq!(name, payload.key),
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn a_payload_of_another_length_is_refused(s: Subject) {
        let payload = round_trip(&s, &key(), Bytes::from_static(b"abc")).await;
        s.behind.overwrite(&payload.key, Bytes::from_static(b"abcd")).await;
        assert!(matches!(s.store.get(&payload).await, Err(PayloadError::Altered(_))));
        s.behind.overwrite(&payload.key, Bytes::new()).await;
        assert!(matches!(s.store.get(&payload).await, Err(PayloadError::Altered(_))));
    }

    async fn read(s: &Subject, payload: &PayloadRef, offset: u64) -> Result<Bytes, PayloadError> {
        let chunks: Vec<Bytes> = s.store.open(payload, offset).await?.try_collect().await?;
        Ok(chunks.concat().into())
    }

    pub(super) async fn a_payload_is_read_from_any_offset(s: Subject) {
        let bytes: Bytes = (0..300_000u32).map(|n| (n % 241) as u8).collect();
        let payload = s.store.put(&key(), bytes.clone()).await.unwrap();
        for offset in [0, 1, 123_456, 299_999, 300_000] {
            let start = usize::try_from(offset).unwrap();
            let read = read(&s, &payload, offset).await.unwrap();
            assert!(read == bytes[start..], "from {offset}");
        }
        let empty = s.store.put(&key(), Bytes::new()).await.unwrap();
        assert_eq!(read(&s, &empty, 0).await.unwrap(), Bytes::new());
        let missing = PayloadRef { key: key(), ..payload };
        assert!(matches!(read(&s, &missing, 7).await, Err(PayloadError::Missing(_))));
    }

    pub(super) async fn an_alteration_is_noticed_at_the_end_of_a_stream(s: Subject) {
        let payload = s.store.put(&key(), Bytes::from_static(b"abc")).await.unwrap();
        for other in [&b"abd"[..], b"ab", b"abcd", b""] {
            s.behind.overwrite(&payload.key, Bytes::from_static(other)).await;
            assert!(matches!(read(&s, &payload, 0).await, Err(PayloadError::Altered(_))));
        }
        assert!(matches!(read(&s, &payload, 2).await, Err(PayloadError::Altered(_))));
    }

    pub(super) async fn a_deleted_payload_is_missing_and_may_be_deleted_again(s: Subject) {
        let payload = s.store.put(&key(), Bytes::from_static(b"abc")).await.unwrap();
        for _ in 0..2 {
            s.store.delete(&payload.key).await.unwrap();
            assert!(matches!(s.store.get(&payload).await, Err(PayloadError::Missing(_))));
        }
    }

    pub(super) async fn a_lost_response_is_repeated_without_harm(s: Subject) {
        let line = Faulty::new(s.store.clone());
        line.script([Fault::LoseRequest, Fault::LoseResponse]);
        let (key, bytes) = (key(), Bytes::from_static(b"abc"));
        for _ in 0..2 {
            let lost = line.put(&key, bytes.clone()).await;
            assert!(matches!(lost, Err(PayloadError::Unavailable(_))));
        }
        let payload = line.put(&key, bytes.clone()).await.unwrap();
        assert_eq!(line.get(&payload).await.unwrap(), bytes);
    }
}
