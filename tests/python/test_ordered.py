"""Jobs with an ordering key, through an ordered queue."""

from bridge import Bridge
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2


class Ordered(Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        routes = f'[{{ methods = "*", queue = "{cls.fifo}", initial_backoff = "1s" }}]'
        cls.jobs = cls.connect(cls.new_gateway(QB_ROUTES=routes))
        cls.new_worker(QB_QUEUE_URL=cls.fifo)

    def line(self, file, line):
        request = probe_pb2.AppendRequest(file=file, line=line)
        return self.submit("Append", request, ordering_key=file)

    def test_jobs_of_a_key_run_in_the_order_of_acceptance(self):
        jobs = [self.line("order", str(number)) for number in range(15)]
        for job in jobs:
            self.assertEqual(self.finished(job.id).state, job_pb2.STATE_SUCCEEDED)
        lines = (self.dir / "order").read_text().split()
        self.assertEqual(lines, [str(number) for number in range(15)])

    def test_nothing_of_a_key_starts_before_an_earlier_one_has_finished(self):
        flaky = probe_pb2.FlakyRequest(key="ordered", failures=1)
        first = self.submit("Flaky", flaky, ordering_key="held")
        second = self.line("held", "after")
        other = self.line("free", "at once")
        first, second = self.finished(first.id), self.finished(second.id)
        self.assertEqual((first.attempt, second.attempt), (2, 1))
        self.assertLessEqual(
            first.complete_time.ToNanoseconds(), second.start_time.ToNanoseconds()
        )
        other = self.finished(other.id)
        self.assertLess(other.complete_time.ToNanoseconds(), first.complete_time.ToNanoseconds())

    def test_jobs_without_a_key_wait_for_none(self):
        job = self.submit("Echo")
        self.assertEqual(self.finished(job.id).state, job_pb2.STATE_SUCCEEDED)
