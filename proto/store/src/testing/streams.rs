//! The conformance suite of [`StreamStore`].
//!
//! Every case uses jobs of its own.

use super::run;
use crate::record::Token;
use crate::stream::{Lane, StreamStore};
use bytes::Bytes;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::v1::{StreamChunk, StreamEnd, StreamMark};
use queuebridge_proto::{JobId, Keyring, UnixMillis};
use std::sync::Arc;
use std::time::Duration;

const START: UnixMillis = UnixMillis(1_700_000_000_000);
const HOUR: Duration = Duration::from_secs(3600);
/// Long enough for every store to notice what has come.
const PATIENCE: Duration = Duration::from_secs(20);
const NONE: Duration = Duration::ZERO;

type Subject = Arc<dyn StreamStore>;

/// Runs every case against `store`.
///
/// # Panics
/// When a case fails, with its name.
pub async fn conformance(store: Subject) {
    run!(store;
        cases:
            a_chunk_is_found_under_its_number,
            the_first_chunk_of_a_number_stays,
            lanes_and_jobs_are_independent,
            a_reader_waits_for_what_comes,
            a_reader_waits_no_longer_than_it_wants,
            the_last_mark_counts_and_none_goes_back,
            a_deleted_lane_is_gone
    );
}

fn job() -> JobId {
    let claims = Claims {
        uuid: uuid::Uuid::new_v4(),
        tenant: "t",
        method: "/a.B/C",
        expires_at: START.plus(HOUR),
        retention: HOUR,
        at_least_once: false,
        reply_shard: None,
    };
    JobId::mint(&claims, &Keyring::single(&[1; 32]))
}

fn chunk(text: &'static str) -> StreamChunk {
    StreamChunk { messages: vec![Bytes::from_static(text.as_bytes())], ..StreamChunk::default() }
}

mod cases {
    use super::*;

    pub(super) async fn a_chunk_is_found_under_its_number(s: Subject) {
        let job = job();
        let last = StreamChunk { end: StreamEnd::Closed as i32, ..chunk("b") };
        s.append(&job, Lane::Request, 0, chunk("a"), START).await.unwrap();
        s.append(&job, Lane::Request, 1, last.clone(), START).await.unwrap();
        assert_eq!(s.read(&job, Lane::Request, 0, NONE).await.unwrap(), Some(chunk("a")));
        assert_eq!(s.read(&job, Lane::Request, 1, NONE).await.unwrap(), Some(last));
        assert_eq!(s.read(&job, Lane::Request, 2, NONE).await.unwrap(), None);
    }

    pub(super) async fn the_first_chunk_of_a_number_stays(s: Subject) {
        let job = job();
        for text in ["a", "b"] {
            s.append(&job, Lane::Request, 7, chunk(text), START).await.unwrap();
        }
        assert_eq!(s.read(&job, Lane::Request, 7, NONE).await.unwrap(), Some(chunk("a")));
    }

    pub(super) async fn lanes_and_jobs_are_independent(s: Subject) {
        let (one, other) = (job(), job());
        let lanes = [Lane::Request, Lane::Answer(Token::random()), Lane::Answer(Token::random())];
        for (lane, text) in lanes.into_iter().zip(["r", "x", "y"]) {
            s.append(&one, lane, 0, chunk(text), START).await.unwrap();
        }
        for (lane, text) in lanes.into_iter().zip(["r", "x", "y"]) {
            assert_eq!(s.read(&one, lane, 0, NONE).await.unwrap(), Some(chunk(text)));
            assert_eq!(s.read(&other, lane, 0, NONE).await.unwrap(), None);
        }
    }

    pub(super) async fn a_reader_waits_for_what_comes(s: Subject) {
        let job = job();
        let reader = |number| {
            let s = s.clone();
            tokio::spawn(async move { s.read(&job, Lane::Request, number, PATIENCE).await })
        };
        let (first, second) = (reader(0), reader(1));
        tokio::task::yield_now().await;
        s.append(&job, Lane::Request, 0, chunk("a"), START).await.unwrap();
        assert_eq!(first.await.unwrap().unwrap(), Some(chunk("a")));
        s.append(&job, Lane::Request, 1, chunk("b"), START).await.unwrap();
        assert_eq!(second.await.unwrap().unwrap(), Some(chunk("b")));
    }

    pub(super) async fn a_reader_waits_no_longer_than_it_wants(s: Subject) {
        let wait = Duration::from_millis(30);
        assert_eq!(s.read(&job(), Lane::Request, 0, wait).await.unwrap(), None);
    }

    pub(super) async fn the_last_mark_counts_and_none_goes_back(s: Subject) {
        let job = job();
        assert_eq!(s.marked(&job, Lane::Request).await.unwrap(), None);
        for (taken, later) in [(0, 0), (0, 1), (9, 2), (10, 3), (10, 4)] {
            let mark = StreamMark { taken, seen_at: START.0 + later };
            s.mark(&job, Lane::Request, mark, START).await.unwrap();
            assert_eq!(s.marked(&job, Lane::Request).await.unwrap(), Some(mark));
        }
        let slow = StreamMark { taken: 9, seen_at: START.0 + 5 };
        s.mark(&job, Lane::Request, slow, START).await.unwrap();
        let last = StreamMark { taken: 10, seen_at: START.0 + 4 };
        assert_eq!(s.marked(&job, Lane::Request).await.unwrap(), Some(last));
    }

    pub(super) async fn a_deleted_lane_is_gone(s: Subject) {
        let (job, gone) = (job(), Lane::Answer(Token::random()));
        for number in 0..60 {
            s.append(&job, gone, number, chunk("a"), START).await.unwrap();
        }
        s.mark(&job, gone, StreamMark::default(), START).await.unwrap();
        s.append(&job, Lane::Request, 0, chunk("b"), START).await.unwrap();
        for _ in 0..2 {
            s.delete(&job, gone, 60).await.unwrap();
            assert_eq!(s.marked(&job, gone).await.unwrap(), None);
            for number in [0, 30, 59] {
                assert_eq!(s.read(&job, gone, number, NONE).await.unwrap(), None);
            }
        }
        assert_eq!(s.read(&job, Lane::Request, 0, NONE).await.unwrap(), Some(chunk("b")));
    }
}
