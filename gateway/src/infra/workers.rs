//! A worker function on every queue of jobs.

use super::fill::{blocks, fill};
use super::functions::{self, Function, Source};
use super::plan::{JobQueue, Plan};
use super::policy;

pub(super) fn template(plan: &Plan) -> String {
    let parameter = |queue: &JobQueue| {
        let texts = [("id", queue.id.as_str()), ("name", &queue.name)];
        fill(include_str!("fragments/code-parameter.yaml"), &texts)
    };
    let condition =
        |q: &JobQueue| format!("Has{id}Code: !Not [!Equals [!Ref {id}Code, \"\"]]\n", id = q.id);
    let texts = [
        ("made", plan.made.as_str()),
        ("parameters", include_str!("fragments/function-parameters.yaml")),
        ("code_parameters", &plan.queues.iter().map(parameter).collect::<String>()),
        ("code_conditions", &plan.queues.iter().map(condition).collect::<String>()),
        ("resources", &blocks(plan.queues.iter().map(|queue| worker(plan, queue)))),
    ];
    fill(include_str!("fragments/workers.yaml"), &texts)
}

fn worker(plan: &Plan, queue: &JobQueue) -> String {
    let fifo = queue.is_fifo();
    let maximum = "ScalingConfig: {MaximumConcurrency: !Ref MaximumConcurrency}\n";
    let provisioned = "\
ScalingConfig: !If
  - HasPollers
  - !Ref AWS::NoValue
  - {MaximumConcurrency: !Ref MaximumConcurrency}
ProvisionedPollerConfig: !If
  - HasPollers
  - {MinimumPollers: !Ref ProvisionedPollers, MaximumPollers: 200}
  - !Ref AWS::NoValue
";
    let mut variables = functions::variables(plan, "jobs");
    variables.extend(functions::payload_variables(plan));
    if let Some((_, branch)) = &queue.topic {
        variables.push(("QB_BRANCH", format!("\"{branch}\"")));
    }
    let id = format!("{}Worker", queue.id);
    Function {
        id: &id,
        name: &queue.name,
        what: &format!("Runs the jobs of {}.", queue.name),
        code: &format!("!If [Has{0}Code, !Ref {0}Code, !Ref WorkerCode]", queue.id),
        timeout: queue.timeout,
        memory: "!Ref MemoryMiB",
        variables,
        sources: vec![Source {
            id: id.clone(),
            queue: &queue.name,
            batch_size: if fifo { plan.batch_size.min(10) } else { plan.batch_size },
            window: (!fifo).then_some(plan.batch_window),
            scaling: if fifo { maximum } else { provisioned }.to_owned(),
        }],
        // Snoozed jobs, and those whose time has not come.
        sends_to_its_source: true,
        statements: policy::jobs(plan, queue),
    }
    .render(plan)
}
