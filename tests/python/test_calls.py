"""Stubs of a service that call the gateway as if it were the service: one message each
way, in every mode."""

import itertools
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from bridge import deadline, in_time, reason, seconds
from calling import Calls, mode, request_id
from processes import PATIENCE, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2

SPECIAL = "\t\nwhitespace\r\nand \u263a and \U0001f608\t\n"


class Unary(Calls):
    def test_metadata_goes_both_ways_and_nothing_is_added(self):
        sent = [("x-many", "1"), ("x-many", "2"), ("x-bytes-bin", b"\x00\x01\xff")]
        request = probe_pb2.EchoRequest(payload=b"hello")
        answer, call = self.here.probe.Echo.with_call(request, metadata=sent, timeout=PATIENCE)
        self.assertEqual(answer.payload, b"hello")
        initial, trailing = call.initial_metadata(), call.trailing_metadata()
        self.assertEqual([pair for pair in initial if pair[0].startswith("x-")], sent)
        trailers = [("probe-trailer", "done"), ("probe-trailer-bin", b"\x00\xff")]
        self.assertEqual([pair for pair in trailing if pair[0].startswith("probe-")], trailers)
        self.assertFalse([pair for pair in initial + trailing if pair[0].startswith("qb-")])

    def test_an_error_keeps_code_message_details_and_metadata(self):
        request = probe_pb2.FailRequest(code=9, message=SPECIAL, reason="NO_WAY")
        error = self.failed(self.here.probe.Fail, request)
        self.assertEqual(error.code(), grpc.StatusCode.FAILED_PRECONDITION)
        self.assertEqual(error.details(), SPECIAL)
        self.assertEqual(reason(error)[0], "NO_WAY")
        self.assertIn(("probe-trailer-bin", b"\x00\xff"), error.trailing_metadata())

    def test_what_is_retryable_is_for_a_waiting_caller_to_decide(self):
        request = probe_pb2.FlakyRequest(key="sync", failures=1)
        error = self.failed(self.here.probe.Flaky, request)
        self.assertEqual(error.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(reason(error)[0], "PROBE_FLAKY")
        self.assertEqual(self.here.probe.Flaky(request, timeout=PATIENCE).calls, 2)

    def test_a_deadline_ends_call_and_work(self):
        request = self.append("deadline", then_wait=600)
        metadata = [request_id("deadline")]
        # The handler has to begin in this time.
        error = self.failed(self.here.probe.Append, request, timeout=20, metadata=metadata)
        self.assertEqual(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        job = self.finished(self.job("Append", request, "deadline").id)
        self.assertIn(job.state, [job_pb2.STATE_EXPIRED, job_pb2.STATE_CANCELLED])
        self.assertEqual(self.executions("deadline"), 1)

    def test_compressed_requests_are_taken(self):
        request = probe_pb2.EchoRequest(payload=bytes(500_000))
        gzip = grpc.Compression.Gzip
        answer = self.here.probe.Echo(request, compression=gzip, timeout=PATIENCE)
        self.assertEqual(answer.payload, request.payload)
        requests = (probe_pb2.SumRequest(number=number) for number in range(5_000))
        answer = self.here.probe.Sum(requests, compression=gzip, timeout=PATIENCE)
        self.assertEqual((answer.sum, answer.numbers), (12_497_500, 5_000))

    def test_large_messages_pass_and_too_large_ones_are_refused(self):
        request = probe_pb2.EchoRequest(payload=bytes(3_000_000))
        self.assertEqual(
            self.here.probe.Echo(request, timeout=PATIENCE).payload, request.payload
        )
        request = probe_pb2.EchoRequest(payload=bytes(5_000_000))
        error = self.failed(self.here.probe.Echo, request)
        self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)


class Modes(Calls):
    def test_who_runs_out_of_time_gets_a_ticket_for_any_gateway(self):
        tries = itertools.count()

        def call():
            request = self.append(f"ticket-{next(tries)}", then_wait=20)
            self.here.probe.Append(request, metadata=[mode("auto"), deadline(2)])

        with self.assertRaises(grpc.RpcError) as raised:
            in_time(call)
        error = raised.exception
        self.assertEqual(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertEqual(reason(error)[0], "STILL_RUNNING")
        ticket, trailing = self.ticket(error), dict(error.trailing_metadata())
        self.assertEqual(trailing["qb-operation"], ticket.name)
        self.assertEqual(trailing["grpc-retry-pushback-ms"], "-1")
        self.assertFalse(ticket.done)
        future = self.future(self.there, ticket.name, probe_pb2.AppendResponse)
        self.assertEqual(future.result(timeout=PATIENCE), probe_pb2.AppendResponse())
        self.assertEqual(self.executions(f"ticket-{next(tries) - 1}"), 1)
        id = trailing["qb-job-id"]
        self.assertEqual(self.get(id, jobs=self.there.jobs).state, job_pb2.STATE_SUCCEEDED)

    def test_what_is_ready_in_time_is_the_answer(self):
        request = probe_pb2.EchoRequest(payload=b"x")
        answer = self.here.probe.Echo(request, timeout=PATIENCE, metadata=[mode("auto")])
        self.assertEqual(answer.payload, b"x")

    def test_who_has_no_deadline_has_the_routes_budget(self):
        place = self.place(self.route(calls='modes = ["auto"], budget = "2s"'))
        request = probe_pb2.SleepRequest(duration=seconds(20))
        error = self.failed(place.probe.Sleep, request, timeout=None)
        future = self.future(self.there, self.ticket(error).name, probe_pb2.SleepResponse)
        self.assertGreaterEqual(future.result(timeout=PATIENCE).slept.seconds, 20)

    def test_who_does_not_wait_gets_the_id(self):
        request = self.append("async", then_wait=2)
        answer, call = self.here.probe.Append.with_call(
            request, timeout=PATIENCE, metadata=[mode("async")]
        )
        self.assertEqual(answer, probe_pb2.AppendResponse())
        named = dict(call.initial_metadata())
        self.assertEqual(named["qb-operation"], f"operations/{named['qb-job-id']}")
        job = self.finished(named["qb-job-id"], self.there.jobs)
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual(self.executions("async"), 1)

    def test_a_mode_that_the_route_has_not_is_refused(self):
        place = self.place(self.route(calls='modes = ["sync"]'))
        arguments = (place.probe.Echo, probe_pb2.EchoRequest())
        named = {"metadata": [mode("async")], "timeout": PATIENCE}
        self.refused("INVALID_ARGUMENT", "INVALID_FIELD", "qb-mode", *arguments, **named)


class Attaching(Calls):
    def test_one_request_id_at_two_gateways_is_one_run(self):
        request = self.append("twice", then_wait=2)
        start = threading.Barrier(8)

        def call(number):
            place = [self.here, self.there][number % 2]
            start.wait(PATIENCE)
            return place.probe.Append(request, timeout=PATIENCE, metadata=[request_id("twice")])

        with ThreadPoolExecutor(8) as pool:
            self.assertEqual(list(pool.map(call, range(8))), [probe_pb2.AppendResponse()] * 8)
        self.assertEqual(self.executions("twice"), 1)
        other, metadata = self.append("other"), [request_id("twice")]
        error = self.failed(self.here.probe.Append, other, metadata=metadata)
        self.assertEqual(error.code(), grpc.StatusCode.ALREADY_EXISTS)
        self.assertEqual(self.executions("other"), 0)

    def test_a_caller_whose_gateway_was_killed_attaches_at_another(self):
        doomed = self.place()
        request = self.append("moved", then_wait=20)
        named = {"metadata": [request_id("moved")], "timeout": PATIENCE}
        call = doomed.probe.Append.future(request, **named)
        until(lambda: self.executions("moved"), "the start")
        doomed.gateway.stop(signal.SIGKILL)
        self.assertEqual(call.exception(PATIENCE).code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(self.there.probe.Append(request, **named), probe_pb2.AppendResponse())
        self.assertEqual(self.executions("moved"), 1)

    def test_who_goes_away_does_not_end_what_others_have_attached_to(self):
        request = self.append("attached", then_wait=20)
        named = {"metadata": [request_id("attached")], "timeout": PATIENCE}
        first = self.here.probe.Append.future(request, **named)
        until(lambda: self.executions("attached"), "the start")
        error = self.failed(self.there.probe.Append, request, **{**named, "timeout": 1})
        self.assertEqual(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertEqual(first.result(PATIENCE), probe_pb2.AppendResponse())


class Leaving(Calls):
    """The one worker runs one job at a time: another one runs when the first has ended."""

    @classmethod
    def new_worker(cls, **environment):
        return super().new_worker(QB_WORKER_CONCURRENCY="1", **environment)

    def left(self, place, file, then_wait):
        request = self.append(file, then_wait)
        metadata = [request_id(file)]
        call = place.probe.Append.future(request, timeout=PATIENCE, metadata=metadata)
        until(lambda: self.executions(file), "the start")
        call.cancel()
        return request

    def test_a_caller_that_goes_away_ends_the_handler(self):
        # With a request id it may come back, and is waited for unless the route says so.
        place = self.place(self.route(calls='when_abandoned = "cancel"'))
        request = self.left(place, "cancelled", then_wait=900)
        place.probe.Echo(probe_pb2.EchoRequest(), timeout=PATIENCE)
        job = self.finished(self.job("Append", request, "cancelled").id)
        self.assertEqual(job.state, job_pb2.STATE_CANCELLED)
        self.assertEqual(self.executions("cancelled"), 1)

    def test_where_the_route_says_so_the_work_goes_on(self):
        place = self.place(self.route(calls='when_abandoned = "finish"'))
        request = self.left(place, "finished", then_wait=10)
        job = self.finished(self.job("Append", request, "finished").id)
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual(self.executions("finished"), 1)
