//! Authentication: from the credentials of a call to the identity of its caller.

pub mod api_keys;
mod cache;
mod certificates;
mod credential;
mod jwt;
pub(crate) mod refusal;
mod rights;

pub use api_keys::ApiKeys;
pub use credential::strip;
pub(crate) use jwt::{WAY_OUT, algorithm, missing};
pub(crate) use refusal::Refused;
pub use rights::{Grant, Rights, Verb};

use crate::audit::Strangers;
use crate::config::{AuthConfig, CallersConfig};
use crate::identity::Identity;
use crate::listener::Peer;
use credential::Credential;
use http::Request;
use jwt::Issuers;
use queuebridge_proto::error::reason;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tonic::Status;

/// Says who calls. Cheap to clone.
#[derive(Clone)]
pub struct Authenticator(Kind);

#[derive(Clone)]
enum Kind {
    /// Everybody is let in, as this one.
    Open(Identity),
    Callers(Arc<Callers>),
}

/// Those who are let in.
struct Callers {
    config: CallersConfig,
    api_keys: Option<ApiKeys>,
    issuers: Issuers,
    /// Who was not let in.
    strangers: Strangers,
}

/// Who calls, or what has to be waited for to find out.
pub(crate) enum Known {
    /// There is nothing to wait for.
    Now(Result<Identity, Status>),
    /// A token that was not seen lately.
    Later(Token),
}

/// A token whose signature is to be checked.
pub(crate) struct Token {
    text: String,
    from: Origin,
}

/// From where a call came.
#[derive(Clone, Copy)]
struct Origin {
    address: Option<IpAddr>,
    /// Whether its refusal is noted.
    noted: bool,
}

/// Why an authenticator cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// The file of API keys.
    #[error("{path}: {problem}", path = path.display())]
    ApiKeys {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The system's certificates, which the servers of JWKS are checked with.
    #[error("the system's root certificates cannot be used: {0}")]
    Roots(String),
}

impl Authenticator {
    /// Lets everybody in, as `tenant`.
    #[must_use]
    pub fn open(tenant: &str) -> Self {
        Self(Kind::Open(Identity::trusted(tenant)))
    }

    /// As the configuration says; `tenant` is that of everybody where nobody is asked.
    ///
    /// # Errors
    /// See [`AuthError`].
    pub fn new(config: &AuthConfig, tenant: &str) -> Result<Self, AuthError> {
        let config = match config {
            AuthConfig::None => return Ok(Self::open(tenant)),
            AuthConfig::Callers(config) => config.clone(),
        };
        let api_keys = match &config.api_keys {
            Some(path) => Some(ApiKeys::load(path, &config.grants)?),
            None => None,
        };
        let issuers = Issuers::new(&config.jwt, &config.grants)?;
        let callers = Callers { config, api_keys, issuers, strangers: Strangers::default() };
        Ok(Self(Kind::Callers(Arc::new(callers))))
    }

    /// Whether everybody is let in.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.0, Kind::Open(_))
    }

    /// Who calls.
    ///
    /// # Errors
    /// `UNAUTHENTICATED` and `PERMISSION_DENIED` for those who are not let in, and
    /// `UNAVAILABLE` when nobody can know.
    pub fn identify<B>(
        &self,
        request: &Request<B>,
    ) -> impl Future<Output = Result<Identity, Status>> + Send + use<'_, B> {
        self.when_known(self.known(request))
    }

    /// Who calls what is answered to everybody, if that can be said. Nobody is refused, so that
    /// nothing is noted in the audit log.
    pub(crate) fn recognize<B>(
        &self,
        request: &Request<B>,
    ) -> impl Future<Output = Option<Identity>> + Send + use<'_, B> {
        let known = self.when_known(self.recognized(request));
        async move { known.await.ok() }
    }

    async fn when_known(&self, known: Known) -> Result<Identity, Status> {
        match known {
            Known::Now(known) => known,
            Known::Later(token) => self.of_token(token).await,
        }
    }

    /// Who calls, if that can be said at once.
    pub(crate) fn known<B>(&self, request: &Request<B>) -> Known {
        self.ask(request, true)
    }

    /// As [`Self::recognize`], if that can be said at once.
    pub(crate) fn recognized<B>(&self, request: &Request<B>) -> Known {
        self.ask(request, false)
    }

    fn ask<B>(&self, request: &Request<B>, noted: bool) -> Known {
        let callers = match &self.0 {
            Kind::Open(identity) => return Known::Now(Ok(identity.clone())),
            Kind::Callers(callers) => callers,
        };
        let address = request.extensions().get::<Peer>().map(|peer| peer.address.ip());
        let from = Origin { address, noted };
        let known = match Credential::of(request.headers()) {
            Ok(Some(Credential::ApiKey(key))) => callers.of_key(key),
            Ok(Some(Credential::Token(token))) => match callers.issuers.seen(token) {
                Some(identity) => Ok(identity),
                None => return Known::Later(Token { text: token.to_owned(), from }),
            },
            Ok(None) => callers.of_connection(request),
            Err(refused) => Err(refused),
        };
        Known::Now(callers.or_refused(known, from))
    }

    /// The caller who has a token.
    pub(crate) async fn of_token(&self, token: Token) -> Result<Identity, Status> {
        match &self.0 {
            Kind::Open(identity) => Ok(identity.clone()),
            Kind::Callers(callers) => {
                let known = callers.issuers.identify(&token.text).await;
                callers.or_refused(known, token.from)
            }
        }
    }

    /// Reads the API keys again; the old ones stay if the file is wrong.
    pub(crate) fn reload(&self) {
        let Kind::Callers(callers) = &self.0 else { return };
        if let Some(keys) = &callers.api_keys {
            keys.reload();
        }
    }
}

impl Callers {
    /// Notes a refusal in the audit log. Where nobody can say who calls, nobody is refused.
    fn or_refused(
        &self,
        known: Result<Identity, Refused>,
        from: Origin,
    ) -> Result<Identity, Status> {
        known.map_err(|refused| {
            if from.noted && refused.reason != reason::AUTH_UNAVAILABLE {
                self.strangers.refused(&refused, from.address);
            }
            refused.status
        })
    }

    fn of_key(&self, key: &str) -> Result<Identity, Refused> {
        match &self.api_keys {
            Some(keys) => keys.identify(key),
            None => Err(refusal::invalid("neither a token nor an API key that is known")),
        }
    }

    /// The caller that the connection's certificate names.
    fn of_connection<B>(&self, request: &Request<B>) -> Result<Identity, Refused> {
        certificates::identify(request.extensions(), &self.config.certificates, &self.config.grants)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_is_served_as_everybody_is_was_not_refused() {
        let config = AuthConfig::Callers(CallersConfig::default());
        let auth = Authenticator::new(&config, "t").unwrap();
        let Kind::Callers(callers) = &auth.0 else { panic!("open") };
        for header in [None, Some("Bearer no.good.token")] {
            let mut request = Request::builder();
            if let Some(value) = header {
                request = request.header("authorization", value);
            }
            let request = request.body(()).unwrap();
            assert!(auth.recognize(&request).await.is_none());
            assert!(!callers.strangers.have_come());
        }
        assert!(auth.identify(&Request::new(())).await.is_err());
        assert!(callers.strangers.have_come());
    }
}
