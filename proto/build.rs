//! Compiles the contract without an installed `protoc`.

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=queuebridge");
    println!("cargo:rerun-if-changed=google");
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
    let descriptors = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(&descriptors, prost::Message::encode_to_vec(&files))?;
    tonic_prost_build::configure()
        .bytes(".")
        .build_transport(false)
        .codec_path("crate::codec::ProtoCodec")
        // Most jobs have no branches, and need no room for them.
        .boxed(".queuebridge.v1.Outcome.gather")
        .boxed(".queuebridge.v1.Job.gather")
        .boxed(".queuebridge.v1.Call.membership")
        .boxed(".queuebridge.v1.Outcome.stream")
        .boxed(".queuebridge.v1.Outcome.encrypted")
        .boxed(".queuebridge.v1.Progress.encrypted")
        .boxed(".queuebridge.v1.StreamChunk.encrypted")
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .compile_fds(files)?;
    Ok(())
}
