//! What of a job can change, in short: to tell whether it has.

use crate::lookup::Found;
use queuebridge_proto::v1::State;
use queuebridge_proto::{JobId, UnixMillis};

const FORMAT: u8 = 1;
const LEN: usize = 19;

/// A job at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    state: u8,
    cancel_requested: bool,
    attempt: u32,
    progress_at: u64,
}

impl Found {
    /// What distinguishes this moment from others.
    #[must_use]
    pub fn version(&self) -> Version {
        let record = match self {
            Self::Underway(record) | Self::Finished(record) => record,
            Self::Pending => return Version::plain(State::Accepted),
            // Of a gather what has ended is what changes.
            Self::Gathering(attempt) => {
                return Version { attempt: *attempt, ..Version::plain(State::Running) };
            }
            // Whatever it was; it is over.
            Self::Purged => return Version::plain(State::Unspecified),
        };
        let progress_at = record
            .progress
            .as_ref()
            .and_then(|progress| progress.update_time.as_ref().and_then(UnixMillis::from_proto));
        Version {
            cancel_requested: record.cancel_requested,
            attempt: record.attempt,
            progress_at: progress_at.unwrap_or_default().0,
            ..Version::plain(record.state)
        }
    }
}

impl Version {
    fn plain(state: State) -> Self {
        let state = u8::try_from(state as i32).unwrap_or_default();
        Self { state, cancel_requested: false, attempt: 0, progress_at: 0 }
    }

    /// Whether the job is finished.
    #[must_use]
    pub fn is_final(&self) -> bool {
        State::try_from(i32::from(self.state)).is_ok_and(queuebridge_store::record::is_terminal)
    }

    /// The resume token of a watcher who has seen this.
    #[must_use]
    pub fn to_token(self, job: &JobId) -> Vec<u8> {
        let mut token = Vec::with_capacity(LEN);
        token.push(FORMAT);
        token.extend_from_slice(&tag(job));
        token.extend_from_slice(&[self.state, u8::from(self.cancel_requested)]);
        token.extend_from_slice(&self.attempt.to_be_bytes());
        token.extend_from_slice(&self.progress_at.to_be_bytes());
        token
    }

    /// What the token of a watcher of this job says; `None` if it is none.
    #[must_use]
    pub fn from_token(token: &[u8], job: &JobId) -> Option<Self> {
        let (head, rest) = token.split_first_chunk::<5>()?;
        let ([state, cancel], rest) = rest.split_first_chunk::<2>()?;
        let (attempt, rest) = rest.split_first_chunk::<4>()?;
        let progress_at: [u8; 8] = rest.try_into().ok()?;
        (head[0] == FORMAT && head[1..] == tag(job) && *cancel <= 1).then(|| Self {
            state: *state,
            cancel_requested: *cancel == 1,
            attempt: u32::from_be_bytes(*attempt),
            progress_at: u64::from_be_bytes(progress_at),
        })
    }
}

/// Tells the tokens of two jobs apart.
fn tag(job: &JobId) -> [u8; 4] {
    let uuid = job.uuid().into_bytes();
    [uuid[12], uuid[13], uuid[14], uuid[15]]
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::Keyring;
    use queuebridge_proto::job_id::Claims;
    use std::time::Duration;

    fn job() -> JobId {
        let claims = Claims {
            uuid: uuid::Uuid::new_v4(),
            tenant: "t",
            method: "/a.B/C",
            expires_at: UnixMillis(1),
            retention: Duration::from_secs(1),
            at_least_once: false,
            reply_shard: None,
        };
        JobId::mint(&claims, &Keyring::single(&[1; 32]))
    }

    #[test]
    fn a_token_is_read_back_for_its_own_job_only() {
        let version = Version {
            state: 2,
            cancel_requested: true,
            attempt: 3,
            progress_at: 1_700_000_000_000,
        };
        let job_id = job();
        let token = version.to_token(&job_id);
        assert_eq!(token.len(), LEN);
        assert_eq!(Version::from_token(&token, &job_id), Some(version));
        assert_eq!(Version::from_token(&token, &job()), None);
        for cut in 0..LEN {
            assert_eq!(Version::from_token(&token[..cut], &job_id), None);
        }
        let longer = [&token[..], &[0]].concat();
        assert_eq!(Version::from_token(&longer, &job_id), None);
    }
}
