"""The whole bridge in one process, and the command line."""

import base64
import hashlib
import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import stubs
import grpc
from processes import BINARIES, PATIENCE, Process, until
from google.protobuf import duration_pb2
from queuebridge.demo.v1 import images_pb2, probe_pb2, probe_pb2_grpc
from queuebridge.v1 import callback_pb2, jobs_pb2, jobs_pb2_grpc
from receivers import Webhook
import routed
import thumbnail

ENDPOINT = os.environ["QB_TEST_ENDPOINT"]
ECHO = ["--method", "/queuebridge.demo.v1.Probe/Echo", "--data-base64", "CgVoZWxsbw=="]


class Local(unittest.TestCase):
    arguments = []

    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="qb-"))
        log = cls.dir / "local.log"
        arguments = ["--listen", "127.0.0.1:0", *cls.arguments]
        cls.local = Process("queuebridge-local", arguments, {}, log)
        cls.addClassCleanup(cls.local.kill)
        said = until(lambda: cls.greeting(), "the greeting")
        cls.address = said.split("listens on ")[1].split(".\n")[0].split(". ")[0]

    @classmethod
    def greeting(cls):
        text = cls.local.log.read_text()
        return text if "thumbnail.py" in text else None

    def run_client(self, *arguments, code=0):
        command = [BINARIES / "queuebridge", *arguments, "--gateway", f"http://{self.address}"]
        run = subprocess.run(command, capture_output=True, timeout=PATIENCE)
        self.assertEqual(run.returncode, code, run)
        return run.stdout

    def json(self, *arguments, code=0):
        return json.loads(self.run_client(*arguments, "--json", code=code))

    def test_a_picture_becomes_a_thumbnail(self):
        out = self.dir / "out.png"
        thumbnail.main(self.address, stubs.ROOT / "tests/fixtures/shapes.png", out)
        self.assertTrue(out.read_bytes().startswith(b"\x89PNG"))
        self.assertLess(out.stat().st_size, 100_000)

    def test_the_command_line_submits_waits_and_gets(self):
        job = self.json("submit", *ECHO)
        self.assertEqual(job["state"], "STATE_ACCEPTED")
        done = self.json("wait", job["id"], "--timeout", "300s")
        self.assertEqual((done["state"], done["id"]), ("STATE_SUCCEEDED", job["id"]))
        answer = {"message": "CgVoZWxsbw==", "type": "queuebridge.demo.v1.EchoResponse"}
        self.assertEqual(done["response"], answer)
        self.assertEqual(self.json("get", job["id"]), done)
        self.assertEqual(self.run_client("get", job["id"], "--output", "-"), b"\x0a\x05hello")

    def test_an_answer_larger_than_a_message_is_saved_and_forgotten(self):
        request = probe_pb2.EchoRequest(payload=b"x", response_bytes=10_000_000)
        data = base64.b64encode(request.SerializeToString()).decode()
        echo = ["--method", "/queuebridge.demo.v1.Probe/Echo", "--data-base64", data]
        done = self.json("submit", *echo, "--wait", "300s")
        self.assertNotIn("message", done["response"])
        out = self.dir / "large"
        self.run_client("get", done["id"], "--output", str(out))
        answer = out.read_bytes()
        self.assertEqual(str(len(answer)), done["response"]["size"])
        digest = base64.b64encode(hashlib.sha256(answer).digest()).decode()
        self.assertEqual(digest, done["response"]["sha256"])
        self.run_client("delete", done["id"])
        self.run_client("get", done["id"], code=3)

    def test_receivers_on_this_machine_are_called_back(self):
        hook = Webhook()
        self.addCleanup(hook.close)
        with grpc.insecure_channel(self.address) as channel:
            jobs = jobs_pb2_grpc.JobsStub(channel)
            callback = callback_pb2.Callback(webhook_url=hook.url)
            method = "/queuebridge.demo.v1.Probe/Echo"
            job = jobs.Submit(jobs_pb2.SubmitRequest(method=method, callback=callback))
            until(lambda: hook.of(job.id), "the callback")

    def analyze(self, *arguments, code=0):
        path = self.dir / "analyze.bin"
        image = (stubs.ROOT / "tests/fixtures/shapes.png").read_bytes()
        path.write_bytes(images_pb2.AnalyzeRequest(image=image).SerializeToString())
        method = "/queuebridge.demo.v1.Images/Analyze"
        wait = ["--wait", "300s", *arguments]
        done = self.json("submit", "--method", method, "--file", str(path), *wait, code=code)
        return done["state"], {b["name"]: b["job"]["state"] for b in done["gather"]["branches"]}

    def test_each_routed_method_answers_its_own_stub(self):
        routed.check_each(self, self.address)

    def test_a_call_may_go_on_without_its_caller(self):
        with grpc.insecure_channel(self.address) as channel:
            request = probe_pb2.EchoRequest(payload=b"hello")
            call = probe_pb2_grpc.ProbeStub(channel).Echo.with_call
            _, accepted = call(request, metadata=[("qb-mode", "async")], timeout=PATIENCE)
            operation = dict(accepted.initial_metadata())["qb-operation"]
            jobs = jobs_pb2_grpc.JobsStub(channel)
            wait = duration_pb2.Duration(seconds=20)
            found = lambda: jobs.GetResult(
                jobs_pb2.GetResultRequest(id=operation.removeprefix("operations/"), wait=wait)
            )
            done = until(lambda: (job := found()).HasField("response") and job, "the answer")
            answer = probe_pb2.EchoResponse.FromString(done.response.message)
            self.assertEqual(answer.payload, b"hello")

    def test_a_picture_goes_to_three_workers(self):
        done = "STATE_SUCCEEDED"
        self.assertEqual(self.analyze(), (done, dict.fromkeys(["thumbnail", "describe", "assess"], done)))
        self.assertEqual(self.analyze("--branch", "assess"), (done, {"assess": done}))

    def test_the_command_line_says_by_its_exit_code_what_happened(self):
        fail = ["--method", "/queuebridge.demo.v1.Probe/Fail", "--data-base64", "CAU=", "--wait", "300s"]
        self.assertEqual(self.json("submit", *fail, code=1)["state"], "STATE_FAILED")
        job = self.json("submit", *ECHO, "--delay", "900s")
        self.run_client("wait", job["id"], "--timeout", "1s", code=4)
        self.assertEqual(self.json("cancel", job["id"])["state"], "STATE_CANCELLED")
        self.run_client("get", job["id"], code=1)
        self.run_client("get", "nonsense", code=3)
        self.run_client("submit", code=2)

    def test_two_hundred_pictures_at_once(self):
        from concurrent.futures import ThreadPoolExecutor

        picture = (stubs.ROOT / "tests/fixtures/target.webp").read_bytes()
        request = images_pb2.DescribeRequest(image=picture)
        method = "/queuebridge.demo.v1.Images/Describe"
        with grpc.insecure_channel(self.address) as channel, ThreadPoolExecutor(16) as pool:
            describe = lambda _: thumbnail.call(channel, method, request, images_pb2.DescribeResponse)
            hashes = {answer.perceptual_hash for answer in pool.map(describe, range(200))}
        self.assertEqual(len(hashes), 1)


class LocalWithoutABranch(unittest.TestCase):
    arguments = ["--branches", "queues", "--without-branch", "assess"]
    setUpClass = Local.__dict__["setUpClass"]
    greeting = Local.__dict__["greeting"]
    run_client, json, analyze = Local.run_client, Local.json, Local.analyze

    def test_any_and_two_of_three_do_without_it_and_all_does_not(self):
        for need in ["any", "2"]:
            state, branches = self.analyze("--need", need)
            self.assertEqual((state, branches["assess"]), ("STATE_SUCCEEDED", "STATE_ACCEPTED"))
        state, _ = self.analyze("--need", "all", "--deadline", "1s", code=1)
        self.assertEqual(state, "STATE_EXPIRED")
        state, _ = self.analyze("--need", "all", "--deadline", "20s", "--partial")
        self.assertEqual(state, "STATE_SUCCEEDED")


class LocalAtAnEndpoint(Local):
    arguments = ["--endpoint", ENDPOINT]

    def test_what_one_process_accepted_is_known_to_the_next(self):
        job = self.json("submit", *ECHO, "--wait", "300s")
        self.assertEqual(self.local.stop(), 0)
        self.setUpClass()
        self.assertEqual(self.json("get", job["id"]), job)
