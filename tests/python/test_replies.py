"""Reply shards and watches, with gateways that come and go."""

import base64
import uuid
from concurrent.futures import ThreadPoolExecutor

import grpc
from bridge import Bridge, client, seconds
from processes import PATIENCE, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import envelope_pb2, job_pb2, jobs_pb2, reply_pb2

HELD = "reading a reply shard"


def states(stream):
    return [message.job.state for message in stream]


class Replies(Bridge):
    """One reply shard and two gateways: the first one reads it."""

    def gateways(self):
        name = f"qb-replies-{uuid.uuid4().hex[:12]}"
        self.shard = self.sqs.create_queue(QueueName=name)["QueueUrl"]
        first = self.new_gateway(QB_REPLIES_QUEUES=self.shard)
        until(lambda: first.logged(HELD), "the shard")
        second = self.new_gateway(QB_REPLIES_QUEUES=self.shard)
        return first, second

    def waiting(self):
        """The messages on the shard that nobody has taken."""
        attributes = self.sqs.get_queue_attributes(QueueUrl=self.shard, AttributeNames=["All"])
        numbers = attributes["Attributes"]
        return int(numbers["ApproximateNumberOfMessages"])

    def watch(self, jobs, id, token=b"", **options):
        request = jobs_pb2.WatchResultRequest(id=id, resume_token=token)
        return jobs.WatchResult(request, **options)

    def sleep_for(self, time):
        return probe_pb2.SleepRequest(duration=seconds(time))

    def test_announcements_are_answers_and_lost_ones_are_not_missed(self):
        first, second = self.gateways()
        jobs = self.connect(first)
        done = self.submit("Echo", probe_pb2.EchoRequest(), jobs=jobs, wait=seconds(300))
        self.assertEqual(done.state, job_pb2.STATE_SUCCEEDED)
        until(lambda: self.waiting() == 0, "the announcement to be taken")
        self.assertFalse([line for line in first.log.read_text().splitlines() if "WARN" in line])

        # What is not ours is dropped.
        for body in ["nonsense", base64.b64encode(b"\x08\x01").decode()]:
            self.sqs.send_message(QueueUrl=self.shard, MessageBody=body)
        # A call and an announcement are not taken for each other.
        queued = self.submit("Echo", probe_pb2.EchoRequest(), jobs=jobs, delay=seconds(900))
        self.assertEqual(self.submit("Echo", jobs=jobs, wait=seconds(300)).state, done.state)
        until(lambda: self.waiting() == 0, "the nonsense to be dropped")
        self.assertEqual(self.get(queued.id, jobs=jobs).state, job_pb2.STATE_ACCEPTED)

        # The holder dies while a caller waits; another gateway has the answer. It does not
        # take the shard over.
        second.stop()
        job = self.submit("Sleep", self.sleep_for(20), jobs=jobs)
        broken = jobs.GetResult.future(jobs_pb2.GetResultRequest(id=job.id, wait=seconds(60)))
        # Sent later over the same connection, and answered: so the first one is there.
        next(iter(self.watch(jobs, job.id)))
        first.kill()
        self.assertIsInstance(broken.exception(PATIENCE), grpc.RpcError)
        self.assertEqual(self.finished(job.id).state, job_pb2.STATE_SUCCEEDED)

        # Nobody reads the shard now: what is announced says no more than it may.
        message = until(
            lambda: self.sqs.receive_message(QueueUrl=self.shard).get("Messages"), "the message"
        )[0]
        envelope = envelope_pb2.Envelope.FromString(base64.b64decode(message["Body"]))
        announcements = reply_pb2.Announcements.FromString(envelope.content)
        self.assertEqual(announcements.jobs[0].finished.state, job_pb2.STATE_SUCCEEDED)

    def test_the_shard_of_a_stopped_gateway_is_taken_over(self):
        first, second = self.gateways()
        self.assertIsNone(second.logged(HELD))
        self.assertEqual(first.stop(), 0)
        until(lambda: second.logged(HELD), "the shard")
        jobs = self.connect(second)
        done = self.submit("Echo", probe_pb2.EchoRequest(), jobs=jobs, wait=seconds(300))
        self.assertEqual(done.state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual(second.stop(), 0)

    def test_a_watch_goes_on_at_another_gateway(self):
        first, second = self.gateways()
        jobs, other = self.connect(first), self.connect(second)
        request = probe_pb2.ReportRequest(steps=60, step=seconds(0.5))
        job = self.submit("Report", request, jobs=jobs)
        seen = []
        stream = self.watch(jobs, job.id)
        for message in stream:
            seen.append(message)
            if message.job.state == job_pb2.STATE_RUNNING:
                break
        first.kill()
        with self.assertRaises(grpc.RpcError):
            list(stream)
        seen += self.watch(other, job.id, seen[-1].resume_token)
        shown = [(m.job.state, m.job.attempt, m.job.progress.fraction) for m in seen]
        self.assertEqual(len(shown), len(set(shown)), shown)
        self.assertEqual(shown, sorted(shown))
        self.assertEqual(seen[-1].job.state, job_pb2.STATE_SUCCEEDED)
        self.assertTrue(any(0 < fraction < 1 for _, _, fraction in shown), shown)
        # Who has seen the end sees nothing more.
        self.assertEqual(list(self.watch(other, job.id, seen[-1].resume_token)), [])
        second.stop()

    def test_a_drained_gateway_says_that_the_watch_goes_on_elsewhere(self):
        first, second = self.gateways()
        jobs = self.connect(first)
        job = self.submit("Sleep", self.sleep_for(20), jobs=jobs)
        stream = self.watch(jobs, job.id)
        token = next(stream).resume_token
        first.kill(15)
        with self.assertRaises(grpc.RpcError) as raised:
            list(stream)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.UNAVAILABLE)
        rest = states(self.watch(self.connect(second), job.id, token))
        self.assertEqual(rest[-1], job_pb2.STATE_SUCCEEDED)
        second.stop()

    def test_a_token_of_another_job_is_refused(self):
        one = self.submit("Echo", wait=seconds(300))
        two = self.submit("Echo", wait=seconds(300))
        token = list(self.watch(self.jobs, one.id))[-1].resume_token
        for wrong in [token, b"x", token + b"x"]:
            self.refused(
                "INVALID_ARGUMENT",
                "INVALID_FIELD",
                "resume_token",
                lambda token: list(self.watch(self.jobs, two.id, token)),
                wrong,
            )

    def test_a_thousand_watchers_on_one_connection(self):
        jobs = self.jobs
        ids = [self.submit("Sleep", self.sleep_for(2)).id for _ in range(10)]
        streams = [self.watch(jobs, id) for id in ids for _ in range(100)]
        with ThreadPoolExecutor(32) as pool:
            ends = list(pool.map(lambda stream: states(stream)[-1], streams))
        self.assertEqual(set(ends), {job_pb2.STATE_SUCCEEDED})

    def test_a_deleted_result_is_purged_and_its_job_is_not_run_again(self):
        job = self.submit("Append", self.append("deleted"), request_id="deleted")
        self.finished(job.id)
        delete = jobs_pb2.DeleteRequest(id=job.id)
        for _ in range(2):
            self.jobs.Delete(delete)
        self.refused("NOT_FOUND", "RESULT_PURGED", "", self.get, job.id)
        again = lambda: self.submit("Append", self.append("deleted"), request_id="deleted")
        self.refused("NOT_FOUND", "RESULT_PURGED", "", again)
        self.assertEqual(self.executions("deleted"), 1)
        items = client("dynamodb").scan(TableName=self.common["QB_STORE_TABLE"])["Items"]
        rested = [item for item in items if item.get("deleted", {}).get("BOOL")]
        self.assertEqual(len(rested), 1)
        self.assertNotIn("outcome", rested[0])

    def test_what_is_not_finished_is_not_deleted(self):
        job = self.submit("Sleep", self.sleep_for(20))
        delete = jobs_pb2.DeleteRequest(id=job.id)
        self.refused("FAILED_PRECONDITION", "NOT_FINISHED", "", self.jobs.Delete, delete)
        self.assertEqual(self.finished(job.id).state, job_pb2.STATE_SUCCEEDED)
        self.jobs.Delete(delete)
        bad = jobs_pb2.DeleteRequest(id="x")
        self.refused("INVALID_ARGUMENT", "MALFORMED_JOB_ID", "id", self.jobs.Delete, bad)
