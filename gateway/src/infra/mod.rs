//! Templates of AWS CloudFormation for exactly what a configuration names: its queues,
//! topics, table and bucket, the workers behind them and the gateway itself, each with
//! the permissions that it needs.
//!
//! The same configuration gives the same text, byte for byte. Names are those of the
//! configuration; account and region are "this one", so that the templates of an example
//! can be deployed anywhere.

mod alarms;
mod callbacks;
mod containers;
mod dead_letters;
mod fill;
mod functions;
mod gateway;
mod names;
mod plan;
mod policy;
mod queues;
mod settings;
mod stores;
mod workers;

pub use settings::{FunctionTimeout, Settings};

use crate::config::{Config, ConfigErrors};
use plan::Plan;

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its name, such as `queues.yaml`.
    pub name: &'static str,
    /// What it contains.
    pub text: String,
}

/// What CloudFormation takes without a bucket to read it from, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 51_200;

/// The templates for a configuration, of which `text` is the file as it is.
///
/// # Errors
/// Every reason why the configuration cannot be deployed as one stack of queues in one
/// account and region.
pub fn templates(
    text: &str,
    config: &Config,
    settings: &Settings,
) -> Result<Vec<Template>, ConfigErrors> {
    let plan = Plan::new(text, config, settings)?;
    let mut templates = vec![
        Template {
            name: "artifacts.yaml",
            text: include_str!("../../../infra/artifacts.yaml").into(),
        },
        Template { name: "keys.yaml", text: include_str!("../../../infra/keys.yaml").into() },
        Template { name: "network.yaml", text: include_str!("../../../infra/network.yaml").into() },
        Template { name: "stores.yaml", text: stores::template(&plan) },
        Template { name: "gateway-fargate.yaml", text: gateway::fargate(&plan) },
        Template { name: "gateway-lambda.yaml", text: gateway::lambda(&plan) },
        Template { name: "gateway-policy.yaml", text: gateway::policy(&plan) },
        Template { name: "observability.yaml", text: alarms::template(&plan) },
    ];
    // A gateway whose calls all go upstream has no jobs.
    if !plan.queues.is_empty() {
        templates.extend([
            Template { name: "queues.yaml", text: queues::template(&plan) },
            Template { name: "workers.yaml", text: workers::template(&plan) },
            Template { name: "workers-fargate.yaml", text: containers::template(&plan) },
            Template { name: "dead-letters.yaml", text: dead_letters::template(&plan) },
        ]);
    }
    if let Some(callbacks) = &plan.callbacks {
        templates
            .push(Template { name: "callbacks.yaml", text: callbacks::template(&plan, callbacks) });
    }
    templates.sort_unstable_by_key(|template| template.name);
    Ok(templates)
}
