//! The sender of callbacks.

use super::fill::fill;
use super::functions::{self, Function, Source};
use super::plan::{Callbacks, Plan};
use super::policy;

/// The longest invocation, in seconds: receivers may take their time.
pub(super) const TIMEOUT: u64 = 120;

pub(super) fn template(plan: &Plan, callbacks: &Callbacks) -> String {
    let mut variables = functions::variables(plan, "callbacks");
    variables.extend([
        (
            "QB_CALLBACK_SIGNING_KEYS",
            "!If [HasSigningKeys, !Sub \"{{resolve:secretsmanager:${SigningKeysSecretArn}}}\", \
             !Ref AWS::NoValue]"
                .to_owned(),
        ),
        (
            "QB_CALLBACK_TENANT_SIGNING_KEYS",
            "!If [HasTenantSigningKeys, !Sub \"{{resolve:secretsmanager:\
             ${TenantSigningKeysSecretArn}}}\", !Ref AWS::NoValue]"
                .to_owned(),
        ),
        (
            "QB_CALLBACK_RESULT_URL",
            "!If [HasResultUrl, !Ref ResultUrl, !Ref AWS::NoValue]".to_owned(),
        ),
    ]);
    let function = Function {
        id: "Callbacks",
        name: "callbacks",
        what: "Makes the callbacks of finished jobs.",
        code: "!Ref WorkerCode",
        timeout: TIMEOUT,
        memory: "256",
        variables,
        sources: vec![Source {
            id: "Callbacks".to_owned(),
            queue: &callbacks.queue,
            batch_size: 10,
            window: None,
            scaling: "ScalingConfig: {MaximumConcurrency: 10}\n".to_owned(),
        }],
        // Later tries, and timers.
        sends_to_its_source: true,
        statements: policy::callbacks(plan, callbacks),
    };
    let texts = [
        ("made", plan.made.as_str()),
        ("parameters", include_str!("fragments/function-parameters.yaml")),
        ("function", &function.render(plan)),
    ];
    fill(include_str!("fragments/callbacks.yaml"), &texts)
}
