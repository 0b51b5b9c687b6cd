//! What is too large for a message: answers in pieces, and payloads that are
//! missing, altered or out of reach, on every way.

use crate::fixture::{Job, Worker, redelivered, sleep_for};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use prost::Message;
use queuebridge_demo::v1;
use queuebridge_gateway::admission::Admission;
use queuebridge_gateway::identity::Identity;
use queuebridge_gateway::jobs::{JobsService, Parts};
use queuebridge_gateway::lookup::Closes;
use queuebridge_gateway::lookup::Lookup;
use queuebridge_gateway::quota::Quotas;
use queuebridge_gateway::replies::Replies;
use queuebridge_gateway::route::Routes;
use queuebridge_gateway::submit::FrontDoor;
use queuebridge_gateway::view::Methods;
use queuebridge_gateway::waiter::Waiter;
use queuebridge_proto::JobId;
use queuebridge_proto::client::Client;
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::jobs_server::{Jobs, JobsServer};
use queuebridge_proto::v1::{
    DeleteRequest, DownloadResultRequest, GetResultRequest, PayloadRef, Response, State, job,
    outcome,
};
use queuebridge_store::memory::MemoryResultStore;
use queuebridge_store::testing::Fault;
use queuebridge_store::{
    Claim, ClaimRequest, Gathers, Lapsed, PayloadError, PayloadStore, PayloadStream, ResultStore,
    Token,
};
use queuebridge_worker::outbox::NoOutbox;
use queuebridge_worker::{Reason, Runner, RunnerSettings, Verdict, batch};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

/// What the gateway's messages may hold, and an answer that is much larger.
const MAX_MESSAGE: usize = 64 * 1024;
/// What of it an answer may take.
const SHOWN: usize = 56 * 1024;
const LARGE: u64 = 3_000_000;

fn gateway(worker: &Worker) -> JobsService {
    let gathers = Gathers::new(worker.store.clone(), None);
    let lookup = Arc::new(Lookup {
        store: worker.store.clone(),
        gathers: gathers.clone(),
        closes: Closes::default(),
        streams: worker.store.clone(),
        quotas: Quotas::default(),
        job_id_keys: worker.keys.clone(),
        payloads: Some(worker.payloads.clone()),
        clock: worker.clock,
        methods: Methods::default(),
        max_response_bytes: SHOWN,
        max_message_bytes: 4 << 20,
    });
    let (replies, draining) = (Arc::new(Replies::default()), CancellationToken::new());
    let door = FrontDoor {
        routes: Routes::new(),
        job_id_keys: worker.keys.clone(),
        seal: worker.keys.clone().into(),
        submissions: Arc::new(MemoryResultStore::new(Duration::from_secs(60))),
        gathers,
        replies: replies.clone(),
        payloads: None,
        callbacks: None,
        clock: worker.clock,
        admission: Admission::new(1),
        quotas: Quotas::default(),
    };
    JobsService::new(Parts {
        door: Arc::new(door),
        waiter: Waiter::new(lookup.clone(), replies, draining.clone()),
        lookup,
        job_id_keys: worker.keys.clone(),
        draining,
        closing: CancellationToken::new(),
    })
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Identity::trusted("t"));
    request
}

async fn show(gateway: &JobsService, id: &JobId) -> Result<Response, Status> {
    let get = GetResultRequest { id: id.to_string(), wait: None };
    match gateway.get_result(request(get)).await?.into_inner().outcome {
        Some(job::Outcome::Response(response)) => Ok(response),
        other => panic!("{other:?}"),
    }
}

/// Length, digest and bytes of a download, and how it ended.
async fn download(
    gateway: &JobsService,
    id: &JobId,
    offset: u64,
) -> Result<(u64, Bytes, Vec<u8>, Result<(), Status>), Status> {
    let wanted = DownloadResultRequest { id: id.to_string(), offset };
    let mut parts = gateway.download_result(request(wanted)).await?.into_inner();
    let info = parts.next().await.unwrap()?.info.expect("what it is");
    let (mut bytes, mut end) = (Vec::new(), Ok(()));
    while let Some(message) = parts.next().await {
        match message {
            Ok(message) => {
                assert!(message.encoded_len() <= 257 * 1024);
                assert!(!message.chunk.is_empty());
                bytes.extend_from_slice(&message.chunk);
            }
            Err(status) => end = Err(status),
        }
    }
    Ok((info.size, info.sha256, bytes, end))
}

fn reason(status: &Status) -> (Code, String) {
    let details = status.get_error_details();
    (status.code(), details.error_info().map(|info| info.reason.clone()).unwrap_or_default())
}

fn refused<T>(answer: Result<T, Status>) -> (Code, String) {
    reason(&answer.err().expect("a refusal"))
}

/// A call that answers with so many bytes.
fn echo(bytes: u64) -> v1::EchoRequest {
    let response_bytes = u32::try_from(bytes).unwrap();
    v1::EchoRequest {
        payload: Bytes::from_static(b"0123456789"),
        response_bytes,
        ..Default::default()
    }
}

/// A job that has answered with so many bytes, and its reference if it has one.
async fn answered(worker: &Worker, bytes: u64) -> (JobId, Option<PayloadRef>) {
    let request = echo(bytes);
    let (id, delivery) = worker.job("Echo", &request, &Job::default());
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let outcome = worker.record(&id).await.unwrap().outcome.unwrap();
    match outcome.result {
        Some(outcome::Result::ResponseRef(at)) => (id, Some(at)),
        Some(outcome::Result::Response(_)) => (id, None),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_any_size_is_downloaded_whole_and_from_anywhere() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    for bytes in [10, 20_000, LARGE] {
        let (id, at) = answered(&worker, bytes).await;
        assert_eq!(at.is_some(), bytes > 32 * 1024);
        let shown = show(&gateway, &id).await.unwrap();
        let (size, sha256, whole, end) = download(&gateway, &id, 0).await.unwrap();
        end.unwrap();
        assert_eq!((size, &sha256[..]), (whole.len() as u64, &Sha256::digest(&whole)[..]));
        let answer = v1::EchoResponse::decode(&whole[..]).unwrap();
        assert_eq!(answer.payload.len() as u64, bytes);
        if bytes == LARGE {
            assert_eq!((shown.size, shown.sha256, shown.message.len()), (size, sha256, 0));
        } else {
            assert_eq!((shown.size, shown.message), (size, whole.clone().into()));
        }
        for offset in [size / 3, size] {
            let (all, _, rest, end) = download(&gateway, &id, offset).await.unwrap();
            end.unwrap();
            assert!(all == size && rest == whole[usize::try_from(offset).unwrap()..]);
        }
        let past = refused(download(&gateway, &id, size + 1).await);
        assert_eq!(past, (Code::InvalidArgument, "INVALID_FIELD".into()));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_the_record_that_no_message_carries_is_downloaded_too() {
    let settings = RunnerSettings { inline_response_bytes: 1 << 20, ..RunnerSettings::default() };
    let worker = Worker::with(settings);
    let gateway = gateway(&worker);
    let (id, at) = answered(&worker, 100_000).await;
    assert_eq!(at, None);
    let shown = show(&gateway, &id).await.unwrap();
    let (size, sha256, whole, _) = download(&gateway, &id, 0).await.unwrap();
    assert_eq!((shown.size, shown.sha256, shown.message.len()), (size, sha256, 0));
    assert_eq!(whole.len() as u64, size);
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_fits_into_a_message_also_at_the_very_limit() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let mut whole = Vec::new();
    for bytes in (SHOWN as u64 - 100..=SHOWN as u64).step_by(5) {
        let (id, _) = answered(&worker, bytes).await;
        let get = GetResultRequest { id: id.to_string(), wait: None };
        let job = gateway.get_result(request(get)).await.unwrap().into_inner();
        // With room for what other services put around it.
        assert!(job.encoded_len() + 1_000 <= MAX_MESSAGE);
        let Some(job::Outcome::Response(response)) = job.outcome else { panic!("no answer") };
        assert_eq!(response.sha256.is_empty(), !response.message.is_empty());
        whole.push(!response.message.is_empty());
    }
    assert!(whole[0] && !whole[whole.len() - 1] && whole.is_sorted_by(|a, b| a >= b));
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_a_download_says_why() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let precondition = |reason: &str| (Code::FailedPrecondition, reason.to_owned());
    let (id, delivery) = worker.job("Sleep", &sleep_for(9), &Job::default());
    assert_eq!(refused(download(&gateway, &id, 0).await), precondition("NOT_FINISHED"));
    worker.run(&delivery).await;
    let delete = DeleteRequest { id: id.to_string() };
    gateway.delete(request(delete)).await.unwrap();
    let purged = (Code::NotFound, "RESULT_PURGED".to_owned());
    assert_eq!(refused(download(&gateway, &id, 0).await), purged);

    let fail = v1::FailRequest { code: 3, ..Default::default() };
    let (id, delivery) = worker.job("Fail", &fail, &Job::default());
    worker.run(&delivery).await;
    assert_eq!(refused(download(&gateway, &id, 0).await), precondition("NO_RESPONSE"));
    let wanted = DownloadResultRequest { id: "x".into(), offset: 0 };
    let malformed = refused(gateway.download_result(request(wanted)).await);
    assert_eq!(malformed, (Code::InvalidArgument, "MALFORMED_JOB_ID".into()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_missing_or_altered_is_an_error_on_every_way() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let lost = || (Code::DataLoss, "PAYLOAD_LOST".to_owned());
    for bytes in [50_000, LARGE] {
        let (id, at) = answered(&worker, bytes).await;
        let at = at.unwrap();
        let mut other = worker.payloads.get(&at).await.unwrap().to_vec();
        *other.last_mut().unwrap() ^= 1;
        worker.payloads.put(&at.key, other.into()).await.unwrap();
        if bytes == 50_000 {
            assert_eq!(refused(show(&gateway, &id).await), lost());
        } else {
            assert_eq!(show(&gateway, &id).await.unwrap().size, at.size);
        }
        // Only the last byte is wrong, and so it is said at the end.
        let (_, _, _, end) = download(&gateway, &id, 0).await.unwrap();
        assert_eq!(reason(&end.unwrap_err()), lost());
        worker.payloads.put(&at.key, Bytes::from_static(b"short")).await.unwrap();
        assert_eq!(refused(download(&gateway, &id, 1).await), lost());
        worker.payloads.delete(&at.key).await.unwrap();
        assert_eq!(refused(download(&gateway, &id, 0).await), lost());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_out_of_reach_is_had_later_from_where_it_broke() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let unavailable = || (Code::Unavailable, "STORE_UNAVAILABLE".to_owned());
    let (small, _) = answered(&worker, 50_000).await;
    worker.payloads.script([Fault::LoseRequest]);
    assert_eq!(refused(show(&gateway, &small).await), unavailable());
    assert!(show(&gateway, &small).await.is_ok());

    let (id, _) = answered(&worker, LARGE).await;
    worker.payloads.script([Fault::LoseRequest]);
    assert_eq!(refused(download(&gateway, &id, 0).await), unavailable());
    worker.payloads.script([Fault::LoseResponse]);
    let (_, sha256, mut whole, end) = download(&gateway, &id, 0).await.unwrap();
    assert_eq!(reason(&end.unwrap_err()), unavailable());
    assert!(!whole.is_empty(), "what was read before the break is not lost");
    let (_, _, rest, end) = download(&gateway, &id, whole.len() as u64).await.unwrap();
    end.unwrap();
    whole.extend(rest);
    assert_eq!(Sha256::digest(&whole)[..], sha256[..]);
}

#[tokio::test(start_paused = true)]
async fn the_typed_client_gets_an_answer_of_any_size_also_when_streams_break() {
    let worker = Worker::new();
    let identify = |mut request: Request<()>| {
        request.extensions_mut().insert(Identity::trusted("t"));
        Ok(request)
    };
    let server = JobsServer::new(gateway(&worker));
    let client = Client::new(InterceptedService::new(server, identify));
    for bytes in [20_000, LARGE] {
        let (id, _) = answered(&worker, bytes).await;
        worker.payloads.script([Fault::LoseResponse].into_iter().filter(|_| bytes == LARGE));
        let answer: v1::EchoResponse = client.result(&id.to_string()).await.unwrap();
        assert_eq!(answer.payload.len() as u64, bytes);
    }
    let (id, at) = answered(&worker, LARGE).await;
    let other = vec![0; usize::try_from(at.as_ref().unwrap().size).unwrap()];
    worker.payloads.put(&at.unwrap().key, other.into()).await.unwrap();
    let lost = client.result::<v1::EchoResponse>(&id.to_string()).await;
    assert_eq!(refused(lost), (Code::DataLoss, "PAYLOAD_LOST".into()));
}

#[tokio::test(start_paused = true)]
async fn deleting_a_result_drops_its_answer_first() {
    let worker = Worker::new();
    let gateway = gateway(&worker);
    let (id, at) = answered(&worker, LARGE).await;
    let delete = || gateway.delete(request(DeleteRequest { id: id.to_string() }));
    worker.payloads.script([Fault::LoseRequest]);
    assert_eq!(refused(delete().await).0, Code::Unavailable);
    // The repetition finds what is left.
    delete().await.unwrap();
    assert!(matches!(worker.payloads.get(&at.unwrap()).await, Err(PayloadError::Missing(_))));
    assert_eq!(refused(show(&gateway, &id).await).1, "RESULT_PURGED");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_altered_fails_and_one_out_of_reach_costs_no_attempt() {
    let worker = Worker::new();
    let echo = v1::EchoRequest { payload: "hi".into(), ..Default::default() };
    let stored = worker.payloads.put("t/requests/x", echo.encode_to_vec().into()).await.unwrap();
    let by_reference =
        |at: &PayloadRef| worker.job_with("Echo", Payload::RequestRef(at.clone()), &Job::default());
    let (id, delivery) = by_reference(&stored);
    worker.payloads.script([Fault::LoseRequest]);
    redelivered(&worker.run(&delivery).await, Reason::StoreUnavailable);
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let record = worker.record(&id).await.unwrap();
    assert_eq!((record.state, record.attempt), (State::Succeeded, 1));

    let (id, delivery) = by_reference(&stored);
    worker.payloads.put(&stored.key, Bytes::from_static(b"other")).await.unwrap();
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    let ended = worker.ended(&id).await;
    assert_eq!(ended, (State::Failed, Code::DataLoss, "PAYLOAD_LOST".into()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_stored_is_no_end_of_its_job() {
    let worker = Worker::new();
    let request = echo(100_000);
    let (id, delivery) = worker.job("Echo", &request, &Job::default());
    for fault in [Fault::LoseRequest, Fault::LoseResponse] {
        worker.payloads.script([fault]);
        redelivered(&worker.run(&delivery).await, Reason::StoreUnavailable);
        assert_eq!(worker.record(&id).await.unwrap().state, State::Running);
        tokio::time::sleep(Duration::from_secs(60)).await;
    }
    assert_eq!(worker.run(&delivery).await, Verdict::Ack);
    assert_eq!(worker.record(&id).await.unwrap().state, State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn without_a_payload_store_the_record_is_the_limit() {
    let worker = Worker::new();
    let (store, keys) = (worker.store.clone(), worker.keys.clone());
    let routes = queuebridge_demo::routes_with_probe(worker.dir.path());
    let settings = RunnerSettings::default();
    let outbox = Arc::new(NoOutbox);
    let runner = Runner::new(routes, store, None, outbox, keys, worker.clock, settings);
    for (bytes, state) in [(300_000, State::Succeeded), (400_000, State::Failed)] {
        let request = echo(bytes);
        let (id, delivery) = worker.job("Echo", &request, &Job::default());
        let stop = CancellationToken::new();
        assert_eq!(batch::run(&runner, vec![delivery], None, &stop).await, [Verdict::Ack]);
        assert_eq!(worker.record(&id).await.unwrap().state, state);
        if state == State::Failed {
            assert_eq!(worker.ended(&id).await.2, "RESPONSE_TOO_LARGE");
        }
    }
}

/// A store to which writing takes long.
struct Slow(Arc<dyn PayloadStore>, Duration);

#[async_trait]
impl PayloadStore for Slow {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<PayloadRef, PayloadError> {
        tokio::time::sleep(self.1).await;
        self.0.put(key, bytes).await
    }

    async fn get(&self, payload: &PayloadRef) -> Result<Bytes, PayloadError> {
        self.0.get(payload).await
    }

    async fn open(&self, payload: &PayloadRef, offset: u64) -> Result<PayloadStream, PayloadError> {
        self.0.open(payload, offset).await
    }

    async fn delete(&self, key: &str) -> Result<(), PayloadError> {
        self.0.delete(key).await
    }
}

#[tokio::test(start_paused = true)]
async fn the_claim_is_kept_while_a_large_answer_is_stored() {
    let worker = Worker::new();
    let lease = RunnerSettings::default().lease;
    let slow = Arc::new(Slow(worker.payloads.clone(), lease * 10));
    let (store, keys) = (worker.store.clone(), worker.keys.clone());
    let routes = queuebridge_demo::routes_with_probe(worker.dir.path());
    let settings = RunnerSettings::default();
    let outbox = Arc::new(NoOutbox);
    let runner = Runner::new(routes, store, Some(slow), outbox, keys, worker.clock, settings);
    let request = echo(100_000);
    let (id, delivery) = worker.job("Echo", &request, &Job::default());
    let rival = async {
        tokio::time::sleep(lease * 5).await;
        let now = worker.clock.now();
        let until = now.plus(lease);
        let request = ClaimRequest::new("/m", Token::random(), until, Lapsed::Take);
        worker.store.claim(&id, request, now).await.unwrap().claim
    };
    let stop = CancellationToken::new();
    let run = batch::run(&runner, vec![delivery], None, &stop);
    let (verdicts, rival) = tokio::join!(run, rival);
    assert!(matches!(rival, Claim::HeldUntil(_)), "{rival:?}");
    assert_eq!(verdicts, [Verdict::Ack]);
    assert_eq!(worker.record(&id).await.unwrap().state, State::Succeeded);
}
