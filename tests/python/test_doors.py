"""Clients that nobody here wrote, through the HTTP doors of a Lambda function."""

import pathlib
import tempfile
import unittest

import node
from clients import Clients
from processes import BINARIES
from rie import Function


class Doors(Clients, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dir = pathlib.Path(tempfile.mkdtemp(prefix="qb-"))
        cls.descriptors = node.descriptors(cls.dir / "descriptors.bin")
        cls.function = Function(BINARIES / "queuebridge-demo", {}, cls.dir / "lambda.log")
        cls.addClassCleanup(cls.function.kill)

    def test_through_a_load_balancer(self):
        self.assertIn("GET", self.through("alb").methods)

    def test_through_a_load_balancer_with_lists_of_values(self):
        self.assertIn("GET", self.through("alb-multi").methods)

    def test_through_an_http_api(self):
        self.assertIn("GET", self.through("http-api").methods)
