//! The descriptors of one moment.

use super::view::Index;
use buffa_descriptor::ServiceDescriptor;
use queuebridge_web::{Descriptors, Pool};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The descriptors of one moment.
#[derive(Default)]
pub struct Snapshot {
    /// The gateway's own first; earlier ones go before later ones.
    pub(super) sources: Vec<Source>,
    services: BTreeSet<String>,
    pub(super) descriptors: Arc<Descriptors>,
}

/// Descriptors that belong together.
pub(super) struct Source {
    pub(super) pool: Pool,
    pub(super) index: Index,
}

impl Snapshot {
    pub(super) fn new(
        own: Pool,
        others: Vec<Pool>,
        routed: Option<&(dyn Fn(&str) -> bool + Send + Sync)>,
    ) -> Self {
        let name = |service: &ServiceDescriptor| service.full_name().to_owned();
        let own_services = own.services().iter().map(name);
        let is_routed = |service: &&ServiceDescriptor| {
            let path = |method: &str| format!("/{}/{method}", service.full_name());
            let mut methods = service.methods().iter();
            routed.is_none_or(|routed| methods.any(|method| routed(&path(method.name()))))
        };
        let others_services = others.iter().flat_map(Pool::services).filter(is_routed);
        let services = own_services.chain(others_services.map(name)).collect();
        let pools: Vec<Pool> = [own].into_iter().chain(others).collect();
        let descriptors = Arc::new(Descriptors::of(&pools));
        let source = |pool: Pool| Source { index: Index::of(&pool), pool };
        Self { sources: pools.into_iter().map(source).collect(), services, descriptors }
    }

    /// The full names of the gateway's own services and of those that a route takes.
    #[must_use]
    pub fn services(&self) -> &BTreeSet<String> {
        &self.services
    }

    /// All services beside the gateway's own, whether a route takes them or not.
    pub(crate) fn declared(&self) -> impl Iterator<Item = &ServiceDescriptor> {
        self.sources.iter().skip(1).flat_map(|source| source.pool.services())
    }
}
