//! Compiles the contract without an installed `protoc`.

use prost_types::{DescriptorProto, FileDescriptorSet};
use std::fmt::Write;

/// Types that every program may meet in a `google.protobuf.Any`, imported or not.
const KNOWN_TYPES: [&str; 14] = [
    "google/protobuf/any.proto",
    "google/protobuf/api.proto",
    "google/protobuf/descriptor.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/field_mask.proto",
    "google/protobuf/source_context.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/type.proto",
    "google/protobuf/wrappers.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=queuebridge");
    println!("cargo:rerun-if-changed=google");
    println!("cargo:rerun-if-changed=grpc");
    let files = protox::compile(
        [
            "queuebridge/v1/callback.proto",
            "queuebridge/v1/encryption.proto",
            "queuebridge/v1/executions.proto",
            "queuebridge/v1/jobs.proto",
            "queuebridge/v1/envelope.proto",
            "queuebridge/v1/gather.proto",
            "queuebridge/v1/record.proto",
            "queuebridge/v1/reply.proto",
            "queuebridge/v1/stream.proto",
        ],
        ["."],
    )?;
    // Apart, because not everyone who describes the contract describes this too.
    let health = protox::compile(["grpc/health/v1/health.proto"], ["."])?;
    let out = std::path::PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), prost::Message::encode_to_vec(&files))?;
    std::fs::write(out.join("health.bin"), prost::Message::encode_to_vec(&health))?;
    let all = FileDescriptorSet { file: [files.file.clone(), health.file.clone()].concat() };
    let known = protox::compile(KNOWN_TYPES, ["."])?;
    std::fs::write(out.join("known.bin"), prost::Message::encode_to_vec(&known))?;
    std::fs::write(out.join("shapes.rs"), shapes_of(&all))?;
    let config = || {
        let mut config = tonic_prost_build::Config::new();
        config.enable_type_names();
        config
    };
    let builder = || {
        let builder = tonic_prost_build::configure().bytes(".").build_transport(false);
        builder.codec_path("crate::codec::ProtoCodec")
    };
    builder().compile_fds_with_config(health, config())?;
    builder()
        // Most jobs have no branches, and need no room for them.
        .boxed(".queuebridge.v1.Outcome.gather")
        .boxed(".queuebridge.v1.Job.gather")
        .boxed(".queuebridge.v1.Call.membership")
        .boxed(".queuebridge.v1.Outcome.stream")
        .boxed(".queuebridge.v1.Outcome.encrypted")
        .boxed(".queuebridge.v1.Progress.encrypted")
        .boxed(".queuebridge.v1.Origin.membership")
        .boxed(".queuebridge.v1.Origin.encrypted")
        .boxed(".queuebridge.v1.StreamChunk.encrypted")
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .compile_fds_with_config(files, config())?;
    Ok(())
}

/// The source of a list of all messages, with their fields that are messages.
fn shapes_of(files: &FileDescriptorSet) -> String {
    let mut messages = Vec::new();
    for file in &files.file {
        file.message_type.iter().for_each(|it| collect(file.package(), it, &mut messages));
    }
    let place = |name: &str| {
        messages.iter().position(|(known, _)| Some(known.as_str()) == name.strip_prefix('.'))
    };
    let mut source = "static SHAPES: &[(&str, &[(u32, usize)])] = &[\n".to_owned();
    for (name, message) in &messages {
        let inner = message.field.iter().filter_map(|field| {
            Some((u32::try_from(field.number()).ok()?, place(field.type_name())?))
        });
        // Writing into a string cannot fail.
        let _ = writeln!(source, "({name:?}, &{:?}),", inner.collect::<Vec<_>>());
    }
    source + "];\n"
}

fn collect<'a>(
    scope: &str,
    message: &'a DescriptorProto,
    messages: &mut Vec<(String, &'a DescriptorProto)>,
) {
    let name = format!("{scope}.{}", message.name());
    message.nested_type.iter().for_each(|inner| collect(&name, inner, messages));
    messages.push((name, message));
}
