"""What handlers say while they run, and about what should happen next."""

from bridge import Bridge, reason, seconds
from processes import until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2, jobs_pb2

Wish = probe_pb2.NextRequest


class Handlers(Bridge):
    def next(self, wish, times, after=0):
        return Wish(key=self.id(), times=times, wish=wish, after=seconds(after))

    def test_progress_can_be_seen_while_the_job_runs(self):
        job = self.submit("Report", probe_pb2.ReportRequest(steps=40, step=seconds(0.5)))
        seen = until(lambda: self.get(job.id).HasField("progress") and self.get(job.id), "a report")
        self.assertEqual(seen.state, job_pb2.STATE_RUNNING)
        self.assertTrue(0 < seen.progress.fraction < 1, seen)
        self.assertRegex(seen.progress.message, r"^step \d+$")
        self.assertTrue(seen.progress.HasField("update_time"))
        done = self.finished(job.id)
        answer = probe_pb2.ReportResponse.FromString(done.response.message)
        self.assertEqual(answer.reports, 40)
        self.assertGreater(done.progress.fraction, seen.progress.fraction)

    def test_a_running_handler_is_told_of_its_cancellation(self):
        job = self.submit("Report", probe_pb2.ReportRequest(steps=600, step=seconds(0.1)))
        until(lambda: self.get(job.id).state == job_pb2.STATE_RUNNING, "the start")
        self.jobs.Cancel(jobs_pb2.CancelRequest(id=job.id))
        done = self.finished(job.id)
        self.assertTrue(probe_pb2.ReportResponse.FromString(done.response.message).cancelled)

    def test_a_snoozed_job_comes_back_and_has_lost_no_attempt(self):
        job = self.submit("Next", self.next(Wish.WISH_SNOOZE, times=4, after=1))
        done = self.finished(job.id)
        answer = probe_pb2.NextResponse.FromString(done.response.message)
        self.assertEqual((answer.calls, answer.attempt, done.attempt), (5, 1, 1))

    def test_a_handler_asks_for_another_attempt_or_for_none(self):
        job = self.submit("Next", self.next(Wish.WISH_RETRY, times=1, after=1))
        done = self.finished(job.id)
        self.assertEqual((done.state, done.attempt), (job_pb2.STATE_SUCCEEDED, 2))
        job = self.submit("Next", self.next(Wish.WISH_FAIL, times=99))
        done = self.finished(job.id)
        self.assertEqual((done.state, done.attempt), (job_pb2.STATE_FAILED, 1))
        self.assertEqual(reason(done.error)[0], "PROBE_FAILED")
        self.assertEqual([m.key for m in done.trailing_metadata if "next" in m.key], [])
