//! What a test says about a job, as a route would.

use super::{KEPT, TENANT};
use bytes::Bytes;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::time::duration_to_proto;
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::{AttemptRules, Call, Guarantee, LeasePolicy};
use queuebridge_proto::{JobId, Keyring, MethodName, UnixMillis};
use std::time::Duration;
use tonic::Code;
use tonic::metadata::MetadataMap;

/// The rules of a job; the defaults are those of a route.
#[derive(Clone, Debug)]
pub struct Submission {
    /// The caller's metadata.
    pub metadata: MetadataMap,
    /// Attempts before the job has failed; default 5.
    pub max_attempts: u32,
    /// Codes that are worth another attempt; default `UNAVAILABLE`, `ABORTED`.
    pub retry_on: Vec<Code>,
    /// The pause after the first attempt; default 1 s. It doubles up to 5 min.
    pub initial_backoff: Duration,
    /// Until when the work is wanted; default one hour.
    pub expires_in: Duration,
    /// Jobs of one key run in order, as on a FIFO queue; default none.
    pub ordering_key: Option<String>,
    /// What the worker promises; default claimed.
    pub guarantee: Guarantee,
    /// What a lost worker means; default retry.
    pub lease_policy: LeasePolicy,
}

impl Default for Submission {
    fn default() -> Self {
        Self {
            metadata: MetadataMap::new(),
            max_attempts: 5,
            retry_on: vec![Code::Unavailable, Code::Aborted],
            initial_backoff: Duration::from_secs(1),
            expires_in: Duration::from_secs(60 * 60),
            ordering_key: None,
            guarantee: Guarantee::Claimed,
            lease_policy: LeasePolicy::Retry,
        }
    }
}

impl Submission {
    pub(super) fn into_call(
        self,
        method: &str,
        request: Bytes,
        now: UnixMillis,
        keys: &Keyring,
    ) -> (JobId, Call) {
        assert!(MethodName::parse(method).is_ok(), "{method} is not /package.Service/Method");
        let mut random = [0; 10];
        random.copy_from_slice(&uuid::Uuid::new_v4().as_bytes()[..10]);
        let claims = Claims {
            uuid: uuid::Builder::from_unix_timestamp_millis(now.0, &random).into_uuid(),
            tenant: TENANT,
            method,
            expires_at: now.plus(self.expires_in),
            retention: KEPT,
            at_least_once: self.guarantee == Guarantee::AtLeastOnce,
            reply_shard: None,
        };
        let id = JobId::mint(&claims, keys);
        let call = Call {
            job_id: id.to_string(),
            method: method.to_owned(),
            tenant: TENANT.to_owned(),
            payload: Some(Payload::Request(request)),
            metadata: queuebridge_proto::metadata::from_metadata_map(&self.metadata),
            attempts: Some(AttemptRules {
                max_attempts: self.max_attempts,
                retry_on: self.retry_on.into_iter().map(|code| code as i32).collect(),
                initial_backoff: Some(duration_to_proto(self.initial_backoff)),
                max_backoff: Some(duration_to_proto(Duration::from_secs(300))),
            }),
            publish_number: 1,
            guarantee: self.guarantee as i32,
            lease_policy: self.lease_policy as i32,
            ordering_key: self.ordering_key.unwrap_or_default(),
            ..Call::default()
        };
        (id, call)
    }
}
