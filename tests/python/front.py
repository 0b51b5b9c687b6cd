"""What stands in front of a function: a request in, its event to the function, the
answer document out. Written down from AWS's documentation."""

import base64
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TEXT = ("text/", "application/json", "application/javascript", "application/xml")


class Front:
    """An address whose requests become events; `kind` is alb, alb-multi or http-api."""

    def __init__(self, kind, invoke):
        front, turn = self, threading.Lock()
        self.kind, self.methods = kind, []

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                body = self.read_body()
                front.methods.append(self.command)
                with turn:
                    answer = invoke(front.event(self, body))
                if "statusCode" not in answer:
                    answer = {"statusCode": 502, "body": "", "isBase64Encoded": False}
                body = answer["body"].encode()
                if answer["isBase64Encoded"]:
                    body = base64.b64decode(answer["body"])
                self.send_response(answer["statusCode"])
                for name, value in front.headers(answer):
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def read_body(self):
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length", 0)))
                chunks = []
                while size := int(self.rfile.readline(), 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(chunks)

            do_GET = do_POST = answer

            def log_message(self, *arguments):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def event(self, request, body):
        path, _, query = request.path.partition("?")
        lists = {}
        for name, value in request.headers.items():
            lists.setdefault(name.lower(), []).append(value)
        content_type = request.headers.get("content-type", "")
        as_text = content_type.startswith(TEXT) and "content-encoding" not in lists
        event = {
            "body": body.decode() if as_text else base64.b64encode(body).decode(),
            "isBase64Encoded": not as_text,
        }
        if self.kind == "http-api":
            http = {"method": request.command, "path": path, "protocol": "HTTP/1.1"}
            return event | {
                "version": "2.0",
                "routeKey": "$default",
                "rawPath": urllib.parse.unquote(path),
                "rawQueryString": query,
                "headers": {name: ",".join(values) for name, values in lists.items()},
                "requestContext": {"http": http, "domainName": "a.execute-api.amazonaws.com"},
            }
        # Not decoded, as they came.
        pairs = [pair.partition("=")[::2] for pair in query.split("&") if pair]
        event |= {
            "requestContext": {"elb": {"targetGroupArn": "arn"}},
            "httpMethod": request.command,
            "path": path,
        }
        if self.kind == "alb":
            headers = {name: values[-1] for name, values in lists.items()}
            return event | {"headers": headers, "queryStringParameters": dict(pairs)}
        query = {}
        for name, value in pairs:
            query.setdefault(name, []).append(value)
        return event | {"multiValueHeaders": lists, "multiValueQueryStringParameters": query}

    def headers(self, answer):
        if self.kind == "alb-multi":
            lists = answer.get("multiValueHeaders", {}).items()
            return [(name, value) for name, values in lists for value in values]
        return list(answer.get("headers", {}).items())
