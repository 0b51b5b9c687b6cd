//! JSON as it was written: names in their order, also those that come twice, and numbers that
//! keep whether they are whole.

use super::{NESTING, deeper};
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A value.
#[derive(Debug)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// Whole numbers that fit.
    Signed(i64),
    Unsigned(u64),
    /// All other numbers.
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// What it is, for errors.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Signed(_) | Self::Unsigned(_) | Self::Float(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// Reads a text.
///
/// # Errors
/// It is no JSON, or too deep.
pub(super) fn parse(json: &[u8]) -> Result<Json, String> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    // The depth is counted here.
    reader.disable_recursion_limit();
    let read = Level(NESTING).deserialize(&mut reader);
    let read = read.and_then(|value| reader.end().map(|()| value));
    read.map_err(|error| error.to_string())
}

/// A value with so many levels left.
#[derive(Clone, Copy)]
struct Level(u32);

impl Level {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        deeper(self.0).map(Self).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Level {
    type Value = Json;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Json, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Signed(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let level = self.deeper()?;
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(level)? {
            values.push(value);
        }
        Ok(Json::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let level = self.deeper()?;
        let mut entries = Vec::new();
        while let Some(name) = object.next_key()? {
            entries.push((name, object.next_value_seed(level)?));
        }
        Ok(Json::Object(entries))
    }
}
