"""Encryption by gateway and worker, with a key of KMS: what can be seen of jobs in
queues, table and bucket, and what happens without the key."""

import base64
import json

import grpc
from bridge import Bridge, client
from processes import until
from queuebridge.demo.v1 import probe_pb2, probe_pb2_grpc
from queuebridge.v1 import callback_pb2, envelope_pb2, job_pb2, jobs_pb2
from receivers import Webhook

CANARY = "canary-7f3a91"
BYTES = CANARY.encode()


class Encryption(Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.kms = client("kms")
        cls.key = cls.kms.create_key()["KeyMetadata"]["Arn"]
        name = cls.common["QB_STORE_TABLE"]
        create = lambda suffix: cls.sqs.create_queue(QueueName=f"{name}-{suffix}")["QueueUrl"]
        cls.parked, cls.callbacks, cls.replies = map(create, ["parked", "callbacks", "replies"])
        encryption = {"QB_ENCRYPTION_KEYS": cls.key, "QB_ENCRYPTION_REQUIRED": "true"}
        cls.worker.stop()
        cls.gateway.stop()
        cls.gateway_environment |= encryption | {
            "QB_CALLBACKS_QUEUE": cls.callbacks,
            "QB_CALLBACKS_ALLOW_HTTP": "true",
            "QB_REPLIES_QUEUES": cls.replies,
        }
        cls.worker_environment |= encryption | {
            "QB_PARKING_QUEUE_URL": cls.parked,
            "QB_CALLBACK_QUEUE_URL": cls.callbacks,
        }
        cls.gateway, cls.worker = cls.new_gateway(), cls.new_worker()
        cls.jobs = cls.connect(cls.gateway)
        cls.dynamodb, cls.s3 = client("dynamodb"), client("s3")

    def stored(self):
        """Everything that table and bucket hold, as bytes."""
        name = self.common["QB_STORE_TABLE"]
        items = self.dynamodb.scan(TableName=name)["Items"]
        values = [value for item in items for part in item.values() for value in part.values()]
        kept = [value if isinstance(value, bytes) else str(value).encode() for value in values]
        for item in self.s3.list_objects_v2(Bucket=name).get("Contents", []):
            kept.append(self.s3.get_object(Bucket=name, Key=item["Key"])["Body"].read())
        self.assertTrue(kept)
        return kept

    def received(self, queue):
        """A message of a queue as its reader sees it, and the bytes inside."""
        receive = lambda: self.sqs.receive_message(
            QueueUrl=queue,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
            VisibilityTimeout=0,
        ).get("Messages")
        message = until(receive, "a message")[0]
        envelope = envelope_pb2.Envelope.FromString(base64.b64decode(message["Body"]))
        encrypted = envelope_pb2.ENCODING_ENCRYPTED, envelope_pb2.ENCODING_ENCRYPTED_ZSTD
        self.assertIn(envelope.encoding, encrypted)
        return json.dumps(message, default=str).encode() + envelope.content

    def see_nothing(self, *seen):
        for part in seen:
            self.assertNotIn(BYTES, part)
            self.assertNotIn(base64.b64encode(BYTES)[:12], part)

    def echo(self, answer=0):
        payload = BYTES * 20
        return probe_pb2.EchoRequest(payload=payload, response_bytes=answer)

    def metadata(self):
        return [job_pb2.Metadatum(key="x-canary", ascii=CANARY)]

    def test_a_reader_of_queue_table_and_bucket_sees_no_byte_of_a_job(self):
        jobs, queue = self.capture()
        small = self.submit("Echo", self.echo(), jobs=jobs, metadata=self.metadata())
        self.see_nothing(self.received(queue))
        body = self.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=20)["Messages"][0]["Body"]
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body)
        large = probe_pb2.EchoRequest(payload=BYTES * 100_000, response_bytes=500_000)
        large = self.submit("Echo", large)
        job = self.finished(small.id)
        answer = probe_pb2.EchoResponse.FromString(job.response.message)
        self.assertEqual(answer.payload, BYTES * 20)
        job = self.finished(large.id)
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED, job.error)
        download = self.jobs.DownloadResult(
            jobs_pb2.DownloadResultRequest(id=large.id, offset=200_000)
        )
        rest = b"".join(piece.chunk for piece in download)
        self.assertEqual(len(rest), job.response.size - 200_000)
        self.assertIn(BYTES, rest)
        failed = self.submit("Fail", probe_pb2.FailRequest(code=9, message=CANARY))
        self.assertEqual(self.finished(failed.id).error.message, CANARY)
        self.see_nothing(*self.stored())

    def test_a_stream_rests_encrypted_too(self):
        with grpc.insecure_channel(self.gateway.address) as channel:
            chat = probe_pb2_grpc.ProbeStub(channel).Chat
            payloads = [f"{CANARY}-{number}".encode() for number in range(5)]
            said = chat(probe_pb2.ChatRequest(payload=payload) for payload in payloads)
            answers = [answer.payload for answer in said]
        self.assertEqual(answers, payloads)
        self.see_nothing(*self.stored())

    def test_a_callback_carries_what_its_queue_does_not_show(self):
        webhook = Webhook()
        self.addCleanup(webhook.close)
        callback = callback_pb2.Callback(webhook_url=f"{webhook.url}/{CANARY}")
        job = self.submit("Echo", self.echo(), callback=callback)
        self.finished(job.id)
        self.see_nothing(self.received(self.callbacks))
        sender = self.new_worker(
            QB_QUEUE_URL=self.callbacks,
            QB_WORKER_ROLE="callbacks",
            QB_CALLBACK_ALLOW_NETWORKS="127.0.0.0/8",
        )
        _, _, body, _ = until(lambda: webhook.of(job.id), "the callback")[0]
        self.assertIn(b"SUCCEEDED", body)
        sender.stop()

    def test_z_without_its_key_nothing_is_accepted_and_nothing_is_lost(self):
        self.worker.stop()
        waiting = self.submit("Echo", self.echo())
        self.kms.disable_key(KeyId=self.key)
        gateway, worker = self.new_gateway(), self.new_worker()
        jobs = self.connect(gateway)
        error = self.refused(
            "UNAVAILABLE", "KEY_UNAVAILABLE", "", jobs.Submit, self.request("Echo", self.echo())
        )
        self.assertNotIn("arn:", error.details())
        told = "a data key could not be had"
        for process in [gateway, worker]:
            fields = until(lambda: process.logged(told), told)
            self.assertIn(self.key, fields["error"])
        until(lambda: worker.logged("a message was not opened"), "the redelivery")
        self.assertEqual(self.get(waiting.id).state, job_pb2.STATE_ACCEPTED)
        counts = self.sqs.get_queue_attributes(
            QueueUrl=self.parked, AttributeNames=["ApproximateNumberOfMessages"]
        )
        self.assertEqual(counts["Attributes"]["ApproximateNumberOfMessages"], "0")
        self.kms.enable_key(KeyId=self.key)
        self.assertEqual(self.finished(waiting.id, jobs).state, job_pb2.STATE_SUCCEEDED)
        self.assertTrue(jobs.Submit(self.request("Echo", self.echo())).id)
        worker.stop()
        type(self).worker = self.new_worker()
