//! The conformance suite of [`PayloadStore`].

use super::run;
use crate::payload::{PayloadError, PayloadStore};
use crate::record::Token;
use crate::testing::{Fault, Faulty};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
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
            a_lost_response_is_repeated_without_harm,
            a_payload_is_read_in_pieces_from_anywhere,
            what_is_missing_or_shorter_is_not_opened,
            an_altered_payload_ends_its_stream_with_an_error,
            a_stream_that_broke_is_taken_up_where_it_ended,
            a_payload_in_several_parts_comes_back_whole,
            what_was_deleted_is_missing;
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
        assert_eq!((payload.key, payload.size, payload.sha256), (key, 3, sha256));
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
        let payload = PayloadRef { key: key(), ..absent() };
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

    /// What a stream hands out before it ends, and how it ends.
    async fn read(
        store: &dyn PayloadStore,
        payload: &PayloadRef,
        offset: u64,
    ) -> (Vec<u8>, Result<(), PayloadError>) {
        let mut read = Vec::new();
        let mut stream = match store.open(payload, offset).await {
            Ok(stream) => stream,
            Err(error) => return (read, Err(error)),
        };
        while let Some(chunk) = stream.next().await {
            match chunk {
                Ok(chunk) => read.extend_from_slice(&chunk),
                Err(error) => {
                    assert!(stream.next().await.is_none(), "something came after an error");
                    return (read, Err(error));
                }
            }
        }
        (read, Ok(()))
    }

    /// A reference to an object that was never stored.
    fn absent() -> PayloadRef {
        PayloadRef { size: 3, sha256: Bytes::from_static(&[0; 32]), ..PayloadRef::default() }
    }

    fn pattern(len: u32) -> Bytes {
        (0..len).map(|n| (n % 251) as u8).collect::<Vec<u8>>().into()
    }

    pub(super) async fn a_payload_is_read_in_pieces_from_anywhere(s: Subject) {
        let bytes = pattern(300_000);
        let payload = round_trip(&s, &key(), bytes.clone()).await;
        for offset in [0, 1, 123_456, 299_999, 300_000, 300_001, u64::MAX] {
            let rest = bytes.slice(usize::try_from(offset).unwrap().min(bytes.len())..);
            let (read, end) = read(&*s.store, &payload, offset).await;
            assert_eq!(end, Ok(()), "{offset}");
            assert!(read == rest, "other bytes came back from {offset}");
        }
        let empty = round_trip(&s, &key(), Bytes::new()).await;
        assert_eq!(read(&*s.store, &empty, 0).await, (vec![], Ok(())));
    }

    pub(super) async fn what_is_missing_or_shorter_is_not_opened(s: Subject) {
        let absent = PayloadRef { key: key(), ..absent() };
        for offset in [0, 1, 3] {
            let missing = PayloadError::Missing(absent.key.clone());
            assert_eq!(read(&*s.store, &absent, offset).await, (vec![], Err(missing)));
        }
        let payload = round_trip(&s, &key(), Bytes::from_static(b"abc")).await;
        for other in ["", "a", "ab", "abcd"] {
            s.behind.overwrite(&payload.key, Bytes::from_static(other.as_bytes())).await;
            for offset in [0, 1, 2] {
                let altered = PayloadError::Altered(payload.key.clone());
                let found = read(&*s.store, &payload, offset).await;
                assert_eq!(found, (vec![], Err(altered)), "{other:?} from {offset}");
            }
        }
    }

    pub(super) async fn an_altered_payload_ends_its_stream_with_an_error(s: Subject) {
        let payload = round_trip(&s, &key(), Bytes::from_static(b"abc")).await;
        s.behind.overwrite(&payload.key, Bytes::from_static(b"abd")).await;
        let (_, end) = read(&*s.store, &payload, 0).await;
        assert_eq!(end, Err(PayloadError::Altered(payload.key.clone())));
    }

    pub(super) async fn a_stream_that_broke_is_taken_up_where_it_ended(s: Subject) {
        let line = Faulty::new(s.store.clone());
        let bytes = pattern(2 << 20);
        let payload = round_trip(&s, &key(), bytes.clone()).await;
        line.script([Fault::LoseResponse]);
        let (mut whole, end) = read(&line, &payload, 0).await;
        assert!(matches!(end, Err(PayloadError::Unavailable(_))), "{end:?}");
        assert!(!whole.is_empty() && whole.len() < bytes.len());
        let (rest, end) = read(&line, &payload, whole.len() as u64).await;
        whole.extend(rest);
        assert_eq!(end, Ok(()));
        assert!(whole == bytes, "other bytes came back");
    }

    pub(super) async fn a_payload_in_several_parts_comes_back_whole(s: Subject) {
        let bytes = pattern((33 << 20) + 1);
        let payload = round_trip(&s, &key(), bytes.clone()).await;
        assert_eq!(payload.sha256[..], Sha256::digest(&bytes)[..]);
        let (tail, end) = read(&*s.store, &payload, 33 << 20).await;
        assert_eq!((&tail[..], end), (&bytes[33 << 20..], Ok(())));
    }

    pub(super) async fn what_was_deleted_is_missing(s: Subject) {
        let payload = round_trip(&s, &key(), Bytes::from_static(b"abc")).await;
        for _ in 0..2 {
            s.store.delete(&payload.key).await.unwrap();
            let missing = s.store.get(&payload).await;
            assert_eq!(missing, Err(PayloadError::Missing(payload.key.clone())));
        }
        round_trip(&s, &payload.key, Bytes::from_static(b"abc")).await;
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
