//! MACs over what gateways write into the result store and later act on: who can write the
//! table is no gateway.
//!
//! ```text
//! key id 1 | MAC 16      = 17 bytes
//! submission: domain | request key 32 | job id 53 | digest 32 | owner 16
//! plan:       domain | gather id 53 | the serialized GatherPlan without `mac`
//! ```

use crate::job_id::JobId;
use crate::keys::{Keyring, MAC_LEN};
use crate::v1::GatherPlan;
use bytes::Bytes;
use prost::Message;

/// How many bytes such a MAC has, with the id of its key.
pub const LEN: usize = 1 + MAC_LEN;

const SUBMISSION: &[u8] = b"queuebridge stored submission\0";
const PLAN: &[u8] = b"queuebridge stored plan\0";

/// What is stored of a submission.
#[derive(Clone, Copy, Debug)]
pub struct Submission<'a> {
    /// The key under which it is stored.
    pub key: &'a [u8; 32],
    /// Its job.
    pub job: &'a JobId,
    /// What makes it the same as another one.
    pub digest: &'a [u8; 32],
    /// Who has submitted it.
    pub owner: &'a [u8; 16],
}

impl Submission<'_> {
    fn parts(&self) -> [&[u8]; 5] {
        [SUBMISSION, self.key, self.job.as_bytes(), self.digest, self.owner]
    }

    /// Its MAC, under the key that signs.
    #[must_use]
    pub fn mac(&self, keys: &Keyring) -> [u8; LEN] {
        made(&self.parts(), keys)
    }

    /// Whether a gateway has written exactly this, under any key of the ring.
    #[must_use]
    pub fn is_authentic(&self, mac: &[u8], keys: &Keyring) -> bool {
        is_authentic(mac, &self.parts(), keys)
    }
}

/// The plan of this gather with its MAC, under the key that signs.
#[must_use]
pub fn signed_plan(gather: &JobId, plan: GatherPlan, keys: &Keyring) -> GatherPlan {
    let plan = GatherPlan { mac: Bytes::new(), ..plan };
    let mac = made(&[PLAN, gather.as_bytes(), &plan.encode_to_vec()], keys);
    GatherPlan { mac: mac.to_vec().into(), ..plan }
}

/// Whether a gateway has written exactly this plan for this gather, under any key of the ring.
#[must_use]
pub fn is_authentic_plan(gather: &JobId, plan: &GatherPlan, keys: &Keyring) -> bool {
    let signed = GatherPlan { mac: Bytes::new(), ..plan.clone() }.encode_to_vec();
    is_authentic(&plan.mac, &[PLAN, gather.as_bytes(), &signed], keys)
}

fn made(parts: &[&[u8]], keys: &Keyring) -> [u8; LEN] {
    let mut mac = [0; LEN];
    mac[0] = keys.signing_id();
    mac[1..].copy_from_slice(&keys.sign(parts));
    mac
}

fn is_authentic(mac: &[u8], parts: &[&[u8]], keys: &Keyring) -> bool {
    mac.split_first().is_some_and(|(key, mac)| keys.verify(u32::from(*key), parts, mac))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job_id::Claims;
    use crate::time::UnixMillis;
    use crate::v1::{Callback, callback::Target};
    use std::time::Duration;
    use uuid::Uuid;

    const OLD: &str = "1:MDEyMzQ1Njc4OWFiY2RlZg==";
    const NEW: &str = "2:ZmVkY2JhOTg3NjU0MzIxMA==";

    fn keys(text: &str) -> Keyring {
        Keyring::parse(text).unwrap()
    }

    fn gather(seed: u128) -> JobId {
        let claims = Claims {
            uuid: Uuid::from_u128(seed),
            tenant: "t",
            method: "/a.B/C",
            expires_at: UnixMillis(1_700_000_600_123),
            retention: Duration::from_secs(3600),
            at_least_once: false,
            reply_shard: None,
        };
        JobId::mint_gather(&claims, &keys(OLD))
    }

    #[test]
    fn a_submission_is_authentic_only_as_a_whole() {
        let (ring, one, other) = (keys(OLD), gather(1), gather(2));
        let stored = Submission { key: &[1; 32], job: &one, digest: &[2; 32], owner: &[3; 16] };
        let mac = stored.mac(&ring);
        assert!(stored.is_authentic(&mac, &ring));
        assert!(stored.is_authentic(&mac, &keys(&format!("{NEW},{OLD}"))));
        for changed in [
            Submission { key: &[9; 32], ..stored },
            Submission { job: &other, ..stored },
            Submission { digest: &[9; 32], ..stored },
            Submission { owner: &[9; 16], ..stored },
        ] {
            assert!(!changed.is_authentic(&mac, &ring), "{changed:?}");
        }
        assert!(!stored.is_authentic(&mac, &keys(NEW)));
        assert!(!stored.is_authentic(&[], &ring) && !stored.is_authentic(&mac[1..], &ring));
    }

    #[test]
    fn a_plan_is_authentic_only_as_it_was_written_and_for_its_gather() {
        let ring = keys(OLD);
        let plan =
            GatherPlan { tenant: "t".into(), method: "/a.B/C".into(), ..GatherPlan::default() };
        let written = signed_plan(&gather(1), plan.clone(), &ring);
        assert!(is_authentic_plan(&gather(1), &written, &ring));
        assert!(!is_authentic_plan(&gather(2), &written, &ring));
        assert!(!is_authentic_plan(&gather(1), &plan, &ring));
        let target = Some(Target::WebhookUrl("https://elsewhere.example".into()));
        for changed in [
            GatherPlan { callback: Some(Callback { target }), ..written.clone() },
            GatherPlan { tenant: "u".into(), ..written.clone() },
            GatherPlan { owner: vec![1; 16].into(), ..written.clone() },
            GatherPlan { mac: Bytes::new(), ..written.clone() },
        ] {
            assert!(!is_authentic_plan(&gather(1), &changed, &ring), "{changed:?}");
        }
    }
}
