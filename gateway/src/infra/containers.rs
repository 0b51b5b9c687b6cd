//! Workers in containers.

use super::fill::{blocks, fill};
use super::functions;
use super::names::{fit, queue_url, sub};
use super::plan::{JobQueue, Plan};
use super::policy;

/// What containers of workers and gateways need before they start.
pub(super) fn execution(cluster: &str, secrets: &str) -> String {
    let log = format!("/ecs/{cluster}");
    let texts = [("cluster", cluster), ("log", log.as_str()), ("secrets", secrets)];
    fill(include_str!("fragments/execution-role.yaml"), &texts)
}

/// The role of the program in a container.
pub(super) fn role(id: &str, policy: &str, statements: &str) -> String {
    let texts = [("id", id), ("policy", policy), ("statements", statements)];
    fill(include_str!("fragments/task-role.yaml"), &texts)
}

/// Parameters of every stack with containers.
pub(super) fn parameters(repository: &str) -> String {
    fill(include_str!("fragments/task-parameters.yaml"), &[("repository", repository)])
}

pub(super) fn template(plan: &Plan) -> String {
    let cluster = format!("{}-workers", plan.name);
    let texts = [
        ("made", plan.made.as_str()),
        ("parameters", &parameters("WorkerRepository")),
        ("execution", &execution(&cluster, "!Ref EnvelopeKeysSecretArn")),
        ("workers", &blocks(plan.queues.iter().map(|queue| worker(plan, queue)))),
    ];
    fill(include_str!("fragments/workers-fargate.yaml"), &texts)
}

fn worker(plan: &Plan, queue: &JobQueue) -> String {
    let mut variables = functions::variables(plan, "jobs");
    variables.extend(functions::payload_variables(plan));
    variables.push(("QB_QUEUE_URL", sub(&queue_url(&queue.name))));
    if let Some((_, branch)) = &queue.topic {
        variables.push(("QB_BRANCH", format!("\"{branch}\"")));
    }
    let one = |(name, value): &(&str, String)| format!("- {{Name: {name}, Value: {value}}}\n");
    let variables: String = variables.iter().map(one).collect();
    let texts = [
        ("id", queue.id.as_str()),
        ("what", &format!("Runs the jobs of {}.", queue.name)),
        ("service", &fit(&queue.name.replace('.', "-"), 60)),
        ("name", &format!("\"{}\"", queue.name)),
        ("variables", &variables),
        ("role", &role(&queue.id, "worker", &policy::jobs(plan, queue))),
    ];
    fill(include_str!("fragments/worker-task.yaml"), &texts)
}
