"""What a lease that ran out means is said by the route."""

import signal

from bridge import reason
from parking import Parking
from processes import until
from queuebridge.v1 import job_pb2


class Leases(Parking):
    lease = "10s"

    def lost(self, policy):
        """A job whose worker was killed in the middle, and its gateway."""
        queue = self.new_queue()
        routes = f'[{{ methods = "*", queue = "{queue}", lease_policy = "{policy}" }}]'
        gateway = self.new_gateway(QB_ROUTES=routes)
        environment = {"QB_QUEUE_URL": queue, "QB_PARKING_QUEUE_URL": self.parking}
        worker = self.new_worker(**environment)
        request = self.append(policy, then_wait=10)
        job = self.submit("Append", request, jobs=self.connect(gateway))
        until(lambda: self.executions(policy) == 1, "the start")
        worker.stop(signal.SIGKILL)
        self.worker_after = self.new_worker(**environment)
        return job.id, gateway

    def replayed(self, id, gateway, policy, why):
        self.assertEqual(self.executions(policy), 1, "not run again by itself")
        lines, _ = self.replay("--reason", why, gateway=gateway)
        self.assertEqual([line["job"] for line in lines], [id])
        self.ran(lines[0], policy, times=2)

    def test_retry_runs_it_again_and_says_that_a_worker_was_lost(self):
        id, _ = self.lost("retry")
        job = self.finished(id)
        self.assertEqual((job.state, job.attempt), (job_pb2.STATE_SUCCEEDED, 2))
        told = [line for line in self.worker_after.log.read_text().splitlines() if id in line]
        lapsed = [line for line in told if "lease of an earlier attempt ran out" in line]
        self.assertEqual(len(lapsed), 1, told)

    def test_fail_ends_the_job_and_parks_its_message(self):
        id, gateway = self.lost("fail")
        job = self.finished(id)
        self.assertEqual((job.state, reason(job.error)[0]), (job_pb2.STATE_FAILED, "WORKER_LOST"))
        self.replayed(id, gateway, "fail", "WORKER_LOST")
        self.assertEqual(self.get(id).state, job_pb2.STATE_FAILED)

    def test_hold_leaves_the_job_to_a_person(self):
        id, gateway = self.lost("hold")
        until(lambda: self.parked() == 1, "the message to be parked")
        self.assertLess(self.get(id).state, job_pb2.STATE_SUCCEEDED)
        self.replayed(id, gateway, "hold", "LEASE_LAPSED")
        self.assertLess(self.get(id).state, job_pb2.STATE_SUCCEEDED)
