//! Which parked messages are meant.

use super::args::ReplayArgs;
use super::parked::Parked;
use crate::config::MethodPattern;
use std::collections::BTreeSet;

/// Which parked messages are meant: those that every filter takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Selection {
    /// Empty: of any job.
    jobs: BTreeSet<String>,
    method: Option<MethodPattern>,
    reason: Option<String>,
}

impl Selection {
    /// What the command line selects.
    pub(super) fn of(args: &ReplayArgs) -> Self {
        Self {
            jobs: args.jobs.iter().cloned().collect(),
            method: args.method.clone(),
            reason: args.reason.clone(),
        }
    }

    /// Whether a message is meant. One that cannot be opened is judged by what
    /// it claims, so that whoever asks for it hears of it.
    pub(super) fn takes(&self, parked: &Parked) -> bool {
        (self.jobs.is_empty() || self.jobs.contains(&parked.job))
            && self.method.as_ref().is_none_or(|pattern| pattern.matches(&parked.method))
            && self.reason.as_ref().is_none_or(|reason| *reason == parked.reason)
    }

    /// The jobs that were asked for by their ids.
    pub(super) fn jobs(&self) -> &BTreeSet<String> {
        &self.jobs
    }
}

#[cfg(test)]
mod tests {
    use super::super::parked::tests::{call, keys, opened, received};
    use super::*;
    use queuebridge_proto::envelope;

    fn selection(jobs: &[&str], method: Option<&str>, reason: Option<&str>) -> Selection {
        Selection {
            jobs: jobs.iter().map(|id| (*id).to_owned()).collect(),
            method: method.map(|pattern| pattern.parse().unwrap()),
            reason: reason.map(str::to_owned),
        }
    }

    #[test]
    fn every_filter_must_take_the_message() {
        let parked = opened(received(envelope::seal(&call(), &keys())));
        for (taken, selection) in [
            (true, selection(&[], None, None)),
            (true, selection(&["other", "job"], None, None)),
            (false, selection(&["other"], None, None)),
            (true, selection(&[], Some("/a.B/*"), None)),
            (false, selection(&[], Some("/a.B/D"), None)),
            (true, selection(&["job"], Some("*"), Some("DEAD_LETTERED"))),
            (false, selection(&["job"], Some("*"), Some("FINISHED"))),
            (false, selection(&["other"], Some("*"), Some("DEAD_LETTERED"))),
        ] {
            assert_eq!(selection.takes(&parked), taken, "{selection:?}");
        }
    }

    #[test]
    fn a_claim_is_enough_to_hear_of_a_message_that_cannot_be_opened() {
        let parked = opened(received("{}".into()));
        assert!(selection(&["claimed-job"], None, None).takes(&parked));
        assert!(!selection(&["job"], None, None).takes(&parked));
        assert!(!selection(&[], Some("/a.B/*"), None).takes(&parked));
        let mut bare = received("{}".into());
        bare.attributes.clear();
        let bare = opened(bare);
        assert!(selection(&[], None, None).takes(&bare));
        assert!(!selection(&[], Some("/a.B/*"), None).takes(&bare));
        assert!(!selection(&[], None, Some("UNDECODABLE")).takes(&bare));
    }
}
