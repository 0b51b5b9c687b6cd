//! The signatures of tokens, checked with `ring`: the crypto library that TLS uses here as
//! well. Only public keys: what needs a shared secret is not there to be confused with them.

use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{ErrorKind, Result};
use jsonwebtoken::signature::{Error, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: no_signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes it the provider of this process. A second time changes nothing.
pub(super) fn install() {
    let _ = PROVIDER.install_default();
}

fn no_signer(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    if !key.family().algorithms().contains(algorithm) {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let checks = checks(*algorithm).ok_or(ErrorKind::UnsupportedAlgorithm)?;
    Ok(Box::new(Ring { algorithm: *algorithm, checks, key: key.clone() }))
}

enum Checks {
    Rsa(&'static RsaParameters),
    Other(&'static dyn VerificationAlgorithm),
}

fn checks(algorithm: Algorithm) -> Option<Checks> {
    Some(match algorithm {
        Algorithm::RS256 => Checks::Rsa(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::RS384 => Checks::Rsa(&RSA_PKCS1_2048_8192_SHA384),
        Algorithm::RS512 => Checks::Rsa(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::PS256 => Checks::Rsa(&RSA_PSS_2048_8192_SHA256),
        Algorithm::PS384 => Checks::Rsa(&RSA_PSS_2048_8192_SHA384),
        Algorithm::PS512 => Checks::Rsa(&RSA_PSS_2048_8192_SHA512),
        Algorithm::ES256 => Checks::Other(&ECDSA_P256_SHA256_FIXED),
        Algorithm::ES384 => Checks::Other(&ECDSA_P384_SHA384_FIXED),
        Algorithm::EdDSA => Checks::Other(&ED25519),
        _ => return None,
    })
}

struct Ring {
    algorithm: Algorithm,
    checks: Checks,
    key: DecodingKey,
}

impl Verifier<Vec<u8>> for Ring {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> std::result::Result<(), Error> {
        let verified = match (&self.checks, self.key.kind()) {
            (Checks::Rsa(checks), DecodingKeyKind::RsaModulusExponent { n, e }) => {
                // Some issuers publish the modulus with a leading zero.
                let n = &n[n.iter().take_while(|byte| **byte == 0).count()..];
                RsaPublicKeyComponents { n, e: e.as_slice() }.verify(checks, message, signature)
            }
            (Checks::Other(checks), DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(*checks, key).verify(message, signature)
            }
            _ => return Err(Error::new()),
        };
        verified.map_err(|_| Error::new())
    }
}

impl JwtVerifier for Ring {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}
