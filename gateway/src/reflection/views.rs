//! What callers are shown, once for all who reach the same: a view of many services is large.

use crate::descriptors::DescriptorRegistry;
use crate::descriptors::view::View;
use crate::identity::Identity;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// So many are kept. There are as many as there are combinations of grants.
const MOST: usize = 64;

/// The views of what is known now.
pub(super) struct Views {
    registry: Arc<DescriptorRegistry>,
    /// By which of the services are reached, in their order; all of one snapshot.
    kept: Mutex<HashMap<Vec<bool>, Arc<View>>>,
}

impl Views {
    pub(super) fn new(registry: Arc<DescriptorRegistry>) -> Self {
        Self { registry, kept: Mutex::default() }
    }

    /// What a caller is shown now.
    pub(super) fn of(&self, caller: &Identity) -> Arc<View> {
        let now = self.registry.current();
        let reached = now.declared().map(|service| caller.reaches(service.full_name())).collect();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, view| view.is_of(&now));
        if let Some(view) = kept.get(&reached) {
            return view.clone();
        }
        let view = Arc::new(View::new(now, |service| caller.reaches(service)));
        if kept.len() >= MOST {
            kept.clear();
        }
        kept.insert(reached, view.clone());
        view
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Grant, Rights, Verb};
    use crate::descriptors::tests::{registry, set};

    #[test]
    fn who_reaches_the_same_shares_a_view_of_what_is_known_now() {
        let registry = Arc::new(registry());
        for package in ["a", "b"] {
            registry.replace(package, &set(package)).unwrap();
        }
        let views = Views::new(registry.clone());
        let caller = |subject: &str, package: &str| {
            let grant = Grant {
                roles: vec!["role".to_owned()],
                methods: vec![format!("/{package}.Service/Call").parse().unwrap()],
                verbs: vec![Verb::Read],
            };
            Identity::new("shop", subject, Rights::of(&["role".to_owned()], &[grant]))
        };
        let one = views.of(&caller("one", "a"));
        assert!(Arc::ptr_eq(&one, &views.of(&caller("other", "a"))));
        let other = views.of(&caller("one", "b"));
        assert!(!Arc::ptr_eq(&one, &other));
        assert!(one.services().eq(["a.Service", "grpc.health.v1.Health"]));
        registry.replace("late", &set("d")).unwrap();
        let now = views.of(&caller("one", "a"));
        assert!(!Arc::ptr_eq(&one, &now));
        assert_eq!(Arc::strong_count(&one), 1, "what is no more is not kept");
        assert_eq!(views.kept.lock().unwrap().len(), 1);
    }
}
