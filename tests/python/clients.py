"""Clients of Connect and gRPC-Web, which nobody here wrote, through what stands in front
of a function."""

import json
import subprocess

import node
from front import Front
from processes import PATIENCE

TRANSPORTS = ["grpc-web", "connect-proto", "connect-json", "connect-get"]


class Clients:
    """For test cases with a `function` and the `descriptors` of the demo services."""

    def through(self, kind):
        front = Front(kind, self.function.invoke)
        self.addCleanup(front.close)
        run = subprocess.run(
            [*node.command("doors.mjs"), front.url, self.descriptors],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
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
