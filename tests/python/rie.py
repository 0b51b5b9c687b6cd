"""The AWS Lambda Runtime Interface Emulator, as the package aws-sam-cli ships it."""

import importlib.resources
import json
import platform
import socket
import urllib.request

from processes import Process, until

MACHINE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]


PROGRAM = importlib.resources.files("samcli") / f"local/rapid/aws-lambda-rie-{MACHINE}"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
        environment = {**environment, "AWS_LAMBDA_FUNCTION_TIMEOUT": "30"}
        super().__init__(PROGRAM, arguments, environment, log)
        until(self.listens, "the runtime emulator")

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def invoke(self, event):
        url = f"http://127.0.0.1:{self.port}/2015-03-31/functions/function/invocations"
        request = urllib.request.Request(url, data=json.dumps(event).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
