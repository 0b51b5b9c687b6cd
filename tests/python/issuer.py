"""An issuer of tokens: a real JWKS server, and tokens by a library of its own."""

import http.server
import json
import threading
import time

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

KINDS = {
    "RS256": (lambda: rsa.generate_private_key(65537, 2048), RSAAlgorithm),
    "PS256": (lambda: rsa.generate_private_key(65537, 2048), RSAAlgorithm),
    "ES256": (lambda: ec.generate_private_key(ec.SECP256R1()), ECAlgorithm),
    "ES384": (lambda: ec.generate_private_key(ec.SECP384R1()), ECAlgorithm),
    "ES512": (lambda: ec.generate_private_key(ec.SECP521R1()), ECAlgorithm),
    "EdDSA": (ed25519.Ed25519PrivateKey.generate, OKPAlgorithm),
}


class Key:
    def __init__(self, id, algorithm="RS256"):
        make, kind = KINDS[algorithm]
        self.id, self.algorithm, self.private = id, algorithm, make()
        self.public = json.loads(kind.to_jwk(self.private.public_key()))
        self.public |= {"kid": id, "use": "sig", "alg": algorithm}


class Issuer:
    """Serves its keys on loopback; counts how often they are asked for."""

    def __init__(self, *keys):
        self.keys, self.asked, self.up = list(keys), 0, True
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                body = json.dumps({"keys": [key.public for key in issuer.keys]}).encode()
                self.send_response(200 if issuer.up else 503)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks.json"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, key=None, header=None, algorithm=None, secret=None, **claims):
        """A token that is right, but for what is given."""
        key = key or self.keys[0]
        now = int(time.time())
        right = {"iss": self.url, "aud": "queuebridge", "exp": now + 3600, "sub": "me"}
        right |= {"tenant": "shop", "roles": ["clerk"]} | claims
        right = {name: value for name, value in right.items() if value is not None}
        header = {"kid": key.id} | (header or {})
        header = {name: value for name, value in header.items() if value is not None}
        return jwt.encode(
            right, secret or key.private, algorithm=algorithm or key.algorithm, headers=header
        )

    def close(self):
        self.server.shutdown()
        self.server.server_close()
