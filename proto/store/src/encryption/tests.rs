use super::*;
use crate::memory::MemoryPayloadStore;
use crate::payload::{PayloadError, PayloadStore};
use crate::{Clock, PayloadStream};
use async_trait::async_trait;
use futures_util::StreamExt;
use queuebridge_proto::envelope;
use queuebridge_proto::v1::{Announcements, Call, PayloadRef, call::Payload};
use queuebridge_proto::{EnvelopeError, Keyring};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::advance;
use zeroize::Zeroizing;

/// A local key that counts what it is asked, and can be out of order.
#[derive(Debug)]
struct Counted {
    inner: LocalKey,
    asked: AtomicU32,
    fails: Mutex<Option<KeyError>>,
}

fn counted(byte: u8) -> Arc<Counted> {
    let inner = LocalKey::new("local:a", Zeroizing::new([byte; 32]), "d");
    Arc::new(Counted { inner, asked: AtomicU32::new(0), fails: Mutex::new(None) })
}

impl Counted {
    fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    async fn answer(&self) -> Result<(), KeyError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(10)).await;
        lock(&self.fails).clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl MasterKey for Counted {
    fn id(&self) -> &str {
        self.inner.id()
    }

    async fn generate(&self) -> Result<DataKey, KeyError> {
        self.answer().await?;
        self.inner.generate().await
    }

    async fn unwrap(&self, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        self.answer().await?;
        self.inner.unwrap(wrapped).await
    }
}

fn keys() -> Keyring {
    Keyring::single(&[1; 32])
}

fn gateway(master: &Arc<Counted>) -> Encryption {
    Encryption::new(vec![master.clone()], Writes::Own, false)
}

fn worker(master: &Arc<Counted>) -> Encryption {
    Encryption::new(vec![master.clone()], Writes::Opened, false)
}

fn call() -> Call {
    let payload = Some(Payload::Request(Bytes::from_static(b"canary")));
    Call { job_id: "id".into(), payload, ..Call::default() }
}

fn seal(encryption: &Encryption) -> Seal {
    Seal::new(keys(), Some(encryption.clone()))
}

#[tokio::test(start_paused = true)]
async fn one_question_serves_all_for_five_minutes() {
    let master = counted(1);
    let encryption = gateway(&master);
    let all = futures_util::future::join_all((0..100).map(|_| encryption.current()));
    let first = all.await.remove(0).unwrap().unwrap();
    assert_eq!(master.asked(), 1);
    advance(Duration::from_secs(299)).await;
    let same = encryption.current().await.unwrap().unwrap();
    assert_eq!(same.wrapped(), first.wrapped());
    advance(Duration::from_secs(1)).await;
    let next = encryption.current().await.unwrap().unwrap();
    assert_ne!(next.wrapped(), first.wrapped());
    assert_eq!(master.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_error_is_passed_on_for_a_second_and_then_asked_about_again() {
    let master = counted(1);
    let error = KeyError::Unavailable { key: "local:a".into(), problem: "throttled".into() };
    *lock(&master.fails) = Some(error.clone());
    let encryption = gateway(&master);
    let all = futures_util::future::join_all((0..100).map(|_| encryption.current()));
    assert!(all.await.into_iter().all(|found| found.unwrap_err() == error));
    assert_eq!(master.asked(), 1);
    *lock(&master.fails) = None;
    advance(Duration::from_secs(1)).await;
    assert!(encryption.current().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_worker_answers_under_the_key_that_it_has_opened() {
    let master = counted(1);
    let (gateway, worker) = (gateway(&master), worker(&master));
    assert!(worker.current().await.unwrap().is_none());
    let body = seal(&gateway).seal(&call()).await.unwrap();
    assert_eq!(seal(&worker).open::<Call>(&body).await.unwrap(), call());
    let asked = master.asked();
    // Nothing is asked for on the way back, by neither side, whatever has become of the key.
    *lock(&master.fails) = Some(KeyError::NotAuthentic("local:a".into()));
    let answer = seal(&worker).seal(&Announcements::default()).await.unwrap();
    assert!(seal(&gateway).open::<Announcements>(&answer).await.is_ok());
    assert_eq!(master.asked(), asked);
    assert!(envelope::open(&answer, &keys()).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_nobody_allowed_is_not_asked() {
    let (ours, master) = (counted(1), counted(1));
    let body = seal(&gateway(&master)).seal(&call()).await.unwrap();
    let other = LocalKey::new("local:other", Zeroizing::new([1; 32]), "d");
    let encryption = Encryption::new(vec![Arc::new(other)], Writes::Opened, false);
    let refused = seal(&encryption).open::<Call>(&body).await.unwrap_err();
    assert_eq!(refused, OpenError::Key(KeyError::NotAllowed("local:a".into())));
    // An envelope of a stranger makes nobody ask.
    let strange = Seal::new(Keyring::single(&[2; 32]), Some(gateway(&counted(1))));
    let body = strange.seal(&call()).await.unwrap();
    let forged = seal(&worker(&ours)).open::<Call>(&body).await.unwrap_err();
    assert_eq!(forged, OpenError::Envelope(EnvelopeError::Unauthentic));
    assert_eq!(ours.asked(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_encrypted_is_opened_unless_that_is_required() {
    let body = envelope::seal(&call(), &keys());
    let master = counted(1);
    assert_eq!(seal(&worker(&master)).open::<Call>(&body).await.unwrap(), call());
    let strict = Encryption::new(vec![master], Writes::Opened, true);
    let refused = seal(&strict).open::<Call>(&body).await.unwrap_err();
    assert_eq!(refused, OpenError::Envelope(EnvelopeError::NotEncrypted));
}

#[tokio::test(start_paused = true)]
async fn a_data_key_of_another_deployment_is_not_unwrapped() {
    let local = |deployment| LocalKey::new("local:a", Zeroizing::new([1; 32]), deployment);
    let made = local("one").generate().await.unwrap();
    assert!(local("one").unwrap(&made.wrapped().wrapped).await.is_ok());
    let refused = local("two").unwrap(&made.wrapped().wrapped).await;
    assert_eq!(refused.unwrap_err(), KeyError::NotAuthentic("local:a".into()));
    assert!(local("one").unwrap(b"").await.is_err());
}

#[test]
fn keys_are_named_by_arn_or_with_their_secret() {
    let arn = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab";
    let name: MasterKeyName = arn.parse().unwrap();
    assert_eq!(name.id(), arn);
    let secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let local: MasterKeyName = format!("local:one:{secret}").parse().unwrap();
    assert_eq!(local.id(), "local:one");
    assert_eq!(format!("{local} {local:?}"), "local:one:<redacted> local:one:<redacted>");
    for wrong in [
        "",
        "alias/jobs",
        "arn:aws:kms:eu-central-1:123456789012:alias/jobs",
        "arn:aws:s3:eu-central-1:123456789012:key/a",
        "arn:aws:kms::123456789012:key/a",
        "local:one",
        "local::MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "local:one:c2hvcnQ=",
        "local:o/e:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    ] {
        assert_eq!(wrong.parse::<MasterKeyName>(), Err(MasterKeyError), "{wrong}");
    }
}

/// A payload, and its object under the encryption.
struct Kept {
    store: EncryptedStore<MemoryPayloadStore>,
    behind: Arc<MemoryPayloadStore>,
    payload: PayloadRef,
    object: Vec<u8>,
}

async fn kept(len: usize) -> Kept {
    let behind = Arc::new(MemoryPayloadStore::new(Duration::from_secs(60), Clock::system()));
    let store = EncryptedStore::new(behind.clone(), gateway(&counted(1)));
    let plain: Bytes = (0..251u8).cycle().take(len).collect::<Vec<u8>>().into();
    let payload = store.put("t/requests/1", plain).await.unwrap();
    let segments = len.div_ceil(64 * 1024).max(1);
    let size = (1024 + len + 16 * segments) as u64;
    let at = PayloadRef { key: payload.key.clone(), size, ..PayloadRef::default() };
    let mut object = vec![1];
    object.extend(read(behind.open(&at, 1).await.unwrap()).await.unwrap());
    Kept { store, behind, payload, object }
}

async fn read(mut stream: PayloadStream) -> Result<Vec<u8>, PayloadError> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all)
}

impl Kept {
    async fn altered(&self, object: Vec<u8>) -> bool {
        self.behind.put(&self.payload.key, object.into()).await.unwrap();
        let altered = Err(PayloadError::Altered(self.payload.key.clone()));
        let got = self.store.get(&self.payload).await;
        // Also where the digest is of no use, because the beginning is not read.
        let tail = match self.store.open(&self.payload, self.payload.size - 1).await {
            Ok(stream) => read(stream).await.map(Bytes::from),
            Err(error) => Err(error),
        };
        got == altered && (tail == altered || tail.is_ok_and(|tail| tail.len() == 1))
    }
}

#[tokio::test]
async fn an_object_shows_nothing_and_no_change_goes_unnoticed() {
    let k = kept(3 * 64 * 1024 + 5).await;
    assert!(!k.object.windows(8).any(|part| part == [10, 11, 12, 13, 14, 15, 16, 17]));
    let segment = |n: usize| 1024 + n * (64 * 1024 + 16)..1024 + (n + 1) * (64 * 1024 + 16);
    // Two segments in each other's place.
    let mut swapped = k.object.clone();
    swapped[segment(0)].copy_from_slice(&k.object[segment(1)]);
    swapped[segment(1)].copy_from_slice(&k.object[segment(0)]);
    assert!(k.altered(swapped).await);
    // One of them twice.
    let mut repeated = k.object.clone();
    repeated[segment(1)].copy_from_slice(&k.object[segment(0)]);
    assert!(k.altered(repeated).await);
    // The salt, the ciphertexts, the tags.
    for at in [1, 3, 60, 1024, 1024 + 64 * 1024, k.object.len() - 1] {
        let mut flipped = k.object.clone();
        flipped[at] ^= 1;
        assert!(k.altered(flipped).await, "{at}");
    }
    let shorter = k.object[..k.object.len() - 1].to_vec();
    assert!(k.altered(shorter).await);
}

#[tokio::test]
async fn an_object_that_was_cut_at_a_segment_is_not_a_shorter_payload() {
    let k = kept(2 * 64 * 1024).await;
    let cut = k.object[..1024 + 64 * 1024 + 16].to_vec();
    k.behind.put(&k.payload.key, cut.into()).await.unwrap();
    // Even a reference that believes in it is not enough.
    let half = PayloadRef { size: 64 * 1024, ..k.payload.clone() };
    let altered = PayloadError::Altered(k.payload.key.clone());
    assert_eq!(k.store.get(&half).await, Err(altered.clone()));
    let stream = k.store.open(&half, 1).await.unwrap();
    assert_eq!(read(stream).await, Err(altered));
}

#[tokio::test]
async fn an_object_is_not_that_of_another_key() {
    let k = kept(100).await;
    let other = "t/requests/2";
    k.behind.put(other, k.object.clone().into()).await.unwrap();
    let moved = PayloadRef { key: other.into(), ..k.payload.clone() };
    assert_eq!(k.store.get(&moved).await, Err(PayloadError::Altered(other.into())));
}

#[tokio::test]
async fn storing_again_under_another_data_key_keeps_references_valid() {
    let behind = Arc::new(MemoryPayloadStore::new(Duration::from_secs(60), Clock::system()));
    let master = counted(1);
    let at = |encryption| EncryptedStore::new(behind.clone(), encryption);
    let first = at(gateway(&master)).put("k", Bytes::from_static(b"abc")).await.unwrap();
    let second = at(gateway(&master)).put("k", Bytes::from_static(b"abc")).await.unwrap();
    assert_eq!(first, second);
    assert_eq!(at(worker(&master)).get(&first).await.unwrap(), b"abc"[..]);
}
