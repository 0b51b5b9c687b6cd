//! Compiles the interoperability service without an installed `protoc`.

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["grpc/testing/test.proto"], ["proto"])?;
    let descriptors = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("descriptors.bin");
    std::fs::write(&descriptors, prost::Message::encode_to_vec(&files))?;
    tonic_prost_build::configure().bytes(".").build_transport(false).compile_fds(files)?;
    Ok(())
}
