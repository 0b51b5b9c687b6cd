//! What is shown of a gather that is decided.

use super::standing::Listed;
use crate::lookup::Lookup;
use crate::reading::Reading;
use crate::view;
use prost::Message;
use queuebridge_proto::JobId;
use queuebridge_proto::gather::keeps_late;
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{FinishedJob, Gather, GatherPlan, GatherReport, Job};
use queuebridge_store::Record;
use queuebridge_store::gather::branch_ids;
use queuebridge_store::record::is_terminal;
use tonic::Status;

impl Lookup {
    /// The branches as they were, and those that came late as they are now, where the
    /// rule keeps them.
    pub(crate) async fn reported(
        &self,
        reading: &Reading,
        report: &GatherReport,
        most: usize,
    ) -> Result<Gather, Status> {
        let id = reading.id();
        let plan = report.plan.clone().unwrap_or_default();
        let keeps = plan.rule.as_ref().is_none_or(keeps_late);
        let listed = each(id, &plan, report).into_iter().map(|(id, method, then)| {
            let then = Record::of_finished(then);
            let known = (!keeps || then.is_terminal()).then_some(then);
            Listed { id, method, known }
        });
        let branches = self.standing(reading, listed.collect(), most, true).await?;
        Ok(shown(reading, &plan, report, branches, most))
    }

    /// The list as an answer: of the branches as they were, whenever it is asked for.
    pub(crate) fn list(&self, reading: &Reading, report: &GatherReport) -> Gather {
        let id = reading.id();
        let plan = report.plan.clone().unwrap_or_default();
        let branch = |(id, method, then): (JobId, String, FinishedJob)| {
            self.branch(&id, &method, Record::of_finished(then))
        };
        let branches = each(id, &plan, report).into_iter().map(branch).collect();
        // In a job it stands beside the branches.
        shown(reading, &plan, report, branches, self.max_response_bytes / 2)
    }

    /// The record of a gather whose answer is the list, with the list as its answer.
    pub(crate) fn listed(&self, reading: &Reading, mut record: Record) -> Record {
        if let Some(outcome) = &mut record.outcome
            && let Some(report) = outcome.gather.take()
        {
            let list = self.list(reading, &report);
            outcome.result = Some(Kind::Response(list.encode_to_vec().into()));
        }
        record
    }
}

fn each(id: &JobId, plan: &GatherPlan, report: &GatherReport) -> Vec<(JobId, String, FinishedJob)> {
    if plan.total > 0 {
        return Vec::new();
    }
    let planned = branch_ids(id, plan).into_iter().zip(&plan.branches);
    let each = planned.zip(report.branches.iter().cloned());
    each.map(|((id, branch), then)| (id, branch.method.clone(), then)).collect()
}

fn shown(
    reading: &Reading,
    plan: &GatherPlan,
    report: &GatherReport,
    mut branches: Vec<Job>,
    most: usize,
) -> Gather {
    let late: Vec<bool> =
        report.branches.iter().map(|branch| !is_terminal(branch.state())).collect();
    view::shorten(&mut branches, most);
    // As the verdict counted them.
    let GatherReport { succeeded, failed, .. } = *report;
    let mut gather = Gather { succeeded, failed, ..view::gather(plan, branches, &late) };
    reading.withhold(&mut gather, branch_ids(reading.id(), plan));
    gather
}
