"""Submissions that are repeated, over a network that loses requests and answers."""

import base64
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from bridge import ENDPOINT, PROBE, Bridge, deadline, error_details_pb2, in_time, reason
from bridge import rpc_status, seconds
from lossy import Lossy
from processes import BINARIES, PATIENCE, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2, jobs_pb2

SEND = "SendMessageBatch"
WRITE = "UpdateItem"


class Repeats(Bridge):
    """A second gateway reaches queue and store through the network."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.network = Lossy(ENDPOINT)
        cls.addClassCleanup(cls.network.close)
        cls.far_gateway = cls.new_far_gateway()
        cls.far = cls.connect(cls.far_gateway)

    @classmethod
    def new_far_gateway(cls):
        return cls.new_gateway(AWS_ENDPOINT_URL=cls.network.url)

    def setUp(self):
        self.network.seen.clear()
        self.addCleanup(self.network.heal)

    def ran_once(self, id, file):
        self.assertEqual(self.finished(id).state, job_pb2.STATE_SUCCEEDED)
        # A second copy of the message, if there was one, is older than this one.
        self.finished(self.submit("Echo").id)
        self.assertEqual(self.executions(file), 1)

    def test_one_request_id_at_two_gateways_at_once_is_one_job(self):
        request = self.append("race")
        start = threading.Barrier(32)

        def caller(number):
            start.wait(PATIENCE)
            jobs = self.jobs if number % 2 else self.far
            return self.submit("Append", request, jobs=jobs, request_id="race").id

        with ThreadPoolExecutor(32) as pool:
            ids = set(pool.map(caller, range(32)))
        self.assertEqual(len(ids), 1)
        self.ran_once(ids.pop(), "race")

    def killed(self, lost):
        """A gateway that is killed with a submission held at its queue."""
        gateway, release = self.new_far_gateway(), threading.Event()
        self.addCleanup(release.set)
        self.network.lose(lost, SEND, held=release)
        request = self.request("Append", self.append(lost), request_id=lost)
        call = self.connect(gateway).Submit.future(request)
        until(lambda: SEND in self.network.seen, "the submission to reach the queue")
        if lost == "response":
            until(lambda: self.executions(lost), "the queue to have taken it")
        gateway.stop(signal.SIGKILL)
        self.assertIsInstance(call.exception(), grpc.RpcError)
        return time.time_ns()

    def test_a_gateway_killed_between_accepting_and_publishing_loses_no_request_id(self):
        at = self.killed("request")
        self.assertEqual(self.executions("request"), 0)
        job = self.submit("Append", self.append("request"), request_id="request")
        self.assertLess(job.submit_time.ToNanoseconds(), at, "the job of the killed gateway")
        self.ran_once(job.id, "request")

    def test_a_gateway_killed_before_it_knew_that_the_queue_took_it_repeats_nothing(self):
        at = self.killed("response")
        job = self.submit("Append", self.append("response"), request_id="response")
        self.assertLess(job.submit_time.ToNanoseconds(), at, "the job of the killed gateway")
        self.ran_once(job.id, "response")

    def test_an_answer_of_the_queue_that_is_lost_once_is_no_matter_for_the_caller(self):
        self.network.lose("response", SEND)
        job = self.submit("Append", self.append("lost-once"), jobs=self.far)
        self.assertGreaterEqual(self.network.seen.count(SEND), 2, "asked again")
        self.ran_once(job.id, "lost-once")

    def test_a_lost_answer_of_the_store_is_no_matter_for_a_request_id(self):
        for lost in ["request", "response"]:
            file = f"accept-{lost}"
            self.network.lose(lost, WRITE)
            job = self.submit("Append", self.append(file), jobs=self.far, request_id=file)
            again = self.submit("Append", self.append(file), request_id=file)
            self.assertEqual(again.id, job.id)
            self.ran_once(job.id, file)

    def unknown(self, lost):
        """A submission of which nobody knows whether the queue has it: its id and token."""
        self.network.lose(lost, SEND, times=100)
        file = f"unknown-{lost}"
        arguments = ("UNAVAILABLE", "PUBLISH_OUTCOME_UNKNOWN", "", self.submit)
        error = self.refused(*arguments, "Append", self.append(file), jobs=self.far)
        self.network.heal()
        self.assertIn(("grpc-retry-pushback-ms", "-1"), error.trailing_metadata())
        info = error_details_pb2.ErrorInfo()
        rpc_status.from_call(error).details[0].Unpack(info)
        return file, info.metadata["job_id"], info.metadata["resubmit_token"]

    def test_a_job_that_the_queue_took_unheard_is_found_by_the_id_of_the_error(self):
        file, id, token = self.unknown("response")
        self.assertEqual(self.finished(id).state, job_pb2.STATE_SUCCEEDED)
        again = self.submit("Append", self.append(file), resubmit_token=token)
        self.assertEqual(again.id, id)
        self.ran_once(id, file)

    def test_a_job_that_never_reached_the_queue_runs_once_when_submitted_again(self):
        file, id, token = self.unknown("request")
        self.assertEqual(self.get(id).state, job_pb2.STATE_ACCEPTED)
        for _ in range(3):
            again = self.submit("Append", self.append(file), resubmit_token=token)
            self.assertEqual(again.id, id)
        self.ran_once(id, file)

    def test_the_command_line_shows_the_token_and_takes_it(self):
        self.network.lose("request", SEND, times=100)
        request = base64.b64encode(self.append("by-hand").SerializeToString()).decode()

        def submit(*more, at):
            arguments = ["--gateway", f"http://{at.address}", "--method", PROBE + "Append"]
            arguments += ["--data-base64", request, "--wait", "300s", *more]
            command = [BINARIES / "queuebridge", "submit", *arguments]
            return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)

        failed = submit(at=self.far_gateway)
        self.network.heal()
        facts = dict(line.strip().split(": ", 1) for line in failed.stderr.splitlines()[1:])
        again = submit("--resubmit-token", facts["resubmit_token"], at=self.gateway)
        self.assertEqual(again.returncode, 0, again.stderr)
        self.ran_once(facts["job_id"], "by-hand")

    def test_a_slow_queue_does_not_let_a_wait_overrun_the_callers_deadline(self):
        request = self.request(
            "Sleep", probe_pb2.SleepRequest(duration=seconds(60)), wait=seconds(60)
        )

        def submit():
            release = threading.Event()
            self.network.slow(SEND, release)
            call = self.far.Submit.future(request, metadata=[deadline(10)])
            until(self.network.spent, "the queue to be asked")
            # A part of the caller's time goes by while the queue takes the job.
            threading.Timer(2, release.set).start()
            return call.result()

        job = in_time(submit)
        self.assertLess(job.state, job_pb2.STATE_SUCCEEDED)
        self.jobs.Cancel(jobs_pb2.CancelRequest(id=job.id))

    def test_a_submission_that_is_refused_does_not_use_its_request_id_up(self):
        small = self.connect(self.new_gateway(QB_STORE_PAYLOAD_BUCKET=""))
        large = probe_pb2.EchoRequest(payload=bytes(900_000))
        tries = [
            (small, "RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE", "request", large, {}),
            (self.jobs, "INVALID_ARGUMENT", "INVALID_FIELD", "delay", large, {"delay": seconds(-1)}),
        ]
        for jobs, code, why, field, request, fields in tries:
            arguments = {"jobs": jobs, "request_id": f"refused-{field}"}
            self.refused(code, why, field, self.submit, "Echo", request, **arguments, **fields)
            job = self.submit("Echo", probe_pb2.EchoRequest(payload=b"x"), **arguments)
            self.assertEqual(self.finished(job.id).state, job_pb2.STATE_SUCCEEDED)


class LossyWorker(Bridge):
    """The worker reaches queue and store through the network."""

    @classmethod
    def new_worker(cls, **environment):
        cls.network = Lossy(ENDPOINT)
        cls.addClassCleanup(cls.network.close)
        return super().new_worker(AWS_ENDPOINT_URL=cls.network.url, **environment)

    def test_whatever_call_of_a_worker_is_lost_its_job_runs_once(self):
        # A job writes twice: the claim, and the outcome.
        faults = [(WRITE, 0), (WRITE, 1), ("DeleteMessageBatch", 0), ("ReceiveMessage", 0)]
        passed = threading.Event()
        passed.set()
        for lost in ["request", "response"]:
            for operation, skipped in faults:
                file = f"{operation}-{skipped}-{lost}"
                for _ in range(skipped):
                    self.network.slow(operation, passed)
                self.network.lose(lost, operation)
                job = self.finished(self.submit("Append", self.append(file)).id)
                until(self.network.spent, f"{file} to be lost")
                with self.subTest(file):
                    self.assertEqual((job.state, job.attempt), (job_pb2.STATE_SUCCEEDED, 1))
                    self.assertEqual(self.executions(file), 1)
                    self.assertEqual(reason(job.error), ("", ""))
