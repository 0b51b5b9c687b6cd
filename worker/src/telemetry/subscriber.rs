//! What is logged and traced, and where: the subscriber of the process.

use super::{Telemetry, Traces};
use crate::config::{Config, Host};
use queuebridge_proto::printable::JsonLines;
use queuebridge_proto::redaction;
use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt, Targets, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

/// JSON lines on standard error, which both Lambda and containers collect, and
/// traces where the environment names a collector. A subscriber that the owner has
/// installed before stays, and nothing is exported. Must be called in a runtime.
pub(crate) fn install(config: &Config) -> Telemetry {
    let targets = config.log_filter.parse();
    let targets = targets.unwrap_or_else(|_| Targets::new().with_default(LevelFilter::INFO));
    // The runtime's own span of an invocation would say the request id again.
    let targets = targets.with_target("lambda_runtime::layers", LevelFilter::OFF);
    let targets = targets.and(filter_fn(|line| {
        *line.level() <= Level::INFO || !redaction::is_talkative(line.target())
    }));
    // One list of spans in each line, from the outermost to the innermost.
    let json = tracing_subscriber::fmt::layer()
        .json()
        .with_current_span(false)
        .with_writer(|| JsonLines(std::io::stderr()))
        .with_filter(targets);
    let traces = config.traces.as_ref();
    let traces = traces.map(|traces| Traces::start(config.function.as_deref(), traces));
    let (traces, error) = match traces.transpose() {
        Ok(traces) => (traces, None),
        Err(error) => (None, Some(error)),
    };
    let layer = traces.as_ref().map(Traces::layer);
    let installed = tracing_subscriber::registry().with(layer).with(json).try_init().is_ok();
    if let Some(error) = error {
        tracing::error!(%error, "traces are not exported");
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if traces.is_some() && !installed {
        tracing::warn!(
            "traces are not exported: the process has a subscriber of its own, which the worker \
             does not replace"
        );
    }
    let traces = traces.filter(|_| installed);
    Telemetry { traces, faas: config.host == Host::Lambda, ..Telemetry::default() }
}
