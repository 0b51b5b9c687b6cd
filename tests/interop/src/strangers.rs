//! Services that were not written for a bridge: health and reflection as tonic has them,
//! the route guide of gRPC's tutorial, and an echo of whatever else is called.

mod echo;
mod features;
mod route_guide;

use route_guide::Guide;
use routeguide::route_guide_server::RouteGuideServer;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_reflection::server::Builder;

/// The generated messages, clients and server traits of `routeguide`.
#[allow(missing_docs, unreachable_pub, clippy::all)]
pub mod routeguide {
    tonic::include_proto!("routeguide");
}

/// The serialized `FileDescriptorSet` of the route guide.
pub const ROUTE_GUIDE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/route_guide.bin"));

/// All of them.
#[must_use]
pub async fn routes() -> Routes {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status("routeguide.RouteGuide", ServingStatus::Serving).await;
    reporter.set_service_status("routeguide.Closed", ServingStatus::NotServing).await;
    let mut routes = Routes::new(RouteGuideServer::new(Guide::default())).add_service(health);
    let known = || Builder::configure().register_encoded_file_descriptor_set(ROUTE_GUIDE);
    // Its own descriptors are good, as everyone who runs this sees at once.
    if let (Ok(now), Ok(before)) = (known().build_v1(), known().build_v1alpha()) {
        routes = routes.add_service(now).add_service(before);
    }
    Routes::from(routes.into_axum_router().fallback_service(tower::service_fn(echo::anything)))
}
