"""The published interoperability cases against the same service in four places."""

import base64
import os
import pathlib
import re
import tempfile
import unittest

import grpc
import interop
from processes import PATIENCE, Gateway, Process, until

ENDPOINT = os.environ["QB_TEST_ENDPOINT"]
FAILURES = (AssertionError, grpc.RpcError, grpc.FutureTimeoutError)

COMPRESSED = {
    "client_compressed_unary": "compression is of one hop: flags do not cross the queue"
}
# What cannot pass at a target, and why. A case that passes has to leave the list.
EXPECTED_TO_FAIL = {"direct": {}, "loopback": COMPRESSED, "endpoint": COMPRESSED, "upstream": {}}


class Target:
    """A process with the service, which stays for all cases."""

    arguments = []

    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="qb-"))
        log = cls.dir / "interop.log"
        arguments = ["--listen", "127.0.0.1:0", *cls.arguments]
        cls.process = Process("interop", arguments, {}, log)
        cls.addClassCleanup(cls.process.kill)
        cls.address = cls.front(until(cls.listening, "the address"))
        # What it makes at an endpoint first is not part of a case's time.
        with interop.Client(cls.address) as client:
            client.connect(PATIENCE)

    @classmethod
    def listening(cls):
        found = re.search(r"interop listens on (\S+)\n", cls.process.log.read_text())
        return found and found[1]

    @classmethod
    def front(cls, service):
        """Where to call; the process has its gateway, if any."""
        return service

    @classmethod
    def tearDownClass(cls):
        code = cls.process.stop()
        if code != 0:
            raise AssertionError(f"ended with {code}: {cls.process.log.read_text()}")

    def judge(self, name):
        reason = EXPECTED_TO_FAIL[self.target].get(name)
        with interop.Client(self.address) as client:
            try:
                interop.CASES[name](client)
            except FAILURES:
                if reason is None:
                    raise
                return
        self.assertIsNone(reason, f"{name} passes: it is no longer expected to fail")


for name in interop.CASES:
    setattr(Target, f"test_{name}", lambda self, name=name: self.judge(name))


class Direct(Target, unittest.TestCase):
    target, arguments = "direct", ["--direct"]


class Loopback(Target, unittest.TestCase):
    target = "loopback"


class Endpoint(Target, unittest.TestCase):
    target, arguments = "endpoint", ["--endpoint", ENDPOINT]


class Upstream(Target, unittest.TestCase):
    """The service itself behind a gateway that has nothing but an upstream."""

    target, arguments = "upstream", ["--direct"]

    @classmethod
    def front(cls, service):
        key = lambda: "1:" + base64.b64encode(os.urandom(32)).decode()
        environment = {
            "AWS_ENDPOINT_URL": ENDPOINT,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "QB_ENVELOPE_KEYS": key(),
            "QB_AUTH": "none",
            "QB_JOB_ID_KEYS": key(),
            "QB_STORE_TABLE": "unused",
            "QB_ROUTES": f'[{{ methods = "*", upstream = "http://{service}" }}]',
        }
        gateway = Gateway(environment, cls.dir / "gateway.log")
        cls.addClassCleanup(gateway.kill)
        return gateway.address


if __name__ == "__main__":
    unittest.main()
