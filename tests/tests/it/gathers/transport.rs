//! How a job reaches its branches.

use super::scripted::Act;
use super::world::{Plan, Way};
use super::*;
use queuebridge_proto::error::reason;
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::{Metadatum, metadatum};
use queuebridge_proto::{MethodName, envelope};
use std::time::Duration;
use tokio::time::advance;

fn plan_is(value: &str) -> Vec<Metadatum> {
    let value = Some(metadatum::Value::Ascii(value.into()));
    vec![Metadatum { key: "plan".into(), value }]
}

#[tokio::test(start_paused = true)]
async fn a_branch_may_call_another_method() {
    for way in WAYS {
        let mut plan = Plan::new(way, &["a", "b"], need(0));
        plan.branches[1].method = MethodName::parse("/test.Branches/Other").ok();
        let world = plan.build();
        let job = world.submit(plain()).await.unwrap();
        world.work("a").await;
        world.work("b").await;
        let called = |branch: &str, method: &str| (branch.to_owned(), method.to_owned());
        let expected = [called("a", "/test.Branches/Call"), called("b", "/test.Branches/Other")];
        assert_eq!(world.script.methods(), expected);
        let done = world.get(&job.id).await.unwrap();
        assert_eq!(done.method, "/test.Branches/Call");
        assert_eq!(branches(&done)[1].job.as_ref().unwrap().method, "/test.Branches/Other");
    }
}

#[tokio::test(start_paused = true)]
async fn metadata_selects_the_branches_and_the_others_hear_nothing() {
    for way in WAYS {
        let mut plan = Plan::new(way, &THREE, need(0));
        plan.branches[2].when.insert("plan".into(), vec!["gold".into()]);
        let world = plan.build();
        let tin = SubmitRequest { metadata: plan_is("tin"), ..plain() };
        let job = world.submit(tin).await.unwrap();
        for name in THREE {
            world.work(name).await;
        }
        let done = world.get(&job.id).await.unwrap();
        assert_eq!(states(&done), [("a", State::Succeeded), ("b", State::Succeeded)]);
        assert_eq!(world.station("c").queue.totals().sent, 0);
        let gold = SubmitRequest { metadata: plan_is("gold"), ..plain() };
        assert_eq!(branches(&world.submit(gold).await.unwrap()).len(), 3);
    }
}

/// The subscription's filter policy is new, or was forgotten.
#[tokio::test(start_paused = true)]
async fn a_worker_whose_branch_is_not_named_acknowledges_unrun() {
    let world = Plan::new(Way::Topic, &THREE, need(0)).build();
    let only = SubmitRequest { branches: vec!["a".into()], ..plain() };
    world.submit(only).await.unwrap();
    let message = world.station("a").queue.receive(1, Duration::ZERO).await.unwrap().remove(0);
    world.station("b").queue.send(&message_of(&message.body)).unwrap();
    let verdicts = world.work("b").await;
    assert!(verdicts[0].is_ack() && world.script.calls_of("b") == 0);
    assert_eq!(world.parking.counts().visible, 0);
}

fn message_of(body: &str) -> queuebridge_gateway::publish::Message {
    queuebridge_gateway::publish::Message { body: body.to_owned(), ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn what_leaves_no_branch_is_refused_before_anything_is_sent() {
    for way in WAYS {
        let mut plan = Plan::new(way, &["a"], need(0));
        plan.branches[0].when.insert("plan".into(), vec!["gold".into()]);
        let world = plan.build();
        let status = world.submit(plain()).await.unwrap_err();
        let info = status.get_details_error_info().unwrap();
        assert_eq!(
            (status.code(), info.reason.as_str()),
            (Code::FailedPrecondition, reason::NO_BRANCH)
        );
        assert_eq!(world.station("a").queue.totals().sent, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_gets_one_message_and_queues_get_their_own() {
    let attributes = |world: &world::World| {
        let queue = world.station("b").queue.clone();
        async move { queue.receive(1, Duration::ZERO).await.unwrap().remove(0).attributes.to_vec() }
    };
    let world = Plan::new(Way::Topic, &THREE, need(0)).build();
    let job = world.submit(plain()).await.unwrap();
    let found = attributes(&world).await;
    assert!(found.len() <= 6, "{found:?}");
    assert!(found.contains(&("qb-branches", r#"["a","b","c"]"#.to_owned())));
    assert!(found.contains(&("qb-job", job.id.clone())));
    let world = Plan::new(Way::Queues, &THREE, need(0)).build();
    let job = world.submit(plain()).await.unwrap();
    let found = attributes(&world).await;
    let branch = branches(&job)[1].job.as_ref().unwrap().id.clone();
    assert!(found.contains(&("qb-job", branch)) && found.len() == 3, "{found:?}");
}

#[tokio::test(start_paused = true)]
async fn a_topics_messages_are_smaller_and_the_rest_is_checked_in() {
    // Too large for a topic, and no trouble for a queue. Random, so that nothing
    // compresses it.
    let large: Vec<u8> = (0..15_000).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    for (way, inline) in [(Way::Topic, false), (Way::Queues, true)] {
        let world = Plan::new(way, &THREE, need(0)).build();
        let request = SubmitRequest { request: large.clone().into(), ..plain() };
        let job = world.submit(request.clone()).await.unwrap();
        let message = world.station("a").queue.receive(1, Duration::ZERO).await.unwrap().remove(0);
        let call = envelope::open(&message.body, &world.keys).unwrap();
        assert_eq!(matches!(call.payload, Some(Payload::Request(_))), inline);
        world
            .station("a")
            .queue
            .change_visibility(&message.receipt_handle, Duration::ZERO)
            .unwrap();
        for name in THREE {
            world.work(name).await;
        }
        assert_eq!(world.get(&job.id).await.unwrap().state(), State::Succeeded);

        let without = Plan { payloads: false, ..Plan::new(way, &THREE, need(0)) }.build();
        let refused = without.submit(request).await.err();
        let reason = refused.map(|status| status.get_details_error_info().unwrap().reason);
        assert_eq!(reason.as_deref(), (!inline).then_some(reason::PAYLOAD_TOO_LARGE));
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_is_kept_also_over_a_topic() {
    for way in WAYS {
        let world = Plan::new(way, &["a"], need(0)).build();
        let delay = Some(prost_types::Duration { seconds: 60, nanos: 0 });
        let job = world.submit(SubmitRequest { delay, ..plain() }).await.unwrap();
        for _ in 0..2 {
            world.work("a").await;
            assert_eq!(world.script.calls_of("a"), 0, "{way:?}");
        }
        advance(secs(61)).await;
        world.work("a").await;
        assert_eq!(world.get(&job.id).await.unwrap().state(), State::Succeeded);
    }
}

#[tokio::test(start_paused = true)]
async fn ordered_branches_keep_the_order_each_for_itself() {
    for way in WAYS {
        let mut plan = Plan { fifo: true, ..Plan::new(way, &["a", "b"], need(0)) };
        plan.route = |route| {
            route.destination = match &route.destination {
                queuebridge_gateway::config::Destination::Topic(_) => {
                    queuebridge_gateway::config::Destination::Topic("topic.fifo".into())
                }
                other => other.clone(),
            };
        };
        let world = plan.build();
        world.script.set("a", Act::Fail(tonic::Status::unavailable("not yet")));
        let ordered = |n: u8| SubmitRequest {
            request: vec![n].into(),
            ordering_key: "k".into(),
            ..SubmitRequest::default()
        };
        for n in 0..3 {
            world.submit(ordered(n)).await.unwrap();
        }
        let verdicts = world.work("a").await;
        assert_eq!(verdicts.len(), 3);
        assert!(verdicts.iter().all(|verdict| !verdict.is_ack()), "{way:?} {verdicts:?}");
        assert_eq!(world.script.calls_of("a"), 1, "the others wait for the first");
        world.work("b").await;
        assert_eq!(world.script.calls_of("b"), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn the_tenant_and_the_trace_reach_every_branch() {
    for way in WAYS {
        let world = Plan::new(way, &THREE, need(0)).build();
        let mut request = world.asking(SubmitRequest { method: world::METHOD.into(), ..plain() });
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
        queuebridge_proto::v1::jobs_server::Jobs::submit(&world.service, request).await.unwrap();
        for name in THREE {
            let message =
                world.station(name).queue.receive(1, Duration::ZERO).await.unwrap().remove(0);
            assert_eq!(message.group_id.as_deref(), Some("t"));
            assert!(message.trace_header.unwrap().starts_with("Root=1-4bf92f35-"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_submission_may_name_its_branches() {
    let world = Plan::new(Way::Queues, &THREE, need(0)).build();
    let two = SubmitRequest { branches: vec!["c".into(), "a".into()], ..plain() };
    let job = world.submit(two).await.unwrap();
    assert_eq!(states(&job), [("a", State::Accepted), ("c", State::Accepted)]);
}

#[tokio::test(start_paused = true)]
async fn what_would_be_too_much_in_all_its_messages_is_stored_once() {
    let names: Vec<String> = (0..20).map(|n| format!("b{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let request: Vec<u8> = (0..31_000).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).collect();
    let world = Plan::new(Way::Queues, &names, need(0)).build();
    let request = SubmitRequest { request: request.into(), ..plain() };
    world.submit(request).await.unwrap();
    let message = world.station("b0").queue.receive(1, Duration::ZERO).await.unwrap().remove(0);
    let call = envelope::open(&message.body, &world.keys).unwrap();
    assert!(matches!(call.payload, Some(Payload::RequestRef(_))));
}
