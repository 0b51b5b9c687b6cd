"""Everything that can be wrong is refused precisely, and nothing is half done."""

import subprocess

import grpc
from bridge import Bridge, key, reason, seconds
from google.protobuf import descriptor_pb2, timestamp_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from processes import BINARIES, until
from queuebridge.v1 import job_pb2, jobs_pb2

INVALID = ("INVALID_ARGUMENT", "INVALID_FIELD")


class Refusals(Bridge):
    def bad(self, field, code=INVALID[0], why=INVALID[1], method="Echo", **fields):
        self.refused(code, why, field, self.submit, method, **fields)

    def test_methods(self):
        for method in ["/", "/a", "/a.B", "a.B/C/", "/a.B/C/D", "/a b/C"]:
            self.bad("method", method=method if method.startswith("/") else "/" + method)

    def test_a_method_without_a_route(self):
        routes = f'[{{ methods = "/only.This/*", queue = "{self.queue}" }}]'
        jobs = self.connect(self.new_gateway(QB_ROUTES=routes))
        self.refused("NOT_FOUND", "NO_ROUTE", "method", self.submit, "Echo", jobs=jobs)

    def test_times(self):
        at = lambda s: timestamp_pb2.Timestamp(seconds=s)
        for value in [seconds(-1), seconds(0), seconds(10**9)]:
            self.bad("expire_after", expire_after=value)
            self.bad("result_retention", result_retention=value)
        for value in [at(-1), at(0), at(10**9), at(2**40)]:
            self.bad("expire_time", expire_time=value)
        for value in [seconds(-1), seconds(901)]:
            self.bad("delay", delay=value)
        self.bad("wait", wait=seconds(-5))

    def test_ordering_keys(self):
        self.bad("ordering_key", ordering_key="k")
        self.bad("ordering_key", method="/ordered.Service/M", ordering_key="a b")
        self.bad("delay", method="/ordered.Service/M", ordering_key="k", delay=seconds(1))

    def test_metadata(self):
        one = job_pb2.Metadatum
        for entry in [
            one(key="UPPER", ascii="v"),
            one(key="grpc-timeout", ascii="v"),
            one(key="a-bin", ascii="v"),
            one(key="a", binary=b"v"),
            one(key="a", ascii="\u00fc"),
            one(key="a"),
        ]:
            self.bad("metadata[0]", metadata=[entry])
        too_large = ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE")
        self.bad("metadata", *too_large, metadata=[one(key="a", ascii="v")] * 65)
        self.bad("metadata", *too_large, metadata=[one(key="a", ascii="v" * 9000)])

    def test_request_ids(self):
        for id in ["a b", "\u00fc", "x" * 129]:
            self.bad("request_id", request_id=id)

    def test_a_replay_of_what_is_no_job_here(self):
        id = self.submit("Echo").id
        forged = id[:40] + ("A" if id[40] != "A" else "B") + id[41:]
        for bad in [forged, id[:-1], "x", "\u00fc" * 71]:
            self.bad("retry_of", retry_of=bad)
        for environment in [{"QB_JOB_ID_KEYS": f"1:{key()}"}, {"QB_TENANT": "other"}]:
            jobs = self.connect(self.new_gateway(**environment))
            self.refused(*INVALID, "retry_of", self.submit, "Echo", jobs=jobs, retry_of=id)

    def test_a_payload_that_is_too_large_for_its_route_is_not_to_be_retried(self):
        routes = f'[{{ methods = "*", queue = "{self.queue}", max_request_bytes = 100 }}]'
        jobs = self.connect(self.new_gateway(QB_ROUTES=routes))
        request = jobs_pb2.SubmitRequest(method="/a.B/C", request=bytes(101))
        error = self.refused(
            "RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE", "request", jobs.Submit, request
        )
        self.assertIn(("grpc-retry-pushback-ms", "-1"), error.trailing_metadata())

    def test_a_message_that_is_too_large_for_the_gateway_is_not_to_be_retried(self):
        request = self.request("Echo")
        request.request = bytes(5 << 20)
        batch = jobs_pb2.SubmitBatchRequest(jobs=[request])
        for call, message in [(self.jobs.Submit, request), (self.jobs.SubmitBatch, batch)]:
            too_large = ("RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE", "request")
            error = self.refused(*too_large, call, message)
            self.assertIn(("grpc-retry-pushback-ms", "-1"), error.trailing_metadata())

    def test_an_empty_batch(self):
        batch = jobs_pb2.SubmitBatchRequest()
        self.refused(*INVALID, "jobs", self.jobs.SubmitBatch, batch)

    def test_what_would_take_hundreds_of_times_its_size(self):
        raw = grpc.insecure_channel(self.gateway.address).unary_unary(
            "/queuebridge.v1.Jobs/SubmitBatch"
        )
        many = b"\x0a\x00" * 100_000
        self.refused("INVALID_ARGUMENT", "MALFORMED_MESSAGE", "", raw, many)

    def test_text_that_is_not_utf8(self):
        channel = grpc.insecure_channel(self.gateway.address)
        raw = channel.unary_unary("/queuebridge.v1.Jobs/Submit")
        self.refused("INVALID_ARGUMENT", "MALFORMED_MESSAGE", "method", raw, b"\x0a\x02\xff\xfe")
        channel.close()

    def test_an_unknown_service_is_unimplemented(self):
        channel = grpc.insecure_channel(self.gateway.address)
        with self.assertRaises(grpc.RpcError) as raised:
            channel.unary_unary("/no.Such/Method")(b"")
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)
        channel.close()

    def test_forged_and_foreign_ids_cannot_be_told_apart(self):
        id = self.submit("Echo").id
        other = self.connect(self.new_gateway(QB_JOB_ID_KEYS=f"1:{key()}"))
        forged = id[:40] + ("A" if id[40] != "A" else "B") + id[41:]
        tenant = self.connect(self.new_gateway(QB_TENANT="other"))
        seen = set()
        for jobs, asked in [(self.jobs, forged), (other, id), (tenant, id)]:
            error = self.refused("NOT_FOUND", "JOB_NOT_FOUND", "", self.get, asked, jobs=jobs)
            told = {entry for entry in error.trailing_metadata() if entry.key != "date"}
            seen.add((error.details(), frozenset(told)))
            cancel = jobs_pb2.CancelRequest(id=asked)
            self.refused("NOT_FOUND", "JOB_NOT_FOUND", "", jobs.Cancel, cancel)
        self.assertEqual(len(seen), 1, seen)
        for bad in ["", "x", id + "A", id[:-1], "\u00fc" * 71]:
            self.refused("INVALID_ARGUMENT", "MALFORMED_JOB_ID", "id", self.get, bad)

    def test_keys_rotate_without_losing_a_job(self):
        new = f"2:{key()},{self.gateway_environment['QB_JOB_ID_KEYS']}"
        rotated = self.connect(self.new_gateway(QB_JOB_ID_KEYS=new))
        old = self.submit("Echo").id
        self.assertEqual(self.finished(old, rotated).state, job_pb2.STATE_SUCCEEDED)
        fresh = self.submit("Echo", jobs=rotated).id
        self.refused("NOT_FOUND", "JOB_NOT_FOUND", "", self.get, fresh)

    def test_a_job_that_keeps_no_state_cannot_be_cancelled(self):
        routes = f'[{{ methods = "*", queue = "{self.queue}", guarantee = "at_least_once" }}]'
        jobs = self.connect(self.new_gateway(QB_ROUTES=routes))
        job = self.submit("Echo", jobs=jobs, delay=seconds(1))
        cancel = jobs_pb2.CancelRequest(id=job.id)
        self.refused("FAILED_PRECONDITION", "NOT_CANCELLABLE", "", jobs.Cancel, cancel)
        self.assertEqual(self.finished(job.id, jobs).state, job_pb2.STATE_SUCCEEDED)

    def test_overload_is_refused_with_the_time_to_come_back(self):
        jobs = self.connect(self.new_gateway(QB_MAX_PENDING="1"))
        calls = [jobs.Submit.future(self.request("Echo")) for _ in range(200)]
        errors = [call.exception() for call in calls]
        refused = [error for error in errors if error]
        self.assertLess(len(refused), 200)
        self.assertGreater(len(refused), 0)
        for error in refused:
            self.assertEqual((error.code().name, reason(error)[0]), ("RESOURCE_EXHAUSTED", "OVERLOADED"))
            self.assertIn("grpc-retry-pushback-ms", dict(error.trailing_metadata()))

    def test_health_and_reflection(self):
        gateway = self.new_gateway()
        channel = grpc.insecure_channel(gateway.address)
        health = health_pb2_grpc.HealthStub(channel)
        for service in ["", "queuebridge.v1.Jobs"]:
            answer = health.Check(health_pb2.HealthCheckRequest(service=service))
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
        question = reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="queuebridge.v1.Jobs"
        )
        for version in ["v1", "v1alpha"]:
            method = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
            call = channel.stream_stream(
                method,
                reflection_pb2.ServerReflectionRequest.SerializeToString,
                reflection_pb2.ServerReflectionResponse.FromString,
            )
            answer = next(call(iter([question])))
            files = answer.file_descriptor_response.file_descriptor_proto
            names = [descriptor_pb2.FileDescriptorProto.FromString(f).name for f in files]
            self.assertIn("queuebridge/v1/jobs.proto", names)
        watch = health.Watch(health_pb2.HealthCheckRequest(service="queuebridge.v1.Jobs"))
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
        gateway.kill(15)
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.NOT_SERVING)
        watch.cancel()
        channel.close()
        self.assertEqual(gateway.process.wait(30), 0)

    def test_a_configuration_with_mistakes_names_all_of_them_and_no_secret(self):
        config = self.dir / "bad.toml"
        config.write_text(
            'lisen = "127.0.0.1:1"\nmax_pending = "many"\njob_id_keys = "1:c2VjcmV0"\n'
            '[[route]]\nmethods = "/x"\nqueue = "q"\nmax_atempts = 3\n'
        )
        run = subprocess.run(
            [BINARIES / "queuebridge", "check-config", "--config", config],
            capture_output=True,
            text=True,
            env={},
        )
        self.assertEqual(run.returncode, 2, run)
        for mistake in ["lisen", "max_pending", "job_id_keys", "methods", "max_atempts", "table"]:
            self.assertIn(mistake, run.stderr)
        self.assertNotIn("c2VjcmV0", run.stdout + run.stderr)

    def test_a_good_configuration_is_printed_without_its_secrets(self):
        environment = {**self.gateway_environment}
        run = subprocess.run(
            [BINARIES / "queuebridge", "check-config"],
            capture_output=True,
            text=True,
            env=environment,
        )
        self.assertEqual(run.returncode, 0, run)
        self.assertIn(environment["QB_STORE_TABLE"], run.stdout)
        for name in ["QB_JOB_ID_KEYS", "QB_ENVELOPE_KEYS"]:
            self.assertNotIn(environment[name].split(":")[1], run.stdout)

    def test_a_misspelt_variable_is_a_mistake(self):
        environment = {**self.gateway_environment, "QB_LISTN": "127.0.0.1:0"}
        run = subprocess.run(
            [BINARIES / "queuebridge", "serve"],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )
        self.assertEqual(run.returncode, 2, run)
        self.assertIn("QB_LISTN", run.stderr)

    def test_a_worker_with_mistakes_names_all_of_them_and_no_secret(self):
        environment = {"QB_ENVELOPE_KEYS": "1:c2hvcnQ=", "QB_WORKER_LEASE": "soon"}
        run = subprocess.run(
            [BINARIES / "queuebridge-demo"],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )
        self.assertNotEqual(run.returncode, 0)
        for name in [*environment, "QB_QUEUE_URL", "QB_STORE_TABLE"]:
            self.assertIn(name, run.stderr)
        self.assertNotIn("c2hvcnQ", run.stdout + run.stderr)

    def test_a_taken_port_is_a_clear_error(self):
        environment = {**self.gateway_environment, "QB_LISTEN": self.gateway.address}
        run = subprocess.run(
            [BINARIES / "queuebridge", "serve"], capture_output=True, text=True, env=environment
        )
        self.assertNotEqual(run.returncode, 0)
        self.assertIn(self.gateway.address, run.stderr)
        until(lambda: self.finished(self.submit("Echo").id), "the first one to go on")
