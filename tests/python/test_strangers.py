"""Services and clients that were not written for a bridge, unchanged at both ends."""

import os
import queue
import subprocess
import sys

import grpc
import node
import shop
import stubs
from bridge import Bridge, reason
from google import pubsub_v1
from google.api_core import exceptions
from google.iam.v1 import iam_policy_pb2, iam_policy_pb2_grpc
from google.protobuf import descriptor_pool, duration_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from processes import PATIENCE, Process, until
from routeguide import route_guide_pb2, route_guide_pb2_grpc

GUIDE = "routeguide.RouteGuide"
HEALTH = "grpc.health.v1.Health"
REFLECTION = "grpc.reflection.v1alpha.ServerReflection"
POINT = route_guide_pb2.Point(latitude=409146138, longitude=-746188906)
NOWHERE = route_guide_pb2.Point(latitude=0, longitude=0)


class Strangers(Bridge):
    """A gateway whose `services` go to a worker that hosts them, the others to a server."""

    program = "strangers"
    services = ()

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.server, port = shop.start()
        cls.addClassCleanup(cls.server.stop, None)
        routes = [
            f'{{ methods = "/{service}/*", queue = "{cls.queue}" }}' for service in cls.services
        ]
        routes.append(f'{{ methods = "*", upstream = "http://127.0.0.1:{port}" }}')
        folder = stubs.ROOT / "tests/interop/proto/routeguide"
        files = node.descriptors(cls.dir / "guide.bin", folder)
        cls.front = cls.new_gateway(
            QB_ROUTES=f"[{', '.join(routes)}]", QB_DESCRIPTORS_FILES=str(files)
        )
        cls.channel = grpc.insecure_channel(cls.front.address)
        cls.addClassCleanup(cls.channel.close)


class Published(Strangers):
    """Health and reflection of the worker itself: the routes name them."""

    services = (GUIDE, HEALTH, REFLECTION)

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.guide = route_guide_pb2_grpc.RouteGuideStub(cls.channel)
        cls.health = health_pb2_grpc.HealthStub(cls.channel)

    def test_what_an_upstream_might_take_for_another_method_does_not_reach_it(self):
        for path in ["/a.Public/../shop.Admin/Drop", "/a.Public/%2e%2e/shop.Admin/Drop", "//a.B/C", "/a.B/C/"]:
            with self.assertRaises(grpc.RpcError) as raised:
                self.channel.unary_unary(path)(b"", timeout=PATIENCE)
            code, why = raised.exception.code(), reason(raised.exception)[0]
            self.assertEqual((code, why), (grpc.StatusCode.UNIMPLEMENTED, "NO_ROUTE"), path)

    def test_health_is_that_of_the_worker(self):
        def check(service):
            request = health_pb2.HealthCheckRequest(service=service)
            return self.health.Check(request, timeout=PATIENCE).status

        response = health_pb2.HealthCheckResponse
        self.assertEqual(check(""), response.SERVING)
        self.assertEqual(check(GUIDE), response.SERVING)
        self.assertEqual(check("routeguide.Closed"), response.NOT_SERVING)
        with self.assertRaises(grpc.RpcError) as raised:
            check("queuebridge.v1.Jobs")
        self.assertEqual(raised.exception.code(), grpc.StatusCode.NOT_FOUND)

    def test_a_watch_of_health_begins_at_once_and_has_no_end(self):
        request = health_pb2.HealthCheckRequest(service=GUIDE)
        watch = self.health.Watch(request, timeout=PATIENCE)
        self.assertEqual(next(watch).status, health_pb2.HealthCheckResponse.SERVING)
        self.assertTrue(watch.is_active())
        watch.cancel()

    def test_reflection_is_that_of_the_worker(self):
        database = ProtoReflectionDescriptorDatabase(self.channel)
        # The gateway's own would tell of jobs.
        self.assertEqual(set(database.get_services()), {GUIDE, REFLECTION})
        found = descriptor_pool.DescriptorPool(database).FindServiceByName(GUIDE)
        self.assertTrue(found.methods_by_name["RouteChat"].client_streaming)

    def test_a_feature_and_none(self):
        feature = self.guide.GetFeature(POINT, timeout=PATIENCE)
        self.assertTrue(feature.name.startswith("Berkshire Valley"))
        self.assertEqual(self.guide.GetFeature(NOWHERE, timeout=PATIENCE).name, "")

    def test_the_features_of_a_rectangle(self):
        rectangle = route_guide_pb2.Rectangle(
            lo=route_guide_pb2.Point(latitude=400000000, longitude=-750000000),
            hi=route_guide_pb2.Point(latitude=420000000, longitude=-730000000),
        )
        features = list(self.guide.ListFeatures(rectangle, timeout=PATIENCE))
        self.assertEqual(len(features), 8)
        self.assertIn(POINT, [feature.location for feature in features])
        nothing = route_guide_pb2.Rectangle(lo=NOWHERE, hi=NOWHERE)
        self.assertEqual(list(self.guide.ListFeatures(nothing, timeout=PATIENCE)), [])

    def test_a_route_is_summed_up(self):
        points = [POINT, NOWHERE, POINT]
        summary = self.guide.RecordRoute(iter(points), timeout=PATIENCE)
        self.assertEqual((summary.point_count, summary.feature_count), (3, 2))
        self.assertAlmostEqual(summary.distance / 16_900_000, 1, places=1)

    def test_notes_are_answered_by_those_before(self):
        def notes():
            for message in ["first", "second", "third"]:
                yield route_guide_pb2.RouteNote(location=POINT, message=message)

        answers = self.guide.RouteChat(notes(), timeout=PATIENCE)
        said = [answer.message for answer in answers]
        self.assertEqual(said, ["first", "first", "second", "first", "second", "third"])

    def test_what_a_worker_brings_along_is_served_also_without_a_queue(self):
        log, listen = self.dir / "served.log", {"QB_LISTEN": "127.0.0.1:0"}
        server = Process(self.program, [], listen, log)
        self.addCleanup(server.kill)
        address = until(lambda: server.logged("listening"), "the server")["address"]
        with grpc.insecure_channel(address) as channel:
            request = health_pb2.HealthCheckRequest(service="routeguide.Closed")
            answer = health_pb2_grpc.HealthStub(channel).Check(
                request, timeout=PATIENCE, wait_for_ready=True
            )
            self.assertEqual(answer.status, health_pb2.HealthCheckResponse.NOT_SERVING)
            services = ProtoReflectionDescriptorDatabase(channel).get_services()
            self.assertIn(GUIDE, services)


class Queued(Strangers):
    """Google's client, and a worker that knows no message of it."""

    services = (
        "google.pubsub.v1.Publisher",
        "google.pubsub.v1.Subscriber",
        "google.pubsub.v1.SchemaService",
        shop.IAM,
    )

    def test_a_generated_client_gets_back_all_that_it_has_sent(self):
        transport = pubsub_v1.PublisherClient.get_transport_class("grpc")
        client = pubsub_v1.PublisherClient(transport=transport(channel=self.channel))
        topic = pubsub_v1.Topic(
            name="projects/p/topics/t",
            labels={"a": "1", "b": "2"},
            message_retention_duration=duration_pb2.Duration(seconds=600),
            schema_settings=pubsub_v1.SchemaSettings(schema="projects/p/schemas/s", encoding=1),
        )
        self.assertEqual(client.create_topic(topic, timeout=PATIENCE), topic)

    def test_every_method_of_its_surface_passes(self):
        methods = shop.methods()
        self.assertGreater(len(methods), 30)
        calls = []
        for path, kind in methods.items():
            message = os.urandom(100)
            call = getattr(self.channel, kind)(path)
            takes, gives = kind.split("_")
            request = message if takes == "unary" else iter([message])
            if gives == "unary":
                calls.append((path, message, call.future(request, timeout=PATIENCE).result))
            else:
                answers = call(request, timeout=PATIENCE)
                calls.append((path, message, lambda answers=answers: b"".join(answers)))
        for path, message, result in calls:
            with self.subTest(path):
                self.assertEqual(result(), message)


class Direct(Strangers):
    """Google's clients, and a server in Python as the upstream."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()

        def client(kind):
            return kind(transport=kind.get_transport_class("grpc")(channel=cls.channel))

        cls.publisher = client(pubsub_v1.PublisherClient)
        cls.subscriber = client(pubsub_v1.SubscriberClient)

    def test_topics(self):
        names = [f"projects/p/topics/{number}" for number in range(3)]
        for name in names:
            self.publisher.create_topic(name=name)
        listed = self.publisher.list_topics(project="projects/p")
        self.assertLessEqual(set(names), {topic.name for topic in listed})
        self.publisher.delete_topic(topic=names[0])
        with self.assertRaises(exceptions.NotFound) as raised:
            self.publisher.get_topic(topic=names[0])
        [detail] = raised.exception.details
        self.assertEqual(detail.resource_name, names[0])

    def test_metadata_of_the_server_arrives(self):
        path = "/google.pubsub.v1.Publisher/CreateTopic"
        call = self.channel.unary_unary(path).with_call
        _, call = call(pubsub_v1.Topic.serialize(pubsub_v1.Topic(name="m")), timeout=PATIENCE)
        self.assertIn(("x-region", "here"), call.initial_metadata())
        self.assertIn(("x-cost-bin", b"\x01\xff"), call.trailing_metadata())

    def test_a_pull_is_a_conversation(self):
        requests = queue.SimpleQueue()
        self.addCleanup(requests.put, None)
        requests.put(pubsub_v1.StreamingPullRequest(subscription="0"))
        answers = self.subscriber.streaming_pull(iter(requests.get, None), timeout=PATIENCE)
        for number in range(1, 5):
            [received] = next(iter(answers)).received_messages
            self.assertEqual(received.ack_id, str(number - 1))
            requests.put(pubsub_v1.StreamingPullRequest(ack_ids=[str(number)]))


class Grpcurl(Strangers):
    """A tool that knows nothing but reflection."""

    services = (GUIDE,)

    def grpcurl(self, *arguments):
        program = os.path.join(os.path.dirname(sys.executable), "grpcurl")
        command = [program, "-plaintext", "-max-time", str(PATIENCE), *arguments]
        run = subprocess.run(command, capture_output=True, text=True, timeout=2 * PATIENCE)
        self.assertEqual(run.returncode, 0, run.stderr)
        return run.stdout

    def listed(self):
        return self.grpcurl(self.front.address, "list").split()

    def test_what_lives_behind_a_queue_is_listed_described_and_called(self):
        address = self.front.address
        self.assertIn(GUIDE, self.listed())
        described = self.grpcurl(address, "describe", GUIDE)
        self.assertIn("rpc RouteChat ( stream .routeguide.RouteNote )", described)
        point = '{"latitude": 409146138, "longitude": -746188906}'
        answer = self.grpcurl("-d", point, address, f"{GUIDE}/GetFeature")
        self.assertIn("Berkshire Valley", answer)
        summary = self.grpcurl("-d", point * 3, address, f"{GUIDE}/RecordRoute")
        self.assertIn('"pointCount": 3', summary)

    def test_what_an_upstream_has_told_is_listed_described_and_called(self):
        address = self.front.address
        until(lambda: shop.IAM in self.listed(), "the upstream's descriptors")
        self.assertIn("rpc GetIamPolicy", self.grpcurl(address, "describe", shop.IAM))
        request = '{"resource": "projects/p"}'
        answer = self.grpcurl("-d", request, address, f"{shop.IAM}/GetIamPolicy")
        self.assertIn('"roles/reader"', answer)
        typed = iam_policy_pb2_grpc.IAMPolicyStub(self.channel).GetIamPolicy(
            iam_policy_pb2.GetIamPolicyRequest(resource="projects/p"), timeout=PATIENCE
        )
        self.assertEqual((typed.version, typed.etag), (3, b"\x00\xff"))
