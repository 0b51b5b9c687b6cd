//! Groups: many jobs of one method, gathered.

use super::scripted::Act;
use super::world::{METHOD, Plan, Way, World, webhook};
use super::*;
use queuebridge_gateway::config::Destination;
use queuebridge_proto::error::reason;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::{
    Group, ListBranchesRequest, SubmitBatchRequest, SubmitBatchResponse, submit_result,
};
use queuebridge_store::testing::Fault;
use std::collections::BTreeSet;
use tokio::time::advance;
use tonic::Status;

/// One queue for all.
pub(crate) fn world() -> World {
    let mut plan = Plan::new(Way::Queues, &["w"], need(0));
    plan.route = |route| {
        route.fan_out = None;
        route.destination = Destination::Queue("q".into());
    };
    plan.build()
}

pub(crate) fn jobs(count: usize) -> Vec<SubmitRequest> {
    vec![SubmitRequest { method: METHOD.into(), ..plain() }; count]
}

pub(crate) async fn batch(
    world: &World,
    count: usize,
    group: Group,
) -> Result<SubmitBatchResponse, Status> {
    let request = SubmitBatchRequest { jobs: jobs(count), group: Some(group) };
    world.service.submit_batch(world.asking(request)).await.map(tonic::Response::into_inner)
}

pub(crate) fn accepted(response: &SubmitBatchResponse) -> Vec<String> {
    let id = |result: &queuebridge_proto::v1::SubmitResult| match &result.result {
        Some(submit_result::Result::Job(job)) => job.id.clone(),
        other => panic!("{other:?}"),
    };
    response.results.iter().map(id).collect()
}

/// All jobs of a group in several batches.
pub(crate) async fn submit(world: &World, total: usize, group: Group) -> (String, Vec<String>) {
    let (mut id, mut ids) = (String::new(), Vec::new());
    for first in (0..total).step_by(1000) {
        let group = Group {
            id: id.clone(),
            total: u32::try_from(total).unwrap(),
            first: u32::try_from(first).unwrap(),
            ..group.clone()
        };
        let response = batch(world, (total - first).min(1000), group).await.unwrap();
        ids.extend(accepted(&response));
        id = response.group.unwrap().id;
    }
    (id, ids)
}

pub(crate) async fn work_all(world: &World) {
    while world.station("w").queue.counts().visible > 0 {
        world.work("w").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_group_is_listed_by_its_numbers() {
    let world = world();
    let response = batch(&world, 3, Group::default()).await.unwrap();
    let (group, ids) = (response.group.clone().unwrap(), accepted(&response));
    let accepted = ["0", "1", "2"].map(|name| (name, State::Accepted));
    assert_eq!(states(&group), accepted);
    let listed: Vec<&str> =
        branches(&group).iter().map(|branch| branch.job.as_ref().unwrap().id.as_str()).collect();
    assert_eq!(listed, ids);
    work_all(&world).await;
    let done = world.get(&group.id).await.unwrap();
    assert_eq!((done.state(), answers(&done).len()), (State::Succeeded, 3));
    assert_eq!(done.method, METHOD);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_sent_again_changes_nothing() {
    let world = world();
    let group = Group { request_id: "g".into(), ..Group::default() };
    let first = batch(&world, 3, group.clone()).await.unwrap();
    let again = batch(&world, 3, group.clone()).await.unwrap();
    assert_eq!(again.group.as_ref().unwrap().id, first.group.as_ref().unwrap().id);
    assert_eq!(accepted(&again), accepted(&first));
    work_all(&world).await;
    assert_eq!(world.script.calls_of("0"), 1);
    let other = batch(&world, 4, group).await.unwrap_err();
    let reason = other.get_details_error_info().unwrap().reason;
    assert_eq!((other.code(), reason.as_str()), (Code::AlreadyExists, reason::REQUEST_ID_REUSED));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_jobs_are_gathered_and_told_once() {
    let world = world();
    let group = Group { callback: webhook(), ..Group::default() };
    let (id, ids) = submit(&world, 10_000, group).await;
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 10_000);
    for _ in 0..500 {
        world.work("w").await;
    }
    let half = world.get(&id).await.unwrap();
    let gather = half.gather.clone().unwrap();
    assert_eq!((half.state(), gather.total, gather.succeeded), (State::Running, 10_000, 5_000));
    work_all(&world).await;
    let done = world.get(&id).await.unwrap();
    let gather = done.gather.clone().unwrap();
    assert_eq!((done.state(), gather.succeeded, gather.failed), (State::Succeeded, 10_000, 0));
    assert_eq!(world.callbacks().await, (1, vec![id.clone()]));
    // Every one of them is listed.
    let (mut token, mut listed) = (String::new(), Vec::new());
    loop {
        let request = ListBranchesRequest { id: id.clone(), page_size: 256, page_token: token };
        let page = world.service.list_branches(world.asking(request)).await.unwrap().into_inner();
        for branch in page.branches {
            let job = branch.job.unwrap();
            assert_eq!((job.state(), branch.name), (State::Succeeded, listed.len().to_string()));
            listed.push(job.id);
        }
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(listed, ids);
}

#[tokio::test(start_paused = true)]
async fn the_first_failure_of_a_large_group_decides_it() {
    let world = world();
    world.script.set("700", Act::Fail(Status::data_loss("gone")));
    let (id, _) = submit(&world, 1_000, Group::default()).await;
    work_all(&world).await;
    let done = world.get(&id).await.unwrap();
    assert_eq!(refusal(&done), (Code::DataLoss, reason::GATHER_FAILED.into()));
    assert_eq!(done.gather.unwrap().failed, 1);
}

#[tokio::test(start_paused = true)]
async fn what_there_is_of_a_large_group_can_be_enough() {
    let world = world();
    let deadline = Some(prost_types::Duration { seconds: 60, nanos: 0 });
    let rule = Some(queuebridge_proto::v1::GatherRule { partial: true, deadline, ..need(0) });
    let (id, _) = submit(&world, 600, Group { rule, ..Group::default() }).await;
    for _ in 0..30 {
        world.work("w").await;
    }
    advance(secs(60) + CLOCK_SKEW).await;
    let done = world.get(&id).await.unwrap();
    assert_eq!((done.state(), done.gather.unwrap().succeeded), (State::Succeeded, 300));
}

/// A crash between the write of a tally and that of the root, among others.
#[tokio::test(start_paused = true)]
async fn a_large_group_is_complete_whatever_the_store_loses() {
    // Whoever decides the group makes twelve calls in a row: a shorter period would lose one
    // of them for ever.
    for (period, fault) in [13, 17, 19]
        .into_iter()
        .flat_map(|period| [Fault::LoseResponse, Fault::LoseRequest].map(|fault| (period, fault)))
    {
        let world = world();
        let group = Group { callback: webhook(), ..Group::default() };
        let (id, _) = submit(&world, 600, group).await;
        world.store.every(period, fault);
        let left = || {
            let counts = world.station("w").queue.counts();
            counts.visible + counts.in_flight
        };
        for _ in 0..100 {
            if left() == 0 {
                break;
            }
            work_all(&world).await;
            advance(secs(300)).await;
        }
        world.store.every(0, Fault::None);
        assert_eq!(left(), 0, "{fault:?} of every {period}");
        let done = world.get(&id).await.unwrap();
        assert_eq!((done.state(), done.gather.unwrap().succeeded), (State::Succeeded, 600));
        let (_, told) = world.callbacks().await;
        assert!(told.contains(&id), "{fault:?} of every {period}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_group_never_runs() {
    let world = world();
    let (id, _) = submit(&world, 300, Group::default()).await;
    let cancelled = world.cancel(&id).await.unwrap();
    assert_eq!(cancelled.state(), State::Cancelled);
    work_all(&world).await;
    assert!(world.script.methods().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_group_cannot_be_is_refused() {
    let world = world();
    let rule = |rule| Group { rule: Some(rule), total: 300, ..Group::default() };
    let answer = |answer| queuebridge_proto::v1::GatherRule { answer: Some(answer), ..need(0) };
    for (field, group) in [
        ("group.total", Group { total: 65_537, ..Group::default() }),
        ("group.first", Group { total: 2, ..Group::default() }),
        ("group.first", Group { total: 300, first: 298, ..Group::default() }),
        ("group.id", Group { id: "nonsense".into(), ..Group::default() }),
        ("group.rule.need", rule(need(2))),
        ("group.rule.need", rule(need(301))),
        ("group.rule.primary", rule(answer(Answer::Primary("0".into())))),
        ("group.rule.merge", rule(answer(Answer::Merge(true)))),
        (
            "group.rule.cancel_rest",
            rule(queuebridge_proto::v1::GatherRule { cancel_rest: true, ..need(0) }),
        ),
    ] {
        let status = batch(&world, 3, group).await.unwrap_err();
        let found = status.get_details_bad_request().unwrap().field_violations[0].field.clone();
        assert_eq!((status.code(), found.as_str()), (Code::InvalidArgument, field));
    }
    let refused = |change: fn(&mut SubmitRequest)| {
        let mut jobs = jobs(2);
        change(&mut jobs[1]);
        let request = SubmitBatchRequest { jobs, group: Some(Group::default()) };
        world.service.submit_batch(world.asking(request))
    };
    for (field, change) in [
        (
            "jobs[1].method",
            (|job: &mut SubmitRequest| job.method = "/test.Branches/Other".into())
                as fn(&mut SubmitRequest),
        ),
        ("jobs[1].request_id", |job: &mut SubmitRequest| job.request_id = "r".into()),
        ("jobs[1].callback", |job: &mut SubmitRequest| job.callback = webhook()),
        ("jobs[1].branches", |job: &mut SubmitRequest| job.branches = vec!["b".into()]),
    ] {
        let status = refused(change).await.unwrap_err();
        let found = status.get_details_bad_request().unwrap().field_violations[0].field.clone();
        assert_eq!(found, field);
    }
    assert_eq!(world.station("w").queue.totals().sent, 0);
    // Of a route with branches there are no groups.
    let branches = Plan::new(Way::Topic, &THREE, need(0)).build();
    let status = batch(&branches, 2, Group::default()).await.unwrap_err();
    let found = status.get_details_bad_request().unwrap().field_violations[0].field.clone();
    assert_eq!(found, "group");
}
