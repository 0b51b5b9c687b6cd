//! The names of environment variables.

use super::client::TOKEN;

/// What every variable of Queuebridge begins with. A variable that begins so
/// and is not known is a mistake, because it was meant to have an effect.
pub(super) const PREFIX: &str = "QB_";

/// Names the configuration file, where no command line does.
pub(super) const FILE: &str = "QB_CONFIG";

/// Variables of the worker and of the client's commands, which may share an environment
/// with the gateway: whole names, and beginnings that end in an underscore.
const OF_OTHERS: [&str; 5] =
    ["QB_QUEUE_URL", "QB_EXTENDED_CLIENT_BUCKETS", "QB_WORKER_", "QB_CALLBACK_", TOKEN];

/// The variable that overrides the key at `path`.
pub(super) fn overriding(path: &str) -> String {
    match path {
        // The one key whose value is a list of tables: the variable holds all.
        "route" => "QB_ROUTES".to_owned(),
        _ => format!("{PREFIX}{}", path.replace('.', "_").to_ascii_uppercase()),
    }
}

/// Whether a variable belongs to the worker or the client alone.
pub(super) fn of_others(name: &str) -> bool {
    OF_OTHERS
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
    fn others_keep_their_own() {
        assert!(of_others("QB_QUEUE_URL") && of_others("QB_WORKER_CONCURRENCY"));
        assert!(of_others("QB_TOKEN"));
        assert!(!of_others("QB_QUEUE_URLS") && !of_others("QB_LISTEN"));
    }
}
