mod issuers;

use super::*;
use crate::config::{Jwks, TenantFrom, TenantPattern};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use queuebridge_proto::error::reason;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use std::path::Path;
use tonic::Code;
use tonic_types::StatusExt;

const ISSUER: &str = "https://login.example.com";

/// An issuer whose keys are in a file.
struct Login {
    key: EcdsaKeyPair,
    id: &'static str,
}

impl Login {
    fn new(id: &'static str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        Self { key, id }
    }

    fn jwk(&self) -> Value {
        let point = self.key.public_key().as_ref();
        let part = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "kid": self.id, "alg": "ES256",
               "x": part(&point[1..33]), "y": part(&point[33..])})
    }

    fn token(&self, claims: &Value) -> String {
        self.signed(&json!({"alg": "ES256", "kid": self.id}), claims)
    }

    fn signed(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        let signature = self.key.sign(&SystemRandom::new(), message.as_bytes()).unwrap();
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

fn message(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

fn publish(path: &Path, keys: &[&Login]) {
    let keys: Vec<Value> = keys.iter().map(|login| login.jwk()).collect();
    std::fs::write(path, json!({ "keys": keys }).to_string()).unwrap();
}

fn issuers(path: &Path, tenant: TenantFrom) -> Issuers {
    Issuers::new(&[config(path, tenant)], &[]).unwrap()
}

fn config(path: &Path, tenant: TenantFrom) -> IssuerConfig {
    IssuerConfig {
        issuer: ISSUER.to_owned(),
        audiences: vec!["queuebridge".to_owned()],
        client_ids: Vec::new(),
        jwks: Jwks::File(path.to_owned()),
        algorithms: vec![Algorithm::ES256, Algorithm::RS256],
        leeway: Duration::from_secs(30),
        tenant,
        roles_claim: "roles".to_owned(),
    }
}

fn claims() -> Value {
    json!({"iss": ISSUER, "aud": "queuebridge", "exp": now() + 300, "sub": "me", "tenant": "shop"})
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn now() -> u64 {
    get_current_timestamp()
}

fn claim() -> TenantFrom {
    TenantFrom::Claim { name: "tenant".to_owned(), tenants: vec![TenantPattern::every()] }
}

fn claim_of(tenants: &[&str]) -> TenantFrom {
    let tenants = tenants.iter().map(|text| text.parse().unwrap()).collect();
    TenantFrom::Claim { name: "tenant".to_owned(), tenants }
}

fn reason_of(refused: &Refused) -> &str {
    let details = refused.status.get_error_details();
    assert_eq!(details.error_info().unwrap().reason, refused.reason);
    refused.reason
}

/// A place for the file of keys.
fn place() -> (tempfile::TempDir, std::path::PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("jwks.json");
    (dir, path)
}

#[tokio::test]
async fn a_token_that_is_right_in_everything_says_who_calls() {
    let (_dir, path) = place();
    let login = Login::new("k1");
    publish(&path, &[&login]);
    let issuers = issuers(&path, claim());
    let token = login.token(&with("aud", json!(["other", "queuebridge"])));
    let caller = issuers.identify(&token).await.unwrap();
    assert_eq!((&*caller.tenant, &*caller.subject), ("shop", "jwt:me"));
    assert!(issuers.seen(&token).is_some(), "it is not checked again at once");
}

#[tokio::test]
async fn a_token_that_is_wrong_in_anything_is_refused() {
    let (_dir, path) = place();
    let (login, stranger) = (Login::new("k1"), Login::new("k1"));
    publish(&path, &[&login]);
    let issuers = issuers(&path, claim());
    let without = |name: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        login.token(&claims)
    };
    let header = |header: Value| login.signed(&header, &claims());
    // Signed with the public key as if that were a secret.
    let confused = {
        let message = message(&json!({"alg": "HS256", "kid": "k1"}), &claims());
        let key = hmac::Key::new(hmac::HMAC_SHA256, login.key.public_key().as_ref());
        let tag = hmac::sign(&key, message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let mut changed = login.token(&claims()).into_bytes();
    let last = changed.len() - 5;
    changed[last] = if changed[last] == b'A' { b'B' } else { b'A' };
    let invalid = reason::CREDENTIALS_INVALID;
    let expired = reason::CREDENTIALS_EXPIRED;
    for (name, token, reason) in [
        ("another's signature", stranger.token(&claims()), invalid),
        ("a changed signature", String::from_utf8(changed).unwrap(), invalid),
        ("no signature", format!("{}.", message(&json!({"alg": "ES256"}), &claims())), invalid),
        ("alg none", format!("{}.", message(&json!({"alg": "none"}), &claims())), invalid),
        ("alg confusion", confused, invalid),
        ("an algorithm that is not pinned", header(json!({"alg": "ES384", "kid": "k1"})), invalid),
        ("another kind of key", header(json!({"alg": "RS256", "kid": "k1"})), invalid),
        ("an unknown key", header(json!({"alg": "ES256", "kid": "k2"})), invalid),
        ("critical", header(json!({"alg": "ES256", "kid": "k1", "crit": ["b64"]})), invalid),
        ("expired", login.token(&with("exp", now() - 31)), expired),
        ("not valid yet", login.token(&with("nbf", now() + 60)), expired),
        ("a foreign audience", login.token(&with("aud", "other")), invalid),
        ("a foreign issuer", login.token(&with("iss", "https://evil.example")), invalid),
        ("several issuers", login.token(&with("iss", json!([ISSUER]))), invalid),
        ("no end", without("exp"), invalid),
        ("no audience", without("aud"), invalid),
        ("no issuer", without("iss"), invalid),
        ("an end that is no number", login.token(&with("exp", "tomorrow")), invalid),
        ("not a token", "a.b.c".to_owned(), invalid),
    ] {
        let refused = issuers.identify(&token).await.unwrap_err();
        assert_eq!(refused.status.code(), Code::Unauthenticated, "{name}");
        // Of the issuer nothing is said that the token has made up.
        let named = refused.claimed.as_deref();
        assert!(named.is_none_or(|name| name == format!("issuer:{ISSUER}")), "{name}");
        assert_eq!(reason_of(&refused), reason, "{name}");
        assert!(issuers.seen(&token).is_none(), "{name}");
    }
}

#[tokio::test]
async fn clocks_may_differ_by_the_leeway() {
    let (_dir, path) = place();
    let login = Login::new("k1");
    publish(&path, &[&login]);
    let issuers = issuers(&path, claim());
    for claims in [with("exp", now() - 20), with("nbf", now() + 20)] {
        assert!(issuers.identify(&login.token(&claims)).await.is_ok(), "{claims}");
    }
}

#[tokio::test]
async fn the_tenant_is_the_claims_or_the_issuers() {
    let (_dir, path) = place();
    let login = Login::new("k1");
    publish(&path, &[&login]);
    let fixed = issuers(&path, TenantFrom::Fixed("acme".to_owned()));
    assert_eq!(&*fixed.identify(&login.token(&claims())).await.unwrap().tenant, "acme");
    let by_claim = issuers(&path, claim());
    for tenant in [json!(null), json!(""), json!("a b"), json!(7), json!("x".repeat(64))] {
        let refused = by_claim.identify(&login.token(&with("tenant", tenant))).await.unwrap_err();
        assert_eq!(reason_of(&refused), reason::NO_TENANT);
        assert_eq!(refused.status.code(), Code::PermissionDenied);
        assert_eq!(refused.claimed.as_deref(), Some("jwt:me"), "the issuer has said so");
    }
}

#[tokio::test]
async fn an_issuer_names_its_own_tenants_and_no_other() {
    let (_dir, path) = place();
    let login = Login::new("k1");
    publish(&path, &[&login]);
    let issuers = issuers(&path, claim_of(&["acme", "eu-*"]));
    for tenant in ["acme", "eu-1", "eu-"] {
        let caller = issuers.identify(&login.token(&with("tenant", tenant))).await.unwrap();
        assert_eq!(&*caller.tenant, tenant);
    }
    for tenant in ["shop", "acme2", "acm", "eu", "xeu-1", "ACME", "eu-*", "*"] {
        let token = login.token(&with("tenant", tenant));
        let refused = issuers.identify(&token).await.unwrap_err();
        assert_eq!(refused.status.code(), Code::PermissionDenied, "{tenant}");
        assert_eq!(reason_of(&refused), reason::NO_TENANT, "{tenant}");
        assert!(issuers.seen(&token).is_none(), "{tenant}");
    }
    let refused = issuers.identify(&login.token(&with("tenant", "shop"))).await.unwrap_err();
    assert!(refused.status.message().contains("issuer may not name"), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn a_rotation_is_noticed_by_the_first_token_of_the_new_key() {
    let (_dir, path) = place();
    let (old, new) = (Login::new("old"), Login::new("new"));
    publish(&path, &[&old]);
    let issuers = issuers(&path, claim());
    issuers.identify(&old.token(&claims())).await.unwrap();
    publish(&path, &[&new, &old]);
    issuers.identify(&new.token(&claims())).await.unwrap();
    // The old key is withdrawn: noticed when the keys are not new any more.
    publish(&path, &[&new]);
    let token = old.token(&with("sub", "late"));
    assert!(issuers.identify(&token).await.is_ok());
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(issuers.seen(&token).is_none());
    assert!(issuers.identify(&token).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn made_up_keys_do_not_make_the_issuer_busy() {
    let (_dir, path) = place();
    let login = Login::new("k1");
    publish(&path, &[&login]);
    let issuers = issuers(&path, claim());
    for number in 0..10 {
        let header = json!({"alg": "ES256", "kid": format!("made-up-{number}")});
        assert!(issuers.identify(&login.signed(&header, &claims())).await.is_err());
    }
    let rotated = Login::new("k2");
    publish(&path, &[&rotated]);
    let refused = issuers.identify(&rotated.token(&claims())).await.unwrap_err();
    assert_eq!(reason_of(&refused), reason::CREDENTIALS_INVALID, "not asked again yet");
    tokio::time::advance(Duration::from_secs(60)).await;
    assert!(issuers.identify(&rotated.token(&claims())).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn without_keys_nobody_can_say_and_old_ones_serve_meanwhile() {
    let (_dir, path) = place();
    let login = Login::new("k1");
    let issuers = issuers(&path, claim());
    let unknown = issuers.identify(&login.token(&claims())).await.unwrap_err();
    assert_eq!(unknown.status.code(), Code::Unavailable);
    assert_eq!(reason_of(&unknown), reason::AUTH_UNAVAILABLE);
    publish(&path, &[&login]);
    issuers.identify(&login.token(&claims())).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(issuers.identify(&login.token(&claims())).await.is_ok(), "an hour later");
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    assert_eq!(
        issuers.identify(&login.token(&claims())).await.unwrap_err().status.code(),
        Code::Unavailable
    );
}
