"""Who may call, and what: API keys and tokens at a real gateway, by stubs that know
nothing of it but a header."""

import base64
import hashlib
import hmac
import http.client
import json
import secrets
import signal
import subprocess
import time
import unittest

import grpc
import node
from cryptography.hazmat.primitives import serialization
from authority import Authority
from bridge import Bridge, reason, seconds
from google.protobuf import descriptor_pb2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_status import rpc_status
from guarded import NOT_GRANTED, Guarded
from issuer import Issuer, Key
from processes import BINARIES, PATIENCE, until
from queuebridge.demo.v1 import probe_pb2
from queuebridge.v1 import executions_pb2_grpc, job_pb2, jobs_pb2, jobs_pb2_grpc

MISSING = ("UNAUTHENTICATED", "CREDENTIALS_MISSING")
INVALID = ("UNAUTHENTICATED", "CREDENTIALS_INVALID")
EXPIRED = ("UNAUTHENTICATED", "CREDENTIALS_EXPIRED")


class Auth(Guarded):
    """Callers with keys and with tokens."""

    def test_nobody_is_let_in_without_credentials_but_health_checks(self):
        error = self.is_refused(MISSING, self.call, ())
        self.assertIn(("www-authenticate", "Bearer"), error.trailing_metadata())
        with grpc.insecure_channel(self.guarded.address) as channel:
            raw = channel.unary_unary("/queuebridge.demo.v1.Probe/Echo")
            self.is_refused(MISSING, raw, b"")
            # The probe of an Application Load Balancer: this is health to it.
            probe = channel.unary_unary("/AWS.ALB/healthcheck")
            self.is_refused(("UNIMPLEMENTED", "NO_ROUTE"), probe, b"")
            reflection = channel.stream_stream(
                "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
            )
            self.is_refused(MISSING, lambda: next(iter(reflection(iter([b""])))))
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            self.assertEqual(health.status, health_pb2.HealthCheckResponse.SERVING)

    def test_api_keys_in_either_header(self):
        key = f"shop.{self.secrets['shop']}"
        for metadata in [self.of("shop"), self.bearer(key)]:
            job = self.call(metadata)
            self.assertEqual(self.get_as(metadata, job.id).state, job_pb2.STATE_SUCCEEDED)
        for wrong in ["shop.wrong", f"acme.{self.secrets['shop']}", "nobody.x", "shop", ""]:
            self.is_refused(INVALID, self.call, (("x-api-key", wrong),))
        self.is_refused(INVALID, self.call, self.of("shop") + self.of("acme"))
        self.is_refused(INVALID, self.call, (("authorization", "Basic c2hvcDp4"),))

    def test_a_key_that_is_taken_out_of_the_file_is_refused_soon(self):
        gateway = self.connect(self.new_guarded())
        self.secrets["temporary"] = secrets.token_urlsafe(32)
        self.write_keys(**self.ROLES, temporary="clerk")

        def taken():
            try:
                return self.call(self.of("temporary"), gateway)
            except grpc.RpcError:
                return None

        until(taken, "the new key")
        self.write_keys(**self.ROLES)
        until(lambda: not taken(), "its end")
        self.assertTrue(self.call(self.of("shop"), gateway))

    def test_a_key_that_the_command_has_made_is_let_in(self):
        made = subprocess.run(
            [BINARIES / "queuebridge", "api-key", "--id", "made", "--tenant", "shop"]
            + ["--role", "clerk"],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertNotIn(made.stderr.strip().split(".")[1], made.stdout)
        own = self.dir / "own-keys.toml"
        own.write_text(made.stdout)
        shared, type(self).keys = self.keys, own
        try:
            jobs = self.connect(self.new_guarded())
        finally:
            type(self).keys = shared
        self.assertTrue(self.call((("x-api-key", made.stderr.strip()),), jobs))
        self.is_refused(INVALID, self.call, self.of("shop"), jobs)

    def test_tokens_of_every_pinned_algorithm(self):
        keys = [Key(name, name) for name in ["RS256", "PS256", "ES256", "ES384", "EdDSA"]]
        self.issuer.keys += keys
        names = ", ".join(f'"{key.algorithm}"' for key in keys)
        jobs = self.connect(self.new_guarded(f"algorithms = [{names}]\n"))
        for key in keys:
            token = self.bearer(self.issuer.token(key))
            self.assertEqual(
                self.get_as(token, self.call(token, jobs).id, jobs).state, job_pb2.STATE_SUCCEEDED
            )
        # What is not pinned is not taken, although its key is published.
        self.is_refused(INVALID, self.call, self.bearer(self.issuer.token(keys[1])))

    def test_keys_and_tokens_as_issuers_really_make_them(self):
        kinds = {"bare": "RS256", "padded": "ES384", "same": "ES256", "ed": "EdDSA", "large": "ES512"}
        keys = {id: Key(id, algorithm) for id, algorithm in kinds.items()}
        bare, padded, same, ed, large = keys.values()
        for key in keys.values():
            del key.public["alg"], key.public["use"]
        for name in ["x", "y"]:
            raw = base64.urlsafe_b64decode(padded.public[name] + "==")
            padded.public[name] = base64.b64encode(b"\0" + raw).decode()
        same.public["kid"] = padded.id
        ed.public["alg"] = "Ed25519"
        issuer, cognito = Issuer(*keys.values()), Issuer(bare)
        for each in [issuer, cognito]:
            self.addCleanup(each.close)
        client = f'[[auth.jwt]]\nissuer = "{cognito.url}"\njwks = "{cognito.url}"\nclient_ids = "app"\n'
        names = 'algorithms = ["RS256", "ES256", "ES384", "Ed25519"]\n'
        gateway = self.new_guarded(names + client, issuer)
        jobs = self.connect(gateway)
        for token in [issuer.token(key) for key in [bare, padded, ed]] + [
            issuer.token(same, {"kid": padded.id}),
            issuer.token(padded, {"kid": None}),
            issuer.token(bare, {"typ": "at+jwt"}, exp=time.time() + 60.5),
        ]:
            self.assertTrue(self.call(self.bearer(token), jobs))
        claims = self.claims() | {"iss": issuer.url, "roles": ["clerk"]}
        message = f"{self.part({'alg': 'Ed25519', 'kid': ed.id})}.{self.part(claims)}"
        token = f"{message}.{self.part(ed.private.sign(message.encode()))}"
        self.assertTrue(self.call(self.bearer(token), jobs))
        error = self.is_refused(INVALID, self.call, self.bearer(issuer.token(large)), jobs)
        self.assertIn("ES512", error.details())
        log = gateway.log.read_text()
        self.assertIn("its curve P-521 is not supported", log)
        self.assertIn("signed with ES512, which cannot be checked here", log)
        access = {"token_use": "access", "client_id": "app", "aud": None}
        self.assertTrue(self.call(self.bearer(cognito.token(**access)), jobs))
        for issuer, changed in [
            (cognito, access | {"token_use": "id", "aud": "app", "client_id": None}),
            (cognito, access | {"token_use": "id"}),
            (cognito, access | {"client_id": "other"}),
            (cognito, access | {"aud": "app"}),
            # Without `client_ids` there must be an audience.
            (issuer, access),
        ]:
            token = issuer.token(issuer.keys[0], **changed)
            self.is_refused(INVALID, self.call, self.bearer(token), jobs)

    def test_a_token_that_is_wrong_in_anything_is_refused(self):
        issuer, now = self.issuer, int(time.time())
        self.assertTrue(self.call(self.bearer(issuer.token())))
        stranger, key = Key(issuer.keys[0].id), issuer.keys[0]
        # The public key as the secret of an HMAC.
        form = (serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        pem = key.private.public_key().public_bytes(*form)
        confused = self.hs256(pem, {"alg": "HS256", "kid": key.id})
        unsigned = ".".join(
            self.part(part) for part in [{"alg": "none", "kid": key.id}, self.claims()]
        )
        good = issuer.token()
        for expected, token in [
            (INVALID, issuer.token(stranger)),
            (INVALID, confused),
            (INVALID, f"{unsigned}."),
            (INVALID, good[: good.rindex(".")] + "."),
            (INVALID, issuer.token(aud="other")),
            (INVALID, issuer.token(aud=None)),
            (INVALID, issuer.token(iss="https://evil.example")),
            (INVALID, issuer.token(exp=None)),
            (INVALID, issuer.token(header={"kid": "unknown"})),
            (INVALID, issuer.token(header={"crit": ["exp"]})),
            (EXPIRED, issuer.token(exp=now - 60)),
            (EXPIRED, issuer.token(nbf=now + 3600)),
            (("PERMISSION_DENIED", "NO_TENANT"), issuer.token(tenant=None)),
            (("PERMISSION_DENIED", "NO_TENANT"), issuer.token(tenant="no such/name")),
        ]:
            self.is_refused(expected, self.call, self.bearer(token))

    def claims(self):
        return {
            "iss": self.issuer.url,
            "aud": "queuebridge",
            "exp": int(time.time()) + 300,
            "tenant": "shop",
        }

    def part(self, value):
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(text).rstrip(b"=").decode()

    def hs256(self, secret, header):
        message = f"{self.part(header)}.{self.part(self.claims())}"
        tag = hmac.new(secret, message.encode(), hashlib.sha256).digest()
        return f"{message}.{self.part(tag)}"

    def test_keys_rotate_while_calls_go_on(self):
        issuer = Issuer(Key("first"))
        self.addCleanup(issuer.close)
        old, jobs = issuer.keys[0], self.connect(self.new_guarded(issuer=issuer))
        self.assertTrue(self.call(self.bearer(issuer.token()), jobs))
        issuer.keys.append(Key("second"))
        token = self.bearer(issuer.token(issuer.keys[1]))
        self.assertTrue(self.call(token, jobs), "the new key at its first token")
        self.assertTrue(self.call(self.bearer(issuer.token(old)), jobs), "and still the old one")
        asked, begun = issuer.asked, time.monotonic()
        for number in range(20):
            made_up = issuer.token(header={"kid": f"made-up-{number}"})
            self.is_refused(INVALID, self.call, self.bearer(made_up), jobs)
        most = 5 * (1 + (time.monotonic() - begun) // 60)
        self.assertLessEqual(issuer.asked - asked, most, "five times a minute, and no more")
        issuer.up = False
        self.assertTrue(self.call(self.bearer(issuer.token(sub="else")), jobs), "without the issuer")

    def test_without_its_keys_nobody_can_say_who_has_a_token(self):
        issuer = Issuer(Key("first"))
        self.addCleanup(issuer.close)
        issuer.up, jobs = False, self.connect(self.new_guarded(issuer=issuer))
        unavailable = ("UNAVAILABLE", "AUTH_UNAVAILABLE")
        self.is_refused(unavailable, self.call, self.bearer(issuer.token()), jobs)
        self.assertTrue(self.call(self.of("shop"), jobs), "others are not held up")

    def test_an_issuer_names_its_own_tenants_and_no_other(self):
        ci = Issuer(Key("ci"))
        self.addCleanup(ci.close)
        second = f'[[auth.jwt]]\nissuer = "{ci.url}"\naudience = "queuebridge"\njwks = "{ci.url}"\n'
        gateway = self.new_guarded(f'tenants = ["shop"]\n{second}tenants = ["acme", "eu-*"]\n')
        jobs = self.connect(gateway)
        bearer = lambda issuer, tenant: self.bearer(issuer.token(tenant=tenant))
        id = self.call(bearer(self.issuer, "shop"), jobs).id
        for tenant in ["acme", "eu-1"]:
            self.assertTrue(self.call(bearer(ci, tenant), jobs))
        # The other issuer's tenant, in a token that is right in everything.
        no_tenant = ("PERMISSION_DENIED", "NO_TENANT")
        for issuer, tenant in [(ci, "shop"), (ci, "eu"), (ci, "acme2"), (self.issuer, "acme")]:
            error = self.is_refused(no_tenant, self.call, bearer(issuer, tenant), jobs)
            self.assertIn("issuer may not name", error.details())
        self.is_refused(no_tenant, self.get_as, bearer(ci, "shop"), id, jobs)
        self.assertNotIn("may name the same tenants", gateway.log.read_text())
        # Without lists each may name the tenants of the other, which is said at the start.
        overlapping = self.new_guarded(second)
        self.assertTrue(self.call(bearer(ci, "shop"), self.connect(overlapping)))
        warning = (
            f'auth.jwt: the issuers "{self.issuer.url}" and "{ci.url}" may name the same tenants: "*"; '
            "give each a list of its own in `tenants`"
        )
        self.assertTrue(overlapping.logged(warning), overlapping.log.read_text())

    def test_a_tenant_sees_its_own_jobs_and_cannot_tell_that_there_are_others(self):
        id = self.call(self.of("shop")).id
        self.assertEqual(self.get_as(self.of("owner"), id).state, job_pb2.STATE_SUCCEEDED)
        self.assertTrue(self.get_as(self.bearer(self.issuer.token()), id))
        forged = id[:40] + ("A" if id[40] != "A" else "B") + id[41:]
        told = set()
        for asked in [id, forged]:
            for call, request in [
                (self.jobs.GetResult, jobs_pb2.GetResultRequest(id=asked)),
                (self.jobs.Cancel, jobs_pb2.CancelRequest(id=asked)),
                (self.jobs.Delete, jobs_pb2.DeleteRequest(id=asked)),
                (self.jobs.ListBranches, jobs_pb2.ListBranchesRequest(id=asked)),
            ]:
                error = self.is_refused(
                    ("NOT_FOUND", "JOB_NOT_FOUND"), call, request, metadata=self.of("acme")
                )
                told.add(error.details())
            for stream, request in [
                (self.jobs.WatchResult, jobs_pb2.WatchResultRequest(id=asked)),
                (self.jobs.DownloadResult, jobs_pb2.DownloadResultRequest(id=asked)),
                (self.jobs.ReadStream, jobs_pb2.ReadStreamRequest(id=asked)),
            ]:
                self.is_refused(
                    ("NOT_FOUND", "JOB_NOT_FOUND"),
                    lambda: next(iter(stream(request, metadata=self.of("acme")))),
                )
            self.is_refused(
                ("INVALID_ARGUMENT", "INVALID_FIELD"), self.call, self.of("acme"), retry_of=asked
            )
        self.assertEqual(len(told), 1, told)
        # Neither by a request id: those of another tenant are others.
        mine = self.call(self.of("owner"), request_id="same").id
        theirs = self.call(self.of("acme"), request_id="same").id
        self.assertNotEqual(mine, theirs)

    def test_a_verb_on_a_method_needs_its_grant(self):
        id = self.call(self.of("shop")).id
        cancel, delete = jobs_pb2.CancelRequest(id=id), jobs_pb2.DeleteRequest(id=id)
        self.assertEqual(self.get_as(self.of("audit"), id).state, job_pb2.STATE_SUCCEEDED)
        self.is_refused(NOT_GRANTED, self.call, self.of("audit"))
        self.is_refused(NOT_GRANTED, self.jobs.Cancel, cancel, metadata=self.of("shop"))
        self.is_refused(NOT_GRANTED, self.jobs.Delete, delete, metadata=self.of("shop"))
        watch = jobs_pb2.WatchResultRequest(id=id)
        self.is_refused(
            NOT_GRANTED, lambda: next(iter(self.jobs.WatchResult(watch, metadata=self.of("audit"))))
        )
        other = "/queuebridge.demo.v1.Images/Thumbnail"
        self.is_refused(NOT_GRANTED, self.call, self.of("shop"), name=other)
        with grpc.insecure_channel(self.guarded.address) as channel:
            raw = channel.unary_unary(other)
            self.is_refused(NOT_GRANTED, raw, b"", metadata=self.of("shop"))
            echo = channel.unary_unary(
                "/queuebridge.demo.v1.Probe/Echo",
                probe_pb2.EchoRequest.SerializeToString,
                probe_pb2.EchoResponse.FromString,
            )
            self.assertTrue(echo(probe_pb2.EchoRequest(), metadata=self.of("shop"), timeout=PATIENCE))
        # Of a method that only another gateway has seen, the id says enough.
        images = self.call(self.of("owner"), name=other).id
        elsewhere = self.connect(self.new_guarded())
        self.is_refused(NOT_GRANTED, self.get_as, self.of("shop"), images, elsewhere)
        self.assertTrue(self.get_as(self.of("audit"), images, elsewhere))
        # By its request id a job is found by others, and is not read by that.
        mine = self.request("Echo", request_id="mine", wait=seconds(300))
        id = self.jobs.Submit(mine, metadata=self.of("shop")).id
        seen = self.jobs.Submit(mine, metadata=self.of("submits"))
        self.assertEqual((seen.id, seen.state), (id, job_pb2.STATE_ACCEPTED))
        self.assertIsNone(seen.WhichOneof("outcome"))
        with grpc.insecure_channel(self.guarded.address) as channel:
            execute = executions_pb2_grpc.ExecutionsStub(channel).Execute
            self.is_refused(
                NOT_GRANTED, lambda: next(iter(execute(mine, metadata=self.of("submits"))))
            )
        for who in ["shop", "owner"]:
            read = self.jobs.Submit(mine, metadata=self.of(who))
            self.assertEqual((read.id, read.state), (id, job_pb2.STATE_SUCCEEDED))
        delete = jobs_pb2.DeleteRequest(id=id)
        self.jobs.Delete(delete, metadata=self.of("owner"))
        gone = ("NOT_FOUND", "RESULT_PURGED")
        self.is_refused(gone, self.get_as, self.of("owner"), id)

    def test_acts_are_in_the_audit_log_and_credentials_in_no_log(self):
        token = self.issuer.token(sub="auditee")
        id = self.call(self.bearer(token)).id
        self.get_as(self.bearer(token), id)
        self.is_refused(
            NOT_GRANTED, self.jobs.Cancel, jobs_pb2.CancelRequest(id=id), metadata=self.bearer(token)
        )
        self.jobs.Delete(jobs_pb2.DeleteRequest(id=id), metadata=self.of("owner"))

        def acts():
            whole, _, _ = self.guarded.log.read_text().rpartition("\n")
            lines = [json.loads(line) for line in whole.splitlines()]
            return [
                (line["fields"]["act"], line["fields"]["subject"], line["fields"]["code"])
                for line in lines
                if line["target"] == "queuebridge::audit" and line["fields"].get("job") == id
            ]

        expected = [
            ("cancel", "jwt:auditee", "PERMISSION_DENIED"),
            ("delete", "api-key:owner", "OK"),
        ]
        until(lambda: len(acts()) >= len(expected), "both acts")
        self.assertEqual(acts(), expected)
        log = self.guarded.log.read_text()
        for secret in [token, token.split(".")[2], *self.secrets.values()]:
            self.assertNotIn(secret, log)

    def audit(self, gateway, **known):
        """The fields of the audit lines with what is known of them."""
        whole, _, _ = gateway.log.read_text().rpartition("\n")
        lines = [json.loads(line) for line in whole.splitlines()]
        audited = [line["fields"] for line in lines if line["target"] == "queuebridge::audit"]
        return [fields for fields in audited if known.items() <= fields.items()]

    def test_a_subject_neither_begins_a_line_nor_turns_one_round_in_the_audit_log(self):
        subject = "me\n\x1b[2J\x9b\u2028\u202egpj"
        token = self.bearer(self.issuer.token(sub=subject))
        cancel = jobs_pb2.CancelRequest(id=self.call(token).id)
        self.is_refused(NOT_GRANTED, self.jobs.Cancel, cancel, metadata=token)
        shown = "jwt:me\\n\\u{1b}[2J\\u{9b}\\u{2028}\\u{202e}gpj"
        until(lambda: self.audit(self.guarded, act="cancel", subject=shown), "the line")
        log = self.guarded.log.read_bytes()
        for raw in ["\x1b", "\x9b", "\u2028", "\u202e"]:
            self.assertNotIn(raw.encode(), log)

    def test_guessing_leaves_a_line_and_a_count_and_no_secret(self):
        gateway = self.new_guarded()
        jobs, made_up = self.connect(gateway), secrets.token_urlsafe(32)
        wrong = [(("x-api-key", f"shop.{made_up}"),), (("x-api-key", made_up),)] * 20
        for metadata in wrong:
            self.is_refused(INVALID, self.call, metadata, jobs)
        for _ in range(5):
            self.is_refused(MISSING, self.call, (), jobs)
        nowhere = self.bearer(self.issuer.token(sub="someone", tenant=None))
        no_tenant = ("PERMISSION_DENIED", "NO_TENANT")
        self.is_refused(no_tenant, self.call, nowhere, jobs)
        late = self.bearer(self.issuer.token(exp=int(time.time()) - 3600))
        self.is_refused(EXPIRED, self.call, late, jobs)
        # In another protocol as well, and once.
        connection = http.client.HTTPConnection(gateway.address, timeout=PATIENCE)
        self.addCleanup(connection.close)
        headers = {"content-type": "application/json", "x-api-key": f"shop.{made_up}"}
        connection.request("POST", "/queuebridge.v1.Jobs/GetResult", b"{}", headers)
        answer = connection.getresponse()
        self.assertEqual(answer.status, 401, answer.read())
        connection.close()
        self.assertTrue(self.call(self.of("shop"), jobs), "who is known is let in as before")
        with grpc.insecure_channel(gateway.address) as channel:
            health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        gateway.stop(signal.SIGTERM)
        for (_, why), count, claimed in [
            (INVALID, len(wrong) + 1, "api-key:shop"),
            (MISSING, 5, None),
            (no_tenant, 1, "jwt:someone"),
            (EXPIRED, 1, f"issuer:{self.issuer.url}"),
        ]:
            lines = self.audit(gateway, act="refuse", reason=why, peer="127.0.0.1")
            first, *counts = lines
            self.assertEqual(first.get("claimed"), claimed)
            # A busy machine takes more than a minute for it, and then there are more counts.
            self.assertEqual(1 + sum(line["count"] for line in counts), count, lines)
            self.assertTrue(all(line["seconds"] in (60, 600) for line in counts), lines)
        log = gateway.log.read_text()
        for secret in [made_up, nowhere[0][1].split(".")[2], late[0][1].split(".")[2]]:
            self.assertNotIn(secret, log)

    def ask(self, channel, metadata, version="v1", **question):
        """What reflection answers: the names of services, the files, or the error."""
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            reflection_pb2.ServerReflectionRequest.SerializeToString,
            reflection_pb2.ServerReflectionResponse.FromString,
        )
        request = reflection_pb2.ServerReflectionRequest(**question)
        (answer,) = call(iter([request]), metadata=metadata, timeout=PATIENCE)
        kind = answer.WhichOneof("message_response")
        if kind == "error_response":
            return answer.error_response.error_code, answer.error_response.error_message
        if kind == "list_services_response":
            return {service.name for service in answer.list_services_response.service}
        files = answer.file_descriptor_response.file_descriptor_proto
        return [descriptor_pb2.FileDescriptorProto.FromString(file) for file in files]

    def test_what_the_grants_do_not_reach_does_not_exist_for_a_caller(self):
        files = str(node.descriptors(self.dir / "demo.bin"))
        gateway = self.new_guarded(QB_DESCRIPTORS_FILES=files)
        probe, images = "queuebridge.demo.v1.Probe", "queuebridge.demo.v1.Images"
        shop, owner = self.of("shop"), self.of("owner")
        with grpc.insecure_channel(gateway.address) as channel:
            everything = self.ask(channel, owner, list_services="")
            self.assertLessEqual({probe, images, "queuebridge.v1.Jobs"}, everything)
            for version in ["v1", "v1alpha"]:
                seen = self.ask(channel, shop, version, list_services="")
                self.assertEqual(everything - seen, {images})
                (file,) = self.ask(channel, shop, version, file_containing_symbol=f"{probe}.Echo")
                for name in file.dependency:
                    self.assertEqual(
                        self.ask(channel, shop, version, file_by_filename=name)[0].name, name
                    )
                (hidden,) = self.ask(channel, owner, version, file_containing_symbol=images)
                message = f"{hidden.package}.{hidden.message_type[0].name}"
                for name in [images, f"{images}.Thumbnail", message, "no.Such"]:
                    self.assertEqual(
                        self.ask(channel, shop, version, file_containing_symbol=name),
                        (5, f"{name} is not known here"),
                    )
                self.assertEqual(
                    self.ask(channel, shop, version, file_by_filename=hidden.name),
                    (5, f"{hidden.name} is not known here"),
                )
        # Neither does another protocol tell, which knows the method's messages.
        told = set()
        for path in [f"/{images}/Thumbnail", "/no.Such/Method"]:
            connection = http.client.HTTPConnection(gateway.address, timeout=PATIENCE)
            self.addCleanup(connection.close)
            headers = {"content-type": "application/json", **dict(shop)}
            connection.request("POST", path, b"no json", headers)
            answer = connection.getresponse()
            told.add((answer.status, answer.read()))
        self.assertEqual([status for status, _ in told], [403], told)

    def test_credentials_do_not_travel_to_the_handler(self):
        queue = self.sqs.create_queue(QueueName=f"{self.dir.name}-peek")["QueueUrl"]
        routes = f'[{{ methods = "*", queue = "{queue}", modes = ["async"] }}]'
        token = self.issuer.token()
        channel = grpc.insecure_channel(self.new_guarded(QB_ROUTES=routes).address)
        self.addCleanup(channel.close)
        raw = channel.unary_unary("/queuebridge.demo.v1.Probe/Echo")
        raw(b"", metadata=self.bearer(token) + (("kept", "yes"),), timeout=PATIENCE)
        receive = lambda: self.sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=10)
        messages = until(lambda: receive().get("Messages"), "the message")
        for message in messages:
            body = base64.b64decode(message["Body"])
            self.assertIn(b"kept", body)
            self.assertNotIn(b"authorization", body)
            self.assertNotIn(token.encode(), body)


class Certificates(Bridge):
    """Callers who are known by the certificate of their connection."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.authority = Authority(cls.dir, "clients")
        server = Authority(cls.dir, "servers")
        cls.trusted, own = server.pem, server.server()
        cls.mutual = cls.new_gateway(
            QB_TLS_CERTIFICATE=str(own.certificate),
            QB_TLS_KEY=str(own.key),
            QB_TLS_CLIENT_CA=str(cls.authority.file),
            QB_TLS_CLIENT_CERTIFICATES="optional",
            QB_AUTH="""{
                certificate = [
                    { subject = "CN=billing", tenant = "shop", roles = ["clerk"] },
                    { subject = "CN=stock", tenant = "acme" },
                ],
                grant = [
                    { roles = ["clerk"], verbs = ["submit", "read"] },
                    { verbs = ["read"] },
                ],
            }""",
        )

    def caller(self, name=None):
        pair = ()
        if name:
            signed = self.authority.client(name)
            pair = (signed.key.read_bytes(), signed.certificate.read_bytes())
        credentials = grpc.ssl_channel_credentials(self.trusted, *pair)
        port = self.mutual.address.rsplit(":", 1)[1]
        channel = grpc.secure_channel(f"localhost:{port}", credentials)
        self.addCleanup(channel.close)
        return channel

    def known(self, name=None):
        return jobs_pb2_grpc.JobsStub(self.caller(name))

    def refusal(self, call, *arguments, **named):
        with self.assertRaises(grpc.RpcError) as raised:
            call(*arguments, **named)
        return raised.exception.code().name, reason(raised.exception)[0]

    def test_a_certificate_says_who_calls_and_what_that_may_do(self):
        billing, stock = self.known("billing"), self.known("stock")
        id = billing.Submit(self.request("Echo")).id
        self.assertEqual(self.finished(id, billing).state, job_pb2.STATE_SUCCEEDED)
        self.assertEqual(
            self.refusal(billing.Cancel, jobs_pb2.CancelRequest(id=id)), NOT_GRANTED
        )
        self.assertEqual(self.refusal(stock.Submit, self.request("Echo")), NOT_GRANTED)
        foreign = jobs_pb2.GetResultRequest(id=id)
        self.assertEqual(
            self.refusal(stock.GetResult, foreign), ("NOT_FOUND", "JOB_NOT_FOUND")
        )

    def test_who_is_signed_and_not_known_and_who_has_none_are_refused(self):
        self.assertEqual(self.refusal(self.known("else").Submit, self.request("Echo")), INVALID)
        self.assertEqual(self.refusal(self.known().Submit, self.request("Echo")), MISSING)

    def test_a_watch_with_good_credentials_is_one_of_its_callers_own_calls(self):
        for name, refused in [("billing", []), ("else", ["OVERLOADED"])]:
            health = health_pb2_grpc.HealthStub(self.caller(name))
            watches = [health.Watch(health_pb2.HealthCheckRequest()) for _ in range(9)]
            heard = []
            for watch in watches:
                try:
                    self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
                except grpc.RpcError as error:
                    heard.append(reason(error)[0])
            self.assertEqual(heard, refused, name)
            for watch in watches:
                watch.cancel()


class Quotas(Bridge):
    """One tenant's haste is its own."""

    def test_a_tenant_that_submits_too_fast_hears_when_to_come_back(self):
        jobs = self.connect(self.new_gateway(QB_QUOTA_JOBS_PER_SECOND="1", QB_QUOTA_JOBS_BURST="3"))

        def too_fast(method, request):
            """The errors of calls that all come at once."""
            calls = [method.future(request) for _ in range(60)]
            refused = [call.exception() for call in calls if call.exception()]
            self.assertTrue(refused)
            for error in refused:
                self.assertEqual(error.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
                self.assertEqual(reason(error)[0], "QUOTA_EXCEEDED")
            return refused

        for error in too_fast(jobs.Submit, self.request("Echo")):
            wait = error_details_pb2.RetryInfo()
            self.assertTrue(any(d.Unpack(wait) for d in rpc_status.from_call(error).details))
            self.assertLess(wait.retry_delay.ToTimedelta().total_seconds(), 3)
        group = jobs_pb2.SubmitBatchRequest(jobs=[self.request("Echo")], group=jobs_pb2.Group())
        too_fast(jobs.SubmitBatch, group)
        batch = jobs_pb2.SubmitBatchRequest(jobs=[self.request("Echo")] * 60)
        results = jobs.SubmitBatch(batch).results
        self.assertIn("error", [result.WhichOneof("result") for result in results])
        # A stream is slowed down, and nothing of it is refused.
        stream = jobs.SubmitStream(iter([self.request("Echo")] * 3))
        self.assertEqual({result.WhichOneof("result") for result in stream}, {"job"})

    def test_open_calls_are_bounded(self):
        jobs = self.connect(self.new_gateway(QB_QUOTA_CALLS_IN_FLIGHT="2"))
        request = self.request("Echo")
        request.delay.FromSeconds(900)
        id = jobs.Submit(request).id
        waiting = jobs_pb2.GetResultRequest(id=id)
        waiting.wait.FromSeconds(300)
        # Whichever comes third: the other two are open until the job ends.
        open_calls = [jobs.GetResult.future(waiting) for _ in range(3)]
        until(lambda: any(call.done() for call in open_calls), "the refusal")
        self.jobs.Cancel(jobs_pb2.CancelRequest(id=id))
        refused = [call.exception() for call in open_calls if call.exception()]
        self.assertEqual([reason(error)[0] for error in refused], ["QUOTA_EXCEEDED"])
        finished = [call.result().state for call in open_calls if not call.exception()]
        self.assertEqual(finished, [job_pb2.STATE_CANCELLED] * 2)

        def answered():
            try:
                return jobs.GetResult(jobs_pb2.GetResultRequest(id=id))
            except grpc.RpcError:
                return None

        until(answered, "the end of the two calls")


if __name__ == "__main__":
    unittest.main()
