//! The jobs of groups: which may join, how they fail, and what is counted of them.

use super::groups::{accepted, batch, jobs, submit, work_all, world};
use super::scripted::Act;
use super::world::{METHOD, Plan, Way, World};
use super::*;
use queuebridge_gateway::auth::{Grant, Rights, Verb};
use queuebridge_gateway::config::MethodPattern;
use queuebridge_gateway::identity::Identity;
use queuebridge_proto::JobId;
use queuebridge_proto::envelope;
use queuebridge_proto::error::reason;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::{Group, SubmitBatchRequest, SubmitBatchResponse, submit_result};
use queuebridge_store::GatherStore;
use queuebridge_store::testing::Fault;
use std::time::Duration;
use tokio::time::advance;
use tonic::{Request, Status};

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn told(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().unwrap().reason)
}

fn field(status: &Status) -> String {
    status.get_details_bad_request().unwrap().field_violations[0].field.clone()
}

/// A batch of one job with a delay.
async fn delayed(world: &World, delay: i64, group: Group) -> SubmitBatchResponse {
    let mut jobs = jobs(1);
    jobs[0].delay = seconds(delay);
    let request = SubmitBatchRequest { jobs, group: Some(group) };
    world.service.submit_batch(world.asking(request)).await.unwrap().into_inner()
}

#[tokio::test(start_paused = true)]
async fn a_batch_whose_jobs_are_sent_is_answered_whatever_the_last_look_finds() {
    for call in 0..4 {
        let world = world();
        world.store.script(vec![Fault::None; call]);
        world.store.script([Fault::LoseRequest]);
        match batch(&world, 3, Group::default()).await {
            Ok(response) => assert_eq!(accepted(&response).len(), 3),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable);
                assert_eq!(world.station("w").queue.totals().sent, 0, "fault of call {call}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_group_can_be_joined() {
    let branches = Plan::new(Way::Topic, &THREE, need(0)).build();
    let job = branches.submit(plain()).await.unwrap();
    let group = Group { id: job.id, ..Group::default() };
    assert_eq!(field(&batch(&branches, 1, group).await.unwrap_err()), "group.id");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_over_takes_no_jobs() {
    let (world, over) = (world(), (Code::FailedPrecondition, reason::GROUP_OVER.to_owned()));
    let begin = || Group { total: 3, expire_after: seconds(60), ..Group::default() };
    let next = |id: &str| Group { id: id.into(), first: 1, ..Group::default() };
    let id = batch(&world, 1, begin()).await.unwrap().group.unwrap().id;
    assert!(batch(&world, 1, next(&id)).await.is_ok());
    world.cancel(&id).await.unwrap();
    assert_eq!(told(&batch(&world, 1, next(&id)).await.unwrap_err()), over);
    let id = batch(&world, 1, begin()).await.unwrap().group.unwrap().id;
    advance(secs(60)).await;
    assert_eq!(told(&batch(&world, 1, next(&id)).await.unwrap_err()), over);
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_a_group_that_has_succeeded_is_one_that_was_sent_before() {
    let world = world();
    let first = batch(&world, 3, Group::default()).await.unwrap();
    let id = first.group.as_ref().unwrap().id.clone();
    work_all(&world).await;
    let again = batch(&world, 3, Group { id, ..Group::default() }).await.unwrap();
    assert_eq!(accepted(&again), accepted(&first));
    work_all(&world).await;
    assert_eq!(world.script.methods().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_measured_by_the_group_and_not_by_the_route() {
    let mut plan = Plan::new(Way::Queues, &["w"], need(0));
    plan.route = |route| {
        route.fan_out = None;
        route.destination = queuebridge_gateway::config::Destination::Queue("q".into());
        route.default_expiry = Duration::from_secs(60);
    };
    let world = plan.build();
    let long = Group { expire_after: seconds(3600), ..Group::default() };
    let response = delayed(&world, 300, long.clone()).await;
    assert_eq!(accepted(&response).len(), 1);
    let rule = Some(GatherRule { deadline: seconds(200), ..need(0) });
    let response = delayed(&world, 300, Group { rule, ..long }).await;
    let Some(submit_result::Result::Error(status)) = &response.results[0].result else { panic!() };
    assert_eq!(field(&queuebridge_proto::outcome::from_rpc_status(status)), "delay");
}

#[tokio::test(start_paused = true)]
async fn what_ends_after_the_deadline_is_not_counted_by_whoever_looks_later() {
    let world = world();
    let rule = Some(GatherRule { partial: true, deadline: seconds(60), ..need(0) });
    let (id, _) = submit(&world, 300, Group { rule, ..Group::default() }).await;
    for _ in 0..10 {
        world.work("w").await;
    }
    advance(secs(60)).await;
    work_all(&world).await;
    advance(CLOCK_SKEW).await;
    let done = world.get(&id).await.unwrap();
    let gather = done.gather.clone().unwrap();
    assert_eq!((done.state(), gather.succeeded, gather.failed), (State::Succeeded, 100, 0));
}

#[tokio::test(start_paused = true)]
async fn a_job_that_was_counted_and_then_forgotten_is_not_counted_again() {
    let world = world();
    world.script.set("1", Act::Fail(Status::not_found("nothing")));
    let rule = Some(GatherRule { success_codes: vec![0, 5], ..need(0) });
    let group = Group { total: 301, rule, ..Group::default() };
    let first = batch(&world, 300, group).await.unwrap();
    let id = first.group.as_ref().unwrap().id.clone();
    work_all(&world).await;
    world.delete(&accepted(&first)[1]).await.unwrap();
    batch(&world, 300, Group { id: id.clone(), ..Group::default() }).await.unwrap();
    work_all(&world).await;
    let gather = world.get(&id).await.unwrap().gather.unwrap();
    assert_eq!((gather.succeeded, gather.failed), (300, 0));
}

#[tokio::test(start_paused = true)]
async fn a_parked_job_of_a_group_says_that_it_is_one() {
    let mut plan = Plan::new(Way::Queues, &["w"], need(0));
    plan.route = |route| {
        route.fan_out = None;
        route.destination = queuebridge_gateway::config::Destination::Queue("q".into());
        route.max_attempts = 1;
    };
    let world = plan.build();
    world.script.set("1", Act::Fail(Status::unavailable("not today")));
    batch(&world, 2, Group::default()).await.unwrap();
    work_all(&world).await;
    let parked = world.parking.receive(1, Duration::ZERO).await.unwrap().remove(0);
    let call = envelope::open(&parked.body, &world.keys).unwrap();
    assert!(call.membership.unwrap().group);
    assert_eq!(call.method, METHOD);
}

#[tokio::test(start_paused = true)]
async fn a_deleted_group_is_forgotten_with_its_jobs() {
    let world = world();
    let response = batch(&world, 3, Group::default()).await.unwrap();
    let id = response.group.as_ref().unwrap().id.clone();
    work_all(&world).await;
    world.delete(&id).await.unwrap();
    for id in accepted(&response).iter().chain([&id]) {
        assert_eq!(world.get(id).await.unwrap_err().code(), Code::NotFound);
    }
}

/// Two jobs of one number are one job: that which was accepted first, with its own request.
#[tokio::test(start_paused = true)]
async fn a_large_request_does_not_replace_that_of_an_accepted_job() {
    let large =
        || -> Vec<u8> { (0..70_000).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect() };
    let world = world();
    let submit = async |id: &str, request: Vec<u8>| {
        let mut jobs = jobs(1);
        jobs[0].request = request.into();
        let group = Group { id: id.into(), total: 1, ..Group::default() };
        let request = SubmitBatchRequest { jobs, group: Some(group) };
        world.service.submit_batch(world.asking(request)).await.unwrap().into_inner()
    };
    let (first, second) = (large(), large());
    let response = submit("", first.clone()).await;
    let group = response.group.clone().unwrap().id;
    submit(&group, second.clone()).await;
    assert_eq!(world.payloads.object_count(), 2);
    work_all(&world).await;
    assert!(world.script.was_called("0", &first) && !world.script.was_called("0", &second));
    assert_eq!(world.get(&group).await.unwrap().state(), State::Succeeded);
    // What is forgotten with the job is its own request.
    world.delete(&accepted(&response)[0]).await.unwrap();
    assert_eq!(world.payloads.object_count(), 1);
}

/// Its request id was recorded, and its plan was not written: it belongs to whoever was first.
#[tokio::test(start_paused = true)]
async fn a_group_whose_beginner_was_interrupted_is_not_open_to_who_guesses_its_request_id() {
    let world = world();
    let begin = async |subject: &str, verbs: &[Verb]| {
        let (methods, verbs) = (vec![MethodPattern::All], verbs.to_vec());
        let rights = Rights::of(&[], &[Grant { roles: Vec::new(), methods, verbs }]);
        let group = Group { request_id: "guessed".into(), ..Group::default() };
        let mut request = Request::new(SubmitBatchRequest { jobs: jobs(2), group: Some(group) });
        request.extensions_mut().insert(Identity::new("t", subject, rights));
        let response = world.service.submit_batch(request).await?;
        Ok::<_, Status>(response.into_inner().group.unwrap().id)
    };
    world.store.script([Fault::None, Fault::LoseRequest]);
    let lost = begin("first", &[Verb::Submit]).await.unwrap_err();
    assert_eq!(lost.code(), Code::Unavailable);
    let refused = begin("second", &[Verb::Submit]).await.unwrap_err();
    assert_eq!(told(&refused), (Code::PermissionDenied, reason::NOT_GRANTED.into()));
    assert_eq!(world.store.inner().gather_count(), 0);
    let id = begin("third", &[Verb::Submit, Verb::Cancel]).await.unwrap();
    assert_eq!(begin("first", &[Verb::Submit]).await.unwrap(), id);
    let gather = JobId::verify(&id, "t", &world.keys).unwrap();
    let plan = world.store.plan(&gather, world.clock.now()).await.unwrap().unwrap();
    assert_eq!(plan.owner[..], Identity::new("t", "first", Rights::all()).owner());
}
