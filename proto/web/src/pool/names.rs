//! Names that types are referred to by, and what is left out because its are unknown.

use super::check::{self, scoped};
use super::{Draft, LeftOut, Single};
use buffa_descriptor::generated::descriptor::field_descriptor_proto::Type;
use buffa_descriptor::generated::descriptor::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto,
};
use std::collections::{HashMap, HashSet};

/// The types of all files, by their full names.
#[derive(Default)]
struct Types {
    known: HashMap<String, Kind>,
    /// All that has a name beside them: values of enums, services, extensions.
    others: HashSet<String>,
    files: HashSet<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Enum,
}

impl Draft {
    /// Leaves out what is malformed, what refers to types that are not there, and what
    /// refers to that, until nothing does any more.
    pub(super) fn prune(&mut self) {
        loop {
            let mut left_out = Vec::new();
            let types = Types::of(&mut self.files, &mut left_out);
            self.files.iter_mut().for_each(|file| file.keep(&types, &mut left_out));
            let is_done = left_out.is_empty();
            self.left_out.append(&mut left_out);
            if is_done {
                return;
            }
        }
    }
}

impl Types {
    /// What the files declare. Of two declarations of one name the second is left out.
    fn of(files: &mut [Single], left_out: &mut Vec<LeftOut>) -> Self {
        let mut types = Self::default();
        for single in files {
            types.files.insert(single.name().to_owned());
            let scope = single.file.package.clone().unwrap_or_default();
            let mut changed = Changed::default();
            changed.retain("message", &scope, &mut single.file.message_type, left_out, |message| {
                check::message(message)?;
                types.add_message(&scope, message)
            });
            changed.retain("enum", &scope, &mut single.file.enum_type, left_out, |one| {
                check::an_enum(one)?;
                types.add_enum(&scope, one)
            });
            changed.retain("service", &scope, &mut single.file.service, left_out, |service| {
                check::service(service)?;
                types.add_other(&scope, service)
            });
            changed.retain("extension", &scope, &mut single.file.extension, left_out, |one| {
                check::field(one)?;
                types.add_other(&scope, one)
            });
            changed.apply(single);
        }
        types
    }

    fn add(&mut self, name: String, kind: Kind) -> Result<(), String> {
        if self.is_taken(&name) {
            return Err(format!("{name} is declared twice"));
        }
        self.known.insert(name, kind);
        Ok(())
    }

    fn add_other(&mut self, scope: &str, one: &impl Named) -> Result<(), String> {
        let name = scoped(scope, one.named());
        if self.is_taken(&name) {
            return Err(format!("{name} is declared twice"));
        }
        self.others.insert(name);
        Ok(())
    }

    fn is_taken(&self, name: &str) -> bool {
        self.known.contains_key(name) || self.others.contains(name)
    }

    /// An enum, whose values stand beside it.
    fn add_enum(&mut self, scope: &str, one: &EnumDescriptorProto) -> Result<(), String> {
        self.add(scoped(scope, one.named()), Kind::Enum)?;
        one.value.iter().try_for_each(|value| self.add_other(scope, value))
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto) -> Result<(), String> {
        let name = scoped(scope, message.name.as_deref().unwrap_or_default());
        self.add(name.clone(), Kind::Message)?;
        message.enum_type.iter().try_for_each(|one| self.add_enum(&name, one))?;
        message.extension.iter().try_for_each(|one| self.add_other(&name, one))?;
        message.nested_type.iter().try_for_each(|inner| self.add_message(&name, inner))
    }

    /// Finds a type as the language does: from the innermost scope outwards, unless the name
    /// says that it is whole.
    fn find(&self, scope: &str, name: &str) -> Option<(String, Kind)> {
        let whole = |name: &str| Some((name.to_owned(), *self.known.get(name)?));
        if let Some(name) = name.strip_prefix('.') {
            return whole(name);
        }
        let mut scope = scope;
        loop {
            if let Some(found) = whole(&scoped(scope, name)) {
                return Some(found);
            }
            if scope.is_empty() {
                return None;
            }
            scope = scope.rsplit_once('.').map_or("", |(outer, _)| outer);
        }
    }
}

impl Single {
    /// Leaves out what refers to unknown types, and writes the names of others in full.
    fn keep(&mut self, types: &Types, left_out: &mut Vec<LeftOut>) {
        let scope = self.file.package.clone().unwrap_or_default();
        let mut changed = Changed::default();
        let mut rewritten = false;
        let file = &mut self.file;
        changed.retain("message", &scope, &mut file.message_type, left_out, |message| {
            resolve_message(&scope, message, types, &mut rewritten)
        });
        changed.retain("extension", &scope, &mut file.extension, left_out, |field| {
            resolve_field(&scope, field, types, &mut rewritten)
        });
        changed.retain("service", &scope, &mut file.service, left_out, |service| {
            let scope = scoped(&scope, service.name.as_deref().unwrap_or_default());
            service.method.iter_mut().try_for_each(|method| {
                for name in [&mut method.input_type, &mut method.output_type] {
                    resolve(&scope, name, types, Some(Kind::Message), &mut rewritten)?;
                }
                Ok(())
            })
        });
        changed.0 |= rewritten;
        // An import that is not there is an error to those who read the file after us.
        let there: Vec<bool> =
            file.dependency.iter().map(|name| types.files.contains(name)).collect();
        if there.contains(&false) {
            let place = |index: i32| {
                let index =
                    usize::try_from(index).ok().filter(|index| there.get(*index) == Some(&true))?;
                i32::try_from(there[..index].iter().filter(|there| **there).count()).ok()
            };
            let places = |of: &[i32]| of.iter().filter_map(|index| place(*index)).collect();
            (file.public_dependency, file.weak_dependency) =
                (places(&file.public_dependency), places(&file.weak_dependency));
            file.dependency.retain(|name| types.files.contains(name));
            changed.0 = true;
        }
        changed.apply(self);
    }
}

fn resolve_message(
    scope: &str,
    message: &mut DescriptorProto,
    types: &Types,
    rewritten: &mut bool,
) -> Result<(), String> {
    let scope = scoped(scope, message.name.as_deref().unwrap_or_default());
    for field in message.field.iter_mut().chain(&mut message.extension) {
        resolve_field(&scope, field, types, rewritten)?;
    }
    let mut inner = message.nested_type.iter_mut();
    inner.try_for_each(|inner| resolve_message(&scope, inner, types, rewritten))
}

fn resolve_field(
    scope: &str,
    field: &mut FieldDescriptorProto,
    types: &Types,
    rewritten: &mut bool,
) -> Result<(), String> {
    if field.extendee.is_some() {
        resolve(scope, &mut field.extendee, types, Some(Kind::Message), rewritten)?;
    }
    let expected = match field.r#type {
        Some(Type::TYPE_MESSAGE | Type::TYPE_GROUP) => Some(Kind::Message),
        Some(Type::TYPE_ENUM) => Some(Kind::Enum),
        None => None,
        Some(_) => return Ok(()),
    };
    let kind = resolve(scope, &mut field.type_name, types, expected, rewritten)?;
    if field.r#type.is_none() {
        let message = kind == Kind::Message;
        field.r#type = Some(if message { Type::TYPE_MESSAGE } else { Type::TYPE_ENUM });
        *rewritten = true;
    }
    Ok(())
}

fn resolve(
    scope: &str,
    name: &mut Option<String>,
    types: &Types,
    expected: Option<Kind>,
    rewritten: &mut bool,
) -> Result<Kind, String> {
    let asked =
        name.as_deref().ok_or_else(|| format!("{scope} refers to a type without a name"))?;
    let found = types.find(scope, asked);
    let (whole, kind) =
        found.ok_or_else(|| format!("{scope} needs {asked}, which is not there"))?;
    if expected.is_some_and(|expected| expected != kind) {
        return Err(format!("{scope} takes {asked} for something else than it is"));
    }
    if !asked.starts_with('.') {
        *name = Some(format!(".{whole}"));
        *rewritten = true;
    }
    Ok(kind)
}

/// Whether a file is not what it was.
#[derive(Default)]
pub(super) struct Changed(bool);

impl Changed {
    pub(super) fn retain<T: Named>(
        &mut self,
        kind: &str,
        scope: &str,
        declared: &mut Vec<T>,
        left_out: &mut Vec<LeftOut>,
        mut check: impl FnMut(&mut T) -> Result<(), String>,
    ) {
        declared.retain_mut(|one| match check(one) {
            Ok(()) => true,
            Err(why) => {
                let what = format!("{kind} {}", scoped(scope, one.named()));
                left_out.push(LeftOut { what, why });
                self.0 = true;
                false
            }
        });
    }

    /// Whether it is not, which is noted.
    pub(super) fn apply(self, single: &mut Single) -> bool {
        if self.0 {
            single.bytes = None;
            // Comments are found by their places, which are others now.
            single.file.source_code_info = Default::default();
        }
        self.0
    }
}

pub(super) trait Named {
    fn named(&self) -> &str;
}

macro_rules! named {
    ($($of:ident),*) => {
        $(impl Named for buffa_descriptor::generated::descriptor::$of {
            fn named(&self) -> &str {
                self.name.as_deref().unwrap_or_default()
            }
        })*
    };
}

named!(
    DescriptorProto,
    EnumDescriptorProto,
    EnumValueDescriptorProto,
    FieldDescriptorProto,
    ServiceDescriptorProto
);
