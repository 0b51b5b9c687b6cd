use super::*;
use crate::config::{Destination, RouteConfig};
use crate::identity::Identity;
use crate::route::Routes;
use crate::submit::tests::Kept;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::v1::callback::Target;
use queuebridge_proto::v1::{Callback, GatherRule, SubmitRequest};
use queuebridge_proto::{JobId, Keyring, UnixMillis};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn entry(key: &str, value: &str) -> Metadatum {
    Metadatum { key: key.into(), value: Some(Value::Ascii(value.into())) }
}

fn job_id() -> JobId {
    let claims = Claims {
        uuid: uuid::Uuid::from_u128(1),
        tenant: "t",
        method: "/a.B/C",
        expires_at: NOW,
        retention: Duration::from_secs(1),
        at_least_once: false,
        reply_shard: None,
    };
    JobId::mint(&claims, &Keyring::single(&[1; 32]))
}

fn base() -> SubmitRequest {
    SubmitRequest {
        method: "/a.B/C".into(),
        request: "one".into(),
        metadata: vec![entry("x-user", "ann"), entry("x-tag", "1"), entry("x-tag", "2")],
        ..SubmitRequest::default()
    }
}

fn checked(request: SubmitRequest) -> Submission {
    ignoring(&[], request)
}

fn ignoring(names: &[&str], request: SubmitRequest) -> Submission {
    let mut route = RouteConfig::new("*".parse().unwrap(), Destination::Queue("q".into()));
    route.calls.ignored_metadata = names.iter().map(ToString::to_string).collect();
    let routes = Routes::new().with(route, Arc::new(Kept::default()));
    let caller = Identity::trusted("t");
    Submission::check(request, &routes, &caller, &Keyring::single(&[1; 32]), NOW).unwrap()
}

fn of(change: impl FnOnce(&mut SubmitRequest)) -> [u8; 32] {
    let mut request = base();
    change(&mut request);
    digest(&checked(request))
}

/// Of what the routes of this test have no place for.
fn with(change: impl FnOnce(&mut Submission)) -> [u8; 32] {
    let mut job = checked(base());
    change(&mut job);
    digest(&job)
}

fn branches(names: &[&str]) -> [u8; 32] {
    with(|job| job.given.branches = names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn every_part_of_a_submission_makes_another_digest() {
    let callback = |url: &str| Callback { target: Some(Target::WebhookUrl(url.into())) };
    let rule = |need| Some(GatherRule { need, ..GatherRule::default() });
    let all = [
        of(|_| {}),
        of(|of| of.method = "/a.B/D".into()),
        of(|of| of.request = "two".into()),
        of(|of| of.metadata[0] = entry("x-user", "bob")),
        of(|of| of.metadata[0] = entry("x-users", "ann")),
        of(|of| of.metadata.swap(1, 2)),
        of(|of| of.metadata.truncate(2)),
        of(|of| of.metadata.clear()),
        of(|of| of.delay = Some(prost_types::Duration { seconds: 1, nanos: 0 })),
        of(|of| of.retry_of = job_id().to_string()),
        of(|of| of.callback = Some(callback("https://a.example/"))),
        of(|of| of.callback = Some(callback("https://b.example/"))),
        with(|job| job.ordering_key = "k".into()),
        with(|job| job.shape.stream = true),
        with(|job| job.given.gather = rule(0)),
        with(|job| job.given.gather = rule(1)),
        branches(&["a"]),
        branches(&["a", "b"]),
        branches(&["ab"]),
    ];
    let different: BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), all.len());
}

#[test]
fn what_names_a_hop_or_an_attempt_makes_none_and_neither_does_the_order_of_keys() {
    let same = of(|_| {});
    for key in OF_ONE_ATTEMPT {
        assert_eq!(of(|of| of.metadata.push(entry(key, "another"))), same, "{key}");
    }
    assert_eq!(of(|of| of.metadata.rotate_left(1)), same);
    assert_eq!(of(|of| of.request_id = "r".into()), same);
    assert_eq!(of(|of| of.wait = Some(prost_types::Duration { seconds: 9, nanos: 0 })), same);
    assert_eq!(
        of(|of| of.result_retention = Some(prost_types::Duration { seconds: 9, nanos: 0 })),
        same
    );
    assert_eq!(branches(&["a", "b"]), branches(&["b", "a", "b"]));
}

#[test]
fn a_route_names_more_that_makes_no_difference() {
    let with = |names: &[&str], value| {
        let mut request = base();
        request.metadata.push(entry("x-delivery", value));
        digest(&ignoring(names, request))
    };
    assert_ne!(with(&[], "1"), with(&[], "2"));
    assert_eq!(with(&["x-delivery"], "1"), with(&["x-delivery"], "2"));
    assert_ne!(with(&["x-other"], "1"), with(&["x-other"], "2"));
}

#[test]
fn what_tells_users_apart_counts_also_where_a_proxy_has_added_it() {
    let same = of(|_| {});
    for key in ["x-forwarded-user", "x-amzn-oidc-identity", "cookie"] {
        assert_ne!(of(|of| of.metadata.push(entry(key, "bob"))), same, "{key}");
    }
}

#[test]
fn what_an_earlier_version_has_recorded_is_compared_as_it_was() {
    let (job, other) =
        (checked(base()), checked(SubmitRequest { request: "two".into(), ..base() }));
    let recorded = |digest, owner| {
        let (job, mac) = (job_id(), Vec::new());
        Accepted::Existing { job, digest, owner, published: true, mac }
    };
    let earlier = recorded(plain_digest("/a.B/C", b"one"), None);
    assert!(is_same(&earlier, &job, &digest(&job)));
    assert!(!is_same(&earlier, &other, &digest(&other)));
    let owned = recorded(plain_digest("/a.B/C", b"one"), Some([1; 16]));
    assert!(!is_same(&owned, &job, &digest(&job)));
    assert!(is_same(&recorded(digest(&job), Some([1; 16])), &job, &digest(&job)));
}

#[test]
fn no_part_runs_into_the_next_one() {
    let one = of(|of| of.metadata = vec![entry("a", "bc")]);
    let other = of(|of| of.metadata = vec![entry("ab", "c")]);
    assert_ne!(one, other);
    assert_ne!(
        of(|of| of.metadata = vec![entry("a", "x"), entry("b", "y")]),
        of(|of| of.metadata = vec![entry("a", "x"), entry("a", "y")]),
    );
}
