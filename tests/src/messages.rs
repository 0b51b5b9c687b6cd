//! Jobs as a gateway publishes them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::time::duration_to_proto;
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::{AttemptRules, Call, Guarantee};
use queuebridge_proto::{JobId, Keyring, envelope};
use queuebridge_store::Clock;
use std::time::Duration;
use tonic::Code;

const HOUR: Duration = Duration::from_secs(3600);
const BACKOFF: Duration = Duration::from_secs(1);

/// Seals calls of the demo's `Probe` with a key of its own.
pub struct Messages {
    keys: Keyring,
    variable: String,
}

impl Default for Messages {
    fn default() -> Self {
        let secret = BASE64_STANDARD.encode(uuid::Uuid::new_v4());
        let variable = format!("1:{secret}");
        let keys = Keyring::parse(&variable).unwrap_or_else(|error| panic!("{error}"));
        Self { keys, variable }
    }
}

impl Messages {
    /// What a worker's `QB_ENVELOPE_KEYS` has to be.
    #[must_use]
    pub fn keys_variable(&self) -> &str {
        &self.variable
    }

    /// The same for a worker that is built in a program.
    #[must_use]
    pub fn keys(&self) -> Keyring {
        self.keys.clone()
    }

    /// A new job of a method of `Probe`, and the body of its message.
    pub fn seal(
        &self,
        method: &str,
        request: &impl Message,
        guarantee: Guarantee,
    ) -> (JobId, String) {
        let method = format!("/queuebridge.demo.v1.Probe/{method}");
        let claims = Claims {
            uuid: uuid::Uuid::now_v7(),
            tenant: "t",
            method: &method,
            expires_at: Clock::system().now().plus(HOUR),
            retention: HOUR,
            at_least_once: guarantee == Guarantee::AtLeastOnce,
            reply_shard: None,
        };
        let id = JobId::mint(&claims, &self.keys);
        let call = Call {
            job_id: id.to_string(),
            method,
            tenant: "t".into(),
            payload: Some(Payload::Request(request.encode_to_vec().into())),
            attempts: Some(AttemptRules {
                max_attempts: 3,
                retry_on: vec![Code::Unavailable as i32],
                initial_backoff: Some(duration_to_proto(BACKOFF)),
                max_backoff: Some(duration_to_proto(BACKOFF)),
            }),
            guarantee: guarantee as i32,
            ..Call::default()
        };
        (id, envelope::seal(&call, &self.keys))
    }
}
