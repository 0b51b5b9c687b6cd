//! The stores in memory: the conformance suites, and a memory that stays flat.

use bytes::Bytes;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::v1::{State, StreamChunk};
use queuebridge_proto::{JobId, Keyring, UnixMillis, outcome};
use queuebridge_store::encryption::{Encryption, LocalKey, Writes};
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use queuebridge_store::testing;
use queuebridge_store::{
    Accepted, Author, Claim, ClaimRequest, Clock, Completed, End, Lane, Lapsed, NewSubmission,
    PayloadStore, ResultStore, Stores, StreamStore, SubmissionStore, Token,
};
use std::sync::Arc;
use std::time::Duration;

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn results_conform() {
    let copies_survive = Duration::from_secs(600);
    let store = Arc::new(MemoryResultStore::new(copies_survive));
    testing::results::conformance(store, copies_survive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn gathers_conform() {
    let copies_survive = Duration::from_secs(600);
    let store = Arc::new(MemoryResultStore::new(copies_survive));
    testing::gathers::conformance(store, copies_survive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_conform() {
    let store = Arc::new(MemoryResultStore::new(Duration::from_secs(600)));
    testing::streams::conformance(store).await;
}

fn encryption() -> Encryption {
    let key = LocalKey::new("local:a", [1; 32].into(), "d");
    Encryption::new(vec![Arc::new(key)], Writes::Own, true)
}

#[tokio::test(flavor = "multi_thread")]
async fn encrypted_stores_conform() {
    let copies_survive = Duration::from_secs(600);
    let store = Arc::new(MemoryResultStore::new(copies_survive));
    let payloads = Arc::new(MemoryPayloadStore::new(SECOND, Clock::system()));
    let stores = Stores::new(store, Some(payloads.clone())).encrypted(encryption());
    let Stores { results, submissions, leases, streams, payloads: encrypted, .. } = stores;
    testing::results::conformance_of(results, submissions, leases, copies_survive).await;
    testing::streams::conformance(streams).await;
    testing::payloads::conformance(encrypted.unwrap(), payloads).await;
}

#[tokio::test]
async fn streams_are_dropped_with_the_results_of_their_jobs() {
    let store = MemoryResultStore::new(SECOND);
    let keys = Keyring::single(&[1; 32]);
    let mut now = START;
    for number in 0..1000 {
        now = now.plus(Duration::from_millis(100));
        let claims = Claims {
            uuid: uuid::Uuid::new_v4(),
            tenant: "t",
            method: "/a.B/C",
            expires_at: now.plus(SECOND),
            retention: SECOND,
            at_least_once: false,
            reply_shard: None,
        };
        let job = JobId::mint(&claims, &keys);
        store.append(&job, Lane::Request, 0, StreamChunk::default(), now).await.unwrap();
        assert!(store.read(&job, Lane::Request, 1, Duration::ZERO).await.unwrap().is_none());
        assert!(store.stream_count() < 200, "{number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_conform() {
    let store = Arc::new(MemoryPayloadStore::new(SECOND, Clock::system()));
    testing::payloads::conformance(store.clone(), store).await;
}

#[tokio::test]
async fn memory_stays_flat_over_many_jobs() {
    let store = MemoryResultStore::new(SECOND);
    let keys = Keyring::single(&[7; 32]);
    let mut most = (0, 0);
    // A job per millisecond; each rests for less than six seconds.
    for number in 0..50_000u64 {
        let now = UnixMillis(START.0 + number);
        let mut random = [0; 10];
        random.copy_from_slice(&Token::random().as_bytes()[..10]);
        let claims = Claims {
            uuid: uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid(),
            tenant: "t",
            method: "/a.B/C",
            expires_at: now.plus(SECOND),
            retention: SECOND,
            at_least_once: false,
            reply_shard: None,
        };
        let job = JobId::mint(&claims, &keys);
        let (token, key) = (Token::random(), *Token::random().as_bytes());
        let mut request_key = [0; 32];
        request_key[..16].copy_from_slice(&key);
        let submission = NewSubmission { job: &job, digest: &[0; 32], owner: &[0; 16], mac: &[] };
        let accepted = store.accept(&request_key, submission, now).await.unwrap();
        assert_eq!(accepted, Accepted::New);
        let request = ClaimRequest::new("/a.B/C", token, now.plus(SECOND), Lapsed::Take);
        let claimed = store.claim(&job, request, now).await.unwrap();
        assert_eq!(claimed.claim, Claim::Granted { attempt: 1 });
        // Every third attempt dies.
        if number % 3 > 0 {
            let author = Author::Claim(token);
            let end = End::new(State::Cancelled, outcome::cancelled());
            let done = store.complete(&job, "", author, end, now).await.unwrap();
            assert_eq!(done, Completed::Stored);
        }
        if number % 1000 == 0 {
            most = most.max((store.record_count(), store.request_key_count()));
        }
    }
    assert!(most.0 < 8000 && most.1 < 8000, "{most:?}");
}

#[tokio::test(start_paused = true)]
async fn payloads_are_dropped_by_age() {
    let store = MemoryPayloadStore::new(SECOND, Clock::simulated(START));
    let old = store.put("t/old", Bytes::from_static(b"x")).await.unwrap();
    tokio::time::advance(Duration::from_millis(999)).await;
    assert!(store.get(&old).await.is_ok());
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(store.get(&old).await.is_err());
    assert_eq!(store.object_count(), 1);
    store.put("t/new", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(store.object_count(), 1);
}
