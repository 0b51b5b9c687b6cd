//! The descriptors of one moment.

use prost_reflect::{DescriptorPool, ServiceDescriptor};
use queuebridge_web::Descriptors;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The descriptors of one moment.
#[derive(Default)]
pub struct Snapshot {
    /// The gateway's own first; earlier ones go before later ones.
    pub(super) pools: Vec<DescriptorPool>,
    services: BTreeSet<String>,
    pub(super) descriptors: Arc<Descriptors>,
}

impl Snapshot {
    pub(super) fn new(
        own: DescriptorPool,
        others: Vec<DescriptorPool>,
        routed: Option<&(dyn Fn(&str) -> bool + Send + Sync)>,
    ) -> Self {
        let name = |service: ServiceDescriptor| service.full_name().to_owned();
        let own_services = own.services().map(name);
        let is_routed = |service: &ServiceDescriptor| {
            let path = |method: &str| format!("/{}/{method}", service.full_name());
            routed.is_none_or(|routed| service.methods().any(|method| routed(&path(method.name()))))
        };
        let others_services = others.iter().flat_map(DescriptorPool::services).filter(is_routed);
        let services = own_services.chain(others_services.map(name)).collect();
        let pools: Vec<DescriptorPool> = [own].into_iter().chain(others).collect();
        let descriptors = Arc::new(Descriptors::of(&pools));
        Self { pools, services, descriptors }
    }

    /// The full names of the gateway's own services and of those that a route takes.
    #[must_use]
    pub fn services(&self) -> &BTreeSet<String> {
        &self.services
    }

    /// All services beside the gateway's own, whether a route takes them or not.
    pub(crate) fn declared(&self) -> impl Iterator<Item = ServiceDescriptor> {
        self.pools.iter().skip(1).flat_map(DescriptorPool::services)
    }
}
