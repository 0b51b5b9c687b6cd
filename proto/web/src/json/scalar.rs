//! Numbers, texts, bytes and the keys of maps.

use super::tree::Json;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use buffa_descriptor::ScalarType;
use buffa_descriptor::reflect::{MapKey, Value};

/// Takes Base64 with and without padding, and whatever stands in its last bits.
const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// A value of a type.
pub(super) fn read(of: ScalarType, json: Json) -> Result<Value, String> {
    let signed = |json: &Json| whole(json, i64::MIN.into(), i64::MAX.into());
    Ok(match of {
        ScalarType::Bool => match json {
            Json::Bool(value) => Value::Bool(value),
            other => return Err(format!("{} instead of true or false", other.kind())),
        },
        ScalarType::Int32 | ScalarType::Sint32 | ScalarType::Sfixed32 => {
            Value::I32(i32::try_from(signed(&json)?).map_err(|_| range("32 bits with a sign"))?)
        }
        ScalarType::Uint32 | ScalarType::Fixed32 => {
            Value::U32(u32::try_from(signed(&json)?).map_err(|_| range("32 bits"))?)
        }
        ScalarType::Int64 | ScalarType::Sint64 | ScalarType::Sfixed64 => {
            Value::I64(i64::try_from(signed(&json)?).map_err(|_| range("64 bits with a sign"))?)
        }
        ScalarType::Uint64 | ScalarType::Fixed64 => {
            let value = whole(&json, 0, u64::MAX.into())?;
            Value::U64(u64::try_from(value).map_err(|_| range("64 bits"))?)
        }
        ScalarType::Float => Value::F32(float(&json)?),
        ScalarType::Double => Value::F64(double(&json)?),
        ScalarType::String => match json {
            Json::Text(text) => Value::String(text),
            other => return Err(format!("{} instead of a string", other.kind())),
        },
        ScalarType::Bytes => match json {
            Json::Text(text) => Value::Bytes(bytes(&text)?),
            other => return Err(format!("{} instead of Base64", other.kind())),
        },
    })
}

/// The key of an entry of a map, which is a string in JSON.
pub(super) fn key(of: ScalarType, text: String) -> Result<MapKey, String> {
    if of == ScalarType::Bool {
        return match &text[..] {
            "true" => Ok(MapKey::Bool(true)),
            "false" => Ok(MapKey::Bool(false)),
            _ => Err(format!("the key {text:?} is neither true nor false")),
        };
    }
    Ok(match read(of, Json::Text(text))? {
        Value::I32(key) => MapKey::I32(key),
        Value::I64(key) => MapKey::I64(key),
        Value::U32(key) => MapKey::U32(key),
        Value::U64(key) => MapKey::U64(key),
        Value::String(key) => MapKey::String(key),
        _ => return Err("keys of maps are texts, booleans and whole numbers".to_owned()),
    })
}

/// Writes a value.
pub(super) fn write(value: &Value, out: &mut Vec<u8>) -> Result<(), String> {
    match value {
        Value::Bool(value) => push(out, value),
        Value::I32(value) => push(out, value),
        Value::U32(value) => push(out, value),
        // JavaScript's numbers have 53 bits.
        Value::I64(value) => push(out, &value.to_string()),
        Value::U64(value) => push(out, &value.to_string()),
        Value::F32(value) if value.is_finite() => push(out, value),
        Value::F32(value) => push(out, &not_finite(f64::from(*value))),
        Value::F64(value) if value.is_finite() => push(out, value),
        Value::F64(value) => push(out, &not_finite(*value)),
        Value::String(value) => push(out, value),
        Value::Bytes(value) => push(out, &base64::engine::general_purpose::STANDARD.encode(value)),
        _ => Err("a value is not of the type of its field".to_owned()),
    }
}

/// Writes the key of an entry of a map.
pub(super) fn write_key(key: &MapKey, out: &mut Vec<u8>) -> Result<(), String> {
    match key {
        MapKey::Bool(key) => push(out, &key.to_string()),
        MapKey::I32(key) => push(out, &key.to_string()),
        MapKey::I64(key) => push(out, &key.to_string()),
        MapKey::U32(key) => push(out, &key.to_string()),
        MapKey::U64(key) => push(out, &key.to_string()),
        MapKey::String(key) => push(out, key),
    }
}

/// Writes what `serde_json` writes in the same way.
pub(super) fn push<T: serde::Serialize + ?Sized>(
    out: &mut Vec<u8>,
    value: &T,
) -> Result<(), String> {
    serde_json::to_writer(out, value).map_err(|error| error.to_string())
}

/// Bytes from either alphabet of Base64.
pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let engine = if text.contains(['-', '_']) { &URL_SAFE } else { &STANDARD };
    engine.decode(text).map_err(|error| format!("{text:?} is no Base64: {error}"))
}

fn not_finite(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}

fn range(of: &str) -> String {
    format!("the number does not fit into {of}")
}

/// A whole number, as a number or a string, also written with a point or an exponent.
fn whole(json: &Json, least: i128, most: i128) -> Result<i128, String> {
    let value = match json {
        Json::Signed(value) => i128::from(*value),
        Json::Unsigned(value) => i128::from(*value),
        Json::Float(value) => of_float(*value)?,
        Json::Text(text) => of_text(text)?,
        other => return Err(format!("{} instead of a whole number", other.kind())),
    };
    if value < least || value > most { Err(range("its field")) } else { Ok(value) }
}

/// Numbers of 64 bits that were written without point and exponent have come as such.
#[expect(clippy::cast_possible_truncation, reason = "the number is whole and in the range")]
fn of_float(value: f64) -> Result<i128, String> {
    const END: f64 = 18_446_744_073_709_551_616.0;
    if value.fract() != 0.0 {
        return Err(format!("{value} is not a whole number"));
    }
    if value <= -END / 2.0 || value >= END { Err(range("64 bits")) } else { Ok(value as i128) }
}

/// A whole number in a string, digit by digit: no float has room for all 64 bits.
fn of_text(text: &str) -> Result<i128, String> {
    let wrong = || format!("{text:?} is not a whole number");
    if !is_number(text) {
        return Err(wrong());
    }
    let (sign, rest) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (before, after) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let after = after.trim_end_matches('0');
    let digits = format!("{before}{after}");
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Ok(0);
    }
    let exponent: i64 = exponent.parse().map_err(|_| range("64 bits"))?;
    let zeros = exponent.saturating_sub(i64::try_from(after.len()).map_err(|_| wrong())?);
    // What ends in zeros may be divided by ten so often.
    let own = digits.len() - digits.trim_end_matches('0').len();
    let digits = match usize::try_from(zeros.unsigned_abs()) {
        Ok(cut) if zeros < 0 && cut <= own => digits[..digits.len() - cut].to_owned(),
        Ok(_) if zeros < 0 => return Err(wrong()),
        Ok(more) if more + digits.len() <= 20 => format!("{digits}{}", "0".repeat(more)),
        _ => return Err(range("64 bits")),
    };
    let value: i128 = digits.parse().map_err(|_| range("64 bits"))?;
    Ok(sign * value)
}

fn double(json: &Json) -> Result<f64, String> {
    let value = match json {
        Json::Float(value) => *value,
        #[expect(clippy::cast_precision_loss, reason = "the nearest is meant")]
        Json::Signed(value) => *value as f64,
        #[expect(clippy::cast_precision_loss, reason = "the nearest is meant")]
        Json::Unsigned(value) => *value as f64,
        Json::Text(text) => return of_words(text, f64::is_finite),
        other => return Err(format!("{} instead of a number", other.kind())),
    };
    Ok(value)
}

fn float(json: &Json) -> Result<f32, String> {
    let value = match json {
        Json::Text(text) => return of_words(text, f32::is_finite),
        #[expect(clippy::cast_precision_loss, reason = "the nearest is meant")]
        Json::Signed(value) => *value as f32,
        #[expect(clippy::cast_precision_loss, reason = "the nearest is meant")]
        Json::Unsigned(value) => *value as f32,
        #[expect(clippy::cast_possible_truncation, reason = "the nearest is meant")]
        other => double(other)? as f32,
    };
    if value.is_finite() { Ok(value) } else { Err(range("a float")) }
}

/// A number in a string, or one of the three that JSON has no numbers for.
fn of_words<T: std::str::FromStr + From<f32> + Copy>(
    text: &str,
    is_finite: fn(T) -> bool,
) -> Result<T, String> {
    match text {
        "NaN" => Ok(T::from(f32::NAN)),
        "Infinity" => Ok(T::from(f32::INFINITY)),
        "-Infinity" => Ok(T::from(f32::NEG_INFINITY)),
        _ if !is_number(text) => Err(format!("{text:?} is not a number")),
        _ => match text.parse::<T>() {
            Ok(value) if is_finite(value) => Ok(value),
            _ => Err(range("its field")),
        },
    }
}

/// Whether a text is a number as JSON writes them.
fn is_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (before, after) = match mantissa.split_once('.') {
        Some((before, after)) => (before, Some(after)),
        None => (mantissa, None),
    };
    digits(before)
        && (before == "0" || !before.starts_with('0'))
        && after.is_none_or(digits)
        && exponent.is_none_or(|text| digits(text.strip_prefix(['+', '-']).unwrap_or(text)))
}
