"""Pages in a browser that reach a server without authentication: by a name of their own that
points to it, or from another origin."""

import http.client
import json
import socket
import urllib.parse
import unittest

import node
import stubs  # noqa: F401
import grpc
from bridge import PROBE, Bridge, reason
from processes import PATIENCE, until
from queuebridge.demo.v1 import probe_pb2, probe_pb2_grpc
from test_server import Server

ECHO, APPEND = f"{PROBE}Echo", f"{PROBE}Append"
# As browsers write them, and as no browser does.
FOREIGN = [
    "evil.example",
    "EVIL.example.:50051",
    "127.0.0.1.evil.example",
    "localhost.evil.example:80",
    "localhost@evil.example",
    "evil.example@localhost",
    "localhost, evil.example",
    "xlocalhost",
    "internal",
    "0.0.0.0:50051",
    "[::]",
    "",
]
OWN = ["localhost", "LocalHost.:1", "127.0.0.1:50051", "10.1.2.3", "[::1]:50051", "orders.internal"]
GET = f"{ECHO}?encoding=json&message=%7B%22payload%22%3A%22aGk%3D%22%7D&connect=v1"
JSON, WEB = "application/json", "application/grpc-web+proto"


class Pages:
    """The same at the gateway and at a worker's server: `address` is where it listens, and
    `*.internal` is configured."""

    def ask(self, *hosts, method="POST", target=ECHO, kind=JSON, body=b"{}", **more):
        """The status of the answer, its headers and its body."""
        headers = [("Host", host) for host in hosts]
        headers += [(name.replace("_", "-"), value) for name, value in more.items()]
        if method == "POST":
            headers += [("Content-Type", kind), ("Content-Length", len(body))]
        lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
        head = "\r\n".join([*lines, "Connection: close", "", ""])
        host, port = self.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), PATIENCE) as connection:
            connection.sendall(head.encode() + (body if method == "POST" else b""))
            answer = http.client.HTTPResponse(connection, method=method)
            answer.begin()
            return answer.status, str(answer.headers).lower(), answer.read().decode()

    def native(self, authority):
        options = [("grpc.default_authority", authority)]
        channel = grpc.insecure_channel(self.address, options)
        self.addCleanup(channel.close)
        return probe_pb2_grpc.ProbeStub(channel)

    def append(self, file):
        request = probe_pb2.AppendRequest(file=file, line="ran")
        return json.dumps({"file": file, "line": "ran"}).encode(), request.SerializeToString()

    def test_a_name_that_leads_here_reaches_nothing(self):
        text, binary = self.append("rebound")
        framed = b"\0" + len(binary).to_bytes(4) + binary
        kinds = [(JSON, text), ("application/proto", binary), (WEB, framed)]
        kinds += [("application/grpc", framed)]
        for host in FOREIGN:
            for kind, body in kinds:
                with self.subTest(host=host, kind=kind):
                    status, *answer = self.ask(host, target=APPEND, kind=kind, body=body)
                    self.assertEqual(status, 421)
                    said = urllib.parse.unquote("".join(answer)).lower()
                    self.assertIn("qb_hosts" if host else "names no host", said)
            for method, target in [("GET", GET), ("GET", "/healthz"), ("OPTIONS", APPEND)]:
                with self.subTest(host=host, target=target):
                    self.assertEqual(self.ask(host, method=method, target=target)[0], 421)
        # What the target names counts, too, and each of several headers.
        target = f"http://evil.example{APPEND}"
        self.assertEqual(self.ask("localhost", target=target, body=text)[0], 421)
        for hosts in [("localhost", "evil.example"), ("evil.example", "localhost")]:
            self.assertEqual(self.ask(*hosts, target=APPEND, body=text)[0], 421, hosts)
        error = json.loads(self.ask("evil.example", target=APPEND, body=text)[2])
        self.assertEqual(error["code"], "permission_denied")
        self.assertEqual(error["details"][0]["type"], "google.rpc.ErrorInfo")
        with self.assertRaises(grpc.RpcError) as raised:
            self.native("evil.example").Append(probe_pb2.AppendRequest(file="rebound", line="ran"))
        error = raised.exception
        self.assertEqual(error.code(), grpc.StatusCode.PERMISSION_DENIED)
        self.assertEqual(reason(error)[0], "HOST_NOT_ALLOWED")
        # What is asked for rightly runs, and nothing of the others has.
        honest, _ = self.append("honest")
        self.assertEqual(self.ask("localhost", target=APPEND, body=honest)[0], 200)
        until(lambda: self.executions("honest") == 1, "the honest call")
        self.assertEqual(self.executions("rebound"), 0)
        said = until(self.warned, "the warning")
        self.assertIn("this server answers to", said["reason"])

    def warned(self):
        return self.process.logged("a request was turned away that a page may have sent")

    def test_addresses_local_and_configured_names_are_answered(self):
        for host in OWN:
            with self.subTest(host):
                self.assertEqual(self.ask(host)[0], 200)
                self.assertEqual(self.ask(host, method="GET", target="/healthz")[0], 200)
                answer = self.native(host).Echo(probe_pb2.EchoRequest(payload=b"x"))
                self.assertEqual(answer.payload, b"x")

    def test_a_health_check_that_names_no_host_is_answered(self):
        self.assertEqual(self.ask(method="GET", target="/healthz")[0], 200)

    def test_pages_of_other_sites_do_not_run_even_what_has_no_side_effects(self):
        get = dict(method="GET", target=GET)
        status, _, body = self.ask("localhost", **get)
        self.assertEqual((status, json.loads(body)), (200, {"payload": "aGk="}))
        for page in [
            {"Sec_Fetch_Site": "cross-site"},
            {"Sec_Fetch_Site": "cross-site", "Origin": "https://evil.example"},
            {"Sec_Fetch_Site": "same-site", "Origin": "http://evil.example"},
            {"Origin": "https://evil.example"},
            {"Origin": "http://203.0.113.7"},
            {"Origin": "null"},
        ]:
            with self.subTest(page):
                status, _, body = self.ask("localhost", **get, **page)
                self.assertEqual(status, 403)
                self.assertNotIn("aGk=", body)
                self.assertEqual(self.ask("localhost", **page)[0], 403)
                preflight = {"Access_Control_Request_Method": "POST", **page}
                self.assertEqual(self.ask("localhost", method="OPTIONS", **preflight)[0], 403)
        # Images and the like of pages in networks without TLS.
        browser = {"User_Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
        for host, page in [("localhost", {"Sec_Fetch_Site": "same-site"}), ("10.1.2.3", browser)]:
            status, _, body = self.ask(host, **get, **page)
            self.assertEqual(status, 403)
            self.assertNotIn("aGk=", body)
        for page in [
            {"Sec_Fetch_Site": "none"},
            {"Sec_Fetch_Site": "same-origin", "Origin": f"http://{self.address}"},
            {"Sec_Fetch_Site": "cross-site", "Origin": "http://localhost:3000"},
        ]:
            with self.subTest(page):
                self.assertEqual(self.ask(self.address, **get, **page)[0], 200)


class AtTheGateway(Pages, Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        descriptors = str(node.descriptors(cls.dir / "demo.bin"))
        settings = {"QB_HOSTS": "*.internal", "QB_DESCRIPTORS_FILES": descriptors}
        cls.process = cls.new_gateway(QB_CORS_ALLOW_ORIGINS="https://shop.example", **settings)
        cls.address = cls.process.address

    def test_pages_of_the_listed_origins_may_call(self):
        page = {"Sec_Fetch_Site": "cross-site", "Origin": "https://shop.example"}
        self.assertEqual(self.ask("localhost", method="GET", target=GET, **page)[0], 200)
        status, headers, _ = self.ask("localhost", **page)
        self.assertEqual(status, 200)
        self.assertIn("access-control-allow-origin: https://shop.example", headers)
        self.assertEqual(self.ask("evil.example", **page)[0], 421)


class AtTheWorker(Pages, Bridge):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        environment = {"QB_HOSTS": "*.internal", "QB_DEMO_APPEND_DIR": str(cls.dir)}
        cls.process = Server(environment, cls.dir / "server.log")
        cls.addClassCleanup(cls.process.kill)
        cls.address = cls.process.address


if __name__ == "__main__":
    unittest.main()
