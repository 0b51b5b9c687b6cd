//! Messages that have a form of their own in JSON.

use super::any;
use super::read::Reader;
use super::tree::Json;
use super::write::Writer;
use super::{Type, deeper, scalar, time};
use buffa_descriptor::reflect::{DynamicMessage, MapKey, MapValue, ReflectMessageMut, Value};
use buffa_descriptor::{FieldKind, ScalarType, SingularKind};

/// Which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WellKnown {
    Any,
    Timestamp,
    Duration,
    FieldMask,
    Wrapper,
    Struct,
    List,
    Value,
}

impl WellKnown {
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name.strip_prefix("google.protobuf.")? {
            "Any" => Self::Any,
            "Timestamp" => Self::Timestamp,
            "Duration" => Self::Duration,
            "FieldMask" => Self::FieldMask,
            "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value"
            | "UInt32Value" | "BoolValue" | "StringValue" | "BytesValue" => Self::Wrapper,
            "Struct" => Self::Struct,
            "ListValue" => Self::List,
            "Value" => Self::Value,
            _ => return None,
        })
    }
}

impl Reader<'_> {
    /// Reads into a message that is empty.
    pub(super) fn well_known(
        &self,
        kind: WellKnown,
        of: &Type,
        message: &mut DynamicMessage,
        json: Json,
        levels: u32,
    ) -> Result<(), String> {
        match (kind, json) {
            (WellKnown::Any, json) => any::read(self, of, message, json, levels),
            (WellKnown::Timestamp, Json::Text(text)) => {
                put_time(of, message, time::read_timestamp(&text)?)
            }
            (WellKnown::Duration, Json::Text(text)) => {
                put_time(of, message, time::read_duration(&text)?)
            }
            (WellKnown::FieldMask, Json::Text(text)) => {
                let paths = text.split(',').filter(|_| !text.is_empty()).map(snake);
                let paths: Vec<Value> =
                    paths.map(|p| p.map(Value::String)).collect::<Result<_, _>>()?;
                put(of, message, 1, Value::List(paths))
            }
            (WellKnown::Wrapper, json) => {
                let scalar = scalar_of(of)?;
                put(of, message, 1, scalar::read(scalar, json)?)
            }
            (WellKnown::Struct, Json::Object(entries)) => {
                let inner = inner(of, 1)?;
                let mut values = Vec::with_capacity(entries.len());
                for (name, value) in entries {
                    // The entry of the map, and the value within it.
                    let value = self.message(&inner, value, deeper(deeper(levels)?)?)?;
                    values.push((MapKey::String(name), Value::Message(value)));
                }
                put(of, message, 1, Value::Map(map(values)?))
            }
            (WellKnown::List, Json::List(values)) => {
                let inner = inner(of, 1)?;
                let one = |value| self.message(&inner, value, deeper(levels)?);
                let values = values.into_iter().map(one);
                let values: Vec<Value> =
                    values.map(|value| value.map(Value::Message)).collect::<Result<_, _>>()?;
                put(of, message, 1, Value::List(values))
            }
            (WellKnown::Value, json) => {
                let (number, value) = match json {
                    Json::Null => (1, Value::EnumNumber(0)),
                    Json::Text(text) => (3, Value::String(text)),
                    Json::Bool(value) => (4, Value::Bool(value)),
                    object @ Json::Object(_) => (
                        5,
                        Value::Message(self.message(&inner(of, 5)?, object, deeper(levels)?)?),
                    ),
                    list @ Json::List(_) => {
                        (6, Value::Message(self.message(&inner(of, 6)?, list, deeper(levels)?)?))
                    }
                    number => (2, scalar::read(ScalarType::Double, number)?),
                };
                put(of, message, number, value)
            }
            (kind, json) => Err(format!("{} instead of a {kind:?}", json.kind())),
        }
    }
}

impl Writer<'_> {
    pub(super) fn well_known(
        &mut self,
        kind: WellKnown,
        message: &DynamicMessage,
        levels: u32,
    ) -> Result<(), String> {
        match kind {
            WellKnown::Any => any::write(self, message, levels),
            WellKnown::Timestamp => {
                let text = time::timestamp(seconds(message), nanos(message))?;
                scalar::push(&mut self.out, &text)
            }
            WellKnown::Duration => {
                let text = time::duration(seconds(message), nanos(message))?;
                scalar::push(&mut self.out, &text)
            }
            WellKnown::FieldMask => {
                let paths = list(message).iter().filter_map(|path| match path {
                    Value::String(path) => Some(camel(path)),
                    _ => None,
                });
                let paths: Vec<String> = paths.collect::<Result<_, _>>()?;
                scalar::push(&mut self.out, &paths.join(","))
            }
            WellKnown::Wrapper => match message.field_by_number(1) {
                Some(value) => scalar::write(value, &mut self.out),
                None => {
                    let of = Type { pool: message.pool().clone(), index: message.message_index() };
                    scalar::write(&default(scalar_of(&of)?), &mut self.out)
                }
            },
            WellKnown::Struct => {
                let entries = match message.field_by_number(1) {
                    Some(Value::Map(entries)) => Some(entries),
                    _ => None,
                };
                self.object(entries.into_iter().flat_map(MapValue::iter), |writer, (key, value)| {
                    scalar::write_key(key, &mut writer.out)?;
                    writer.out.push(b':');
                    writer.inner(value, deeper(levels)?)
                })
            }
            WellKnown::List => {
                self.list(list(message).iter(), |writer, value| writer.inner(value, levels))
            }
            WellKnown::Value => self.value(message, levels),
        }
    }

    fn value(&mut self, message: &DynamicMessage, levels: u32) -> Result<(), String> {
        let set = (1..=6).find_map(|number| Some((number, message.field_by_number(number)?)));
        match set {
            Some((2, Value::F64(number))) if !number.is_finite() => {
                Err(format!("a google.protobuf.Value of {number} has no form in JSON"))
            }
            Some((2..=4, value)) => scalar::write(value, &mut self.out),
            Some((5 | 6, value)) => self.inner(value, levels),
            // One without a kind is not allowed, and no reason to fail.
            _ => {
                self.out.extend_from_slice(b"null");
                Ok(())
            }
        }
    }

    fn inner(&mut self, value: &Value, levels: u32) -> Result<(), String> {
        match value {
            Value::Message(message) => self.message(message, deeper(levels)?),
            _ => Err("a value is not of the type of its field".to_owned()),
        }
    }
}

/// Entries of a map by their keys, none of which comes twice.
pub(super) fn map(entries: Vec<(MapKey, Value)>) -> Result<MapValue, String> {
    let count = entries.len();
    let map = MapValue::from_entries(entries);
    if map.len() == count { Ok(map) } else { Err("a key of a map comes twice".to_owned()) }
}

/// Sets a field by its number.
pub(super) fn put(
    of: &Type,
    message: &mut DynamicMessage,
    number: u32,
    value: Value,
) -> Result<(), String> {
    let field = of.pool.message(of.index).field(number).ok_or_else(|| unlike(of))?;
    message.try_set(field, value).map_err(|error| error.to_string())
}

fn put_time(
    of: &Type,
    message: &mut DynamicMessage,
    (seconds, nanos): (i64, i32),
) -> Result<(), String> {
    put(of, message, 1, Value::I64(seconds))?;
    put(of, message, 2, Value::I32(nanos))
}

/// The type of the messages in a field.
fn inner(of: &Type, number: u32) -> Result<Type, String> {
    let field = of.pool.message(of.index).field(number);
    match field.map(|field| field.kind()) {
        Some(
            FieldKind::Singular(SingularKind::Message(index))
            | FieldKind::List(SingularKind::Message(index))
            | FieldKind::Map { value: SingularKind::Message(index), .. },
        ) => Ok(Type { pool: of.pool.clone(), index }),
        _ => Err(unlike(of)),
    }
}

fn scalar_of(of: &Type) -> Result<ScalarType, String> {
    match of.pool.message(of.index).field(1).map(|field| field.kind()) {
        Some(FieldKind::Singular(SingularKind::Scalar(scalar))) => Ok(scalar),
        _ => Err(unlike(of)),
    }
}

fn unlike(of: &Type) -> String {
    format!("{} is not declared as Protobuf declares it", of.pool.message(of.index).full_name())
}

fn seconds(message: &DynamicMessage) -> i64 {
    match message.field_by_number(1) {
        Some(Value::I64(seconds)) => *seconds,
        _ => 0,
    }
}

fn nanos(message: &DynamicMessage) -> i32 {
    match message.field_by_number(2) {
        Some(Value::I32(nanos)) => *nanos,
        _ => 0,
    }
}

fn list(message: &DynamicMessage) -> &[Value] {
    match message.field_by_number(1) {
        Some(Value::List(values)) => values,
        _ => &[],
    }
}

/// What a scalar is that was not set.
fn default(of: ScalarType) -> Value {
    match of {
        ScalarType::Bool => Value::Bool(false),
        ScalarType::Int32 | ScalarType::Sint32 | ScalarType::Sfixed32 => Value::I32(0),
        ScalarType::Uint32 | ScalarType::Fixed32 => Value::U32(0),
        ScalarType::Int64 | ScalarType::Sint64 | ScalarType::Sfixed64 => Value::I64(0),
        ScalarType::Uint64 | ScalarType::Fixed64 => Value::U64(0),
        ScalarType::Float => Value::F32(0.0),
        ScalarType::Double => Value::F64(0.0),
        ScalarType::String => Value::String(String::new()),
        ScalarType::Bytes => Value::Bytes(Vec::new()),
    }
}

/// A path of a field mask as it stands in JSON.
fn camel(path: &str) -> Result<String, String> {
    let mut camel = String::with_capacity(path.len());
    let mut letters = path.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '_' => match letters.next() {
                Some(next) if next.is_ascii_lowercase() => camel.push(next.to_ascii_uppercase()),
                _ => return Err(format!("the path {path:?} of a field mask has no form in JSON")),
            },
            letter if letter.is_ascii_uppercase() => {
                return Err(format!("the path {path:?} of a field mask has no form in JSON"));
            }
            letter => camel.push(letter),
        }
    }
    Ok(camel)
}

/// A path of a field mask from JSON.
fn snake(path: &str) -> Result<String, String> {
    let mut snake = String::with_capacity(path.len());
    for letter in path.chars() {
        match letter {
            letter if letter.is_ascii_uppercase() => {
                snake.extend(['_', letter.to_ascii_lowercase()]);
            }
            letter if letter.is_ascii_alphanumeric() || letter == '.' => snake.push(letter),
            _ => return Err(format!("{path:?} is no path of a field mask")),
        }
    }
    if snake.is_empty() { Err("a path of a field mask is empty".to_owned()) } else { Ok(snake) }
}
