//! Records as DynamoDB items.
//!
//! Whatever a condition needs is an attribute of its own; times are numbers of
//! milliseconds, except `ttl`, which DynamoDB wants in seconds.

use crate::record::{Record, Token};
use crate::result::StoreError;
use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use prost::Message;
use queuebridge_proto::UnixMillis;
use queuebridge_proto::v1::{Origin, Outcome, State};
use std::collections::HashMap;
use std::str::FromStr;

pub(super) type Item = HashMap<String, AttributeValue>;

/// The partition key.
pub(super) const PK: &str = "pk";

pub(super) fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn time(at: UnixMillis) -> AttributeValue {
    number(at.0)
}

pub(super) fn flag(value: bool) -> AttributeValue {
    AttributeValue::Bool(value)
}

pub(super) fn bytes(value: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(value))
}

pub(super) fn token(token: Token) -> AttributeValue {
    bytes(token.as_bytes())
}

/// In place of the token of a former claim where there was none.
pub(super) fn unheld() -> AttributeValue {
    flag(false)
}

pub(super) fn message(message: &impl Message) -> AttributeValue {
    AttributeValue::B(Blob::new(message.encode_to_vec()))
}

/// Reads a record.
///
/// # Errors
/// When somebody else wrote the item, or a version that is not understood.
pub(super) fn record(item: &Item) -> Result<Record, StoreError> {
    let state: Option<i32> = find_number(item, "state")?;
    let state = state.and_then(|state| State::try_from(state).ok());
    let token = match find_bytes(item, "token")? {
        Some(bytes) => Some(Token::from_bytes(bytes.try_into().map_err(|_| foreign("token"))?)),
        None => None,
    };
    let progress = find_bytes(item, "progress")?.map(decode).transpose()?;
    let outcome = find_bytes(item, "outcome")?.map(decode::<Outcome>).transpose()?;
    let origin = find_bytes(item, "origin")?.map(decode::<Origin>).transpose()?;
    Ok(Record {
        method: find_text(item, "method")?.unwrap_or_default().to_owned(),
        state: state.ok_or_else(|| foreign("state"))?,
        attempt: find_number(item, "attempt")?.unwrap_or(0),
        token,
        took_over: item.get("from").is_some_and(AttributeValue::is_b),
        lease_until: find_time(item, "lease")?.unwrap_or_default(),
        started_at: find_time(item, "started")?,
        completed_at: find_time(item, "completed")?,
        cancel_requested: find_flag(item, "cancel")?,
        progress,
        outcome,
        origin,
    })
}

pub(super) fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, StoreError> {
    M::decode(bytes).map_err(|error| StoreError(format!("a stored message is damaged: {error}")))
}

fn find_number<T: FromStr>(item: &Item, name: &str) -> Result<Option<T>, StoreError> {
    let Some(value) = item.get(name) else { return Ok(None) };
    let number = value.as_n().ok().and_then(|text| text.parse().ok());
    number.map(Some).ok_or_else(|| foreign(name))
}

pub(super) fn find_time(item: &Item, name: &str) -> Result<Option<UnixMillis>, StoreError> {
    Ok(find_number(item, name)?.map(UnixMillis))
}

pub(super) fn find_bytes<'a>(item: &'a Item, name: &str) -> Result<Option<&'a [u8]>, StoreError> {
    let Some(value) = item.get(name) else { return Ok(None) };
    value.as_b().map(|blob| Some(blob.as_ref())).map_err(|_| foreign(name))
}

pub(super) fn find_text<'a>(item: &'a Item, name: &str) -> Result<Option<&'a str>, StoreError> {
    let Some(value) = item.get(name) else { return Ok(None) };
    value.as_s().map(|text| Some(text.as_str())).map_err(|_| foreign(name))
}

pub(super) fn find_flag(item: &Item, name: &str) -> Result<bool, StoreError> {
    item.get(name).map_or(Ok(false), |v| v.as_bool().copied().map_err(|_| foreign(name)))
}

/// A set of numbers; empty when there is none.
pub(super) fn find_numbers(item: &Item, name: &str) -> Result<Vec<u8>, StoreError> {
    let Some(value) = item.get(name) else { return Ok(Vec::new()) };
    let numbers = value.as_ns().map_err(|_| foreign(name))?;
    numbers.iter().map(|text| text.parse().map_err(|_| foreign(name))).collect()
}

pub(super) fn foreign(name: &str) -> StoreError {
    StoreError(format!("the stored attribute `{name}` is missing or not understood"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_of_somebody_else_is_an_error_and_not_a_record() {
        let good = || Item::from([("state".to_owned(), number(State::Running as u64))]);
        assert_eq!(record(&good()).unwrap().state, State::Running);
        for (name, value) in [
            ("state", number(99)),
            ("state", bytes(b"2")),
            ("token", bytes(b"short")),
            ("lease", AttributeValue::N("-1".into())),
            ("outcome", bytes(b"\xff")),
            ("origin", bytes(b"\xff")),
            ("cancel", number(1)),
        ] {
            let mut item = good();
            item.insert(name.to_owned(), value);
            assert!(record(&item).is_err(), "{name}");
        }
        assert!(record(&Item::new()).is_err());
    }
}
