"""The AWS Lambda Runtime Interface Emulator, as a PyPI package ships it."""

import glob
import json
import platform
import socket
import stat
import subprocess
import sys
import urllib.request
import zipfile

import stubs
from processes import Process, until

PACKAGE, VERSION = "aws-sam-cli", "1.170.0"
MACHINE = {"x86_64": "x86_64", "aarch64": "arm64"}[platform.machine()]


def program():
    """Its path; downloaded on first use, without the package's dependencies."""
    home = stubs.ROOT / "target" / f"lambda-rie-{VERSION}"
    path = home / "aws-lambda-rie"
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", home]
        subprocess.run([*pip, f"{PACKAGE}=={VERSION}"], check=True)
        with zipfile.ZipFile(glob.glob(f"{home}/*.whl")[0]) as wheel:
            content = wheel.read(f"samcli/local/rapid/aws-lambda-rie-{MACHINE}")
        part = home / "part"
        part.write_bytes(content)
        part.chmod(part.stat().st_mode | stat.S_IXUSR)
        part.rename(path)
    return path


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
        super().__init__(program(), arguments, environment, log)
        until(self.listens, "the runtime emulator")

    def listens(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def invoke(self, event):
        url = f"http://127.0.0.1:{self.port}/2015-03-31/functions/function/invocations"
        request = urllib.request.Request(url, data=json.dumps(event).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())
