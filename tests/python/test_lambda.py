"""The worker as a Lambda function, fed with SQS events."""

import json

from bridge import FIXTURES, IMAGES, Bridge
from processes import BINARIES, until
from queuebridge.demo.v1 import images_pb2, probe_pb2
from queuebridge.v1 import job_pb2
from rie import Function


class Lambda(Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        environment = {k: v for k, v in cls.worker_environment.items() if k != "QB_QUEUE_URL"}
        cls.function = Function(BINARIES / "queuebridge-demo", environment, cls.dir / "lambda.log")
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
                VisibilityTimeout=600,
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

    def test_what_a_pipe_of_eventbridge_hands_on_is_run(self):
        good = self.submit("Echo", probe_pb2.EchoRequest(payload=b"x"))
        self.sqs.send_message(QueueUrl=self.queue, MessageBody="not ours")
        records = self.records(2)
        strange = [one["messageId"] for one in records if not one["messageAttributes"]]
        answer = self.function.invoke(records)
        self.assertEqual(answer, {"batchItemFailures": [{"itemIdentifier": strange[0]}]})
        self.assertEqual(self.get(good.id).state, job_pb2.STATE_SUCCEEDED)
        self.delete(records)
        self.assertEqual(self.function.invoke([]), {"batchItemFailures": []})

    def test_events_that_have_no_door_are_refused_with_the_way_out(self):
        topic = {"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": {"Message": "x"}}
        stream = {"eventSource": "aws:kinesis", "kinesis": {"data": "eA=="}}
        for event, parts in [
            ({"Records": [topic]}, ["aws:sns", "subscribe the worker's queue to the topic"]),
            ({"Records": [stream]}, ["aws:kinesis", "submit jobs at a gateway"]),
            ([stream], ["aws:kinesis", "submit jobs at a gateway"]),
            ({"key1": "value1"}, ["no known kind", "how the function is invoked"]),
            ("text", ["expected an event, or a list of messages of SQS"]),
        ]:
            answer = self.function.invoke(event)
            for part in parts:
                self.assertIn(part, answer["errorMessage"])

    def documented(self, name, record, **fields):
        """The record of a documented event with the body of a real message."""
        event = json.loads((FIXTURES / "events" / name).read_text())
        return {**event["Records"][0], "body": record["body"], **fields}

    def test_a_documented_event_with_all_attributes_is_run(self):
        job = self.submit("Echo", probe_pb2.EchoRequest(payload=b"x"))
        records = self.records(1)
        full = self.documented("sqs.json", records[0])
        binary = [v for v in full["messageAttributes"].values() if "binaryValue" in v]
        self.assertEqual((len(full["messageAttributes"]), len(binary)), (10, 2))
        broken = self.documented("sqs_fifo.json", {"body": "not ours"})
        answer = self.function.invoke({"Records": [full, broken]})
        failures = [{"itemIdentifier": broken["messageId"]}]
        self.assertEqual(answer, {"batchItemFailures": failures})
        self.delete(records)
        self.assertEqual(self.get(job.id).state, job_pb2.STATE_SUCCEEDED)

    def test_the_largest_event_is_run(self):
        payload = b"x" * 700_000
        request = probe_pb2.EchoRequest(payload=payload, response_bytes=1)
        jobs = [self.submit("Echo", request) for _ in range(6)]
        records = self.records(6)
        size = len(json.dumps({"Records": records}))
        filler = 6 * 1024 * 1024 - size - 1000
        broken = self.documented("sqs.json", {"body": "y" * (filler - 4000)}, messageId="broken")
        event = {"Records": [*records[:3], broken, *records[3:]]}
        self.assertGreater(len(json.dumps(event)), 6_200_000)
        failures = [{"itemIdentifier": "broken"}]
        self.assertEqual(self.function.invoke(event), {"batchItemFailures": failures})
        self.delete(records)
        for job in jobs:
            self.assertEqual(self.get(job.id).state, job_pb2.STATE_SUCCEEDED)

    def test_an_event_without_an_id_fails_as_a_whole(self):
        answer = self.function.invoke({"Records": [{"messageId": "", "body": "x"}]})
        self.assertIn("errorMessage", answer)
        self.assertEqual(self.function.invoke({"Records": []}), {"batchItemFailures": []})
