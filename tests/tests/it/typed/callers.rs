//! Callers that go on sending, go away, or come back, one by one, in simulated time.

use super::bridge::{Bridge, Plan, found, modes, one, open};
use super::world::{Script, messages, reason};
use bytes::Bytes;
use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use queuebridge_gateway::config::Mode;
use queuebridge_proto::JobId;
use queuebridge_proto::time::grpc_timeout;
use queuebridge_proto::v1::jobs_server::Jobs;
use queuebridge_proto::v1::submit_request::Expiry;
use queuebridge_proto::v1::{State, SubmitBatchRequest, SubmitRequest};
use queuebridge_store::testing::Fault;
use queuebridge_worker::{JobContext, RunnerSettings};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tonic::{Code, Request, Response};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// Waits for the whole request, and says so.
fn reading() -> (Script, mpsc::UnboundedReceiver<(JobId, usize)>) {
    let (tell, told) = mpsc::unbounded_channel();
    let script = Script::new(move |request| {
        let context = request.extensions().get::<JobContext>().cloned().unwrap();
        let tell = tell.clone();
        async move {
            tell.send((context.id, 0)).unwrap();
            let mut requests = request.into_inner();
            let mut count = 0;
            while requests.message().await?.is_some() {
                count += 1;
            }
            tell.send((context.id, count)).unwrap();
            sleep(secs(30)).await;
            Ok(Response::new(messages(["done"])))
        }
    });
    (script, told)
}

#[tokio::test(start_paused = true)]
async fn a_ticket_is_given_only_for_work_that_can_go_on() {
    for whole in [true, false] {
        let (script, mut told) = reading();
        let bridge = Bridge::new(script, modes(&[Mode::Auto]));
        let story = async {
            let (send, request) = open();
            let call = bridge.call(request);
            let rest = async {
                sleep(secs(5)).await;
                send.send(Bytes::from_static(b"second")).await.unwrap();
                (!whole).then_some(send)
            };
            let (status, _open) = join(call, rest).await;
            let status = status.unwrap_err();
            assert_eq!(status.code(), Code::DeadlineExceeded);
            let expected = if whole { "STILL_RUNNING" } else { "DEADLINE_PASSED" };
            assert_eq!(reason(&status), expected);
            let (id, _) = told.recv().await.unwrap();
            sleep(secs(60)).await;
            let state = if whole { State::Succeeded } else { State::Cancelled };
            assert_eq!(found(&bridge, &id).await, state);
        };
        bridge.during(story).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_pauses_for_long_is_sent_before_its_end() {
    let (script, mut told) = reading();
    let bridge = Bridge::new(script, Plan::default());
    let story = async {
        let slow = stream::iter(0..500).then(|_| async {
            sleep(Duration::from_millis(20)).await;
            Bytes::from_static(b"tick")
        });
        let begun = Instant::now();
        let started = async {
            told.recv().await.unwrap();
            begun.elapsed()
        };
        let (answer, started) = join(bridge.call(Request::new(slow)), started).await;
        answer.unwrap();
        assert!(started < secs(1), "{started:?}");
        assert_eq!(told.recv().await.unwrap().1, 500);
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn an_open_request_is_bounded_as_its_route_says() {
    let (script, mut told) = reading();
    let bridge = Bridge::new(script, Plan { max_request_bytes: Some(1000), ..Plan::default() });
    let story = async {
        let (send, request) = open();
        let more = async {
            sleep(secs(1)).await;
            for _ in 0..4 {
                send.send(Bytes::from(vec![7; 400])).await.unwrap();
            }
            sleep(secs(60)).await;
        };
        let status = tokio::select! {
            answer = bridge.call(request) => answer.unwrap_err(),
            () = more => panic!("it was taken"),
        };
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(reason(&status), "PAYLOAD_TOO_LARGE");
        let (id, _) = told.recv().await.unwrap();
        sleep(secs(20)).await;
        assert_eq!(found(&bridge, &id).await, State::Cancelled);
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_later_message_that_nothing_can_hold_is_refused_as_too_large() {
    let (script, _told) = reading();
    let bridge = Bridge::new(script, Plan { payloads: false, ..Plan::default() });
    let story = async {
        let (send, request) = open();
        let more = async {
            sleep(secs(1)).await;
            send.send(Bytes::from(vec![7; 500_000])).await.unwrap();
            sleep(secs(60)).await;
        };
        let status = tokio::select! {
            answer = bridge.call(request) => answer.unwrap_err(),
            () = more => panic!("it was taken"),
        };
        assert_eq!(status.code(), Code::ResourceExhausted);
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_later_message_beyond_the_limit_is_refused_and_takes_none_with_it() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let script = Script::new(move |request| {
        let tell = tell.clone();
        async move {
            let mut requests = request.into_inner();
            while let Ok(Some(message)) = requests.message().await {
                tell.send(message.len()).unwrap();
            }
            std::future::pending().await
        }
    });
    let bridge = Bridge::new(script, Plan::default());
    let story = async {
        let (send, request) = open();
        let more = async {
            assert_eq!(told.recv().await, Some(5));
            for size in [6, 4 << 20, (4 << 20) + 1] {
                send.send(Bytes::from(vec![7; size])).await.unwrap();
            }
            std::future::pending().await
        };
        let status = tokio::select! {
            answer = bridge.call(request) => answer.unwrap_err(),
            () = more => unreachable!(),
        };
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(reason(&status), "PAYLOAD_TOO_LARGE");
        assert_eq!((told.recv().await, told.recv().await), (Some(6), Some(4 << 20)));
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_handler_is_told_a_deadline_only_if_its_caller_has_set_one() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let script = Script::new(move |request| {
        let context = request.extensions().get::<JobContext>().unwrap();
        let timeout = request.metadata().get("grpc-timeout");
        let timeout = timeout.map(|text| grpc_timeout(text.to_str().unwrap()).unwrap());
        tell.send((timeout, context.remaining())).unwrap();
        async { Ok(Response::new(messages(["done"]))) }
    });
    let all = [Mode::Sync, Mode::Auto, Mode::Async];
    let bridge = Bridge::new(script, modes(&all));
    let story = async {
        for mode in all {
            for limit in [None, Some(secs(50))] {
                for is_open in [false, true] {
                    let first = stream::iter([Bytes::from_static(b"first")]);
                    // One that stays open cannot be sent to a job that is not waited for.
                    let is_open = is_open && mode != Mode::Async;
                    let rest = async move {
                        if is_open {
                            sleep(secs(1)).await
                        };
                        Bytes::from_static(b"second")
                    };
                    let mut request = Request::new(first.chain(stream::once(rest)));
                    request.metadata_mut().insert("qb-mode", mode.name().parse().unwrap());
                    if let Some(limit) = limit {
                        request.set_timeout(limit);
                    }
                    bridge.call(request).await.unwrap();
                    let (timeout, remaining) = told.recv().await.unwrap();
                    // In the other modes the work goes on after the caller's deadline.
                    if mode == Mode::Sync && limit.is_some() {
                        let timeout = timeout.expect("the caller has set one");
                        assert!(timeout <= secs(50) && timeout > secs(48), "{timeout:?}");
                        assert!(remaining <= secs(50));
                    } else {
                        assert_eq!(timeout, None, "{mode:?} {limit:?} {is_open}");
                        assert!(remaining > secs(500), "{remaining:?}");
                    }
                }
            }
        }
        let submission = SubmitRequest {
            method: super::world::RUN.to_owned(),
            expiry: Some(Expiry::ExpireAfter(prost_types::Duration { seconds: 50, nanos: 0 })),
            ..SubmitRequest::default()
        };
        let mut request = bridge.asking(submission.clone());
        request.set_timeout(secs(20));
        bridge.jobs.submit(request).await.unwrap();
        let batch = SubmitBatchRequest { jobs: vec![submission], ..SubmitBatchRequest::default() };
        bridge.jobs.submit_batch(bridge.asking(batch)).await.unwrap();
        for _ in 0..2 {
            let (timeout, remaining) = told.recv().await.unwrap();
            assert_eq!(timeout, None, "a work expiry is for the JobContext");
            assert!(remaining <= secs(50));
        }
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn who_may_come_back_by_a_request_id_finds_its_job() {
    let (script, mut told) = reading();
    let bridge = Bridge::new(script, Plan::default());
    let call = || {
        let mut request = one();
        request.metadata_mut().insert("qb-request-id", "order-17".parse().unwrap());
        bridge.call(request)
    };
    let story = async {
        assert!(timeout(secs(5), call()).await.is_err());
        let answer: Vec<_> = call().await.unwrap().into_inner().collect().await;
        assert_eq!(answer.into_iter().next().unwrap().unwrap(), "done");
        let (first, second) = (told.recv().await.unwrap(), told.recv().await.unwrap());
        assert_eq!((first.0, second.1), (second.0, 1));
        assert!(told.try_recv().is_err(), "it ran once");
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_does_not_keep_an_abandoned_job_alive() {
    let (script, mut told) = reading();
    let bridge = Bridge::new(script, Plan::default());
    let story = async {
        let id = tokio::select! {
            answer = bridge.call(one()) => panic!("{answer:?}"),
            told = told.recv() => told.unwrap().0,
        };
        bridge.store.script([Fault::LoseRequest; 2]);
        sleep(secs(15)).await;
        assert_eq!(found(&bridge, &id).await, State::Cancelled);
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_answers_those_who_wait_before_it_ends() {
    let (script, mut told) = reading();
    let bridge = Bridge::new(script, modes(&[Mode::Sync, Mode::Auto]));
    let call = |mode: &'static str| {
        let mut request = one();
        request.metadata_mut().insert("qb-mode", mode.parse().unwrap());
        bridge.call(request)
    };
    let story = async {
        let closing = async {
            sleep(secs(3)).await;
            bridge.closing.cancel();
        };
        let (sync, auto, ()) = tokio::join!(call("sync"), call("auto"), closing);
        let (sync, auto) = (sync.unwrap_err(), auto.unwrap_err());
        assert_eq!((sync.code(), reason(&sync).as_str()), (Code::Unavailable, "DRAINING"));
        assert_eq!(reason(&auto), "STILL_RUNNING");
        sleep(secs(60)).await;
        let mut states = Vec::new();
        while let Ok((id, count)) = told.try_recv() {
            if count == 0 {
                states.push(found(&bridge, &id).await);
            }
        }
        states.sort_by_key(|state| *state as i32);
        assert_eq!(states, [State::Succeeded, State::Cancelled]);
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn no_caller_waits_beyond_its_deadline_whatever_takes_so_long() {
    let limit = secs(3);
    let with_deadline = || {
        let mut request = one();
        request.set_timeout(limit);
        request
    };
    // The queue.
    let (script, _told) = reading();
    let bridge = Bridge::new(script, Plan { queue_takes: secs(60), ..Plan::default() });
    let begun = Instant::now();
    let status = bridge.during(bridge.call(with_deadline())).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert!(begun.elapsed() <= limit, "{:?}", begun.elapsed());

    // A stream that is there, and a caller that takes its time; and a store that does not
    // give the last of it.
    for stored in [true, false] {
        let script = Script::new(|_| async {
            let large = stream::iter(0..10).map(|_| Ok(Bytes::from(vec![7; 60_000])));
            Ok(Response::new(large.boxed()))
        });
        let settings = RunnerSettings { record_bytes: 40_000, ..Plan::default().settings };
        let bridge = Bridge::new(script, Plan { settings, ..Plan::default() });
        let begun = Instant::now();
        let story = async {
            let mut answers = bridge.call(with_deadline()).await?.into_inner();
            answers.message().await?;
            sleep(Duration::from_millis(2900)).await;
            if !stored {
                bridge.payloads.every(1, Fault::LoseRequest);
            }
            while answers.message().await?.is_some() {
                sleep(Duration::from_millis(if stored { 80 } else { 0 })).await;
            }
            Ok(())
        };
        let ended: Result<(), tonic::Status> = bridge.during(story).await;
        assert_eq!(ended.unwrap_err().code(), Code::DeadlineExceeded);
        assert!(begun.elapsed() <= limit + Duration::from_millis(100), "{:?}", begun.elapsed());
    }
}
