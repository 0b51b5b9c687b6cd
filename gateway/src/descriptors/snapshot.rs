//! The descriptors of one moment, as reflection asks for them.

use prost_reflect::{DescriptorPool, ExtensionDescriptor, FileDescriptor};
use queuebridge_web::Descriptors;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The descriptors of one moment.
#[derive(Default)]
pub struct Snapshot {
    /// The gateway's own first; earlier ones go before later ones.
    pools: Vec<DescriptorPool>,
    services: BTreeSet<String>,
    pub(super) descriptors: Arc<Descriptors>,
}

/// Where something was found: files are looked for there first.
pub(crate) type Place = usize;

impl Snapshot {
    pub(super) fn new(
        own: DescriptorPool,
        others: Vec<DescriptorPool>,
        routed: Option<&(dyn Fn(&str) -> bool + Send + Sync)>,
    ) -> Self {
        let name = |service: prost_reflect::ServiceDescriptor| service.full_name().to_owned();
        let own_services = own.services().map(name);
        let is_routed = |service: &prost_reflect::ServiceDescriptor| {
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

    /// The file that declares a symbol.
    pub(crate) fn declaring(&self, symbol: &str) -> Option<(Place, FileDescriptor)> {
        self.first(|pool| declaring(pool, symbol))
    }

    /// The file of a name, from `place` if there is one.
    pub(crate) fn file(&self, name: &str, place: Place) -> Option<FileDescriptor> {
        let there = self.pools.get(place).and_then(|pool| pool.get_file_by_name(name));
        there.or_else(|| Some(self.first(|pool| pool.get_file_by_name(name))?.1))
    }

    /// The file that declares an extension.
    pub(crate) fn extension(&self, of: &str, number: u32) -> Option<(Place, FileDescriptor)> {
        let extension = |pool: &DescriptorPool| pool.get_message_by_name(of)?.get_extension(number);
        self.first(|pool| Some(extension(pool)?.parent_file()))
    }

    /// The numbers of the extensions of a message, if it is known.
    pub(crate) fn extension_numbers(&self, of: &str) -> Option<BTreeSet<u32>> {
        let mut messages =
            self.pools.iter().filter_map(|pool| pool.get_message_by_name(of)).peekable();
        messages.peek()?;
        let numbers = |message: prost_reflect::MessageDescriptor| {
            message.extensions().map(|e: ExtensionDescriptor| e.number()).collect::<Vec<_>>()
        };
        Some(messages.flat_map(numbers).collect())
    }

    fn first<T>(&self, find: impl Fn(&DescriptorPool) -> Option<T>) -> Option<(Place, T)> {
        self.pools.iter().enumerate().find_map(|(place, pool)| Some((place, find(pool)?)))
    }
}

fn declaring(pool: &DescriptorPool, symbol: &str) -> Option<FileDescriptor> {
    let message = |name: &str| pool.get_message_by_name(name);
    let whole = || {
        let service = pool.get_service_by_name(symbol).map(|found| found.parent_file());
        service
            .or_else(|| Some(message(symbol)?.parent_file()))
            .or_else(|| Some(pool.get_enum_by_name(symbol)?.parent_file()))
            .or_else(|| Some(pool.get_extension_by_name(symbol)?.parent_file()))
    };
    // Methods and fields are known by what they belong to.
    let part = || {
        let (parent, name) = symbol.rsplit_once('.')?;
        let service = pool.get_service_by_name(parent);
        let service = service.filter(|found| found.methods().any(|method| method.name() == name));
        service.map(|found| found.parent_file()).or_else(|| {
            Some(message(parent)?.get_field_by_name(name)?.parent_message().parent_file())
        })
    };
    whole().or_else(part)
}
