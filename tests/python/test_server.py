"""The worker binary as a plain gRPC server, and as server and loop in one process."""

import signal
import threading
import urllib.request

import grpc
from bridge import Bridge, health_checked, rpc_status, seconds
from grpc_health.v1 import health_pb2, health_pb2_grpc
from processes import PATIENCE, Process, until
from queuebridge.demo.v1 import probe_pb2, probe_pb2_grpc
from queuebridge.v1 import job_pb2


PROBE = "queuebridge.demo.v1.Probe"


class Server(Process):
    def __init__(self, environment, log):
        listen = {"QB_LISTEN": "127.0.0.1:0"}
        super().__init__("queuebridge-demo", [], {**environment, **listen}, log)
        self.address = until(lambda: self.logged("listening"), "the server")["address"]
        self.channel = grpc.insecure_channel(self.address)
        self.probe = probe_pb2_grpc.ProbeStub(self.channel)


class Alone(Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server = Server({}, cls.dir / "server.log")
        cls.addClassCleanup(cls.server.kill)
        cls.probe = cls.server.probe

    def test_every_kind_of_streaming(self):
        request = probe_pb2.CountRequest(up_to=1000)
        self.assertEqual([n.number for n in self.probe.Count(request)], list(range(1, 1001)))
        numbers = (probe_pb2.SumRequest(number=n) for n in range(100))
        self.assertEqual(self.probe.Sum(numbers).sum, 4950)
        heard = threading.Semaphore(0)

        def said():
            for number in range(3):
                yield probe_pb2.ChatRequest(payload=bytes([number]))
                # Full duplex: the next only after the answer to this one.
                self.assertTrue(heard.acquire(timeout=PATIENCE))

        for number, answer in enumerate(self.probe.Chat(said())):
            self.assertEqual((answer.number, answer.payload), (number + 1, bytes([number])))
            heard.release()

    def test_metadata_trailers_statuses_and_deadlines(self):
        request = probe_pb2.EchoRequest(payload=b"x")
        answer, call = self.probe.Echo.with_call(request, metadata=[("x-key", "value")])
        self.assertEqual(answer.payload, b"x")
        self.assertIn(("x-key", "value"), call.initial_metadata())
        self.assertIn(("probe-trailer-bin", bytes([0, 255])), call.trailing_metadata())
        with self.assertRaises(grpc.RpcError) as raised:
            self.probe.Fail(probe_pb2.FailRequest(code=9, message="not now", reason="CLOSED"))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
        self.assertEqual(len(rpc_status.from_call(raised.exception).details), 1)
        with self.assertRaises(grpc.RpcError) as raised:
            self.probe.Sleep(probe_pb2.SleepRequest(duration=seconds(30)), timeout=0.2)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)

    def test_a_panic_hurts_only_its_own_call_and_shows_no_text(self):
        with self.assertRaises(grpc.RpcError) as raised:
            self.probe.Panic(probe_pb2.PanicRequest(message="secret"))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INTERNAL)
        self.assertNotIn("secret", raised.exception.details())
        self.assertEqual(self.probe.Echo(probe_pb2.EchoRequest(payload=b"y")).payload, b"y")

    def test_outside_of_a_job_there_is_no_context_and_wishes_are_statuses(self):
        key = self.id()
        snooze = probe_pb2.NextRequest.WISH_SNOOZE
        request = probe_pb2.NextRequest(key=key, times=1, wish=snooze, after=seconds(5))
        with self.assertRaises(grpc.RpcError) as raised:
            self.probe.Next(request)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertIn(("grpc-retry-pushback-ms", "5000"), raised.exception.trailing_metadata())
        self.assertEqual(self.probe.Next(request).attempt, 0)

    def test_health(self):
        health = health_pb2_grpc.HealthStub(self.server.channel)
        for service in ["", "queuebridge.demo.v1.Probe", "queuebridge.demo.v1.Images"]:
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
        listed = health.List(health_pb2.HealthListRequest()).statuses
        self.assertLessEqual({"", PROBE, "queuebridge.demo.v1.Images"}, set(listed))
        with self.assertRaises(grpc.RpcError) as raised:
            health.Check(health_pb2.HealthCheckRequest(service="a.Other"))
        self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="a.Other"))
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
        self.assertTrue(watch.is_active())
        watch.cancel()
        with health_checked(self.server.address, PROBE) as channel:
            probe = probe_pb2_grpc.ProbeStub(channel)
            echo = probe.Echo(probe_pb2.EchoRequest(payload=b"x"), timeout=PATIENCE, wait_for_ready=True)
            self.assertEqual(echo.payload, b"x")
        with urllib.request.urlopen(f"http://{self.server.address}/healthz") as answer:
            self.assertEqual(answer.status, 200)


class Both(Bridge):
    def test_one_process_polls_and_serves_and_drains_both(self):
        self.worker.stop(signal.SIGKILL)
        environment = {**self.worker_environment, "QB_WORKER_DRAIN_TIMEOUT": "300s"}
        server = Server(environment, self.dir / "both.log")
        self.addCleanup(server.kill)
        self.assertEqual(server.probe.Echo(probe_pb2.EchoRequest(payload=b"x")).payload, b"x")
        job = self.submit("Append", self.append("both", then_wait=10))
        until(lambda: self.executions("both") == 1, "the start")
        call = server.probe.Append.future(self.append("served", then_wait=10))
        until(lambda: self.executions("served") == 1, "the call")
        self.assertEqual(server.stop(), 0)
        self.assertEqual(call.result(), probe_pb2.AppendResponse())
        self.assertEqual(self.get(job.id).state, job_pb2.STATE_SUCCEEDED)
