//! Lists of gRPC codes.

use super::reader::{Found, Reader, found};
use super::suggest::nearest;
use queuebridge_proto::codes::{code_from_name, code_name};
use toml::Value;
use tonic::Code;

/// Reads the codes at `path`, each by its name; a wrong one is named by itself. `all` are
/// those that may stand there.
pub(super) fn read(
    reader: &mut Reader,
    path: &'static str,
    all: impl Fn(Code) -> bool,
) -> Option<Vec<Code>> {
    let Found { place, value } = reader.take(path)?;
    let Value::Array(list) = &value else {
        let expected = "a list of gRPC codes, such as [\"UNAVAILABLE\"]";
        reader.complain(place, found(&value), expected);
        return None;
    };
    let mut codes = Vec::new();
    for (index, item) in list.iter().enumerate() {
        match item.as_str().and_then(code_from_name).filter(|code| all(*code)) {
            Some(code) => codes.push(code),
            None => {
                let expected = expected(item.as_str().unwrap_or_default(), &all);
                reader.complain(format!("{place}[{index}]"), found(item), expected);
            }
        }
    }
    Some(codes)
}

fn expected(typed: &str, all: impl Fn(Code) -> bool) -> String {
    let codes = (0..=16).map(Code::from_i32).filter(|code| all(*code));
    let names: Vec<&str> = codes.map(code_name).collect();
    match nearest(&typed.to_uppercase(), names.iter().copied()) {
        Some(name) => format!("a gRPC code; did you mean \"{name}\"?"),
        None => format!("one of the gRPC codes {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(list: &str) -> Vec<String> {
        let table = toml::from_str(&format!("retry_on = {list}")).unwrap();
        let mut reader = Reader::nested(table, "route[0]");
        read(&mut reader, "retry_on", |code| code != Code::Ok);
        reader.finish().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_wrong_code_is_named() {
        assert_eq!(mistakes("[\"UNAVAILABLE\", \"INTERNAL\"]"), [""; 0]);
        let place = "route[0].retry_on";
        let meant = |index: u8, typed: &str, name: &str| {
            let typed = format!("{place}[{index}]: found \"{typed}\"");
            format!("{typed}; expected a gRPC code; did you mean \"{name}\"?")
        };
        assert_eq!(
            mistakes("[\"UNAVAILABLE\", \"UNAVAILBLE\", \"not_found\"]"),
            [meant(1, "UNAVAILBLE", "UNAVAILABLE"), meant(2, "not_found", "NOT_FOUND")]
        );
        for (list, found) in [
            ("[\"OK\"]", "[0]: found \"OK\""),
            ("[14]", "[0]: found 14"),
            ("[\"ABORTED\", \"whatever\"]", "[1]: found \"whatever\""),
        ] {
            let [mistake] = mistakes(list).try_into().unwrap();
            assert!(mistake.starts_with(&format!("{place}{found}; expected")), "{mistake}");
            assert!(mistake.ends_with("DATA_LOSS, UNAUTHENTICATED"), "{mistake}");
        }
        let [mistake] = mistakes("\"UNAVAILABLE\"").try_into().unwrap();
        assert!(mistake.starts_with(&format!("{place}: found \"UNAVAILABLE\"")), "{mistake}");
    }
}
