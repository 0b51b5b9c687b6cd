//! The table of cases, depths, and numbers.

use super::*;
use crate::pool::pool;
use prost::Message;
use std::fmt::Write;

const CASES: &str = include_str!("cases/cases.txt");

/// The pool of the table, and the types of all.
fn known() -> (Pool, Types) {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/json/cases");
    let set = protox::compile(["cases.proto", "old.proto"], [dir]).unwrap().encode_to_vec();
    let pool = pool([&set[..]]).unwrap();
    assert_eq!(pool.left_out(), []);
    let types = Types::of([&pool]);
    (pool, types)
}

fn named(pool: &Pool, types: &Types, name: &str) -> Type {
    let name = if name.contains('.') { name.to_owned() } else { format!("cases.{name}") };
    types.find(pool.linked(), &name).unwrap_or_else(|| panic!("{name}"))
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

#[test]
fn every_case_of_the_table_is_as_it_says() {
    let (pool, types) = known();
    let mut wrong = String::new();
    for line in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (left, output) = line.rsplit_once(" -> ").unwrap();
        let (name, input) = left.trim().split_once(' ').unwrap();
        let (input, output) = (input.trim(), output.trim());
        let of = named(&pool, &types, name);
        let bytes = match input.strip_prefix("hex ") {
            Some(digits) => Ok(hex(digits)),
            None => types.read(&of, input.as_bytes()),
        };
        let told = match bytes {
            Ok(bytes) => match types.write(&of, &bytes) {
                Ok(json) => String::from_utf8(json).unwrap(),
                Err(_) => "unsayable".to_owned(),
            },
            Err(_) => "refused".to_owned(),
        };
        if told != output {
            writeln!(wrong, "{line}\n    is {told}").unwrap();
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}

#[test]
fn equal_json_gives_equal_bytes() {
    let (pool, types) = known();
    let of = named(&pool, &types, "All");
    let one = br#"{"i32":1,"byText":{"a":"1","b":"2","c":"3"},"object":{"x":1,"y":2,"z":3}}"#;
    let other = br#"{"object":{"z":3,"y":2,"x":1},"byText":{"c":"3","b":"2","a":"1"},"i32":1}"#;
    let bytes = types.read(&of, one).unwrap();
    for _ in 0..20 {
        assert_eq!(types.read(&of, other).unwrap(), bytes);
        assert_eq!(types.read(&of, one).unwrap(), bytes);
    }
}

#[test]
fn numbers_are_the_nearest() {
    let (pool, types) = known();
    let of = named(&pool, &types, "google.protobuf.Value");
    // A generator that gives the same numbers each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..20_000 {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let number = f64::from_bits(state ^ (state >> 17));
        if !number.is_finite() {
            continue;
        }
        for text in [format!("{number:e}"), format!("{number:.16e}"), format!("{number:.15e}")] {
            let right: f64 = text.parse().unwrap();
            let read = types.read(&of, text.as_bytes()).unwrap();
            assert_eq!(read[1..], right.to_le_bytes(), "{text}");
        }
    }
}

fn nested(begin: &str, end: &str, levels: usize, middle: &str) -> String {
    format!("{}{middle}{}", begin.repeat(levels), end.repeat(levels))
}

#[test]
fn what_may_be_asked_may_be_answered_and_nothing_is_too_deep_for_the_stack() {
    let (pool, types) = known();
    let any = "{\"@type\":\"t/google.protobuf.Any\",\"value\":";
    // The message, its JSON, and so often it may stand within itself: of a hundred messages
    // within one another, each object of a `Struct` takes three, each list two.
    for (name, most, json) in [
        (
            "google.protobuf.Struct",
            33,
            (&|n| nested("{\"a\":", "}", n, "1")) as &dyn Fn(usize) -> String,
        ),
        ("google.protobuf.ListValue", 51, &|n| nested("[", "]", n, "")),
        ("google.protobuf.Value", 20, &|n| nested("[{\"a\":", "}]", n, "true")),
        ("All", 100, &|n| nested("{\"inner\":", "}", n, "{}")),
        ("All", 101, &|n| nested("{\"inners\":[", "]}", n, "")),
        ("All", 49, &|n| nested("{\"byNumber\":{\"1\":", "}}", n, "{\"byText\":{\"a\":\"b\"}}")),
        ("google.protobuf.Any", 100, &|n| nested(any, "}", n, "{}")),
    ] {
        let of = named(&pool, &types, name);
        for levels in 1..=most {
            let text = json(levels);
            let bytes = types.read(&of, text.as_bytes());
            let bytes = bytes.unwrap_or_else(|why| panic!("{name} {levels}: {why}"));
            let written = types.write(&of, &bytes);
            let written = written.unwrap_or_else(|why| panic!("{name} {levels}: {why}"));
            let again = types.read(&of, &written).unwrap();
            assert_eq!(again, bytes, "{name} {levels}");
        }
        for levels in [most + 1, most + 2, 200, 2_000, 100_000] {
            let why = types.read(&of, json(levels).as_bytes()).unwrap_err();
            assert!(why.contains("100 messages within"), "{name} {levels}: {why}");
        }
    }
    // What is not known is not read, and not too deep for the stack either.
    let of = named(&pool, &types, "All");
    let unknown = |n| format!("{{\"unknown\":{}}}", nested("[", "]", n, ""));
    assert!(types.read(&of, unknown(100).as_bytes()).is_ok());
    assert!(types.read(&of, unknown(100_000).as_bytes()).is_err());
}

#[test]
fn what_is_too_deep_is_what_handlers_cannot_parse() {
    let (pool, types) = known();
    let of = named(&pool, &types, "google.protobuf.Struct");
    for levels in 1..60 {
        let kind = prost_types::value::Kind::NumberValue(1.0);
        let value = (1..levels).fold(with(kind), |inner, _| {
            with(prost_types::value::Kind::StructValue(holding(inner)))
        });
        let bytes = holding(value).encode_to_vec();
        let parses = prost_types::Struct::decode(&bytes[..]).is_ok();
        assert_eq!(types.write(&of, &bytes).is_ok(), parses, "{levels}");
        let json = nested("{\"a\":", "}", levels, "1");
        let read = types.read(&of, json.as_bytes()).ok();
        assert_eq!(read, parses.then_some(bytes), "{levels}");
    }
}

fn with(kind: prost_types::value::Kind) -> prost_types::Value {
    prost_types::Value { kind: Some(kind) }
}

fn holding(value: prost_types::Value) -> prost_types::Struct {
    prost_types::Struct { fields: [("a".to_owned(), value)].into() }
}

/// The binary form of a field that has a length.
fn field(tag: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = tag.to_vec();
    prost::encoding::encode_varint(value.len() as u64, &mut bytes);
    bytes.extend_from_slice(value);
    bytes
}

#[test]
fn an_answer_that_is_too_deep_is_refused() {
    let (pool, types) = known();
    let any =
        |inner: &[u8]| [field(&[0x0a], b"t/google.protobuf.Any"), field(&[0x12], inner)].concat();
    // A value of a list of values.
    let list = |inner: &[u8]| field(&[0x32], &field(&[0x0a], inner));
    let inner = |inner: &[u8]| field(&[0x8a, 0x01], inner);
    for (name, most, wrap) in [
        ("google.protobuf.Any", 100, &any as &dyn Fn(&[u8]) -> Vec<u8>),
        ("google.protobuf.Value", 50, &list),
        ("All", 100, &inner),
    ] {
        let of = named(&pool, &types, name);
        let mut bytes = Vec::new();
        for levels in 1..=1_600 {
            bytes = wrap(&bytes);
            if [most - 1, most, most + 1, 120, 370, 1_600].contains(&levels) {
                assert_eq!(types.write(&of, &bytes).is_ok(), levels <= most, "{name} {levels}");
            }
        }
    }
}
