//! What nobody knows is sent again by a token, which is a right to that and to nothing else.

use super::losses::{ill, told};
use super::world::{METHOD, World, webhook};
use super::*;
use queuebridge_gateway::auth::Rights;
use queuebridge_gateway::identity::Identity;
use queuebridge_gateway::publish::PublishError;
use queuebridge_proto::error::reason;
use queuebridge_proto::v1::Metadatum;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::metadatum::Value;
use std::sync::atomic::Ordering;
use tokio::time::advance;
use tonic::{Request, Status};

/// A job of which one queue has taken nothing, by its caller's knowledge: its id and token.
async fn unknown(request: SubmitRequest) -> (World, String, String) {
    let (plan, flag) = ill(&[2], PublishError::Unknown("lost".into()), false);
    let world = plan.build();
    let status = world.submit(request).await.unwrap_err();
    assert_eq!(told(&status), (Code::Unavailable, reason::PUBLISH_OUTCOME_UNKNOWN.into()));
    flag.store(false, Ordering::Relaxed);
    let facts = status.get_details_error_info().unwrap().metadata;
    (world, facts["job_id"].clone(), facts["resubmit_token"].clone())
}

fn metadatum(key: &str, value: &str) -> Metadatum {
    Metadatum { key: key.into(), value: Some(Value::Ascii(value.into())) }
}

fn full() -> SubmitRequest {
    SubmitRequest {
        metadata: vec![metadatum("x-user", "ann"), metadatum("traceparent", "00-1-1-01")],
        callback: webhook(),
        gather: Some(need(2)),
        branches: THREE.map(str::to_owned).into(),
        ..plain()
    }
}

fn sent(world: &World) -> u64 {
    THREE.iter().map(|name| world.station(name).queue.totals().sent).sum()
}

fn is_refused(status: &Status) {
    let expected = (Code::InvalidArgument, reason::RESUBMIT_TOKEN_INVALID.to_owned());
    assert_eq!(told(status), expected);
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations[0].field, "resubmit_token");
}

#[tokio::test(start_paused = true)]
async fn a_token_holds_for_the_same_submission_only() {
    let (world, id, token) = unknown(full()).await;
    let before = sent(&world);
    let again = || SubmitRequest { resubmit_token: token.clone(), ..full() };
    let delay = Some(prost_types::Duration { seconds: 1, nanos: 0 });
    let changed = [
        SubmitRequest { request: vec![8].into(), ..again() },
        SubmitRequest { metadata: vec![metadatum("x-user", "bob")], ..again() },
        SubmitRequest { metadata: Vec::new(), ..again() },
        SubmitRequest { callback: None, ..again() },
        SubmitRequest { gather: Some(need(1)), ..again() },
        SubmitRequest { gather: None, ..again() },
        SubmitRequest { branches: vec!["a".into(), "b".into()], ..again() },
        SubmitRequest { retry_of: id.clone(), ..again() },
        SubmitRequest { delay, ..again() },
    ];
    for request in changed {
        is_refused(&world.submit(request).await.unwrap_err());
    }
    for no_token in [id.clone(), token[1..].to_owned(), format!("{token}A"), "-".into()] {
        let request = SubmitRequest { resubmit_token: no_token, ..full() };
        is_refused(&world.submit(request).await.unwrap_err());
    }
    assert_eq!(sent(&world), before, "nothing of that was sent");
    // Another trace is the same submission.
    let mut same = again();
    same.metadata[1] = metadatum("traceparent", "00-2-2-01");
    same.branches.reverse();
    assert_eq!(world.submit(same).await.unwrap().id, id);
    for name in THREE {
        world.work(name).await;
    }
    assert_eq!(THREE.map(|name| world.script.calls_of(name)), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_token_holds_for_the_same_subject_only() {
    let (world, _, token) = unknown(full()).await;
    let before = sent(&world);
    for (tenant, subject) in [("t", "somebody else"), ("u", "anonymous")] {
        let request = SubmitRequest { resubmit_token: token.clone(), ..full() };
        let mut request = Request::new(SubmitRequest { method: METHOD.into(), ..request });
        request.extensions_mut().insert(Identity::new(tenant, subject, Rights::all()));
        is_refused(&world.service.submit(request).await.unwrap_err());
    }
    assert_eq!(sent(&world), before);
}

#[tokio::test(start_paused = true)]
async fn an_id_is_no_right_to_submit_under_it() {
    let (world, id, _) = unknown(full()).await;
    let before = sent(&world);
    let status = world.submit(SubmitRequest { job_id: id, ..full() }).await.unwrap_err();
    assert_eq!(told(&status), (Code::InvalidArgument, reason::INVALID_FIELD.into()));
    assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "job_id");
    assert_eq!(sent(&world), before);
}

#[tokio::test(start_paused = true)]
async fn once_its_time_is_over_a_token_leads_to_what_stands() {
    let (world, id, token) = unknown(full()).await;
    let again = SubmitRequest { resubmit_token: token, ..full() };
    for name in THREE {
        world.work(name).await;
    }
    let done = world.submit(again.clone()).await.unwrap();
    assert_eq!((done.id.as_str(), done.state()), (id.as_str(), State::Succeeded));
    for name in THREE {
        world.work(name).await;
    }
    assert_eq!(THREE.map(|name| world.script.calls_of(name)), [1, 1, 1]);
    let before = sent(&world);
    advance(secs(4 * 3600)).await;
    let done = world.submit(again).await.unwrap();
    assert_eq!((done.id.as_str(), done.state()), (id.as_str(), State::Succeeded));
    assert_eq!(sent(&world), before, "no copy of it could run");
}
