//! What every batch shares: the services, the stores, the keys, the limits.

use crate::announce::Announcer;
use crate::branch::Branch;
use crate::callbacks::Sender;
use crate::dispatch::Dispatcher;
use crate::host::pointers::Pointers;
use crate::outbox::Outbox;
use crate::telemetry::Telemetry;
use queuebridge_store::{
    Clock, GatherStore, Gathers, PayloadStore, RECORD_BYTES, ResultStore, Seal, StreamStore,
};
use queuebridge_web::Descriptors;
use std::sync::Arc;
use std::time::Duration;
use tonic::service::Routes;

/// Runs deliveries; shared by all batches of a process.
pub struct Runner {
    pub(crate) dispatcher: Dispatcher,
    pub(crate) store: Arc<dyn ResultStore>,
    pub(crate) gathers: Gathers,
    pub(crate) streams: Arc<dyn StreamStore>,
    pub(crate) payloads: Option<Arc<dyn PayloadStore>>,
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) seal: Seal,
    pub(crate) clock: Clock,
    pub(crate) settings: RunnerSettings,
    pub(crate) announcer: Announcer,
}

/// How a runner behaves.
#[derive(Clone, Debug)]
pub struct RunnerSettings {
    /// What the deliveries are.
    pub role: Role,
    /// How long a claim holds without being renewed, where the host has no end of
    /// its own: after this time a job of a dead worker is run again. At every third
    /// of it the claim is renewed, and a cancellation noticed.
    pub lease: Duration,
    /// How many deliveries of one batch run at once.
    pub concurrency: usize,
    /// The largest answer that is stored in the record itself; larger ones go to
    /// the payload store.
    pub inline_response_bytes: usize,
    /// The largest outcome that the result store can hold.
    pub record_bytes: usize,
    /// The largest answer at all.
    pub max_response_bytes: usize,
    /// Which branch it is, of methods that go to several.
    pub branch: Branch,
    /// What is known of the services' messages: answers are stored with the names
    /// of their types.
    pub descriptors: Option<Arc<Descriptors>>,
    /// Bodies of messages that only point to them; none: such messages are parked.
    pub pointers: Option<Arc<Pointers>>,
    /// How callbacks are made, in the role that makes them.
    pub callbacks: Option<Arc<Sender>>,
    /// What it says about its work.
    pub telemetry: Telemetry,
}

/// What a worker does with deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// It runs their jobs.
    #[default]
    Jobs,
    /// They are dead letters: it finishes their jobs without running them, and
    /// parks the messages.
    DeadLetters,
    /// They are of the callback queue: it tells who wants to know.
    Callbacks,
}

impl Default for RunnerSettings {
    fn default() -> Self {
        Self {
            role: Role::Jobs,
            lease: Duration::from_secs(30),
            concurrency: 100,
            // A DynamoDB write costs a unit per KiB and an S3 object eight of them.
            inline_response_bytes: 32 * 1024,
            record_bytes: RECORD_BYTES,
            // A worker holds it in memory, together with others. Without a payload
            // store it is what a record can hold.
            max_response_bytes: 512 * 1024 * 1024,
            branch: Branch::default(),
            descriptors: None,
            pointers: None,
            callbacks: None,
            telemetry: Telemetry::default(),
        }
    }
}

/// The stores of jobs: their records, what their branches have come to, and streams.
#[derive(Clone)]
pub struct JobStores {
    /// What is known about jobs.
    pub results: Arc<dyn ResultStore>,
    /// What the branches of jobs have come to.
    pub gathers: Arc<dyn GatherStore>,
    /// The messages of streams.
    pub streams: Arc<dyn StreamStore>,
}

impl<S: ResultStore + GatherStore + StreamStore> From<Arc<S>> for JobStores {
    fn from(store: Arc<S>) -> Self {
        Self { results: store.clone(), gathers: store.clone(), streams: store }
    }
}

impl Runner {
    /// A runner of `routes` over the given stores.
    #[must_use]
    pub fn new(
        routes: Routes,
        stores: impl Into<JobStores>,
        payloads: Option<Arc<dyn PayloadStore>>,
        outbox: Arc<dyn Outbox>,
        seal: impl Into<Seal>,
        clock: Clock,
        settings: RunnerSettings,
    ) -> Arc<Self> {
        let dispatcher = Dispatcher::new(routes);
        let announcer = Announcer::default();
        let JobStores { results: store, gathers, streams } = stores.into();
        let gathers = Gathers {
            results: store.clone(),
            gathers,
            payloads: payloads.clone(),
            record_bytes: settings.record_bytes,
        };
        Arc::new(Self {
            dispatcher,
            store,
            gathers,
            streams,
            payloads,
            outbox,
            seal: seal.into(),
            clock,
            settings,
            announcer,
        })
    }

    /// How this runner behaves.
    #[must_use]
    pub fn settings(&self) -> &RunnerSettings {
        &self.settings
    }
}

/// A number from 0 to 1 for jitter.
pub(crate) fn random() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}
