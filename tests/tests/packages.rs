//! What is deployed outside of CloudFormation: the Dockerfile, the build of zips, the
//! manifest for Kubernetes.

use queuebridge_tests::python;
use std::process::Command;

#[test]
fn the_images_the_zips_and_the_manifest_are_right() {
    let interpreter = python::environment("requirements-packages.txt").unwrap();
    let mut tests = Command::new(interpreter);
    tests.args(["-m", "unittest", "--verbose", "test_packages"]);
    tests.current_dir(python::root().join("tests/python")).env("PYTHONDONTWRITEBYTECODE", "1");
    python::run(&mut tests).unwrap();
}
