//! Learning from servers that speak either version, and from bad ones.

use super::*;
use crate::descriptors::DescriptorRegistry;
use crate::descriptors::tests::{registry, set};
use crate::identity::Identity;
use crate::reflection;
use http::{Request, Response};
use prost::Message;
use prost_types::FileDescriptorSet;
use std::convert::Infallible;
use std::sync::Arc;
use tonic::service::Routes;
use tower::{Service, service_fn};

fn learned(set: &[u8]) -> Vec<String> {
    let registry = DescriptorRegistry::default();
    registry.replace("it", set).unwrap();
    registry.current().services().iter().cloned().collect()
}

/// A server with tonic's own reflection.
fn tonics(alpha: bool) -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(queuebridge_proto::FILE_DESCRIPTOR_SET)
    };
    if alpha {
        Routes::new(builder().build_v1alpha().unwrap()).prepare()
    } else {
        Routes::new(builder().build_v1().unwrap()).prepare()
    }
}

#[tokio::test]
async fn both_versions_tell_all_services_with_their_imports() {
    for alpha in [false, true] {
        let set = learn(tonics(alpha), Bounds::default()).await.unwrap();
        let services = learned(&set);
        assert!(services.contains(&"queuebridge.v1.Jobs".to_owned()), "{services:?}");
        assert!(services.contains(&"google.longrunning.Operations".to_owned()), "{services:?}");
        assert!(!services.iter().any(|name| name.contains("reflection")), "{services:?}");
    }
}

#[tokio::test]
async fn a_gateway_can_learn_from_another() {
    let source = Arc::new(registry());
    source.replace("one", &set("a")).unwrap();
    let (v1, alpha) = reflection::services(&source);
    for routes in [Routes::new(v1), Routes::new(alpha)] {
        let mut routes = routes.prepare();
        // As the gateway does when it knows who calls.
        let server = service_fn(move |mut request: Request<Body>| {
            request.extensions_mut().insert(Identity::trusted("t"));
            Service::call(&mut routes, request)
        });
        let set = learn(server, Bounds::default()).await.unwrap();
        assert_eq!(learned(&set), ["a.Service", "grpc.health.v1.Health"]);
    }
}

#[tokio::test]
async fn an_import_that_a_server_does_not_have_costs_what_needs_it() {
    let mut files = FileDescriptorSet::decode(&set("a")[..]).unwrap();
    let file = &mut files.file[0];
    file.dependency = ["gone.proto", "google/protobuf/empty.proto"].map(str::to_owned).into();
    for (name, input) in [("Other", ".gone.Message"), ("Third", ".google.protobuf.Empty")] {
        let mut service = file.service[0].clone();
        service.name = Some(name.to_owned());
        service.method[0].input_type = Some(input.to_owned());
        file.service.push(service);
    }
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(&files.encode_to_vec())
        .build_v1();
    let set = learn(Routes::new(reflection.unwrap()).prepare(), Bounds::default()).await.unwrap();
    assert_eq!(learned(&set), ["a.Service", "a.Third"]);
}

#[tokio::test]
async fn what_is_too_large_or_not_told_is_an_error() {
    let bounds = Bounds { bytes: 20_000, ..Bounds::default() };
    let error = learn(tonics(false), bounds).await.unwrap_err();
    assert!(matches!(error, LearnError::Large(20_000) | LearnError::Refused { .. }), "{error}");
    let error = learn(Routes::default().prepare(), Bounds::default()).await.unwrap_err();
    let LearnError::Refused { status, .. } = error else { panic!("{error}") };
    assert_eq!(status.code(), Code::Unimplemented);
}

fn silent() -> impl Service<
    Request<Body>,
    Response = Response<Body>,
    Error = Infallible,
    Future = std::future::Pending<Result<Response<Body>, Infallible>>,
> + Clone {
    service_fn(|_| std::future::pending())
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_nothing_is_left() {
    let error = learn(silent(), Bounds::default()).await.unwrap_err();
    assert!(matches!(error, LearnError::Late(_)), "{error}");
}
