//! The end of an invocation, and of the process: nothing accepted is lost, and nothing is
//! left half done in a process that may be frozen.

use super::super::door::{Door, event, reply};
use super::super::protocol::{Call, Protocol};
use super::{BUFFERED, Deployment, ECHO, LONG, get, job, send, submit};
use prost::Message as _;
use queuebridge_demo::v1;
use queuebridge_proto::v1::State;
use queuebridge_proto::{JobId, Keyring};
use queuebridge_tests::Emulator;
use queuebridge_tests::runtime_api::{Answer, Ended};
use serde_json::json;
use std::time::Duration;
use tonic::Code;

fn echo() -> Call {
    let request = v1::EchoRequest { payload: "hi".into(), ..Default::default() };
    let messages = vec![(request.encode_to_vec().into(), json!({"payload": "aGk="}))];
    Call { method: ECHO, streaming: false, messages }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_is_in_the_queue_when_the_process_is_killed() {
    let deployment = Deployment::new().await;
    let mut ids = Vec::new();
    for door in BUFFERED {
        let function = deployment.function(&[]).await;
        let protocol = Protocol::ConnectJson;
        let outcome =
            protocol.outcome(&send(&function, door, protocol.request(&submit(0)), LONG).await);
        // By SIGKILL.
        drop(function);
        let (id, state) = job(&outcome);
        assert_eq!(state, State::Accepted, "{door:?}");
        ids.push(id);
    }
    let _worker = deployment.worker().await;
    let function = deployment.function(&[]).await;
    for id in ids {
        let request = Protocol::GrpcWeb.request(&get(&id, 30));
        let outcome = Protocol::GrpcWeb.outcome(&send(&function, Door::Url, request, LONG).await);
        assert_eq!(job(&outcome), (id, State::Succeeded));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_names_no_reply_shard_because_nobody_would_read_it() {
    let deployment = Deployment::new().await;
    let function = deployment.function(&[]).await;
    let protocol = Protocol::ConnectProto;
    let request = protocol.request(&submit(0));
    let (id, _) = job(&protocol.outcome(&send(&function, Door::Url, request, LONG).await));
    let keys = Keyring::parse(&deployment.keys[1]).unwrap();
    assert_eq!(JobId::verify(&id, "default", &keys).unwrap().reply_shard(), None);
    let dynamodb = Emulator::shared().await.dynamodb().await;
    let items = dynamodb.scan().table_name(&deployment.table).send().await.unwrap();
    assert_eq!(items.count, 0, "neither a lease nor a record was written: {items:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_does_not_fit_ends_with_the_job_as_it_stands() {
    let deployment = Deployment::new().await;
    let function = deployment.function(&[]).await;
    let time = Duration::from_secs(6);
    for door in BUFFERED {
        let protocol = Protocol::ConnectProto;
        let reply = send(&function, door, protocol.request(&submit(60)), time).await;
        let (id, state) = job(&protocol.outcome(&reply));
        assert_eq!(state, State::Accepted, "{door:?}");
        let reply = send(&function, door, protocol.request(&get(&id, 60)), time).await;
        assert_eq!(job(&protocol.outcome(&reply)), (id, State::Accepted), "{door:?}");
    }
    // And with a ticket, where the work goes on.
    let protocol = Protocol::GrpcWeb;
    let request = protocol.request(&echo()).with("qb-mode", "auto");
    let outcome = protocol.outcome(&send(&function, Door::Url, request, time).await);
    assert_eq!(outcome.code, Code::DeadlineExceeded as i32, "{outcome:?}");
    assert!(outcome.details.contains(&"google.longrunning.Operation".to_owned()), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_abandoned_at_its_end_is_cancelled_before_the_answer() {
    let deployment = Deployment::new().await;
    let function = deployment.function(&[]).await;
    let protocol = Protocol::GrpcWeb;
    let request = protocol.request(&echo()).with("grpc-timeout", "5S");
    let outcome = protocol.outcome(&send(&function, Door::Url, request, LONG).await);
    // What is not written by now is never written: by SIGKILL.
    drop(function);
    assert_eq!(outcome.code, Code::DeadlineExceeded as i32, "{outcome:?}");
    let dynamodb = Emulator::shared().await.dynamodb().await;
    let items = dynamodb.scan().table_name(&deployment.table).send().await.unwrap();
    assert_eq!(items.count, 1, "the record of the cancellation: {items:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_at_the_end_of_the_environment_is_answered() {
    let deployment = Deployment::new().await;
    let function = deployment.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "4")]).await;
    let protocol = Protocol::ConnectProto;
    let waiting =
        function.begin(event(Door::Url, &protocol.request(&submit(60))).to_string(), LONG);
    // Invocations are handed out in their order, and the job is there once it is in the queue.
    let sqs = Emulator::shared().await.sqs().await;
    let arrived = sqs.receive_message().queue_url(&deployment.queue).wait_time_seconds(20);
    assert_eq!(arrived.send().await.unwrap().messages().len(), 1);
    let Ended::ByItself(status) = function.shut_down().await else { panic!("killed") };
    assert!(status.success(), "{}", function.log());
    let answer = waiting.end().await;
    assert!(matches!(answer, Answer::Response(_)), "{answer:?}");
    let outcome = protocol.outcome(&reply(Door::Url, &answer.json()));
    assert_eq!(job(&outcome).1, State::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn invocations_run_side_by_side_where_the_function_is_set_up_so() {
    let deployment = Deployment::new().await;
    let function = deployment.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "8")]).await;
    let protocol = Protocol::ConnectProto;
    let request = event(Door::Url, &protocol.request(&submit(20))).to_string();
    let all: Vec<_> = (0..8).map(|_| function.begin(request.clone(), LONG)).collect();
    let sqs = Emulator::shared().await.sqs().await;
    let mut arrived = 0;
    while arrived < 8 {
        let call = sqs.receive_message().queue_url(&deployment.queue).max_number_of_messages(10);
        arrived += call.wait_time_seconds(20).send().await.unwrap().messages().len();
    }
    assert_eq!(function.most_at_once(), 8, "all of them wait");
    let Ended::ByItself(_) = function.shut_down().await else { panic!("killed") };
    for invocation in all {
        let outcome = protocol.outcome(&reply(Door::Url, &invocation.end().await.json()));
        assert_eq!(job(&outcome).1, State::Accepted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_what_another_invocation_waits_for() {
    let deployment = Deployment::new().await;
    let function = deployment.function(&[("AWS_LAMBDA_MAX_CONCURRENCY", "2")]).await;
    let protocol = Protocol::ConnectProto;
    let event = |wait| event(Door::Url, &protocol.request(&submit(wait))).to_string();
    let waiting = function.begin(event(60), LONG);
    let sqs = Emulator::shared().await.sqs().await;
    let arrived = sqs.receive_message().queue_url(&deployment.queue).wait_time_seconds(20);
    assert_eq!(arrived.send().await.unwrap().messages().len(), 1);
    let quick = tokio::select! {
        biased;
        quick = function.invoke(event(0), LONG) => quick,
        _ = waiting.end() => panic!("the one who does not wait was answered last"),
    };
    let outcome = protocol.outcome(&reply(Door::Url, &quick.json()));
    assert_eq!(job(&outcome).1, State::Accepted);
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_in_the_configuration_end_the_initialization() {
    let deployment = Deployment::new().await;
    std::fs::write(deployment.path().join("gateway.toml"), "tenant = 1\n").unwrap();
    let config = deployment.path().join("gateway.toml");
    let binary = deployment.binaries.join("queuebridge");
    let variables = [("QB_CONFIG", config.to_str().unwrap())];
    let function = queuebridge_tests::runtime_api::Function::start(&binary, &variables);
    let log = function.await.unwrap().ready().await.unwrap_err();
    for place in ["tenant: ", "store.table: ", "job_id_keys: "] {
        assert!(log.contains(place), "{place} is missing in {log}");
    }
}
