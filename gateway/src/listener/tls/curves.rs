//! Keys and certificates that `ring` cannot use, named with the way out before they are needed.

use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::asn1::ObjectIdentifier;

const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");
/// Stands where a curve is spelled out instead of being named.
const PRIME_FIELD: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.1.1");
const ECDSA_SHA512: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4");

/// A private key, if handshakes can be signed with it. Otherwise it says what the key is, and
/// the command that makes one that can be used.
pub(super) fn usable(key: PrivateKeyDer<'static>) -> Result<PrivateKeyDer<'static>, String> {
    match default_provider().key_provider.load_private_key(key.clone_key()) {
        Ok(_) => Ok(key),
        Err(_) => Err(problem_of(&key)),
    }
}

fn problem_of(key: &PrivateKeyDer<'_>) -> String {
    let has = |oid: ObjectIdentifier| {
        let (der, oid) = (key.secret_der(), oid.as_bytes());
        der.windows(oid.len()).any(|part| part == oid)
    };
    let another = "make a key by `openssl genpkey -algorithm EC -pkeyopt \
                   ec_paramgen_curve:P-256 -out NEW`, and have a certificate made for it";
    if !matches!(key, PrivateKeyDer::Sec1(_)) && !has(EC) {
        return format!(
            "it is not RSA of 2048 to 4096 bits, EC on P-256 or P-384, or Ed25519: {another}"
        );
    }
    match (has(P256) || has(P384) || has(PRIME_FIELD), has(P521)) {
        (true, _) => "it is an EC key without its public half, or without the name of its \
                      curve: `openssl ec -in OLD -param_enc named_curve -out NEW` adds both"
            .to_owned(),
        (false, true) => format!("it is an EC key on P-521, which is not supported: {another}"),
        (false, false) => {
            format!("it is an EC key on a curve that is not P-256 or P-384: {another}")
        }
    }
}

/// What is wrong with the key of an authority, if nothing that it has signed can be verified.
pub(super) fn problem_of_authority(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let algorithm = &certificate.tbs_certificate().subject_public_key_info().algorithm;
    let curve: ObjectIdentifier =
        (algorithm.oid == EC).then(|| algorithm.parameters.as_ref()?.decode_as().ok()).flatten()?;
    let problem = match curve {
        P256 | P384 => return None,
        P521 => "its key is on P-521, which is not supported",
        _ => "its key is on a curve that is not P-256 or P-384",
    };
    Some(format!(
        "{problem}: have certificates signed by an authority whose key is EC on P-256 or P-384, \
         RSA or Ed25519"
    ))
}

/// Warns of an authority that has signed itself in a way in which nothing that it signs can be
/// verified. It may sign others in another way.
pub(super) fn warn_of_signature(certificate: &CertificateDer<'_>) {
    let Ok(certificate) = Certificate::from_der(certificate) else { return };
    if certificate.signature_algorithm().oid == ECDSA_SHA512 {
        let authority = certificate.tbs_certificate().subject().to_string();
        let authority = queuebridge_proto::printable::Printable(authority);
        tracing::warn!(
            %authority,
            "certificates that an authority signs by ECDSA with SHA-512, as it has signed its \
             own, cannot be verified here: have it sign them with SHA-256 or SHA-384 \
             (`openssl x509 -req -sha384 ...`)"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::material::{key, roots};
    use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};
    use std::path::PathBuf;

    fn fixture(name: &str) -> Vec<u8> {
        let path: PathBuf =
            [env!("CARGO_MANIFEST_DIR"), "../tests/fixtures/tls", name].iter().collect();
        std::fs::read(path).unwrap()
    }

    #[test]
    fn a_key_that_cannot_sign_is_named_with_the_command_that_helps() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
            let pem = KeyPair::generate_for(algorithm).unwrap().serialize_pem();
            assert!(key(pem.as_bytes()).is_ok(), "{algorithm:?}");
        }
        for (name, parts) in [
            ("p521.key", ["P-521", "openssl genpkey -algorithm EC"]),
            ("no-public.key", ["public half", "openssl ec -in OLD"]),
            ("no-public.sec1.key", ["public half", "openssl ec -in OLD"]),
            ("explicit.key", ["name of its curve", "-param_enc named_curve"]),
        ] {
            let problem = key(&fixture(name)).unwrap_err();
            assert!(parts.iter().all(|part| problem.contains(part)), "{name}: {problem}");
        }
    }

    #[test]
    fn authorities_whose_signatures_cannot_be_verified_are_refused_unless_there_are_others() {
        let problem = roots(&fixture("p521-ca.pem")).unwrap_err();
        assert!(problem.contains("its certificate 1") && problem.contains("P-521"), "{problem}");
        let both = [fixture("p521-ca.pem"), fixture("ca.pem")].concat();
        assert_eq!(roots(&both).unwrap().len(), 1);
        // Its key is right: it may sign others with SHA-384.
        assert_eq!(roots(&fixture("sha512-ca.pem")).unwrap().len(), 1);
    }
}
