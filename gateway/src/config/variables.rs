//! The names of environment variables.

/// What every variable of Queuebridge begins with. A variable that begins so
/// and is not known is a mistake, because it was meant to have an effect.
pub(super) const PREFIX: &str = "QB_";

/// Names the configuration file, where no command line does.
pub(super) const FILE: &str = "QB_CONFIG";

/// Variables of the worker, which may share an environment with the gateway:
/// whole names, and beginnings that end in an underscore.
const OF_WORKERS: [&str; 4] =
    ["QB_QUEUE_URL", "QB_EXTENDED_CLIENT_BUCKETS", "QB_WORKER_", "QB_CALLBACK_"];

/// The variable that overrides the key at `path`.
pub(super) fn overriding(path: &str) -> String {
    match path {
        // The one key whose value is a list of tables: the variable holds all.
        "route" => "QB_ROUTES".to_owned(),
        _ => format!("{PREFIX}{}", path.replace('.', "_").to_ascii_uppercase()),
    }
}

/// Whether a variable belongs to the worker alone.
pub(super) fn of_workers(name: &str) -> bool {
    OF_WORKERS
        .iter()
        .any(|known| if known.ends_with('_') { name.starts_with(known) } else { name == *known })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_from_paths() {
        assert_eq!(overriding("listen"), "QB_LISTEN");
        assert_eq!(overriding("store.payload_bucket"), "QB_STORE_PAYLOAD_BUCKET");
        assert_eq!(overriding("route"), "QB_ROUTES");
    }

    #[test]
    fn the_worker_keeps_its_own() {
        assert!(of_workers("QB_QUEUE_URL") && of_workers("QB_WORKER_CONCURRENCY"));
        assert!(!of_workers("QB_QUEUE_URLS") && !of_workers("QB_LISTEN"));
    }
}
