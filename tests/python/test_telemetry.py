"""What a worker says about its work: traces, metrics, logs."""

import json
import os
import pathlib
import socket
import tempfile

from authority import Authority
from bridge import PROBE, Bridge
from collector import CONSUMER, JSON, PROTOBUF, Collector, GrpcCollector, attributes
from processes import until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2


class Caller:
    """A caller's span: what it sends, and what continues it."""

    def __init__(self, sampled=True):
        self.trace, self.span = os.urandom(16).hex(), os.urandom(8).hex()
        self.traceparent = f"00-{self.trace}-{self.span}-{'01' if sampled else '00'}"
        self.metadata = [("traceparent", self.traceparent), ("tracestate", "shop=1")]


class Telemetry(Bridge):
    @classmethod
    def setUpClass(cls):
        cls.collector = Collector()
        cls.addClassCleanup(cls.collector.close)
        super().setUpClass()

    # Whether this test has replaced the worker.
    replaced = False

    @classmethod
    def new_worker(cls, **environment):
        standard = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": cls.collector.endpoint,
            "OTEL_SERVICE_NAME": "probe",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "QB_METRICS": "emf",
        }
        return super().new_worker(**{**standard, **environment})

    def run_job(self, method, request, caller=None):
        """The finished job."""
        submission = self.request(method, request)
        metadata = caller.metadata if caller else None
        return self.finished(self.jobs.Submit(submission, metadata=metadata).id)

    def replace_worker(self, **environment):
        """Another worker, in place of the one that runs; for this test only."""

        def put(**environment):
            self.worker.stop()
            type(self).worker = self.new_worker(**environment)

        if not self.replaced:
            self.replaced = True
            self.addCleanup(put)
        put(**environment)
        return self.worker

    def lines(self, worker=None):
        """The JSON lines that a worker has written."""
        whole, _, _ = (worker or self.worker).log.read_text().rpartition("\n")
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    # Traces

    def test_one_trace_leads_from_the_caller_into_the_handler(self):
        caller = Caller()
        job = self.run_job("Echo", probe_pb2.EchoRequest(payload=b"x"), caller)
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)
        [span] = until(lambda: self.collector.of(caller.trace), "the message's span")
        [batch] = until(lambda: self.collector.linking_to(caller.trace), "the batch's span")
        queue = self.queue.rsplit("/", 1)[1]
        self.assertEqual((span.name, span.kind), (f"process {queue}", CONSUMER))
        self.assertEqual((batch.name, batch.kind), (f"process {queue}", CONSUMER))
        self.assertEqual(span.parent_span_id.hex(), caller.span)
        self.assertEqual(span.trace_state, "shop=1")
        links = [(link.trace_id.hex(), link.span_id.hex()) for link in span.links]
        of_batch = (batch.trace_id.hex(), batch.span_id.hex())
        self.assertEqual(links, [(caller.trace, caller.span), of_batch])
        self.assertEqual(batch.parent_span_id, b"")
        common = {
            "messaging.system": "aws_sqs",
            "messaging.destination.name": queue,
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
        }
        said = attributes(span)
        message_id = said.pop("messaging.message.id")
        self.assertLessEqual(
            {
                **common,
                "rpc.system.name": "grpc",
                "rpc.method": PROBE.removeprefix("/") + "Echo",
                "rpc.response.status_code": "OK",
                "queuebridge.job.id": job.id,
                "queuebridge.job.attempt": 1,
            }.items(),
            said.items(),
        )
        self.assertLessEqual(common.items(), attributes(batch).items())
        self.assertGreaterEqual(attributes(batch)["messaging.batch.message_count"], 1)
        linked = {link.span_id.hex(): attributes(link) for link in batch.links}
        self.assertEqual(linked[caller.span], {"messaging.message.id": message_id})
        # The handler is told the message's span, to continue it.
        metadata = {entry.key: entry.ascii for entry in job.initial_metadata}
        expected = f"00-{caller.trace}-{span.span_id.hex()}-01"
        self.assertEqual(metadata["traceparent"], expected)
        self.assertEqual(self.collector.errors, [])
        self.assertEqual({resource["service.name"] for resource in self.collector.resources}, {"probe"})

    def complaints(self, worker):
        lines = self.lines(worker)
        return [line["fields"] for line in lines if line.get("level") in ("WARN", "ERROR")]

    def exported(self, collector, **environment):
        """What a worker with this environment has told the collector: how, and who it is."""
        self.addCleanup(collector.close)
        common = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint}
        worker = self.replace_worker(**{**common, **environment})
        caller = Caller()
        job = self.run_job("Echo", probe_pb2.EchoRequest(), caller)
        [span] = until(lambda: collector.of(caller.trace), f"a span by {environment}")
        self.assertEqual(span.parent_span_id.hex(), caller.span)
        self.assertEqual(attributes(span)["queuebridge.job.id"], job.id)
        self.assertEqual(collector.errors, [])
        self.assertEqual(worker.stop(), 0)
        self.assertEqual(self.complaints(worker), [])
        return collector.exports[0], collector.resources[0]

    def test_each_protocol_is_spoken_plain_and_compressed(self):
        for new, protocol, kind, encoding in [
            (Collector, "http/protobuf", PROTOBUF, "content-encoding"),
            (Collector, "http/json", JSON, "content-encoding"),
            (GrpcCollector, "grpc", None, "grpc-encoding"),
        ]:
            for compression in ["none", "gzip"]:
                with self.subTest(protocol=protocol, compression=compression):
                    headers, resource = self.exported(
                        new(),
                        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
                        OTEL_EXPORTER_OTLP_COMPRESSION=compression,
                        OTEL_EXPORTER_OTLP_HEADERS="api-key=a%2Cb",
                        OTEL_RESOURCE_ATTRIBUTES="team=red%2Cblue",
                    )
                    self.assertEqual(headers["api-key"], "a,b")
                    self.assertEqual(headers.get("content-type"), kind)
                    said = (resource["service.name"], resource["team"])
                    self.assertEqual(said, ("probe", "red,blue"))
                    if new is Collector:
                        self.assertEqual(headers.get(encoding) == "gzip", compression == "gzip")

    def test_a_collector_is_checked_by_the_certificate_that_is_given(self):
        with tempfile.TemporaryDirectory() as folder:
            authority = Authority(pathlib.Path(folder), "collectors")
            for new, protocol in [(Collector, "http/protobuf"), (GrpcCollector, "grpc")]:
                with self.subTest(protocol=protocol):
                    self.exported(
                        new(authority.server()),
                        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
                        OTEL_EXPORTER_OTLP_CERTIFICATE=str(authority.file),
                    )

    def test_what_is_not_honoured_is_named_at_the_start(self):
        worker = self.replace_worker(
            OTEL_EXPORTER_OTLP_PROTOCOL="udp",
            OTEL_EXPORTER_OTLP_COMPRESSION="zstd",
            OTEL_EXPORTER_OTLP_CERTIFICATE="/no/such/file.pem",
            OTEL_TRACES_EXPORTER="console",
            OTEL_PROPAGATORS="b3",
        )
        job = self.run_job("Echo", probe_pb2.EchoRequest(), Caller())
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)
        said = [line["message"] + line.get("error", "") for line in self.complaints(worker)]
        for setting in [
            "OTEL_EXPORTER_OTLP_PROTOCOL=udp",
            "OTEL_EXPORTER_OTLP_COMPRESSION=zstd",
            "OTEL_EXPORTER_OTLP_CERTIFICATE: /no/such/file.pem",
            "OTEL_TRACES_EXPORTER=console",
            "OTEL_PROPAGATORS=b3",
        ]:
            self.assertEqual(len([line for line in said if setting in line]), 1, said)

    def test_an_invalid_traceparent_counts_as_absent(self):
        valid = Caller().traceparent
        for invalid in ["nonsense", "ff" + valid[2:], valid + "-more", valid.upper()]:
            submission = self.request("Echo", probe_pb2.EchoRequest())
            submission.metadata.add(key="traceparent", ascii=invalid)
            submission.metadata.add(key="tracestate", ascii="shop=1")
            named = [("traceparent", invalid), ("tracestate", "shop=1")]
            job = self.finished(self.jobs.Submit(submission, metadata=named).id)
            told = {entry.key: entry.ascii for entry in job.initial_metadata}["traceparent"]
            _, trace, span, _ = told.split("-")

            def own():
                return [found for found in self.collector.of(trace) if found.span_id.hex() == span]

            [found] = until(own, "the span of a new trace")
            self.assertEqual(found.trace_state, "")

    def test_the_callers_sampling_decision_holds(self):
        unsampled, sampled = Caller(sampled=False), Caller()
        echo = probe_pb2.EchoRequest(payload=b"x")
        job = self.run_job("Echo", echo, unsampled)
        self.run_job("Echo", echo, sampled)
        until(lambda: self.collector.of(sampled.trace), "the later span")
        self.assertEqual(self.collector.of(unsampled.trace), [])
        # The handler is told the trace and the decision.
        metadata = {entry.key: entry.ascii for entry in job.initial_metadata}
        self.assertRegex(metadata["traceparent"], f"^00-{unsampled.trace}-[0-9a-f]{{16}}-00$")

    def test_a_failure_is_marked_and_every_attempt_has_a_span(self):
        caller = Caller()
        flaky = probe_pb2.FlakyRequest(key=caller.trace, failures=1)
        job = self.run_job("Flaky", flaky, caller)
        self.assertEqual((job.state, job.attempt), (job_pb2.STATE_SUCCEEDED, 2))
        attempts = until(
            lambda: len(self.collector.of(caller.trace)) == 2 and self.collector.of(caller.trace),
            "both attempts",
        )
        first, second = sorted(attempts, key=lambda span: span.start_time_unix_nano)
        error = span_status_error(first)
        self.assertEqual((error, attributes(first)["error.type"]), (True, "UNAVAILABLE"))
        self.assertFalse(span_status_error(second))
        self.assertEqual(attributes(second)["queuebridge.job.attempt"], 2)
        self.assertEqual(first.parent_span_id, second.parent_span_id)

    def test_without_a_collector_the_callers_trace_is_handed_on(self):
        caller = Caller()
        plain = self.replace_worker(OTEL_TRACES_EXPORTER="none", QB_METRICS="none")
        job = self.run_job("Echo", probe_pb2.EchoRequest(), caller)
        metadata = {entry.key: entry.ascii for entry in job.initial_metadata}
        self.assertEqual(metadata["traceparent"], caller.traceparent)
        self.assertEqual(plain.stop(), 0)
        self.assertFalse([line for line in self.lines(plain) if "_aws" in line], "no metrics")

    def test_a_collector_that_never_answers_costs_no_job(self):
        with socket.create_server(("127.0.0.1", 0)) as silent:
            endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
            worker = self.replace_worker(
                OTEL_EXPORTER_OTLP_ENDPOINT=endpoint, OTEL_EXPORTER_OTLP_TIMEOUT="2000"
            )
            for _ in range(5):
                job = self.run_job("Echo", probe_pb2.EchoRequest(), Caller())
                self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)
            failed = lambda: "BatchSpanProcessor.ExportError" in worker.log.read_text()
            until(failed, "an export that has failed")
            self.assertEqual(worker.stop(), 0)

    # Logs

    def test_every_line_of_a_job_says_whose_it_is(self):
        job = self.run_job("Panic", probe_pb2.PanicRequest(message="on purpose"))
        self.assertEqual((job.state, job.attempt), (job_pb2.STATE_FAILED, self.attempts))
        found = [
            {name: value for span in line["spans"] for name, value in span.items()}
            for line in self.lines()
            if line.get("fields", {}).get("message") == "a handler panicked"
        ]
        found = [fields for fields in found if fields["job"] == job.id]
        self.assertEqual([fields["attempt"] for fields in found], [1, 2, 3])
        for fields in found:
            self.assertEqual(fields["method"], PROBE + "Panic")
            self.assertEqual(fields["queue"], self.queue.rsplit("/", 1)[1])

    # Metrics

    def documents(self, method):
        return [line for line in self.lines() if line.get("Method") == PROBE + method]

    def test_metrics_say_what_became_of_jobs(self):
        self.run_job("Fail", probe_pb2.FailRequest(code=5, message="none"))
        [document] = until(lambda: self.documents("Fail"), "the batch's metrics")
        counted = {name: document[name] for name in ["Jobs", "Failed"]}
        self.assertEqual(counted, {"Jobs": 1, "Failed": 1})
        self.assertEqual(document["Queue"], self.queue.rsplit("/", 1)[1])
        self.assertEqual((len(document["Age"]), len(document["Duration"])), (1, 1))
        self.assertNotIn("ColdStart", document, "a loop has none")
        directives = document["_aws"]["CloudWatchMetrics"]
        self.assertEqual({directive["Namespace"] for directive in directives}, {"Queuebridge"})
        for directive in directives:
            for metric in directive["Metrics"]:
                self.assertIn(metric["Name"], document)
            for dimensions in directive["Dimensions"]:
                self.assertTrue(all(isinstance(document[name], str) for name in dimensions))

    def test_metrics_say_why_messages_come_back(self):
        before = len(self.documents("Flaky"))
        self.run_job("Flaky", probe_pb2.FlakyRequest(key=self.id(), failures=1))

        def both():
            documents = self.documents("Flaky")[before:]
            return len(documents) >= 2 and documents[-2:]

        # What they say, and not which was written first: a line may be held up.
        second, first = sorted(
            until(both, "the metrics of both attempts"), key=lambda found: "Redelivered" in found
        )
        self.assertEqual((first["Redelivered"], first["Redelivered.RETRY"]), (1, 1))
        self.assertNotIn("Retries", first)
        self.assertEqual((second["Retries"], second["Succeeded"]), (1, 1))


def span_status_error(span):
    return span.status.code == span.status.STATUS_CODE_ERROR
