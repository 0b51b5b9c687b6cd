use super::*;
use crate::config::{Destination, RouteConfig};
use crate::publish::{Limits, Message, PublishError, Publisher};
use async_trait::async_trait;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::v1::metadatum::Value;
use tonic_types::StatusExt;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

struct Nowhere {
    fifo: bool,
}

#[async_trait]
impl Publisher for Nowhere {
    fn limits(&self) -> Limits {
        Limits {
            batch_entries: 10,
            batch_bytes: 1 << 20,
            message_bytes: 1 << 20,
            fifo: self.fifo,
            concurrency: 1,
        }
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        vec![Ok(()); batch.len()]
    }
}

fn routes() -> Routes {
    let route = |pattern: &str, max_request_bytes| RouteConfig {
        max_request_bytes,
        ..RouteConfig::new(pattern.parse().unwrap(), Destination::Queue("q".into()))
    };
    let topic = RouteConfig::new("/a.Topic/*".parse().unwrap(), Destination::Topic("arn".into()));
    let direct = RouteConfig::new("/a.Direct/*".parse().unwrap(), Destination::None);
    let mut routes = Routes::new();
    routes.push(direct, Vec::new(), None);
    routes
        .with(route("/a.B/*", Some(100)), Arc::new(Nowhere { fifo: false }))
        .with(route("/a.Ordered/*", None), Arc::new(Nowhere { fifo: true }))
        .with(topic, Arc::new(Nowhere { fifo: false }))
}

fn good() -> SubmitRequest {
    SubmitRequest { method: "/a.B/C".into(), ..SubmitRequest::default() }
}

fn caller() -> Identity {
    Identity::trusted("t")
}

fn keys() -> Keyring {
    Keyring::single(&[1; 32])
}

fn check(request: SubmitRequest) -> Result<Submission, Status> {
    Submission::check(request, &routes(), &caller(), &keys(), NOW)
}

fn secs(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

#[track_caller]
fn refused(request: SubmitRequest, code: Code, reason: &str, field: &str) {
    let Err(status) = check(request) else { panic!("accepted") };
    let details = status.get_error_details();
    let info = details.error_info().unwrap();
    assert_eq!((status.code(), info.reason.as_str()), (code, reason), "{status:?}");
    assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
}

#[track_caller]
fn invalid(request: SubmitRequest, field: &str) {
    refused(request, Code::InvalidArgument, "INVALID_FIELD", field);
}

#[test]
fn the_routes_defaults_fill_what_is_not_said() {
    let job = check(good()).unwrap();
    assert_eq!(job.expires_at, NOW.plus(job.route.config.default_expiry));
    assert_eq!(job.retention, job.route.config.default_retention);
    assert_eq!((job.delay_seconds, job.request_id.as_deref()), (0, None));
}

#[test]
fn methods_without_a_route_or_a_shape_are_refused() {
    for bad in ["", "a.B/C", "/a.B", "/a.B/C/D"] {
        invalid(SubmitRequest { method: bad.into(), ..good() }, "method");
    }
    let unknown = SubmitRequest { method: "/x.Y/Z".into(), ..good() };
    refused(unknown, Code::NotFound, "NO_ROUTE", "method");
    let direct = SubmitRequest { method: "/a.Direct/M".into(), ..good() };
    refused(direct, Code::FailedPrecondition, "NO_QUEUE", "method");
}

#[test]
fn what_is_too_large_is_not_to_be_retried() {
    let large = SubmitRequest { request: vec![0; 101].into(), ..good() };
    refused(large.clone(), Code::ResourceExhausted, "PAYLOAD_TOO_LARGE", "request");
    let status = check(large).err().unwrap();
    assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "-1");
    let entry =
        |key: &str, len| Metadatum { key: key.into(), value: Some(Value::Ascii("v".repeat(len))) };
    let many = SubmitRequest { metadata: vec![entry("k", 1); 65], ..good() };
    refused(many, Code::ResourceExhausted, "PAYLOAD_TOO_LARGE", "metadata");
    let long = SubmitRequest { metadata: vec![entry("k", 8192)], ..good() };
    refused(long, Code::ResourceExhausted, "PAYLOAD_TOO_LARGE", "metadata");
    invalid(SubmitRequest { metadata: vec![entry("K", 1)], ..good() }, "metadata[0]");
}

#[test]
fn times_that_are_negative_absurd_or_past_are_refused() {
    let expiry = |expiry| SubmitRequest { expiry: Some(expiry), ..good() };
    for bad in [secs(-1), secs(0), secs(i64::MAX), secs(14 * 24 * 3600 + 1)] {
        invalid(expiry(Expiry::ExpireAfter(bad)), "expire_after");
    }
    let at = |seconds| Expiry::ExpireTime(prost_types::Timestamp { seconds, nanos: 0 });
    for bad in [-1, 0, 1_600_000_000, 1_700_000_000, i64::MAX] {
        invalid(expiry(at(bad)), "expire_time");
    }
    let job = check(expiry(at(1_700_000_001))).unwrap();
    assert_eq!(job.expires_at, UnixMillis(1_700_000_001_000));
    for bad in [secs(-1), secs(0), secs(i64::MAX)] {
        invalid(SubmitRequest { result_retention: Some(bad), ..good() }, "result_retention");
    }
    for bad in [secs(-1), secs(901)] {
        invalid(SubmitRequest { delay: Some(bad), ..good() }, "delay");
    }
    invalid(SubmitRequest { wait: Some(secs(-1)), ..good() }, "wait");
}

#[test]
fn a_delay_rounds_up_and_ends_before_the_expiry() {
    let half = prost_types::Duration { seconds: 0, nanos: 500_000_000 };
    let request = SubmitRequest { delay: Some(half), ..good() };
    assert_eq!(check(request).unwrap().delay_seconds, 1);
    let method = "/a.Topic/C".to_owned();
    let over_topic = SubmitRequest { method, delay: Some(secs(1)), ..good() };
    assert_eq!(check(over_topic).unwrap().delay_seconds, 1);
    let expiry = Some(Expiry::ExpireAfter(secs(10)));
    invalid(SubmitRequest { delay: Some(secs(10)), expiry, ..good() }, "delay");
}

#[test]
fn ordering_needs_an_ordered_queue_and_no_delay() {
    let ordered = |key: &str| SubmitRequest {
        method: "/a.Ordered/C".into(),
        ordering_key: key.into(),
        ..good()
    };
    assert!(check(ordered("k")).is_ok());
    assert!(check(ordered("")).is_ok());
    invalid(SubmitRequest { ordering_key: "k".into(), ..good() }, "ordering_key");
    invalid(ordered("sp ace"), "ordering_key");
    invalid(ordered(&"k".repeat(65)), "ordering_key");
    invalid(SubmitRequest { delay: Some(secs(1)), ..ordered("k") }, "delay");
    invalid(SubmitRequest { delay: Some(secs(1)), ..ordered("") }, "delay");
}

#[test]
fn a_request_id_is_printable_and_short() {
    let id = |id: &str| SubmitRequest { request_id: id.into(), ..good() };
    assert!(check(id(&"x".repeat(128))).is_ok());
    for bad in ["a b", "ü", "\u{7f}"] {
        invalid(id(bad), "request_id");
    }
    invalid(id(&"x".repeat(129)), "request_id");
}

#[test]
fn a_replay_names_a_job_of_its_caller() {
    let mint = |tenant: &str, keys: &Keyring| {
        let claims = Claims {
            uuid: uuid::Uuid::now_v7(),
            tenant,
            method: "/another.Service/Method",
            // Long ago: what is replayed is finished.
            expires_at: UnixMillis(1),
            retention: Duration::from_secs(1),
            at_least_once: false,
            reply_shard: None,
        };
        JobId::mint(&claims, keys)
    };
    let of = |id: &str| SubmitRequest { retry_of: id.into(), ..good() };
    let mine = mint("t", &keys());
    assert_eq!(check(of(&mine.to_string())).unwrap().retry_of, Some(mine));
    assert_eq!(check(good()).unwrap().retry_of, None);
    let forged = mint("t", &Keyring::single(&[2; 32]));
    let foreign = mint("other", &keys());
    for bad in [forged.to_string(), foreign.to_string(), "x".into(), " ".into()] {
        invalid(of(&bad), "retry_of");
    }
}

#[test]
fn a_request_that_says_to_be_a_stream_is_one() {
    let of = |request: &'static [u8]| {
        let request = Bytes::from_static(request);
        check(SubmitRequest { request, request_stream: true, ..good() })
    };
    for stream in [&b""[..], b"\0\0\0\0", b"\0\0\0\x01a\0\0\0\0"] {
        assert!(of(stream).unwrap().shape.stream, "{stream:?}");
    }
    for other in [&b"a"[..], b"\0\0\0\x02a"] {
        assert_eq!(of(other).err().unwrap().code(), Code::InvalidArgument, "{other:?}");
    }
}
