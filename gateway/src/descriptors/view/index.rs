//! What the files of a pool declare, and which types each declaration mentions.

use buffa_descriptor::generated::descriptor::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};
use queuebridge_web::Pool;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What stands in the files of a pool.
#[derive(Default)]
pub(in crate::descriptors) struct Index {
    /// All that can be asked for by its full name: also nested types, methods and fields,
    /// each as what it belongs to.
    symbols: HashMap<String, Symbol>,
    /// The types that the outermost messages and enums mention, by their full names.
    mentions: HashMap<String, Vec<String>>,
    /// The types that services mention.
    services: HashMap<String, Vec<String>>,
    /// By the extended message and the number.
    extensions: BTreeMap<(String, u32), Symbol>,
}

/// Something that is declared.
#[derive(Clone, Debug)]
pub(super) struct Symbol {
    /// The place of its file in the pool.
    pub(super) file: usize,
    /// The outermost declarations that have to be shown for it to be shown.
    pub(super) needs: Vec<String>,
}

impl Index {
    pub(in crate::descriptors) fn of(pool: &Pool) -> Self {
        let mut index = Self::default();
        for (place, file) in pool.linked().files().iter().enumerate() {
            index.add_types(place, file);
        }
        // These need the types to be there.
        for (place, file) in pool.linked().files().iter().enumerate() {
            index.add_extensions(place, file);
            index.add_services(place, file);
        }
        index
    }

    /// What has a name, also a method or a field.
    pub(super) fn symbol(&self, name: &str) -> Option<&Symbol> {
        self.symbols.get(name)
    }

    /// The extension of a message that has a number.
    pub(super) fn extension(&self, of: &str, number: u32) -> Option<&Symbol> {
        self.extensions.get(&(of.to_owned(), number))
    }

    /// The extensions of a message, by their numbers.
    pub(super) fn extensions(&self, of: &str) -> impl Iterator<Item = (u32, &Symbol)> {
        let all = (of.to_owned(), 0)..=(of.to_owned(), u32::MAX);
        self.extensions.range(all).map(|((_, number), symbol)| (*number, symbol))
    }

    /// The types that a service mentions.
    pub(super) fn of_service(&self, name: &str) -> impl Iterator<Item = String> {
        self.services.get(name).into_iter().flatten().cloned()
    }

    /// The names of the outermost messages and enums that some types use, directly or not,
    /// and their own.
    pub(super) fn used_by(&self, some: impl Iterator<Item = String>) -> HashSet<String> {
        let (mut used, mut open) = (HashSet::new(), some.collect::<Vec<_>>());
        while let Some(name) = open.pop() {
            let Some(outermost) = self.outermost(&name) else { continue };
            if used.insert(outermost.to_owned()) {
                open.extend(self.mentions.get(outermost).into_iter().flatten().cloned());
            }
        }
        used
    }

    /// The message or enum that stands in the file itself: what is declared within it comes
    /// and goes with it.
    fn outermost(&self, of: &str) -> Option<&str> {
        self.symbols.get(of)?.needs.first().map(String::as_str)
    }

    fn add_types(&mut self, file: usize, declared: &FileDescriptorProto) {
        let package = declared.package.as_deref().unwrap_or_default();
        for message in &declared.message_type {
            let name = scoped(package, message.name.as_deref());
            let mut mentioned = Vec::new();
            self.add_message(file, &name, &name, message, &mut mentioned);
            self.mentions.insert(name, mentioned);
        }
        for of in &declared.enum_type {
            let name = scoped(package, of.name.as_deref());
            let needs = vec![name.clone()];
            self.symbols.insert(name, Symbol { file, needs });
        }
    }

    fn add_message(
        &mut self,
        file: usize,
        outermost: &str,
        name: &str,
        message: &DescriptorProto,
        mentioned: &mut Vec<String>,
    ) {
        let symbol = Symbol { file, needs: vec![outermost.to_owned()] };
        let fields = message.field.iter().map(|field| field.name.as_deref());
        let enums = message.enum_type.iter().map(|of| of.name.as_deref());
        for inner in fields.chain(enums) {
            self.symbols.insert(scoped(name, inner), symbol.clone());
        }
        self.symbols.insert(name.to_owned(), symbol);
        mentioned.extend(message.field.iter().filter_map(type_of));
        for extension in &message.extension {
            mentioned.extend([type_of(extension), extendee(extension)].into_iter().flatten());
        }
        for inner in &message.nested_type {
            let name = scoped(name, inner.name.as_deref());
            self.add_message(file, outermost, &name, inner, mentioned);
        }
    }

    fn add_extensions(&mut self, file: usize, declared: &FileDescriptorProto) {
        let package = declared.package.as_deref().unwrap_or_default();
        for extension in &declared.extension {
            self.add_extension(file, package, None, extension);
        }
        for message in &declared.message_type {
            let name = scoped(package, message.name.as_deref());
            self.add_inner_extensions(file, &name, &name, message);
        }
    }

    fn add_inner_extensions(
        &mut self,
        file: usize,
        outermost: &str,
        name: &str,
        message: &DescriptorProto,
    ) {
        for extension in &message.extension {
            self.add_extension(file, name, Some(outermost), extension);
        }
        for inner in &message.nested_type {
            let name = scoped(name, inner.name.as_deref());
            self.add_inner_extensions(file, outermost, &name, inner);
        }
    }

    fn add_extension(
        &mut self,
        file: usize,
        scope: &str,
        within: Option<&str>,
        extension: &FieldDescriptorProto,
    ) {
        let mentioned = [extendee(extension), type_of(extension)].into_iter().flatten();
        let needs = mentioned.filter_map(|name| self.outermost(&name).map(str::to_owned));
        let needs: Vec<String> = needs.chain(within.map(str::to_owned)).collect();
        let symbol = Symbol { file, needs };
        let number = extension.number.and_then(|number| u32::try_from(number).ok());
        if let (Some(of), Some(number)) = (extendee(extension), number) {
            self.extensions.insert((of, number), symbol.clone());
        }
        self.symbols.insert(scoped(scope, extension.name.as_deref()), symbol);
    }

    fn add_services(&mut self, file: usize, declared: &FileDescriptorProto) {
        let package = declared.package.as_deref().unwrap_or_default();
        for service in &declared.service {
            let name = scoped(package, service.name.as_deref());
            let symbol = Symbol { file, needs: vec![name.clone()] };
            let mut mentioned = Vec::new();
            for method in &service.method {
                self.symbols.insert(scoped(&name, method.name.as_deref()), symbol.clone());
                let types = [method.input_type.as_deref(), method.output_type.as_deref()];
                mentioned.extend(types.into_iter().flatten().map(whole));
            }
            self.symbols.insert(name.clone(), symbol);
            self.services.insert(name, mentioned);
        }
    }
}

/// The full name of what is declared in a scope, which may be none.
pub(super) fn scoped(scope: &str, name: Option<&str>) -> String {
    let name = name.unwrap_or_default();
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

fn type_of(field: &FieldDescriptorProto) -> Option<String> {
    field.type_name.as_deref().map(whole)
}

fn extendee(field: &FieldDescriptorProto) -> Option<String> {
    field.extendee.as_deref().map(whole)
}

/// Pools write names in full, with a point before them.
fn whole(name: &str) -> String {
    name.strip_prefix('.').unwrap_or(name).to_owned()
}
