//! Who can write the table makes nobody see, tell or join what is not theirs.

use super::groups::{batch, work_all, world};
use super::losses::{ill, told};
use super::world::{METHOD, World, webhook};
use super::*;
use queuebridge_gateway::auth::{Grant, Rights, Verb};
use queuebridge_gateway::identity::Identity;
use queuebridge_gateway::publish::PublishError;
use queuebridge_proto::error::reason;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::v1::callback::Target;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::{Callback, GatherPlan, Group};
use queuebridge_proto::{JobId, stored};
use queuebridge_store::{Accepted, GatherStore, NewSubmission, SubmissionStore};
use sha2::{Digest, Sha256};
use tonic::{Request, Status};
use uuid::Uuid;

const LOST: (Code, &str) = (Code::DataLoss, reason::RECORD_NOT_AUTHENTIC);

fn is_lost(status: &Status) {
    assert_eq!(told(status), (LOST.0, LOST.1.to_owned()));
}

fn with(request_id: &str) -> SubmitRequest {
    SubmitRequest { request_id: request_id.into(), ..plain() }
}

async fn submit_as(
    world: &World,
    (tenant, subject): (&str, &str),
    request: SubmitRequest,
) -> Result<Job, Status> {
    let mut request = Request::new(SubmitRequest { method: METHOD.into(), ..request });
    request.extensions_mut().insert(Identity::new(tenant, subject, Rights::all()));
    world.service.submit(request).await.map(tonic::Response::into_inner)
}

/// The key of a request id of tenant `t`.
fn key(request_id: &str) -> [u8; 32] {
    key_of(METHOD, request_id)
}

fn key_of(method: &str, request_id: &str) -> [u8; 32] {
    Sha256::digest(["t", method, request_id].join("\0")).into()
}

/// What stands under the request id, written to another one with the id of another job.
async fn copy(world: &World, from: &str, to: &str, job: &JobId, forged: bool, published: bool) {
    copy_key(world, [key(from), key(to)], job, forged, published).await;
}

async fn copy_key(
    world: &World,
    [from, to]: [[u8; 32]; 2],
    job: &JobId,
    forged: bool,
    published: bool,
) {
    let now = world.clock.now();
    let found = world.store.find(&from, now).await.unwrap().unwrap();
    let Accepted::Existing { digest, owner: Some(owner), mac, .. } = found else { panic!() };
    let made = stored::Submission { key: &to, job, digest: &digest, owner: &owner };
    let made = made.mac(&world.keys);
    let mac = if forged { &mac[..] } else { &made };
    let new = NewSubmission { job, digest: &digest, owner: &owner, mac };
    assert_eq!(world.store.accept(&to, new, now).await.unwrap(), Accepted::New);
    if published {
        world.store.mark_published(&to, now).await.unwrap();
    }
}

/// A gather that no gateway has begun.
fn gather(world: &World) -> JobId {
    let now = world.clock.now();
    let claims = Claims {
        uuid: Uuid::now_v7(),
        tenant: "t",
        method: METHOD,
        expires_at: now.plus(secs(600)),
        retention: secs(600),
        at_least_once: false,
        reply_shard: None,
    };
    JobId::mint_gather(&claims, &world.keys)
}

fn elsewhere() -> Option<Callback> {
    let target = Some(Target::WebhookUrl("https://elsewhere.example/".into()));
    Some(Callback { target })
}

#[tokio::test(start_paused = true)]
async fn a_request_id_does_not_lead_to_a_job_of_another_tenant() {
    let world = world();
    let victim = submit_as(&world, ("u", "ann"), plain()).await.unwrap();
    work_all(&world).await;
    world.submit(with("x")).await.unwrap();
    let victim = JobId::parse_trusted(&victim.id).unwrap();
    for (to, forged) in [("y", true), ("z", false)] {
        copy(&world, "x", to, &victim, forged, true).await;
        is_lost(&world.submit(with(to)).await.unwrap_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_id_does_not_make_another_subjects_job_ones_own() {
    let world = world();
    let victim = submit_as(&world, ("t", "ann"), plain()).await.unwrap();
    work_all(&world).await;
    world.submit(with("x")).await.unwrap();
    let id = JobId::parse_trusted(&victim.id).unwrap();
    copy(&world, "x", "y", &id, true, true).await;
    copy(&world, "x", "z", &id, true, false).await;
    // The same subject as before, which may submit and not read.
    let submitters = Grant {
        roles: Vec::new(),
        methods: vec![METHOD.parse().unwrap()],
        verbs: vec![Verb::Submit],
    };
    let blind = |request_id| {
        let mut request = Request::new(SubmitRequest { method: METHOD.into(), ..with(request_id) });
        let rights = Rights::of(&[], std::slice::from_ref(&submitters));
        request.extensions_mut().insert(Identity::new("t", "anonymous", rights));
        world.service.submit(request)
    };
    // It is shown that it was accepted, and nothing that it has said.
    let shown = blind("y").await.unwrap().into_inner();
    assert_eq!((shown.id, shown.outcome), (victim.id, None));
    // It is not published once more by somebody else.
    let sent = world.station("w").queue.totals().sent;
    let unknown = (Code::Unavailable, reason::PUBLISH_OUTCOME_UNKNOWN.to_owned());
    assert_eq!(told(&blind("z").await.unwrap_err()), unknown);
    assert_eq!(world.station("w").queue.totals().sent, sent);
}

#[tokio::test(start_paused = true)]
async fn a_groups_request_id_leads_to_what_a_gateway_has_recorded() {
    let world = world();
    let victim = submit_as(&world, ("t", "ann"), plain()).await.unwrap();
    let begin = |id: &str| Group { request_id: id.into(), callback: webhook(), ..Group::default() };
    batch(&world, 1, begin("x")).await.unwrap();
    let keys = ["x", "y"].map(|id| key_of(&format!("group {METHOD}"), id));
    let victim = JobId::parse_trusted(&victim.id).unwrap();
    copy_key(&world, keys, &victim, true, false).await;
    is_lost(&batch(&world, 1, begin("y")).await.unwrap_err());
    assert_eq!(world.store.plan(&victim, world.clock.now()).await.unwrap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_joined_and_told_only_by_the_plan_that_a_gateway_has_written() {
    let world = world();
    let begun = Group { total: 3, callback: webhook(), ..Group::default() };
    let own = batch(&world, 1, begun).await.unwrap().group.unwrap().id;
    let own = JobId::parse_trusted(&own).unwrap();
    let now = world.clock.now();
    let plan = world.store.plan(&own, now).await.unwrap().unwrap();
    world.callbacks().await;
    for plan in [
        GatherPlan { callback: elsewhere(), ..plan.clone() },
        GatherPlan { callback: elsewhere(), mac: Vec::new().into(), ..plan.clone() },
        // That of another group.
        plan,
    ] {
        let id = gather(&world);
        world.store.open(&id, &plan, now).await.unwrap();
        let sent = world.station("w").queue.totals().sent;
        let next = Group { id: id.to_string(), first: 1, ..Group::default() };
        is_lost(&batch(&world, 1, next).await.unwrap_err());
        assert_eq!(world.station("w").queue.totals().sent, sent);
        world.cancel(&id.to_string()).await.unwrap();
        assert_eq!(world.callbacks().await.1, Vec::<String>::new());
    }
    world.cancel(&own.to_string()).await.unwrap();
    assert_eq!(world.callbacks().await.1, [own.to_string()]);
}

#[tokio::test(start_paused = true)]
async fn a_job_is_sent_to_the_branches_that_a_gateway_has_written_down() {
    let world = ill(&[], PublishError::Unknown("lost".into()), false).0.build();
    let first = world.submit(with("x")).await.unwrap();
    let first = JobId::parse_trusted(&first.id).unwrap();
    let (id, now) = (gather(&world), world.clock.now());
    let plan = world.store.plan(&first, now).await.unwrap().unwrap();
    world.store.open(&id, &GatherPlan { callback: elsewhere(), ..plan }, now).await.unwrap();
    copy(&world, "x", "y", &id, false, false).await;
    is_lost(&world.submit(with("y")).await.unwrap_err());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_for_the_subject_whose_job_it_is() {
    let world = ill(&[2], PublishError::Unknown("lost".into()), false).0.build();
    let facts = |status: Status| {
        assert_eq!(told(&status), (Code::Unavailable, reason::PUBLISH_OUTCOME_UNKNOWN.into()));
        status.get_details_error_info().unwrap().metadata
    };
    let own = facts(submit_as(&world, ("t", "ann"), with("x")).await.unwrap_err());
    let other = facts(submit_as(&world, ("t", "bob"), with("x")).await.unwrap_err());
    assert_eq!(other["job_id"], own["job_id"]);
    assert!(own.contains_key("resubmit_token") && !other.contains_key("resubmit_token"));
}
