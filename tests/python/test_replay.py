"""Parked messages become new jobs: which ones, and as what."""

import os
import subprocess

from bridge import IMAGES, PROBE
from parking import STAYS, SUCCESS, Parking
from processes import BINARIES, PATIENCE
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2


class Replay(Parking):
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

    def test_a_person_reads_one_line_a_message(self):
        id = self.park("Echo")
        command = ["replay", "--parking-queue", self.parking, "--all"]
        run = subprocess.run(
            [BINARIES / "queuebridge", *command, "--gateway", f"http://{self.gateway.address}"],
            env={"PATH": os.environ["PATH"], **self.common},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.assertEqual((run.returncode, run.stderr), (SUCCESS, ""), run)
        line, summary = run.stdout.splitlines()
        self.assertTrue(line.startswith(f"{id}  {PROBE}Echo  ATTEMPTS_EXHAUSTED  20"), line)
        self.assertIn("  replayed as ", line)
        self.assertEqual(summary, "1 replayed, 0 listed, 0 stay parked, 0 not selected")
