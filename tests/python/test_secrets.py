"""Keys that rotate while jobs run, envelopes of strangers, and what logs never show."""

import base64
import hashlib
import hmac
import json
import struct

import grpc
from bridge import Bridge, key
from processes import until
from queuebridge.demo.v1 import probe_pb2, probe_pb2_grpc
from queuebridge.v1 import envelope_pb2, job_pb2

CANARY = "canary-5d20c4"
# The message of an error, which one line of the worker shows.
ERROR = "songbird-77e1b9"


class Rotation(Bridge):
    """The procedure of SECURITY.md, step by step, with a job in the queue at each."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        name = cls.queue.rsplit("/", 1)[1]
        create = lambda suffix: cls.sqs.create_queue(QueueName=f"{name}-{suffix}")["QueueUrl"]
        cls.replies, cls.parked = create("replies"), create("parked")
        cls.worker.stop()
        cls.gateway.stop()
        cls.gateway_environment["QB_REPLIES_QUEUES"] = cls.replies
        cls.worker_environment["QB_PARKING_QUEUE_URL"] = cls.parked

    def parked_messages(self):
        found = self.sqs.get_queue_attributes(
            QueueUrl=self.parked, AttributeNames=["ApproximateNumberOfMessages"]
        )
        return int(found["Attributes"]["ApproximateNumberOfMessages"])

    def test_envelope_keys_rotate_live_and_a_key_that_is_not_there_yet_loses_nothing(self):
        old, new = f"1:{key()}", f"2:{key()}"
        keys = lambda *names: {"QB_ENVELOPE_KEYS": ",".join(names)}
        gateway = self.new_gateway(**keys(old))
        waiting = self.submit("Echo", jobs=self.connect(gateway)).id
        gateway.stop()
        # A gateway that signs with a key which workers were not given.
        hasty = self.new_gateway(**keys(new, old))
        early = self.submit("Echo", jobs=self.connect(hasty)).id
        worker = self.new_worker(**keys(old))
        refused = until(lambda: worker.logged("a message was not opened"), "the redelivery")
        self.assertIn("unknown key 2", refused["error"])
        jobs = self.connect(hasty)
        self.assertEqual(self.finished(waiting, jobs).state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual(self.get(early, jobs=jobs).state, job_pb2.STATE_ACCEPTED)
        worker.stop()
        # The worker is given it, as one that verifies: what was early is done now.
        worker = self.new_worker(**keys(old, new))
        self.assertEqual(self.finished(early, jobs).state, job_pb2.STATE_SUCCEEDED)
        # Its announcements are signed with the old one still, and open here.
        self.assertEqual(self.finished(self.submit("Echo", jobs=jobs).id, jobs).state, 3)
        self.assertIsNone(hasty.logged("a message on a reply shard was not opened"))
        worker.stop()
        hasty.stop()
        # The old one goes.
        gateway, worker = self.new_gateway(**keys(new)), self.new_worker(**keys(new))
        jobs = self.connect(gateway)
        self.assertEqual(self.finished(self.submit("Echo", jobs=jobs).id, jobs).state, 3)
        self.assertEqual(self.parked_messages(), 0)
        worker.stop()
        gateway.stop()

    def test_a_secret_is_not_for_ids_and_envelopes_both(self):
        same = f"1:{key()}"
        with self.assertRaisesRegex(AssertionError, "envelope_keys.*among the job_id_keys"):
            self.new_gateway(QB_JOB_ID_KEYS=same, QB_ENVELOPE_KEYS=same)


class Strangers(Bridge):
    """Someone who may write into the queue, and has no key."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.parked = cls.sqs.create_queue(QueueName=cls.queue.rsplit("/", 1)[1] + "-parked")
        cls.worker.stop()
        cls.worker_environment["QB_PARKING_QUEUE_URL"] = cls.parked["QueueUrl"]
        cls.worker = cls.new_worker()
        cls.captured, cls.queue_of_captured = cls.capture()

    def captured_job(self, file):
        """A job that the gateway has accepted, and the body of its message."""
        job = self.submit("Append", self.append(file), jobs=self.captured)
        queue = self.queue_of_captured
        receive = lambda: self.sqs.receive_message(QueueUrl=queue).get("Messages")
        message = until(receive, "the job")[0]
        self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return job, message["Body"]

    def envelope(self, change, secret=b"\0" * 32):
        """The envelope of a real job, changed, and signed with another secret."""
        _, body = self.captured_job("stranger")
        envelope = envelope_pb2.Envelope.FromString(base64.b64decode(body))
        call = envelope_pb2.Call.FromString(envelope.content)
        change(call)
        envelope.content = call.SerializeToString()
        header = struct.pack(">II", envelope.major, envelope.encoding)
        signed = b"queuebridge envelope\0" + header + envelope.content
        envelope.mac = hmac.digest(secret, signed, hashlib.sha256)[:16]
        return base64.b64encode(envelope.SerializeToString()).decode()

    def is_parked(self, body, reason):
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)
        receive = lambda: self.sqs.receive_message(
            QueueUrl=self.parked["QueueUrl"], MessageAttributeNames=["All"]
        ).get("Messages")
        message = until(receive, "the parked message")[0]
        self.sqs.delete_message(
            QueueUrl=self.parked["QueueUrl"], ReceiptHandle=message["ReceiptHandle"]
        )
        self.assertEqual(message["MessageAttributes"]["qb-parked"]["StringValue"], reason)
        self.assertEqual(self.executions("stranger"), 0)

    def test_a_forged_job_and_one_with_another_payload_do_not_run(self):
        self.is_parked(self.envelope(lambda call: None), "NOT_AUTHENTIC")

        def point_at_another_tenant(call):
            call.request_ref.key = "other/requests/018bcfe568007abc8def0123456789ab"
            call.request_ref.size = 1

        self.is_parked(self.envelope(point_at_another_tenant), "NOT_AUTHENTIC")

    def test_a_copy_of_a_finished_job_is_not_run_again(self):
        job, body = self.captured_job("copied")
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)
        self.finished(job.id)
        for _ in range(3):
            self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)
        # What is behind them is done after them, or beside them.
        for _ in range(3):
            self.finished(self.submit("Append", self.append("behind")).id)

        def empty():
            names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
            found = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)
            return all(value == "0" for value in found["Attributes"].values())

        until(empty, "an empty queue")
        self.assertEqual(self.executions("copied"), 1)


class Logs(Bridge):
    """Nothing that a caller or a handler has said is in any log, at any level, but the
    message of the error with which a job has failed for good."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.worker.stop()
        cls.gateway.stop()
        cls.gateway_environment["QB_LOG_FILTER"] = "trace"
        cls.worker_environment["QB_LOG_FILTER"] = "trace"
        cls.gateway, cls.worker = cls.new_gateway(), cls.new_worker()
        cls.jobs = cls.connect(cls.gateway)

    def test_no_log_shows_a_request_metadata_a_token_or_a_secret(self):
        payload = f"{CANARY}-request".encode()
        secret = [
            ("authorization", f"Bearer {CANARY}-token"),
            ("x-api-key", f"{CANARY}-key"),
            ("x-canary-bin", f"{CANARY}-binary".encode()),
        ]
        metadata = [
            job_pb2.Metadatum(key="x-canary", ascii=f"{CANARY}-metadata"),
            job_pb2.Metadatum(key="x-canary-bin", binary=payload),
        ]
        submissions = [
            self.request("Echo", probe_pb2.EchoRequest(payload=payload), metadata=metadata),
            self.request(
                "Echo",
                probe_pb2.EchoRequest(payload=payload, response_bytes=400_000),
                metadata=metadata,
            ),
            self.request("Fail", probe_pb2.FailRequest(code=9, message=ERROR)),
        ]
        for request in submissions:
            job = self.jobs.Submit(request, metadata=secret)
            self.assertGreater(self.finished(job.id).state, job_pb2.STATE_RUNNING)
        large = probe_pb2.EchoRequest(payload=payload * 40_000)
        self.finished(self.jobs.Submit(self.request("Echo", large), metadata=secret).id)
        with grpc.insecure_channel(self.gateway.address) as channel:
            probe = probe_pb2_grpc.ProbeStub(channel)
            answer = probe.Echo(probe_pb2.EchoRequest(payload=payload), metadata=secret)
            self.assertEqual(answer.payload, payload)
        secrets = {
            name: value.split(":", 1)[1]
            for environment in [self.gateway_environment, self.worker_environment]
            for name, value in environment.items()
            if name.endswith("_KEYS")
        }
        raw = CANARY.encode()
        forms = {
            "text": CANARY,
            "base64": base64.b64encode(raw)[:16].decode(),
            "hex": raw.hex(),
            "numbers": ", ".join(str(byte) for byte in raw),
            **secrets,
        }
        for process in [self.gateway, self.worker]:
            log = process.log.read_text()
            self.assertNotIn('"target":"h2', log)
            for form, text in forms.items():
                at = log.find(text)
                self.assertEqual(at, -1, f"{form}: {log[max(at - 400, 0):at + 100]}")
        shown = [line for line in self.worker.log.read_text().splitlines() if ERROR in line]
        told = [json.loads(line)["fields"] for line in shown]
        self.assertEqual([line["message"] for line in told], ["a job has failed"])
        self.assertNotIn(ERROR, self.gateway.log.read_text())
