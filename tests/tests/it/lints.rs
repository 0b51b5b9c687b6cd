//! Rules that hold in every package.

use queuebridge_tests::python::root;
use std::fs;

#[test]
fn no_package_may_use_unsafe_code() {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(workspace.contains("\nunsafe_code = \"forbid\"\n"));
    let members = workspace.lines().find_map(|line| line.strip_prefix("members = ["));
    let members = members.and_then(|list| list.strip_suffix(']')).unwrap();
    let members: Vec<&str> = members.split(", ").map(|name| name.trim_matches('"')).collect();
    assert!(members.len() >= 9, "{members:?}");
    for member in members {
        let package = fs::read_to_string(root().join(member).join("Cargo.toml")).unwrap();
        assert!(package.contains("[lints]\nworkspace = true\n"), "{member}");
    }
}
