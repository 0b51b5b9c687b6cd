//! From messages to JSON.

use super::well_known::WellKnown;
use super::{Types, deeper, scalar};
use buffa_descriptor::reflect::{DynamicMessage, ReflectMessage, Value};
use buffa_descriptor::{DescriptorPool, EnumIndex, FieldDescriptor, FieldKind, SingularKind};

/// Writes messages.
pub(super) struct Writer<'a> {
    pub(super) types: &'a Types,
    pub(super) out: Vec<u8>,
}

impl Writer<'_> {
    /// A message, with others within it in at most so many levels.
    pub(super) fn message(&mut self, message: &DynamicMessage, levels: u32) -> Result<(), String> {
        if let Some(kind) = WellKnown::of(message.message_descriptor().full_name()) {
            return self.well_known(kind, message, levels);
        }
        self.out.push(b'{');
        self.fields(message, levels, true)?;
        self.out.push(b'}');
        Ok(())
    }

    /// The fields of a message, of which the first comes first in its object or not.
    pub(super) fn fields(
        &mut self,
        message: &DynamicMessage,
        levels: u32,
        mut first: bool,
    ) -> Result<(), String> {
        let pool = message.pool();
        let own = message.message_descriptor().fields().iter();
        let own = own.map(|field| (field.json_name(), field));
        let others = pool.extensions_of(message.message_index());
        let others = others.map(|extension| (extension.json_key(), extension.field()));
        for (name, field) in own.chain(others) {
            let Some(value) = message.field_by_number(field.number()) else { continue };
            if !message.has(field) {
                continue;
            }
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            scalar::push(&mut self.out, name)?;
            self.out.push(b':');
            self.field(pool, field, value, levels)?;
        }
        Ok(())
    }

    fn field(
        &mut self,
        pool: &DescriptorPool,
        field: &FieldDescriptor,
        value: &Value,
        levels: u32,
    ) -> Result<(), String> {
        match (field.kind(), value) {
            (FieldKind::List(kind), Value::List(values)) => {
                self.list(values.iter(), |writer, value| writer.one(pool, kind, value, levels))
            }
            (FieldKind::Map { value: kind, .. }, Value::Map(entries)) => {
                let levels = if entries.is_empty() { levels } else { deeper(levels)? };
                self.object(entries.iter(), |writer, (key, value)| {
                    scalar::write_key(key, &mut writer.out)?;
                    writer.out.push(b':');
                    writer.one(pool, kind, value, levels)
                })
            }
            (FieldKind::Singular(kind), value) => self.one(pool, kind, value, levels),
            _ => Err("a value is not of the type of its field".to_owned()),
        }
    }

    fn one(
        &mut self,
        pool: &DescriptorPool,
        kind: SingularKind,
        value: &Value,
        levels: u32,
    ) -> Result<(), String> {
        match (kind, value) {
            (SingularKind::Enum(of), Value::EnumNumber(number)) => self.an_enum(pool, of, *number),
            (_, Value::Message(message)) => self.message(message, deeper(levels)?),
            (_, value) => scalar::write(value, &mut self.out),
        }
    }

    fn an_enum(&mut self, pool: &DescriptorPool, of: EnumIndex, number: i32) -> Result<(), String> {
        let of = pool.enumeration(of);
        if of.full_name() == "google.protobuf.NullValue" {
            self.out.extend_from_slice(b"null");
            return Ok(());
        }
        match of.value(number) {
            Some(value) => scalar::push(&mut self.out, value.name()),
            None => scalar::push(&mut self.out, &number),
        }
    }

    /// A list, each value by itself.
    pub(super) fn list<T>(
        &mut self,
        values: impl Iterator<Item = T>,
        write: impl FnMut(&mut Self, T) -> Result<(), String>,
    ) -> Result<(), String> {
        self.all([b'[', b']'], values, write)
    }

    /// An object, each entry with its name by itself.
    pub(super) fn object<T>(
        &mut self,
        entries: impl Iterator<Item = T>,
        write: impl FnMut(&mut Self, T) -> Result<(), String>,
    ) -> Result<(), String> {
        self.all([b'{', b'}'], entries, write)
    }

    fn all<T>(
        &mut self,
        [begin, end]: [u8; 2],
        values: impl Iterator<Item = T>,
        mut write: impl FnMut(&mut Self, T) -> Result<(), String>,
    ) -> Result<(), String> {
        self.out.push(begin);
        for (place, value) in values.enumerate() {
            if place > 0 {
                self.out.push(b',');
            }
            write(self, value)?;
        }
        self.out.push(end);
        Ok(())
    }
}
