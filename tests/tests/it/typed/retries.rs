//! Streams whose job is tried again.

use super::world::{Answers, RUN, Script, World, one, reason};
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use queuebridge_gateway::config::{CallConfig, Mode};
use queuebridge_worker::JobContext;
use std::sync::Arc;
use tokio::sync::Notify;
use tonic::{Code, Request, Response, Status};

fn auto(deterministic: bool) -> CallConfig {
    CallConfig { modes: vec![Mode::Auto], deterministic, ..CallConfig::default() }
}

/// Answers as `first` says, and when the caller has read that, with an error that is tried
/// again; and as `second` says in the next attempt.
fn twice(
    first: &'static [&'static str],
    read: &Arc<Notify>,
    second: &'static [&'static str],
) -> Script {
    let read = read.clone();
    let texts = |texts: &'static [&'static str]| {
        stream::iter(texts.iter().map(|text| Ok(Bytes::from_static(text.as_bytes()))))
    };
    Script::new(move |request| {
        let attempt = request.extensions().get::<JobContext>().unwrap().attempt;
        let answers: Answers = if attempt == 1 {
            let read = read.clone();
            let end = stream::once(async move {
                if !first.is_empty() {
                    read.notified().await;
                }
                Err(Status::unavailable("again"))
            });
            texts(first).chain(end).boxed()
        } else {
            texts(second).boxed()
        };
        std::future::ready(Ok(Response::new(answers)))
    })
}

/// Calls it, and tells it when two messages are read.
async fn call(world: &World, two_read: &Notify) -> (Vec<String>, Result<(), Status>) {
    let mut texts = Vec::new();
    let mut answers = match world.call(RUN, Request::new(one(""))).await {
        Ok(answer) => answer.into_inner(),
        Err(status) => return (texts, Err(status)),
    };
    loop {
        match answers.message().await {
            Ok(Some(message)) => texts.push(String::from_utf8(message.to_vec()).unwrap()),
            Ok(None) => return (texts, Ok(())),
            Err(status) => return (texts, Err(status)),
        }
        if texts.len() == 2 {
            two_read.notify_one();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_attempts_are_never_spliced() {
    let read = Arc::default();
    let world = World::script(twice(&["a", "b"], &read, &["x", "y", "z"]), auto(false)).await;
    let (texts, end) = call(&world, &read).await;
    let end = end.unwrap_err();
    assert_eq!(texts, ["a", "b"]);
    assert_eq!((end.code(), reason(&end).as_str()), (Code::Aborted, "STREAM_RETRIED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_before_the_first_message_is_not_noticed() {
    let read = Arc::default();
    let world = World::script(twice(&[], &read, &["x", "y", "z"]), auto(false)).await;
    let (texts, end) = call(&world, &read).await;
    assert_eq!(texts, ["x", "y", "z"]);
    assert!(end.is_ok(), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deterministic_stream_goes_on_where_it_was() {
    let read = Arc::default();
    let world = World::script(twice(&["a", "b"], &read, &["a", "b", "c"]), auto(true)).await;
    let (texts, end) = call(&world, &read).await;
    assert_eq!(texts, ["a", "b", "c"]);
    assert!(end.is_ok(), "{end:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_only_claims_to_be_deterministic_is_found_out() {
    let read = Arc::default();
    for second in [&["a", "x", "c"][..], &["a"]] {
        let world = World::script(twice(&["a", "b"], &read, second), auto(true)).await;
        let (texts, end) = call(&world, &read).await;
        assert_eq!(texts, ["a", "b"]);
        assert_eq!(end.unwrap_err().code(), Code::Aborted, "{second:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_decides_what_is_tried_again() {
    let read = Arc::default();
    let script = twice(&[], &read, &["x"]);
    let calls = CallConfig { modes: vec![Mode::Sync], ..CallConfig::default() };
    let world = World::script(script, calls).await;
    let (texts, end) = call(&world, &read).await;
    assert!(texts.is_empty());
    let end = end.unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::Unavailable, "again"));
}
