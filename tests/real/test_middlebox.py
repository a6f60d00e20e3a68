"""A box that ends TLS in the middle: with a shared key it is found before the first beat, whatever it shows.

Real sockets and two real TLS connections, of which each end has its own exporter value.
"""

from __future__ import annotations

from typing import Any

import trustme
from twisted.internet import defer, reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from heartbeat import HeartbeatConfig, HeartbeatListener, Peer, Refused, SharedKey
from heartbeat.net import HeartbeatClientService, HeartbeatFactory

KEY = SharedKey(bytes(range(32)))


class Half(Protocol):
    """One of its two connections."""

    other: Half | None = None

    def __init__(self, box: Middlebox) -> None:
        self.box = box
        self.waiting: list[bytes] = []

    def connectionMade(self) -> None:
        """The agent's: connect to the server, too."""
        self.box.halves.append(self)
        if self.other is None:
            inner = Half(self.box)
            inner.other = self
            connectProtocol(self.box.server, inner).addCallbacks(self.joined, lambda _: self.end())

    def joined(self, inner: Half) -> None:
        """Now all passes."""
        self.other = inner
        waiting, self.waiting = self.waiting, []
        for data in waiting:
            self.dataReceived(data)

    def dataReceived(self, data: bytes) -> None:
        """It reads everything, in clear, and passes it on."""
        self.box.seen += data
        if self.other is None or self.other.transport is None:
            self.waiting.append(data)
        else:
            self.other.transport.write(data)

    def end(self) -> None:
        """Close."""
        if self.transport is not None:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Both ends go together."""
        self.box.halves.remove(self)
        if self.other is not None:
            self.other.end()


class Middlebox(Factory):
    """Ends TLS, and begins it anew.

    :ivar seen: all that it could read
    """

    noisy = False

    def __init__(self, server: Any) -> None:
        self.server = server
        self.seen = b""
        self.halves: list[Half] = []

    def buildProtocol(self, addr: Any) -> Half:
        """For the agent's connection."""
        return Half(self)


class Told(HeartbeatListener):
    """Remembers who came, and who was refused."""

    def __init__(self) -> None:
        self.joins: list[str] = []
        self.refusals: list[str] = []
        self.refusal: Deferred[None] = Deferred()

    def joined(self, peer: Peer) -> None:
        """A gate opened."""
        self.joins.append(peer.id)

    def refused(self, peer: Peer, event: Refused) -> None:
        """One did not."""
        self.refusals.append(event.cause)
        if not self.refusal.called:
            self.refusal.callback(None)


class MiddleboxTests(TestCase):
    """An agent, a server, and what is between them."""

    timeout = 20

    def setUp(self) -> None:
        """A server on TLS, with a certificate of an authority that the agent trusts."""
        self.authority = trustme.CA()
        self.trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(self.authority.cert_pem.bytes())])
        self.real = self.certificate()
        self.told, self.agent_told = Told(), Told()

    def certificate(self) -> ssl.CertificateOptions:
        """Another one for the same name."""
        pem = self.authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes()
        return ssl.PrivateCertificate.loadPEM(pem).options()

    def listen(self, factory: Factory, options: Any) -> int:
        """Its port."""
        port: Any = reactor.listenSSL(0, factory, options, interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        found: int = port.getHost().port
        return found

    def endpoint(self, port: int) -> Any:
        """A client endpoint that checks the certificate, by name and authority."""
        options = ssl.optionsForClientTLS("localhost", trustRoot=self.trust)
        return wrapClientTLS(options, HostnameEndpoint(reactor, "localhost", port))

    def serve(self, **settings: Any) -> int:
        """The server's port."""
        factory = HeartbeatFactory(HeartbeatConfig(id="server", interval=0.2, **settings), self.told)
        self.addCleanup(factory.abort_all)
        return self.listen(factory, self.real)

    def start(self, port: int, **settings: Any) -> HeartbeatClientService:
        """The agent."""
        config = HeartbeatConfig(id="agent", interval=0.2, **settings)
        service = HeartbeatClientService([self.endpoint(port)], config, self.agent_told)
        self.addCleanup(service.stopService)
        service.startService()
        return service

    async def test_without_it(self) -> None:
        """Between the two there is nothing, and the gate opens."""
        service = self.start(self.serve(keys=[KEY]), keys=[KEY])
        heartbeat = await service.when_alive()
        await heartbeat.ping(timeout=5)
        self.assertEqual(heartbeat.peer.identity, "*")
        self.assertEqual(self.told.joins, ["agent"])

    async def found(self, options: Any) -> None:
        """The box shows this certificate. Both ends name what happened, no gate opened, and no beat was sent."""
        box = Middlebox(self.endpoint(self.serve(keys=[KEY])))
        self.start(self.listen(box, options), keys=[KEY])
        await defer.gatherResults([self.told.refusal, self.agent_told.refusal])
        self.assertEqual((self.told.refusals[0], self.agent_told.refusals[0]), ("intercepted", "intercepted"))
        self.assertEqual(self.told.joins + self.agent_told.joins, [])
        self.assertIn(b"HCFM", box.seen)
        for magic in (b"HEAR", b"HACK", b"HACS", b"HSYN", b"HSTA"):
            self.assertNotIn(magic, box.seen)
        for half in list(box.halves):
            half.end()
        while box.halves:
            await deferLater(reactor, 0.01, lambda: None)

    async def test_a_certificate_that_is_trusted(self) -> None:
        """Of the same authority, for the same name: TLS itself sees nothing wrong."""
        await self.found(self.certificate())

    async def test_the_servers_own_certificate(self) -> None:
        """Its key was stolen: not even a pin would tell."""
        await self.found(self.real)

    async def test_without_a_key(self) -> None:
        """For comparison: without a key the box reads along, and nobody notices."""
        box = Middlebox(self.endpoint(self.serve()))
        service = self.start(self.listen(box, self.certificate()))
        heartbeat = await service.when_alive()
        await heartbeat.ping(timeout=5)
        self.assertIn(b"HEAR", box.seen)
        await service.stopService()
        while box.halves:
            await deferLater(reactor, 0.01, lambda: None)

    async def test_an_older_tls(self) -> None:
        """A key on TLS 1.2 is refused, by BYE 5, before a HELLO was said."""
        self.real = self.older()
        self.start(self.serve(keys=[KEY]), keys=[KEY])
        await self.agent_told.refusal
        self.assertEqual(self.agent_told.refusals[0], "identity_refused")
        self.assertEqual(self.told.joins, [])

    def older(self) -> Any:
        """A server that speaks TLS 1.2 at most."""
        from OpenSSL.SSL import TLS1_2_VERSION

        options = self.certificate()
        options.getContext().set_max_proto_version(TLS1_2_VERSION)
        return options
