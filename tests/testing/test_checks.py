"""What is left over, and which seed it was."""

from __future__ import annotations

import unittest

from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from twisted.trial.unittest import TestCase as TrialCase

from heartbeat.testing import SimulatedNetwork
from heartbeat.testing.checks import find_testcase, show_seed


class LeftoverTests(SynchronousTestCase):
    """assert_nothing_left finds each kind of leftover and names it, its host and the seed."""

    def setUp(self) -> None:
        """A connection."""
        self.net = SimulatedNetwork(seed=41)
        self.server, self.client = self.net.host("server"), self.net.host("client")

    def complaint(self, **options: object) -> str:
        """What assert_nothing_left says."""
        return str(self.assertRaises(AssertionError, self.net.assert_nothing_left, **options))

    def connected(self) -> Protocol:
        """A connection to the server."""
        self.server.listen(7600, Factory.forProtocol(Protocol))
        protocol = self.net.result(connectProtocol(HostnameEndpoint(self.client.reactor, "server", 7600), Protocol()))
        self.net.run(0.1)
        return protocol

    def test_nothing(self) -> None:
        """A network in which nothing is left passes, also when it is asked twice."""
        protocol = self.connected()
        assert protocol.transport is not None
        protocol.transport.loseConnection()
        del protocol
        self.net.assert_nothing_left()
        self.net.assert_nothing_left()

    def test_a_timer(self) -> None:
        """By what it would call."""
        call = self.client.reactor.callLater(60.0, self.connected)
        complaint = self.complaint()
        self.assertIn("client: timer", complaint)
        self.assertIn("connected", complaint)
        self.assertIn("seed=41", complaint)
        call.cancel()
        self.net.assert_nothing_left()

    def test_an_open_connection(self) -> None:
        """On both hosts."""
        protocol = self.connected()
        complaint = self.complaint()
        self.assertIn("client: open", complaint)
        self.assertIn("server: open", complaint)
        protocol.transport.abortConnection()
        del protocol
        self.net.assert_nothing_left()

    def test_a_listener(self) -> None:
        """One that host.listen opened is closed; one that was opened in another way is not."""
        port = self.client.reactor.listenTCP(80, Factory())
        self.assertIn("client: open", self.complaint())
        port.stopListening()
        self.net.assert_nothing_left()

    def test_a_reference(self) -> None:
        """A protocol that somebody keeps, by the kind of who keeps it; unless the test says that it does."""
        protocol = self.connected()
        assert protocol.transport is not None
        protocol.transport.loseConnection()
        keeper = {"kept": protocol}
        complaint = self.complaint()
        self.assertIn("SimulatedClient is still referred to", complaint)
        self.assertIn("protocol.Protocol", complaint)
        self.net.assert_nothing_left(held=[keeper["kept"]])

    def test_a_process_that_was_killed_leaves_nothing(self) -> None:
        """Its memory is gone, whoever still refers to its objects here."""
        protocol = self.connected()
        self.client.reactor.callLater(60.0, self.connected)
        self.client.crash()
        self.net.assert_nothing_left()
        assert protocol.transport is not None
        protocol.transport.write(b"to nobody")
        protocol.transport.loseConnection()
        self.assertRaises(OSError, self.client.reactor.open_socket)
        self.net.assert_nothing_left()


class SeedTests(SynchronousTestCase):
    """A failing test shows its seed."""

    def failures(self, case: unittest.TestCase) -> str:
        """What a test says when it fails."""
        result = unittest.TestResult()
        case.run(result)
        self.assertEqual((len(result.errors), len(result.failures)), (0, 1))
        return str(result.failures[0][1])

    def test_in_each_kind_of_test_case(self) -> None:
        """A network made in setUp, in the test, or in a helper of it; unittest and trial."""
        for base in (unittest.TestCase, SynchronousTestCase, TrialCase):

            class InSetUp(base):
                def setUp(self) -> None:
                    self.net = SimulatedNetwork(seed=4711)

                def test_it(self) -> None:
                    self.assertEqual(1, 2)

            class InHelper(base):
                def make(self) -> SimulatedNetwork:
                    return SimulatedNetwork(seed=4711)

                def test_it(self) -> None:
                    self.make()
                    self.fail("on purpose")

            for kind in (InSetUp, InHelper):
                said = self.failures(kind("test_it"))
                self.assertIn("seed=4711", said)

    def test_only_that_test(self) -> None:
        """Other tests of the class keep their plain failures."""

        class Case(SynchronousTestCase):
            def test_it(self) -> None:
                self.fail("on purpose")

        one, other = Case("test_it"), Case("test_it")
        show_seed(one, "seed=1")
        self.assertIn("seed=1", self.failures(one))
        self.assertNotIn("seed=1", self.failures(other))

    def test_no_test_case(self) -> None:
        """Outside of tests there is none to find, however deep the stack."""
        self.assertIs(find_testcase(), self)
        self.assertIsNone(deep(30))


def deep(calls: int) -> object:
    """Ask from below many frames."""
    return deep(calls - 1) if calls else find_testcase()
