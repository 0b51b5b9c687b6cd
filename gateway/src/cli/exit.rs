//! How the program ends.

use queuebridge_proto::v1::{Job, State};
use std::process::ExitCode;

/// The exit codes, which scripts rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: the job succeeded; of `submit` without `--wait` also that it was
    /// accepted, and of `cancel` that the cancellation stands.
    Success,
    /// 1: the job failed, was cancelled or expired; of `cancel` that the job
    /// had finished otherwise before; of `replay` that selected messages stay
    /// parked, or that a job has none.
    JobFailed,
    /// 2: the command line or the configuration is wrong.
    Usage,
    /// 3: the call itself failed, or the server could not run.
    CallFailed,
    /// 4: the job is not finished yet; of `replay` that it stopped before the
    /// end.
    StillRunning,
}

impl Exit {
    /// What the state of a job means for `get` and `wait`.
    #[must_use]
    pub fn of_job(job: &Job) -> Self {
        match job.state() {
            State::Succeeded => Self::Success,
            State::Failed | State::Cancelled | State::Expired => Self::JobFailed,
            State::Unspecified | State::Accepted | State::Running => Self::StillRunning,
        }
    }

    /// What it means for `submit`, which did its work once the job is accepted.
    #[must_use]
    pub fn of_submission(job: &Job) -> Self {
        match Self::of_job(job) {
            Self::StillRunning => Self::Success,
            other => other,
        }
    }

    /// What it means for `cancel`.
    #[must_use]
    pub fn of_cancellation(job: &Job) -> Self {
        match Self::of_job(job) {
            Self::StillRunning => Self::Success,
            _ if job.state() == State::Cancelled => Self::Success,
            _ => Self::JobFailed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::JobFailed => 1,
            Exit::Usage => 2,
            Exit::CallFailed => 3,
            Exit::StillRunning => 4,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: State) -> Job {
        Job { state: state.into(), ..Job::default() }
    }

    #[test]
    fn every_state_has_its_end_for_every_command() {
        use Exit::{JobFailed, StillRunning, Success};
        for (state, get, submit, cancel) in [
            (State::Accepted, StillRunning, Success, Success),
            (State::Running, StillRunning, Success, Success),
            (State::Succeeded, Success, Success, JobFailed),
            (State::Failed, JobFailed, JobFailed, JobFailed),
            (State::Cancelled, JobFailed, JobFailed, Success),
            (State::Expired, JobFailed, JobFailed, JobFailed),
        ] {
            let job = job(state);
            assert_eq!(Exit::of_job(&job), get, "{state:?}");
            assert_eq!(Exit::of_submission(&job), submit, "{state:?}");
            assert_eq!(Exit::of_cancellation(&job), cancel, "{state:?}");
        }
    }
}
