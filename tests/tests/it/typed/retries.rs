//! Streams whose job is tried again.

use super::world::{Answers, RUN, Script, World, one, read, reason};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use queuebridge_gateway::config::{CallConfig, Mode};
use queuebridge_worker::JobContext;
use std::time::Duration;
use tokio::time::sleep;
use tonic::{Code, Request, Response, Status};

/// So that the messages before it are handed out.
const PAUSE: Duration = Duration::from_millis(300);

fn auto(deterministic: bool) -> CallConfig {
    CallConfig { modes: vec![Mode::Auto], deterministic, ..CallConfig::default() }
}

/// Answers as `first` says, then with an error that is tried again; and as `second` says
/// in the next attempt.
fn twice(
    first: &'static [&'static str],
    pause: Duration,
    second: &'static [&'static str],
) -> Script {
    let texts = |texts: &'static [&'static str]| {
        stream::iter(texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))))
    };
    Script::new(move |request| {
        let attempt = request.extensions().get::<JobContext>().unwrap().attempt;
        let answers: Answers = if attempt == 1 {
            let end = stream::once(async move {
                sleep(pause).await;
                Err(Status::unavailable("again"))
            });
            texts(first).chain(end).boxed()
        } else {
            texts(second).boxed()
        };
        std::future::ready(Ok(Response::new(answers)))
    })
}

async fn call(world: &World) -> (Vec<String>, Result<(), Status>) {
    match world.call(RUN, Request::new(one(""))).await {
        Ok(answer) => read(answer.into_inner()).await,
        Err(status) => (Vec::new(), Err(status)),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_attempts_are_never_spliced() {
    let world = World::script(twice(&["a", "b"], PAUSE, &["x", "y", "z"]), auto(false)).await;
    let (texts, end) = call(&world).await;
    let end = end.unwrap_err();
    assert_eq!(texts, ["a", "b"]);
    assert_eq!((end.code(), reason(&end).as_str()), (Code::Aborted, "STREAM_RETRIED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_before_the_first_message_is_not_noticed() {
    let world = World::script(twice(&[], Duration::ZERO, &["x", "y", "z"]), auto(false)).await;
    let (texts, end) = call(&world).await;
    assert_eq!(texts, ["x", "y", "z"]);
    assert!(end.is_ok(), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deterministic_stream_goes_on_where_it_was() {
    let world = World::script(twice(&["a", "b"], PAUSE, &["a", "b", "c"]), auto(true)).await;
    let (texts, end) = call(&world).await;
    assert_eq!(texts, ["a", "b", "c"]);
    assert!(end.is_ok(), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_only_claims_to_be_deterministic_is_found_out() {
    for second in [&["a", "x", "c"][..], &["a"]] {
        let world = World::script(twice(&["a", "b"], PAUSE, second), auto(true)).await;
        let (texts, end) = call(&world).await;
        assert_eq!(texts, ["a", "b"]);
        assert_eq!(end.unwrap_err().code(), Code::Aborted, "{second:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_decides_what_is_tried_again() {
    let script = twice(&[], Duration::ZERO, &["x"]);
    let calls = CallConfig { modes: vec![Mode::Sync], ..CallConfig::default() };
    let world = World::script(script, calls).await;
    let (texts, end) = call(&world).await;
    assert!(texts.is_empty());
    let end = end.unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "again"));
}
