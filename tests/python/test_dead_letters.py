"""Messages that failed for good: their jobs end, and a person finds them."""

import json
import signal

from bridge import Bridge, client, reason
from processes import until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2


class DeadLetters(Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        name = cls.queue.rsplit("/", 1)[1]
        make = lambda suffix: cls.sqs.create_queue(QueueName=f"{name}-{suffix}")["QueueUrl"]
        cls.dead, cls.parking = make("dead"), make("parked")
        arn = cls.sqs.get_queue_attributes(QueueUrl=cls.dead, AttributeNames=["QueueArn"])
        policy = {"deadLetterTargetArn": arn["Attributes"]["QueueArn"], "maxReceiveCount": "8"}
        cls.sqs.set_queue_attributes(
            QueueUrl=cls.queue, Attributes={"RedrivePolicy": json.dumps(policy)}
        )
        cls.worker_environment["QB_PARKING_QUEUE_URL"] = cls.parking
        cls.worker.stop(signal.SIGKILL)
        cls.worker = cls.new_worker()
        cls.undertaker = cls.new_worker(QB_WORKER_ROLE="dead-letters", QB_QUEUE_URL=cls.dead)

    found = []

    def parked(self, why, job=None):
        """The body and the attributes of what is parked for this reason."""

        def look():
            answer = self.sqs.receive_message(
                QueueUrl=self.parking, WaitTimeSeconds=2, MessageAttributeNames=["All"]
            )
            for message in answer.get("Messages", []):
                receipt = message["ReceiptHandle"]
                self.sqs.delete_message(QueueUrl=self.parking, ReceiptHandle=receipt)
                attributes = message["MessageAttributes"].items()
                values = {name: value["StringValue"] for name, value in attributes}
                self.found.append((message["Body"], values))
            for body, values in self.found:
                if values["qb-parked"] == why and job in [None, values.get("qb-job")]:
                    self.found.remove((body, values))
                    return body, values
            return None

        return until(look, f"what is parked as {why}")

    def test_a_job_whose_workers_keep_dying_ends_for_its_caller(self):
        job = self.submit("Append", self.append("dying", then_wait=600))
        done = None
        while done is None:
            runs = self.executions("dying")
            over = lambda: self.get(job.id).state > job_pb2.STATE_RUNNING
            until(lambda: self.executions("dying") > runs or over(), "a run, or the end")
            if over():
                done = self.get(job.id)
            else:
                self.worker.stop(signal.SIGKILL)
                type(self).worker = self.new_worker()
        # Whichever comes first: the count of claims, or the queue's of receives,
        # some of which the connections of dead workers have taken.
        why = reason(done.error)[0]
        self.assertEqual(done.state, job_pb2.STATE_FAILED)
        self.assertIn(why, ["DEAD_LETTERED", "ATTEMPTS_EXHAUSTED"])
        _, attributes = self.parked(why, job.id)
        self.assertEqual(attributes["qb-method"], job.method)
        self.assertIn(self.executions("dying"), range(1, 4))

    def test_a_job_that_nobody_could_start_ends_too(self):
        self.worker.stop()
        job = self.submit("Append", self.append("unstarted"))

        def over():
            self.sqs.receive_message(QueueUrl=self.queue, VisibilityTimeout=0, WaitTimeSeconds=1)
            return self.get(job.id).state > job_pb2.STATE_RUNNING

        until(over, "the receive that finds it too often received, and its end")
        done = self.get(job.id)
        type(self).worker = self.new_worker()
        self.assertEqual((done.state, reason(done.error)[0]), (job_pb2.STATE_FAILED, "DEAD_LETTERED"))
        self.parked("DEAD_LETTERED", job.id)
        self.assertEqual(self.executions("unstarted"), 0)

    def test_what_used_its_attempts_up_can_be_found_and_is_never_deleted_unrun(self):
        request = probe_pb2.FlakyRequest(key="parking", failures=99)
        job = self.submit("Flaky", request)
        done = self.finished(job.id)
        self.assertEqual((done.state, done.attempt), (job_pb2.STATE_FAILED, 3))
        body, attributes = self.parked("ATTEMPTS_EXHAUSTED", job.id)
        # By hand, back to where it came from.
        attributes = {
            name: {"DataType": "String", "StringValue": value}
            for name, value in attributes.items()
        }
        self.sqs.send_message(QueueUrl=self.queue, MessageBody=body, MessageAttributes=attributes)
        again, _ = self.parked("FINISHED", job.id)
        self.assertEqual(again, body)
        self.assertEqual(self.get(job.id), done)

    def test_what_is_not_ours_is_parked_at_once(self):
        self.sqs.send_message(QueueUrl=self.queue, MessageBody="not ours")
        self.assertEqual(self.parked("UNDECODABLE")[0], "not ours")


class Wrapped(Bridge):
    """A topic whose subscription has no raw delivery."""

    def test_a_notification_is_unwrapped(self):
        sns = client("sns")
        topic = sns.create_topic(Name=self.queue.rsplit("/", 1)[1])["TopicArn"]
        arn = self.sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=["QueueArn"])
        endpoint = arn["Attributes"]["QueueArn"]
        sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=endpoint)
        gateway = self.new_gateway(QB_ROUTES=f'[{{ methods = "*", topic = "{topic}" }}]')
        jobs = self.connect(gateway)
        job = self.submit("Echo", probe_pb2.EchoRequest(payload=b"wrapped"), jobs=jobs)
        answer = probe_pb2.EchoResponse.FromString(self.finished(job.id).response.message)
        self.assertEqual(answer.payload, b"wrapped")
