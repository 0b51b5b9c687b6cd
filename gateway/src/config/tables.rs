//! Lists of tables.

use super::reader::{Found, Reader, found};
use toml::Value;

/// Reads a list of tables, each by `each`, which leaves out what it cannot read.
pub(super) fn tables<T>(
    reader: &mut Reader,
    path: &'static str,
    each: impl Fn(&mut Reader) -> Option<T>,
) -> Vec<T> {
    let Some(Found { place, value }) = reader.take(path) else { return Vec::new() };
    let Value::Array(list) = value else {
        reader.complain(place, found(&value), "a list of tables");
        return Vec::new();
    };
    let mut read = Vec::with_capacity(list.len());
    for (index, entry) in list.into_iter().enumerate() {
        let place = format!("{place}[{index}]");
        let Value::Table(table) = entry else {
            reader.complain(place, found(&entry), "a table");
            continue;
        };
        let mut inner = Reader::nested(table, &place);
        read.extend(each(&mut inner));
        reader.absorb(inner);
    }
    read
}
