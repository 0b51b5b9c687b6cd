//! What one caller is shown of the descriptors: what its grants reach, and the rest is as if
//! it did not exist.
//!
//! Files are shared, so that it does not do to show or hide them as a whole. A file is shown
//! if it declares a service that is shown, or if such a file imports it, directly or not.
//! Within the shown files these are left out: services that are hidden, and messages and
//! enums that only they use. What no service mentions stays, because details of errors and
//! extensions are used without being mentioned.

mod index;

use super::Snapshot;
use buffa::{Message, MessageField};
use buffa_descriptor::generated::descriptor::FileDescriptorProto;
pub(super) use index::Index;
use index::{Symbol, scoped};
use queuebridge_web::Pool;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

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
        let others = known.sources.iter().skip(1);
        let others = others.map(|source| Part::of(&source.pool, &source.index, &reaches));
        let parts = std::iter::once(Part::All).chain(others).collect();
        Self { known, parts }
    }

    /// Whether it is one of this snapshot.
    pub(crate) fn is_of(&self, known: &Arc<Snapshot>) -> bool {
        Arc::ptr_eq(&self.known, known)
    }

    /// The full names of the services, as the snapshot lists them.
    pub(crate) fn services(&self) -> impl Iterator<Item = &String> {
        let shown = |name: &str| self.first(|index| index.symbol(name)).is_some();
        self.known.services().iter().filter(move |name| shown(name))
    }

    /// The file that declares a symbol, serialized.
    pub(crate) fn declaring(&self, symbol: &str) -> Option<(Place, Vec<u8>)> {
        self.first_file(|index| index.symbol(symbol))
    }

    /// The file of a name, from `place` if there is one.
    pub(crate) fn file(&self, name: &str, place: Place) -> Option<Vec<u8>> {
        let at = |place: Place| {
            let (source, part) = (self.known.sources.get(place)?, self.parts.get(place)?);
            let file = source.pool.linked().file_by_name(name)?;
            part.shows_file(file).then(|| part.encode(&source.pool, &source.index, file))
        };
        at(place).or_else(|| (0..self.parts.len()).find_map(at))
    }

    /// The file that declares an extension, serialized.
    pub(crate) fn extension(&self, of: &str, number: u32) -> Option<(Place, Vec<u8>)> {
        self.first_file(|index| index.extension(of, number))
    }

    /// The numbers of the extensions of a message, if it is known.
    pub(crate) fn extension_numbers(&self, of: &str) -> Option<BTreeSet<u32>> {
        let mut known = false;
        let mut numbers = BTreeSet::new();
        for (part, source) in self.parts.iter().zip(&self.known.sources) {
            let (pool, index) = (&source.pool, &source.index);
            if pool.linked().message_index(of).is_none()
                || !index.symbol(of).is_some_and(|found| part.shows(pool, found))
            {
                continue;
            }
            known = true;
            let shown = index.extensions(of).filter(|(_, found)| part.shows(pool, found));
            numbers.extend(shown.map(|(number, _)| number));
        }
        known.then_some(numbers)
    }

    fn first_file<'a>(
        &'a self,
        find: impl Fn(&'a Index) -> Option<&'a Symbol>,
    ) -> Option<(Place, Vec<u8>)> {
        let (place, symbol) = self.first(find)?;
        let source = &self.known.sources[place];
        let file = source.pool.linked().files().get(symbol.file)?;
        Some((place, self.parts[place].encode(&source.pool, &source.index, file)))
    }

    /// The first that is shown. What is hidden in one pool may be shown of another.
    fn first<'a>(
        &'a self,
        find: impl Fn(&'a Index) -> Option<&'a Symbol>,
    ) -> Option<(Place, &'a Symbol)> {
        let sources = self.parts.iter().zip(&self.known.sources).enumerate();
        sources.into_iter().find_map(|(place, (part, source))| {
            let found = find(&source.index).filter(|symbol| part.shows(&source.pool, symbol))?;
            Some((place, found))
        })
    }
}

impl Part {
    fn of(pool: &Pool, index: &Index, reaches: impl Fn(&str) -> bool) -> Self {
        let names = pool.services().iter().map(|service| service.full_name());
        let (shown, hidden): (Vec<&str>, Vec<&str>) = names.partition(|name| reaches(name));
        if hidden.is_empty() {
            return Self::All;
        }
        let all = pool.linked().files();
        let mut files = HashSet::new();
        let mut open: Vec<&FileDescriptorProto> =
            shown.iter().filter_map(|service| all.get(index.symbol(service)?.file)).collect();
        while let Some(file) = open.pop() {
            if files.insert(name_of(file).to_owned()) {
                let imports = file.dependency.iter();
                open.extend(imports.filter_map(|name| pool.linked().file_by_name(name)));
            }
        }
        let mentioned = |services: &[&str]| -> Vec<String> {
            services.iter().flat_map(|service| index.of_service(service)).collect()
        };
        let of_hidden = index.used_by(mentioned(&hidden).into_iter());
        let declared = all.iter().filter(|file| files.contains(name_of(file)));
        let unmentioned = declared.flat_map(types_in).filter(|name| !of_hidden.contains(name));
        let kept = index.used_by(mentioned(&shown).into_iter().chain(unmentioned));
        let services = hidden.iter().map(|service| (*service).to_owned());
        let hidden = of_hidden.difference(&kept).cloned().chain(services).collect();
        Self::Some { files, hidden }
    }

    fn shows_file(&self, file: &FileDescriptorProto) -> bool {
        match self {
            Self::All => true,
            Self::Some { files, .. } => files.contains(name_of(file)),
        }
    }

    fn shows(&self, pool: &Pool, symbol: &Symbol) -> bool {
        if let Self::All = self {
            return true;
        }
        let file = pool.linked().files().get(symbol.file);
        file.is_some_and(|file| self.shows_file(file))
            && symbol.needs.iter().all(|name| self.names(name))
    }

    fn names(&self, outermost: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some { hidden, .. } => !hidden.contains(outermost),
        }
    }

    /// A file without what is hidden.
    fn encode(&self, pool: &Pool, index: &Index, file: &FileDescriptorProto) -> Vec<u8> {
        let package = file.package.as_deref().unwrap_or_default();
        let named = |name: Option<&String>| self.names(&scoped(package, name.map(String::as_str)));
        let extended = |name: Option<&String>| {
            let symbol = index.symbol(&scoped(package, name.map(String::as_str)));
            symbol.is_some_and(|symbol| self.shows(pool, symbol))
        };
        let whole = file.service.iter().all(|one| named(one.name.as_ref()))
            && file.message_type.iter().all(|one| named(one.name.as_ref()))
            && file.enum_type.iter().all(|one| named(one.name.as_ref()))
            && file.extension.iter().all(|one| extended(one.name.as_ref()));
        if whole {
            return pool.file(name_of(file)).unwrap_or_default().to_vec();
        }
        // Comments stand apart and speak of all. Options stay as they are, also those of
        // extensions.
        let mut file = file.clone();
        file.source_code_info = MessageField::none();
        file.service.retain(|one| named(one.name.as_ref()));
        file.message_type.retain(|one| named(one.name.as_ref()));
        file.enum_type.retain(|one| named(one.name.as_ref()));
        file.extension.retain(|one| extended(one.name.as_ref()));
        file.encode_to_vec()
    }
}

fn name_of(file: &FileDescriptorProto) -> &str {
    file.name.as_deref().unwrap_or_default()
}

/// The full names of the messages and enums that stand in a file itself.
fn types_in(file: &FileDescriptorProto) -> impl Iterator<Item = String> {
    let package = file.package.as_deref().unwrap_or_default();
    let messages = file.message_type.iter().map(|message| message.name.as_deref());
    let enums = file.enum_type.iter().map(|of| of.name.as_deref());
    messages.chain(enums).map(move |name| scoped(package, name))
}

#[cfg(test)]
mod tests;
