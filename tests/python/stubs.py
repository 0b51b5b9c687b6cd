"""The stubs of the project's protos, generated on first use into the target directory."""

import fcntl
import hashlib
import pathlib
import sys

import grpc

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = [
    (
        ROOT / "proto",
        [
            f"queuebridge/v1/{name}.proto"
            for name in [
                "callback",
                "encryption",
                "envelope",
                "executions",
                "gather",
                "job",
                "jobs",
                "record",
                "reply",
            ]
        ],
    ),
    (
        ROOT / "worker/demo/proto",
        ["queuebridge/demo/v1/images.proto", "queuebridge/demo/v1/probe.proto"],
    ),
    (
        ROOT / "tests/interop/proto",
        [f"grpc/testing/{name}.proto" for name in ["empty", "messages", "test"]]
        + ["routeguide/route_guide.proto"],
    ),
]


def generate():
    """Generates the stubs unless they are there, and makes them importable."""
    texts = [(base / name).read_bytes() for base, names in SOURCES for name in names]
    version = hashlib.sha256(b"".join(texts)).hexdigest()[:16]
    out = ROOT / "target" / f"stubs-{version}"
    out.mkdir(parents=True, exist_ok=True)
    # Test classes that start together wait for the first one.
    lock = open(out / "lock", "w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    if not (out / "complete").exists():
        import importlib.resources

        from grpc_tools import protoc

        well_known = importlib.resources.files("grpc_tools") / "_proto"
        for base, names in SOURCES:
            arguments = ["protoc", f"-I{base}", f"-I{well_known}"]
            arguments += [f"--python_out={out}", f"--grpc_python_out={out}", *names]
            if protoc.main(arguments) != 0:
                raise SystemExit("the stubs could not be generated")
        (out / "complete").touch()
    lock.close()
    sys.path.insert(0, str(out))
    # The published package `grpc.testing` would lie in the installed `grpc`.
    grpc.__path__.append(str(out / "grpc"))


generate()
