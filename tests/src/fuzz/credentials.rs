//! What callers show to be let in.

use super::headers;
use http::Request;
use queuebridge_gateway::auth::Authenticator;
use queuebridge_gateway::config::Config;
use std::sync::{Arc, OnceLock};
use tokio::runtime::{Builder, Runtime};

const REQUIRED: [(&str, &str); 4] = [
    ("QB_JOB_ID_KEYS", "1:MDEyMzQ1Njc4OWFiY2RlZg=="),
    ("QB_ENVELOPE_KEYS", "1:ZmVkY2JhOTg3NjU0MzIxMA=="),
    ("QB_STORE_TABLE", "t"),
    ("QB_ROUTES", r#"[{ methods = "*", queue = "https://q" }]"#),
];

/// Headers in lines `key: value`, of which some may be credentials.
pub(super) fn credential(data: &[u8]) {
    // The keys that the tokens of the corpus were signed with are thrown away.
    assert!(caller(data).is_none_or(|tenant| &*tenant == "shop"), "somebody else was let in");
}

/// The tenant of whom these headers let in.
pub fn caller(data: &[u8]) -> Option<Arc<str>> {
    let mut request = Request::new(());
    *request.headers_mut() = headers(data);
    let (runtime, authenticator) = served();
    let caller = runtime.block_on(authenticator.identify(&request));
    caller.ok().map(|caller| caller.tenant)
}

fn served() -> &'static (Runtime, Authenticator) {
    static SERVED: OnceLock<(Runtime, Authenticator)> = OnceLock::new();
    SERVED.get_or_init(|| {
        let runtime = Builder::new_current_thread().enable_all().build();
        let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/auth");
        let file = format!(
            r#"
            [auth]
            api_keys = "{fixtures}/api-keys.toml"
            [[auth.jwt]]
            issuer = "https://login.example.com"
            audience = "queuebridge"
            jwks = "{fixtures}/jwks.json"
            "#
        );
        let config = Config::parse(&file, REQUIRED.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let config = config.unwrap_or_else(|errors| panic!("{errors}"));
        let authenticator = Authenticator::new(&config.auth, &config.tenant);
        let authenticator = authenticator.unwrap_or_else(|error| panic!("{error}"));
        (runtime.unwrap_or_else(|error| panic!("{error}")), authenticator)
    })
}
