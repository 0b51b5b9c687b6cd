"""Submitting and getting results, over gateway, queue, worker and stores."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from bridge import FIXTURES, IMAGES, PROBE, Bridge, deadline, in_time, reason, seconds
from processes import PATIENCE, until
from queuebridge.demo.v1 import images_pb2, probe_pb2
from queuebridge.v1 import job_pb2, jobs_pb2


class Jobs(Bridge):
    def test_a_picture_becomes_a_thumbnail(self):
        for name in ["shapes.png", "hills.jpg", "target.webp"]:
            picture = (FIXTURES / name).read_bytes()
            request = images_pb2.ThumbnailRequest(image=picture, max_edge=64)
            job = self.submit(IMAGES + "Thumbnail", request)
            self.assertEqual(job.state, job_pb2.STATE_ACCEPTED)
            job = self.finished(job.id)
            self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED, job)
            answer = images_pb2.ThumbnailResponse.FromString(job.response.message)
            self.assertEqual(max(answer.width, answer.height), 64)
            self.assertEqual((job.attempt, job.method), (1, IMAGES + "Thumbnail"))
            self.assertLessEqual(job.submit_time.ToNanoseconds(), job.start_time.ToNanoseconds())
            self.assertLess(job.complete_time.ToNanoseconds(), job.purge_time.ToNanoseconds())

    def test_a_hostile_picture_is_an_error_with_details(self):
        request = images_pb2.ThumbnailRequest(image=b"not a picture")
        job = self.finished(self.submit(IMAGES + "Thumbnail", request).id)
        self.assertEqual(job.state, job_pb2.STATE_FAILED)
        self.assertEqual(job.error.code, grpc.StatusCode.INVALID_ARGUMENT.value[0])
        self.assertEqual(reason(job.error)[0], "NOT_AN_IMAGE")

    def test_a_large_picture_and_a_large_answer_go_through_the_payload_store(self):
        request = probe_pb2.EchoRequest(payload=bytes(2_000_000))
        job = self.finished(self.submit("Echo", request).id)
        answer = probe_pb2.EchoResponse.FromString(job.response.message)
        self.assertEqual(len(answer.payload), 2_000_000)

    def test_one_bad_submission_of_a_batch_hurts_no_other(self):
        good = self.request("Echo", probe_pb2.EchoRequest(payload=b"x"))
        bad = self.request("/nowhere")
        answer = self.jobs.SubmitBatch(jobs_pb2.SubmitBatchRequest(jobs=[good, bad, good]))
        self.assertEqual([r.index for r in answer.results], [0, 1, 2])
        self.assertEqual(reason(answer.results[1].error), ("INVALID_FIELD", "method"))
        for result in [answer.results[0], answer.results[2]]:
            self.assertEqual(self.finished(result.job.id).state, job_pb2.STATE_SUCCEEDED)

    def test_a_stream_is_acknowledged_while_it_is_open(self):
        more = threading.Semaphore(3)
        done = threading.Event()

        def submissions():
            while True:
                more.acquire()
                if done.is_set():
                    return
                yield self.request("Echo", probe_pb2.EchoRequest(payload=b"x"))

        acks = self.jobs.SubmitStream(submissions(), timeout=PATIENCE)
        first = sorted(next(acks).index for _ in range(3))
        self.assertEqual(first, [0, 1, 2], "acknowledged before the stream ends")
        more.release()
        fourth = next(acks)
        self.assertEqual(fourth.index, 3)
        done.set()
        more.release()
        self.assertEqual(list(acks), [])
        self.assertEqual(self.finished(fourth.job.id).state, job_pb2.STATE_SUCCEEDED)

    def test_a_bad_submission_does_not_end_a_stream(self):
        submissions = [self.request("/x"), self.request("Echo"), self.request("/y.Z/")]
        acks = {ack.index: ack for ack in self.jobs.SubmitStream(iter(submissions))}
        kinds = [acks[i].WhichOneof("result") for i in range(3)]
        self.assertEqual(kinds, ["error", "job", "error"])

    def test_a_message_that_cannot_be_read_ends_a_stream_after_what_came_before_it(self):
        channel = grpc.insecure_channel(self.gateway.address)
        self.addCleanup(channel.close)
        method = "/queuebridge.v1.Jobs/SubmitStream"
        raw = channel.stream_stream(method, None, jobs_pb2.SubmitResult.FromString)
        good = self.request("Echo").SerializeToString()
        for bad, code, why in [
            (b"\x0a\x02\xff\xfe", "INVALID_ARGUMENT", "MALFORMED_MESSAGE"),
            (bytes(5 << 20), "RESOURCE_EXHAUSTED", "PAYLOAD_TOO_LARGE"),
        ]:
            acks = []
            with self.assertRaises(grpc.RpcError) as raised:
                for ack in raw(iter([good] * 20 + [bad])):
                    acks.append(ack.index)
            self.assertEqual((raised.exception.code().name, reason(raised.exception)[0]), (code, why))
            self.assertEqual(sorted(acks), list(range(20)))

    def test_the_largest_batch_is_answered_in_order_and_a_larger_one_refused(self):
        batch = lambda count: jobs_pb2.SubmitBatchRequest(jobs=[self.request("Echo")] * count)
        answer = self.jobs.SubmitBatch(batch(1000))
        self.assertEqual([result.index for result in answer.results], list(range(1000)))
        self.assertEqual(len({result.job.id for result in answer.results}), 1000)
        invalid = ("INVALID_ARGUMENT", "INVALID_FIELD", "jobs")
        self.refused(*invalid, self.jobs.SubmitBatch, batch(1001))

    def test_a_wait_ends_with_the_state_before_the_callers_deadline(self):
        job = self.submit("Sleep", probe_pb2.SleepRequest(duration=seconds(30)))
        request = jobs_pb2.GetResultRequest(id=job.id, wait=seconds(60))
        answer = in_time(lambda: self.jobs.GetResult(request, metadata=[deadline(2)]))
        self.assertIn(answer.state, [job_pb2.STATE_ACCEPTED, job_pb2.STATE_RUNNING])
        self.assertEqual(self.finished(job.id).state, job_pb2.STATE_SUCCEEDED)

    def test_submit_can_wait_for_the_result(self):
        job = self.submit("Echo", probe_pb2.EchoRequest(payload=b"x"), wait=seconds(300))
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)

    def test_metadata_crosses_both_ways_and_stays_apart(self):
        metadata = [
            job_pb2.Metadatum(key="x-text", ascii="a"),
            job_pb2.Metadatum(key="x-text", ascii="b"),
            job_pb2.Metadatum(key="x-raw-bin", binary=bytes([0, 255, 1])),
        ]
        job = self.finished(self.submit("Echo", metadata=metadata).id)
        initial = [(m.key, m.ascii or m.binary) for m in job.initial_metadata]
        trailing = {m.key: m.ascii or m.binary for m in job.trailing_metadata}
        for entry in [("x-text", "a"), ("x-text", "b"), ("x-raw-bin", bytes([0, 255, 1]))]:
            self.assertIn(entry, initial)
        self.assertEqual(trailing["probe-trailer"], "done")
        self.assertEqual(trailing["probe-trailer-bin"], bytes([0, 255]))
        self.assertFalse({"probe-trailer", "grpc-status"} & {key for key, _ in initial})

    def test_a_status_keeps_its_details(self):
        request = probe_pb2.FailRequest(code=9, message="not now", reason="CLOSED")
        job = self.finished(self.submit("Fail", request).id)
        self.assertEqual((job.state, job.error.code), (job_pb2.STATE_FAILED, 9))
        self.assertEqual((job.error.message, reason(job.error)[0]), ("not now", "CLOSED"))
        trailing = {m.key: m.ascii or m.binary for m in job.trailing_metadata}
        self.assertEqual(trailing["probe-trailer-bin"], bytes([0, 255]))
        self.assertNotIn("grpc-status-details-bin", trailing)

    def test_a_retried_status_is_tried_again(self):
        request = probe_pb2.FlakyRequest(key="e2e", failures=2)
        job = self.finished(self.submit("Flaky", request).id)
        self.assertEqual((job.state, job.attempt), (job_pb2.STATE_SUCCEEDED, 3))

    def lines(self, job):
        """What the worker's log says of a job, one JSON object a line."""
        whole, _, _ = self.worker.log.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("spans", [{}])[-1].get("job") == job.id]

    def test_a_final_failure_is_one_warning_with_code_reason_and_message(self):
        for retried, code in [(False, "NOT_FOUND"), (True, "UNAVAILABLE")]:
            number = getattr(grpc.StatusCode, code).value[0]
            fail = probe_pb2.FailRequest(code=number, message="x" * 2000, reason="NO_WAY")
            job = self.finished(self.submit("Fail", fail).id)
            self.assertEqual(job.state, job_pb2.STATE_FAILED)
            found = lambda: [line for line in self.lines(job) if line["level"] == "WARN"]
            (line,) = until(found, "the warning")
            fields = line["fields"]
            self.assertEqual((fields["code"], fields["reason"]), (code, "NO_WAY"))
            self.assertEqual(fields["message"], "a job has failed")
            self.assertEqual(fields["error"], "x" * 1024)
            self.assertEqual(line["spans"][-1]["method"], PROBE + "Fail")
            self.assertEqual(line["spans"][-1]["attempt"], job.attempt)
            self.assertIn(line["spans"][0]["queue"], self.queue)
            told = [line for line in self.lines(job) if line["level"] == "INFO"]
            self.assertEqual(len(told), job.attempt - 1, "a line for each repeated attempt")
            for line in told:
                self.assertEqual((line["fields"]["code"], line["fields"]["reason"]), (code, "NO_WAY"))
            self.assertEqual(len(told) > 0, retried)

    def test_a_panic_shows_nothing_of_itself(self):
        job = self.finished(self.submit("Panic", probe_pb2.PanicRequest(message="secret")).id)
        self.assertEqual((job.state, job.attempt), (job_pb2.STATE_FAILED, self.attempts))
        self.assertEqual(reason(job.error)[0], "HANDLER_PANICKED")
        self.assertNotIn("secret", str(job))

    def test_the_same_request_id_is_the_same_job_also_through_another_gateway(self):
        request = self.append("once")
        first = self.submit("Append", request, request_id="once")
        other = self.connect(self.new_gateway())
        again = [self.submit("Append", request, request_id="once") for _ in range(3)]
        again.append(self.submit("Append", request, jobs=other, request_id="once"))
        self.assertEqual({job.id for job in again}, {first.id})
        self.assertEqual(self.finished(first.id, other).state, job_pb2.STATE_SUCCEEDED)
        after = self.submit("Append", request, request_id="once")
        self.assertEqual((after.id, after.state), (first.id, job_pb2.STATE_SUCCEEDED))
        self.assertEqual(self.executions("once"), 1)
        changed = self.append("once", then_wait=1)
        self.refused(
            "ALREADY_EXISTS",
            "REQUEST_ID_REUSED",
            "request_id",
            self.submit,
            "Append",
            changed,
            request_id="once",
        )
        self.assertEqual(self.executions("once"), 1)

    def test_every_kind_of_submission_says_what_it_repeats(self):
        old = self.submit("Echo").id
        again = self.request("Echo", retry_of=old)
        batch = self.jobs.SubmitBatch(jobs_pb2.SubmitBatchRequest(jobs=[again])).results
        stream = list(self.jobs.SubmitStream(iter([again])))
        once = [self.submit("Echo", request_id="again", retry_of=old) for _ in range(2)]
        waited = self.submit("Echo", retry_of=old, wait=seconds(300))
        self.assertEqual(waited.state, job_pb2.STATE_SUCCEEDED)
        jobs = [self.jobs.Submit(again), batch[0].job, stream[0].job, once[0], waited]
        for job in jobs:
            self.assertEqual(job.retry_of, old)
        self.assertEqual(len({old, *(job.id for job in jobs)}), 6, "new jobs")
        self.assertEqual(once[1].id, once[0].id)
        if once[1].state < job_pb2.STATE_SUCCEEDED:
            self.assertEqual(once[1].retry_of, old)

    def test_a_job_cancelled_before_its_start_never_runs(self):
        self.worker.stop()
        job = self.submit("Append", self.append("cancelled"))
        cancelled = self.jobs.Cancel(jobs_pb2.CancelRequest(id=job.id))
        self.assertEqual(cancelled.state, job_pb2.STATE_CANCELLED)
        type(self).worker = self.new_worker()
        until(lambda: self.is_empty(self.queue), "the message to be gone")
        self.assertEqual(self.executions("cancelled"), 0)
        self.assertEqual(self.get(job.id).error.code, grpc.StatusCode.CANCELLED.value[0])

    def test_a_running_job_is_told_of_its_cancellation(self):
        job = self.submit("Append", self.append("told", then_wait=300))
        until(lambda: self.executions("told") == 1, "the start")
        answer = self.jobs.Cancel(jobs_pb2.CancelRequest(id=job.id))
        self.assertEqual((answer.state, answer.cancel_requested), (job_pb2.STATE_RUNNING, True))
        self.assertEqual(self.finished(job.id).state, job_pb2.STATE_CANCELLED)

    def test_two_hundred_at_once_run_once_each(self):
        with ThreadPoolExecutor(32) as pool:
            submitted = list(pool.map(lambda _: self.submit("Append", self.append("many")), range(200)))
            finished = list(pool.map(lambda job: self.finished(job.id), submitted))
        self.assertEqual({job.state for job in finished}, {job_pb2.STATE_SUCCEEDED})
        self.assertEqual(len({job.id for job in finished}), 200)
        self.assertEqual(self.executions("many"), 200)

    def test_a_result_is_purged_after_its_retention(self):
        job = self.submit("Echo", result_retention=seconds(20))
        self.assertEqual(self.finished(job.id).state, job_pb2.STATE_SUCCEEDED)

        def purged():
            try:
                self.get(job.id)
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.NOT_FOUND and reason(error)[0]

        self.assertEqual(until(purged, "the end of the retention"), "RESULT_PURGED")
