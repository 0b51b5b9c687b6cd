//! Calls without a request id that attach to the job of an equal earlier one, in
//! simulated time.

use super::bridge::{Bridge, Plan};
use super::world::{Script, messages};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use queuebridge_gateway::config::{CallConfig, Mode};
use queuebridge_store::testing::Fault;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tonic::{Code, Request, Response, Status};

const WITHIN: Duration = Duration::from_secs(60);

/// Counts its runs, takes a while, and fails the first so many times.
fn counting(failures: u32, takes: Duration) -> (Script, Arc<AtomicU32>) {
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let script = Script::new(move |_| {
        let run = counted.fetch_add(1, Ordering::SeqCst);
        async move {
            sleep(takes).await;
            if run < failures {
                return Err(Status::unavailable("not yet"));
            }
            Ok(Response::new(messages(["done"])))
        }
    });
    (script, runs)
}

fn bridge(script: Script) -> Bridge {
    let calls = CallConfig {
        modes: vec![Mode::Sync, Mode::Auto, Mode::Async],
        attach_within: Some(WITHIN),
        ..CallConfig::default()
    };
    Bridge::new(script, Plan { calls, ..Plan::default() })
}

type Metadata = [(&'static str, &'static str)];

async fn call(bridge: &Bridge, request: &'static str, metadata: &Metadata) -> Result<Bytes, Code> {
    let mut request = Request::new(stream::iter([Bytes::from_static(request.as_bytes())]));
    for (key, value) in metadata {
        request.metadata_mut().insert(*key, value.parse().unwrap());
    }
    let answer = bridge.call(request).await.map_err(|status| status.code())?;
    let all: Vec<_> = answer.into_inner().collect().await;
    all.into_iter().next().unwrap().map_err(|status| status.code())
}

/// So long after the beginning of a window.
async fn at(bridge: &Bridge, after: Duration) {
    let window = u64::try_from(WITHIN.as_millis()).unwrap();
    let gone = bridge.clock.now().0 % window;
    sleep(Duration::from_millis(window - gone) + after).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_left_comes_back_for_its_job_also_over_a_windows_edge() {
    // A job that takes half a minute, and a caller with less patience, twice.
    for begins in [Duration::ZERO, Duration::from_millis(59_500)] {
        let (script, runs) = counting(0, Duration::from_secs(30));
        let bridge = bridge(script);
        let story = async {
            at(&bridge, begins).await;
            let hasty = call(&bridge, "a", &[("traceparent", "00-a-1-01"), ("mine", "1")]);
            assert!(tokio::time::timeout(Duration::from_secs(5), hasty).await.is_err());
            let begun = Instant::now();
            let again = call(&bridge, "a", &[("traceparent", "00-b-2-01"), ("mine", "1")]).await;
            assert_eq!(again.unwrap(), "done");
            assert!(begun.elapsed() < Duration::from_secs(27), "{:?}", begun.elapsed());
        };
        bridge.during(story).await;
        assert_eq!(runs.load(Ordering::SeqCst), 1, "begun {begins:?} into the window");
    }
}

#[tokio::test(start_paused = true)]
async fn a_gateway_whose_clock_is_behind_finds_the_job_of_the_window_to_come() {
    let (script, runs) = counting(0, Duration::ZERO);
    let bridge = bridge(script);
    let story = async {
        at(&bridge, Duration::ZERO).await;
        assert_eq!(call(&bridge, "a", &[]).await.unwrap(), "done");
    };
    bridge.during(story).await;
    // The same store, half a second earlier.
    let behind = bridge.behind(Duration::from_millis(500));
    assert_eq!(behind.during(call(&behind, "a", &[])).await.unwrap(), "done");
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_differs_for_the_handler_is_another_call_and_so_is_what_comes_later() {
    let (script, runs) = counting(0, Duration::ZERO);
    let bridge = bridge(script);
    let story = async {
        at(&bridge, Duration::from_secs(1)).await;
        for (number, (request, metadata)) in
            [("a", &[][..]), ("b", &[]), ("a", &[("mine", "1")]), ("a", &[("mine", "2")])]
                .into_iter()
                .enumerate()
        {
            for _ in 0..2 {
                assert_eq!(call(&bridge, request, metadata).await.unwrap(), "done");
                assert_eq!(runs.load(Ordering::SeqCst), u32::try_from(number).unwrap() + 1);
            }
        }
        // Just within, and just beyond.
        sleep(WITHIN - Duration::from_secs(2)).await;
        call(&bridge, "a", &[]).await.unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 4);
        sleep(Duration::from_secs(3)).await;
        call(&bridge, "a", &[]).await.unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), 5);
    };
    bridge.during(story).await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_has_failed_is_tried_again_by_the_next_call() {
    let (script, runs) = counting(2, Duration::ZERO);
    let bridge = bridge(script);
    let story = async {
        at(&bridge, Duration::from_millis(59_000)).await;
        assert_eq!(call(&bridge, "a", &[]).await, Err(Code::Unavailable));
        assert_eq!(call(&bridge, "a", &[]).await, Err(Code::Unavailable));
        sleep(Duration::from_secs(2)).await;
        for _ in 0..3 {
            assert_eq!(call(&bridge, "a", &[]).await.unwrap(), "done");
        }
    };
    bridge.during(story).await;
    assert_eq!(runs.load(Ordering::SeqCst), 3);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_of_the_store_makes_no_second_job() {
    let (script, runs) = counting(0, Duration::from_secs(10));
    let bridge = bridge(script);
    let story = async {
        at(&bridge, Duration::from_secs(1)).await;
        // The look at the window before, then the record itself.
        bridge.store.script([Fault::None, Fault::LoseResponse]);
        assert_eq!(call(&bridge, "a", &[]).await, Err(Code::Unavailable));
        let both = futures_util::future::join(call(&bridge, "a", &[]), call(&bridge, "a", &[]));
        assert_eq!(both.await, (Ok(Bytes::from("done")), Ok(Bytes::from("done"))));
    };
    bridge.during(story).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_is_waited_for_to_its_end() {
    let (script, runs) = counting(0, Duration::ZERO);
    let bridge = bridge(script);
    let slow = || {
        let parts = stream::iter(["a", "b"]).then(|text| async move {
            sleep(Duration::from_secs(2)).await;
            Bytes::from(text)
        });
        bridge.call(Request::new(parts))
    };
    let story = async {
        at(&bridge, Duration::from_secs(1)).await;
        for _ in 0..2 {
            slow().await.unwrap();
        }
    };
    bridge.during(story).await;
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}
