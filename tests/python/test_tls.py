"""TLS at the gateway's port, with clients that nobody here wrote and certificates made
for the test."""

import base64
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import threading

import node
import stubs
import grpc
from authority import Authority
from bridge import PROBE, Bridge, seconds
from cryptography import x509
from processes import BINARIES, PATIENCE, Process, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import job_pb2, jobs_pb2, jobs_pb2_grpc

# It is the gateway that refuses, and not a client that cannot.
REFUSED = "(?i)alert.(handshake.failure|protocol.version)"
ECHO = probe_pb2.EchoRequest(payload=b"hello")


class Secured(Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.dir, "ours")
        cls.foreign = Authority(cls.dir, "foreign")
        cls.server = cls.authority.server()
        cls.client = cls.authority.client("orders")

    @classmethod
    def secure_gateway(cls, server, clients=None, **environment):
        if clients:
            environment["QB_TLS_CLIENT_CA"] = str(clients.file)
        files = {"QB_TLS_CERTIFICATE": str(server.certificate), "QB_TLS_KEY": str(server.key)}
        return cls.new_gateway(**files, **environment)

    def channel(self, gateway, authority=None, own=None):
        ca = (authority or self.authority).file.read_bytes()
        pair = (own.key.read_bytes(), own.certificate.read_bytes()) if own else (None, None)
        credentials = grpc.ssl_channel_credentials(ca, *pair)
        # A channel of its own: others are shared between equal targets.
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel = grpc.secure_channel(f"localhost:{port(gateway)}", credentials, options)
        self.addCleanup(channel.close)
        return channel

    def echo(self, channel, patience=PATIENCE):
        """A job over the channel, or the code of the error."""
        jobs = jobs_pb2_grpc.JobsStub(channel)
        request = self.request("Echo", ECHO, wait=seconds(300))
        try:
            return jobs.Submit(request, timeout=patience).state
        except grpc.RpcError as error:
            return error.code()


def port(gateway):
    return int(gateway.address.rsplit(":", 1)[1])


class Matrix(Secured):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.open = cls.secure_gateway(cls.authority.server("rsa", with_rsa=True))
        cls.known = cls.secure_gateway(cls.server, cls.authority)

    def test_grpc_is_spoken_with_those_that_prove_themselves_and_nobody_else(self):
        expired = self.secure_gateway(self.authority.server("expired", expired=True))
        late = self.authority.client("late", expired=True)
        good, refused = job_pb2.STATE_SUCCEEDED, grpc.StatusCode.UNAVAILABLE
        for what, gateway, authority, own, expected in [
            ("no client certificate is asked for", self.open, None, None, good),
            ("one that is not asked for", self.open, None, self.client, good),
            ("the gateway of a foreign authority", self.open, self.foreign, None, refused),
            ("an expired gateway", expired, None, None, refused),
            ("a client's certificate", self.known, None, self.client, good),
            ("none", self.known, None, None, refused),
            ("a foreign one", self.known, None, self.foreign.client("orders"), refused),
            ("an expired one", self.known, None, late, refused),
        ]:
            with self.subTest(what):
                channel = self.channel(gateway, authority, own)
                self.assertEqual(self.echo(channel), expected)
        self.assertIsNotNone(expired.logged("the certificate of the port has expired"))

    def test_plain_text_is_not_answered(self):
        with grpc.insecure_channel(self.open.address) as channel:
            self.assertEqual(self.echo(channel), grpc.StatusCode.UNAVAILABLE)
        connection = http.client.HTTPConnection(self.open.address, timeout=PATIENCE)
        self.addCleanup(connection.close)
        with self.assertRaises((OSError, http.client.HTTPException)):
            connection.request("GET", "/healthz")
            connection.getresponse()

    def test_only_current_versions_and_the_protocols_of_the_port(self):
        def greet(version, protocols=("h2",)):
            context = ssl.create_default_context(cafile=self.authority.file)
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(list(protocols))
            with socket.create_connection(("127.0.0.1", port(self.open)), PATIENCE) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as secure:
                    return secure.version(), secure.selected_alpn_protocol()

        versions = ssl.TLSVersion
        self.assertEqual(greet(versions.TLSv1_3), ("TLSv1.3", "h2"))
        self.assertEqual(greet(versions.TLSv1_2), ("TLSv1.2", "h2"))
        self.assertEqual(greet(versions.TLSv1_3, ["http/1.1"]), ("TLSv1.3", "http/1.1"))
        for old in [versions.TLSv1, versions.TLSv1_1]:
            with self.subTest(old), self.assertRaisesRegex(ssl.SSLError, REFUSED):
                greet(old)
        with self.assertRaisesRegex(ssl.SSLError, "(?i)alert.no.application.protocol"):
            greet(versions.TLSv1_3, ["spdy/3"])

    def test_clients_in_node_speak_every_protocol(self):
        own = node.descriptors(self.dir / "own.bin", stubs.ROOT / "proto")
        run = self.node("jobs.mjs", f"https://localhost:{port(self.open)}", own)
        said = [json.loads(line) for line in run.splitlines()]
        self.assertEqual([line["answer"] for line in said], ["hello"] * 4)
        request = self.request("Echo", ECHO, wait=seconds(300)).SerializeToString()
        arguments = [f"localhost:{port(self.known)}", base64.b64encode(request).decode()]
        arguments += [self.authority.file, self.client.key, self.client.certificate]
        said = json.loads(self.node("grpcjs.mjs", *arguments))
        job = job_pb2.Job.FromString(base64.b64decode(said["answer"]))
        self.assertEqual(job.state, job_pb2.STATE_SUCCEEDED)
        said = json.loads(self.node("grpcjs.mjs", *arguments[:3]))
        self.assertEqual(said["code"], grpc.StatusCode.UNAVAILABLE.value[0])

    def node(self, script, *arguments):
        environment = {"PATH": os.environ["PATH"], "NODE_EXTRA_CA_CERTS": str(self.authority.file)}
        command = [*node.command(script), *arguments]
        run = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE, env=environment
        )
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def test_http_1_1_and_the_health_check_of_load_balancers(self):
        context = ssl.create_default_context(cafile=self.authority.file)
        connection = http.client.HTTPSConnection("localhost", port(self.open), timeout=PATIENCE, context=context)
        self.addCleanup(connection.close)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        self.assertEqual((answer.status, answer.read()), (200, b"ok\n"))
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/queuebridge.v1.Jobs/GetResult", b'{"id": "x"}', headers)
        self.assertEqual(connection.getresponse().status, 400)

    def test_the_command_line(self):
        def run(*options, gateway):
            url = f"https://localhost:{port(gateway)}"
            line = ["submit", "--method", PROBE + "Echo", "--wait", "300s", "--gateway", url]
            run = subprocess.run(
                [BINARIES / "queuebridge", *line, *options], capture_output=True, timeout=PATIENCE
            )
            return run.returncode

        trust = ["--tls-ca", self.authority.file]
        own = ["--tls-certificate", self.client.certificate, "--tls-key", self.client.key]
        self.assertEqual(run(*trust, gateway=self.open), 0)
        self.assertEqual(run(gateway=self.open), 3)
        self.assertEqual(run(*trust, gateway=self.known), 3)
        self.assertEqual(run(*trust, *own, gateway=self.known), 0)


class Exchange(Secured):
    """Files that are exchanged as Kubernetes does it, by a link to a folder."""

    def setUp(self):
        self.volume = pathlib.Path(self.dir / self.id())
        self.volume.mkdir()
        for name in ["tls.crt", "tls.key", "ca.crt"]:
            (self.volume / name).symlink_to(f"..data/{name}")
        self.publish(self.server, self.authority)
        self.gateway = self.new_gateway(
            QB_TLS_CERTIFICATE=str(self.volume / "tls.crt"),
            QB_TLS_KEY=str(self.volume / "tls.key"),
            QB_TLS_CLIENT_CA=str(self.volume / "ca.crt"),
            QB_TLS_CLIENT_CERTIFICATES="optional",
        )

    def publish(self, server, clients, broken=False):
        folder = self.volume / f"{len(list(self.volume.iterdir()))}"
        folder.mkdir()
        shutil.copy(server.certificate, folder / "tls.crt")
        shutil.copy(server.key, folder / "tls.key")
        shutil.copy(clients.file, folder / "ca.crt")
        if broken:
            (folder / "tls.key").write_text("nothing")
        (self.volume / "next").symlink_to(folder.name)
        os.replace(self.volume / "next", self.volume / "..data")

    def shown(self):
        """The serial number of the certificate that the gateway shows."""
        context = ssl.create_default_context(cafile=self.authority.file)
        with socket.create_connection(("127.0.0.1", port(self.gateway)), PATIENCE) as plain:
            with context.wrap_socket(plain, server_hostname="localhost") as secure:
                certificate = secure.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(certificate).serial_number

    def test_no_call_fails_while_certificates_are_exchanged(self):
        stop, failed, done = threading.Event(), [], [0, 0]

        def call(index, connect):
            channel = self.channel(self.gateway)
            while not stop.is_set():
                if connect:
                    channel.close()
                    channel = self.channel(self.gateway)
                jobs = jobs_pb2_grpc.JobsStub(channel)
                try:
                    jobs.Submit(self.request("Echo", ECHO), timeout=PATIENCE)
                    done[index] += 1
                except grpc.RpcError as error:
                    failed.append(error)

        callers = [threading.Thread(target=call, args=pair) for pair in [(0, False), (1, True)]]
        for caller in callers:
            caller.start()
        try:
            self.assertEqual(self.shown(), self.server.serial)
            for round in range(3):
                new = self.authority.server(f"round-{round}")
                self.publish(new, self.authority)
                if round:
                    self.gateway.kill(signal.SIGHUP)
                until(lambda: self.shown() == new.serial, "the new certificate")
                before = list(done)
                until(lambda: all(a > b for a, b in zip(done, before)), "calls after it")
        finally:
            stop.set()
            for caller in callers:
                caller.join()
        self.assertEqual(failed, [])

    def test_broken_files_change_nothing_and_are_reported(self):
        new = self.authority.server("new")
        self.publish(new, self.authority, broken=True)
        self.gateway.kill(signal.SIGHUP)
        message = "certificates are broken; the old ones stay"
        said = until(lambda: self.gateway.logged(message), "the report")
        self.assertIn("tls.key", said["mistake"])
        self.assertEqual(self.shown(), self.server.serial)
        self.publish(new, self.authority)
        until(lambda: self.shown() == new.serial, "the right ones")

    def test_another_authority_of_clients(self):
        orders = self.foreign.client("orders")
        refused = grpc.StatusCode.UNAVAILABLE
        self.assertEqual(self.echo(self.channel(self.gateway, own=orders)), refused)
        self.publish(self.server, self.foreign)
        good = job_pb2.STATE_SUCCEEDED
        call = lambda: self.echo(self.channel(self.gateway, own=orders)) == good
        until(call, "the new authority")
        self.assertEqual(self.echo(self.channel(self.gateway, own=self.client)), refused)

    def test_a_start_with_wrong_files_says_what_is_wrong(self):
        other = self.authority.server("other")
        environment = {
            **self.gateway_environment,
            "QB_TLS_CERTIFICATE": str(self.server.certificate),
            "QB_TLS_KEY": str(other.key),
            "QB_TLS_CLIENT_CA": "/no/such/file",
            "QB_LISTEN": "127.0.0.1:0",
        }
        process = Process("queuebridge", ["serve"], environment, self.dir / "wrong.log")
        self.assertEqual(process.process.wait(PATIENCE), 2)
        said = process.log.read_text()
        self.assertIn("tls.key: ", said)
        self.assertIn("tls.client_ca: /no/such/file", said)
