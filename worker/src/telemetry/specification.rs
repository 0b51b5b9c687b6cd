//! The rules of AWS's "Specification: Embedded metric format", as checks.

use serde_json::{Map, Value};

/// The largest event that CloudWatch Logs takes.
const MAX_BYTES: usize = 1024 * 1024;

/// Checks one line against the specification, and returns its root.
pub(super) fn check(line: &str) -> Map<String, Value> {
    assert!(line.len() <= MAX_BYTES, "{} bytes", line.len());
    assert!(!line.trim_end_matches('\n').contains('\n'), "a document is one line");
    let root: Value = serde_json::from_str(line).unwrap();
    let Value::Object(root) = root else { panic!("no object: {line}") };
    let aws = members(&root["_aws"], &["Timestamp", "CloudWatchMetrics"], &[]);
    assert!(aws["Timestamp"].is_u64(), "{aws:?}");
    let directives = aws["CloudWatchMetrics"].as_array().unwrap();
    assert!(!directives.is_empty(), "{line}");
    for directive in directives {
        let directive = members(directive, &["Namespace", "Dimensions", "Metrics"], &[]);
        length(&directive["Namespace"], 1024);
        let sets = directive["Dimensions"].as_array().unwrap();
        assert!(!sets.is_empty());
        for set in sets {
            let set = set.as_array().unwrap();
            assert!(set.len() <= 30, "{set:?}");
            for name in set {
                length(name, 250);
                length(&root[name.as_str().unwrap()], 1024);
            }
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!((1..=100).contains(&metrics.len()), "{} metrics", metrics.len());
        for metric in metrics {
            let metric = members(metric, &["Name"], &["Unit", "StorageResolution"]);
            length(&metric["Name"], 1024);
            unit(metric.get("Unit"));
            numeric(&root[metric["Name"].as_str().unwrap()]);
        }
    }
    root
}

/// An object with these members and no others.
fn members<'a>(value: &'a Value, required: &[&str], optional: &[&str]) -> &'a Map<String, Value> {
    let object = value.as_object().unwrap();
    assert!(required.iter().all(|name| object.contains_key(*name)), "{object:?}");
    let defined = |name: &str| required.contains(&name) || optional.contains(&name);
    assert!(object.keys().all(|name| defined(name)), "{object:?}");
    object
}

fn length(value: &Value, max: usize) {
    let text = value.as_str().unwrap_or_else(|| panic!("no string: {value}"));
    assert!((1..=max).contains(&text.chars().count()), "{text}");
}

/// Those of the units that are in use here.
fn unit(unit: Option<&Value>) {
    assert!(matches!(unit.and_then(Value::as_str), Some("Count" | "Milliseconds")), "{unit:?}");
}

fn numeric(value: &Value) {
    match value {
        Value::Number(_) => {}
        Value::Array(values) => {
            assert!((1..=100).contains(&values.len()), "{} values", values.len());
            assert!(values.iter().all(Value::is_number), "{values:?}");
        }
        other => panic!("not numeric: {other}"),
    }
}
