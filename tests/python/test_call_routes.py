"""Direct calls over ordered queues and to several workers, and processes that are killed
while calls come in."""

import signal
import threading

import grpc
from bridge import PROBE
from calling import Calls, mode, request_id
from processes import PATIENCE, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2


class Ordered(Calls):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.ordered = cls.place(cls.route(queue=cls.fifo))
        cls.new_worker(QB_QUEUE_URL=cls.fifo)

    def append_line(self, file, line, how):
        request = probe_pb2.AppendRequest(file=file, line=line)
        metadata = [("qb-ordering-key", file), mode(how)]
        call = self.ordered.probe.Append.with_call
        return call(request, metadata=metadata, timeout=PATIENCE)[1]

    def test_calls_of_a_key_run_in_their_order(self):
        lines = [str(number) for number in range(12)]
        for line in lines[:-1]:
            self.append_line("order", line, "async")
        self.append_line("order", lines[-1], "sync")
        self.assertEqual((self.dir / "order").read_text().split(), lines)

    def test_a_call_without_a_key_waits_for_none(self):
        held = self.ordered.probe.Append.future(
            self.append("held", then_wait=600),
            metadata=[("qb-ordering-key", "held")],
            timeout=PATIENCE,
        )
        until(lambda: self.executions("held"), "the start")
        self.ordered.probe.Echo(probe_pb2.EchoRequest(), timeout=PATIENCE)
        held.cancel()


class Branches(Calls):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        name = cls.queue.rsplit("/", 1)[1]
        queues = {one: cls.new_queue(f"{name}-{one}") for one in ("quick", "slow")}
        branches = ", ".join(f'{{ name = "{one}", queue = "{url}" }}' for one, url in queues.items())
        route = f'{{ methods = "{PROBE}*", branch = [{branches}], %s }}'
        cls.first = cls.place(route % 'gather = { need = 1, primary = "quick" }')
        cls.all = cls.place(route % 'gather = { primary = "slow" }')
        for one, url in queues.items():
            cls.new_worker(QB_QUEUE_URL=url, QB_BRANCH=one)

    @classmethod
    def new_queue(cls, name):
        return cls.sqs.create_queue(QueueName=name)["QueueUrl"]

    def test_the_primary_branch_answers_with_the_methods_own_type(self):
        request = self.append("all")
        self.assertEqual(
            self.all.probe.Append(request, timeout=PATIENCE), probe_pb2.AppendResponse()
        )
        self.assertEqual(self.executions("all"), 2, "every branch has run")
        sent = [("x-mine", "1")]
        request = probe_pb2.EchoRequest(payload=b"both")
        answer, call = self.all.probe.Echo.with_call(request, metadata=sent, timeout=PATIENCE)
        self.assertEqual(answer.payload, b"both")
        self.assertIn(sent[0], call.initial_metadata())

    def test_a_stream_is_refused_and_not_gathered(self):
        request = probe_pb2.CountRequest(up_to=3)
        error = self.failed(lambda **named: list(self.all.probe.Count(request, **named)))
        self.assertEqual(error.code(), grpc.StatusCode.UNIMPLEMENTED)


class Faults(Calls):
    """Calls that come in while gateways and workers are killed."""

    attempts = 10

    def test_nothing_that_was_accepted_is_lost(self):
        doomed = self.place()
        accepted, stop = [], threading.Event()

        def caller(number):
            request = probe_pb2.AppendRequest(file=f"accepted-{number}", line="ran")
            for place in [doomed, self.there]:
                while not stop.is_set():
                    call = place.probe.Append.with_call
                    try:
                        _, call = call(request, metadata=[mode("async")], timeout=PATIENCE)
                    except grpc.RpcError:
                        break
                    accepted.append((dict(call.initial_metadata())["qb-job-id"], number))

        threads = [threading.Thread(target=caller, args=[number]) for number in range(8)]
        for thread in threads:
            thread.start()
        until(lambda: len(accepted) > 20, "some calls")
        self.worker.stop(signal.SIGKILL)
        doomed.gateway.stop(signal.SIGKILL)
        before = len(accepted)
        until(lambda: len(accepted) > before + 20, "more calls at the other gateway")
        type(self).worker = self.new_worker()
        until(lambda: len(accepted) > before + 40, "more calls, with a worker")
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
        for id, _ in accepted:
            self.assertEqual(self.finished(id, self.there.jobs).state, job_pb2.STATE_SUCCEEDED)
        for number in range(8):
            ran = len([one for _, one in accepted if one == number])
            self.assertGreaterEqual(self.executions(f"accepted-{number}"), ran)

    def test_a_gateway_that_stops_ends_no_work(self):
        doomed = self.place(QB_DRAIN_TIMEOUT="1s")
        request = self.append("stopped", then_wait=30)
        named = {"timeout": PATIENCE, "metadata": [request_id("stopped")]}
        call = doomed.probe.Append.future(request, **named)
        until(lambda: self.executions("stopped"), "the start")
        self.assertEqual(doomed.gateway.stop(), 0)
        self.assertEqual(call.exception(PATIENCE).code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(self.there.probe.Append(request, **named), probe_pb2.AppendResponse())
        self.assertEqual(self.executions("stopped"), 1)
