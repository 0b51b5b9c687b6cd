"""Replays that are killed, stopped or refused: nothing is lost, and nothing is done twice."""

import json
import signal
import threading

from bridge import ENDPOINT, PROBE, client, key
from lossy import Lossy
from parking import CALL_FAILED, STAYS, STOPPED, USAGE, Parking
from processes import PATIENCE, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2

# At one a second: a replay is in its middle when its signal comes.
MANY = 20


class ReplayFaults(Parking):
    def test_nothing_is_replayed_without_a_selection_or_a_gateway(self):
        self.park("Echo")
        process = self.start()
        _, error = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, USAGE, error)
        self.assertIn("--all", error)
        closed = type("Closed", (), {"address": "127.0.0.1:9"})
        self.replay("--all", gateway=closed, code=CALL_FAILED)
        self.assertEqual(self.parked(), 1)

    def test_a_queue_that_is_not_there_and_keys_that_are_missing_are_clear_errors(self):
        self.parking += "-gone"
        process = self.start("--all")
        _, error = process.communicate(timeout=PATIENCE)
        self.assertEqual(process.returncode, CALL_FAILED, error)
        self.assertIn(self.parking, error)
        process = self.start("--all", QB_ENVELOPE_KEYS="")
        _, error = process.communicate(timeout=PATIENCE)
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
            ids = {self.park("Append", self.append(how.name)) for _ in range(MANY)}
            process = self.start("--all", "--rate", "1")
            first = json.loads(process.stdout.readline())
            process.send_signal(how)
            lines, summary = self.end(process, STOPPED)
            lines = [first, *lines]
            self.assertLess(len(lines), MANY)
            self.assertEqual((summary["complete"], summary["replayed"]), (False, len(lines)))
            self.assertEqual(self.parked(), MANY - len(lines))
            rest, _ = self.replay("--all", "--rate", "100")
            lines += rest
            self.assertEqual({line["job"] for line in lines}, ids)
            self.assertEqual(len(lines), MANY)
            for line in lines:
                self.assertEqual(self.finished(line["newJob"]).state, job_pb2.STATE_SUCCEEDED)
            self.assertEqual(self.executions(how.name), MANY)
