//! Compiles the services without an installed `protoc`.

use std::path::PathBuf;

/// The files, and where their descriptors go.
const SERVICES: [(&str, &str); 2] = [
    ("grpc/testing/test.proto", "descriptors.bin"),
    ("routeguide/route_guide.proto", "route_guide.bin"),
];

#[expect(clippy::disallowed_methods, reason = "cargo tells a build script where to write")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    for (source, descriptors) in SERVICES {
        let files = protox::compile([source], ["proto"])?;
        std::fs::write(out.join(descriptors), prost::Message::encode_to_vec(&files))?;
        tonic_prost_build::configure().bytes(".").build_transport(false).compile_fds(files)?;
    }
    Ok(())
}
