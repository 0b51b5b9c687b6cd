//! Sources that come and go, and collide.

use super::*;
use futures_util::stream;
use prost::Message;
use prost_types::{
    DescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto,
};
use std::path::PathBuf;

/// A set with one service `Service/Call`, in a file of the name that everybody uses.
pub(crate) fn set(package: &str) -> Vec<u8> {
    let name = |name: &str| Some(name.to_owned());
    let of = || name(&format!(".{package}.Message"));
    let call = MethodDescriptorProto {
        name: name("Call"),
        input_type: of(),
        output_type: of(),
        ..Default::default()
    };
    let service =
        ServiceDescriptorProto { name: name("Service"), method: vec![call], options: None };
    let file = FileDescriptorProto {
        name: name("api.proto"),
        package: name(package),
        message_type: vec![DescriptorProto { name: name("Message"), ..Default::default() }],
        service: vec![service],
        syntax: name("proto3"),
        ..Default::default()
    };
    FileDescriptorSet { file: vec![file] }.encode_to_vec()
}

/// A registry with the gateway's own services, of which all packages but `c` are
/// routed.
pub(crate) fn registry() -> DescriptorRegistry {
    let registry = DescriptorRegistry::default();
    let routed: Routed = Arc::new(|method| !method.starts_with("/c."));
    registry.open(&[queuebridge_proto::HEALTH_FILE_DESCRIPTOR_SET], routed).unwrap();
    registry
}

fn services(registry: &DescriptorRegistry) -> Vec<String> {
    registry.current().services().iter().cloned().collect()
}

#[test]
fn sources_are_exchanged_as_a_whole_and_a_broken_one_changes_nothing() {
    let registry = registry();
    registry.replace_files(vec![pool([&set("f")[..]]).unwrap()]);
    registry.replace("one", &set("a")).unwrap();
    registry.replace("two", &set("b")).unwrap();
    let before = registry.current();
    assert_eq!(
        services(&registry),
        ["a.Service", "b.Service", "f.Service", "grpc.health.v1.Health"]
    );
    registry.replace("one", b"no set").unwrap_err();
    assert_eq!(services(&registry).len(), 4);
    registry.replace("one", &set("d")).unwrap();
    registry.forget("two");
    registry.replace_files(vec![]);
    assert_eq!(services(&registry), ["d.Service", "grpc.health.v1.Health"]);
    assert!(registry.descriptors().response_type("d.Service/Call").is_some());
    // Whoever had the old ones still has them.
    assert!(before.descriptors.response_type("a.Service/Call").is_some());
}

#[test]
fn what_no_route_takes_is_not_listed() {
    let registry = registry();
    registry.replace("one", &set("c")).unwrap();
    assert_eq!(services(&registry), ["grpc.health.v1.Health"]);
}

#[test]
fn files_of_one_name_stay_apart() {
    let registry = registry();
    registry.replace("one", &set("a")).unwrap();
    registry.replace("two", &set("b")).unwrap();
    let known = view::View::new(registry.current(), |_| true);
    let file = |bytes: &[u8]| FileDescriptorProto::decode(bytes).unwrap();
    for package in ["a", "b"] {
        let (place, found) = known.declaring(&format!("{package}.Service.Call")).unwrap();
        assert_eq!(file(&found).package(), package);
        assert_eq!(file(&known.file("api.proto", place).unwrap()).package(), package);
    }
}

#[tokio::test]
async fn files_are_read_again_at_a_signal_unless_one_is_broken() {
    let dir = std::env::temp_dir().join(format!("queuebridge-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&dir).unwrap();
    let paths: Vec<PathBuf> = ["a", "b"].map(|name| dir.join(name)).into();
    std::fs::write(&paths[0], set("a")).unwrap();
    std::fs::write(&paths[1], set("b")).unwrap();
    let registry = Arc::new(registry());
    registry.replace_files(files::load(&paths).unwrap());
    let signal = || files::keep(registry.clone(), paths.clone(), stream::iter([()]));

    std::fs::write(&paths[0], set("d")).unwrap();
    std::fs::write(&paths[1], b"broken").unwrap();
    signal().await;
    assert_eq!(services(&registry), ["a.Service", "b.Service", "grpc.health.v1.Health"]);

    std::fs::write(&paths[1], set("e")).unwrap();
    signal().await;
    assert_eq!(services(&registry), ["d.Service", "e.Service", "grpc.health.v1.Health"]);

    std::fs::remove_file(&paths[0]).unwrap();
    std::fs::write(&paths[1], b"").unwrap();
    let mistakes = files::load(&paths).unwrap_err();
    assert_eq!(mistakes.iter().map(|m| m.index).collect::<Vec<_>>(), [0, 1]);
    std::fs::remove_dir_all(&dir).unwrap();
}
