use super::*;
use crate::callback::Callbacks;
use crate::config::{CallbackConfig, Destination, RouteConfig, TenantCallbacks};
use crate::publish::batcher::Batcher;
use crate::publish::{Limits, Message, Publisher};
use async_trait::async_trait;
use queuebridge_proto::envelope;
use queuebridge_proto::v1::callback::Target;
use queuebridge_proto::v1::{Callback, Group};
use queuebridge_store::Gathers;
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tonic_types::StatusExt;

/// Takes every message and keeps it.
#[derive(Default)]
pub(super) struct Kept(Mutex<Vec<Message>>);

/// A queue that takes less than is known until it has refused something.
struct Smaller {
    queue: Arc<Kept>,
    takes: usize,
    known: AtomicUsize,
}

#[async_trait]
impl Publisher for Smaller {
    fn limits(&self) -> Limits {
        let bytes = self.known.load(Ordering::Relaxed);
        Limits { batch_bytes: bytes, message_bytes: bytes, ..self.queue.limits() }
    }

    async fn learn_limits(&self) {
        self.known.store(self.takes, Ordering::Relaxed);
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        if batch.iter().any(|message| message.size() > self.takes) {
            self.learn_limits().await;
            return vec![Err(PublishError::TooLarge("shorter".into())); batch.len()];
        }
        self.queue.publish(batch).await
    }
}

#[async_trait]
impl Publisher for Kept {
    fn limits(&self) -> Limits {
        let batch_bytes = 1 << 20;
        Limits {
            batch_entries: 10,
            batch_bytes,
            message_bytes: batch_bytes,
            fifo: false,
            concurrency: 1,
        }
    }

    async fn publish(&self, batch: &[Message]) -> Vec<Result<(), PublishError>> {
        self.0.lock().unwrap().extend_from_slice(batch);
        vec![Ok(()); batch.len()]
    }
}

fn keys(seed: u8) -> Keyring {
    Keyring::single(&[seed; 32])
}

fn door(queue: Arc<Kept>, lease_policy: LeasePolicy, replies: Arc<Replies>) -> FrontDoor {
    let queue_of_all = Destination::Queue("q".into());
    let route =
        RouteConfig { lease_policy, ..RouteConfig::new("*".parse().unwrap(), queue_of_all) };
    let store = Arc::new(MemoryResultStore::new(Duration::from_secs(60)));
    FrontDoor {
        routes: Routes::new().with(route, queue),
        job_id_keys: keys(1),
        seal: keys(2).into(),
        submissions: store.clone(),
        gathers: Gathers::new(store, None),
        replies,
        payloads: None,
        callbacks: None,
        clock: Clock::system(),
        admission: Admission::new(10),
        quotas: Quotas::default(),
    }
}

async fn published(lease_policy: LeasePolicy, change: impl FnOnce(&mut SubmitRequest)) -> Call {
    let queue = Arc::new(Kept::default());
    let caller = Identity::trusted("t");
    let mut request = SubmitRequest { method: "/a.B/C".into(), ..SubmitRequest::default() };
    change(&mut request);
    let door = door(queue.clone(), lease_policy, Arc::new(Replies::in_process()));
    let prepared = door.prepare(&caller, request).unwrap();
    door.accept(&caller, prepared, None).await.unwrap();
    let messages = queue.0.lock().unwrap();
    assert_eq!(messages.len(), 1);
    envelope::open(&messages[0].body, &keys(2)).unwrap()
}

#[tokio::test]
async fn the_envelope_carries_the_lease_policy_of_its_route() {
    for (policy, expected) in [
        (LeasePolicy::Retry, v1::LeasePolicy::Retry),
        (LeasePolicy::Fail, v1::LeasePolicy::Fail),
        (LeasePolicy::Hold, v1::LeasePolicy::Hold),
    ] {
        assert_eq!(published(policy, |_| {}).await.lease_policy(), expected);
    }
}

#[tokio::test]
async fn the_envelope_of_a_replay_names_the_job_that_it_repeats() {
    let first = published(LeasePolicy::Retry, |_| {}).await;
    assert_eq!(first.retry_of, "");
    for request_id in ["", "once"] {
        let again = published(LeasePolicy::Retry, |request| {
            request.retry_of.clone_from(&first.job_id);
            request.request_id = request_id.into();
        });
        let again = again.await;
        assert_eq!(again.retry_of, first.job_id);
        assert_ne!(again.job_id, first.job_id);
    }
}

#[tokio::test]
async fn the_id_and_the_envelope_name_the_reply_shard() {
    let call = published(LeasePolicy::Retry, |_| {}).await;
    assert_eq!(call.reply_shard, "in-process");
    assert_eq!(JobId::parse_trusted(&call.job_id).unwrap().reply_shard(), Some(0));
}

#[tokio::test]
async fn a_callback_is_checked_against_the_lists_of_its_tenant_and_the_routes_is_for_all() {
    let told = |url: &str| Callback { target: Some(Target::WebhookUrl(url.into())) };
    let of_route = told("https://operator.example/hook");
    let config = RouteConfig {
        callback: Some(of_route.clone()),
        ..RouteConfig::new("*".parse().unwrap(), Destination::Queue("q".into()))
    };
    let queue = Arc::new(Kept::default());
    let mut door = door(queue.clone(), LeasePolicy::Retry, Arc::default());
    door.routes = Routes::new().with(config, queue.clone());
    let allow = vec!["https://acme.example/*".parse().unwrap()];
    let own = TenantCallbacks { allow, targets: Vec::new() };
    let config = CallbackConfig {
        queue: "callbacks".into(),
        allow: vec!["https://operator.example/*".parse().unwrap()],
        allow_http: false,
        targets: Vec::new(),
        tenants: [("acme".to_owned(), own)].into(),
    };
    door.callbacks = Some(Callbacks { config, batcher: Batcher::new(queue) });
    let foreign = told("https://acme.example/hook");
    for (tenant, wanted, allowed) in [
        ("acme", Some(told("https://acme.example/hook")), true),
        ("acme", Some(told("https://operator.example/other")), false),
        ("acme", None, true),
        ("acme", Some(of_route), true),
        ("shop", Some(foreign), false),
        ("shop", Some(told("https://operator.example/other")), true),
        ("shop", None, true),
    ] {
        let caller = Identity::trusted(tenant);
        let request = SubmitRequest { method: "/a.B/C".into(), ..SubmitRequest::default() };
        let group = Group { callback: wanted.clone(), ..Group::default() };
        let group = door.group(&caller, &group, std::slice::from_ref(&request)).await;
        let single = SubmitRequest { callback: wanted.clone(), ..request };
        let single = door.prepare(&caller, single);
        for refusal in [single.err(), group.err()] {
            let field = refusal.map(|status| {
                assert_eq!(status.code(), Code::InvalidArgument, "{tenant} {wanted:?}");
                status.get_error_details().error_info().unwrap().metadata["field"].clone()
            });
            let expected = (!allowed).then(|| "callback.webhook_url".to_owned());
            assert_eq!(field, expected, "{tenant} {wanted:?}");
        }
    }
}

/// Bytes that cannot be compressed.
fn noise(len: usize) -> Vec<u8> {
    (0..len.div_ceil(16)).flat_map(|_| uuid::Uuid::new_v4().into_bytes()).take(len).collect()
}

#[tokio::test]
async fn what_a_queue_turns_out_not_to_take_goes_to_the_payload_store() {
    for (learned, stored) in [(false, true), (true, true), (false, false), (true, false)] {
        let queue = Arc::new(Kept::default());
        let takes = 256 * 1024;
        let smaller = Smaller { queue: queue.clone(), takes, known: (1 << 20).into() };
        let smaller = Arc::new(smaller);
        let mut door = door(queue.clone(), LeasePolicy::Retry, Arc::default());
        let config = RouteConfig::new("*".parse().unwrap(), Destination::Queue("q".into()));
        door.routes = Routes::new().with(config, smaller.clone());
        if learned {
            smaller.learn_limits().await;
        }
        let payloads = MemoryPayloadStore::new(Duration::from_secs(60), Clock::system());
        door.payloads = stored.then(|| Arc::new(payloads) as Arc<dyn PayloadStore>);
        let caller = Identity::trusted("t");
        for request_id in ["", "once"] {
            let request = SubmitRequest {
                method: "/a.B/C".into(),
                request: noise(250_000).into(),
                request_id: request_id.into(),
                ..SubmitRequest::default()
            };
            let sent = request.request.clone();
            let prepared = door.prepare(&caller, request).unwrap();
            match door.accept(&caller, prepared, None).await {
                Ok(_) if stored => {
                    let body = queue.0.lock().unwrap().pop().unwrap().body;
                    let call: Call = envelope::open(&body, &keys(2)).unwrap();
                    let Some(Payload::RequestRef(at)) = &call.payload else { panic!("inline") };
                    let payloads = door.payloads.as_ref().unwrap();
                    assert_eq!(payloads.get(at).await.unwrap(), sent);
                }
                Err(status) if !stored => {
                    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
                    let details = status.get_error_details();
                    let info = details.error_info().unwrap();
                    assert_eq!(info.reason, reason::PAYLOAD_TOO_LARGE);
                    assert_eq!(info.metadata["field"], "request");
                }
                other => panic!("{learned} {stored} {:?}", other.err()),
            }
        }
    }
}
