//! The deployable templates of a configuration.

use crate::python::root;
use queuebridge_gateway::cli::{Exit, InfraArgs, infra};
use std::path::Path;
use std::time::Duration;

/// Writes the templates of a configuration below the workspace's root into `out`, with the
/// settings that `change` makes.
///
/// # Panics
/// When the configuration has mistakes.
pub fn write(config: &str, out: &Path, change: impl FnOnce(&mut InfraArgs)) {
    let mut args = InfraArgs {
        config: root().join(config),
        out: out.to_owned(),
        name: "queuebridge".to_owned(),
        function_timeout: vec![],
        batch_size: 10,
        batch_window: Duration::ZERO,
    };
    change(&mut args);
    assert_eq!(infra(&args), Exit::Success, "{config}");
}

/// Writes the templates of the second configuration, which has what the example in `infra`
/// lacks.
///
/// # Panics
/// As [`write()`].
pub fn write_other(out: &Path) {
    write("tests/fixtures/infra/gateway.toml", out, |args| {
        "shop".clone_into(&mut args.name);
        args.function_timeout = ["30s", "shop-orders=5m"].map(|one| one.parse().unwrap()).into();
        args.batch_size = 100;
        args.batch_window = Duration::from_secs(5);
    });
}
