//! The gateway, in containers or as a function.

use super::containers;
use super::fill::fill;
use super::plan::Plan;
use super::policy;

/// A gateway that asks nobody who they are is kept off the internet.
const NOT_ON_THE_INTERNET: &str = "\
Rules:
  NotOnTheInternet:
    Assertions:
      - Assert: !Equals [!Ref Scheme, internal]
        AssertDescription: The configuration has auth = \"none\"; it must not be internet-facing.
";
const NOT_OPEN: &str = "\
NotOpenToEveryone:
  Assertions:
    - Assert: !Equals [!Ref Scheme, internal]
      AssertDescription: The configuration has auth = \"none\"; it must not be internet-facing.
    - Assert: !Equals [!Ref FunctionUrlAuth, AWS_IAM]
      AssertDescription: The configuration has auth = \"none\"; callers of the URL have to sign with IAM.
    - Assert: !Not [!Equals [!Ref HttpApi, OPEN]]
      AssertDescription: The configuration has auth = \"none\"; callers of the API have to sign with IAM.
";

/// Longer than the longest wait of a call, which is 300 s: by then the load balancer sends
/// a container nothing new, and what it had is answered.
const DEREGISTRATION: &str = "330";

pub(super) fn fargate(plan: &Plan) -> String {
    let cluster = format!("{}-gateway", plan.name);
    let egress = plan.upstream_ports.iter().map(|port| {
        format!(
            "- {{IpProtocol: tcp, FromPort: {port}, ToPort: {port}, CidrIp: 0.0.0.0/0, \
             Description: Upstreams}}\n"
        )
    });
    let statements = policy::gateway(plan, true);
    let texts = [
        ("made", plan.made.as_str()),
        ("name", &plan.name),
        ("cluster", &cluster),
        ("port", &plan.port.to_string()),
        ("protocol", if plan.has_tls { "HTTPS" } else { "HTTP" }),
        ("parameters", &containers::parameters("GatewayRepository")),
        ("maximum", &plan.replies.len().max(2).to_string()),
        ("deregistration", DEREGISTRATION),
        ("upstream_egress", &egress.collect::<String>()),
        (
            "execution",
            &containers::execution(
                &cluster,
                "[!Ref JobIdKeysSecretArn, !Ref EnvelopeKeysSecretArn]",
            ),
        ),
        ("role", &containers::role("Gateway", "gateway", &statements)),
        ("config", &plan.text),
        ("rules", if plan.is_open { NOT_ON_THE_INTERNET } else { "" }),
    ];
    fill(include_str!("fragments/gateway-fargate.yaml"), &texts)
}

/// For a gateway that runs elsewhere.
pub(super) fn policy(plan: &Plan) -> String {
    let statements = policy::gateway(plan, true);
    let texts = [("made", plan.made.as_str()), ("statements", &statements)];
    fill(include_str!("fragments/gateway-policy.yaml"), &texts)
}

pub(super) fn lambda(plan: &Plan) -> String {
    let texts = [
        ("made", plan.made.as_str()),
        ("name", plan.name.as_str()),
        ("function", &format!("{}-gateway", plan.name)),
        ("statements", &policy::gateway(plan, false)),
        ("rules", if plan.is_open { NOT_OPEN } else { "" }),
    ];
    fill(include_str!("fragments/gateway-lambda.yaml"), &texts)
}
