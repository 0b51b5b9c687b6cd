use super::*;
use crate::cli::connect::Token;
use queuebridge_proto::error;
use queuebridge_proto::v1::jobs_client::JobsClient;
use queuebridge_proto::v1::{Membership, Metadatum, metadatum::Value};
use queuebridge_store::Clock;
use queuebridge_store::memory::MemoryPayloadStore;
use tokio::time::Instant;

fn call(payload: Option<Payload>) -> Call {
    Call {
        job_id: "old".into(),
        method: "/a.B/C".into(),
        payload,
        metadata: vec![Metadatum { key: "k".into(), value: Some(Value::Ascii("v".into())) }],
        ordering_key: "o".into(),
        retry_of: "older".into(),
        ..Call::default()
    }
}

fn submitter(payloads: Option<Arc<dyn PayloadStore>>) -> Submitter {
    let nobody = tonic::transport::Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
    let pace = Pace::per_second(10);
    Submitter {
        jobs: JobsClient::with_interceptor(nobody, Token::default()),
        payloads,
        max_message_bytes: 100,
        pace,
    }
}

fn store() -> Arc<dyn PayloadStore> {
    Arc::new(MemoryPayloadStore::new(Duration::from_secs(60), Clock::system()))
}

#[test]
fn the_new_job_is_as_the_old_one_was_and_names_it() {
    let new = submission(&call(None), Bytes::from_static(b"r"));
    let expected = SubmitRequest {
        method: "/a.B/C".into(),
        request: Bytes::from_static(b"r"),
        metadata: call(None).metadata,
        ordering_key: "o".into(),
        request_id: "replay-old".into(),
        retry_of: "old".into(),
        ..SubmitRequest::default()
    };
    assert_eq!(new, expected);
}

#[tokio::test]
async fn a_stream_is_replayed_as_one_if_it_is_all_there() {
    let whole = Call { request_stream: true, ..call(None) };
    assert!(submission(&whole, Bytes::new()).request_stream);
    assert!(submitter(None).request_of(&whole).await.is_ok());
    let open = Call { request_open: true, ..whole };
    let refused = submitter(None).request_of(&open).await;
    assert!(matches!(refused, Err(Stays::OpenStream)), "{refused:?}");
}

#[test]
fn a_branch_is_replayed_as_a_gather_of_one_and_a_job_of_a_group_by_itself() {
    let of = |group| {
        let gather_method = "/a.B/All".into();
        let of = Membership { gather_method, branch: "7".into(), group, ..Membership::default() };
        let call = Call { membership: Some(Box::new(of)), ..call(None) };
        let new = submission(&call, Bytes::new());
        (new.method, new.gather, new.branches)
    };
    let rule = Some(GatherRule::default());
    assert_eq!(of(false), ("/a.B/All".to_owned(), rule, vec!["7".to_owned()]));
    assert_eq!(of(true), ("/a.B/C".to_owned(), None, vec![]));
}

#[tokio::test]
async fn a_request_is_taken_from_where_it_lies() {
    let payloads = store();
    let stored = payloads.put("t/requests/1", Bytes::from_static(b"large")).await.unwrap();
    let submitter_with = submitter(Some(payloads));
    for (payload, bytes) in [
        (None, &b""[..]),
        (Some(Payload::Request(Bytes::from_static(b"small"))), b"small"),
        (Some(Payload::RequestRef(stored.clone())), b"large"),
    ] {
        let request = submitter_with.request_of(&call(payload)).await.unwrap();
        assert_eq!(request, bytes);
    }
    let reference = |at: PayloadRef| call(Some(Payload::RequestRef(at)));
    let gone = PayloadRef { key: "t/requests/2".into(), ..stored.clone() };
    let gone = submitter_with.request_of(&reference(gone)).await;
    assert!(matches!(gone, Err(Stays::Payload(PayloadError::Missing(_)))));
    let large = PayloadRef { size: 101, ..stored.clone() };
    let large = submitter_with.request_of(&reference(large)).await;
    assert!(matches!(large, Err(Stays::TooLarge(101))));
    let nowhere = submitter(None).request_of(&reference(stored)).await;
    assert!(matches!(nowhere, Err(Stays::NoPayloadStore)));
}

#[test]
fn a_refusal_concerns_the_message_the_moment_or_everything() {
    use reason::{NO_ROUTE, OVERLOADED, PAYLOAD_TOO_LARGE, PUBLISH_FAILED};
    use reason::{PUBLISH_OUTCOME_UNKNOWN, REQUEST_ID_REUSED};
    let busy = Duration::from_millis(250);
    for (expected, status) in [
        (Concern::Message, error::invalid_field("retry_of", "not the id of a job here")),
        (Concern::Message, error::status(Code::NotFound, NO_ROUTE, "")),
        (Concern::Message, error::status(Code::ResourceExhausted, PAYLOAD_TOO_LARGE, "")),
        (Concern::Message, error::status(Code::AlreadyExists, REQUEST_ID_REUSED, "")),
        (Concern::Message, error::status(Code::Internal, PUBLISH_FAILED, "")),
        (Concern::Moment, error::retry_after(Code::ResourceExhausted, OVERLOADED, "", busy)),
        (Concern::Moment, error::status(Code::Unavailable, PUBLISH_OUTCOME_UNKNOWN, "")),
        (Concern::Moment, Status::deadline_exceeded("")),
        (Concern::Gateway, Status::unimplemented("no such service")),
        (Concern::Gateway, Status::unauthenticated("")),
    ] {
        assert_eq!(concern(&status), expected, "{status:?}");
    }
    let busy_status = error::retry_after(Code::ResourceExhausted, OVERLOADED, "", busy);
    assert_eq!(pushback(&busy_status), Some(busy));
    assert_eq!(pushback(&error::do_not_retry(Status::unavailable(""))), None);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_cannot_be_reached_ends_the_replay_after_some_tries() {
    let parked = super::super::parked::tests::received(queuebridge_proto::envelope::seal(
        &call(None),
        &super::super::parked::tests::keys(),
    ));
    let parked = super::super::parked::tests::opened(parked);
    let begun = Instant::now();
    let ended = submitter(None).submit(&parked, &CancellationToken::new()).await;
    assert!(matches!(ended, Err(Failure::Call(_))));
    let pauses = FIRST_PAUSE * (1 + 2 + 4 + 8);
    assert!(begun.elapsed() >= pauses);

    let stopped = CancellationToken::new();
    stopped.cancel();
    let ended = submitter(None).submit(&parked, &stopped).await;
    assert!(matches!(ended, Ok(Submitted::Stopped)));
}

#[tokio::test(start_paused = true)]
async fn the_pace_is_kept_by_all_who_ask_at_once_and_lost_time_is_not_made_up_for() {
    let pace = Pace::per_second(4);
    let begun = Instant::now();
    futures_util::future::join_all((0..9).map(|_| pace.turn())).await;
    assert_eq!(begun.elapsed().as_millis(), 2000);
    sleep(Duration::from_secs(10)).await;
    let again = Instant::now();
    futures_util::future::join_all((0..5).map(|_| pace.turn())).await;
    assert!(again.elapsed() >= Duration::from_millis(1000));
}
