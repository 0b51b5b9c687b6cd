//! Routes: which queue, topic or upstream takes which methods.

use crate::config::RouteConfig;
use crate::publish::batcher::Batcher;
use crate::publish::{Limits, Publisher};
use crate::upstream::Upstream;
use std::sync::Arc;

/// One route: what the configuration says, and the way to its destination.
pub struct Route {
    /// What the configuration says about these methods.
    pub config: RouteConfig,
    /// The batcher of its queue or topic; or those of its branches, in their order.
    pub batchers: Vec<Batcher>,
    /// The service that is called directly, if there is one.
    pub upstream: Option<Upstream>,
}

impl Route {
    /// Whether jobs can go anywhere.
    #[must_use]
    pub fn has_queue(&self) -> bool {
        !self.batchers.is_empty()
    }

    /// What a call may hold in whichever queue it goes to.
    #[must_use]
    pub fn limits(&self) -> Limits {
        let all = self.batchers.iter().map(Batcher::limits);
        // A route without any has no jobs.
        all.min_by_key(|limits| limits.message_bytes).unwrap_or(Limits::NONE)
    }
}

/// All routes, the most specific pattern first.
#[derive(Clone, Default)]
pub struct Routes(Vec<Arc<Route>>);

impl Routes {
    /// Routes over the given publishers. Routes that share a destination should
    /// share the batcher; see [`Routes::push`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route whose destination nobody shares.
    #[must_use]
    pub fn with(mut self, config: RouteConfig, publisher: Arc<dyn Publisher>) -> Self {
        self.push(config, vec![Batcher::new(publisher)], None);
        self
    }

    /// Adds a route with the batcher of its queue or topic, or those of its branches,
    /// and with its upstream.
    pub fn push(
        &mut self,
        config: RouteConfig,
        batchers: Vec<Batcher>,
        upstream: Option<Upstream>,
    ) {
        self.0.push(Arc::new(Route { config, batchers, upstream }));
        self.0.sort_by_key(|route| std::cmp::Reverse(route.config.methods.specificity()));
    }

    /// The route that takes `method`: an exact pattern before a service's, and
    /// that before `*`.
    #[must_use]
    pub fn find(&self, method: &str) -> Option<&Arc<Route>> {
        self.0.iter().find(|route| route.config.methods.matches(method))
    }

    /// The configured routes.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.0.iter()
    }
}
