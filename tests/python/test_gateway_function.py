"""The gateway as a Lambda function under AWS's emulator of the runtime: its real binary, a
queue, and a worker behind it."""

import json
import urllib.request

import node
from bridge import PROBE, Bridge
from clients import Clients
from front import Front
from processes import BINARIES, PATIENCE, until
from rie import Function


class GatewayFunction(Clients, Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.descriptors = node.descriptors(cls.dir / "demo.bin")
        environment = {**cls.gateway_environment, "QB_DESCRIPTORS_FILES": str(cls.descriptors)}
        cls.function = Function(BINARIES / "queuebridge", environment, cls.dir / "function.log")
        cls.addClassCleanup(cls.function.kill)

    def test_stubs_call_the_service_through_a_load_balancer(self):
        self.through("alb")

    def test_stubs_call_the_service_through_a_load_balancer_with_lists_of_values(self):
        self.through("alb-multi")

    def test_stubs_call_the_service_through_an_http_api(self):
        self.through("http-api")

    def test_a_job_of_the_function_is_a_job_of_every_gateway(self):
        front = Front("http-api", self.function.invoke)
        self.addCleanup(front.close)

        def ask(rpc, **fields):
            request = urllib.request.Request(
                f"{front.url}/queuebridge.v1.Jobs/{rpc}",
                data=json.dumps(fields).encode(),
                headers={"content-type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.loads(answer.read())

        job = ask("Submit", method=PROBE + "Echo", request="CgJoaQ==")
        done = lambda: ask("GetResult", id=job["id"], wait="20s")["state"] == "STATE_SUCCEEDED"
        until(done, "the answer")
        # By native gRPC, at the gateway that listens on a port.
        self.assertEqual(self.get(job["id"]).id, job["id"])
