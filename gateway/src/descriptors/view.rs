//! What one caller is shown of the descriptors: what its grants reach, and the rest is as if
//! it did not exist.
//!
//! Files are shared, so that it does not do to show or hide them as a whole. A file is shown
//! if it declares a service that is shown, or if such a file imports it, directly or not.
//! Within the shown files these are left out: services that are hidden, and messages and
//! enums that only they use. What no service mentions stays, because details of errors and
//! extensions are used without being mentioned.

mod types;

use super::Snapshot;
use prost_reflect::prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumDescriptor, ExtensionDescriptor, FileDescriptor, Kind,
    MessageDescriptor, ServiceDescriptor, Value,
};
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use types::{outermost, used_by};

/// Where something was found: files are looked for there first.
pub(crate) type Place = usize;

/// What one caller is shown of a snapshot.
pub(crate) struct View {
    known: Arc<Snapshot>,
    /// One for each pool of the snapshot.
    parts: Vec<Part>,
}

/// What is shown of a pool.
enum Part {
    All,
    /// These files, without what is of one of these names.
    Some {
        files: HashSet<String>,
        hidden: HashSet<String>,
    },
}

impl View {
    /// What a caller is shown that `reaches` services of these names. The gateway's own are
    /// shown to everybody.
    pub(crate) fn new(known: Arc<Snapshot>, reaches: impl Fn(&str) -> bool) -> Self {
        let others = known.pools.iter().skip(1).map(|pool| Part::of(pool, &reaches));
        let parts = std::iter::once(Part::All).chain(others).collect();
        Self { known, parts }
    }

    /// Whether it is one of this snapshot.
    pub(crate) fn is_of(&self, known: &Arc<Snapshot>) -> bool {
        Arc::ptr_eq(&self.known, known)
    }

    /// The full names of the services, as the snapshot lists them.
    pub(crate) fn services(&self) -> impl Iterator<Item = &String> {
        let shown = |name: &str| {
            self.first(|pool| pool.get_service_by_name(name).map(Symbol::Service)).is_some()
        };
        self.known.services().iter().filter(move |name| shown(name))
    }

    /// The file that declares a symbol, serialized.
    pub(crate) fn declaring(&self, symbol: &str) -> Option<(Place, Vec<u8>)> {
        self.first_file(|pool| declared(pool, symbol))
    }

    /// The file of a name, from `place` if there is one.
    pub(crate) fn file(&self, name: &str, place: Place) -> Option<Vec<u8>> {
        let at = |place: Place, pool: &DescriptorPool| {
            let file = pool.get_file_by_name(name)?;
            let part = self.parts.get(place)?;
            part.shows_file(&file).then(|| part.encode(&file))
        };
        let there = self.known.pools.get(place).and_then(|pool| at(place, pool));
        there.or_else(|| {
            self.known.pools.iter().enumerate().find_map(|(place, pool)| at(place, pool))
        })
    }

    /// The file that declares an extension, serialized.
    pub(crate) fn extension(&self, of: &str, number: u32) -> Option<(Place, Vec<u8>)> {
        self.first_file(|pool| {
            let message = pool.get_message_by_name(of)?;
            Some(Symbol::Extension(message.get_extension(number)?))
        })
    }

    /// The numbers of the extensions of a message, if it is known.
    pub(crate) fn extension_numbers(&self, of: &str) -> Option<BTreeSet<u32>> {
        let mut known = false;
        let mut numbers = BTreeSet::new();
        for (part, pool) in self.parts.iter().zip(&self.known.pools) {
            let message = pool.get_message_by_name(of).map(Symbol::Message);
            let Some(Symbol::Message(message)) = message.filter(|found| part.shows(found)) else {
                continue;
            };
            known = true;
            let shown = message.extensions().filter(|e| part.shows(&Symbol::Extension(e.clone())));
            numbers.extend(shown.map(|extension| extension.number()));
        }
        known.then_some(numbers)
    }

    fn first_file(
        &self,
        find: impl Fn(&DescriptorPool) -> Option<Symbol>,
    ) -> Option<(Place, Vec<u8>)> {
        let (place, symbol) = self.first(find)?;
        Some((place, self.parts[place].encode(&symbol.file())))
    }

    /// The first that is shown. What is hidden in one pool may be shown of another.
    fn first(&self, find: impl Fn(&DescriptorPool) -> Option<Symbol>) -> Option<(Place, Symbol)> {
        let pools = self.parts.iter().zip(&self.known.pools).enumerate();
        pools.into_iter().find_map(|(place, (part, pool))| {
            Some((place, find(pool).filter(|symbol| part.shows(symbol))?))
        })
    }
}

impl Part {
    fn of(pool: &DescriptorPool, reaches: impl Fn(&str) -> bool) -> Self {
        let (shown, hidden): (Vec<_>, Vec<_>) =
            pool.services().partition(|service| reaches(service.full_name()));
        if hidden.is_empty() {
            return Self::All;
        }
        let mut files = HashSet::new();
        let mut open: Vec<_> = shown.iter().map(ServiceDescriptor::parent_file).collect();
        while let Some(file) = open.pop() {
            if files.insert(file.name().to_owned()) {
                open.extend(file.dependencies());
            }
        }
        let of_hidden = used_by(hidden.iter().flat_map(messages).map(Kind::Message));
        let declared = pool.files().filter(|file| files.contains(file.name())).flat_map(|file| {
            let messages: Vec<_> = file.messages().map(Kind::Message).collect();
            messages.into_iter().chain(file.enums().map(Kind::Enum).collect::<Vec<_>>())
        });
        let unmentioned =
            declared.filter(|of| outermost(of).is_none_or(|n| !of_hidden.contains(&n)));
        let of_shown = shown.iter().flat_map(messages).map(Kind::Message);
        let kept = used_by(of_shown.chain(unmentioned));
        let services = hidden.iter().map(|service| service.full_name().to_owned());
        let hidden = of_hidden.difference(&kept).cloned().chain(services).collect();
        Self::Some { files, hidden }
    }

    fn shows_file(&self, file: &FileDescriptor) -> bool {
        match self {
            Self::All => true,
            Self::Some { files, .. } => files.contains(file.name()),
        }
    }

    fn shows(&self, symbol: &Symbol) -> bool {
        if let Self::All = self {
            return true;
        }
        self.shows_file(&symbol.file()) && symbol.needs().iter().all(|name| self.names(name))
    }

    fn names(&self, outermost: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some { hidden, .. } => !hidden.contains(outermost),
        }
    }

    /// A file without what is hidden.
    fn encode(&self, file: &FileDescriptor) -> Vec<u8> {
        let whole = file.encode_to_vec();
        let extensions = || file.extensions().map(Symbol::Extension);
        let declared = file.services().map(Symbol::Service);
        let declared = declared.chain(file.messages().map(Symbol::Message));
        let mut declared = declared.chain(file.enums().map(Symbol::Enum)).chain(extensions());
        if declared.all(|symbol| self.shows(&symbol)) {
            return whole;
        }
        let kept: HashSet<String> = extensions()
            .filter(|symbol| self.shows(symbol))
            .filter_map(|symbol| symbol.simple_name())
            .collect();
        let package = file.package_name();
        let named = |name: &str| match package {
            "" => self.names(name),
            package => self.names(&format!("{package}.{name}")),
        };
        without(&whole, named, |extension| kept.contains(extension)).unwrap_or_default()
    }
}

/// A serialized file without some of what it declares, and without its comments, which stand
/// apart and speak of all. Options stay as they are, also those of extensions.
fn without(
    file: &[u8],
    is_named: impl Fn(&str) -> bool,
    is_extension: impl Fn(&str) -> bool,
) -> Option<Vec<u8>> {
    let form = DescriptorPool::global().get_message_by_name("google.protobuf.FileDescriptorProto");
    let mut file = DynamicMessage::decode(form?, file).ok()?;
    file.clear_field_by_name("source_code_info");
    let mut retain = |field: &str, keeps: &dyn Fn(&str) -> bool| {
        if let Some(Value::List(declared)) = file.get_field_by_name_mut(field) {
            declared.retain(|one| {
                let name = one.as_message().and_then(|one| one.get_field_by_name("name"));
                name.is_some_and(|name| name.as_str().is_some_and(keeps))
            });
        }
    };
    retain("service", &is_named);
    retain("message_type", &is_named);
    retain("enum_type", &is_named);
    retain("extension", &is_extension);
    Some(file.encode_to_vec())
}

/// What is asked for by name.
enum Symbol {
    Service(ServiceDescriptor),
    Message(MessageDescriptor),
    Enum(EnumDescriptor),
    Extension(ExtensionDescriptor),
}

impl Symbol {
    fn file(&self) -> FileDescriptor {
        match self {
            Self::Service(service) => service.parent_file(),
            Self::Message(message) => message.parent_file(),
            Self::Enum(one) => one.parent_file(),
            Self::Extension(extension) => extension.parent_file(),
        }
    }

    /// The names of all that has to be shown for it to be shown.
    fn needs(&self) -> Vec<String> {
        let outermost = |kind: Kind| outermost(&kind);
        match self {
            Self::Service(service) => vec![service.full_name().to_owned()],
            Self::Message(message) => {
                outermost(Kind::Message(message.clone())).into_iter().collect()
            }
            Self::Enum(one) => outermost(Kind::Enum(one.clone())).into_iter().collect(),
            Self::Extension(extension) => [
                Some(Kind::Message(extension.containing_message())),
                Some(extension.kind()),
                extension.parent_message().map(Kind::Message),
            ]
            .into_iter()
            .flatten()
            .filter_map(outermost)
            .collect(),
        }
    }

    /// The name within its file, of an extension.
    fn simple_name(&self) -> Option<String> {
        match self {
            Self::Extension(extension) => Some(extension.name().to_owned()),
            _ => None,
        }
    }
}

fn messages(service: &ServiceDescriptor) -> Vec<MessageDescriptor> {
    service.methods().flat_map(|method| [method.input(), method.output()]).collect()
}

fn declared(pool: &DescriptorPool, symbol: &str) -> Option<Symbol> {
    let message = |name: &str| pool.get_message_by_name(name).map(Symbol::Message);
    let whole = || {
        let service = pool.get_service_by_name(symbol).map(Symbol::Service);
        service
            .or_else(|| message(symbol))
            .or_else(|| pool.get_enum_by_name(symbol).map(Symbol::Enum))
            .or_else(|| pool.get_extension_by_name(symbol).map(Symbol::Extension))
    };
    // Methods and fields are known by what they belong to.
    let part = || {
        let (parent, name) = symbol.rsplit_once('.')?;
        let service = pool.get_service_by_name(parent);
        let service = service.filter(|found| found.methods().any(|method| method.name() == name));
        service.map(Symbol::Service).or_else(|| {
            let message = pool.get_message_by_name(parent)?;
            message.get_field_by_name(name).is_some().then(|| Symbol::Message(message))
        })
    };
    whole().or_else(part)
}

#[cfg(test)]
mod tests;
