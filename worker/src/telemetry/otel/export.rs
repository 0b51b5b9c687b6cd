//! Exporting traces by OTLP.

use super::exporter::{TracesError, exporter};
use crate::config::TracesConfig;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// How long a shutdown waits for a collector.
const SHUTDOWN: Duration = Duration::from_secs(1);
/// The name of a service that has no other.
const SERVICE: &str = "queuebridge-worker";

/// Where traces go: to the collector that the standard `OTEL_*` variables name. A collector
/// that is slow or dead costs spans.
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    /// Flushes that nobody waits for any more and that have not ended.
    abandoned: Arc<AtomicUsize>,
}

impl Traces {
    /// Traces of a service, which `function` names if the environment does not.
    /// Must be called in a runtime.
    ///
    /// # Errors
    /// When they cannot be exported so.
    pub fn start(function: Option<&str>, config: &TracesConfig) -> Result<Self, TracesError> {
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter(config)?)
            .with_sampler(sampler(config))
            .with_resource(resource(function, config));
        Ok(Self::of(provider.build()))
    }

    pub(super) fn of(provider: SdkTracerProvider) -> Self {
        Self { provider, abandoned: Arc::default() }
    }

    /// Makes spans of level `INFO` and above a part of the traces. Left out is what
    /// would be about the export itself, and the runtime's own span, which ends
    /// after its invocation.
    pub fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
    {
        let targets = Targets::new()
            .with_default(LevelFilter::INFO)
            .with_target("opentelemetry", LevelFilter::OFF)
            .with_target("lambda_runtime", LevelFilter::OFF);
        let tracer = self.provider.tracer("queuebridge");
        tracing_opentelemetry::layer()
            .with_tracer(tracer)
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(targets)
    }

    /// Sends the spans that have ended, and waits for at most this time. While a
    /// flush that took longer goes on, further ones do not wait: a dead collector
    /// costs the time once, and not in every invocation.
    pub async fn flush(&self, patience: Duration) {
        if patience.is_zero() || self.abandoned.load(Ordering::Relaxed) > 0 {
            return;
        }
        self.bounded(patience, SdkTracerProvider::force_flush).await;
    }

    /// Sends what is left and ends; at the end of the process.
    pub async fn shut_down(&self) {
        self.bounded(SHUTDOWN, |provider| provider.shutdown_with_timeout(SHUTDOWN)).await;
    }

    /// The provider blocks the thread on which it is asked. A thread of the
    /// runtime would keep the process from ending, so it is one of its own.
    async fn bounded(
        &self,
        patience: Duration,
        ask: impl FnOnce(&SdkTracerProvider) -> OTelSdkResult + Send + 'static,
    ) {
        let (done, mut answer) = oneshot::channel();
        let (provider, abandoned) = (self.provider.clone(), self.abandoned.clone());
        let thread = std::thread::Builder::new().name("traces".into()).spawn(move || {
            let _ = done.send(ask(&provider));
        });
        if let Err(error) = thread {
            tracing::warn!(%error, "no thread to send traces");
            return;
        }
        match timeout(patience, &mut answer).await {
            Ok(Ok(Err(error))) => tracing::warn!(%error, "traces were not sent"),
            Ok(_) => {}
            Err(_) => {
                tracing::warn!(?patience, "the collector of traces is too slow");
                abandoned.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(async move {
                    let _ = answer.await;
                    abandoned.fetch_sub(1, Ordering::Relaxed);
                });
            }
        }
    }
}

fn sampler(config: &TracesConfig) -> Sampler {
    let own = match config.sampler.ratio {
        1.0 => Sampler::AlwaysOn,
        0.0 => Sampler::AlwaysOff,
        ratio => Sampler::TraceIdRatioBased(ratio),
    };
    if config.sampler.parent_based { Sampler::ParentBased(Box::new(own)) } else { own }
}

/// Who says it. What the environment says comes first.
fn resource(function: Option<&str>, config: &TracesConfig) -> Resource {
    let name = config.service.as_deref().or(function).unwrap_or(SERVICE);
    let mut resource = Resource::builder();
    if let Some(function) = function {
        resource = resource.with_attributes([
            KeyValue::new("cloud.provider", "aws"),
            KeyValue::new("cloud.platform", "aws_lambda"),
            KeyValue::new("faas.name", function.to_owned()),
        ]);
    }
    // The library has read these without their percent encoding.
    let attributes = config.attributes.iter();
    let attributes = attributes.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    resource.with_attributes(attributes).with_service_name(name.to_owned()).build()
}
