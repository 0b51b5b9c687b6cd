//! A configuration as the templates of its deployment need it.

use super::{Config, ConfigErrors};
use std::path::Path;

/// The keys of a configuration that has none: templates are made without its secrets, and
/// nothing is ever signed with these.
const NO_KEYS: &str = "0:bm90IGEga2V5LCBidXQgYSBwbGFjZQ==";

impl Config {
    /// Reads a file alone, with its text: what variables say somewhere is not part of what
    /// is to be deployed. The secrets may be missing.
    ///
    /// # Errors
    /// Every mistake in it.
    pub fn for_templates(file: &Path) -> Result<(String, Self), ConfigErrors> {
        let text = super::text_of(Some(file))?;
        let keys = ["QB_JOB_ID_KEYS", "QB_ENVELOPE_KEYS"];
        let env = keys.map(|name| (name.to_owned(), NO_KEYS.to_owned()));
        let config = Self::parse(&text, env)?;
        Ok((text, config))
    }
}
