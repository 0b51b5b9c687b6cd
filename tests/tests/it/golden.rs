//! The wire: what version 1 writes is pinned byte for byte, and stays readable.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use prost::Message;
use queuebridge_proto::encryption::DataKey;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::resubmit::{self, Bound};
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::metadatum::Value;
use queuebridge_proto::v1::{
    Addressee, Announcement, Announcements, AttemptRules, Call, Callback, CallbackMessage,
    FinishedJob, GatherPlan, GatherReport, GatherRule, Guarantee, LateBranches, Membership,
    Metadatum, Origin, Outcome, PayloadRef, PlannedBranch, State, TraceContext, WrappedKey,
    callback, callback_message, outcome,
};
use queuebridge_proto::{JobId, Keyring, UnixMillis, envelope, reply};
use std::time::Duration;

const JOB_ID: &str = include_str!("../../fixtures/wire/v1/ids/job_id.txt");
/// As ids were before the tag of their tenant was a keyed one. Nobody can ask for these jobs
/// any more; they still run.
const EARLIER_JOB_ID: &str = include_str!("../../fixtures/wire/v1/job_id.txt");
const EARLIER_GATHER_IDS: &str = include_str!("../../fixtures/wire/v1/gather_ids.txt");
const ENVELOPE: &str = include_str!("../../fixtures/wire/v1/envelope.txt");
const ENVELOPE_BY_REFERENCE: &str =
    include_str!("../../fixtures/wire/v1/envelope_by_reference.txt");
const CALLBACK: &str = include_str!("../../fixtures/wire/v1/callback.txt");
const ENVELOPE_ZSTD: &str = include_str!("../../fixtures/wire/v1/envelope_zstd.txt");
const ENVELOPE_ENCRYPTED: &str = include_str!("../../fixtures/wire/v1/envelope_encrypted.txt");
const JOB_ID_ANNOUNCED: &str = include_str!("../../fixtures/wire/v1/ids/job_id_announced.txt");
const ANNOUNCEMENTS: &str = include_str!("../../fixtures/wire/v1/announcements.txt");
const OUTCOME: &str = include_str!("../../fixtures/wire/v1/outcome.txt");
const GATHER_IDS: &str = include_str!("../../fixtures/wire/v1/ids/gather_ids.txt");
const ENVELOPE_TOPIC: &str = include_str!("../../fixtures/wire/v1/envelope_topic.txt");
const ENVELOPE_BRANCH: &str = include_str!("../../fixtures/wire/v1/envelope_branch.txt");
const OUTCOME_GATHER: &str = include_str!("../../fixtures/wire/v1/outcome_gather.txt");
const RESUBMIT_TOKEN: &str = include_str!("../../fixtures/wire/v1/ids/resubmit_token.txt");
const ORIGIN: &str = include_str!("../../fixtures/wire/v1/origin.txt");
const OUTCOME_ERROR: &str = include_str!("../../fixtures/wire/v1/outcome_error.txt");

fn keys() -> Keyring {
    Keyring::parse("7:MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=").unwrap()
}

fn job_id() -> JobId {
    job_id_on(None)
}

fn job_id_on(reply_shard: Option<u8>) -> JobId {
    let claims = Claims {
        uuid: uuid::Uuid::parse_str("018bcfe5-6800-7abc-8def-0123456789ab").unwrap(),
        tenant: "acme",
        method: "/queuebridge.demo.v1.Images/Thumbnail",
        expires_at: UnixMillis(1_700_000_600_000),
        retention: Duration::from_secs(86_400),
        at_least_once: false,
        reply_shard,
    };
    JobId::mint(&claims, &keys())
}

fn metadata() -> Vec<Metadatum> {
    let entry = |key: &str, value| Metadatum { key: key.into(), value: Some(value) };
    vec![
        entry("x-team", Value::Ascii("photos".into())),
        entry("x-trace-bin", Value::Binary(Bytes::from_static(&[0, 255, 16]))),
    ]
}

fn call(payload: Payload) -> Call {
    let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
    Call {
        job_id: EARLIER_JOB_ID.trim().into(),
        method: "/queuebridge.demo.v1.Images/Thumbnail".into(),
        tenant: "acme".into(),
        payload: Some(payload),
        metadata: metadata(),
        attempts: Some(AttemptRules {
            max_attempts: 5,
            retry_on: vec![14, 10],
            initial_backoff: seconds(1),
            max_backoff: seconds(300),
        }),
        publish_number: 1,
        guarantee: Guarantee::Claimed as i32,
        trace: Some(TraceContext {
            traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into(),
            tracestate: "a=b".into(),
        }),
        ordering_key: "album-1".into(),
        ..Call::default()
    }
}

fn reference() -> PayloadRef {
    PayloadRef {
        key: "acme/requests/018bcfe568007abc8def0123456789ab".into(),
        size: 1_048_577,
        sha256: Bytes::from_static(&[0xab; 32]),
        ..PayloadRef::default()
    }
}

fn outcome() -> Outcome {
    Outcome {
        result: Some(outcome::Result::Response(Bytes::from_static(b"\x08\x96\x01"))),
        initial_metadata: vec![metadata()[0].clone()],
        trailing_metadata: vec![metadata()[1].clone()],
        ..Outcome::default()
    }
}

fn outcome_error() -> Outcome {
    let status = queuebridge_proto::error::invalid_field("image", "not a picture");
    queuebridge_proto::outcome::failure(&status, &tonic::metadata::MetadataMap::new())
}

#[test]
fn job_ids() {
    assert_eq!(job_id().to_string(), JOB_ID.trim());
    assert_eq!(JobId::verify(JOB_ID.trim(), "acme", &keys()).unwrap(), job_id());
}

#[test]
fn jobs_with_ids_of_before_run_and_cannot_be_asked_for() {
    for id in [EARLIER_JOB_ID].into_iter().chain(EARLIER_GATHER_IDS.lines()).map(str::trim) {
        assert_eq!(JobId::parse_trusted(id).unwrap().to_string(), id);
        assert!(JobId::verify(id, "acme", &keys()).is_err());
    }
}

#[test]
fn job_ids_with_a_reply_shard() {
    assert_eq!(job_id_on(Some(5)).to_string(), JOB_ID_ANNOUNCED.trim());
    let id = JobId::verify(JOB_ID_ANNOUNCED.trim(), "acme", &keys()).unwrap();
    assert_eq!((id.reply_shard(), id.at_least_once()), (Some(5), false));
}

#[test]
fn resubmit_tokens() {
    let bound = Bound { tenant: "acme", owner: &[0xaa; 16], digest: &[0xdd; 32] };
    assert_eq!(resubmit::token(&job_id(), &bound, &keys()), RESUBMIT_TOKEN.trim());
    assert_eq!(resubmit::verify(RESUBMIT_TOKEN.trim(), &bound, &keys()), Some(job_id()));
}

#[test]
fn origins() {
    let target = Some(callback::Target::WebhookUrl("https://example.com/hook".into()));
    let origin = Origin {
        callback: Some(Callback { target }),
        membership: Some(Box::new(membership())),
        request_key: reference().key,
        ..Origin::default()
    };
    assert_eq!(STANDARD.encode(origin.encode_to_vec()), ORIGIN.trim());
    assert_eq!(Origin::decode(&STANDARD.decode(ORIGIN.trim()).unwrap()[..]).unwrap(), origin);
}

fn gather_id() -> JobId {
    let claims = Claims {
        uuid: uuid::Uuid::parse_str("018bcfe5-6800-7abc-8def-0123456789ab").unwrap(),
        tenant: "acme",
        method: "/queuebridge.demo.v1.Images/Analyze",
        expires_at: UnixMillis(1_700_000_060_000),
        retention: Duration::from_secs(86_400),
        at_least_once: false,
        reply_shard: Some(5),
    };
    JobId::mint_gather(&claims, &keys())
}

fn branch_id(index: u32) -> JobId {
    let method = "/queuebridge.demo.v1.Images/Thumbnail";
    gather_id().branch(index, method, UnixMillis(1_700_000_600_000)).signed(&keys())
}

fn earlier_gather_id() -> String {
    EARLIER_GATHER_IDS.lines().next().unwrap_or_default().to_owned()
}

fn earlier_branch_id(index: u32) -> String {
    let second = "AQcAAYvP5WgAhmqIzfncIHn5XIIrM62LhSreAYvP7o_AAAFT2L9bir6zmNVrNP3dA18NHcw";
    match index {
        0 => EARLIER_GATHER_IDS.lines().nth(1).unwrap_or_default().to_owned(),
        _ => second.to_owned(),
    }
}

fn rule() -> GatherRule {
    GatherRule {
        need: 2,
        deadline: Some(prost_types::Duration { seconds: 60, nanos: 0 }),
        partial: true,
        success_codes: vec![0, 5],
        late_branches: LateBranches::Ignore as i32,
        cancel_rest: true,
        answer: Some(Answer::Primary("thumbnail".into())),
    }
}

fn membership() -> Membership {
    Membership {
        gather_id: earlier_gather_id(),
        gather_method: "/queuebridge.demo.v1.Images/Analyze".into(),
        rule: Some(rule()),
        total: 2,
        primary: 1,
        ..Membership::default()
    }
}

#[test]
fn ids_of_gathers_and_their_branches() {
    let ids = format!("{}\n{}\n{}", gather_id(), branch_id(0), branch_id(300));
    assert_eq!(ids, GATHER_IDS.trim());
    for id in ids.lines() {
        assert_eq!(JobId::verify(id, "acme", &keys()).unwrap().to_string(), id);
    }
}

#[test]
fn envelopes_of_branches() {
    let addressee = |index: u32, branch: &str, method: &str| Addressee {
        branch: branch.into(),
        job_id: earlier_branch_id(index),
        method: method.into(),
    };
    let thumbnail = "/queuebridge.demo.v1.Images/Thumbnail";
    let addressees = vec![addressee(0, "thumbnail", thumbnail), addressee(1, "other", "")];
    let request = || Payload::Request(Bytes::from_static(b"\x0a\x03abc"));
    let copied = Call {
        job_id: earlier_gather_id(),
        method: "/queuebridge.demo.v1.Images/Analyze".into(),
        membership: Some(Box::new(Membership { addressees, ..membership() })),
        ..call(request())
    };
    let own = Membership { index: 1, branch: "other".into(), ..membership() };
    let own =
        Call { job_id: earlier_branch_id(1), membership: Some(Box::new(own)), ..call(request()) };
    for (call, golden) in [(copied, ENVELOPE_TOPIC), (own, ENVELOPE_BRANCH)] {
        assert_eq!(envelope::open(golden.trim(), &keys()).unwrap(), call);
        assert_eq!(open_again(&call), call);
    }
}

/// Large enough to be compressed, which is the writer's own choice.
fn open_again(call: &Call) -> Call {
    envelope::open(&envelope::seal(call, &keys()), &keys()).unwrap()
}

#[test]
fn plans_and_reports() {
    let plan = GatherPlan {
        rule: Some(rule()),
        tenant: "acme".into(),
        method: "/queuebridge.demo.v1.Images/Analyze".into(),
        branches: vec![PlannedBranch {
            name: "thumbnail".into(),
            method: "/queuebridge.demo.v1.Images/Thumbnail".into(),
        }],
        expires_at: 1_700_000_600_000,
        callback: None,
        ..GatherPlan::default()
    };
    let branch = FinishedJob {
        state: State::Succeeded as i32,
        attempt: 1,
        started_at: 1_700_000_001_000,
        completed_at: 1_700_000_002_000,
        outcome: Some(outcome()),
        ..FinishedJob::default()
    };
    let report = GatherReport {
        plan: Some(plan),
        decided_by: 1,
        branches: vec![branch],
        ..GatherReport::default()
    };
    let outcome = Outcome { gather: Some(Box::new(report)), ..outcome() };
    assert_eq!(STANDARD.encode(outcome.encode_to_vec()), OUTCOME_GATHER.trim());
    let bytes = STANDARD.decode(OUTCOME_GATHER.trim()).unwrap();
    assert_eq!(Outcome::decode(&bytes[..]).unwrap(), outcome);
}

#[test]
fn announcements() {
    let finished = FinishedJob {
        state: State::Succeeded as i32,
        method: "/queuebridge.demo.v1.Images/Thumbnail".into(),
        attempt: 2,
        started_at: 1_700_000_001_000,
        completed_at: 1_700_000_002_000,
        outcome: Some(outcome()),
    };
    let job = Bytes::copy_from_slice(job_id().uuid().as_bytes());
    let known =
        Announcement { job: job.clone(), finished: Some(finished), ..Announcement::default() };
    let announcements =
        Announcements { jobs: vec![known, Announcement { job, ..Announcement::default() }] };
    assert_eq!(reply::seal(&announcements, &keys()), ANNOUNCEMENTS.trim());
    assert_eq!(reply::open(ANNOUNCEMENTS.trim(), &keys()).unwrap(), announcements);
}

#[test]
fn callbacks() {
    let target = Some(callback::Target::WebhookUrl("https://example.com/hook".into()));
    let message = CallbackMessage {
        kind: callback_message::Kind::Timer as i32,
        job_id: EARLIER_JOB_ID.trim().into(),
        method: "/queuebridge.demo.v1.Images/Thumbnail".into(),
        tenant: "acme".into(),
        callback: Some(Callback { target }),
        tries: 3,
        not_before: Some(UnixMillis(1_700_000_602_000).to_proto()),
        reply_shard: "https://sqs.us-east-1.amazonaws.com/1/replies-0".into(),
    };
    assert_eq!(queuebridge_proto::callback::seal(&message, &keys()), CALLBACK.trim());
    assert_eq!(queuebridge_proto::callback::open(CALLBACK.trim(), &keys()).unwrap(), message);
}

#[test]
fn envelopes() {
    let inline = call(Payload::Request(Bytes::from_static(b"\x0a\x03abc")));
    let by_reference = call(Payload::RequestRef(reference()));
    for (call, golden) in [(inline, ENVELOPE), (by_reference, ENVELOPE_BY_REFERENCE)] {
        assert_eq!(envelope::seal(&call, &keys()), golden.trim());
        assert_eq!(envelope::open(golden.trim(), &keys()).unwrap(), call);
    }
}

/// What a writer compresses is its own choice; that a reader understands it is not.
#[test]
fn a_compressed_envelope() {
    let request = Bytes::from(b"0123456789".repeat(200));
    let expected = call(Payload::Request(request));
    assert_eq!(envelope::open(ENVELOPE_ZSTD.trim(), &keys()).unwrap(), expected);
    assert!(envelope::seal(&expected, &keys()).len() < 1000);
}

/// The bytes were made by another implementation, from what `encryption.proto` says.
#[test]
fn an_encrypted_envelope() {
    let expected = call(Payload::Request(Bytes::from_static(b"\x0a\x03abc")));
    let wrapped = WrappedKey {
        key_id: "arn:aws:kms:eu-central-1:123456789012:key/a".into(),
        wrapped: Bytes::from_static(b"wrapped"),
    };
    let key = DataKey::new(wrapped, [5; 32].into());
    let sealed = envelope::seal_with(&expected, &keys(), Some((&key, [6; 32])));
    assert_eq!(sealed, ENVELOPE_ENCRYPTED.trim());
    let authentic = envelope::authenticate::<Call>(ENVELOPE_ENCRYPTED.trim(), &keys()).unwrap();
    assert_eq!(authentic.data_key(), Some(key.wrapped()));
    assert_eq!(authentic.read(Some(&key)), Ok(expected));
}

#[test]
fn outcomes() {
    for (outcome, golden) in [(outcome(), OUTCOME), (outcome_error(), OUTCOME_ERROR)] {
        assert_eq!(STANDARD.encode(outcome.encode_to_vec()), golden.trim());
        let bytes = STANDARD.decode(golden.trim()).unwrap();
        assert_eq!(Outcome::decode(&bytes[..]).unwrap(), outcome);
    }
}
