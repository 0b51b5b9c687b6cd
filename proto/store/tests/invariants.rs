//! Whatever is called in whatever order, the promises of the result store hold.

use proptest::prelude::*;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::v1::{Origin, State};
use queuebridge_proto::{JobId, Keyring, UnixMillis, outcome};
use queuebridge_store::memory::MemoryResultStore;
use queuebridge_store::{
    Author, Cancelled, Claim, ClaimRequest, Completed, Deleted, End, Lapsed, Lease, Record,
    Renewed, ResultStore, Token,
};
use std::time::Duration;

const START: u64 = 1_700_000_000_000;
const EXPIRES: u64 = START + 10_000;

#[derive(Clone, Debug)]
enum Step {
    Claim { token: u8, lease: u64, lapsed: Lapsed },
    Renew { token: u8, lease: u64 },
    Release { token: u8, counts: bool },
    Complete { author: Author, state: State },
    Cancel,
    Delete,
}

fn token(number: u8) -> Token {
    Token::from_bytes([number; 16])
}

fn step() -> impl Strategy<Value = Step> {
    let number = || 0..4u8;
    let lease = || 1..1500u64;
    let author = prop_oneof![
        4 => number().prop_map(|n| Author::Claim(token(n))),
        1 => Just(Author::Unclaimed),
        1 => Just(Author::Expiry),
    ];
    let state = prop_oneof![
        Just(State::Succeeded),
        Just(State::Failed),
        Just(State::Cancelled),
        Just(State::Expired)
    ];
    let lapsed = prop_oneof![Just(Lapsed::Take), Just(Lapsed::Leave)];
    prop_oneof![
        4 => (number(), lease(), lapsed)
            .prop_map(|(token, lease, lapsed)| Step::Claim { token, lease, lapsed }),
        3 => (number(), lease()).prop_map(|(token, lease)| Step::Renew { token, lease }),
        2 => (number(), any::<bool>())
            .prop_map(|(token, counts)| Step::Release { token, counts }),
        1 => (author, state).prop_map(|(author, state)| Step::Complete { author, state }),
        1 => Just(Step::Cancel),
        1 => Just(Step::Delete),
    ]
}

fn job() -> JobId {
    let claims = Claims {
        uuid: uuid::Builder::from_unix_timestamp_millis(START, &[1; 10]).into_uuid(),
        tenant: "t",
        method: "/a.B/C",
        expires_at: UnixMillis(EXPIRES),
        retention: Duration::from_secs(60),
        at_least_once: false,
        reply_shard: None,
    };
    JobId::mint(&claims, &Keyring::single(&[7; 32]))
}

/// What an observer of the answers alone knows.
#[derive(Default)]
struct Observer {
    grants: u32,
    /// The holder, and until when nobody else may be granted the claim.
    held: Option<(Token, u64)>,
    stored: u32,
    end: Option<Record>,
    /// The token whose copy has said how the job began.
    origin: Option<u8>,
}

async fn run(steps: Vec<(u64, Step)>) -> Result<(), TestCaseError> {
    let (store, job) = (MemoryResultStore::new(Duration::from_secs(60)), job());
    let (mut seen, mut now) = (Observer::default(), START);
    for (pause, step) in steps {
        now += pause;
        let at = UnixMillis(now);
        match step {
            Step::Claim { token: n, lease, lapsed } => {
                let until = UnixMillis(now + lease);
                let request = ClaimRequest::new("/a.B/C", token(n), until, lapsed);
                let origin = Origin { request_key: n.to_string(), ..Origin::default() };
                let claimed = store.claim(&job, request.with_origin(origin), at).await.unwrap();
                let claim = claimed.claim;
                // Whoever was granted the first claim has said it.
                let granted = matches!(claim, Claim::Granted { .. });
                seen.origin = seen.origin.or(granted.then_some(n));
                let origin = claimed.origin.map(|origin| origin.request_key);
                prop_assert_eq!(origin, seen.origin.map(|n| n.to_string()));
                let others = seen.held.is_some_and(|(holder, _)| holder != token(n));
                prop_assert!(claim != Claim::Lapsed || (others && lapsed == Lapsed::Leave));
                if let Claim::Granted { attempt } = claim {
                    prop_assert!(seen.end.is_none(), "a finished job was granted");
                    prop_assert!(!others || lapsed == Lapsed::Take, "a lapsed claim was taken");
                    if seen.held.is_none_or(|(holder, _)| holder != token(n)) {
                        prop_assert!(seen.held.is_none_or(|(_, until)| until <= now), "two leases");
                        seen.grants += 1;
                    }
                    prop_assert_eq!(attempt, seen.grants);
                    seen.held = Some((token(n), until.0));
                }
            }
            Step::Renew { token: n, lease } => {
                let until = Lease::Until(UnixMillis(now + lease));
                let renewed = store.renew(&job, token(n), until, None, at).await.unwrap();
                let mine = seen.held.is_some_and(|(holder, _)| holder == token(n));
                prop_assert_eq!(renewed != Renewed::Lost, mine);
                if mine {
                    seen.held = Some((token(n), now + lease));
                }
            }
            Step::Release { token: n, counts } => {
                let lease = if counts { Lease::Release } else { Lease::Return };
                let renewed = store.renew(&job, token(n), lease, None, at).await.unwrap();
                if renewed != Renewed::Lost {
                    seen.grants -= u32::from(!counts);
                    seen.held = None;
                }
            }
            Step::Complete { author, state } => {
                let end = End::new(state, outcome::expired());
                let done = store.complete(&job, "", author, end, at).await.unwrap();
                prop_assert_eq!(done == Completed::AlreadyFinished, seen.end.is_some());
                if done == Completed::Stored {
                    prop_assert!(state == State::Expired || now <= EXPIRES + 2000);
                    prop_assert!(state != State::Expired || now >= EXPIRES);
                    seen.stored += 1;
                }
            }
            Step::Delete => {
                let deleted = store.delete(&job, at).await.unwrap();
                prop_assert_eq!(deleted == Deleted::Deleted, seen.end.is_some());
                if let Some(end) = &mut seen.end {
                    (end.outcome, end.progress) = (None, None);
                }
            }
            Step::Cancel => {
                let cancelled = store.cancel(&job, at).await.unwrap();
                seen.stored += u32::from(cancelled == Cancelled::BeforeStart);
            }
        }
        let Some(record) = store.get(&job, at).await.unwrap() else { continue };
        prop_assert_eq!(record.attempt, seen.grants);
        prop_assert!(record.is_terminal() || record.outcome.is_none());
        prop_assert_eq!(record.is_terminal(), record.completed_at.is_some());
        prop_assert_eq!(record.state == State::Running, record.token.is_some());
        match &seen.end {
            Some(end) => prop_assert_eq!(end, &record),
            None if record.is_terminal() => (seen.end, seen.held) = (Some(record), None),
            None => {}
        }
        prop_assert!(seen.stored <= 1, "two ends were stored");
    }
    Ok(())
}

proptest! {
    #[test]
    fn one_end_one_lease_and_a_true_count(
        steps in proptest::collection::vec((0..700u64, step()), 1..60)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(run(steps))?;
    }
}
