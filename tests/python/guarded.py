"""A gateway that asks who calls, and callers of several kinds."""

import hashlib
import secrets

import grpc
from bridge import Bridge, reason
from issuer import Issuer, Key
from processes import Gateway
from queuebridge.v1 import jobs_pb2

NOT_GRANTED = ("PERMISSION_DENIED", "NOT_GRANTED")


class Guarded(Bridge):
    GRANTS = """
grant = [
    { roles = ["clerk"], methods = "/queuebridge.demo.v1.Probe/*", verbs = ["submit", "read", "watch"] },
    { roles = ["auditor"], verbs = ["read"] },
    { roles = ["submitter"], verbs = ["submit"] },
    { roles = ["owner"], verbs = ["submit", "read", "watch", "cancel", "admin"] },
]
"""
    ROLES = dict(shop="clerk", acme="owner", audit="auditor", owner="owner", submits="submitter")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.issuer = Issuer(Key("rsa"))
        cls.addClassCleanup(cls.issuer.close)
        cls.secrets = {id: secrets.token_urlsafe(32) for id in cls.ROLES}
        cls.keys = cls.dir / "api-keys.toml"
        cls.write_keys(**cls.ROLES)
        cls.guarded = cls.new_guarded()
        cls.jobs = cls.connect(cls.guarded)

    @classmethod
    def write_keys(cls, **roles):
        entries = [
            f'[[key]]\nid = "{id}"\nsha256 = "{hashlib.sha256(cls.secrets[id].encode()).hexdigest()}"\n'
            f'tenant = "{"acme" if id == "acme" else "shop"}"\nroles = ["{role}"]\n'
            for id, role in roles.items()
        ]
        cls.keys.write_text("".join(entries))

    @classmethod
    def new_guarded(cls, more="", issuer=None, **environment):
        environment = {**cls.gateway_environment, **environment}
        del environment["QB_AUTH"]
        issuer = issuer or cls.issuer
        name = f"gateway-{next(cls.numbers)}"
        file = cls.dir / f"{name}.toml"
        file.write_text(
            f'[auth]\napi_keys = "{cls.keys}"\n{cls.GRANTS}[[auth.jwt]]\nissuer = "{issuer.url}"\n'
            f'audience = "queuebridge"\njwks = "{issuer.url}"\n{more}'
        )
        gateway = Gateway(environment, cls.dir / f"{name}.log", "--config", str(file))
        cls.addClassCleanup(gateway.kill)
        return gateway

    def of(self, id):
        return (("x-api-key", f"{id}.{self.secrets[id]}"),)

    def bearer(self, token):
        return (("authorization", f"Bearer {token}"),)

    def call(self, metadata, jobs=None, name="Echo", **fields):
        request = self.request(name, **fields)
        return (jobs or self.jobs).Submit(request, metadata=metadata)

    def get_as(self, metadata, id, jobs=None):
        request = jobs_pb2.GetResultRequest(id=id)
        request.wait.FromSeconds(300)
        return (jobs or self.jobs).GetResult(request, metadata=metadata)

    def is_refused(self, expected, call, *arguments, **named):
        with self.assertRaises(grpc.RpcError) as raised:
            call(*arguments, **named)
        error = raised.exception
        self.assertEqual((error.code().name, reason(error)[0]), expected, error.details())
        return error
