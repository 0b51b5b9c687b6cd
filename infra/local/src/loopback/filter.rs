//! Filter policies over message attributes.

use queuebridge_gateway::publish::Message;
use queuebridge_proto::envelope::attribute;

/// The data type of an attribute that holds several values.
const ARRAY: &str = "String.Array";
/// Keys of one policy.
const KEYS: usize = 5;
/// The product of the numbers of conditions of all keys.
const COMBINATIONS: usize = 150;

/// One way in which an attribute may match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// The value is this one.
    Exactly(String),
    /// The value begins with this.
    Prefix(String),
    /// The attribute is there, and its value is none of these.
    AnythingBut(Vec<String>),
    /// The attribute is there, or is not there.
    Exists(bool),
}

/// Which messages a subscription wants: for every key one of its conditions
/// must match.
#[derive(Clone, Debug, Default)]
pub struct FilterPolicy {
    keys: Vec<(String, Vec<Condition>)>,
}

/// Why there cannot be such a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// More than five keys.
    #[error("a filter policy has at most {KEYS} keys")]
    TooManyKeys,
    /// A key without conditions, or named twice.
    #[error("each key of a filter policy needs conditions, once")]
    BadKey,
    /// The numbers of conditions, multiplied, exceed 150.
    #[error("a filter policy has at most {COMBINATIONS} combinations")]
    TooManyCombinations,
}

impl FilterPolicy {
    /// Makes a policy of attribute names with their conditions.
    ///
    /// # Errors
    ///
    /// When it exceeds what SNS takes.
    pub fn new(keys: Vec<(String, Vec<Condition>)>) -> Result<Self, FilterError> {
        if keys.len() > KEYS {
            return Err(FilterError::TooManyKeys);
        }
        let named_before = |index: usize, key: &str| keys[..index].iter().any(|(k, _)| k == key);
        let bad = |(index, (key, conditions)): (usize, &(String, Vec<Condition>))| {
            conditions.is_empty() || named_before(index, key)
        };
        if keys.iter().enumerate().any(bad) {
            return Err(FilterError::BadKey);
        }
        let values = |condition: &Condition| match condition {
            Condition::AnythingBut(values) => values.len(),
            _ => 1,
        };
        let of_key = |conditions: &Vec<Condition>| conditions.iter().map(values).sum::<usize>();
        let product = keys.iter().try_fold(1_usize, |all, (_, key)| all.checked_mul(of_key(key)));
        match product {
            Some(0..=COMBINATIONS) => Ok(Self { keys }),
            _ => Err(FilterError::TooManyCombinations),
        }
    }

    /// Whether the subscription wants this message.
    #[must_use]
    pub fn matches(&self, message: &Message) -> bool {
        self.keys.iter().all(|(key, conditions)| {
            let attribute = message.attributes.iter().find(|(name, _)| name == key);
            let matches = |value| conditions.iter().any(|condition| condition.matches(value));
            match attribute {
                None => matches(None),
                Some((name, value)) if attribute::data_type(name) == ARRAY => {
                    // One of the values is enough; what is no array matches nothing.
                    let values: Vec<String> = serde_json::from_str(value).unwrap_or_default();
                    values.iter().any(|value| matches(Some(value)))
                }
                Some((_, value)) => matches(Some(value)),
            }
        })
    }
}

impl Condition {
    fn matches(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::Exists(wanted), value) => *wanted == value.is_some(),
            (_, None) => false,
            (Self::Exactly(wanted), Some(value)) => wanted == value,
            (Self::Prefix(prefix), Some(value)) => value.starts_with(prefix),
            (Self::AnythingBut(values), Some(value)) => !values.iter().any(|v| v == value),
        }
    }
}
