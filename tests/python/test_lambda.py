"""The release binary as a Lambda function, fed with SQS events."""

import os
import shutil

from bridge import FIXTURES, IMAGES, Bridge
from processes import until
from queuebridge.demo.v1 import images_pb2, probe_pb2
from queuebridge.v1 import job_pb2
from rie import Function


class Lambda(Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        bootstrap = cls.dir / "bootstrap"
        shutil.copy(os.environ["QB_TEST_BOOTSTRAP"], bootstrap)
        environment = {k: v for k, v in cls.worker_environment.items() if k != "QB_QUEUE_URL"}
        cls.function = Function(bootstrap, environment, cls.dir / "lambda.log")
        cls.addClassCleanup(cls.function.kill)

    @classmethod
    def new_worker(cls, **environment):
        """The function is the only worker here."""

    def records(self, count):
        """Messages of the queue as an event source hands them over."""
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        records = []

        def received():
            answer = self.sqs.receive_message(
                QueueUrl=self.queue,
                MaxNumberOfMessages=10,
                WaitTimeSeconds=1,
                AttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
            for message in answer.get("Messages", []):
                attributes = message.get("MessageAttributes", {})
                records.append(
                    {
                        "messageId": message["MessageId"],
                        "receiptHandle": message["ReceiptHandle"],
                        "body": message["Body"],
                        "attributes": message.get("Attributes", {}),
                        "messageAttributes": {
                            name: {"dataType": "String", "stringValue": value["StringValue"]}
                            for name, value in attributes.items()
                        },
                        "md5OfBody": message["MD5OfBody"],
                        "eventSource": "aws:sqs",
                        "eventSourceARN": arn["Attributes"]["QueueArn"],
                        "awsRegion": "us-east-1",
                    }
                )
            return len(records) >= count

        until(received, f"{count} messages")
        return records

    def delete(self, records):
        for record in records:
            self.sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=record["receiptHandle"])

    def test_a_job_goes_through_the_function(self):
        picture = (FIXTURES / "shapes.png").read_bytes()
        request = images_pb2.ThumbnailRequest(image=picture, max_edge=32)
        job = self.submit(IMAGES + "Thumbnail", request)
        records = self.records(1)
        self.assertEqual(self.function.invoke({"Records": records}), {"batchItemFailures": []})
        self.delete(records)
        done = self.get(job.id)
        self.assertEqual((done.state, done.attempt), (job_pb2.STATE_SUCCEEDED, 1))
        again = self.function.invoke({"Records": records})
        self.assertEqual(again, {"batchItemFailures": []}, "a duplicate is acknowledged unrun")
        self.assertEqual(self.get(job.id), done)

    def test_only_what_is_to_be_redelivered_is_listed(self):
        good = self.submit("Echo", probe_pb2.EchoRequest(payload=b"x"))
        flaky = self.submit("Flaky", probe_pb2.FlakyRequest(key="lambda", failures=1))
        self.sqs.send_message(QueueUrl=self.queue, MessageBody="not ours")
        records = self.records(3)
        answer = self.function.invoke({"Records": records})
        failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
        bodies = {record["messageId"]: record["messageAttributes"] for record in records}
        expected = {
            id
            for id, attributes in bodies.items()
            if attributes.get("qb-job", {}).get("stringValue") != good.id
        }
        self.assertEqual(failed, expected)
        self.assertEqual(self.get(good.id).state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual(self.get(flaky.id).state, job_pb2.STATE_ACCEPTED)
        self.delete(records)

    def test_an_event_without_an_id_fails_as_a_whole(self):
        answer = self.function.invoke({"Records": [{"messageId": "", "body": "x"}]})
        self.assertIn("errorMessage", answer)
        self.assertEqual(self.function.invoke({"Records": []}), {"batchItemFailures": []})
