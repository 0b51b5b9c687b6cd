//! Filter policies over message attributes.

use queuebridge_gateway::publish::Message;

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
            let value = attribute.map(|(_, value)| value.as_str());
            conditions.iter().any(|condition| condition.matches(value))
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
