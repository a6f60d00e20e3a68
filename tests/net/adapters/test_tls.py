"""Adapters over TLS: no question and no verdict before the handshake, and evidence through it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import trustme
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS, trustRootFromCertificates
from twisted.protocols.tls import TLSMemoryBIOFactory

from heartbeat import HeartbeatConfig
from heartbeat.liveness.states import State
from heartbeat.net.adapters.line import LineHeartbeat
from heartbeat.net.reasons import RefusedConnection, UnresponsiveConnection
from tests.net.adapters.framed import CONFIG, DETECT, LATE, PORT, AdapterCase
from tests.net.adapters.test_line import Server, Talker


class TlsTests(AdapterCase):
    """A talker over TLS."""

    def setUp(self) -> None:
        super().setUp()
        authority = trustme.CA()
        issued = authority.issue_cert("server")
        pem = issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        roots = trustRootFromCertificates([Certificate.loadPEM(authority.cert_pem.bytes())])
        self.options = optionsForClientTLS("server", trustRoot=roots)
        self.contact = PrivateCertificate.loadPEM(pem).options()

    def talk(self, acceptor: Factory, config: HeartbeatConfig = CONFIG) -> Any:
        """A talker whose handshake may not be over; the server has accepted it."""
        acceptor.noisy = False
        self.server.listen(PORT, acceptor)
        factory = LineHeartbeat.factory(
            Factory.forProtocol(Talker), config, reactor=self.client.reactor, question=b"NOOP", answer=b"250"
        )
        # With its clock: the TLS layer gathers small writes for a turn, and would wait for the installed reactor.
        secure = TLSMemoryBIOFactory(self.options, True, factory, clock=self.client.reactor)
        endpoint = TCP4ClientEndpoint(self.client.reactor, "server", PORT)
        mine: Any = self.net.result(endpoint.connect(secure)).wrappedProtocol
        self.held.append(mine)
        self.addCleanup(self.close, mine)
        return mine

    def close(self, *protocols: Any) -> None:
        """The end of a test."""
        super().close(*[one for one in protocols if one.lost is None])
        self.held.clear()  # a TLS layer keeps its transport for as long as its protocol keeps it

    def encrypted(self) -> Any:
        """The server's factory."""
        return TLSMemoryBIOFactory(self.contact, False, Factory.forProtocol(Server), clock=self.server.reactor)

    def test_a_long_handshake(self) -> None:
        """A server that sits on it for two detection times: no question goes out, and nobody dies of it."""
        mine = self.talk(self.encrypted())
        self.server.stall(2 * DETECT)
        self.net.run(2 * DETECT - 0.1)
        handle = mine.heartbeat.heartbeat
        self.assertEqual((handle.state, handle.peer.tally.pings_out), (State.CONNECTING, 0))
        self.net.run(5.0)
        self.assertIs(handle.state, State.ALIVE)
        self.assertGreater(handle.peer.tally.acks_in, 5)
        self.assertEqual(handle.peer.transport, "tls")
        self.assertIsNone(mine.lost)

    def test_a_stopped_peer(self) -> None:
        """Is found in time."""
        mine = self.talk(self.encrypted())
        self.net.run(5.0)
        self.server.stall(60.0)
        self.assertLess(self.net.run_until(lambda: mine.lost is not None, 10.0), DETECT + LATE)
        self.assertIsInstance(mine.lost.value, UnresponsiveConnection)
        self.net.run(60.0)

    def test_a_handshake_that_never_ends(self) -> None:
        """A server that says nothing is given up at the handshake timeout, with its own cause."""
        mine = self.talk(Factory.forProtocol(Server))
        self.server.stall(60.0)
        took = self.net.run_until(lambda: mine.lost is not None, 30.0)
        self.assertLess(took, CONFIG.handshake_timeout + LATE)
        self.assertGreater(took, CONFIG.handshake_timeout - LATE)
        handle = mine.heartbeat.heartbeat
        self.assertEqual((handle.state, handle.cause), (State.REFUSED, "tls_timeout"))
        self.assertIsInstance(mine.lost.value, RefusedConnection)
        self.assertEqual(mine.lost.value.cause, "tls_timeout")
        self.net.run(60.0)

    def test_a_handshake_timeout_of_more_than_a_turn_of_the_wheel(self) -> None:
        """Nobody is given up before his time, however long that is."""
        mine = self.talk(Factory.forProtocol(Server), replace(CONFIG, handshake_timeout=25.0))
        self.server.stall(60.0)
        took = self.net.run_until(lambda: mine.lost is not None, 40.0)
        self.assertGreater(took, 25.0 - LATE)
        self.assertLess(took, 25.0 + LATE)
        self.net.run(60.0)
