//! What the branches had come to by the deadline, from their records.

use super::{Gathers, Tally};
use crate::record::Record;
use crate::result::StoreError;
use queuebridge_proto::gather::{self, Standing};
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::{GatherPlan, GatherRule, State};
use queuebridge_proto::{JobId, UnixMillis};

impl Gathers {
    /// What the branches had come to before the deadline. What has ended at the deadline
    /// or later does not count.
    pub(super) async fn standing(
        &self,
        id: &JobId,
        plan: &GatherPlan,
        records: &[Option<Record>],
        now: UnixMillis,
    ) -> Result<Standing, StoreError> {
        let rule = plan.rule.clone().unwrap_or_default();
        // Its code went with its outcome: what its worker made of it is in the tally.
        let forgotten = |record: &Record| record.state == State::Failed && record.outcome.is_none();
        let noted = if !rule.success_codes.is_empty() && records.iter().flatten().any(forgotten) {
            self.gathers.tally(id, 0, now).await?
        } else {
            Tally::default()
        };
        let total = u32::try_from(records.len()).unwrap_or(u32::MAX);
        let mut standing = Standing { total, ..Standing::default() };
        for (index, (branch, record)) in (0..).zip(plan.branches.iter().zip(records)) {
            let Some(record) = record.as_ref().filter(|record| in_time(record, id)) else {
                continue;
            };
            let success = succeeded(&rule, record)
                || (forgotten(record)
                    && u8::try_from(index).is_ok_and(|index: u8| noted.succeeded.contains(index)));
            if success {
                standing.succeeded += 1;
            } else {
                standing.failed += 1;
            }
            if let Some(Answer::Primary(name)) = &rule.answer
                && *name == branch.name
            {
                standing.primary = Some(success && record.state == State::Succeeded);
            }
        }
        Ok(standing)
    }
}

/// Whether it had ended before the deadline of its gather.
pub(super) fn in_time(record: &Record, gather: &JobId) -> bool {
    record.is_terminal() && record.completed_at.is_some_and(|at| at < gather.expires_at())
}

/// A branch as it stood at the deadline: whoever reports it, and however late, says the
/// same. One that expired with its gather is shown as that.
pub(super) fn at_deadline(record: Record, gather: &JobId) -> Record {
    if !record.is_terminal() || record.state == State::Expired || in_time(&record, gather) {
        return record;
    }
    let begun = record.started_at.is_some_and(|at| at < gather.expires_at());
    Record {
        state: if begun { State::Running } else { State::Accepted },
        completed_at: None,
        outcome: None,
        progress: None,
        ..record
    }
}

/// Whether a branch that has ended counts as a success.
fn succeeded(rule: &GatherRule, record: &Record) -> bool {
    let code = gather::code(record.state, record.outcome.as_ref());
    gather::is_success(rule, record.state, code)
}
