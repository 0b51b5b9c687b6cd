//! The services that the gateway answers health checks for: its own, and those behind its
//! routes.

use crate::config::UpstreamTakes;
use crate::descriptors::DescriptorRegistry;
use crate::identity::Identity;
use crate::route::Routes;
use crate::upstream::health::UpstreamHealth;
use http::Extensions;
use queuebridge_proto::MethodName;
use queuebridge_web::health::{Followed, Statuses};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// The gateway's own services.
const OWN: [&str; 3] = [
    queuebridge_proto::JOBS_SERVICE,
    queuebridge_proto::OPERATIONS_SERVICE,
    queuebridge_proto::EXECUTIONS_SERVICE,
];

/// What the gateway knows of them. A service is known when a route takes it: with a route
/// for `*` that is every one.
pub(crate) struct GatewayStatuses {
    pub(crate) serving: watch::Receiver<bool>,
    pub(crate) routes: Routes,
    pub(crate) descriptors: Arc<DescriptorRegistry>,
    pub(crate) upstreams: UpstreamHealth,
}

impl Statuses for GatewayStatuses {
    /// A routed service has the gateway's status; where all its calls go to a server
    /// directly, it has that of the server too.
    fn find(&self, service: &str) -> Option<Followed> {
        let gateway = Followed::server(self.serving.clone());
        if service.is_empty() || OWN.contains(&service) {
            return Some(gateway);
        }
        MethodName::parse(&format!("/{service}/Method")).ok()?;
        let mut routes = self.routes.iter().filter(|route| route.config.methods.is_of(service));
        let first = routes.next()?;
        let direct = first.upstream.as_ref().filter(|_| {
            let upstream = first.config.upstream.as_ref();
            upstream.is_some_and(|upstream| upstream.takes == UpstreamTakes::All)
        });
        let behind = direct.and_then(|upstream| self.upstreams.follow(upstream, service));
        Some(match behind {
            Some(status) => gateway.behind(status),
            None => gateway,
        })
    }

    /// What is described and routed, or named by a route, as far as the caller's grants
    /// reach.
    fn names(&self, caller: &Extensions) -> Vec<String> {
        let named = self.routes.iter().filter_map(|route| {
            let pattern = route.config.methods.to_string();
            let (service, _) = pattern.strip_prefix('/')?.rsplit_once('/')?;
            Some(service.to_owned())
        });
        let described = self.descriptors.current();
        let described = described.services().iter().cloned();
        let routed =
            |service: &String| self.routes.iter().any(|route| route.config.methods.is_of(service));
        let reached = |service: &String| {
            caller.get::<Identity>().is_some_and(|caller| caller.reaches(service))
        };
        let behind = named.chain(described.filter(routed)).filter(reached);
        let own = OWN.iter().map(|name| (*name).to_owned());
        let all: BTreeSet<String> =
            std::iter::once(String::new()).chain(own).chain(behind).collect();
        all.into_iter().collect()
    }
}
