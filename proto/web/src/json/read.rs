//! From JSON to messages.

use super::tree::Json;
use super::well_known::{WellKnown, map};
use super::{Type, Types, deeper, scalar};
use buffa_descriptor::reflect::{DynamicMessage, ReflectMessageMut, Value};
use buffa_descriptor::{
    DescriptorPool, EnumIndex, FieldDescriptor, FieldKind, ScalarType, SingularKind,
};
use std::collections::HashSet;
use std::sync::Arc;

const NULL: &str = "google.protobuf.NullValue";

/// Reads messages.
pub(super) struct Reader<'a> {
    pub(super) types: &'a Types,
}

impl Reader<'_> {
    /// A message of a type, with others within it in at most so many levels.
    pub(super) fn message(
        &self,
        of: &Type,
        json: Json,
        levels: u32,
    ) -> Result<DynamicMessage, String> {
        let mut message = DynamicMessage::new(of.pool.clone(), of.index);
        let name = of.pool.message(of.index).full_name();
        match WellKnown::of(name) {
            Some(kind) => self.well_known(kind, of, &mut message, json, levels)?,
            None => match json {
                Json::Object(entries) => self.fields(of, &mut message, entries, levels)?,
                other => return Err(format!("{} instead of a {name}", other.kind())),
            },
        }
        Ok(message)
    }

    fn fields(
        &self,
        of: &Type,
        message: &mut DynamicMessage,
        entries: Vec<(String, Json)>,
        levels: u32,
    ) -> Result<(), String> {
        let mut seen = HashSet::new();
        let mut oneofs = HashSet::new();
        for (name, json) in entries {
            let Some(field) = field(of, &name) else { continue };
            if !seen.insert(field.number()) {
                return Err(format!("the field {name} comes twice"));
            }
            let value =
                self.field(&of.pool, field, json, levels).map_err(|why| within(&name, why))?;
            let Some(value) = value else { continue };
            if let Some(oneof) = field.oneof_index()
                && !oneofs.insert(oneof)
            {
                return Err(format!("the field {name} comes beside another of its oneof"));
            }
            message.try_set(field, value).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// `None` for what is as if it were not there.
    fn field(
        &self,
        pool: &Arc<DescriptorPool>,
        field: &FieldDescriptor,
        json: Json,
        levels: u32,
    ) -> Result<Option<Value>, String> {
        if matches!(json, Json::Null) {
            return match field.kind() {
                FieldKind::Singular(kind) if takes_null(pool, kind) => {
                    self.one(pool, kind, json, levels)
                }
                _ => Ok(None),
            };
        }
        match (field.kind(), json) {
            (FieldKind::Singular(kind), json) => self.one(pool, kind, json, levels),
            (FieldKind::List(kind), Json::List(list)) => {
                let mut values = Vec::with_capacity(list.len());
                for json in list {
                    values.extend(self.one(pool, kind, json, levels)?);
                }
                Ok(Some(Value::List(values)))
            }
            (FieldKind::Map { key, value }, Json::Object(entries)) => {
                let mut values = Vec::with_capacity(entries.len());
                for (name, json) in entries {
                    // The entry is a message of its own.
                    let read = self.one(pool, value, json, deeper(levels)?);
                    let read = read.map_err(|why| within(&name, why))?;
                    let key = scalar::key(key, name)?;
                    values.extend(read.map(|value| (key, value)));
                }
                Ok(Some(Value::Map(map(values)?)))
            }
            (FieldKind::List(_), other) => Err(format!("{} instead of a list", other.kind())),
            (FieldKind::Map { .. }, other) => Err(format!("{} instead of an object", other.kind())),
        }
    }

    fn one(
        &self,
        pool: &Arc<DescriptorPool>,
        kind: SingularKind,
        json: Json,
        levels: u32,
    ) -> Result<Option<Value>, String> {
        Ok(match kind {
            SingularKind::Scalar(scalar) => Some(scalar::read(scalar, json)?),
            SingularKind::Enum(index) => number(pool, index, json)?.map(Value::EnumNumber),
            SingularKind::Message(index) => {
                let of = Type { pool: pool.clone(), index };
                Some(Value::Message(self.message(&of, json, deeper(levels)?)?))
            }
        })
    }
}

/// A field by its name in JSON or in the file, or an extension by its own in brackets.
fn field<'a>(of: &'a Type, name: &str) -> Option<&'a FieldDescriptor> {
    let Some(extension) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) else {
        return of.pool.message(of.index).field_by_name(name);
    };
    let extension = of.pool.extension_by_name(extension)?;
    (extension.extendee() == of.index).then(|| extension.field())
}

fn takes_null(pool: &DescriptorPool, kind: SingularKind) -> bool {
    match kind {
        SingularKind::Scalar(_) => false,
        SingularKind::Enum(index) => pool.enumeration(index).full_name() == NULL,
        SingularKind::Message(index) => {
            WellKnown::of(pool.message(index).full_name()) == Some(WellKnown::Value)
        }
    }
}

/// The number of an enum's value. A name that is not known is as if it were not there.
fn number(pool: &DescriptorPool, of: EnumIndex, json: Json) -> Result<Option<i32>, String> {
    let of = pool.enumeration(of);
    match json {
        Json::Text(name) => Ok(of.value_by_name(&name).map(|value| value.number())),
        Json::Null if of.full_name() == NULL => Ok(Some(0)),
        json => match scalar::read(ScalarType::Int32, json)? {
            Value::I32(number) => Ok(Some(number)),
            _ => Ok(None),
        },
    }
}

/// Says where it was, from the outside in.
fn within(name: &str, why: String) -> String {
    // A path of a hundred names says no more.
    if why.len() > 256 { why } else { format!("{name}: {why}") }
}
