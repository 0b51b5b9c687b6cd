//! A bounded round of what the fuzzers do: the corpora as they are, and mutations of them.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use queuebridge_tests::fuzz::{TARGETS, caller, corpus};

/// Mutations of each target. By hand, and for hours: `just fuzz TARGET`.
const CASES: u32 = 512;

/// One change at a place, which is taken modulo the length.
#[derive(Clone, Debug)]
enum Change {
    Flip(usize, u8),
    Insert(usize, Vec<u8>),
    Remove(usize, usize),
    Repeat(usize, usize),
    Cut(usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = any::<usize>();
    prop_oneof![
        (at, any::<u8>()).prop_map(|(at, mask)| Change::Flip(at, mask)),
        (at, vec(any::<u8>(), 1..8)).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (at, 1..64usize).prop_map(|(at, len)| Change::Remove(at, len)),
        (at, 1..64usize).prop_map(|(at, len)| Change::Repeat(at, len)),
        at.prop_map(Change::Cut),
    ]
}

fn changed(mut data: Vec<u8>, changes: &[Change]) -> Vec<u8> {
    for change in changes {
        let len = data.len();
        let place = |at: usize| at % (len + 1);
        match change {
            Change::Flip(at, mask) if len > 0 => data[at % len] ^= mask,
            Change::Flip(..) => {}
            Change::Insert(at, bytes) => {
                let at = place(*at);
                data.splice(at..at, bytes.iter().copied());
            }
            Change::Remove(at, count) => {
                let at = place(*at);
                data.drain(at..len.min(at + count));
            }
            Change::Repeat(at, count) => {
                let at = place(*at);
                let part = data[at..len.min(at + count)].to_vec();
                data.splice(at..at, part);
            }
            Change::Cut(at) => data.truncate(place(*at)),
        }
    }
    data
}

#[test]
fn no_decoder_panics_at_what_a_stranger_sends() {
    for (name, target) in TARGETS {
        let corpus = corpus(name);
        assert!(!corpus.is_empty(), "{name} has no corpus");
        corpus.iter().for_each(|data| target(data));
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let inputs = (proptest::sample::select(corpus), vec(change(), 1..12));
        let run = TestRunner::new(config).run(&inputs, |(data, changes)| {
            target(&changed(data, &changes));
            Ok(())
        });
        run.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn the_credentials_of_the_corpus_reach_every_check() {
    let let_in = corpus("credential").iter().filter(|data| caller(data).is_some()).count();
    assert_eq!(let_in, 5, "three tokens and two API keys are right");
}
