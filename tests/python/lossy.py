"""An AWS endpoint behind a network that loses, as asked, requests or responses."""

import http.client
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from processes import PATIENCE


class Lossy:
    """Passes calls on to `endpoint`; `lose` and `slow` say what goes wrong. `seen`
    names the calls, and `bodies` has the newest request of each operation."""

    def __init__(self, endpoint):
        self._upstream = urllib.parse.urlsplit(endpoint).netloc
        self._faults = []
        self._lock = threading.Lock()
        self.seen = []
        self.bodies = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self):
        self._server.shutdown()
        self._server.server_close()

    def lose(self, what, operation, times=1, held=None):
        """Loses the "request" or the "response" of the next calls of an operation;
        with an event, holds it in the network until then."""
        with self._lock:
            self._faults += [(operation, what, held)] * times

    def slow(self, operation, held):
        """Holds the next request of an operation until the event, then lets it go."""
        with self._lock:
            self._faults.append((operation, None, held))

    def heal(self):
        """Nothing goes wrong from here on."""
        with self._lock:
            self._faults.clear()

    def spent(self):
        """Whether everything that was to go wrong has gone wrong."""
        with self._lock:
            return not self._faults

    def _fault(self, operation):
        with self._lock:
            self.seen.append(operation)
            for index, (name, what, held) in enumerate(self._faults):
                if name == operation:
                    del self._faults[index]
                    return what, held
        return None, None

    def _handler(lossy):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                operation = self.headers.get("X-Amz-Target", self.command).split(".")[-1]
                lossy.bodies[operation] = body
                lost, held = lossy._fault(operation)
                if held and lost != "response":
                    held.wait(PATIENCE)
                if lost == "request":
                    return self.cut()
                upstream = http.client.HTTPConnection(lossy._upstream, timeout=PATIENCE)
                upstream.request(self.command, self.path, body, dict(self.headers))
                answer = upstream.getresponse()
                content = answer.read()
                upstream.close()
                if lost == "response":
                    if held:
                        held.wait(PATIENCE)
                    return self.cut()
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in ("transfer-encoding", "content-length", "connection"):
                        self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward

            def cut(self):
                self.close_connection = True

            def log_message(self, *_):
                """The tests say what matters."""

        return Handler
