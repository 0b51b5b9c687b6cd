"""Clients that nobody here wrote, at the gateway's port: of Connect, gRPC-Web and
reflection, and what a browser asks before its page may call."""

import base64
import gzip
import http.client
import itertools
import json
import shutil
import signal
import socket
import subprocess
import unittest

import http2
import node
import stubs
import grpc
from bridge import Bridge, health_checked
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from processes import PATIENCE, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import jobs_pb2, jobs_pb2_grpc
from test_server import Server

PAGE = "https://shop.example.com"
PROBE = "queuebridge.demo.v1.Probe"


class Protocols(Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.own = node.descriptors(cls.dir / "own.bin", stubs.ROOT / "proto")
        cls.demo = node.descriptors(cls.dir / "demo.bin")
        cls.file = cls.dir / "routed.bin"
        shutil.copy(cls.demo, cls.file)
        cls.web = cls.new_gateway(
            QB_CORS_ALLOW_ORIGINS=f"{PAGE},http://localhost:3000",
            QB_DESCRIPTORS_FILES=str(cls.file),
        )
        cls.server = Server({}, cls.dir / "server.log")
        cls.addClassCleanup(cls.server.kill)

    def other(self):
        """Descriptors of another service."""
        folder = self.dir / "other"
        folder.mkdir()
        text = "message M {} service Other { rpc Call(M) returns (M); }"
        (folder / "other.proto").write_text(f'syntax = "proto3"; package other.v1; {text}')
        return node.descriptors(self.dir / "other.bin", folder)

    def services(self):
        """What reflection lists, in a channel of its own."""
        with grpc.insecure_channel(self.web.address) as channel:
            return set(ProtoReflectionDescriptorDatabase(channel).get_services())

    def ask(self, method, headers, body=None):
        connection = http.client.HTTPConnection(self.web.address, timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.request(method, "/queuebridge.v1.Jobs/GetResult", body, headers)
        return connection.getresponse()

    def test_clients_that_ask_for_the_health_of_a_routed_service_call_it(self):
        route = f'[{{ methods = "/{PROBE}/*", queue = "{self.queue}" }}]'
        gateway = self.new_gateway(QB_ROUTES=route, QB_DESCRIPTORS_FILES=str(self.demo))
        with health_checked(gateway.address, PROBE) as channel:
            get = jobs_pb2_grpc.JobsStub(channel).GetResult
            with self.assertRaises(grpc.RpcError) as raised:
                get(jobs_pb2.GetResultRequest(id="none"), timeout=PATIENCE, wait_for_ready=True)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        with grpc.insecure_channel(gateway.address) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            own = {f"queuebridge.v1.{name}" for name in ["Jobs", "Executions"]}
            own.add("google.longrunning.Operations")
            listed = health.List(health_pb2.HealthListRequest()).statuses
            self.assertEqual(set(listed), {"", PROBE} | own)
            for service in listed:
                told = health.Check(health_pb2.HealthCheckRequest(service=service))
                self.assertEqual(told.status, health_pb2.HealthCheckResponse.SERVING, service)
            other = health_pb2.HealthCheckRequest(service="other.Service")
            with self.assertRaises(grpc.RpcError) as raised:
                health.Check(other)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)
            unknown = health.Watch(other, timeout=PATIENCE)
            self.assertEqual(next(unknown).status, health_pb2.HealthCheckResponse.SERVICE_UNKNOWN)
            known = health.Watch(health_pb2.HealthCheckRequest(service=PROBE), timeout=PATIENCE)
            self.assertEqual(next(known).status, health_pb2.HealthCheckResponse.SERVING)
            self.assertTrue(unknown.is_active())
            gateway.process.send_signal(signal.SIGTERM)
            self.assertEqual(next(known).status, health_pb2.HealthCheckResponse.NOT_SERVING)
            known.cancel()
            unknown.cancel()

    def test_clients_of_connect_and_grpc_web_submit_and_watch(self):
        arguments = [*node.command("jobs.mjs"), f"http://{self.web.address}", self.own]
        run = subprocess.run(arguments, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual(run.returncode, 0, run.stderr)
        said = [json.loads(line) for line in run.stdout.splitlines()]
        self.assertEqual(len(said), 4)
        for line in said:
            with self.subTest(line["transport"]):
                self.assertEqual(line["state"], 3)
                self.assertEqual(line["answer"], "hello")
                self.assertEqual(line["watched"][-1], 3)
                details = ["google.rpc.ErrorInfo", "google.rpc.BadRequest"]
                self.assertEqual(line["error"], {"code": 3, "details": details})

    def test_all_members_of_a_compressed_message_are_its_text(self):
        echo = probe_pb2.EchoRequest(payload=b"hello").SerializeToString()
        cut = echo[:3]
        two = gzip.compress(b"") + gzip.compress(cut) + gzip.compress(echo[3:])
        whole = http2.message(probe_pb2.EchoResponse(payload=b"hello").SerializeToString())
        for address in [self.web.address, self.server.address]:
            for sent, answer in [(two, whole), (two + b"more", b""), (two[:-3], b"")]:
                connection = http2.Connection(address)
                self.addCleanup(connection.close)
                body = http2.message(sent, flag=1)
                found = connection.answer(f"/{PROBE}/Echo", body, grpc_encoding="gzip")
                self.assertEqual(found, answer)

    def test_every_service_takes_compressed_messages(self):
        with grpc.insecure_channel(self.web.address, compression=grpc.Compression.Gzip) as channel:
            jobs = jobs_pb2_grpc.JobsStub(channel)
            method = f"/{PROBE}/Echo"
            request = probe_pb2.EchoRequest(payload=b"x" * 100_000).SerializeToString()
            job = jobs.Submit(jobs_pb2.SubmitRequest(method=method, request=request))
            batch = jobs.SubmitBatch(
                jobs_pb2.SubmitBatchRequest(
                    jobs=[jobs_pb2.SubmitRequest(method=method, request=request)]
                )
            )
            self.assertTrue(batch.results[0].job.id)
            self.assertEqual(jobs.GetResult(jobs_pb2.GetResultRequest(id=job.id)).id, job.id)
            health = health_pb2_grpc.HealthStub(channel)
            status = health.Check(health_pb2.HealthCheckRequest(service="")).status
            self.assertEqual(status, health_pb2.HealthCheckResponse.SERVING)
            self.assertIn(PROBE, ProtoReflectionDescriptorDatabase(channel).get_services())

    def test_a_refusal_is_seen_by_whoever_is_still_sending(self):
        """RFC 9112, 9.6: an end with unread bytes resets what was answered."""
        large = {"Content-Type": "text/plain"}
        for address in [self.web.address, self.server.address]:
            for method, status in [("POST", 415), ("PUT", 405), ("DELETE", 405)]:
                for _ in range(7):
                    connection = http.client.HTTPConnection(address, timeout=PATIENCE)
                    connection.request(method, f"/{PROBE}/Echo", b"x" * 8_000_000, large)
                    answer = connection.getresponse()
                    self.assertEqual((answer.status, answer.headers["Connection"]), (status, "close"))
                    connection.close()

    def test_what_is_little_of_a_refused_request_costs_no_connection(self):
        for address in [self.web.address, self.server.address]:
            connection = http.client.HTTPConnection(address, timeout=PATIENCE)
            self.addCleanup(connection.close)
            connection.connect()
            kept = connection.sock
            for size in [100_000, 256 * 1024, 1]:
                for body in [b"x" * size, iter([b"x" * (size // 2), b"x"])]:
                    connection.request("PUT", "/healthz", body, {"Content-Type": "text/plain"})
                    answer = connection.getresponse()
                    answer.read()
                    self.assertEqual((answer.status, answer.headers["Allow"]), (405, "POST"))
                    self.assertIs(connection.sock, kept)
            connection.request("GET", "/healthz")
            self.assertEqual(connection.getresponse().read(), b"ok\n")

    def test_whoever_asks_before_it_sends_hears_that_it_should_not(self):
        for address in [self.web.address, self.server.address]:
            host, port = address.rsplit(":", 1)
            with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
                head = f"PUT /{PROBE}/Echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000"
                connection.sendall(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode())
                told = b"".join(iter(lambda: connection.recv(4096), b""))
            self.assertTrue(told.startswith(b"HTTP/1.1 405 "), told)
            self.assertIn(b"connection: close", told.lower())

    def test_an_open_request_is_refused_at_once(self):
        """Over HTTP/2, whose streams have two directions."""
        for address in [self.web.address, self.server.address]:
            for content_type, more in [
                ("application/connect+thrift", {}),
                ("application/connect+proto", {"connect-content-encoding": "br"}),
                ("application/proto", {"content-encoding": "br"}),
                ("application/thrift", {}),
                ("application/grpc", {"grpc-encoding": "br"}),
                ("application/grpc+json", {}),
                ("application/grpc-web+json", {}),
                ("application/grpc-web", {"grpc-encoding": "br"}),
            ]:
                with self.subTest(content_type, address=address, **more):
                    connection = http2.Connection(address)
                    self.addCleanup(connection.close)
                    head = http2.call(f"/{PROBE}/Echo", content_type=content_type, **more)
                    connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, head))
                    connection.answered(1)

    def test_a_browser_is_told_what_its_page_may_do(self):
        asked = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "content-type,x-grpc-web,x-mine",
        }
        answer = self.ask("OPTIONS", asked)
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], PAGE)
        self.assertIn("x-mine", answer.headers["Access-Control-Allow-Headers"])
        self.assertIn("origin", answer.headers["Vary"])
        other = self.ask("OPTIONS", {**asked, "Origin": "https://other.example.com"})
        self.assertEqual(other.status, 403)
        self.assertNotIn("Access-Control-Allow-Origin", other.headers)
        headers = {"Origin": PAGE, "Content-Type": "application/json"}
        answer = self.ask("POST", headers, b'{"id": "x"}')
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.headers["Access-Control-Allow-Origin"], PAGE)
        self.assertIn("grpc-status", answer.headers["Access-Control-Expose-Headers"])

    def test_reflection_describes_what_lives_behind_the_queue(self):
        self.assertIn(PROBE, self.services())
        with grpc.insecure_channel(self.web.address) as channel:
            database = ProtoReflectionDescriptorDatabase(channel)
            service = descriptor_pool.DescriptorPool(database).FindServiceByName(PROBE)
            self.assertIn("Echo", service.methods_by_name)

    def by_json(self, path, value, **headers):
        connection = http.client.HTTPConnection(self.web.address, timeout=PATIENCE)
        self.addCleanup(connection.close)
        headers = {"Content-Type": "application/json", **headers}
        connection.request("POST", path, json.dumps(value), headers)
        answer = connection.getresponse()
        self.assertEqual(answer.status, 200, answer.headers)
        return json.loads(answer.read())

    def test_results_and_operations_are_shown_by_json(self):
        def job(method, request):
            request = base64.b64encode(request.SerializeToString()).decode()
            return {"method": f"/{PROBE}/{method}", "request": request}

        good = job("Echo", probe_pb2.EchoRequest(payload=b"hello"))
        bad = job("Fail", probe_pb2.FailRequest(code=5, message="gone", reason="GONE"))
        submitted = self.by_json("/queuebridge.v1.Jobs/Submit", {**bad, "wait": "20s"})
        info = submitted["error"]["details"][0]
        self.assertEqual(info["@type"], "type.googleapis.com/google.rpc.ErrorInfo")
        self.assertEqual(info["reason"], "GONE")
        batch = self.by_json("/queuebridge.v1.Jobs/SubmitBatch", {"jobs": [good, bad]})
        ids = [result["job"]["id"] for result in batch["results"]]
        for id in ids:
            self.finished(id)
        one, other = (
            self.by_json("/queuebridge.v1.Jobs/GetResult", {"id": id}) for id in ids
        )
        self.assertEqual(one["state"], "STATE_SUCCEEDED")
        self.assertEqual(other["error"]["details"], [info])
        operations = "/google.longrunning.Operations"
        for call in ["GetOperation", "WaitOperation"]:
            one, other = (
                self.by_json(f"{operations}/{call}", {"name": f"operations/{id}"}) for id in ids
            )
            self.assertEqual(one["response"]["payload"], "aGVsbG8=")
            self.assertEqual(other["error"]["details"][0]["reason"], "GONE")

    def test_equal_json_is_an_equal_request(self):
        folder = self.dir / "maps"
        folder.mkdir()
        text = "message M { map<string, string> map = 1; } service S { rpc Call(M) returns (M); }"
        (folder / "maps.proto").write_text(f'syntax = "proto3"; package maps; {text}')
        route = f'[{{ methods = "*", queue = "{self.queue}", modes = ["async"] }}]'
        file = node.descriptors(self.dir / "maps.bin", folder)
        gateway = self.new_gateway(QB_ROUTES=route, QB_DESCRIPTORS_FILES=str(file))
        headers = {
            "Content-Type": "application/json",
            "qb-mode": "async",
            "qb-request-id": "the-same",
        }
        jobs = set()
        for keys in itertools.permutations("abcd"):
            connection = http.client.HTTPConnection(gateway.address, timeout=PATIENCE)
            self.addCleanup(connection.close)
            body = json.dumps({"map": {key: "value" for key in keys}})
            connection.request("POST", "/maps.S/Call", body, headers)
            answer = connection.getresponse()
            jobs.add((answer.status, answer.headers["qb-job-id"]))
        [(status, job)] = jobs
        self.assertEqual(status, 200)
        self.assertIsNotNone(job)

    def test_reflection_describes_the_details_of_errors(self):
        for address in [self.web.address, self.server.address]:
            with grpc.insecure_channel(address) as channel:
                database = ProtoReflectionDescriptorDatabase(channel)
                pool = descriptor_pool.DescriptorPool(database)
                for name in ["ErrorInfo", "BadRequest", "RetryInfo", "Status"]:
                    found = pool.FindMessageTypeByName(f"google.rpc.{name}")
                    self.assertIn("google/rpc/", found.file.name)

    def test_descriptors_that_cannot_be_read_cost_what_needs_them(self):
        good = descriptor_pb2.FileDescriptorSet.FromString(self.demo.read_bytes())
        bad = good.file.add(name="bad.proto", package="bad", syntax="proto4")
        bad.message_type.add(name="M")
        bad.service.add(name="S")
        uses = good.file.add(name="uses.proto", package="uses", dependency=["bad.proto"])
        method = uses.service.add(name="S").method.add(name="Call")
        method.input_type = method.output_type = ".bad.M"
        file = self.dir / "partly.bin"
        file.write_bytes(good.SerializeToString())
        gateway = self.new_gateway(QB_DESCRIPTORS_FILES=str(file))
        with grpc.insecure_channel(gateway.address) as channel:
            services = ProtoReflectionDescriptorDatabase(channel).get_services()
        self.assertIn(PROBE, services)
        self.assertNotIn("uses.S", services)
        log = gateway.log.read_text()
        for text in ["partly.bin", "file bad.proto is left out", "proto4", "service uses.S is"]:
            self.assertIn(text, log)

    def test_at_a_hangup_the_descriptors_are_read_again(self):
        def logged(text):
            return until(lambda: text in self.web.log.read_text(), text)

        self.file.write_bytes(b"broken")
        self.web.kill(signal.SIGHUP)
        logged("descriptors are broken")
        self.assertIn(PROBE, self.services())
        shutil.copy(self.other(), self.file)
        self.web.kill(signal.SIGHUP)
        until(lambda: PROBE not in self.services(), "the new descriptors")
        self.assertIn("other.v1.Other", self.services())
        shutil.copy(self.demo, self.file)
        self.web.kill(signal.SIGHUP)
        until(lambda: PROBE in self.services(), "the old descriptors")


if __name__ == "__main__":
    unittest.main()
