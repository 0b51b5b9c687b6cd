//! Takes values out of a table by path, with the environment laid over it, and
//! collects what is wrong with them and what nobody asked for.

use super::error::Mistake;
use super::suggest::nearest;
use super::variables;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// A table that is being read.
pub(super) struct Reader {
    table: Table,
    /// What stands before the paths in reports: empty at the top.
    place: String,
    env: BTreeMap<String, String>,
    asked: Vec<&'static str>,
    mistakes: Vec<Mistake>,
}

/// A value and where it stood.
pub(super) struct Found {
    pub(super) place: String,
    pub(super) value: Value,
}

impl Reader {
    /// The whole file under the environment. A variable with an empty value
    /// counts as unset, as an orchestrator's template leaves it.
    pub(super) fn new(table: Table, env: impl IntoIterator<Item = (String, String)>) -> Self {
        let ours = |(name, value): &(String, String)| {
            let ours = name.starts_with(variables::PREFIX) && name != variables::FILE;
            ours && !value.is_empty()
        };
        let env = env.into_iter().filter(ours).collect();
        Self { table, place: String::new(), env, asked: vec![], mistakes: vec![] }
    }

    /// A table inside a list, which no variable overrides in part.
    pub(super) fn nested(table: Table, place: &str) -> Self {
        let place = format!("{place}.");
        Self { table, place, env: BTreeMap::new(), asked: vec![], mistakes: vec![] }
    }

    /// Takes the value at `path`, the variable's before the file's.
    pub(super) fn take(&mut self, path: &'static str) -> Option<Found> {
        self.asked.push(path);
        let from_file = remove(&mut self.table, path);
        if let Some((place, text)) = self.env.remove_entry(&variables::overriding(path)) {
            return Some(Found { place, value: Value::String(text) });
        }
        from_file.map(|value| Found { place: self.at(path), value })
    }

    /// Whether the table has a value at `path`; it is left there.
    pub(super) fn has(&self, path: &str) -> bool {
        self.table.contains_key(path)
    }

    /// Takes and parses the value at `path`. `parse` fails with what it expected.
    pub(super) fn read<T>(
        &mut self,
        path: &'static str,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let Found { place, value } = self.take(path)?;
        parse(&value).map_err(|expected| self.complain(place, found(&value), expected)).ok()
    }

    /// Reads the value at `path` into `target`, which keeps its default when
    /// there is none.
    pub(super) fn set<T>(
        &mut self,
        path: &'static str,
        target: &mut T,
        parse: impl FnOnce(&Value) -> Result<T, String>,
    ) {
        if let Some(value) = self.read(path, parse) {
            *target = value;
        }
    }

    /// As [`Reader::read`], for a secret: reports say why it is wrong, and not
    /// what it is.
    pub(super) fn secret<T>(
        &mut self,
        path: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let Some(Found { place, value }) = self.take(path) else {
            self.missing(path, expected);
            return None;
        };
        let parsed = match &value {
            Value::String(text) => parse(text),
            other => Err(format!("a value of type {}", other.type_str())),
        };
        parsed.map_err(|problem| self.complain(place, problem, expected)).ok()
    }

    /// Reports that there must be a value at `path` and is none.
    pub(super) fn missing(&mut self, path: &str, expected: &str) {
        let place = self.at(path);
        let problem = match self.place.as_str() {
            "" => format!("missing, also as {}", variables::overriding(path)),
            _ => "missing".to_owned(),
        };
        self.complain(place, problem, expected);
    }

    /// Reports a mistake.
    pub(super) fn complain(
        &mut self,
        place: impl Into<String>,
        problem: impl Into<String>,
        expected: impl Into<String>,
    ) {
        let (place, problem) = (place.into(), problem.into());
        self.mistakes.push(Mistake { place, problem, expected: expected.into() });
    }

    /// The place of `path` in reports.
    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.place)
    }

    /// Whether anything was wrong so far.
    pub(super) fn is_wrong(&self) -> bool {
        !self.mistakes.is_empty()
    }

    /// Adds the mistakes that another reader found.
    pub(super) fn absorb(&mut self, other: Self) {
        self.mistakes.extend(other.finish());
    }

    /// The mistakes in what was asked for; the rest is somebody else's.
    pub(super) fn mistakes(self) -> Vec<Mistake> {
        self.mistakes
    }

    /// All mistakes, with the keys and variables that nobody asked for.
    pub(super) fn finish(mut self) -> Vec<Mistake> {
        let table = std::mem::take(&mut self.table);
        self.leftovers(table, "");
        let known: Vec<String> =
            self.asked.iter().map(|path| variables::overriding(path)).collect();
        for name in std::mem::take(&mut self.env).into_keys() {
            if !variables::of_others(&name) {
                let expected = meant(&name, known.iter().map(String::as_str));
                self.complain(name, "unknown variable", expected);
            }
        }
        self.mistakes
    }

    fn leftovers(&mut self, table: Table, parent: &str) {
        let here = |path: &'static str| path.strip_prefix(parent)?.split('.').next();
        let known: Vec<&str> = self.asked.iter().copied().filter_map(here).collect();
        for (key, value) in table {
            let path = format!("{parent}{key}");
            let section = format!("{path}.");
            let is_section = self.asked.iter().any(|asked| asked.starts_with(&section));
            match value {
                Value::Table(inner) if is_section => self.leftovers(inner, &section),
                value if is_section => {
                    self.complain(self.at(&path), found(&value), format!("a section [{path}]"));
                }
                _ => self.complain(self.at(&path), "unknown key", meant(&key, known.clone())),
            }
        }
    }
}

/// Removes the value at a dotted path.
fn remove(table: &mut Table, path: &str) -> Option<Value> {
    match path.split_once('.') {
        None => table.remove(path),
        Some((section, rest)) => remove(table.get_mut(section)?.as_table_mut()?, rest),
    }
}

/// A value as a report shows it.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::Array(_) | Value::Table(_) => format!("found a value of type {}", value.type_str()),
        value => format!("found {value}"),
    }
}

fn meant<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.into_iter().collect();
    known.sort_unstable();
    known.dedup();
    match nearest(typed, known.iter().copied()) {
        Some(name) => format!("a known name; did you mean `{name}`?"),
        None => format!("one of {}", known.join(", ")),
    }
}
