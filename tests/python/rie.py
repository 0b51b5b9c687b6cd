"""The AWS Lambda Runtime Interface Emulator, as the package aws-sam-cli ships it."""

import fcntl
import importlib.resources
import json
import platform
import random
import socket
import urllib.request

import stubs
from processes import PATIENCE, Process, until

MACHINE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]


PROGRAM = importlib.resources.files("samcli") / f"local/rapid/aws-lambda-rie-{MACHINE}"


# Below the ports that the system hands out by itself.
PORTS = range(20_000, 30_000)
LOCKS = []


def free_port():
    """A port that no other class takes, for as long as this process lives."""
    folder = stubs.ROOT / "target/ports"
    folder.mkdir(parents=True, exist_ok=True)
    for port in random.sample(PORTS, len(PORTS)):
        lock = open(folder / str(port), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        LOCKS.append(lock)
        return port
    raise AssertionError("no port is free")


class Function(Process):
    """A bootstrap under the emulator."""

    def __init__(self, bootstrap, environment, log):
        self.port = free_port()
        arguments = [
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{self.port}",
            "--runtime-api-address",
            f"127.0.0.1:{free_port()}",
            str(bootstrap),
        ]
        environment = {**environment, "AWS_LAMBDA_FUNCTION_TIMEOUT": "300"}
        super().__init__(PROGRAM, arguments, environment, log)
        until(self.listens, "the runtime emulator")

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def invoke(self, event):
        url = f"http://127.0.0.1:{self.port}/2015-03-31/functions/function/invocations"
        request = urllib.request.Request(url, data=json.dumps(event).encode())
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return json.loads(answer.read())
