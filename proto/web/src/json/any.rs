//! `google.protobuf.Any`: a message with its type. What is of a type that is not known here
//! is shown as Connect shows the details of errors: the type, and the bytes as Base64.

use super::read::Reader;
use super::tree::Json;
use super::well_known::{WellKnown, put};
use super::write::Writer;
use super::{Type, decode, deeper, scalar};
use buffa_descriptor::reflect::{DynamicMessage, Value};

/// The name of the type within its URL.
fn name(url: &str) -> &str {
    url.rsplit_once('/').map_or(url, |(_, name)| name)
}

/// Reads into an `Any` that is empty.
pub(super) fn read(
    reader: &Reader<'_>,
    of: &Type,
    message: &mut DynamicMessage,
    json: Json,
    levels: u32,
) -> Result<(), String> {
    let Json::Object(mut entries) = json else {
        return Err(format!("{} instead of an object with \"@type\"", json.kind()));
    };
    if entries.is_empty() {
        return Ok(());
    }
    let url = match take(&mut entries, "@type")? {
        Some(Json::Text(url)) if !url.contains('/') => {
            return Err(format!("\"@type\" is {url:?}, and not like \"example.com/a.Message\""));
        }
        Some(Json::Text(url)) => url,
        Some(other) => return Err(format!("\"@type\" is {}, not a string", other.kind())),
        None => return Err("an Any has no \"@type\"".to_owned()),
    };
    let bytes = match reader.types.find(&of.pool, name(&url)) {
        Some(inner) => {
            let is_special = WellKnown::of(inner.pool.message(inner.index).full_name()).is_some();
            let json = if is_special {
                let value = take(&mut entries, "value")?;
                value.ok_or_else(|| format!("an Any of {url} has no \"value\""))?
            } else {
                Json::Object(entries)
            };
            let inner = reader.message(&inner, json, deeper(levels)?)?;
            inner.try_encode_to_vec().map_err(|error| error.to_string())?
        }
        None => match (take(&mut entries, "value")?, entries.is_empty()) {
            (Some(Json::Text(text)), true) => scalar::bytes(&text)?,
            _ => {
                return Err(format!("{url} is not known here: its \"value\" would be in Base64"));
            }
        },
    };
    put(of, message, 1, Value::String(url))?;
    put(of, message, 2, Value::Bytes(bytes))
}

/// Writes an `Any`.
pub(super) fn write(
    writer: &mut Writer<'_>,
    message: &DynamicMessage,
    levels: u32,
) -> Result<(), String> {
    let url = match message.field_by_number(1) {
        Some(Value::String(url)) => url,
        _ => "",
    };
    let bytes = match message.field_by_number(2) {
        Some(Value::Bytes(bytes)) => &bytes[..],
        _ => &[],
    };
    writer.out.push(b'{');
    if !(url.is_empty() && bytes.is_empty()) {
        writer.out.extend_from_slice(b"\"@type\":");
        scalar::push(&mut writer.out, url)?;
        match writer.types.find(message.pool(), name(url)) {
            Some(inner) => {
                let levels = deeper(levels)?;
                let message = decode(&inner, bytes, levels)?;
                match WellKnown::of(inner.pool.message(inner.index).full_name()) {
                    Some(kind) => {
                        writer.out.extend_from_slice(b",\"value\":");
                        writer.well_known(kind, &message, levels)?;
                    }
                    None => writer.fields(&message, levels, false)?,
                }
            }
            None => {
                writer.out.extend_from_slice(b",\"value\":");
                scalar::write(&Value::Bytes(bytes.to_vec()), &mut writer.out)?;
            }
        }
    }
    writer.out.push(b'}');
    Ok(())
}

/// Takes out what has a name, which must not come twice.
fn take(entries: &mut Vec<(String, Json)>, name: &str) -> Result<Option<Json>, String> {
    let Some(place) = entries.iter().position(|(entry, _)| entry == name) else { return Ok(None) };
    let (_, value) = entries.remove(place);
    if entries.iter().any(|(entry, _)| entry == name) {
        return Err(format!("{name:?} comes twice"));
    }
    Ok(Some(value))
}
