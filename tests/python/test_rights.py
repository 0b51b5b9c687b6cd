"""Who may see and do what with groups and branches: every caller tries it at a real gateway."""

import grpc
from bridge import PROBE
from guarded import NOT_GRANTED, Guarded
from processes import until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import gather_pb2, job_pb2, jobs_pb2

SPREAD = "/queuebridge.demo.v1.Spread/Out"
REST = gather_pb2.GatherRule(need=2, cancel_rest=True)


class Groups(Guarded):
    """The owner of a group, one who may submit only, one who may do nothing with its method,
    one who may cancel as well, and one who may read."""

    ROLES = dict(owner="owner", submits="submitter", outsider="outsider", ends="ender", reads="reader")
    GRANTS = f"""
grant = [
    {{ roles = ["owner"], verbs = ["submit", "read", "watch", "cancel", "admin"] }},
    {{ roles = ["submitter"], methods = ["{PROBE}*", "{SPREAD}"], verbs = ["submit"] }},
    {{ roles = ["outsider"], methods = "/queuebridge.demo.v1.Images/*", verbs = ["submit", "read"] }},
    {{ roles = ["ender"], methods = "{PROBE}*", verbs = ["submit", "cancel"] }},
    {{ roles = ["reader"], methods = "{SPREAD}", verbs = ["read", "watch"] }},
]
"""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        name = cls.queue.rsplit("/", 1)[1]
        queue = cls.sqs.create_queue(QueueName=f"{name}-branch")["QueueUrl"]
        branch = f'[{{ name = "one", queue = "{queue}", method = "{PROBE}Echo" }}]'
        routes = f'[{{ methods = "*", queue = "{cls.queue}" }}, {{ methods = "{SPREAD}", branch = {branch} }}]'
        cls.new_worker(QB_QUEUE_URL=queue, QB_BRANCH="one")
        cls.guarded = cls.new_guarded(QB_ROUTES=routes)
        cls.jobs = cls.connect(cls.guarded)

    def echo(self, payload=b"secret", **fields):
        return self.request("Echo", probe_pb2.EchoRequest(payload=payload), **fields)

    def batch(self, who, jobs, **group):
        request = jobs_pb2.SubmitBatchRequest(jobs=jobs, group=jobs_pb2.Group(**group))
        return self.jobs.SubmitBatch(request, metadata=self.of(who))

    def ended(self, id):
        def ended():
            job = self.get_as(self.of("owner"), id)
            return job if job.state > job_pb2.STATE_RUNNING else None

        return until(ended, f"the end of {id}")

    def test_a_group_and_its_request_id_show_nothing_to_others(self):
        begun = self.batch("owner", [self.echo()] * 2, request_id="night")
        self.assertEqual(self.ended(begun.group.id).state, job_pb2.STATE_SUCCEEDED)
        for who in ["outsider", "submits", "reads"]:
            with self.subTest(who):
                self.is_refused(NOT_GRANTED, self.batch, who, [self.echo()], id=begun.group.id)
                empty = [self.request("Echo")] * 2
                self.is_refused(NOT_GRANTED, self.batch, who, empty, request_id="night")
                listed = jobs_pb2.ListBranchesRequest(id=begun.group.id)
                self.is_refused(
                    NOT_GRANTED, self.jobs.ListBranches, listed, metadata=self.of(who)
                )
        # The owner comes back for it, and sees all.
        again = self.batch("owner", [self.echo()] * 2, request_id="night").group
        self.assertEqual(again.id, begun.group.id)
        self.assertEqual([b.job.WhichOneof("outcome") for b in again.gather.branches], ["response"] * 2)
        # Who may cancel it may add to it, and sees no answers by that.
        seen = self.batch("ends", [self.echo()], id=begun.group.id).group
        self.assertEqual((seen.id, seen.state), (begun.group.id, job_pb2.STATE_ACCEPTED))
        self.assertFalse(seen.HasField("gather") or seen.WhichOneof("outcome"))

    def test_a_request_id_stands_for_all_that_was_said_of_the_group(self):
        reused = ("ALREADY_EXISTS", "REQUEST_ID_REUSED")
        self.batch("owner", [self.echo()] * 2, request_id="bound", rule=REST)
        other = gather_pb2.GatherRule(need=1, cancel_rest=True)
        self.is_refused(reused, self.batch, "owner", [self.echo()] * 2, request_id="bound", rule=other)
        self.is_refused(reused, self.batch, "owner", [self.echo()] * 3, request_id="bound", rule=REST)
        late = dict(request_id="bound", rule=REST, expire_after={"seconds": 60})
        self.is_refused(reused, self.batch, "owner", [self.echo()] * 2, **late)

    def test_nobody_else_puts_jobs_into_a_group(self):
        group = self.batch("owner", [self.echo(b"first")], total=2, rule=REST).group
        # It would be run under the owner's number, and fail the group.
        broken = [self.request("Echo")]
        broken[0].request = b"\xff"
        self.is_refused(NOT_GRANTED, self.batch, "submits", broken, id=group.id, first=1)
        self.batch("owner", [self.echo(b"second")], id=group.id, first=1)
        job = self.ended(group.id)
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)
        answers = [branch.job.response.message for branch in job.gather.branches]
        self.assertEqual(
            [probe_pb2.EchoResponse.FromString(answer).payload for answer in answers], [b"first", b"second"]
        )

    def test_whoever_may_only_cancel_is_not_shown_the_answer(self):
        done = self.call(self.of("owner"))
        self.ended(done.id)
        seen = self.jobs.Cancel(jobs_pb2.CancelRequest(id=done.id), metadata=self.of("ends"))
        self.assertEqual((seen.state, seen.WhichOneof("outcome")), (job_pb2.STATE_SUCCEEDED, None))
        mine = self.jobs.Cancel(jobs_pb2.CancelRequest(id=done.id), metadata=self.of("owner"))
        self.assertEqual(mine.WhichOneof("outcome"), "response")

    def test_branches_of_methods_that_may_not_be_read_show_how_they_stand_and_no_more(self):
        request = self.echo()
        request.method = SPREAD
        request.wait.FromSeconds(300)
        # It is the submitter's own job: all of it is the answer to the call.
        own = self.jobs.Submit(request, metadata=self.of("submits"))
        self.assertEqual(own.state, job_pb2.STATE_SUCCEEDED, own)
        self.assertEqual(own.gather.branches[0].job.WhichOneof("outcome"), "response")
        listing = jobs_pb2.ListBranchesRequest(id=own.id)
        for who, outcome in [("owner", "response"), ("reads", None)]:
            read = self.get_as(self.of(who), own.id)
            listed = self.jobs.ListBranches(listing, metadata=self.of(who)).branches
            listed_answer = list_of(read.response.message).branches
            watched = self.jobs.WatchResult(
                jobs_pb2.WatchResultRequest(id=own.id), metadata=self.of(who)
            )
            (last,) = [change.job for change in watched][-1:]
            pieces = self.jobs.DownloadResult(
                jobs_pb2.DownloadResultRequest(id=own.id), metadata=self.of(who)
            )
            downloaded = list_of(b"".join(piece.chunk for piece in pieces)).branches
            for shown in [read.gather.branches, listed, listed_answer, last.gather.branches, downloaded]:
                self.assertEqual([b.job.state for b in shown], [job_pb2.STATE_SUCCEEDED])
                self.assertEqual([b.job.WhichOneof("outcome") for b in shown], [outcome], who)
        inner = own.gather.branches[0].job.id
        self.is_refused(NOT_GRANTED, self.get_as, self.of("reads"), inner)


def list_of(message):
    return job_pb2.Gather.FromString(message)
