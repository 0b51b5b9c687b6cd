"""A bridge of real processes over an AWS endpoint, and calls through it."""

import base64
import itertools
import json
import os
import pathlib
import tempfile
import unittest
import uuid

import stubs  # noqa: F401 (makes the generated modules importable)
import boto3
import botocore.config
import grpc
from google.protobuf import duration_pb2
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2, jobs_pb2, jobs_pb2_grpc

from processes import Gateway, Worker, until

ENDPOINT = os.environ["QB_TEST_ENDPOINT"]
FIXTURES = stubs.ROOT / "tests/fixtures"
PROBE = "/queuebridge.demo.v1.Probe/"
IMAGES = "/queuebridge.demo.v1.Images/"
AWS = {
    "AWS_ENDPOINT_URL": ENDPOINT,
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_REGION": "us-east-1",
}


def key():
    return base64.b64encode(os.urandom(32)).decode()


def client(service):
    config = botocore.config.Config(s3={"addressing_style": "path"})
    return boto3.client(
        service,
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=config,
    )


def health_checked(address, service):
    """A channel that asks for the health of a service before it calls (gRFC A17)."""
    config = {
        "healthCheckConfig": {"serviceName": service},
        "loadBalancingConfig": [{"round_robin": {}}],
    }
    return grpc.insecure_channel(address, options=[("grpc.service_config", json.dumps(config))])


def seconds(value):
    nanos = round((value % 1) * 1e9)
    return duration_pb2.Duration(seconds=int(value), nanos=nanos)


def deadline(seconds):
    """Metadata with a caller's deadline that only the gateway keeps: a caller that is held
    up does not end its call before the gateway has answered."""
    return ("grpc-timeout", f"{seconds}S")


def in_time(call):
    """What a call says that the gateway ends shortly before its deadline. Where a busy machine
    stops the gateway for longer than its margin, the call is late, and made again."""
    for _ in range(5):
        try:
            return call()
        except grpc.RpcError as error:
            late = error.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)
            if not late or reason(error)[0]:
                raise
    raise AssertionError("five calls were not ended before their deadlines")


def reason(details):
    """The reason and the field of an error: of an RpcError or a google.rpc.Status."""
    status = rpc_status.from_call(details) if isinstance(details, grpc.RpcError) else details
    info = error_details_pb2.ErrorInfo()
    for detail in status.details if status else []:
        if detail.Unpack(info):
            return info.reason, info.metadata.get("field", "")
    return "", ""


class Bridge(unittest.TestCase):
    """Each test class has queues, a table, a bucket and keys of its own."""

    # Long enough that a lease runs out only when its worker is gone.
    lease = "15s"
    attempts = 3
    program = "queuebridge-demo"

    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="qb-"))
        cls.numbers = itertools.count()
        name = f"qb-{uuid.uuid4().hex[:12]}"
        sqs = cls.sqs = client("sqs")
        cls.queue = sqs.create_queue(QueueName=name)["QueueUrl"]
        cls.fifo = sqs.create_queue(
            QueueName=f"{name}.fifo", Attributes={"FifoQueue": "true"}
        )["QueueUrl"]
        client("dynamodb").create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
        )
        client("s3").create_bucket(Bucket=name)
        route = (
            f'queue = "{{}}", max_attempts = {cls.attempts}, initial_backoff = "1s", '
            'max_backoff = "1s"'
        )
        routes = [
            f'{{ methods = "*", {route.format(cls.queue)} }}',
            f'{{ methods = "/ordered.Service/*", {route.format(cls.fifo)} }}',
        ]
        cls.common = {
            **AWS,
            "QB_ENVELOPE_KEYS": f"1:{key()}",
            "QB_STORE_TABLE": name,
            "QB_STORE_PAYLOAD_BUCKET": name,
        }
        cls.gateway_environment = {
            **cls.common,
            "QB_AUTH": "none",
            "QB_JOB_ID_KEYS": f"1:{key()}",
            "QB_ROUTES": f"[{', '.join(routes)}]",
            "QB_DRAIN_TIMEOUT": "60s",
        }
        cls.worker_environment = {
            **cls.common,
            "QB_QUEUE_URL": cls.queue,
            "QB_WORKER_LEASE": cls.lease,
            "QB_WORKER_DRAIN_TIMEOUT": "20s",
            # An idle worker stops soon, and what the poll of a killed one takes is soon back.
            "QB_WORKER_RECEIVE_WAIT": "1s",
            "QB_DEMO_APPEND_DIR": str(cls.dir),
        }
        cls.gateway = cls.new_gateway()
        cls.worker = cls.new_worker()
        cls.jobs = cls.connect(cls.gateway)

    @classmethod
    def new_gateway(cls, **environment):
        log = cls.dir / f"gateway-{next(cls.numbers)}.log"
        gateway = Gateway({**cls.gateway_environment, **environment}, log)
        cls.addClassCleanup(gateway.kill)
        return gateway

    @classmethod
    def new_worker(cls, **environment):
        log = cls.dir / f"worker-{next(cls.numbers)}.log"
        worker = Worker({**cls.worker_environment, **environment}, log, cls.program)
        cls.addClassCleanup(worker.kill)
        return worker

    @classmethod
    def capture(cls, **environment):
        """A gateway whose messages nobody works on, as calls, and its queue."""
        name = f"{cls.common['QB_STORE_TABLE']}-captured-{next(cls.numbers)}"
        queue = cls.sqs.create_queue(QueueName=name)["QueueUrl"]
        routes = f'[{{ methods = "*", queue = "{queue}" }}]'
        return cls.connect(cls.new_gateway(QB_ROUTES=routes, **environment)), queue

    @classmethod
    def connect(cls, gateway):
        channel = grpc.insecure_channel(gateway.address)
        cls.addClassCleanup(channel.close)
        return jobs_pb2_grpc.JobsStub(channel)

    # Calls

    def request(self, method, request=None, **fields):
        body = request.SerializeToString() if request is not None else b""
        name = method if method.startswith("/") else PROBE + method
        return jobs_pb2.SubmitRequest(method=name, request=body, **fields)

    def submit(self, method, request=None, jobs=None, **fields):
        return (jobs or self.jobs).Submit(self.request(method, request, **fields))

    def append(self, file, then_wait=0):
        return probe_pb2.AppendRequest(file=file, line="ran", then_wait=seconds(then_wait))

    def get(self, id, wait=0, jobs=None):
        return (jobs or self.jobs).GetResult(jobs_pb2.GetResultRequest(id=id, wait=seconds(wait)))

    def finished(self, id, jobs=None):
        """The job once it is finished."""

        def ended():
            job = self.get(id, 20, jobs)
            return job if job.state > job_pb2.STATE_RUNNING else None

        return until(ended, f"the end of {id}")

    def is_empty(self, queue):
        """Whether a queue has no message: none waiting, delayed or received."""
        names = [f"ApproximateNumberOfMessages{kind}" for kind in ["", "Delayed", "NotVisible"]]
        answer = self.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)
        return all(answer["Attributes"][name] == "0" for name in names)

    def executions(self, file):
        path = self.dir / file
        return len(path.read_text().splitlines()) if path.exists() else 0

    def refused(self, code, why, field, call, *arguments, **named):
        """The call fails with this code and reason, and names the field."""
        with self.assertRaises(grpc.RpcError) as raised:
            call(*arguments, **named)
        error = raised.exception
        self.assertEqual((error.code().name, reason(error)), (code, (why, field)), error)
        return error
