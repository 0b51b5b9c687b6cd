"""Large requests and answers: by reference, in pieces, and what is wrong with them."""

import base64
import hashlib
import json
import os
import uuid

import grpc
from bridge import Bridge, client, seconds
from processes import until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import envelope_pb2, job_pb2, jobs_pb2

HUGE = 100_000_000


def memory(process, name):
    """A figure of a process in MiB, such as its peak (VmHWM)."""
    with open(f"/proc/{process.process.pid}/status") as status:
        line = next(line for line in status if line.startswith(name))
    return int(line.split()[1]) / 1024


class Payloads(Bridge):
    # A busy emulator takes seconds for a hundred megabytes, and answers nobody meanwhile.
    lease = "30s"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.bucket = cls.common["QB_STORE_PAYLOAD_BUCKET"]
        cls.s3 = client("s3")
        cls.pointed = f"{cls.bucket}-pointed"
        cls.s3.create_bucket(Bucket=cls.pointed)
        cls.parked = cls.sqs.create_queue(QueueName=f"{cls.bucket}-parked")["QueueUrl"]
        cls.worker.stop()
        cls.worker_environment["QB_EXTENDED_CLIENT_BUCKETS"] = cls.pointed
        cls.worker_environment["QB_PARKING_QUEUE_URL"] = cls.parked
        cls.worker = cls.new_worker()

    def objects(self, job, kind):
        listed = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        uuid = str(self.uuid(job))
        return [item["Key"] for item in listed if uuid in item["Key"] and kind in item["Key"]]

    def uuid(self, job):
        return uuid.UUID(bytes=base64.urlsafe_b64decode(job.id + "=")[3:19])

    def answer_of(self, size):
        request = probe_pb2.EchoRequest(payload=os.urandom(1000), response_bytes=size)
        job = self.finished(self.submit("Echo", request).id)
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED, job.error)
        return job

    def pieces(self, job, offset=0):
        return self.jobs.DownloadResult(jobs_pb2.DownloadResultRequest(id=job.id, offset=offset))

    def download(self, job, offset=0):
        stream = self.pieces(job, offset)
        info = next(stream).info
        return info, b"".join(piece.chunk for piece in stream)

    def test_a_hundred_megabytes_pass_through_a_small_gateway(self):
        self.answer_of(10)
        before = memory(self.gateway, "VmHWM")
        job = self.answer_of(HUGE)
        self.assertEqual(job.response.message, b"")
        self.assertGreater(job.response.size, HUGE)
        digest, size = hashlib.sha256(), 0
        stream = self.pieces(job)
        info = next(stream).info
        for piece in stream:
            self.assertLessEqual(len(piece.chunk), 256 * 1024)
            digest.update(piece.chunk)
            size += len(piece.chunk)
        self.assertEqual((size, digest.digest()), (info.size, info.sha256))
        self.assertEqual((info.size, info.sha256), (job.response.size, job.response.sha256))
        self.assertEqual(info.type, "queuebridge.demo.v1.EchoResponse")
        grown = memory(self.gateway, "VmHWM") - before
        self.assertLess(grown, HUGE / 2 / 2**20, "MiB more")

    def test_a_download_goes_on_where_it_broke_off(self):
        job = self.answer_of(10_000_000)
        _, whole = self.download(job)
        self.assertEqual(probe_pb2.EchoResponse.FromString(whole).payload[:3], whole[5:8])
        for offset in [1, 5_000_000, len(whole) - 1, len(whole)]:
            info, rest = self.download(job, offset)
            self.assertEqual((info.size, rest), (len(whole), whole[offset:]))
        beyond = lambda: self.download(job, len(whole) + 1)
        self.refused("INVALID_ARGUMENT", "INVALID_FIELD", "offset", beyond)

    def test_a_reader_who_stops_holds_nothing(self):
        job = self.answer_of(HUGE)
        before = memory(self.gateway, "VmRSS")
        streams = [self.pieces(job) for _ in range(10)]
        for stream in streams:
            next(stream), next(stream)
        self.assertLess(memory(self.gateway, "VmRSS") - before, 64)
        for stream in streams:
            stream.cancel()

    def test_small_answers_can_be_downloaded_too(self):
        for size in [1, 100_000]:
            job = self.answer_of(size)
            self.assertEqual(len(job.response.message), job.response.size)
            info, whole = self.download(job)
            self.assertEqual(whole, job.response.message)
            self.assertEqual(info.sha256, hashlib.sha256(whole).digest())

    def test_without_an_answer_there_is_no_download(self):
        waiting = self.submit("Echo", delay=seconds(900))
        refused = self.refused
        unfinished = lambda: self.download(waiting)
        refused("FAILED_PRECONDITION", "NOT_FINISHED", "", unfinished)
        failed = self.submit("Fail", probe_pb2.FailRequest(code=9), wait=seconds(300))
        refused("FAILED_PRECONDITION", "NO_RESPONSE", "", lambda: self.download(failed))
        bad = lambda: list(self.jobs.DownloadResult(jobs_pb2.DownloadResultRequest(id="x")))
        refused("INVALID_ARGUMENT", "MALFORMED_JOB_ID", "id", bad)

    def test_an_altered_answer_is_an_error_and_no_answer(self):
        job = self.answer_of(10_000_000)
        (key,) = self.objects(job, "/answers/")
        body = self.s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body[:-1] + b"!")
        self.refused("DATA_LOSS", "PAYLOAD_LOST", "", lambda: self.download(job))
        self.s3.put_object(Bucket=self.bucket, Key=key, Body=body[:-1])
        self.refused("DATA_LOSS", "PAYLOAD_LOST", "", lambda: self.download(job))
        self.s3.delete_object(Bucket=self.bucket, Key=key)
        self.refused("DATA_LOSS", "PAYLOAD_LOST", "", lambda: self.download(job))

    def test_a_missing_request_fails_its_job_with_the_reason(self):
        request = probe_pb2.EchoRequest(payload=os.urandom(1_500_000))
        self.worker.stop()
        job = self.submit("Echo", request)
        (key,) = self.objects(job, "/requests/")
        self.s3.delete_object(Bucket=self.bucket, Key=key)
        type(self).worker = self.new_worker()
        job = self.finished(job.id)
        self.assertEqual(job.state, job_pb2.STATE_FAILED)
        self.assertEqual(job.error.code, grpc.StatusCode.DATA_LOSS.value[0])

    def test_delete_takes_the_payloads_along(self):
        request = probe_pb2.EchoRequest(payload=os.urandom(1_500_000))
        job = self.finished(self.submit("Echo", request).id)
        self.assertEqual(len(self.objects(job, "")), 2)
        self.jobs.Delete(jobs_pb2.DeleteRequest(id=job.id))
        self.assertEqual(self.objects(job, ""), [])
        self.refused("NOT_FOUND", "RESULT_PURGED", "", lambda: self.download(job))

    # Messages of the Extended Client Library

    def receive(self, queue):
        """The messages of a queue, once there are some."""
        receive = lambda: self.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=2)
        return until(lambda: receive().get("Messages"), "a message")

    def captured(self):
        """The body of a job's message, and its job, from a queue that nobody reads."""
        queue = self.sqs.create_queue(QueueName=f"qb-{uuid.uuid4().hex[:12]}")["QueueUrl"]
        gateway = self.new_gateway(QB_ROUTES=f'[{{ methods = "*", queue = "{queue}" }}]')
        request = probe_pb2.EchoRequest(payload=b"pointed")
        job = self.submit("Echo", request, jobs=self.connect(gateway))
        (message,) = self.receive(queue)
        return message["Body"], job

    def point(self, bucket, key, kind="software.amazon.payloadoffloading.PayloadS3Pointer"):
        """Sends what the library sends in place of a large body."""
        size = {"DataType": "Number", "StringValue": "300000"}
        self.sqs.send_message(
            QueueUrl=self.queue,
            MessageBody=json.dumps([kind, {"s3BucketName": bucket, "s3Key": key}]),
            MessageAttributes={"ExtendedPayloadSize": size},
        )

    def test_a_pointer_into_a_named_bucket_is_followed(self):
        kinds = [
            "software.amazon.payloadoffloading.PayloadS3Pointer",
            "com.amazon.sqs.javamessaging.MessageS3Pointer",
        ]
        for kind in kinds:
            body, job = self.captured()
            self.s3.put_object(Bucket=self.pointed, Key="k", Body=body.encode())
            self.point(self.pointed, "k", kind)
            answer = self.finished(job.id).response.message
            self.assertEqual(probe_pb2.EchoResponse.FromString(answer).payload, b"pointed")
            # It may be needed by another copy.
            self.s3.head_object(Bucket=self.pointed, Key="k")

    def test_other_pointers_are_parked_with_the_reason(self):
        self.s3.put_object(Bucket=self.pointed, Key="nonsense", Body=b"nonsense")
        for bucket, key, expected in [
            (self.bucket, "k", "POINTER_REFUSED"),
            (self.pointed, "missing", "PAYLOAD_LOST"),
            (self.pointed, "nonsense", "UNDECODABLE"),
        ]:
            self.point(bucket, key)
            parked = until(
                lambda: self.sqs.receive_message(
                    QueueUrl=self.parked, MessageAttributeNames=["All"]
                ).get("Messages"),
                "the parked message",
            )[0]
            self.assertEqual(parked["MessageAttributes"]["qb-parked"]["StringValue"], expected)
            # As it came, so that it can be sent again.
            self.assertIn(bucket, parked["Body"])
            self.sqs.delete_message(QueueUrl=self.parked, ReceiptHandle=parked["ReceiptHandle"])

    def test_what_shrinks_is_sent_small_and_what_does_not_as_it_is(self):
        name = self.queue.rsplit("/", 1)[1] + "-unread"
        queue = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        gateway = self.new_gateway(QB_ROUTES=f'[{{ methods = "*", queue = "{queue}" }}]')
        jobs = self.connect(gateway)
        text = b'{"name": "value", "list": [1, 2, 3]}, ' * 5000
        for payload, encoding in [(text, 1), (os.urandom(100_000), 0), (b"small" * 10, 0)]:
            request = probe_pb2.EchoRequest(payload=payload)
            self.submit("Echo", request, jobs=jobs)
            (received,) = self.receive(queue)
            envelope = envelope_pb2.Envelope.FromString(base64.b64decode(received["Body"]))
            self.assertEqual(envelope.encoding, encoding)
            if encoding:
                self.assertLess(len(received["Body"]), len(payload) / 20)
            self.sqs.delete_message(QueueUrl=queue, ReceiptHandle=received["ReceiptHandle"])
        # And the worker understands it.
        echoed = self.submit("Echo", probe_pb2.EchoRequest(payload=text), wait=seconds(300))
        message = probe_pb2.EchoResponse.FromString(echoed.response.message)
        self.assertEqual(message.payload, text)
