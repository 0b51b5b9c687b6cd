"""Parked messages become new jobs, each once, and nothing is lost on the way."""

import base64
import json
import os
import signal
import subprocess
import threading
import uuid

from bridge import ENDPOINT, IMAGES, PROBE, Bridge, client, key
from lossy import Lossy
from processes import BINARIES, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import envelope_pb2, job_pb2

SUCCESS, STAYS, USAGE, CALL_FAILED, STOPPED = range(5)


class Replay(Bridge):
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
        output, error = process.communicate(timeout=120)
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

    # Tests

    def test_one_job_is_run_again_under_a_new_id_that_names_the_old_one(self):
        ids = [self.park("Append", self.append(f"one-{n}")) for n in range(3)]
        lines, summary = self.replay("--job", ids[1])
        (line,) = lines
        self.assertEqual((line["status"], line["job"]), ("REPLAYED", ids[1]))
        self.assertEqual((line["method"], line["reason"]), (f"{PROBE}Append", "ATTEMPTS_EXHAUSTED"))
        self.assertNotEqual(line["newJob"], ids[1])
        self.ran(line, "one-1")
        expected = {"replayed": 1, "listed": 0, "stayedParked": 0, "notSelected": 2}
        self.assertEqual(summary, {**expected, "complete": True})
        self.assertEqual((self.executions("one-0"), self.executions("one-2")), (0, 0))
        self.assertEqual(self.parked(), 2)

    def test_everything_is_as_it_was(self):
        metadata = [
            job_pb2.Metadatum(key="x-text", ascii="a"),
            job_pb2.Metadatum(key="x-raw-bin", binary=bytes([0, 255])),
        ]
        request = probe_pb2.EchoRequest(payload=b"as it was")
        id = self.park("Echo", request, metadata=metadata)
        ordered = self.park("/ordered.Service/M", ordering_key="k")
        lines, _ = self.replay("--all", gateway=self.nowhere)
        new = {line["job"]: line["newJob"] for line in lines}
        call = self.call(self.take())
        self.assertEqual((call.job_id, call.retry_of), (new[id], id))
        self.assertEqual(call.request, request.SerializeToString())
        self.assertEqual(list(call.metadata), metadata)
        call = self.call(self.take(self.captured_fifo))
        self.assertEqual((call.job_id, call.retry_of), (new[ordered], ordered))
        self.assertEqual(call.ordering_key, "k")
        self.assertEqual(self.parked(), 0)

    def test_filters_must_all_hold(self):
        lapsed = self.park("Append", self.append("lapsed"), reason="LEASE_LAPSED")
        echo = self.park("Echo", reason="LEASE_LAPSED")
        self.park("Append", self.append("exhausted"))
        lines, _ = self.replay("--method", f"{PROBE}Append", "--reason", "LEASE_LAPSED")
        self.assertEqual([line["job"] for line in lines], [lapsed])
        self.ran(lines[0], "lapsed")
        lines, _ = self.replay("--method", f"{IMAGES}*")
        self.assertEqual(lines, [])
        lines, _ = self.replay("--reason", "LEASE_LAPSED")
        self.assertEqual([line["job"] for line in lines], [echo])
        self.assertEqual(self.parked(), 1)
        self.assertEqual(self.executions("exhausted"), 0)

    def test_many_are_replayed_up_to_a_limit_and_then_the_rest(self):
        ids = {self.park("Append", self.append("many")) for _ in range(25)}
        ids.add(self.park("Append", self.append("many"), reason="FINISHED"))
        first, summary = self.replay("--all", "--limit", "7", "--rate", "100")
        self.assertEqual((len(first), summary["complete"]), (7, False))
        self.assertEqual(self.parked(), 19)
        rest, summary = self.replay("--reason", "ATTEMPTS_EXHAUSTED", "--rate", "100")
        last, _ = self.replay("--all")
        lines = first + rest + last
        self.assertEqual(sorted(line["job"] for line in lines), sorted(ids))
        for line in lines:
            self.assertEqual(self.finished(line["newJob"]).state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual((self.executions("many"), self.parked()), (26, 0))

    def test_what_a_worker_has_parked_is_run_again(self):
        queue = self.new_queue()
        routes = f'[{{ methods = "*", queue = "{queue}", max_attempts = 1 }}]'
        gateway = self.new_gateway(QB_ROUTES=routes)
        jobs = self.connect(gateway)
        worker = self.new_worker(QB_QUEUE_URL=queue, QB_PARKING_QUEUE_URL=self.parking)
        request = probe_pb2.FlakyRequest(key="parked", failures=1)
        old = self.finished(self.submit("Flaky", request, jobs=jobs).id, jobs)
        self.assertEqual(old.state, job_pb2.STATE_FAILED)
        lines, _ = self.replay("--reason", "ATTEMPTS_EXHAUSTED", gateway=gateway)
        self.assertEqual([line["job"] for line in lines], [old.id])
        new = self.finished(lines[0]["newJob"], jobs)
        self.assertEqual((new.state, new.retry_of), (job_pb2.STATE_SUCCEEDED, old.id))
        self.assertEqual(self.parked(), 0)
        worker.stop()

    def test_an_ordered_parking_queue_is_replayed_in_its_order(self):
        self.parking = self.new_queue(".fifo")
        ids = [self.park("/ordered.Service/M", ordering_key="k") for _ in range(5)]
        lines, _ = self.replay("--all", "--rate", "100", gateway=self.nowhere)
        self.assertEqual([line["job"] for line in lines], ids)
        again = [self.call(self.take(self.captured_fifo)).retry_of for _ in ids]
        self.assertEqual(again, ids)
        self.assertEqual(self.parked(), 0)

    def test_a_dry_run_lists_and_changes_nothing(self):
        id = self.park("Append", self.append("dry"))
        self.park("Echo", reason="FINISHED")
        closed = type("Closed", (), {"address": "127.0.0.1:9"})
        arguments = ["--reason", "ATTEMPTS_EXHAUSTED", "--dry-run"]
        lines, summary = self.replay(*arguments, gateway=closed)
        (line,) = lines
        self.assertEqual((line["status"], line["job"]), ("LISTED", id))
        self.assertRegex(line["parkTime"], r"^20\d\d-.*Z$")
        self.assertRegex(line["age"], r"^\d+s$")
        self.assertEqual((summary["listed"], summary["notSelected"]), (1, 1))
        self.assertEqual((self.parked(), self.executions("dry")), (2, 0))

    def test_a_job_that_is_not_parked_is_reported(self):
        id = self.submit("Echo", jobs=self.no_worker).id
        self.take()
        _, summary = self.replay("--job", id, code=STAYS)
        self.assertEqual(summary["missingJobs"], [id])

    def test_nothing_is_replayed_without_a_selection_or_a_gateway(self):
        self.park("Echo")
        process = self.start()
        _, error = process.communicate(timeout=60)
        self.assertEqual(process.returncode, USAGE, error)
        self.assertIn("--all", error)
        closed = type("Closed", (), {"address": "127.0.0.1:9"})
        self.replay("--all", gateway=closed, code=CALL_FAILED)
        self.assertEqual(self.parked(), 1)

    def test_a_queue_that_is_not_there_and_keys_that_are_missing_are_clear_errors(self):
        self.parking += "-gone"
        process = self.start("--all")
        _, error = process.communicate(timeout=120)
        self.assertEqual(process.returncode, CALL_FAILED, error)
        self.assertIn(self.parking, error)
        process = self.start("--all", QB_ENVELOPE_KEYS="")
        _, error = process.communicate(timeout=60)
        self.assertEqual(process.returncode, USAGE, error)
        self.assertIn("QB_ENVELOPE_KEYS", error)

    def test_a_message_that_cannot_be_deleted_is_the_same_job_at_the_next_replay(self):
        network = Lossy(ENDPOINT)
        self.addCleanup(network.close)
        self.park("Append", self.append("again"))
        network.lose("request", "DeleteMessage", times=10)
        lines, summary = self.replay("--all", code=STAYS, AWS_ENDPOINT_URL=network.url)
        self.assertEqual(lines[0]["status"], "NOT_DELETED")
        self.assertEqual((summary["replayed"], summary["stayedParked"]), (1, 1))
        self.ran(lines[0], "again")
        self.assertEqual(self.parked(), 1)
        again, _ = self.replay("--all")
        self.assertEqual(again[0]["newJob"], lines[0]["newJob"])
        self.assertEqual(again[0]["newState"], "STATE_SUCCEEDED")
        self.ran(again[0], "again")
        self.assertEqual(self.parked(), 0)

    def test_a_replay_that_is_killed_before_the_deletion_repeats_nothing(self):
        network, release = Lossy(ENDPOINT), threading.Event()
        self.addCleanup(network.close)
        self.addCleanup(release.set)
        self.park("Append", self.append("killed"))
        network.lose("request", "DeleteMessage", held=release)
        process = self.start("--all", AWS_ENDPOINT_URL=network.url)
        until(lambda: "DeleteMessage" in network.seen, "the deletion")
        process.kill()
        process.communicate()
        until(lambda: self.executions("killed"), "the new job")
        # The end of the ten minutes for which the message is hidden.
        receipt = json.loads(network.bodies["DeleteMessage"])["ReceiptHandle"]
        self.sqs.change_message_visibility(
            QueueUrl=self.parking, ReceiptHandle=receipt, VisibilityTimeout=0
        )
        lines, _ = self.replay("--all")
        self.ran(lines[0], "killed")
        self.assertEqual(self.parked(), 0)

    def test_a_message_that_was_parked_twice_is_one_job(self):
        job = self.submit("Append", self.append("twice"), jobs=self.no_worker)
        body = self.take()
        for reason in ["DEAD_LETTERED", "FINISHED"]:
            self.send(body, version="1", method=job.method, job=job.id, parked=reason)
        lines, summary = self.replay("--job", job.id)
        self.assertEqual(len({line["newJob"] for line in lines}), 1)
        self.assertEqual(summary["replayed"], 2)
        self.ran(lines[0], "twice")
        self.assertEqual(self.parked(), 0)

    def test_what_cannot_be_opened_stays_and_is_reported(self):
        good = self.park("Append", self.append("beside"))
        self.send("not an envelope", parked="UNDECODABLE")
        self.send("{}")
        strange = self.submit("Echo", jobs=self.no_worker)
        body = self.take()
        self.send(body, version="1", method=strange.method, job=strange.id, parked="DEAD_LETTERED")
        lines, summary = self.replay("--all", code=STAYS, QB_ENVELOPE_KEYS=f"1:{key()}")
        self.assertEqual({line["status"] for line in lines}, {"STAYS_PARKED"})
        self.assertEqual((len(lines), summary["replayed"]), (4, 0))
        lines, summary = self.replay("--all", code=STAYS)
        stays = [line for line in lines if line["status"] == "STAYS_PARKED"]
        self.assertEqual(sorted(line.get("reason", "") for line in stays), ["", "UNDECODABLE"])
        for line in stays:
            self.assertIn("not an envelope", line["error"])
        done = {line["job"]: line for line in lines if line["status"] == "REPLAYED"}
        self.assertEqual(set(done), {good, strange.id})
        self.ran(done[good], "beside")
        self.assertEqual(self.parked(), 2)
        lines, _ = self.replay("--reason", "UNDECODABLE", "--dry-run", code=STAYS)
        self.assertEqual(len(lines), 1)

    def test_what_the_gateway_refuses_stays_and_hurts_no_other(self):
        routes = f'[{{ methods = "{PROBE}Append", queue = "{self.queue}" }}]'
        picky = self.new_gateway(QB_ROUTES=routes)
        refused, good = self.park("Echo"), self.park("Append", self.append("picky"))
        lines, _ = self.replay("--all", gateway=picky, code=STAYS)
        by_job = {line["job"]: line for line in lines}
        self.assertEqual(by_job[refused]["status"], "STAYS_PARKED")
        self.assertIn("NO_ROUTE", by_job[refused]["error"])
        self.ran(by_job[good], "picky")
        stranger = self.new_gateway(QB_JOB_ID_KEYS=f"1:{key()}")
        lines, _ = self.replay("--all", gateway=stranger, code=STAYS)
        self.assertIn("retry_of", lines[0]["error"])
        self.assertEqual(self.parked(), 1)

    def test_a_large_request_is_fetched_from_where_it_lies(self):
        id = self.park("Echo", probe_pb2.EchoRequest(payload=bytes(2_000_000)))
        for environment, error in [
            ({"QB_STORE_PAYLOAD_BUCKET": ""}, "none is configured"),
            ({"QB_MAX_MESSAGE_BYTES": "1MiB"}, "larger"),
        ]:
            lines, _ = self.replay("--all", code=STAYS, **environment)
            self.assertIn(error, lines[0]["error"])
        lines, _ = self.replay("--job", id)
        job = self.finished(lines[0]["newJob"])
        answer = probe_pb2.EchoResponse.FromString(job.response.message)
        self.assertEqual((len(answer.payload), job.retry_of), (2_000_000, id))
        self.assertEqual(self.parked(), 0)

    def test_a_large_request_that_is_gone_stays_and_is_reported(self):
        self.park("Echo", probe_pb2.EchoRequest(payload=bytes(2_000_000)))
        s3, bucket = client("s3"), self.common["QB_STORE_PAYLOAD_BUCKET"]
        newest = max(s3.list_objects_v2(Bucket=bucket)["Contents"], key=lambda o: o["LastModified"])
        s3.delete_object(Bucket=bucket, Key=newest["Key"])
        lines, _ = self.replay("--all", code=STAYS)
        self.assertIn("does not exist", lines[0]["error"])
        self.assertEqual(self.parked(), 1)

    def test_a_signal_stops_it_with_nothing_half_done(self):
        for how in [signal.SIGINT, signal.SIGTERM]:
            ids = {self.park("Append", self.append(how.name)) for _ in range(6)}
            process = self.start("--all", "--rate", "1")
            first = json.loads(process.stdout.readline())
            process.send_signal(how)
            lines, summary = self.end(process, STOPPED)
            lines = [first, *lines]
            self.assertLess(len(lines), 6)
            self.assertEqual((summary["complete"], summary["replayed"]), (False, len(lines)))
            self.assertEqual(self.parked(), 6 - len(lines))
            rest, _ = self.replay("--all")
            lines += rest
            self.assertEqual({line["job"] for line in lines}, ids)
            self.assertEqual(len(lines), 6)
            for line in lines:
                self.assertEqual(self.finished(line["newJob"]).state, job_pb2.STATE_SUCCEEDED)
            self.assertEqual(self.executions(how.name), 6)

    def test_a_person_reads_one_line_a_message(self):
        id = self.park("Echo")
        command = ["replay", "--parking-queue", self.parking, "--all"]
        run = subprocess.run(
            [BINARIES / "queuebridge", *command, "--gateway", f"http://{self.gateway.address}"],
            env={"PATH": os.environ["PATH"], **self.common},
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual((run.returncode, run.stderr), (SUCCESS, ""), run)
        line, summary = run.stdout.splitlines()
        self.assertTrue(line.startswith(f"{id}  {PROBE}Echo  ATTEMPTS_EXHAUSTED  20"), line)
        self.assertIn("  replayed as ", line)
        self.assertEqual(summary, "1 replayed, 0 listed, 0 stay parked, 0 not selected")
