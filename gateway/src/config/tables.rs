//! Lists of tables.

use super::auth::{TENANT, tenant};
use super::reader::{Found, Reader, found};
use toml::Value;

/// Reads the list of tables at `path`, if there is one, as [`each_of`].
pub(super) fn tables<T>(
    reader: &mut Reader,
    path: &'static str,
    each: impl Fn(&mut Reader, &[T]) -> Option<T>,
) -> Vec<T> {
    let Some(Found { place, value }) = reader.take(path) else { return Vec::new() };
    let Value::Array(list) = value else {
        reader.complain(place, found(&value), "a list of tables");
        return Vec::new();
    };
    each_of(reader, &place, list, each)
}

/// Reads the list of tables at `path`, one for each tenant that has something of its own,
/// which `each` reads beside the `name`.
pub(super) fn of_tenants<T>(
    reader: &mut Reader,
    path: &'static str,
    each: impl Fn(&mut Reader) -> T,
) -> Vec<(String, T)> {
    tables(reader, path, |inner, before: &[(String, T)]| {
        if !inner.has("name") {
            inner.missing("name", TENANT);
        }
        let name = inner.read("name", tenant());
        if before.iter().any(|(other, _)| Some(other) == name.as_ref()) {
            let problem = "the tenant is there already";
            inner.complain(inner.at("name"), problem, "one table for each tenant");
        }
        let own = each(inner);
        Some((name?, own))
    })
}

/// Reads the tables of a list, each by `each`, which sees those before it and leaves out
/// what it cannot read.
pub(super) fn each_of<T>(
    reader: &mut Reader,
    place: &str,
    list: Vec<Value>,
    each: impl Fn(&mut Reader, &[T]) -> Option<T>,
) -> Vec<T> {
    let mut read = Vec::with_capacity(list.len());
    for (index, entry) in list.into_iter().enumerate() {
        let place = format!("{place}[{index}]");
        let Value::Table(table) = entry else {
            reader.complain(place, found(&entry), "a table");
            continue;
        };
        let mut inner = Reader::nested(table, &place);
        let one = each(&mut inner, &read);
        read.extend(one);
        reader.absorb(inner);
    }
    read
}
