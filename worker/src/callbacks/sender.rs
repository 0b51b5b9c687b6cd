//! Telling a receiver, once.

use super::event::Event;
use super::guard::Networks;
use super::http::{Http, Reply};
use super::tenants::SenderKeys;
use crate::host::targets::NamedTargets;
use crate::outbox::OutboxError;
use queuebridge_proto::UnixMillis;
use queuebridge_proto::envelope::attribute;
use queuebridge_proto::v1::callback::Target;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a receiver that has said `410 Gone` is left in peace by this process.
const GONE_FOR: Duration = Duration::from_secs(60 * 60);
/// A bound on what is remembered of them.
const MAX_GONE: usize = 10_000;

/// How callbacks are made.
#[derive(Clone, Debug)]
pub struct SenderSettings {
    /// Sign webhooks and gRPC callbacks.
    pub signing_keys: SenderKeys,
    /// The addresses that may be called.
    pub networks: Networks,
    /// What stands before a job's id in the URL of a large answer.
    pub result_url: Option<String>,
}

/// Tells receivers. One for a process.
#[derive(Debug)]
pub struct Sender {
    settings: SenderSettings,
    http: Http,
    named: Option<NamedTargets>,
    /// By tenant and URL: a receiver that wants nothing of one tenant may want to hear of
    /// the others.
    gone: Mutex<HashMap<(String, String), Instant>>,
}

/// What came of telling.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The receiver has it.
    Done,
    /// The receiver wants no more.
    Gone,
    /// It must not be called.
    Refused(String),
    /// It may work later.
    Failed {
        /// Why not now.
        why: String,
        /// When, if the receiver has said so.
        retry_after: Option<Duration>,
    },
}

impl Sender {
    /// A sender; `named` are the queues and topics, where there are any.
    ///
    /// # Errors
    /// When the system's certificates cannot be read.
    pub fn new(settings: SenderSettings, named: Option<NamedTargets>) -> std::io::Result<Self> {
        let http = Http::new(settings.networks.clone())?;
        Ok(Self { settings, http, named, gone: Mutex::default() })
    }

    pub(super) async fn send(&self, target: &Target, event: &Event, now: UnixMillis) -> Sent {
        match target {
            Target::WebhookUrl(url) => self.web(url, event, now).await,
            Target::GrpcUrl(url) => {
                let body = event.notification();
                let headers = self.headers(event, &prost::Message::encode_to_vec(&body), now);
                judge(self.http.notify(url, body, &headers).await)
            }
            Target::QueueUrl(name) => self.named(name, event, now, false).await,
            Target::TopicArn(name) => self.named(name, event, now, true).await,
        }
    }

    async fn web(&self, url: &str, event: &Event, now: UnixMillis) -> Sent {
        let receiver = (event.tenant().to_owned(), url.to_owned());
        if self.is_gone(&receiver) {
            return Sent::Gone;
        }
        let body = event.to_json(self.settings.result_url.as_deref(), now);
        let headers = self.headers(event, body.as_bytes(), now);
        let sent = judge(self.http.post(url, body, &headers, now).await);
        if sent == Sent::Gone {
            let mut gone = self.gone();
            gone.retain(|_, until| *until > Instant::now());
            if gone.len() < MAX_GONE {
                gone.insert(receiver, Instant::now() + GONE_FOR);
            }
        }
        sent
    }

    async fn named(&self, name: &str, event: &Event, now: UnixMillis, topic: bool) -> Sent {
        let Some(named) = &self.named else {
            return Sent::Refused("this sender has no queues and topics".to_owned());
        };
        let attributes = [
            (attribute::JOB, event.id()),
            (attribute::METHOD, event.method().to_owned()),
            (attribute::STATE, event.state().to_uppercase()),
            (attribute::TENANT, event.tenant().to_owned()),
        ];
        let tell = async |event: &Event| {
            let body = event.to_json(self.settings.result_url.as_deref(), now);
            match topic {
                false => named.to_queue(name, &body, &attributes).await,
                true => named.to_topic(name, &body, &attributes).await,
            }
        };
        let sent = match tell(event).await {
            Err(OutboxError::TooLarge(_)) => tell(&event.without_answers()).await,
            sent => sent,
        };
        match sent {
            Ok(()) => Sent::Done,
            Err(why) => Sent::Failed { why: why.to_string(), retry_after: None },
        }
    }

    /// The headers of the Standard Webhooks specification.
    fn headers(&self, event: &Event, body: &[u8], now: UnixMillis) -> Vec<(&'static str, String)> {
        let (id, timestamp) = (event.id(), now.0 / 1000);
        let mut headers = Vec::with_capacity(3);
        if let Some(keys) = self.settings.signing_keys.of(event.tenant()) {
            headers.push(("webhook-signature", keys.sign(&id, timestamp, body)));
        }
        headers.push(("webhook-id", id));
        headers.push(("webhook-timestamp", timestamp.to_string()));
        headers
    }

    fn is_gone(&self, receiver: &(String, String)) -> bool {
        self.gone().get(receiver).is_some_and(|until| *until > Instant::now())
    }

    fn gone(&self) -> MutexGuard<'_, HashMap<(String, String), Instant>> {
        self.gone.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a reply means. Only 2xx is success: redirects are never followed.
fn judge(reply: Reply) -> Sent {
    match reply {
        Reply::Status { code: 200..=299, .. } => Sent::Done,
        Reply::Status { code: 410, .. } => Sent::Gone,
        Reply::Status { code, retry_after } => {
            Sent::Failed { why: format!("it answered {code}"), retry_after }
        }
        Reply::Forbidden(why) => Sent::Refused(why),
        Reply::None(why) => Sent::Failed { why, retry_after: None },
    }
}
