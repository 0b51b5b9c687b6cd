//! Jobs with branches on the command line: which rule, and how they are shown.

use super::show::state_name;
use crate::config::{code_name, parse_duration};
use clap::Args;
use queuebridge_proto::printable::Printable;
use queuebridge_proto::time::duration_to_proto;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::job::Outcome;
use queuebridge_proto::v1::{Branch, Gather, GatherRule};
use std::time::Duration;
use tonic::Code;

/// When a job with branches is finished, in place of its route's rule.
#[derive(Clone, Debug, Default, Args)]
pub struct GatherArgs {
    /// How many branches must succeed: all, any, or a number
    #[arg(long, value_name = "N", value_parser = need)]
    pub need: Option<u32>,
    /// By when it is decided: 90s, 5m
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub deadline: Option<Duration>,
    /// What there is by the deadline is enough
    #[arg(long)]
    pub partial: bool,
    /// Cancel the branches that are not needed any more
    #[arg(long)]
    pub cancel_rest: bool,
    /// The answer is that of this branch
    #[arg(long, value_name = "BRANCH", conflicts_with = "merge")]
    pub primary: Option<String>,
    /// The answer is those of all branches, merged
    #[arg(long)]
    pub merge: bool,
    /// Only to this branch, repeatable
    #[arg(long = "branch", value_name = "NAME")]
    pub branches: Vec<String>,
}

impl GatherArgs {
    /// The rule, if anything was said of it.
    pub(super) fn rule(&self) -> Option<GatherRule> {
        let primary = self.primary.clone().map(Answer::Primary);
        let rule = GatherRule {
            need: self.need.unwrap_or_default(),
            deadline: self.deadline.map(duration_to_proto),
            partial: self.partial,
            cancel_rest: self.cancel_rest,
            answer: primary.or(self.merge.then_some(Answer::Merge(true))),
            ..GatherRule::default()
        };
        (self.need.is_some() || rule != GatherRule::default()).then_some(rule)
    }
}

fn need(text: &str) -> Result<u32, &'static str> {
    match text {
        "all" => Ok(0),
        "any" => Ok(1),
        number => number.parse().ok().filter(|n| *n > 0).ok_or("expected all, any or a number"),
    }
}

/// A line for the gather, and one for each branch: name and value.
pub(super) fn lines(gather: &Gather) -> Vec<(&'static str, String)> {
    let Gather { total, succeeded, failed, .. } = gather;
    let need = queuebridge_proto::gather::need(&gather.rule.clone().unwrap_or_default(), *total);
    let all = format!("{succeeded} of {total} succeeded, {failed} failed, {need} needed");
    let first = ("branches", all);
    std::iter::once(first).chain(gather.branches.iter().map(|b| ("branch", line(b)))).collect()
}

fn line(branch: &Branch) -> String {
    let job = branch.job.clone().unwrap_or_default();
    let late = if branch.late { ", late" } else { "" };
    let outcome = match &job.outcome {
        Some(Outcome::Response(response)) => format!("  {} bytes", response.size),
        Some(Outcome::Error(status)) => {
            format!("  {}: {}", code_name(Code::from_i32(status.code)), status.message)
        }
        None => String::new(),
    };
    let name = Printable(&branch.name).to_string();
    format!("{name:<12} {}{late}{outcome}  {}", state_name(job.state()), job.id)
}
