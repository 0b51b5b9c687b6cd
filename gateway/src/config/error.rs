//! What is wrong with a configuration.

use std::fmt;
use std::path::Path;

/// One mistake. It never contains a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where: the path of a key, `route[0].queue`, or a variable, `QB_LISTEN`.
    pub place: String,
    /// What stands there.
    pub problem: String,
    /// What should.
    pub expected: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; expected {}", self.place, self.problem, self.expected)
    }
}

/// All the mistakes of a configuration; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Mistake>);

impl ConfigErrors {
    pub(super) fn one(place: String, problem: String, expected: &str) -> Self {
        Self(vec![Mistake { place, problem, expected: expected.to_owned() }])
    }

    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        Self::one(path.display().to_string(), error.to_string(), "a readable file in UTF-8")
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
