//! What comes after the verdict changes nothing of it.

use super::scripted::Act;
use super::world::{METHOD, Plan, Way};
use super::*;
use futures_util::StreamExt;
use prost::Message;
use queuebridge_gateway::identity::Identity;
use queuebridge_proto::client::{Client, Options};
use queuebridge_proto::longrunning::operation::Result as Ending;
use queuebridge_proto::longrunning::operations_server::Operations;
use queuebridge_proto::longrunning::{GetOperationRequest, Operation};
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::jobs_server::{Jobs, JobsServer};
use queuebridge_proto::v1::{DownloadResultRequest, Gather};
use tonic::service::interceptor::InterceptedService;
use tonic::{Request, Status};

#[tokio::test(start_paused = true)]
async fn a_list_that_is_the_answer_stays_as_it_was_at_the_verdict() {
    let world = Plan::new(Way::Queues, &THREE, need(1)).build();
    let job = world.submit(plain()).await.unwrap();
    world.work("a").await;
    let mut answers_seen = Vec::new();
    for late in ["", "b", "c"] {
        if !late.is_empty() {
            world.work(late).await;
        }
        let done = world.get(&job.id).await.unwrap();
        let gather = done.gather.clone().unwrap();
        assert_eq!((gather.succeeded, gather.failed), (1, 0), "as the verdict counted");
        let Some(Outcome::Response(response)) = done.outcome else { panic!() };
        let name = format!("operations/{}", job.id);
        let request = world.asking(GetOperationRequest { name });
        let operation = world.service.get_operation(request).await.unwrap().into_inner();
        let Operation { result: Some(Ending::Response(any)), .. } = operation else { panic!() };
        let request = DownloadResultRequest { id: job.id.clone(), offset: 0 };
        let pieces = world.service.download_result(world.asking(request)).await.unwrap();
        let pieces: Vec<_> = pieces.into_inner().map(Result::unwrap).collect().await;
        let bytes: Vec<u8> = pieces.iter().flat_map(|piece| piece.chunk.to_vec()).collect();
        assert_eq!((&any.value[..], &bytes[..]), (&response.message[..], &response.message[..]));
        answers_seen.push(bytes);
        let list = Gather::decode(&response.message[..]).unwrap();
        assert_eq!(list.branches.iter().filter(|branch| branch.late).count(), 2);
    }
    answers_seen.dedup();
    assert_eq!(answers_seen.len(), 1);
    let done = world.get(&job.id).await.unwrap();
    assert_eq!(answers(&done), THREE.map(|name| name.as_bytes().to_vec()), "they are shown there");
}

#[tokio::test(start_paused = true)]
async fn a_list_that_is_too_long_leaves_out_all_that_is_large() {
    let names: Vec<String> = (0..200).map(|n| format!("branch-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let world = Plan::new(Way::Queues, &names, need(200)).build();
    for name in &names {
        world.script.set(name, Act::Fail(Status::internal("x".repeat(8_000))));
    }
    let rule = GatherRule { partial: true, ..need(1) };
    let request = SubmitRequest { gather: Some(rule), ..plain() };
    let job = world.submit(request).await.unwrap();
    for name in &names[1..] {
        world.work(name).await;
    }
    let running = world.get(&job.id).await.unwrap();
    assert_eq!((running.state(), branches(&running).len()), (State::Running, 200));
    assert!(running.encoded_len() <= 1 << 20, "{} bytes", running.encoded_len());
    world.work(names[0]).await;
    let done = world.get(&job.id).await.unwrap();
    assert_eq!((done.state(), branches(&done).len()), (State::Succeeded, 200));
    assert!(done.encoded_len() <= 1 << 20, "{} bytes", done.encoded_len());
}

#[tokio::test(start_paused = true)]
async fn a_gather_says_what_it_repeats() {
    for answer in [None, Some(Answer::Primary("a".into())), Some(Answer::Merge(true))] {
        let world = Plan::new(Way::Topic, &THREE, GatherRule { answer, ..need(3) }).build();
        let old = world.submit(plain()).await.unwrap();
        let job =
            world.submit(SubmitRequest { retry_of: old.id.clone(), ..plain() }).await.unwrap();
        for name in THREE {
            world.work(name).await;
            world.work(name).await;
        }
        let done = world.get(&job.id).await.unwrap();
        assert_eq!((done.state(), &done.retry_of), (State::Succeeded, &old.id));
        assert_eq!(world.get(&old.id).await.unwrap().retry_of, "");
    }
}

#[tokio::test(start_paused = true)]
async fn the_typed_client_asks_for_branches_and_does_not_take_their_list_for_an_answer() {
    let world = Plan::new(Way::Queues, &THREE, need(0)).build();
    let identify = |mut request: Request<()>| {
        request.extensions_mut().insert(Identity::trusted("t"));
        Ok(request)
    };
    let client =
        Client::new(InterceptedService::new(JobsServer::new(world.service.clone()), identify));
    let options = Options {
        gather: Some(need(1)),
        branches: vec!["a".into(), "b".into()],
        callback: super::world::webhook(),
        ..Options::default()
    };
    let job = client.submit(METHOD, &Gather::default(), options).await.unwrap();
    assert_eq!(states(&job), [("a", State::Accepted), ("b", State::Accepted)]);
    world.work("a").await;
    assert_eq!(world.callbacks().await, (1, vec![job.id.clone()]));
    let refused = client.result::<Job>(&job.id).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let done = client.finished(&job.id).await.unwrap();
    assert_eq!(answers(&done), [b"a".to_vec()]);
}
