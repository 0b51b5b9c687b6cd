//! What small calls on large gathers cost: they take turns, and count.

use super::groups::{batch, world};
use super::scripted::Act;
use super::world::{Plan, Way, World};
use super::*;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::join_all;
use queuebridge_gateway::config::{Allowance, Destination, QuotaConfig};
use queuebridge_gateway::lookup::{Closes, Found, Lookup};
use queuebridge_gateway::quota::Quotas;
use queuebridge_gateway::view::Methods;
use queuebridge_proto::JobId;
use queuebridge_proto::error::reason;
use queuebridge_proto::longrunning::GetOperationRequest;
use queuebridge_proto::longrunning::operations_server::Operations;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::{Group, ListBranchesRequest, PayloadRef};
use queuebridge_store::{Gathers, PayloadError, PayloadStore, PayloadStream};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tokio::time::{advance, sleep};
use tonic::Status;

/// A store whose writes take a second; how many there were, there are, and were at once.
struct Slow(Arc<dyn PayloadStore>, [AtomicUsize; 3]);

#[async_trait]
impl PayloadStore for Slow {
    async fn put(&self, key: &str, bytes: Bytes) -> Result<PayloadRef, PayloadError> {
        let [all, now, most] = &self.1;
        all.fetch_add(1, SeqCst);
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        sleep(secs(1)).await;
        now.fetch_sub(1, SeqCst);
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

fn in_ten_seconds() -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds: 10, nanos: 0 })
}

/// At most so many jobs at once, one of them in a second.
fn quotas(burst: u32) -> Quotas {
    let each =
        Allowance { jobs_per_second: Some(1), jobs_burst: Some(burst), ..Allowance::default() };
    Quotas::new(&QuotaConfig { each, tenants: HashMap::new() })
}

fn told(status: &Status) -> (Code, String) {
    (status.code(), status.get_details_error_info().unwrap().reason)
}

fn exceeded() -> (Code, String) {
    (Code::ResourceExhausted, reason::QUOTA_EXCEEDED.into())
}

async fn operation(world: &World, id: &str) -> Result<(), Status> {
    let request = world.asking(GetOperationRequest { name: format!("operations/{id}") });
    world.service.get_operation(request).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn answers_are_merged_once_and_few_at_once() {
    let (answer, deadline) = (Some(Answer::Merge(true)), in_ten_seconds());
    let rule = GatherRule { answer, partial: true, deadline, ..need(0) };
    let world = Plan::new(Way::Topic, &THREE, rule).build();
    for name in ["a", "b"] {
        world.script.set(name, Act::Answer(vec![0; 300_000]));
    }
    let mut ids = Vec::new();
    for _ in 0..5 {
        let job = world.submit(plain()).await.unwrap();
        ids.push(JobId::verify(&job.id, "t", &world.keys).unwrap());
    }
    for name in ["a", "b"] {
        world.work(name).await;
    }
    let before = world.payloads.object_count();
    advance(secs(10) + CLOCK_SKEW).await;
    let slow = Arc::new(Slow(world.payloads.clone(), Default::default()));
    let gathers = Gathers::new(world.store.clone(), Some(slow.clone()));
    let lookup = Lookup {
        store: world.store.clone(),
        gathers,
        closes: Closes::default(),
        streams: world.store.clone(),
        payloads: Some(slow.clone()),
        clock: world.clock,
        methods: Methods::default(),
        max_response_bytes: 1 << 20,
        max_message_bytes: 4 << 20,
        quotas: Quotas::default(),
        job_id_keys: world.keys.clone(),
    };
    let readers = ids.iter().flat_map(|id| (0..10).map(|_| lookup.find(id)));
    for found in join_all(readers).await {
        let found = found.unwrap();
        let Found::Finished(record) = found else { panic!("{found:?}") };
        assert_eq!(record.state, State::Succeeded);
    }
    let [all, _, most] = &slow.1;
    assert_eq!((all.load(SeqCst), most.load(SeqCst)), (5, 2));
    assert_eq!(world.payloads.object_count(), before + 5);
}

#[tokio::test(start_paused = true)]
async fn who_looks_at_a_small_group_writes_its_verdict_and_nothing_else() {
    for by_page in [true, false] {
        let world = world();
        let group = Group { total: 256, expire_after: in_ten_seconds(), ..Group::default() };
        let id = batch(&world, 1, group).await.unwrap().group.unwrap().id;
        let before = world.store.inner().record_count();
        advance(secs(10) + CLOCK_SKEW).await;
        if by_page {
            let id = id.clone();
            let request = ListBranchesRequest { id, page_size: 1, page_token: String::new() };
            world.service.list_branches(world.asking(request)).await.unwrap();
        }
        let job = world.get(&id).await.unwrap();
        assert!(states(&job).iter().all(|(_, state)| *state == State::Expired));
        assert_eq!((job.state(), job.gather.as_ref().unwrap().failed), (State::Expired, 256));
        assert_eq!(world.store.inner().record_count(), before + 1);
        // The one that was sent comes to the same.
        super::groups::work_all(&world).await;
        assert!(world.script.methods().is_empty());
        assert_eq!(world.get(&id).await.unwrap(), job);
    }
}

#[tokio::test(start_paused = true)]
async fn every_look_at_a_gather_counts_and_no_submission_fails_by_it() {
    let mut plan = Plan::new(Way::Queues, &THREE, need(0));
    plan.quotas = quotas(4);
    let world = plan.build();
    let request = SubmitRequest { request_id: "r".into(), ..plain() };
    let id = world.submit(request.clone()).await.unwrap().id;
    world.get(&id).await.unwrap();
    operation(&world, &id).await.unwrap();
    // Its own part is the last one, and none is left to look.
    let again = world.submit(request).await.unwrap();
    assert_eq!((&again.id, again.state(), again.gather), (&id, State::Accepted, None));
    assert_eq!(told(&operation(&world, &id).await.unwrap_err()), exceeded());
    assert_eq!(told(&world.get(&id).await.unwrap_err()), exceeded());
    advance(secs(1)).await;
    operation(&world, &id).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_ends_a_large_group_has_used_as_many_jobs() {
    let mut plan = Plan::new(Way::Queues, &["w"], need(0));
    plan.route = |route| {
        route.fan_out = None;
        route.destination = Destination::Queue("q".into());
    };
    plan.quotas = quotas(400);
    let world = plan.build();
    let group = Group { total: 300, ..Group::default() };
    let id = batch(&world, 1, group).await.unwrap().group.unwrap().id;
    // Each of them goes through all branches.
    for _ in 0..2 {
        assert_eq!(world.cancel(&id).await.unwrap().state(), State::Cancelled);
    }
    assert_eq!(told(&world.cancel(&id).await.unwrap_err()), exceeded());
    assert_eq!(told(&world.delete(&id).await.unwrap_err()), exceeded());
    advance(secs(400)).await;
    world.delete(&id).await.unwrap();
    assert_eq!(told(&world.submit(plain()).await.unwrap_err()), exceeded());
    // However often, and by whom: two bursts later it is forgotten.
    advance(secs(401)).await;
    world.submit(plain()).await.unwrap();
}
