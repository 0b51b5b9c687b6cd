//! The worker of all dead letters, and the permissions of those who replay.

use super::fill::fill;
use super::functions::{self, Function, Source};
use super::plan::{JobQueue, Plan};
use super::policy;

/// The longest invocation, in seconds: a batch looks its jobs up and sends copies.
pub(super) const TIMEOUT: u64 = 60;

pub(super) fn template(plan: &Plan) -> String {
    let mut variables = functions::variables(plan, "dead-letters");
    let branches = plan.queues.iter().filter_map(|queue| {
        queue.topic.as_ref().map(|(_, branch)| format!("{}={branch}", queue.dead))
    });
    let branches: Vec<String> = branches.collect();
    if !branches.is_empty() {
        variables.push(("QB_BRANCH", format!("\"{}\"", branches.join(","))));
    }
    let function = Function {
        id: "DeadLetters",
        name: "dead-letters",
        what: "Finishes the jobs of dead letters and parks their messages.",
        code: "!Ref WorkerCode",
        timeout: TIMEOUT,
        memory: "256",
        variables,
        sources: plan.queues.iter().map(source).collect(),
        sends_to_its_source: false,
        statements: policy::dead_letters(plan),
    };
    let texts = [
        ("made", plan.made.as_str()),
        ("parameters", include_str!("fragments/function-parameters.yaml")),
        ("function", &function.render(plan)),
        ("replay", &policy::replay(plan)),
    ];
    fill(include_str!("fragments/dead-letters.yaml"), &texts)
}

fn source(queue: &JobQueue) -> Source<'_> {
    Source {
        id: format!("{}DeadLetters", queue.id),
        queue: &queue.dead,
        batch_size: 10,
        window: None,
        scaling: "ScalingConfig: {MaximumConcurrency: 2}\n".to_owned(),
    }
}
