"""The socket of a simulated process, where Twisted's transports do not reach."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.testing import SimulatedNetwork


class SocketTests(SynchronousTestCase):
    """Calls in the wrong order are refused as a kernel refuses them."""

    def setUp(self) -> None:
        """Two hosts, and a socket of one."""
        self.net = SimulatedNetwork(seed=1)
        self.addCleanup(self.net.assert_nothing_left)
        self.server, self.client = self.net.host("server"), self.net.host("client")
        self.socket = self.client.reactor.open_socket()
        self.addCleanup(self.socket.close)

    def fails_with(self, number: int, call: Callable[..., object], *args: object) -> None:
        """The call raises that errno."""
        self.assertEqual(self.assertRaises(OSError, call, *args).errno, number)

    def test_not_connected(self) -> None:
        """Before it connects."""
        for call, args in (
            (self.socket.getpeername, ()),
            (self.socket.send, (b"x",)),
            (self.socket.recv, (1,)),
            (self.socket.shutdown, (socket.SHUT_WR,)),
        ):
            self.fails_with(errno.ENOTCONN, call, *args)
        self.fails_with(errno.EINVAL, self.socket.accept)
        self.assertEqual(self.socket.getsockname(), ("0.0.0.0", 0))
        self.assertEqual(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), 0)

    def test_connecting(self) -> None:
        """connect_ex tells how far it is."""
        listening = self.server.reactor.open_socket()
        listening.bind(("", 80))
        listening.listen(1)
        self.assertEqual(listening.getsockname(), ("0.0.0.0", 80))
        self.fails_with(errno.EWOULDBLOCK, listening.accept)
        self.assertEqual(self.socket.connect_ex(("10.0.0.1", 80)), errno.EINPROGRESS)
        self.assertEqual(self.socket.connect_ex(("10.0.0.1", 80)), errno.EALREADY)
        self.net.run(0.1)
        self.assertEqual(self.socket.connect_ex(("10.0.0.1", 80)), errno.EISCONN)
        accepted, address = listening.accept()
        self.assertEqual(address, self.socket.getsockname())
        self.assertEqual(self.socket.getpeername(), ("10.0.0.1", 80))
        self.fails_with(errno.EWOULDBLOCK, accepted.recv, 10)
        accepted.close()
        listening.close()

    def test_a_full_buffer(self) -> None:
        """A write takes what fits, and then blocks."""
        listening = self.server.reactor.open_socket()
        listening.bind(("", 80))
        listening.listen(1)
        self.socket.connect_ex(("10.0.0.1", 80))
        self.net.run(0.1)
        self.assertEqual(self.socket.send(memoryview(bytes(100_000))), 65_536)
        self.fails_with(errno.EWOULDBLOCK, self.socket.send, b"x")
        self.assertEqual(self.socket.send(b""), 0)
        listening.close()

    def test_its_descriptor_is_no_real_one(self) -> None:
        """Handed to the real system by mistake, it is refused there."""
        self.assertGreater(self.socket.fileno(), 2**20)
        self.assertEqual(self.socket.family, socket.AF_INET)

    def test_options_are_remembered(self) -> None:
        """And are 0 before."""
        self.assertEqual(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self.assertEqual(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), 1)
