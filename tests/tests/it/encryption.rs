//! Encryption with keys of KMS, over the stores of AWS, and what a worker does with
//! messages whose keys it cannot have.

use crate::fixture::{Job, START, Worker};
use crate::store::Bucket;
use async_trait::async_trait;
use bytes::Bytes;
use queuebridge_demo::v1;
use queuebridge_local::LoopbackOutbox;
use queuebridge_proto::encryption::DataKey;
use queuebridge_proto::v1::{
    Call, Callback, CallbackMessage, FinishedJob, GatherReport, Origin, Outcome, PayloadRef, State,
    callback, outcome,
};
use queuebridge_proto::{JobId, envelope};
use queuebridge_store::dynamodb::{DynamoResultStore, create_table};
use queuebridge_store::encryption::{
    Encryption, KeyError, KmsKey, LocalKey, MasterKey, Writes, master_keys,
};
use queuebridge_store::s3::S3PayloadStore;
use queuebridge_store::testing::{payloads, results, streams};
use queuebridge_store::{Author, ClaimRequest, End, Lapsed, ResultStore, Seal, Stores, Token};
use queuebridge_tests::Emulator;
use queuebridge_tests::emulator::unique;
use queuebridge_worker::{
    Delivery, JobStores, Reason, Role, Runner, RunnerSettings, Verdict, batch,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const COPIES_SURVIVE: Duration = Duration::from_secs(14 * 24 * 3600);
const REGION: &str = "us-east-1";

async fn kms() -> (aws_sdk_kms::Client, String) {
    let client = aws_sdk_kms::Client::new(&Emulator::shared().await.aws_config().await);
    let made = client.create_key().send().await.unwrap();
    (client, made.key_metadata.unwrap().arn.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn kms_unwraps_for_its_deployment_what_it_has_made_for_it() {
    let sdk = Emulator::shared().await.aws_config().await;
    let (client, arn) = kms().await;
    let key = KmsKey::new(&sdk, &arn, REGION, "one");
    let made = key.generate().await.unwrap();
    assert_eq!(made.wrapped().key_id, arn);
    let wrapped = made.wrapped().wrapped.clone();
    assert!(key.unwrap(&wrapped).await.is_ok());
    let other = || async { Err(KeyError::NotAuthentic(arn.clone())) };
    let elsewhere = KmsKey::new(&sdk, &arn, REGION, "two");
    assert_eq!(elsewhere.unwrap(&wrapped).await.map(drop), other().await);
    assert_eq!(key.unwrap(b"nonsense").await.map(drop), other().await);

    client.disable_key().key_id(&arn).send().await.unwrap();
    for error in [key.generate().await.map(drop), key.unwrap(&wrapped).await.map(drop)] {
        let error = error.unwrap_err();
        assert!(matches!(&error, KeyError::Refused { key, .. } if *key == arn), "{error}");
        assert!(error.to_string().contains(&arn), "{error}");
    }
    client.enable_key().key_id(&arn).send().await.unwrap();
    assert!(key.unwrap(&wrapped).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn kms_that_is_not_there_is_a_thing_of_the_moment() {
    let sdk = Emulator::shared().await.aws_config().await;
    // Nobody listens on the port of a listener that is gone.
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let sdk = sdk.into_builder().endpoint_url(format!("http://{gone}")).build();
    let key = KmsKey::new(&sdk, "arn:aws:kms:us-east-1:1:key/a", REGION, "one");
    let error = key.generate().await.unwrap_err();
    assert!(matches!(error, KeyError::Unavailable { .. }), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stores_of_aws_keep_their_promises_encrypted() {
    let emulator = Emulator::shared().await;
    let (_, arn) = kms().await;
    let table = unique("encrypted");
    let keys = master_keys(&[arn.parse().unwrap()], &table, &emulator.aws_config().await);
    let dynamodb = emulator.dynamodb().await;
    create_table(&dynamodb, &table).await.unwrap();
    let store = DynamoResultStore::new(dynamodb, table, COPIES_SURVIVE);
    let (client, name) = (emulator.s3().await, unique("encrypted"));
    client.create_bucket().bucket(&name).send().await.unwrap();
    let behind = Arc::new(Bucket { client: client.clone(), name: name.clone() });
    let objects = Arc::new(S3PayloadStore::new(client, name, "p/"));
    let stores = Stores::new(Arc::new(store), Some(objects));
    let stores = stores.encrypted(Encryption::new(keys, Writes::Own, true));
    let (submissions, leases) = (stores.submissions, stores.leases);
    results::conformance_of(stores.results, submissions, leases, COPIES_SURVIVE).await;
    streams::conformance(stores.streams).await;
    payloads::conformance(stores.payloads.unwrap(), behind).await;
}

/// A master key that can be out of order.
#[derive(Debug)]
struct Moody {
    inner: LocalKey,
    mood: Mutex<Option<KeyError>>,
}

fn moody() -> Arc<Moody> {
    let inner = LocalKey::new("local:a", [1; 32].into(), "d");
    Arc::new(Moody { inner, mood: Mutex::default() })
}

impl Moody {
    fn is(&self, mood: Option<KeyError>) {
        *self.mood.lock().unwrap() = mood;
    }
}

#[async_trait]
impl MasterKey for Moody {
    fn id(&self) -> &str {
        self.inner.id()
    }

    async fn generate(&self) -> Result<DataKey, KeyError> {
        self.inner.generate().await
    }

    async fn unwrap(
        &self,
        wrapped: &[u8],
    ) -> Result<queuebridge_store::encryption::Secret, KeyError> {
        let mood = self.mood.lock().unwrap().clone();
        mood.map_or(Ok(()), Err)?;
        self.inner.unwrap(wrapped).await
    }
}

/// The runner of a worker with encryption over the same stores and queues.
fn runner(worker: &Worker, master: &Arc<Moody>, role: Role, required: bool) -> Arc<Runner> {
    let encryption = Encryption::new(vec![master.clone()], Writes::Opened, required);
    let stores = Stores::new(worker.store.clone(), Some(worker.payloads.clone()));
    let stores = stores.encrypted(encryption.clone());
    let outbox = LoopbackOutbox {
        source: worker.jobs.clone(),
        parking: worker.parking.clone(),
        callbacks: worker.callbacks.clone(),
    };
    Runner::new(
        queuebridge_demo::routes_with_probe(worker.dir.path()),
        JobStores { results: stores.results, gathers: stores.gathers, streams: stores.streams },
        stores.payloads,
        Arc::new(outbox),
        Seal::new(worker.keys.clone(), Some(encryption)),
        worker.clock,
        RunnerSettings { role, inline_response_bytes: 1000, ..RunnerSettings::default() },
    )
}

/// A job as a gateway with encryption would send it, and how that gateway reads.
async fn encrypted(worker: &Worker, master: &Arc<Moody>, answer: u32) -> (JobId, Delivery, Stores) {
    encrypted_as(worker, master, answer, &Job::default()).await
}

async fn encrypted_as(
    worker: &Worker,
    master: &Arc<Moody>,
    answer: u32,
    job: &Job,
) -> (JobId, Delivery, Stores) {
    let request = v1::EchoRequest {
        payload: Bytes::from_static(b"canary"),
        response_bytes: answer,
        ..Default::default()
    };
    let (id, plain) = worker.job("Echo", &request, job);
    let call: Call = envelope::open(&plain.body, &worker.keys).unwrap();
    let encryption = Encryption::new(vec![master.clone()], Writes::Own, true);
    let body = Seal::new(worker.keys.clone(), Some(encryption.clone())).seal(&call).await.unwrap();
    let stores = Stores::new(worker.store.clone(), Some(worker.payloads.clone()));
    (id, Delivery::new(body), stores.encrypted(encryption))
}

async fn verdict(runner: &Arc<Runner>, delivery: &Delivery) -> Verdict {
    let none = CancellationToken::new();
    batch::run(runner, vec![delivery.clone()], None, &none).await.remove(0)
}

#[tokio::test(start_paused = true)]
async fn an_encrypted_job_leaves_nothing_that_can_be_read() {
    for answer in [0, 50_000] {
        let (worker, master) = (Worker::new(), moody());
        let (id, delivery, stores) = encrypted(&worker, &master, answer).await;
        let runner = runner(&worker, &master, Role::Jobs, true);
        assert_eq!(verdict(&runner, &delivery).await, Verdict::Ack);
        // As it rests.
        let rests = worker.store.get(&id, START).await.unwrap().unwrap().outcome.unwrap();
        let encrypted = Outcome { encrypted: rests.encrypted.clone(), ..Outcome::default() };
        assert!(rests.encrypted.is_some());
        assert_eq!(rests, encrypted, "nothing but what is encrypted");
        // As the gateway reads it.
        let record = stores.results.get(&id, START).await.unwrap().unwrap();
        assert_eq!(record.state, State::Succeeded);
        let response = match record.outcome.unwrap().result.unwrap() {
            outcome::Result::Response(response) => response,
            outcome::Result::ResponseRef(at) => {
                assert!(at.encrypted);
                stores.payloads.unwrap().get(&at).await.unwrap()
            }
            other => panic!("{other:?}"),
        };
        let echo: v1::EchoResponse = prost::Message::decode(response).unwrap();
        assert!(echo.payload.starts_with(b"canary"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_without_its_key_waits_and_is_not_lost() {
    let (worker, master) = (Worker::new(), moody());
    let (id, delivery, _) = encrypted(&worker, &master, 0).await;
    let jobs = runner(&worker, &master, Role::Jobs, false);
    let dead = runner(&worker, &master, Role::DeadLetters, false);
    let (key, problem) = ("local:a".to_owned(), "as the test wants".to_owned());
    let waits = |verdict: &Verdict| {
        matches!(verdict, Verdict::Redeliver { reason: Reason::KeyUnavailable, .. })
    };
    master.is(Some(KeyError::Unavailable { key: key.clone(), problem: problem.clone() }));
    assert!(waits(&verdict(&jobs, &delivery).await));
    assert!(waits(&verdict(&dead, &delivery).await));
    // An outage of hours does not use the queue's receives up.
    let often = Delivery { receive_count: 20, ..delivery.clone() };
    let Verdict::Redeliver { after, .. } = verdict(&jobs, &often).await else { panic!() };
    assert!(after >= Duration::from_secs(75), "{after:?}");
    tokio::time::advance(Duration::from_secs(2)).await;
    master.is(Some(KeyError::Refused { key, problem }));
    assert!(waits(&verdict(&jobs, &delivery).await));
    assert_eq!(worker.parking.counts().visible, 0);
    // Nobody but a person comes after the dead letters.
    assert_eq!(verdict(&dead, &delivery).await, Verdict::Ack);
    assert_eq!(worker.parking.counts().visible, 1);
    tokio::time::advance(Duration::from_secs(2)).await;
    master.is(None);
    assert_eq!(verdict(&jobs, &delivery).await, Verdict::Ack);
    let record = worker.store.get(&id, START).await.unwrap().unwrap();
    assert_eq!(record.state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn where_encryption_is_required_a_plain_job_is_parked_unrun() {
    let (worker, master) = (Worker::new(), moody());
    let (id, delivery) = worker.job("Echo", &v1::EchoRequest::default(), &Job::default());
    let strict = runner(&worker, &master, Role::Jobs, true);
    assert_eq!(verdict(&strict, &delivery).await, Verdict::Ack);
    assert_eq!(worker.parking.counts().visible, 1);
    assert!(worker.store.get(&id, START).await.unwrap().is_none());
    let open = runner(&worker, &master, Role::Jobs, false);
    assert_eq!(verdict(&open, &delivery).await, Verdict::Ack);
    assert!(worker.store.get(&id, START).await.unwrap().is_some());
}

fn to(url: &str) -> Option<Callback> {
    Some(Callback { target: Some(callback::Target::WebhookUrl(url.into())) })
}

#[tokio::test(start_paused = true)]
async fn whom_to_tell_rests_encrypted_too() {
    let (worker, master) = (Worker::new(), moody());
    let job = Job { callback: to("https://a.example/secret"), ..Job::default() };
    let (id, delivery, stores) = encrypted_as(&worker, &master, 0, &job).await;
    assert_eq!(verdict(&runner(&worker, &master, Role::Jobs, true), &delivery).await, Verdict::Ack);
    let rests = worker.store.get(&id, START).await.unwrap().unwrap().origin.unwrap();
    assert!(rests.encrypted.is_some());
    assert_eq!(rests, Origin { encrypted: rests.encrypted.clone(), ..Origin::default() });
    let read = stores.results.get(&id, START).await.unwrap().unwrap().origin.unwrap();
    assert_eq!(read.callback, job.callback);
    // In the place of another job's it is none.
    let (other, _) = worker.job("Echo", &v1::EchoRequest::default(), &Job::default());
    let claim = ClaimRequest::new("/m", Token::random(), START, Lapsed::Take).with_origin(rests);
    worker.store.claim(&other, claim, START).await.unwrap();
    assert!(stores.results.get(&other, START).await.is_err());
}

/// Whoever can write the table is not told what they cannot read there.
#[tokio::test(start_paused = true)]
async fn a_callback_in_the_clear_is_not_that_of_an_encrypted_job() {
    for own in [None, to("https://owner.example/")] {
        let (worker, master) = (Worker::new(), moody());
        let job = Job { callback: own.clone(), ..Job::default() };
        let (id, delivery, _) = encrypted_as(&worker, &master, 0, &job).await;
        let forged = Origin { callback: to("https://thief.example/"), ..Origin::default() };
        let claim = ClaimRequest::new("/m", Token::random(), START, Lapsed::Take);
        worker.store.claim(&id, claim.with_origin(forged), START).await.unwrap();
        let runner = runner(&worker, &master, Role::Jobs, true);
        assert_eq!(verdict(&runner, &delivery).await, Verdict::Ack);
        assert_eq!(worker.record(&id).await.unwrap().state, State::Succeeded);
        let told = worker.callbacks.receive_batch(9, std::time::Duration::ZERO).await.unwrap();
        assert_eq!(told.len(), usize::from(own.is_some()));
        let encryption = Encryption::new(vec![master.clone()], Writes::Opened, true);
        let seal = Seal::new(worker.keys.clone(), Some(encryption));
        for message in told {
            let message: CallbackMessage = seal.open(&message.body).await.unwrap();
            assert_eq!(message.callback, own);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_is_not_that_of_another_job() {
    let (worker, master) = (Worker::new(), moody());
    let runner = runner(&worker, &master, Role::Jobs, true);
    let (id, delivery, stores) = encrypted(&worker, &master, 0).await;
    assert_eq!(verdict(&runner, &delivery).await, Verdict::Ack);
    let record = worker.store.get(&id, START).await.unwrap().unwrap();
    // Whoever can write the table puts it into the record of a job of theirs.
    let (other, _) = worker.job("Echo", &v1::EchoRequest::default(), &Job::default());
    let (state, outcome) = (State::Succeeded, record.outcome.unwrap());
    let put = worker.store.complete(&other, "", Author::Unclaimed, End::new(state, outcome), START);
    put.await.unwrap();
    assert!(stores.results.get(&id, START).await.is_ok());
    let swapped = stores.results.get(&other, START).await.unwrap_err();
    assert!(swapped.to_string().contains("not authentic"), "{swapped}");
}

#[tokio::test(start_paused = true)]
async fn a_forged_outcome_does_not_lead_to_what_is_encrypted_for_another_job() {
    let (worker, master) = (Worker::new(), moody());
    let (_, _, stores) = encrypted(&worker, &master, 0).await;
    let payload =
        |encrypted| PayloadRef { key: "other/answers/1".into(), encrypted, ..<_>::default() };
    let leading = |encrypted| Outcome {
        result: Some(outcome::Result::ResponseRef(payload(encrypted))),
        ..Outcome::default()
    };
    let branch = |encrypted| FinishedJob { outcome: Some(leading(encrypted)), ..<_>::default() };
    let gathered = |encrypted| Outcome {
        gather: Some(GatherReport { branches: vec![branch(encrypted)], ..<_>::default() }.into()),
        ..Outcome::default()
    };
    for (outcome, taken) in [
        (leading(true), false),
        (gathered(true), false),
        (leading(false), true),
        (gathered(false), true),
    ] {
        let (own, _) = worker.job("Echo", &v1::EchoRequest::default(), &Job::default());
        let (author, state) = (Author::Unclaimed, State::Succeeded);
        let end = End::new(state, outcome);
        worker.store.complete(&own, "", author, end, START).await.unwrap();
        assert_eq!(stores.results.get(&own, START).await.is_ok(), taken);
    }
}
