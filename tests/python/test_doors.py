"""Clients that nobody here wrote, through the HTTP doors of a Lambda function."""

import json
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import node
import stubs
from front import Front
from processes import BINARIES
from rie import Function

TRANSPORTS = ["grpc-web", "connect-proto", "connect-json", "connect-get"]


class Doors(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="qb-"))
        cls.addClassCleanup(shutil.rmtree, cls.dir, True)
        cls.descriptors = node.descriptors(cls.dir / "descriptors.bin")
        bootstrap = cls.dir / "bootstrap"
        shutil.copy(BINARIES / "queuebridge-demo", bootstrap)
        cls.function = Function(bootstrap, {}, cls.dir / "lambda.log")
        cls.addClassCleanup(cls.function.kill)

    def through(self, kind):
        front = Front(kind, self.function.invoke)
        self.addCleanup(front.close)
        program, home = node.installed()
        script = home / "doors.mjs"
        shutil.copy(stubs.ROOT / "tests/python/doors.mjs", script)
        run = subprocess.run(
            [program, script, front.url, self.descriptors],
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        said = [json.loads(line) for line in run.stdout.splitlines()]
        results = {(line.pop("transport"), line.pop("call")): line for line in said}
        for transport in TRANSPORTS:
            with self.subTest(transport):
                self.check(transport, results)
        return front

    def check(self, transport, results):
        echo = {"payload": "hello", "header": "value", "trailer": "done", "binary": "AP8"}
        self.assertEqual(results[transport, "echo"], echo)
        fail = {"code": 9, "message": "not now ✓", "details": ["google.rpc.ErrorInfo"]}
        self.assertEqual(results[transport, "fail"], fail)
        self.assertEqual(results[transport, "sleep"]["code"], 4)
        self.assertEqual(results[transport, "count"], {"numbers": [1, 2, 3, 4, 5]})

    def test_through_a_load_balancer(self):
        self.assertIn("GET", self.through("alb").methods)

    def test_through_a_load_balancer_with_lists_of_values(self):
        self.assertIn("GET", self.through("alb-multi").methods)

    def test_through_an_http_api(self):
        self.assertIn("GET", self.through("http-api").methods)
