//! Configurations: what is wrong in them, and what is printed of them.

use super::{ended, gateway, printed, program};
use crate::stage::folder;
use std::fs;

pub(super) fn mistakes() {
    let folder = folder("programs.check_config");
    let config = folder.join("bad.toml");
    let text = "lisen = \"127.0.0.1:1\"\nmax_pending = \"many\"\njob_id_keys = \"1:c2VjcmV0\"\n\
                [[route]]\nmethods = \"/x\"\nqueue = \"q\"\nmax_atempts = 3\n";
    fs::write(&config, text).unwrap();
    let mut command = program("queuebridge", &[]);
    command.args(["check-config", "--config"]).arg(&config);
    let output = ended(command);
    let (said, error) = printed(&output);
    assert_eq!(output.status.code(), Some(2), "{said}{error}");
    for mistake in ["lisen", "max_pending", "job_id_keys", "methods", "max_atempts", "table"] {
        assert!(error.contains(mistake), "{mistake} is missing:\n{error}");
    }
    assert!(!format!("{said}{error}").contains("c2VjcmV0"), "{said}{error}");
    fs::remove_dir_all(folder).unwrap();
}

pub(super) fn printed_without_secrets() {
    let environment = gateway();
    let mut command = program("queuebridge", &environment);
    command.arg("check-config");
    let output = ended(command);
    let (said, error) = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{said}{error}");
    for (name, value) in environment {
        match name {
            "QB_STORE_TABLE" => assert!(said.contains(&value), "{said}"),
            "QB_JOB_ID_KEYS" | "QB_ENVELOPE_KEYS" => {
                let secret = value.split(':').nth(1).unwrap();
                assert!(!said.contains(secret), "{name} is shown:\n{said}");
            }
            _ => {}
        }
    }
}

pub(super) fn warnings() {
    let issuer = |name: &str| {
        format!("{{ issuer = \"{name}\", audience = \"queuebridge\", jwks = \"/{name}.json\" }}")
    };
    let auth = format!("{{ jwt = [{}, {}] }}", issuer("one"), issuer("two"));
    let mut environment = gateway();
    environment.retain(|(name, _)| *name != "QB_AUTH");
    environment.push(("QB_AUTH", auth));
    let mut command = program("queuebridge", &environment);
    command.arg("check-config");
    let output = ended(command);
    let (said, error) = printed(&output);
    assert_eq!(output.status.code(), Some(0), "{said}{error}");
    let warning =
        "warning: auth.jwt: the issuers \"one\" and \"two\" may name the same tenants: \"*\"";
    assert!(error.contains(warning), "{error}");
    assert!(said.contains("tenants = [\"*\"]") && !said.contains("warning"), "{said}");
}

pub(super) fn misspelt() {
    let mut environment = gateway();
    environment.push(("QB_LISTN", "127.0.0.1:0".into()));
    let mut command = program("queuebridge", &environment);
    command.arg("serve");
    let output = ended(command);
    let (said, error) = printed(&output);
    assert_eq!(output.status.code(), Some(2), "{said}{error}");
    assert!(error.contains("QB_LISTN"), "{error}");
}

pub(super) fn mistakes_of_a_worker() {
    let environment =
        [("QB_ENVELOPE_KEYS", "1:c2hvcnQ=".into()), ("QB_WORKER_LEASE", "soon".into())];
    let output = ended(program("queuebridge-demo", &environment));
    let (said, error) = printed(&output);
    assert!(!output.status.success(), "{said}{error}");
    for name in ["QB_ENVELOPE_KEYS", "QB_WORKER_LEASE", "QB_QUEUE_URL", "QB_STORE_TABLE"] {
        assert!(error.contains(name), "{name} is missing:\n{error}");
    }
    assert!(!format!("{said}{error}").contains("c2hvcnQ"), "{said}{error}");
    // By the owner's `main`, which returns the error: no form of a program.
    assert!(error.starts_with("Error: the configuration has mistakes:\n  QB_"), "{error}");
    assert!(!error.contains("ConfigErrors") && !error.contains("[\""), "{error}");
}

pub(super) fn help_of_a_worker() {
    let shown = |argument: &str| {
        let mut command = program("queuebridge-demo", &[]);
        command.arg(argument);
        let output = ended(command);
        let (said, error) = printed(&output);
        assert_eq!((output.status.code(), &*error), (Some(0), ""), "{said}");
        said
    };
    let help = shown("--help");
    for name in ["QB_QUEUE_URL", "QB_LISTEN", "QB_STORE_TABLE", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
        assert!(help.contains(&format!("\n{name}\n    ")), "{name} is missing:\n{help}");
    }
    let version = shown("--version");
    assert!(version.starts_with("queuebridge-demo (queuebridge-worker "), "{version}");
}

pub(super) fn arn_of_a_worker() {
    let arn = "arn:aws:sqs:eu-west-1:123456789012:jobs";
    let output = ended(program("queuebridge-demo", &[("QB_QUEUE_URL", arn.into())]));
    let (said, error) = printed(&output);
    assert_eq!(output.status.code(), Some(1), "{said}{error}");
    assert!(error.contains("QB_QUEUE_URL: expected the URL of a queue"), "{error}");
    assert!(error.contains("aws sqs get-queue-url --queue-name jobs "), "{error}");
}
