//! A parked message, as plain data.

use super::queue::Received;
use queuebridge_proto::UnixMillis;
use queuebridge_proto::envelope::attribute::{JOB, METHOD, PARKED};
use queuebridge_proto::v1::{Call, CallbackMessage};
use queuebridge_store::Seal;
use queuebridge_store::encryption::OpenError;

/// A parked message.
#[derive(Clone, Debug)]
pub(super) struct Parked {
    /// The id that the parking queue gave to it.
    pub(super) message_id: String,
    /// For settling it.
    pub(super) receipt: String,
    /// The job, as the envelope says, or else as an attribute claims; may be empty.
    pub(super) job: String,
    /// The method, likewise.
    pub(super) method: String,
    /// Why it was parked; empty when nobody said.
    pub(super) reason: String,
    /// Since when it lies there.
    pub(super) parked_at: Option<UnixMillis>,
    /// The call, if the envelope can be opened.
    pub(super) call: Result<Call, OpenError>,
    /// The body, if it is a callback that was tried in vain.
    pub(super) callback: Option<String>,
}

impl Parked {
    /// Opens what was received.
    pub(super) async fn open(mut message: Received, seal: &Seal) -> Self {
        let call = seal.open::<Call>(&message.body).await;
        let mut claimed = |name: &str| message.attributes.remove(name).unwrap_or_default();
        let (job, method, reason) = (claimed(JOB), claimed(METHOD), claimed(PARKED));
        // Attributes are only for people: what is authentic comes first.
        let callback = seal.open::<CallbackMessage>(&message.body).await.ok();
        let (job, method) = match (&call, &callback) {
            (Ok(call), _) => (call.job_id.clone(), call.method.clone()),
            (_, Some(callback)) => (callback.job_id.clone(), callback.method.clone()),
            _ => (job, method),
        };
        let Received { message_id, receipt, sent_at: parked_at, body, .. } = message;
        let callback = callback.map(|_| body);
        Self { message_id, receipt, job, method, reason, parked_at, call, callback }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use futures_util::FutureExt;
    use queuebridge_proto::{Keyring, envelope};

    pub(in super::super) fn keys() -> Keyring {
        Keyring::single(&[7; 32])
    }

    pub(in super::super) fn received(body: String) -> Received {
        let attributes =
            [(JOB, "claimed-job"), (METHOD, "/claimed.Service/Method"), (PARKED, "DEAD_LETTERED")];
        Received {
            message_id: "m".into(),
            receipt: "r".into(),
            body,
            sent_at: Some(UnixMillis(1_700_000_000_000)),
            attributes: attributes.map(|(name, value)| (name.into(), value.into())).into(),
        }
    }

    /// Without encryption there is nothing to wait for.
    pub(in super::super) fn opened(message: Received) -> Parked {
        Parked::open(message, &keys().into()).now_or_never().unwrap()
    }

    pub(in super::super) fn call() -> Call {
        Call { job_id: "job".into(), method: "/a.B/C".into(), ..Call::default() }
    }

    #[test]
    fn the_envelope_speaks_before_the_attributes() {
        let parked = opened(received(envelope::seal(&call(), &keys())));
        assert_eq!((parked.job.as_str(), parked.method.as_str()), ("job", "/a.B/C"));
        assert_eq!(parked.reason, "DEAD_LETTERED");
        assert_eq!(parked.call, Ok(call()));
    }

    #[test]
    fn what_cannot_be_opened_is_known_by_what_it_claims() {
        for body in ["{}".to_owned(), envelope::seal(&call(), &Keyring::single(&[8; 32]))] {
            let parked = opened(received(body));
            assert_eq!(parked.job, "claimed-job");
            assert_eq!(parked.method, "/claimed.Service/Method");
            assert!(parked.call.is_err());
        }
        let mut bare = received("{}".into());
        bare.attributes.clear();
        let parked = opened(bare);
        assert_eq!((parked.job.as_str(), parked.reason.as_str()), ("", ""));
    }
}
