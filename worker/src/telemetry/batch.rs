//! The metrics of one batch.

use super::Emf;
use super::document::{Document, MAX_VALUES, Metric, Unit};
use super::observation::Parts;
use crate::verdict::Verdict;
use queuebridge_proto::MethodName;
use queuebridge_proto::v1::State;
use queuebridge_store::Clock;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;

/// Numbers of a queue.
const BY_QUEUE: &[&[&str]] = &[&["Queue"]];
/// Numbers of a queue, and of each of its methods.
const BY_METHOD: &[&[&str]] = &[&["Queue"], &["Queue", "Method"]];

/// Adds up what happened to the deliveries of a batch. It writes its documents
/// when it is dropped: when the batch has ended, however that was.
pub(crate) struct BatchMetrics {
    emf: Arc<Emf>,
    clock: Clock,
    queue: String,
    size: usize,
    unopened: u64,
    redelivered: BTreeMap<&'static str, u64>,
    parked: BTreeMap<&'static str, u64>,
    methods: BTreeMap<Option<MethodName>, Counts>,
}

/// What is counted for each method.
#[derive(Default)]
struct Counts {
    jobs: u64,
    succeeded: u64,
    failed: u64,
    expired: u64,
    cancelled: u64,
    retries: u64,
    snoozed: u64,
    redelivered: u64,
    parked: u64,
    ages: Vec<u64>,
    durations: Vec<f64>,
    /// A handler has answered: the method exists.
    proven: bool,
}

impl BatchMetrics {
    /// For a batch of `size` deliveries of this queue.
    pub(crate) fn new(emf: Arc<Emf>, clock: Clock, queue: &str, size: usize) -> Self {
        Self {
            emf,
            clock,
            queue: queue.to_owned(),
            size,
            unopened: 0,
            redelivered: BTreeMap::new(),
            parked: BTreeMap::new(),
            methods: BTreeMap::new(),
        }
    }

    /// Adds one delivery; `None` is one that was not run.
    pub(crate) fn add(&mut self, parts: Option<Box<Parts>>, verdict: &Verdict) {
        if let Verdict::Redeliver { reason, .. } = verdict {
            *self.redelivered.entry(reason.name()).or_default() += 1;
        }
        if let Some(reason) = parts.as_ref().and_then(|parts| parts.parked) {
            *self.parked.entry(reason).or_default() += 1;
        }
        if parts.as_ref().is_some_and(|parts| parts.method.is_none()) {
            self.unopened += 1;
        }
        let method = parts.as_ref().and_then(|parts| parts.method.clone());
        self.methods.entry(method).or_default().add(parts, verdict);
    }

    /// The documents, one line each.
    fn lines(&mut self) -> String {
        let mut methods = std::mem::take(&mut self.methods);
        let proven = methods.iter().filter(|(_, counts)| counts.proven);
        self.emf.proven(proven.filter_map(|(method, _)| method.as_ref()));
        // The rest counts for the queue alone.
        let mut rest = methods.remove(&None).unwrap_or_default();
        for (_, counts) in methods.extract_if(.., |method, _| !self.known(method.as_ref())) {
            rest.merge(counts);
        }
        let mut whole = self.whole();
        let mut lines = String::new();
        for (method, counts) in methods {
            self.write(method.as_ref(), counts, &mut whole, &mut lines);
        }
        if !rest.is_empty() || !whole.is_empty() {
            self.write(None, rest, &mut whole, &mut lines);
        }
        lines
    }

    fn known(&self, method: Option<&MethodName>) -> bool {
        method.is_some_and(|method| self.emf.knows(method))
    }

    /// What is counted for the batch as a whole.
    fn whole(&self) -> Vec<Metric> {
        let mut metrics = vec![count("BatchSize", self.size as u64)];
        if self.emf.take_cold_start() {
            metrics.push(count("ColdStart", 1));
        }
        if self.unopened > 0 {
            metrics.push(count("Unopened", self.unopened));
        }
        for (kind, reasons) in [("Redelivered", &self.redelivered), ("Parked", &self.parked)] {
            metrics.extend(reasons.iter().map(|(why, n)| count(&format!("{kind}.{why}"), *n)));
        }
        metrics
    }

    /// A document, and more of them where there are more values than one holds.
    fn write(
        &self,
        method: Option<&MethodName>,
        mut counts: Counts,
        whole: &mut Vec<Metric>,
        lines: &mut String,
    ) {
        let mut metrics = counts.metrics();
        loop {
            let ages = first(&mut counts.ages);
            let durations = first(&mut counts.durations);
            metrics.extend(values("Age", ages));
            metrics.extend(values("Duration", durations));
            if metrics.is_empty() && whole.is_empty() {
                return;
            }
            let mut document = Document::new(self.clock.now());
            document.text("Queue", &self.queue);
            if let Some(method) = method {
                document.text("Method", method.as_str());
            }
            let dimensions = if method.is_some() { BY_METHOD } else { BY_QUEUE };
            document.metrics(self.emf.namespace(), BY_QUEUE, std::mem::take(whole));
            document.metrics(self.emf.namespace(), dimensions, std::mem::take(&mut metrics));
            lines.push_str(&document.line());
        }
    }
}

impl Drop for BatchMetrics {
    fn drop(&mut self) {
        let lines = self.lines();
        self.emf.write(&lines);
    }
}

impl Counts {
    fn add(&mut self, parts: Option<Box<Parts>>, verdict: &Verdict) {
        self.redelivered += u64::from(!verdict.is_ack());
        let Some(parts) = parts else { return };
        self.jobs += u64::from(parts.method.is_some());
        self.parked += u64::from(parts.parked.is_some());
        self.snoozed += u64::from(parts.snoozed);
        match parts.finished {
            Some(State::Succeeded) => self.succeeded += 1,
            Some(State::Failed) => self.failed += 1,
            Some(State::Expired) => self.expired += 1,
            Some(State::Cancelled) => self.cancelled += 1,
            _ => {}
        }
        if let Some(start) = parts.start {
            self.retries += u64::from(start.attempt > 1);
            self.ages.push(u64::try_from(start.age.as_millis()).unwrap_or(u64::MAX));
        }
        if let Some((after, answer)) = parts.end {
            self.durations.push(millis(after));
            self.proven |= answer.is_some_and(|code| code != Code::Unimplemented);
        }
    }

    fn merge(&mut self, other: Self) {
        self.jobs += other.jobs;
        self.succeeded += other.succeeded;
        self.failed += other.failed;
        self.expired += other.expired;
        self.cancelled += other.cancelled;
        self.retries += other.retries;
        self.snoozed += other.snoozed;
        self.redelivered += other.redelivered;
        self.parked += other.parked;
        self.ages.extend(other.ages);
        self.durations.extend(other.durations);
    }

    fn is_empty(&self) -> bool {
        self.jobs == 0 && self.redelivered == 0 && self.parked == 0
    }

    /// All that is not zero: a metric that never happens costs nothing.
    fn metrics(&self) -> Vec<Metric> {
        let counts = [
            ("Jobs", self.jobs),
            ("Succeeded", self.succeeded),
            ("Failed", self.failed),
            ("Expired", self.expired),
            ("Cancelled", self.cancelled),
            ("Retries", self.retries),
            ("Snoozed", self.snoozed),
            ("Redelivered", self.redelivered),
            ("Parked", self.parked),
        ];
        counts.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| count(name, n)).collect()
    }
}

fn count(name: &str, n: u64) -> Metric {
    (name.to_owned(), Unit::Count, n.into())
}

fn values<T: Into<Value>>(name: &str, values: Vec<T>) -> Option<Metric> {
    (!values.is_empty()).then(|| (name.to_owned(), Unit::Milliseconds, values.into()))
}

/// Takes as many values as one document holds.
fn first<T>(values: &mut Vec<T>) -> Vec<T> {
    let rest = values.split_off(values.len().min(MAX_VALUES));
    std::mem::replace(values, rest)
}

/// Milliseconds, to the microsecond: a quick handler takes less than one.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
mod tests;
