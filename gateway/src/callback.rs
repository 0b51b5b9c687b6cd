//! Callbacks at the front door: what may be called, and the timers of their jobs.

use crate::config::{CallbackConfig, Receivers};
use crate::message::no_key;
use crate::publish::batcher::Batcher;
use crate::publish::{Message, PublishError};
use crate::submission::Submission;
use queuebridge_proto::envelope::{self, attribute};
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::callback::Target;
use queuebridge_proto::v1::callback_message::Kind;
use queuebridge_proto::v1::{Callback, CallbackMessage};
use queuebridge_proto::{JobId, UnixMillis};
use queuebridge_store::Seal;
use queuebridge_web::callback_url::{CallbackUrl, Matched, UrlError};
use std::time::Duration;
use tonic::{Code, Status};

/// The longest delay of a queue message.
const MAX_DELAY: Duration = Duration::from_secs(900);

/// What the gateway knows of callbacks.
pub struct Callbacks {
    /// What may be called.
    pub config: CallbackConfig,
    /// The callback queue.
    pub batcher: Batcher,
}

/// Checks the callback that a tenant's submission asks for, if it asks for one, against the
/// lists of the tenant. That of its route is the operator's choice: every tenant may have it.
/// Fails as [`check`].
pub(crate) fn check_of(
    tenant: &str,
    job: &Submission,
    callbacks: Option<&Callbacks>,
) -> Result<(), Status> {
    let Some(wanted) = &job.callback else { return Ok(()) };
    let config = callbacks.map(|all| &all.config);
    if config.is_some() && job.route.config.callback.as_ref() == Some(wanted) {
        return Ok(());
    }
    check(wanted, config.map(|config| config.receivers_of(tenant)))
}

/// Checks a callback against lists. `receivers` is `None` where there is no callback queue.
/// Fails with `FAILED_PRECONDITION`/`NO_CALLBACKS`, or with a status that names the field and
/// its rule.
pub(crate) fn check(wanted: &Callback, receivers: Option<Receivers<'_>>) -> Result<(), Status> {
    let Some(receivers) = receivers else {
        let (code, reason) = (Code::FailedPrecondition, reason::NO_CALLBACKS);
        return Err(error::refused_field(code, reason, "callback", "there is no callback queue"));
    };
    let (field, checked) = match &wanted.target {
        None => return Err(error::invalid_field("callback", "one of its targets must be set")),
        Some(Target::WebhookUrl(url)) => ("callback.webhook_url", web(url, receivers)),
        Some(Target::GrpcUrl(url)) => ("callback.grpc_url", grpc(url, receivers)),
        Some(Target::QueueUrl(name)) => ("callback.queue_url", named(name, receivers)),
        Some(Target::TopicArn(name)) => ("callback.topic_arn", named(name, receivers)),
    };
    checked.map_err(|rule| error::invalid_field(field, rule))
}

fn web(url: &str, receivers: Receivers<'_>) -> Result<(), String> {
    allowed(&CallbackUrl::parse(url).map_err(|error| error.to_string())?, receivers)
}

fn grpc(url: &str, receivers: Receivers<'_>) -> Result<(), String> {
    allowed(&CallbackUrl::parse_origin(url).map_err(|error| error.to_string())?, receivers)
}

fn allowed(url: &CallbackUrl, receivers: Receivers<'_>) -> Result<(), String> {
    if !url.is_https() && !receivers.allow_http {
        return Err(UrlError::Scheme.to_string());
    }
    let Some(allow) = receivers.allow else { return Ok(()) };
    let mut matched = Matched::No;
    for pattern in allow {
        match pattern.matches(url) {
            Matched::Yes => return Ok(()),
            Matched::Disguised => matched = Matched::Disguised,
            Matched::No => {}
        }
    }
    Err(match matched {
        Matched::Disguised => {
            "a path without encoded dots, slashes and percent signs, and without `..`: only below \
             a path may be called here"
        }
        _ => "not among the URLs that may be called here",
    }
    .to_owned())
}

fn named(name: &str, receivers: Receivers<'_>) -> Result<(), String> {
    let known = receivers.targets.iter().any(|target| target == name);
    if known { Ok(()) } else { Err("not among the queues and topics that are allowed here".into()) }
}

impl Callbacks {
    /// Publishes the timer of a job, of which `job` says method, tenant, callback and
    /// reply shard. It sees to it that the job is finished, and its callback made, when
    /// nobody else does.
    ///
    /// # Errors
    /// When the callback queue has not taken it for certain.
    pub(crate) async fn start_timer(
        &self,
        id: &JobId,
        job: CallbackMessage,
        now: UnixMillis,
        seal: &Seal,
    ) -> Result<(), PublishError> {
        let due = id.expires_at().plus(CLOCK_SKEW);
        let not_before = Some(due.to_proto());
        let message = CallbackMessage { kind: Kind::Timer as i32, not_before, ..job };
        self.send(id, message, now.until(due).min(MAX_DELAY), seal).await
    }

    /// Publishes the callback of a job that was finished here.
    ///
    /// # Errors
    /// When the callback queue has not taken it for certain.
    pub(crate) async fn enqueue(
        &self,
        id: &JobId,
        job: CallbackMessage,
        seal: &Seal,
    ) -> Result<(), PublishError> {
        let message = CallbackMessage { kind: Kind::Deliver as i32, ..job };
        self.send(id, message, Duration::ZERO, seal).await
    }

    async fn send(
        &self,
        id: &JobId,
        message: CallbackMessage,
        delay: Duration,
        seal: &Seal,
    ) -> Result<(), PublishError> {
        let message = CallbackMessage { job_id: id.to_string(), ..message };
        self.batcher
            .publish(Message {
                body: seal.seal(&message).await.map_err(no_key)?,
                attributes: vec![
                    (attribute::VERSION, envelope::MAJOR.to_string()),
                    (attribute::METHOD, message.method),
                    (attribute::JOB, message.job_id),
                ],
                // Rounded up: what comes before its time has to be sent again.
                delay_seconds: u16::try_from(delay.as_millis().div_ceil(1000)).unwrap_or(900),
                group_id: Some(message.tenant),
                ..Message::default()
            })
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TenantCallbacks;
    use std::collections::BTreeMap;
    use tonic_types::StatusExt;

    fn callbacks(allow: &[&str], allow_http: bool) -> CallbackConfig {
        CallbackConfig {
            queue: "http://q".into(),
            allow: allow.iter().map(|pattern| pattern.parse().unwrap()).collect(),
            allow_http,
            targets: vec!["http://q/out".into(), "arn:aws:sns:us-east-1:1:out".into()],
            tenants: BTreeMap::new(),
        }
    }

    fn refused(target: Target, config: &CallbackConfig) -> bool {
        check(&Callback { target: Some(target) }, Some(config.receivers())).is_err()
    }

    fn refused_of(tenant: &str, target: Target, config: &CallbackConfig) -> bool {
        check(&Callback { target: Some(target) }, Some(config.receivers_of(tenant))).is_err()
    }

    #[test]
    fn only_right_and_allowed_urls_pass() {
        let any = callbacks(&[], false);
        let webhook = |url: &str| Target::WebhookUrl(url.to_owned());
        assert!(!refused(webhook("https://example.com/hook?a=b"), &any));
        for wrong in [
            "",
            "example.com",
            "http://example.com/",
            "ftp://example.com/",
            "https://",
            "https://u:p@example.com/",
            "https://example.com/#x",
            "https://exa mple.com/",
            "https:///path",
            "javascript:alert(1)",
        ] {
            assert!(refused(webhook(wrong), &any), "{wrong}");
        }
        assert!(refused(webhook(&format!("https://e.com/{}", "x".repeat(2_048))), &any));
        assert!(!refused(webhook("http://example.com/"), &callbacks(&[], true)));
        let few = callbacks(&["https://*.example.com/hooks/*"], false);
        assert!(!refused(webhook("https://a.example.com/hooks/1"), &few));
        assert!(refused(webhook("https://a.example.com/other"), &few));
        assert!(refused(webhook("https://example.org/hooks/1"), &few));
        assert!(!refused(Target::GrpcUrl("https://a.example.com:8443".into()), &any));
        assert!(refused(Target::GrpcUrl("https://a.example.com/path".into()), &any));
    }

    #[test]
    fn a_refusal_names_field_reason_and_what_is_right() {
        let few = callbacks(&["https://a.example/hooks/*"], false);
        for (target, field, part) in [
            (
                Target::WebhookUrl("https://a.example/hooks/.%2e/admin".into()),
                "callback.webhook_url",
                "https://a.example/admin",
            ),
            (
                Target::WebhookUrl("https://a.example/hooks/..%2fadmin".into()),
                "callback.webhook_url",
                "without encoded dots",
            ),
            (
                Target::WebhookUrl("https://a.example:65536/hooks/x".into()),
                "callback.webhook_url",
                "1 to 65535",
            ),
            (
                Target::WebhookUrl("https://b.example/hooks/..%2fadmin".into()),
                "callback.webhook_url",
                "not among",
            ),
            (Target::GrpcUrl("https://0x7f.1".into()), "callback.grpc_url", "https://127.0.0.1/"),
        ] {
            let wanted = Callback { target: Some(target) };
            let status = check(&wanted, Some(few.receivers())).unwrap_err();
            assert_eq!(status.code(), Code::InvalidArgument);
            assert!(status.message().contains(part), "{status}");
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().reason, reason::INVALID_FIELD);
            assert_eq!(details.bad_request().unwrap().field_violations[0].field, field);
        }
        assert!(!refused(Target::WebhookUrl("https://a.example:443/hooks/x".into()), &few));
    }

    #[test]
    fn queues_and_topics_have_to_be_named() {
        let all = callbacks(&[], false);
        assert!(!refused(Target::QueueUrl("http://q/out".into()), &all));
        assert!(refused(Target::QueueUrl("http://q/other".into()), &all));
        assert!(!refused(Target::TopicArn("arn:aws:sns:us-east-1:1:out".into()), &all));
        assert!(refused(Target::TopicArn("arn:aws:sns:us-east-1:1:other".into()), &all));
        assert!(check(&Callback::default(), Some(all.receivers())).is_err());
        let none = check(&Callback::default(), None).unwrap_err();
        assert_eq!(none.code(), Code::FailedPrecondition);
    }

    #[test]
    fn a_tenant_with_lists_of_its_own_has_these_and_not_the_deployments() {
        let mut config = callbacks(&[], false);
        let allow = vec!["https://hooks.acme.example/*".parse().unwrap()];
        let own = TenantCallbacks { allow, targets: vec!["http://q/acme".into()] };
        config.tenants.insert("acme".into(), own);
        config.tenants.insert("mute".into(), TenantCallbacks::default());
        let webhook = |host: &str| Target::WebhookUrl(format!("https://{host}.example/x"));
        let (own, shared) = (Target::QueueUrl("http://q/acme".into()), "http://q/out");
        let shared = Target::QueueUrl(shared.into());
        for (tenant, target, allowed) in [
            ("acme", webhook("hooks.acme"), true),
            ("acme", webhook("other"), false),
            ("acme", Target::GrpcUrl("https://hooks.acme.example".into()), true),
            ("acme", Target::GrpcUrl("https://other.example".into()), false),
            ("acme", own.clone(), true),
            ("acme", shared.clone(), false),
            // An empty list is an empty one.
            ("mute", webhook("other"), false),
            ("mute", shared.clone(), false),
            ("any", webhook("other"), true),
            ("any", shared, true),
            ("any", own, false),
        ] {
            assert_eq!(
                !refused_of(tenant, target.clone(), &config),
                allowed,
                "{tenant} {target:?}"
            );
        }
    }
}
