//! When a job with branches is finished, and what its caller gets.

use super::scripted::Act;
use super::world::{Plan, Way, webhook};
use super::*;
use futures_util::StreamExt;
use prost::Message;
use queuebridge_proto::error::reason;
use queuebridge_proto::longrunning::operation::Result as Ending;
use queuebridge_proto::longrunning::operations_server::Operations;
use queuebridge_proto::longrunning::{GetOperationRequest, Operation};
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::{
    DeleteRequest, DownloadResultRequest, Gather, LateBranches, WatchResultRequest,
};
use tokio::time::advance;
use tonic::Status;

#[tokio::test(start_paused = true)]
async fn all_is_the_list_of_all() {
    for way in WAYS {
        let world = Plan::new(way, &THREE, need(0)).build();
        let job = world.submit(plain()).await.unwrap();
        assert_eq!(states(&job), THREE.map(|name| (name, State::Accepted)), "{way:?}");
        for name in ["c", "a"] {
            world.work(name).await;
        }
        let running = world.get(&job.id).await.unwrap();
        assert_eq!((running.state(), running.outcome.clone()), (State::Running, None));
        assert_eq!(answers(&running), [b"a".to_vec(), b"c".to_vec()]);
        let gather = running.gather.unwrap();
        assert_eq!((gather.total, gather.succeeded, gather.failed), (3, 2, 0));
        world.work("b").await;
        let done = world.get(&job.id).await.unwrap();
        assert_eq!(done.state(), State::Succeeded);
        assert_eq!(answers(&done), [b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]);
        let Some(Outcome::Response(response)) = &done.outcome else { panic!("{done:?}") };
        assert_eq!(response.r#type, "queuebridge.v1.Gather");
        assert_eq!(Gather::decode(&response.message[..]).unwrap(), *done.gather.clone().unwrap());
        for branch in branches(&done) {
            let branch = branch.job.as_ref().unwrap();
            assert!(
                branch.attempt == 1 && branch.complete_time.is_some() && branch.gather.is_none()
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_branch_is_a_job_of_its_own() {
    for way in WAYS {
        let world = Plan::new(way, &THREE, need(0)).build();
        let job = world.submit(plain()).await.unwrap();
        world.work("b").await;
        let shown = world.get(&job.id).await.unwrap();
        let id = branches(&shown)[1].job.as_ref().unwrap().id.clone();
        let branch = world.get(&id).await.unwrap();
        assert_eq!(branch.state(), State::Succeeded);
        let Some(Outcome::Response(response)) = branch.outcome else { panic!() };
        assert_eq!(&response.message[..], b"b");
    }
}

#[tokio::test(start_paused = true)]
async fn any_and_two_of_three_need_no_more() {
    for (way, needed) in [(Way::Topic, 1), (Way::Queues, 1), (Way::Topic, 2), (Way::Queues, 2)] {
        let world = Plan::new(way, &THREE, need(needed)).build();
        world.script.set("b", Act::Fail(Status::invalid_argument("no")));
        let job = world.submit(plain()).await.unwrap();
        world.work("b").await;
        world.work("c").await;
        let early = world.get(&job.id).await.unwrap();
        assert_eq!(early.state() == State::Succeeded, needed == 1);
        world.work("a").await;
        let done = world.get(&job.id).await.unwrap();
        assert_eq!(done.state(), State::Succeeded);
        // The late one is shown as it ended, and marked.
        assert_eq!(answers(&done), [b"a".to_vec(), b"c".to_vec()]);
        assert_eq!(branches(&done)[0].late, needed == 1);
        let Some(Outcome::Error(status)) = &branches(&done)[1].job.as_ref().unwrap().outcome else {
            panic!("{done:?}")
        };
        assert_eq!((status.code, status.message.as_str()), (3, "no"));
    }
}

#[tokio::test(start_paused = true)]
async fn late_branches_can_be_ignored() {
    let rule = GatherRule { late_branches: LateBranches::Ignore as i32, ..need(1) };
    let world = Plan::new(Way::Queues, &THREE, rule).build();
    let job = world.submit(plain()).await.unwrap();
    world.work("a").await;
    world.work("b").await;
    let done = world.get(&job.id).await.unwrap();
    assert_eq!(answers(&done), [b"a".to_vec()]);
    assert_eq!(states(&done)[1], ("b", State::Accepted));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_met_fails_at_once() {
    for way in WAYS {
        let world = Plan::new(way, &THREE, need(0)).build();
        world.script.set("b", Act::Fail(Status::not_found("nothing there")));
        let job = world.submit(plain()).await.unwrap();
        world.work("b").await;
        let done = world.get(&job.id).await.unwrap();
        assert_eq!(done.state(), State::Failed);
        assert_eq!(refusal(&done), (Code::NotFound, reason::GATHER_FAILED.into()));
        // Partial results are there also after it has failed.
        world.work("a").await;
        assert_eq!(answers(&world.get(&job.id).await.unwrap()), [b"a".to_vec()]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_is_cancelled_where_that_is_wanted() {
    for way in WAYS {
        let world = Plan::new(way, &THREE, GatherRule { cancel_rest: true, ..need(1) }).build();
        let job = world.submit(plain()).await.unwrap();
        for name in ["a", "b", "c"] {
            world.work(name).await;
        }
        assert_eq!(world.script.calls_of("b") + world.script.calls_of("c"), 0);
        let done = world.get(&job.id).await.unwrap();
        let expected = [("a", State::Succeeded), ("b", State::Cancelled), ("c", State::Cancelled)];
        assert_eq!(states(&done), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_running_branch_that_is_not_needed_is_told() {
    let world = Plan::new(Way::Queues, &THREE, GatherRule { cancel_rest: true, ..need(1) }).build();
    world.script.set("b", Act::After(secs(3000), vec![]));
    let job = world.submit(plain()).await.unwrap();
    let quick = async {
        tokio::time::sleep(secs(1)).await;
        world.work("a").await;
    };
    tokio::join!(world.work("b"), quick);
    let done = world.get(&job.id).await.unwrap();
    assert_eq!(states(&done)[1], ("b", State::Cancelled));
}

#[tokio::test(start_paused = true)]
async fn at_its_deadline_a_gather_is_decided_by_whoever_looks() {
    for (partial, expected) in [(false, State::Expired), (true, State::Succeeded)] {
        let deadline = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        let rule = GatherRule { deadline, partial, ..need(0) };
        let world = Plan::new(Way::Topic, &THREE, rule).build();
        let job = world.submit(plain()).await.unwrap();
        let left = world.clock.now().until(expiry(&job));
        assert_eq!(left, secs(60));
        world.work("a").await;
        advance(left).await;
        // Late: the branch may go on until its own work expiry.
        world.work("b").await;
        assert_eq!(world.get(&job.id).await.unwrap().outcome, None, "clocks differ");
        advance(CLOCK_SKEW).await;
        let done = world.get(&job.id).await.unwrap();
        assert_eq!(done.state(), expected);
        if expected == State::Expired {
            assert_eq!(refusal(&done), (Code::DeadlineExceeded, reason::JOB_EXPIRED.into()));
        }
        let expected = [("a", State::Succeeded), ("b", State::Succeeded), ("c", State::Accepted)];
        assert_eq!(states(&done), expected);
        // Its timer comes as well.
        assert_eq!(world.callbacks().await, (1, vec![]));
    }
}

fn expiry(job: &Job) -> queuebridge_proto::UnixMillis {
    queuebridge_proto::UnixMillis::from_proto(job.expire_time.as_ref().unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_primary_branch_gives_its_own_answer_under_its_own_type() {
    let rule = GatherRule { answer: Some(Answer::Primary("b".into())), ..need(1) };
    let world = Plan::new(Way::Queues, &THREE, rule).build();
    let job = world.submit(plain()).await.unwrap();
    world.work("a").await;
    assert_eq!(world.get(&job.id).await.unwrap().outcome, None);
    world.work("b").await;
    let done = world.get(&job.id).await.unwrap();
    let Some(Outcome::Response(response)) = &done.outcome else { panic!("{done:?}") };
    assert_eq!(&response.message[..], b"b");
    assert_eq!(answers(&done), [b"a".to_vec(), b"b".to_vec()]);
}

#[tokio::test(start_paused = true)]
async fn answers_are_merged_as_protobuf_merges() {
    let part = |name: &str, total: u32| Gather {
        total,
        branches: vec![Branch { name: name.into(), ..Branch::default() }],
        ..Gather::default()
    };
    let rule = GatherRule { answer: Some(Answer::Merge(true)), ..need(0) };
    let world = Plan::new(Way::Topic, &THREE, rule).build();
    for (name, total) in [("a", 1), ("b", 2), ("c", 0)] {
        world.script.set(name, Act::Answer(part(name, total).encode_to_vec()));
    }
    let job = world.submit(plain()).await.unwrap();
    for name in ["c", "b", "a"] {
        world.work(name).await;
    }
    let done = world.get(&job.id).await.unwrap();
    let Some(Outcome::Response(response)) = &done.outcome else { panic!("{done:?}") };
    let merged = Gather::decode(&response.message[..]).unwrap();
    let names: Vec<&str> = merged.branches.iter().map(|branch| branch.name.as_str()).collect();
    assert_eq!((merged.total, names), (2, vec!["a", "b", "c"]));
}

#[tokio::test(start_paused = true)]
async fn the_operation_of_a_gather_has_the_list_as_its_response() {
    let world = Plan::new(Way::Topic, &THREE, need(1)).build();
    let job = world.submit(plain()).await.unwrap();
    world.work("a").await;
    let request = GetOperationRequest { name: format!("operations/{}", job.id) };
    let operation = world.service.get_operation(world.asking(request)).await.unwrap().into_inner();
    let Operation { result: Some(Ending::Response(any)), .. } = operation else { panic!() };
    assert_eq!(any.type_url, "type.googleapis.com/queuebridge.v1.Gather");
    assert_eq!(Gather::decode(&any.value[..]).unwrap().succeeded, 1);
    let request = DownloadResultRequest { id: job.id, offset: 0 };
    let pieces = world.service.download_result(world.asking(request)).await.unwrap().into_inner();
    let pieces: Vec<_> = pieces.map(Result::unwrap).collect().await;
    let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.chunk.to_vec()).collect();
    assert_eq!(bytes, any.value);
}

#[tokio::test(start_paused = true)]
async fn a_watcher_sees_the_branches_as_they_end() {
    let world = Plan::new(Way::Queues, &THREE, need(0)).build();
    let job = world.submit(plain()).await.unwrap();
    let request = WatchResultRequest { id: job.id, ..WatchResultRequest::default() };
    let mut changes = world.service.watch_result(world.asking(request)).await.unwrap().into_inner();
    for (ended, name) in [(0, "b"), (1, "a"), (2, "c")] {
        let shown = changes.next().await.unwrap().unwrap().job.unwrap();
        assert_eq!((shown.gather.as_ref().unwrap().succeeded, &shown.outcome), (ended, &None));
        world.work(name).await;
    }
    let last = changes.next().await.unwrap().unwrap().job.unwrap();
    assert_eq!((last.state(), last.gather.unwrap().succeeded), (State::Succeeded, 3));
    assert!(changes.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_callback_is_made_of_the_verdict_and_of_no_branch() {
    for way in WAYS {
        let world = Plan::new(way, &THREE, need(2)).build();
        let request = SubmitRequest { callback: webhook(), ..plain() };
        let job = world.submit(request).await.unwrap();
        world.work("a").await;
        assert_eq!(world.callbacks().await, (1, vec![]));
        world.work("b").await;
        assert_eq!(world.callbacks().await, (1, vec![job.id.clone()]));
        world.work("c").await;
        assert_eq!(world.callbacks().await, (1, vec![]));
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_gather_is_answered_by_its_verdict() {
    let world = Plan::new(Way::Topic, &THREE, need(2)).build();
    let wait = Some(prost_types::Duration { seconds: 30, nanos: 0 });
    let work = async {
        tokio::time::sleep(secs(1)).await;
        for name in ["b", "c"] {
            world.work(name).await;
        }
    };
    let (job, ()) = tokio::join!(world.submit(SubmitRequest { wait, ..plain() }), work);
    assert_eq!(job.unwrap().state(), State::Succeeded);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_gather_cancels_its_branches_and_is_told() {
    for way in WAYS {
        let world = Plan::new(way, &THREE, need(0)).build();
        let request = SubmitRequest { callback: webhook(), ..plain() };
        let job = world.submit(request).await.unwrap();
        world.work("a").await;
        let cancelled = world.cancel(&job.id).await.unwrap();
        assert_eq!(cancelled.state(), State::Cancelled);
        let expected = [("a", State::Succeeded), ("b", State::Cancelled), ("c", State::Cancelled)];
        assert_eq!(states(&cancelled), expected);
        assert_eq!(world.callbacks().await, (1, vec![job.id.clone()]));
        world.work("b").await;
        assert_eq!(world.script.calls_of("b"), 0);
        // A branch alone can be cancelled as well.
        let job = world.submit(plain()).await.unwrap();
        let branch = branches(&job)[1].job.as_ref().unwrap().id.clone();
        assert_eq!(world.cancel(&branch).await.unwrap().state(), State::Cancelled);
        world.work("b").await;
        assert_eq!(world.get(&job.id).await.unwrap().state(), State::Failed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_gather_is_forgotten_with_its_branches() {
    let world = Plan::new(Way::Queues, &THREE, need(2)).build();
    let job = world.submit(plain()).await.unwrap();
    let delete = || world.service.delete(world.asking(DeleteRequest { id: job.id.clone() }));
    assert_eq!(delete().await.unwrap_err().code(), Code::FailedPrecondition);
    world.work("a").await;
    world.work("b").await;
    delete().await.unwrap();
    for id in [&job.id, &branches(&job)[0].job.as_ref().unwrap().id] {
        assert_eq!(world.get(id).await.unwrap_err().code(), Code::NotFound);
    }
    world.work("c").await;
    assert_eq!(world.script.calls_of("c"), 0);
}

#[tokio::test(start_paused = true)]
async fn two_hundred_branches_are_gathered() {
    let names: Vec<String> = (0..200).map(|n| format!("branch-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for way in WAYS {
        let world = Plan::new(way, &names, need(199)).build();
        world.script.set("branch-7", Act::Fail(Status::internal("no")));
        let job = world.submit(plain()).await.unwrap();
        for name in names.iter().rev() {
            world.work(name).await;
        }
        let done = world.get(&job.id).await.unwrap();
        assert_eq!(done.state(), State::Succeeded);
        assert_eq!((branches(&done).len(), answers(&done).len()), (200, 199));
    }
}
