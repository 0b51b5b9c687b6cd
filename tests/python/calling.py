"""Stubs of the demo services that call the gateway as if it were the service."""

import threading

import grpc
from bridge import Bridge
from google.api_core import operation, operations_v1
from google.api_core.future import polling
from google.longrunning import operations_pb2
from grpc_status import rpc_status
from processes import PATIENCE, until
from queuebridge.demo.v1 import probe_pb2_grpc
from queuebridge.v1 import jobs_pb2_grpc

POLLING = polling.DEFAULT_POLLING.with_delay(initial=0.1, maximum=0.5).with_timeout(PATIENCE)


class Place:
    """A gateway and what is called there."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.channel = grpc.insecure_channel(gateway.address)
        self.probe = probe_pb2_grpc.ProbeStub(self.channel)
        self.jobs = jobs_pb2_grpc.JobsStub(self.channel)


def request_id(id):
    return ("qb-request-id", id)


def mode(name):
    return ("qb-mode", name)


class Reader:
    """Reads a stream of answers in a thread of its own."""

    def __init__(self, call):
        self.call, self.answers, self.error = call, [], None
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        try:
            for answer in self.call:
                self.answers.append(answer)
        except grpc.RpcError as error:
            self.error = error

    def end(self):
        """All answers, and the error at their end."""
        self.thread.join(PATIENCE)
        if self.thread.is_alive():
            raise AssertionError(f"no end after {len(self.answers)} answers")
        return self.answers, self.error


class Calls(Bridge):
    """Gateways whose routes differ in `calls`, and know each other's jobs."""

    calls = 'modes = ["sync", "auto", "async"]'

    @classmethod
    def route(cls, methods="*", queue=None, calls=None):
        return (
            f'{{ methods = "{methods}", queue = "{queue or cls.queue}", '
            f'max_attempts = {cls.attempts}, initial_backoff = "1s", max_backoff = "1s", '
            f"{calls or cls.calls} }}"
        )

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        name = cls.queue.rsplit("/", 1)[1]
        shard = cls.sqs.create_queue(QueueName=f"{name}-replies")["QueueUrl"]
        # One gateway is told what happens, the other looks.
        cls.here, cls.there = cls.place(QB_REPLIES_QUEUES=shard), cls.place()
        until(lambda: cls.here.gateway.logged("reading a reply shard"), "the shard")

    @classmethod
    def place(cls, *routes, **environment):
        routes = f"[{', '.join(routes or [cls.route()])}]"
        gateway = cls.new_gateway(QB_ROUTES=routes, **environment)
        place = Place(gateway)
        cls.addClassCleanup(place.channel.close)
        return place

    def failed(self, call, *arguments, **named):
        """The error of a call."""
        with self.assertRaises(grpc.RpcError) as raised:
            call(*arguments, timeout=named.pop("timeout", PATIENCE), **named)
        return raised.exception

    def job(self, method, request, id, **fields):
        """The job of a call with this request id."""
        return self.submit(method, request, jobs=self.there.jobs, request_id=id, **fields)

    def ticket(self, error):
        """The operation in an error's details."""
        found = operations_pb2.Operation()
        for detail in rpc_status.from_call(error).details:
            if detail.Unpack(found):
                return found
        raise AssertionError(f"no operation in {error}")

    def future(self, place, name, result_type):
        client = operations_v1.OperationsClient(place.channel)
        found = client.get_operation(name)
        return operation.from_gapic(found, client, result_type, polling=POLLING)
