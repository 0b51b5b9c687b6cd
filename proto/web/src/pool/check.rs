//! What is checked of a file before it is linked.

use buffa_descriptor::generated::descriptor::field_descriptor_proto::Type;
use buffa_descriptor::generated::descriptor::{
    DescriptorProto, Edition, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
    ServiceDescriptorProto,
};

/// A name within a scope, which may be none.
pub(super) fn scoped(scope: &str, name: &str) -> String {
    if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") }
}

/// Whether the language of a file is one that is read here.
pub(super) fn file(file: &FileDescriptorProto) -> Result<(), String> {
    if file.name.as_deref().unwrap_or_default().is_empty() {
        return Err("it has no name".to_owned());
    }
    let package = file.package.as_deref().unwrap_or_default();
    if !package.is_empty() && !package.split('.').all(is_name) {
        return Err(format!("its package, {package:?}, is no name"));
    }
    match file.syntax.as_deref() {
        None | Some("" | "proto2" | "proto3") => Ok(()),
        Some("editions") => match file.edition {
            Some(Edition::EDITION_2023 | Edition::EDITION_2024) => Ok(()),
            Some(edition) => Err(format!("{edition:?} is not read here; 2023 and 2024 are")),
            None => {
                Err("it does not say of which edition it is; 2023 and 2024 are read".to_owned())
            }
        },
        Some(other) => {
            Err(format!("its syntax is {other:?}; proto2, proto3 and editions are read"))
        }
    }
}

/// A message with all that it declares.
pub(super) fn message(message: &DescriptorProto) -> Result<(), String> {
    name(message.name.as_deref(), "a message")?;
    let of = message.name.as_deref().unwrap_or_default();
    for one in &message.field {
        field(one)?;
        let oneofs = message.oneof_decl.len();
        let is_there = |index: i32| usize::try_from(index).is_ok_and(|index| index < oneofs);
        if one.oneof_index.is_some_and(|index| !is_there(index)) {
            return Err(format!("field {of}.{} is of a oneof that is not there", field_name(one)));
        }
    }
    if message.options.as_option().and_then(|options| options.map_entry) == Some(true) {
        let is = |field: &FieldDescriptorProto, number, name| {
            field.number == Some(number) && field.name.as_deref() == Some(name)
        };
        if !matches!(&message.field[..], [key, value] if is(key, 1, "key") && is(value, 2, "value"))
        {
            return Err(format!("{of} is the entry of a map and has no key or no value"));
        }
    }
    message.extension.iter().try_for_each(field)?;
    message.enum_type.iter().try_for_each(an_enum)?;
    message.nested_type.iter().try_for_each(self::message)
}

/// An enum.
pub(super) fn an_enum(of: &EnumDescriptorProto) -> Result<(), String> {
    name(of.name.as_deref(), "an enum")?;
    if of.value.is_empty() {
        return Err(format!("enum {} has no value", of.name.as_deref().unwrap_or_default()));
    }
    for value in &of.value {
        name(value.name.as_deref(), "a value of an enum")?;
        if value.number.is_none() {
            return Err(format!("{} has no number", value.name.as_deref().unwrap_or_default()));
        }
    }
    Ok(())
}

/// A service.
pub(super) fn service(of: &ServiceDescriptorProto) -> Result<(), String> {
    name(of.name.as_deref(), "a service")?;
    of.method.iter().try_for_each(|method| name(method.name.as_deref(), "a method"))
}

/// A field or an extension.
pub(super) fn field(of: &FieldDescriptorProto) -> Result<(), String> {
    name(of.name.as_deref(), "a field")?;
    if of.number.is_none() {
        return Err(format!("field {} has no number", field_name(of)));
    }
    let refers = matches!(of.r#type, Some(Type::TYPE_MESSAGE | Type::TYPE_GROUP | Type::TYPE_ENUM));
    if of.type_name.is_none() && (refers || of.r#type.is_none()) {
        return Err(format!("field {} has no type", field_name(of)));
    }
    Ok(())
}

fn field_name(of: &FieldDescriptorProto) -> &str {
    of.name.as_deref().unwrap_or_default()
}

fn name(name: Option<&str>, of: &str) -> Result<(), String> {
    match name {
        Some(name) if is_name(name) => Ok(()),
        Some(name) => Err(format!("the name of {of}, {name:?}, is none")),
        None => Err(format!("{of} has no name")),
    }
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}
