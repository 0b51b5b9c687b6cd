//! The deployable template: what can be checked of it without an AWS account.

use queuebridge_tests::python;
use std::process::Command;

#[test]
fn the_template_is_valid_and_grants_what_the_code_calls() {
    let interpreter = python::environment("requirements-template.txt").unwrap();
    let output = Command::new(interpreter)
        .args(["-m", "unittest", "--verbose", "test_template"])
        .current_dir(python::root().join("tests/python"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("Ran 0 tests"), "{said}");
}
