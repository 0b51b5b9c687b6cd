//! Tokens as real issuers make them, and tokens that only look so.

use super::*;
use ring::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, Ed25519KeyPair};

type Sign = dyn Fn(&[u8]) -> Vec<u8>;

/// A key of its kind, with its JWK and its way to sign.
struct Signer {
    jwk: Value,
    sign: Box<Sign>,
}

impl Signer {
    fn ed25519() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
        let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x});
        Self { jwk, sign: Box::new(move |message| key.sign(message).as_ref().to_vec()) }
    }

    fn p256() -> Self {
        let login = Login::new("");
        let mut jwk = login.jwk();
        jwk.as_object_mut().unwrap().retain(|name, _| name != "alg" && name != "kid");
        let sign = move |message: &[u8]| {
            login.key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
        };
        Self { jwk, sign: Box::new(sign) }
    }

    fn p384() -> Self {
        let (algorithm, random) = (&ECDSA_P384_SHA384_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).unwrap();
        let point = key.public_key().as_ref();
        let part = |bytes| URL_SAFE_NO_PAD.encode(bytes);
        let jwk =
            json!({"kty": "EC", "crv": "P-384", "x": part(&point[1..49]), "y": part(&point[49..])});
        let sign = move |message: &[u8]| key.sign(&random, message).unwrap().as_ref().to_vec();
        Self { jwk, sign: Box::new(sign) }
    }

    fn jwk(&self, members: Value) -> Value {
        let (mut jwk, Value::Object(members)) = (self.jwk.clone(), members) else { panic!() };
        jwk.as_object_mut().unwrap().extend(members);
        jwk
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let message = message(header, claims);
        format!("{message}.{}", URL_SAFE_NO_PAD.encode((self.sign)(message.as_bytes())))
    }
}

fn publish(path: &Path, keys: &[Value]) {
    std::fs::write(path, json!({ "keys": keys }).to_string()).unwrap();
}

/// An issuer with all algorithms that are tried here, changed as is said.
fn with_config(path: &Path, change: impl FnOnce(&mut IssuerConfig)) -> Issuers {
    let mut config = config(path, claim());
    config.algorithms = vec![Algorithm::ES256, Algorithm::ES384, Algorithm::EdDSA];
    change(&mut config);
    Issuers::new(&[config], &[]).unwrap()
}

async fn problem(issuers: &Issuers, token: &str) -> String {
    let refused = issuers.identify(token).await.unwrap_err();
    assert_eq!(refused.status.code(), Code::Unauthenticated);
    refused.status.message().to_owned()
}

#[tokio::test]
async fn ed25519_is_eddsa_in_keys_and_tokens() {
    let signer = Signer::ed25519();
    for alg in [json!({"alg": "Ed25519"}), json!({"alg": "EdDSA"}), json!({})] {
        let (_dir, path) = place();
        publish(&path, &[signer.jwk(alg)]);
        let issuers = with_config(&path, |_| {});
        for name in ["Ed25519", "EdDSA"] {
            let token = signer.token(&json!({"alg": name}), &claims());
            assert!(issuers.identify(&token).await.is_ok(), "{name}");
        }
    }
}

#[tokio::test]
async fn keys_without_alg_and_kid_are_tried_by_what_they_are() {
    let (_dir, path) = place();
    let keys = [Signer::p256(), Signer::p384(), Signer::p256(), Signer::ed25519(), Signer::p384()];
    publish(&path, &keys.each_ref().map(|key| key.jwk.clone()));
    let issuers = with_config(&path, |_| {});
    for (key, alg) in keys.iter().zip(["ES256", "ES384", "ES256", "EdDSA", "ES384"]) {
        for header in [json!({"alg": alg}), json!({"alg": alg, "kid": "any"})] {
            assert!(issuers.identify(&key.token(&header, &claims())).await.is_ok(), "{header}");
        }
    }
    let stranger = Signer::p256().token(&json!({"alg": "ES256"}), &claims());
    assert!(problem(&issuers, &stranger).await.contains("signature"));
    // A key is good for its own algorithm alone.
    let confused = keys[1].token(&json!({"alg": "ES256"}), &claims());
    assert!(problem(&issuers, &confused).await.contains("signature"));
}

#[tokio::test]
async fn a_new_key_without_a_name_is_noticed_at_its_first_token() {
    let (_dir, path) = place();
    let (old, new) = (Signer::p256(), Signer::p256());
    publish(&path, std::slice::from_ref(&old.jwk));
    let issuers = with_config(&path, |_| {});
    let header = json!({"alg": "ES256"});
    assert!(issuers.identify(&old.token(&header, &claims())).await.is_ok());
    publish(&path, std::slice::from_ref(&new.jwk));
    assert!(issuers.identify(&new.token(&header, &claims())).await.is_ok());
}

#[tokio::test]
async fn padded_keys_beside_those_of_other_curves_are_used() {
    let (_dir, path) = place();
    let key = Signer::p384();
    let padded = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(key.jwk[name].as_str().unwrap()).unwrap();
        base64::engine::general_purpose::STANDARD.encode([&[0], bytes.as_slice()].concat())
    };
    let own = key.jwk(json!({"x": padded("x"), "y": padded("y"), "kid": "k"}));
    let p521 = json!({"kty": "EC", "crv": "P-521", "kid": "k", "x": "AA", "y": "AA"});
    publish(&path, &[p521, Signer::p256().jwk(json!({"kid": "k"})), own]);
    let issuers = with_config(&path, |_| {});
    let token = key.token(&json!({"alg": "ES384", "kid": "k"}), &claims());
    assert!(issuers.identify(&token).await.is_ok());
    let refused = problem(&issuers, &key.token(&json!({"alg": "ES512"}), &claims())).await;
    assert!(refused.contains("ES512") && refused.contains("ES256 (P-256)"), "{refused}");
    let narrow = with_config(&path, |config| config.algorithms = vec![Algorithm::ES256]);
    let refused = problem(&narrow, &token).await;
    assert!(refused.contains("ES384") && refused.contains("`algorithms`"), "{refused}");
}

#[tokio::test]
async fn headers_say_what_a_token_is() {
    let (_dir, path) = place();
    let key = Signer::p256();
    publish(&path, std::slice::from_ref(&key.jwk));
    let issuers = with_config(&path, |_| {});
    let token = |members: Value| {
        let (mut header, Value::Object(members)) = (json!({"alg": "ES256"}), members) else {
            panic!()
        };
        header.as_object_mut().unwrap().extend(members);
        key.token(&header, &claims())
    };
    for right in [
        json!({"typ": "JWT"}),
        json!({"typ": "jwt"}),
        json!({"typ": "at+jwt"}),
        json!({"typ": "application/AT+JWT"}),
        json!({"typ": "JOSE"}),
        json!({"b64": true}),
        json!({"x5t": "abc", "nonce": "n", "cty": "JWT", "jku": "https://evil.example/"}),
    ] {
        assert!(issuers.identify(&token(right.clone())).await.is_ok(), "{right}");
    }
    for (wrong, part) in [
        (json!({"typ": "logout+jwt"}), "`typ`"),
        (json!({"typ": "dpop+jwt"}), "`typ`"),
        (json!({"typ": "secevent+jwt"}), "`typ`"),
        (json!({"typ": 7}), "`typ`"),
        (json!({"crit": []}), "critical"),
        (json!({"crit": null}), "critical"),
        (json!({"crit": ["exp"], "exp": 1}), "critical"),
        (json!({"b64": false}), "`b64`"),
        (json!({"kid": 7}), "`kid`"),
        (json!({"alg": "HS256"}), "another algorithm"),
        (json!({"alg": "none"}), "another algorithm"),
        (json!({"alg": "es256"}), "another algorithm"),
        (json!({"alg": null}), "not a JSON Web Token"),
    ] {
        let refused = problem(&issuers, &token(wrong.clone())).await;
        assert!(refused.contains(part), "{wrong}: {refused}");
    }
    let right = token(json!({}));
    for (wrong, part) in [
        (format!("{right}="), "signature"),
        (format!("{right}.x"), "encrypted"),
        (format!("a.{right}.x"), "encrypted"),
        ("a.b".to_owned(), "not a JSON Web Token"),
        (String::new(), "not a JSON Web Token"),
    ] {
        let refused = problem(&issuers, &wrong).await;
        assert!(refused.contains(part), "{wrong}: {refused}");
    }
}

#[tokio::test]
async fn times_are_numbers_with_or_without_a_fraction() {
    let (_dir, path) = place();
    let key = Signer::p256();
    publish(&path, std::slice::from_ref(&key.jwk));
    let issuers = with_config(&path, |_| {});
    let token = |claims: &Value| key.token(&json!({"alg": "ES256"}), claims);
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century are exact")]
    let now = now() as f64;
    for right in [
        with("exp", now + 300.5),
        with("exp", 1e300),
        with("nbf", now - 0.5),
        with("nbf", now + 20.25),
        with("nbf", -1),
        // How old a token is says nothing about when it is valid.
        with("iat", now + 600.0),
        with("iat", "today"),
        with("aud", json!(["https://other.example", "queuebridge"])),
    ] {
        assert!(issuers.identify(&token(&right)).await.is_ok(), "{right}");
    }
    for (wrong, part) in [
        (with("exp", now - 31.5), "expired"),
        (with("exp", -5), "expired"),
        (with("exp", Value::Null), "`exp` is no number"),
        (with("exp", (now + 300.0).to_string()), "`exp` is no number"),
        (with("nbf", now + 60.5), "not valid yet"),
        (with("nbf", Value::Null), "`nbf` is no number"),
        (with("nbf", json!([now])), "`nbf` is no number"),
        (with("aud", json!([])), "another audience"),
        (with("aud", json!(["queuebridge", 7])), "`aud` is no text"),
        (with("aud", Value::Null), "`aud` is no text"),
        (with("aud", json!({"queuebridge": true})), "`aud` is no text"),
        (with("aud", "queuebridge "), "another audience"),
    ] {
        let refused = problem(&issuers, &token(&wrong)).await;
        assert!(refused.contains(part), "{wrong}: {refused}");
    }
}

/// An access token of Amazon Cognito, with null taken away.
fn cognito(members: Value) -> Value {
    let mut claims = json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "iss": ISSUER, "version": 2,
        "client_id": "1example23456789", "token_use": "access", "scope": "jobs/submit",
        "cognito:groups": ["clerks"], "auth_time": now(), "exp": now() + 300, "iat": now(),
        "username": "me", "tenant": "shop",
    });
    let Value::Object(members) = members else { panic!() };
    claims.as_object_mut().unwrap().extend(members);
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

#[tokio::test]
async fn tokens_of_cognito_name_a_client_and_no_audience() {
    let (_dir, path) = place();
    let key = Signer::p256();
    publish(&path, &[key.jwk(json!({"kid": "k"}))]);
    let clients = |audiences: &[&str], clients: &[&str]| {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        with_config(&path, |config| {
            (config.audiences, config.client_ids) = (own(audiences), own(clients));
        })
    };
    let by_client = clients(&[], &["other", "1example23456789"]);
    let by_both = clients(&["queuebridge"], &["1example23456789"]);
    let by_audience = clients(&["queuebridge", "1example23456789"], &[]);
    let token = |claims: Value| key.token(&json!({"alg": "ES256", "kid": "k"}), &claims);
    let access = token(cognito(json!({})));
    for issuers in [&by_client, &by_both] {
        assert!(issuers.identify(&access).await.is_ok());
    }
    assert!(problem(&by_audience, &access).await.contains("no `aud`"));
    // A resource is named, too.
    let bound = token(cognito(json!({"aud": "queuebridge"})));
    assert!(by_both.identify(&bound).await.is_ok());
    assert!(problem(&by_client, &bound).await.contains("another audience"));
    let of_rfc_9068 = token(cognito(json!({"aud": "queuebridge", "token_use": null})));
    assert!(by_both.identify(&of_rfc_9068).await.is_ok());
    let id = json!({"token_use": "id", "client_id": null, "aud": "1example23456789"});
    for (claims, part) in [
        (id, "`token_use`"),
        (json!({"token_use": "id"}), "`token_use`"),
        (json!({"token_use": "id", "aud": "queuebridge"}), "`token_use`"),
        (json!({"token_use": "refresh"}), "`token_use`"),
        (json!({"token_use": ["access"]}), "`token_use`"),
        (json!({"token_use": null}), "`token_use`"),
        (json!({"client_id": "1example2345678"}), "`client_id`"),
        (json!({"client_id": ["1example23456789"]}), "`client_id`"),
        (json!({"client_id": null}), "`client_id`"),
        (json!({"client_id": "stranger", "aud": "queuebridge"}), "`client_id`"),
        (json!({"aud": "other"}), "another audience"),
        (json!({"aud": []}), "another audience"),
        (json!({"exp": now() - 31}), "expired"),
    ] {
        for issuers in [&by_client, &by_both] {
            let refused = problem(issuers, &token(cognito(claims.clone()))).await;
            assert!(refused.contains(part), "{claims}: {refused}");
        }
    }
}
