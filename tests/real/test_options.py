"""Kernel options on real sockets: getsockopt says what was set, and the peer says what became of it."""

from __future__ import annotations

import errno
import socket
import tempfile
from pathlib import Path
from typing import Any

import trustme
from twisted.internet import defer, reactor, ssl
from twisted.internet.endpoints import clientFromString, serverFromString, wrapClientTLS
from twisted.internet.task import deferLater
from twisted.trial.unittest import SkipTest, TestCase

from heartbeat import HeartbeatConfig, HeartbeatListener, KernelOptions, Peer
from heartbeat.net import HeartbeatClientService, HeartbeatFactory
from heartbeat.net.kernel import ENABLED

TCP = socket.IPPROTO_TCP
RTO_MAX_MS = 44
ALL = KernelOptions(
    keepalive=True, keepalive_idle=61, keepalive_interval=11, keepalive_count=4, user_timeout=7.5, rto_max=2.0
)
TIMES = {"interval": 0.2, "multiplier": 5, "min_interval": 0.0}


class Joined(HeartbeatListener):
    """Remembers who joined."""

    def __init__(self) -> None:
        self.peers: list[Peer] = []

    def joined(self, peer: Peer) -> None:
        """Remember it."""
        self.peers.append(peer)


def knows(option: int) -> bool:
    """Whether this kernel has the option."""
    with socket.socket() as sock:
        try:
            sock.getsockopt(TCP, option)
        except OSError as error:
            if error.errno != errno.ENOPROTOOPT:
                raise
            return False
    return True


class OptionsTests(TestCase):
    """Both ends of one connection."""

    timeout = 30

    def setUp(self) -> None:
        """Only where there is something to set."""
        if not ENABLED:
            raise SkipTest("the kernel's features are switched off")
        if not hasattr(socket, "TCP_USER_TIMEOUT"):
            raise SkipTest("this platform has no TCP_USER_TIMEOUT")
        self.listener = Joined()

    async def both(self, options: KernelOptions, where: str = "tcp", **client: Any) -> tuple[list[Any], list[Peer]]:
        """The drivers of a connection, the server's first, and the peers as both ends see them."""
        factory = HeartbeatFactory(HeartbeatConfig(kernel=options, **TIMES), self.listener)
        if where == "unix":
            path = str(Path(self.enterContext(tempfile.TemporaryDirectory()), "s"))
            port = await serverFromString(reactor, f"unix:{path}").listen(factory)
            endpoint: Any = clientFromString(reactor, f"unix:{path}")
        elif where == "tls":
            authority = trustme.CA()
            issued = authority.issue_cert("localhost")
            pem = issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
            root = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority.cert_pem.bytes())])
            context = ssl.PrivateCertificate.loadPEM(pem).options()
            port = reactor.listenSSL(0, factory, context, interface="127.0.0.1")
            plain = clientFromString(reactor, f"tcp:127.0.0.1:{port.getHost().port}")
            endpoint = wrapClientTLS(ssl.optionsForClientTLS("localhost", trustRoot=root), plain)
        else:
            port = await serverFromString(reactor, f"{where}:0:interface=127.0.0.1").listen(factory)
            endpoint = f"127.0.0.1:{port.getHost().port}"
        self.addCleanup(port.stopListening)
        config = HeartbeatConfig(id="a", kernel=options, **{**TIMES, **client})
        service = HeartbeatClientService([endpoint], config)
        service.startService()
        self.addCleanup(lambda: deferLater(reactor, 0.05))
        self.addCleanup(service.stopService)
        heartbeat = await service.when_alive()
        await heartbeat.ping(5.0)
        drivers = [*factory._drivers, *service.connectors._drivers]
        return drivers, [self.listener.peers[0], heartbeat.peer]

    def run_async(self, coroutine: Any) -> defer.Deferred[None]:
        """The test."""
        return defer.Deferred.fromCoroutine(coroutine)

    def assert_all(self, sock: socket.socket) -> None:
        """Each option of ALL, as the kernel has it."""
        found = [
            sock.getsockopt(level, option)
            for level, option in (
                (TCP, socket.TCP_NODELAY),
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE),
                (TCP, socket.TCP_KEEPIDLE),
                (TCP, socket.TCP_KEEPINTVL),
                (TCP, socket.TCP_KEEPCNT),
                (TCP, socket.TCP_USER_TIMEOUT),
            )
        ]
        self.assertEqual(found, [1, 1, 61, 11, 4, 7500])

    def assert_reported(self, peer: Peer) -> None:
        """Applied, all of them; but for the one that only new kernels have."""
        report = dict(peer.options)
        self.assertEqual(report.pop("rto_max"), "applied" if knows(RTO_MAX_MS) else "not available")
        names = ("nodelay", "keepalive", "keepalive_idle", "keepalive_interval", "keepalive_count", "user_timeout")
        self.assertEqual(report, dict.fromkeys(names, "applied"))
        self.assertEqual(peer.details()["kernel"], dict(peer.options))

    def test_tcp(self) -> defer.Deferred[None]:
        """Every option is on both sockets of a TCP connection."""

        async def run() -> None:
            drivers, peers = await self.both(ALL)
            for driver, peer in zip(drivers, peers, strict=True):
                self.assert_all(driver.link.socket)
                self.assert_reported(peer)

        return self.run_async(run())

    def test_tls(self) -> defer.Deferred[None]:
        """Under TLS they are on the socket below it."""

        async def run() -> None:
            drivers, peers = await self.both(ALL, "tls")
            for driver, peer in zip(drivers, peers, strict=True):
                self.assert_all(driver.link.socket)
                self.assert_reported(peer)

        return self.run_async(run())

    def test_the_longest_pause(self) -> defer.Deferred[None]:
        """TCP_RTO_MAX_MS, where the kernel has it."""
        if not knows(RTO_MAX_MS):
            raise SkipTest("this kernel has no TCP_RTO_MAX_MS (Linux 6.15)")

        async def run() -> None:
            drivers, _ = await self.both(ALL)
            self.assertEqual([one.link.socket.getsockopt(TCP, RTO_MAX_MS) for one in drivers], [2000, 2000])

        return self.run_async(run())

    def test_automatic(self) -> defer.Deferred[None]:
        """By default each end has three times the detection time by which it judges the other."""

        async def run() -> None:
            drivers, peers = await self.both(KernelOptions(), interval=0.5)
            found = [driver.link.socket.getsockopt(TCP, socket.TCP_USER_TIMEOUT) for driver in drivers]
            self.assertEqual([peer.detect for peer in peers], [2.5, 1.0])
            self.assertEqual(found, [7500, 3000])

        return self.run_async(run())

    def test_none(self) -> defer.Deferred[None]:
        """Where no user timeout is wanted, the kernel has its own."""

        async def run() -> None:
            drivers, peers = await self.both(KernelOptions(user_timeout=None))
            for driver, peer in zip(drivers, peers, strict=True):
                self.assertEqual(driver.link.socket.getsockopt(TCP, socket.TCP_USER_TIMEOUT), 0)
                self.assertEqual(dict(peer.options), {"nodelay": "applied"})

        return self.run_async(run())

    def test_haproxy(self) -> defer.Deferred[None]:
        """Behind the PROXY protocol the socket is not ours to see: the report says so, and beats are not delayed."""

        async def run() -> None:
            factory = HeartbeatFactory(HeartbeatConfig(kernel=ALL, **TIMES), self.listener)
            port = await serverFromString(reactor, "haproxy:tcp:0:interface=127.0.0.1").listen(factory)
            self.addCleanup(port.stopListening)
            with socket.create_connection(("127.0.0.1", port.getHost().port)) as sock:
                sock.sendall(b"PROXY TCP4 192.0.2.9 192.0.2.1 4711 7600\r\nHEAR\0\1\0\2")
                await deferLater(reactor, 0.2)
                (peer,) = self.listener.peers
                self.assertEqual(peer.options["nodelay"], "applied")
                self.assertEqual(set(list(peer.options.values())[1:]), {"not available"})
                self.assertEqual(len(peer.options), 7)
            await deferLater(reactor, 0.1)

        return self.run_async(run())

    def test_unix(self) -> defer.Deferred[None]:
        """A UNIX socket has none of them, and nothing is claimed."""

        async def run() -> None:
            _, peers = await self.both(ALL, "unix")
            self.assertEqual([dict(peer.options) for peer in peers], [{}, {}])

        return self.run_async(run())
