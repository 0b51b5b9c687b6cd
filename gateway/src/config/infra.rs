//! A configuration as the templates of its deployment need it.

use super::{Config, ConfigErrors};
use std::path::Path;

/// The keys of a configuration that has none: templates are made without its secrets, and
/// nothing is ever signed with these.
const NO_KEYS: [(&str, &str); 2] = [
    ("QB_JOB_ID_KEYS", "0:bm90IGEga2V5LCBidXQgYSBwbGFjZQ=="),
    ("QB_ENVELOPE_KEYS", "0:YW5vdGhlciBwbGFjZSBvZiBubyBrZXk="),
];

impl Config {
    /// Reads a file alone, with its text: what variables say somewhere is not part of what
    /// is to be deployed. The secrets may be missing.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn for_templates(file: &Path) -> Result<(String, Self), ConfigErrors> {
        let text = super::text_of(Some(file))?;
        let env = NO_KEYS.map(|(name, keys)| (name.to_owned(), keys.to_owned()));
        let config = Self::parse(&text, env)?;
        Ok((text, config))
    }
}
