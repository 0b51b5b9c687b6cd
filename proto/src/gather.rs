//! When a gather is decided: the rule over what its branches have come to.

use crate::v1::{
    GatherPlan, GatherRule, LateBranches, Outcome, State, gather_rule::Answer, outcome,
};
use tonic::Code;

/// The most branches of one gather whose rule may be met before all have ended.
pub const MAX_BRANCHES: usize = 256;

/// The most jobs of a group.
pub const MAX_GROUP: u32 = 65_536;

/// The most bytes of a merged answer: whoever writes the verdict holds all of it in memory,
/// and which worker that is nobody knows.
pub const MAX_MERGED_BYTES: u64 = 32 << 20;

/// The type under which the list of the branches is the answer.
pub const LIST_TYPE: &str = "queuebridge.v1.Gather";

/// What the branches of a gather have come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// How many there are.
    pub total: u32,
    /// Ended, and counted as a success.
    pub succeeded: u32,
    /// Ended in another way.
    pub failed: u32,
    /// Whether the primary branch has succeeded; `None` while it has not ended, and
    /// where there is none.
    pub primary: Option<bool>,
}

/// How many branches a plan has.
#[must_use]
pub fn total(plan: &GatherPlan) -> u32 {
    if plan.total > 0 { plan.total } else { u32::try_from(plan.branches.len()).unwrap_or(u32::MAX) }
}

/// What the rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The rule is met, or what there is is enough.
    Met,
    /// The rule cannot be met any more.
    Failed,
}

/// How many branches have to succeed.
#[must_use]
pub fn need(rule: &GatherRule, total: u32) -> u32 {
    if rule.need == 0 { total } else { rule.need }
}

/// What the rule says of the branches, if it says anything yet. `over`: nothing more is
/// waited for, because the deadline has passed.
#[must_use]
pub fn decide(rule: &GatherRule, standing: &Standing, over: bool) -> Option<Decision> {
    let Standing { total, succeeded, failed, primary } = *standing;
    let wants_primary = matches!(rule.answer, Some(Answer::Primary(_)));
    let need = need(rule, total);
    if succeeded >= need && (!wants_primary || primary == Some(true)) {
        return Some(Decision::Met);
    }
    // Without the answer that it is to have, what there is is never enough.
    if wants_primary && primary == Some(false) {
        return Some(Decision::Failed);
    }
    let ended = over || succeeded + failed >= total;
    match rule.partial {
        true if ended && wants_primary && primary.is_none() => None,
        true if ended => Some(Decision::Met),
        false if failed > total.saturating_sub(need) => Some(Decision::Failed),
        _ => None,
    }
}

/// Whether a branch that has ended like this counts as a success.
#[must_use]
pub fn is_success(rule: &GatherRule, state: State, code: Code) -> bool {
    match state {
        State::Succeeded => rule.success_codes.is_empty() || rule.success_codes.contains(&0),
        State::Failed => rule.success_codes.contains(&(code as i32)),
        _ => false,
    }
}

/// The code with which a job has ended.
#[must_use]
pub fn code(state: State, outcome: Option<&Outcome>) -> Code {
    match outcome.and_then(|outcome| outcome.result.as_ref()) {
        Some(outcome::Result::Error(status)) => Code::from_i32(status.code),
        _ if state == State::Succeeded => Code::Ok,
        _ => Code::Unknown,
    }
}

/// Whether branches that end after the verdict are shown as they end.
#[must_use]
pub fn keeps_late(rule: &GatherRule) -> bool {
    rule.late_branches() != LateBranches::Ignore
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(total: u32, succeeded: u32, failed: u32) -> Standing {
        Standing { total, succeeded, failed, primary: None }
    }

    fn rule(need: u32, partial: bool) -> GatherRule {
        GatherRule { need, partial, ..GatherRule::default() }
    }

    #[test]
    fn all_any_and_some() {
        use Decision::{Failed, Met};
        // need, succeeded, failed of three -> decision
        for (need, succeeded, failed, expected) in [
            (0, 2, 0, None),
            (0, 3, 0, Some(Met)),
            (0, 2, 1, Some(Failed)),
            (0, 0, 1, Some(Failed)),
            (1, 0, 2, None),
            (1, 1, 0, Some(Met)),
            (1, 0, 3, Some(Failed)),
            (2, 1, 1, None),
            (2, 2, 0, Some(Met)),
            (2, 2, 1, Some(Met)),
            (2, 0, 2, Some(Failed)),
        ] {
            let found = decide(&rule(need, false), &standing(3, succeeded, failed), false);
            assert_eq!(found, expected, "{need} of 3: {succeeded} succeeded, {failed} failed");
        }
    }

    #[test]
    fn what_there_is_is_enough_when_nothing_more_comes() {
        let partial = rule(0, true);
        assert_eq!(decide(&partial, &standing(3, 0, 1), false), None);
        assert_eq!(decide(&partial, &standing(3, 1, 2), false), Some(Decision::Met));
        assert_eq!(decide(&partial, &standing(3, 0, 0), true), Some(Decision::Met));
        assert_eq!(decide(&rule(0, false), &standing(3, 2, 0), true), None);
    }

    #[test]
    fn the_primary_branch_has_to_succeed() {
        let primary =
            |partial| GatherRule { answer: Some(Answer::Primary("p".into())), ..rule(1, partial) };
        let with =
            |primary, succeeded, failed| Standing { primary, ..standing(3, succeeded, failed) };
        for (partial, standing, over, expected) in [
            (false, with(None, 2, 0), false, None),
            (false, with(Some(true), 1, 0), false, Some(Decision::Met)),
            (false, with(Some(false), 2, 1), false, Some(Decision::Failed)),
            (true, with(Some(false), 2, 1), false, Some(Decision::Failed)),
            (true, with(Some(false), 0, 1), false, Some(Decision::Failed)),
            (true, with(Some(true), 1, 2), false, Some(Decision::Met)),
            (true, with(None, 2, 0), true, None),
        ] {
            assert_eq!(decide(&primary(partial), &standing, over), expected, "{standing:?}");
        }
    }

    #[test]
    fn listed_codes_are_successes() {
        let listed = GatherRule { success_codes: vec![0, 5], ..GatherRule::default() };
        assert!(is_success(&listed, State::Succeeded, Code::Ok));
        assert!(is_success(&listed, State::Failed, Code::NotFound));
        assert!(!is_success(&listed, State::Failed, Code::Internal));
        assert!(!is_success(&listed, State::Cancelled, Code::Cancelled));
        let plain = GatherRule::default();
        assert!(is_success(&plain, State::Succeeded, Code::Ok));
        assert!(!is_success(&plain, State::Failed, Code::NotFound));
        let only = GatherRule { success_codes: vec![5], ..GatherRule::default() };
        assert!(!is_success(&only, State::Succeeded, Code::Ok));
    }
}
