use super::*;
use crate::config::{Config, ConfigErrors};

const REST: &str = r#"
job_id_keys = "1:MDEyMzQ1Njc4OWFiY2RlZg=="
envelope_keys = "1:ZmVkY2JhOTg3NjU0MzIxMA=="
store.table = "t"
route = [{ methods = "*", queue = "https://sqs.example/1/q" }]
"#;

const WHOLE: &str = r#"
[auth]
api_keys = "/etc/queuebridge/api-keys.toml"
[[auth.jwt]]
issuer = "https://login.example.com"
audience = "queuebridge"
jwks = "https://login.example.com/jwks.json"
[[auth.jwt]]
issuer = "ci"
audience = ["queuebridge", "other"]
jwks = "/etc/queuebridge/ci.json"
algorithms = ["EdDSA"]
leeway = "5s"
tenant = "ci"
roles_claim = "/realm_access/roles"
[[auth.jwt]]
issuer = "eu"
audience = "queuebridge"
jwks = "/etc/queuebridge/eu.json"
tenant_claim = "org"
tenants = ["acme", "eu-*"]
[[auth.jwt]]
issuer = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_a"
client_ids = ["1example23456789"]
jwks = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_a/.well-known/jwks.json"
algorithms = ["RS256", "Ed25519"]
tenants = "shop"
[[auth.certificate]]
uri = "spiffe://example/billing"
tenant = "shop"
roles = ["clerk"]
[[auth.grant]]
roles = ["clerk"]
methods = ["/shop.Orders/*", "/shop.Stock/Get"]
verbs = ["submit", "read"]
"#;

fn parsed(text: &str) -> Result<Config, ConfigErrors> {
    Config::parse(&format!("{REST}{text}"), [])
}

fn callers(text: &str) -> CallersConfig {
    match parsed(text).unwrap().auth {
        AuthConfig::Callers(callers) => callers,
        AuthConfig::None => panic!("everybody may call"),
    }
}

#[test]
fn nobody_is_let_in_by_accident() {
    let missing = parsed("").unwrap_err().to_string();
    assert!(missing.contains("auth") && missing.contains("QB_AUTH"), "{missing}");
    assert_eq!(parsed("auth = \"none\"").unwrap().auth, AuthConfig::None);
    for wrong in ["auth = \"off\"", "auth = false", "auth = {}", "auth = { jwt = [] }"] {
        assert!(parsed(wrong).unwrap_err().to_string().contains("\"none\""), "{wrong}");
    }
}

#[test]
fn callers_are_read_with_their_defaults_and_shown_as_they_are_read() {
    let callers = callers(WHOLE);
    let first = &callers.jwt[0];
    assert_eq!(first.algorithms, [Algorithm::RS256, Algorithm::ES256]);
    let (name, every) = ("tenant".to_owned(), vec![TenantPattern::every()]);
    assert_eq!(first.tenant, TenantFrom::Claim { name, tenants: every });
    assert_eq!((first.leeway, first.roles_claim.as_str()), (LEEWAY, "roles"));
    assert_eq!(callers.jwt[1].tenant, TenantFrom::Fixed("ci".to_owned()));
    assert_eq!(callers.jwt[3].client_ids, ["1example23456789"]);
    assert!(callers.jwt[3].audiences.is_empty());
    assert_eq!(callers.jwt[3].algorithms, [Algorithm::RS256, Algorithm::EdDSA]);
    assert_eq!(callers.grants[0].verbs, [Verb::Submit, Verb::Read]);
    let shown = parsed(WHOLE).unwrap().to_string();
    let auth = shown.split("\n\n").find(|part| part.starts_with("[auth]")).unwrap();
    assert_eq!(callers, self::callers(auth));
}

#[test]
fn issuers_that_may_name_the_same_tenants_are_warned_of() {
    let issuer = |name: &str, rest: &str| {
        format!("[[auth.jwt]]\nissuer = \"{name}\"\naudience = \"a\"\njwks = \"f\"\n{rest}\n")
    };
    let warnings = |issuers: &[(&str, &str)]| {
        let text: String = issuers.iter().map(|(name, rest)| issuer(name, rest)).collect();
        parsed(&text).unwrap().warnings()
    };
    let lists = [("one", "tenants = [\"acme\", \"eu-*\"]"), ("two", "tenants = \"shop\"")];
    assert!(warnings(&lists).is_empty());
    assert!(warnings(&[("alone", "")]).is_empty());
    let found = warnings(&[lists[0], lists[1], ("three", "tenant = \"eu-1\""), ("four", "")]);
    let expected = [
        ("one", "three", "\"eu-1\""),
        ("one", "four", "\"acme\", \"eu-*\""),
        ("two", "four", "\"shop\""),
        ("three", "four", "\"eu-1\""),
    ];
    assert_eq!(found.len(), expected.len(), "{found:?}");
    for (warning, (one, other, tenants)) in found.iter().zip(expected) {
        let (issuers, tenants) = (format!("\"{one}\" and \"{other}\""), format!(": {tenants};"));
        assert!(warning.contains(&issuers) && warning.contains(&tenants), "{warning}");
    }
    assert!(parsed("auth = \"none\"").unwrap().warnings().is_empty());
}

#[test]
fn a_variable_holds_the_word_or_the_table() {
    let with = |text: &str| {
        Config::parse(REST, [("QB_AUTH".to_owned(), text.to_owned())]).map(|config| config.auth)
    };
    assert_eq!(with("none").unwrap(), AuthConfig::None);
    let Ok(AuthConfig::Callers(callers)) = with("{ api_keys = \"/k\" }") else { panic!() };
    assert_eq!(callers.api_keys, Some("/k".into()));
    assert!(with("{ api_keys }").is_err() && with("open").is_err());
}

#[test]
fn mistakes_are_named_by_their_places() {
    let issuer = "issuer = \"i\"\naudience = \"a\"\njwks = \"f\"\n";
    for (text, place) in [
        ("[[auth.jwt]]\nissuer = \"i\"\njwks = \"f\"".to_owned(), "auth.jwt[0].audience"),
        (format!("[[auth.jwt]]\n{issuer}algorithms = [\"HS256\"]"), "auth.jwt[0].algorithms"),
        (format!("[[auth.jwt]]\n{issuer}algorithms = [\"none\"]"), "auth.jwt[0].algorithms"),
        (format!("[[auth.jwt]]\n{issuer}algorithms = [\"ES512\"]"), "ES512 cannot be checked here"),
        (format!("[[auth.jwt]]\n{issuer}client_ids = []"), "auth.jwt[0].client_ids"),
        (format!("[[auth.jwt]]\n{issuer}client_ids = [\"\"]"), "auth.jwt[0].client_ids"),
        (
            format!("[[auth.jwt]]\n{}client_ids = \"c\"", issuer.replace("\"a\"", "[]")),
            "auth.jwt[0].audience",
        ),
        (format!("[[auth.jwt]]\n{issuer}leeway = \"1h\""), "auth.jwt[0].leeway"),
        (format!("[[auth.jwt]]\n{issuer}tenant = \"a b\""), "auth.jwt[0].tenant"),
        (format!("[[auth.jwt]]\n{issuer}tenant = \"a\"\ntenant_claim = \"b\""), "tenant_claim"),
        (format!("[[auth.jwt]]\n{issuer}tenant = \"a\"\ntenants = \"a\""), "jwt[0].tenants"),
        (format!("[[auth.jwt]]\n{issuer}tenants = []"), "auth.jwt[0].tenants"),
        (format!("[[auth.jwt]]\n{issuer}tenants = [\"a*b\"]"), "auth.jwt[0].tenants"),
        (format!("[[auth.jwt]]\n{issuer}[[auth.jwt]]\n{issuer}"), "auth.jwt[1].issuer"),
        (format!("[[auth.jwt]]\n{issuer}secret = \"x\""), "auth.jwt[0].secret"),
        (issuer.replace("\"f\"", "\"http://login.example.com/jwks\""), "auth.jwt[0].jwks"),
        ("[[auth.certificate]]\ntenant = \"t\"".to_owned(), "auth.certificate[0].subject"),
        ("[[auth.grant]]\nverbs = [\"fly\"]".to_owned(), "auth.grant[0].verbs"),
        ("[[auth.grant]]\nverbs = []".to_owned(), "auth.grant[0].verbs"),
        ("[[auth.grant]]\nmethods = \"shop\"\nverbs = [\"read\"]".to_owned(), "grant[0].methods"),
        ("[auth]\napi_keys = \"k\"\napi_key = \"k\"".to_owned(), "auth.api_key"),
    ] {
        let text = if text.starts_with('[') { text } else { format!("[[auth.jwt]]\n{text}") };
        let errors = parsed(&text).unwrap_err().to_string();
        assert!(errors.contains(place), "{text}\n{errors}");
    }
    let both = Config::parse(&format!("tenant = \"t\"\n{REST}[auth]\napi_keys = \"k\""), []);
    assert!(both.unwrap_err().to_string().contains("tenant"));
}

#[test]
fn keys_over_http_are_for_this_machine_only() {
    for right in
        ["https://a.example/j", "http://127.0.0.1:80/j", "http://[::1]/j", "http://localhost/j"]
    {
        assert!(matches!(jwks(right), Some(Jwks::Url(_))), "{right}");
    }
    assert!(jwks("http://10.0.0.1/j").is_none() && jwks("ftp://a/j").is_none());
    assert!(jwks("https://a.example:65536/j").is_none() && jwks("https://a.example:0/j").is_none());
    assert_eq!(jwks("/a/b"), Some(Jwks::File("/a/b".into())));
}
