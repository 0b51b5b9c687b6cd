//! The services that the gateway answers health checks for: its own, and those behind its
//! routes.

use crate::config::{MethodPattern, UpstreamTakes};
use crate::descriptors::DescriptorRegistry;
use crate::identity::Identity;
use crate::native::OWN;
use crate::route::{Route, Routes};
use crate::upstream::Upstream;
use crate::upstream::health::UpstreamHealth;
use http::Extensions;
use queuebridge_proto::MethodName;
use queuebridge_web::health::{Followed, Statuses};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

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
        let direct = direct(&self.routes, service)?;
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

/// Where all calls of a service go directly, if they go to one upstream; `None` when no
/// route takes the service.
fn direct<'a>(routes: &'a Routes, service: &str) -> Option<Option<&'a Upstream>> {
    let mut is_whole = false;
    let mut taking = routes
        .iter()
        .filter(|route| route.config.methods.is_of(service))
        // What follows a pattern of the whole service takes none of its calls.
        .take_while(|route| {
            !std::mem::replace(
                &mut is_whole,
                !matches!(route.config.methods, MethodPattern::Exact(_)),
            )
        });
    let target = |route: &Route| {
        let upstream = route.config.upstream.as_ref();
        upstream.filter(|it| it.takes == UpstreamTakes::All).map(|it| it.target.clone())
    };
    let first = taking.next()?;
    let all = target(first).filter(|one| taking.all(|route| target(route).as_ref() == Some(one)));
    Some(first.upstream.as_ref().filter(|_| all.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Destination, RouteConfig, UpstreamConfig, UpstreamTarget};
    use crate::upstream::CircuitBreaker;
    use crate::upstream::grpc::GrpcServer;

    /// Routes of these patterns, each to the upstream at a URL or to a queue.
    fn routes(all: &[(&str, Option<&str>)]) -> Routes {
        let mut routes = Routes::new();
        for (pattern, url) in all {
            let queue = Destination::Queue("https://sqs/q".to_owned());
            let mut config = RouteConfig::new(pattern.parse().unwrap(), queue);
            let upstream = url.map(|url| {
                let url = url.parse().unwrap();
                let server = GrpcServer::new(&url, 1, CircuitBreaker::default()).unwrap();
                let (connections, trust) = (1, Default::default());
                config.upstream = Some(UpstreamConfig {
                    target: UpstreamTarget::Grpc { url, connections, trust },
                    takes: UpstreamTakes::All,
                });
                Upstream::Grpc(Arc::new(server))
            });
            routes.push(config, Vec::new(), upstream);
        }
        routes
    }

    #[test]
    fn a_service_has_the_status_of_an_upstream_that_takes_all_its_calls() {
        let (one, other) = (Some("http://one:1"), Some("http://other:1"));
        for (all, expected) in [
            (vec![("/a.S/*", one)], Some(true)),
            (vec![("/a.S/M", one), ("/a.S/N", one)], Some(true)),
            (vec![("/a.S/M", one), ("/a.S/*", one), ("*", None)], Some(true)),
            (vec![("/a.S/M", one), ("/a.S/*", None)], Some(false)),
            (vec![("/a.S/M", None), ("/a.S/*", one)], Some(false)),
            (vec![("/a.S/M", one), ("*", None)], Some(false)),
            (vec![("/a.S/M", one), ("/a.S/*", other)], Some(false)),
            (vec![("/a.Sx/*", one), ("/b.S/*", one)], None),
        ] {
            let routes = routes(&all);
            assert_eq!(direct(&routes, "a.S").map(|it| it.is_some()), expected, "{all:?}");
        }
    }
}
