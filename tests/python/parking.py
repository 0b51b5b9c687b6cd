"""Parked messages, and replays of them."""

import base64
import json
import os
import subprocess
import uuid

from bridge import Bridge
from processes import BINARIES, PATIENCE, until
from queuebridge.v1 import envelope_pb2, job_pb2

SUCCESS, STAYS, USAGE, CALL_FAILED, STOPPED = range(5)


class Parking(Bridge):
    """Messages are captured where no worker is, and parked by hand."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.captured, cls.captured_fifo = cls.new_queue(), cls.new_queue(".fifo")
        cls.nowhere = cls.new_gateway(
            QB_ROUTES=f'[{{ methods = "*", queue = "{cls.captured}" }}, '
            f'{{ methods = "/ordered.Service/*", queue = "{cls.captured_fifo}" }}]'
        )
        cls.no_worker = cls.connect(cls.nowhere)

    @classmethod
    def new_queue(cls, suffix=""):
        attributes = {"FifoQueue": "true"} if suffix else {}
        name = f"qb-{uuid.uuid4().hex[:12]}{suffix}"
        return cls.sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"]

    def setUp(self):
        self.parking = self.new_queue()

    # Parking

    def take(self, queue=None):
        """The next message of a queue that no worker reads."""
        queue = queue or self.captured

        def receive():
            answer = self.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1)
            return answer.get("Messages")

        (message,) = until(receive, "a message")
        self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return message["Body"]

    def call(self, body):
        """The call in an envelope."""
        envelope = envelope_pb2.Envelope.FromString(base64.b64decode(body))
        return envelope_pb2.Call.FromString(envelope.content)

    def send(self, body, **attributes):
        text = lambda value: {"DataType": "String", "StringValue": value}
        attributes = {f"qb-{name}": text(value) for name, value in attributes.items()}
        order = {}
        if self.parking.endswith(".fifo"):
            order = {"MessageGroupId": "k", "MessageDeduplicationId": uuid.uuid4().hex}
        self.sqs.send_message(
            QueueUrl=self.parking, MessageBody=body, MessageAttributes=attributes, **order
        )

    def park(self, method, request=None, reason="ATTEMPTS_EXHAUSTED", **fields):
        """A job whose message is parked."""
        job = self.submit(method, request, jobs=self.no_worker, **fields)
        ordered = fields.get("ordering_key")
        body = self.take(self.captured_fifo if ordered else None)
        self.send(body, version="1", method=job.method, job=job.id, parked=reason)
        return job.id

    def parked(self):
        """How many messages are parked and visible."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        answer = self.sqs.get_queue_attributes(QueueUrl=self.parking, AttributeNames=names)
        visible, hidden = (int(answer["Attributes"][name]) for name in names)
        self.assertEqual(hidden, 0, "released")
        return visible

    # Replaying

    def start(self, *arguments, gateway=None, **environment):
        address = (gateway or self.gateway).address
        command = ["replay", "--parking-queue", self.parking, "--json"]
        process = subprocess.Popen(
            [BINARIES / "queuebridge", *command, "--gateway", f"http://{address}", *arguments],
            env={"PATH": os.environ["PATH"], **self.common, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.kill)
        return process

    def end(self, process, code):
        """The messages of a replay, and its summary."""
        output, error = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, code, output + error)
        lines = [json.loads(line) for line in output.splitlines()]
        summary = lines.pop()["summary"] if lines else None
        return lines, summary

    def replay(self, *arguments, code=SUCCESS, **named):
        return self.end(self.start(*arguments, **named), code)

    def ran(self, line, file, times=1):
        """The new job of a line has succeeded, and has run so often."""
        job = self.finished(line["newJob"])
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED, job)
        self.assertEqual(job.retry_of, line["job"])
        self.assertEqual(self.executions(file), times)
