//! Jobs with branches: over a topic and over queues of their own, the same promises.

mod costs;
mod ends;
mod groups;
mod late;
mod losses;
mod members;
mod pages;
mod resubmit;
mod rules;
mod scripted;
mod simulation;
mod tampering;
mod telling;
mod transport;
mod world;

pub(crate) use groups::world as one_queue;
use queuebridge_proto::v1::job::Outcome;
use queuebridge_proto::v1::{Branch, GatherRule, Job, State, SubmitRequest};
use tonic::Code;
use tonic_types::StatusExt;
pub(crate) use world::METHOD;
use world::Way;

const WAYS: [Way; 2] = [Way::Topic, Way::Queues];
const THREE: [&str; 3] = ["a", "b", "c"];

fn need(need: u32) -> GatherRule {
    GatherRule { need, ..GatherRule::default() }
}

fn plain() -> SubmitRequest {
    SubmitRequest { request: vec![7].into(), ..SubmitRequest::default() }
}

fn branches(job: &Job) -> &[Branch] {
    &job.gather.as_ref().expect("a gather").branches
}

fn states(job: &Job) -> Vec<(&str, State)> {
    let state = |branch: &Branch| branch.job.as_ref().unwrap().state();
    branches(job).iter().map(|branch| (branch.name.as_str(), state(branch))).collect()
}

fn answers(job: &Job) -> Vec<Vec<u8>> {
    let answer = |branch: &Branch| match &branch.job.as_ref()?.outcome {
        Some(Outcome::Response(response)) => Some(response.message.to_vec()),
        _ => None,
    };
    branches(job).iter().filter_map(answer).collect()
}

fn refusal(job: &Job) -> (Code, String) {
    let Some(Outcome::Error(status)) = &job.outcome else { panic!("{job:?}") };
    let status = queuebridge_proto::outcome::from_rpc_status(status);
    (status.code(), status.get_details_error_info().map(|i| i.reason).unwrap_or_default())
}

fn secs(seconds: u64) -> std::time::Duration {
    std::time::Duration::from_secs(seconds)
}
