"""Keepalive and TCP_USER_TIMEOUT of the simulated kernel, against what Linux was seen to do."""

from __future__ import annotations

import errno
import socket

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.testing.endpoints import CLOSED, ESTABLISHED
from heartbeat.testing.faults import SilentDrop
from heartbeat.testing.tcp import Connection
from tests.testing.wires import Wire


class KeepaliveTests(SynchronousTestCase):
    """Asked after 1 s, then each second, as in the measurement."""

    def probed(self, wire: Wire, count: int = 100, user_timeout: int = 0) -> Connection:
        """The client's end of a connection."""
        client, _ = wire.pair()
        for name, value in (
            ("keepalive", 1), ("idle", 1), ("interval", 1), ("count", count), ("user_timeout", user_timeout),
        ):  # fmt: skip
            client.tune(name, value)
        return client

    def test_answered(self) -> None:
        """Each probe is answered by the other kernel; nothing else travels."""
        wire = Wire()
        client = self.probed(wire)
        wire.run(100.0)
        info = client.info()
        self.assertEqual((client.state, info.probes, info.bytes_received), (ESTABLISHED, 0, 0))
        self.assertLess(info.last_ack_recv or 9.0, 1.1)

    def test_unanswered(self) -> None:
        """The counters that were seen on Linux 6.18: one probe more each second, nothing else moves."""
        wire = Wire()
        client = self.probed(wire)
        wire.run(1.5)
        wire.path.add(SilentDrop())
        wire.run(3.0)
        info = client.info()
        self.assertEqual((info.probes, info.unacked, info.retransmits, info.backoff, info.notsent), (3, 0, 0, 0, 0))

    def test_given_up_by_count(self) -> None:
        """After so many probes: ETIMEDOUT."""
        wire = Wire()
        client = self.probed(wire, count=3)
        wire.path.add(SilentDrop())
        wire.run(3.9)
        self.assertEqual(client.state, ESTABLISHED)
        wire.run(0.2)
        self.assertEqual((client.state, client.take_error()), (CLOSED, errno.ETIMEDOUT))

    def test_given_up_by_time(self) -> None:
        """TCP_USER_TIMEOUT counts instead of the number, from the last that was heard."""
        wire = Wire()
        client = self.probed(wire, count=3, user_timeout=9000)
        wire.path.add(SilentDrop())
        wire.run(8.8)
        self.assertEqual(client.state, ESTABLISHED)
        wire.run(1.2)
        self.assertEqual((client.state, client.take_error()), (CLOSED, errno.ETIMEDOUT))

    def test_silent_while_something_is_in_flight(self) -> None:
        """As facts K0.6 has it: beside an unanswered segment keepalive asks nothing."""
        wire = Wire()
        client = self.probed(wire, count=2)
        wire.path.add(SilentDrop())
        client.send(b"x")
        wire.run(20.0)
        self.assertEqual((client.state, client.info().probes), (ESTABLISHED, 0))

    def test_switched_off(self) -> None:
        """It asks nothing any more; options that are not its own change nothing."""
        wire = Wire()
        client = self.probed(wire, count=1)
        client.tune("keepalive", 0)
        client.tune("nodelay", 1)
        wire.path.add(SilentDrop())
        wire.run(100.0)
        self.assertEqual((client.state, client.info().probes), (ESTABLISHED, 0))


class UserTimeoutTests(SynchronousTestCase):
    """TCP_USER_TIMEOUT of data."""

    def test_unacknowledged(self) -> None:
        """Given up so long after it was first sent, and not at the next retransmission."""
        wire = Wire()
        client, _ = wire.pair()
        client.tune("user_timeout", 5000)
        wire.path.add(SilentDrop())
        client.send(b"x")
        wire.run(4.9)
        self.assertEqual(client.state, ESTABLISHED)
        wire.run(0.7)
        self.assertEqual((client.state, client.take_error()), (CLOSED, errno.ETIMEDOUT))

    def test_a_closed_window(self) -> None:
        """... and a living peer that does not read, as measured (facts K0.7)."""
        wire = Wire()
        client, server = wire.pair()
        client.tune("user_timeout", 5000)
        client.send(bytes(60_000))
        wire.run(0.1)
        client.send(bytes(60_000))
        wire.run(4.0)
        self.assertEqual((client.state, client.info().snd_wnd), (ESTABLISHED, 0))
        wire.run(3.0)
        self.assertEqual((client.state, client.take_error()), (CLOSED, errno.ETIMEDOUT))
        self.assertEqual(server.state, ESTABLISHED)

    def test_progress_begins_it_anew(self) -> None:
        """What is acknowledged in time is never given up."""
        wire = Wire()
        client, _ = wire.pair()
        client.tune("user_timeout", 1000)
        for _ in range(10):
            client.send(b"x")
            wire.run(0.5)
        self.assertEqual(client.state, ESTABLISHED)


class SocketTests(SynchronousTestCase):
    """The options as a process sets them."""

    def test_by_the_names_of_the_system(self) -> None:
        """setsockopt, before and after there is a connection."""
        from heartbeat.testing import SimulatedNetwork

        net = SimulatedNetwork(seed=1)
        client = net.host("client")
        opened = client.reactor.open_socket()
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        net.host("server")
        opened.connect_ex(("10.0.0.2", 1))
        end = opened.connection
        self.assertIsNotNone(end.keepalive.deadline)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)
        self.assertIsNone(end.keepalive.deadline)
        opened.close()
