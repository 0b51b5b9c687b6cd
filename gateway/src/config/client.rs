//! What the commands of the client take from the environment.

/// The variable with the caller's token.
pub(super) const TOKEN: &str = "QB_TOKEN";

/// The token that the client's commands show to the gateway, if there is one.
#[must_use]
pub fn token_from_process() -> Option<String> {
    super::environment()
        .find_map(|(name, value)| (name == TOKEN && !value.is_empty()).then_some(value))
}
