"""The published interoperability cases against the same service in three places."""

import os
import pathlib
import re
import tempfile
import unittest

import grpc
import interop
from processes import PATIENCE, Process, until

ENDPOINT = os.environ["QB_TEST_ENDPOINT"]
FAILURES = (AssertionError, grpc.RpcError, grpc.FutureTimeoutError)

# These need no method that anybody answers.
ALREADY = {"unimplemented_method", "unimplemented_service"}
NOT_YET = dict.fromkeys(interop.CASES.keys() - ALREADY, "raw calls are not there yet")
# What cannot pass at a target, and why. A case that passes has to leave the list.
EXPECTED_TO_FAIL = {"direct": {}, "loopback": NOT_YET, "endpoint": NOT_YET}


class Target:
    """A process with the service, which stays for all cases."""

    arguments = []

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.TemporaryDirectory(prefix="qb-")
        cls.addClassCleanup(cls.dir.cleanup)
        log = pathlib.Path(cls.dir.name, "interop.log")
        cls.process = Process("interop", ["--listen", "127.0.0.1:0", *cls.arguments], {}, log)
        cls.addClassCleanup(cls.process.kill)
        cls.address = until(cls.listening, "the address")
        # What it makes at an endpoint first is not part of a case's time.
        with interop.Client(cls.address) as client:
            client.connect(PATIENCE)

    @classmethod
    def listening(cls):
        found = re.search(r"interop listens on (\S+)\n", cls.process.log.read_text())
        return found and found[1]

    @classmethod
    def tearDownClass(cls):
        code = cls.process.stop()
        if code != 0:
            raise AssertionError(f"ended with {code}: {cls.process.log.read_text()}")

    def judge(self, name):
        expected = EXPECTED_TO_FAIL[self.target]
        if expected is NOT_YET and name == "cancel_after_begin":
            self.skipTest("the gateway's UNIMPLEMENTED may come before the cancel")
        reason = expected.get(name)
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


if __name__ == "__main__":
    unittest.main()
