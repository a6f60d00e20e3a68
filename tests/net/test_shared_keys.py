"""Shared keys on the simulated network: clients that stay connected, wrapped protocols, and somebody on the path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

from heartbeat import Dead, PeerRefused, SharedKey, State
from heartbeat.keys import new_key
from heartbeat.net import HeartbeatClientService, HeartbeatFactory
from heartbeat.session.keyed import KeyedSession
from heartbeat.session.session import Session
from heartbeat.testing import SilentDrop
from heartbeat.wire import frames as f
from tests.net.cases import DETECT, SimulatedCase
from tests.net.hand import bye
from tests.net.test_howto import example
from tests.net.wrapped import CONFIG, NotesFactory, WrappedCase

KEY, OTHER = (SharedKey(bytes([number]) * 32) for number in (1, 2))
SOON = 3.0


class ClientTests(SimulatedCase):
    """A client that stays connected."""

    def test_beats(self) -> None:
        """It is proved on both sides, beats are signed and sealed, and nobody dies."""
        factory = self.listen(keys=[KEY])
        service = self.connect(keys=[KEY])
        self.net.run(60.0)
        assert service.heartbeat is not None
        self.assertIs(service.heartbeat.state, State.ALIVE)
        self.assertEqual([peer.identity for peer in self.notes.peers + self.client_notes.peers], ["*", "*"])
        self.assertGreater(service.heartbeat.peer.tally.acks_in, 60)
        self.assertEqual(service.heartbeat.peer.tally.strays, 0)
        self.assertEqual((self.notes.deaths(), factory.connections), ([], 1))

    def test_nothing_is_paid_without(self) -> None:
        """Without keys a connection is driven by the plain session."""
        factory = self.listen()
        self.connect()
        (driver,) = factory._drivers
        self.assertIs(type(driver.session), Session)

    def test_death(self) -> None:
        """A peer that falls silent is dead as soon as any other, and comes back to its session."""
        self.listen(keys=[KEY])
        self.connect(keys=[KEY])
        self.net.run(5.0)
        session = self.notes.peers[0].session
        fault = self.path.add(SilentDrop())
        self.net.run(DETECT + 0.3)
        self.assertEqual(self.notes.deaths(), [("client", "path_dead")])
        self.path.remove(fault)
        self.net.run(40.0)
        self.assertEqual(self.notes.peers[-1].session, session)
        self.assertIs(self.notes.peers[-1].state, State.ALIVE)

    def test_another_key(self) -> None:
        """Neither end opens a gate, and both say why. A client that is told so tries again rarely; one that says so
        itself does not let whoever is on the path keep it away for longer than any failure."""
        for number, (server, client) in enumerate((([KEY], [OTHER]), ([KEY], []), ([], [KEY]))):
            host = self.net.host(f"server{number}")
            self.net.between(host, self.client)
            self.listen(host, keys=server)
            refusals = len(self.client_notes.refusals)
            service = self.service(host, keys=client)
            service.startService()
            self.net.run(SOON)
            causes = [one.cause for one in self.client_notes.refusals[refusals:]]
            self.assertEqual(set(causes), {"identity_refused"})
            if server:  # it was told so by the server
                self.assertEqual(len(causes), 1)
                self.assertEqual(self.notes.peers, [])
            service.stopService()

    def test_rotation(self) -> None:
        """New key to the acceptor, then to the connector, then the old one away: no alarm, and no connection lost."""
        factory = self.listen(keys=[KEY])
        service = self.connect(keys=[KEY])
        connectors = service.connectors
        for end, keys in ((factory, [OTHER, KEY]), (connectors, [OTHER, KEY]), (factory, [OTHER])):
            end.config = replace(end.config, keys=keys)
            self.net.run(5.0)
        self.assertEqual((self.notes.deaths(), self.notes.refusals), ([], []))
        other = self.service(id="other", keys=[OTHER])
        other.startService()
        self.net.result(other.when_alive())
        self.assertEqual(len(self.notes.peers), 2)

    def test_drain(self) -> None:
        """BYE 1 is sealed, and believed."""
        factory = self.listen(keys=[KEY])
        self.connect(keys=[KEY])
        factory.drain(SOON)
        self.net.run(SOON)
        self.assertEqual([detail for _, detail in self.client_notes.departures()], ["draining"])


class PageTests(SimulatedCase):
    """docs/howto/shared-keys.md."""

    def test_the_example(self) -> None:
        """The files that the page makes, and the configurations that read them, open a gate that is proved."""
        page: Any = example("shared_keys")
        theirs, mine = self.mktemp(), self.mktemp()
        key = new_key()
        for path, text in ((mine, key), (theirs, f"gateway-7 {key}\nother {new_key()}\n")):
            Path(path).touch(0o600)
            Path(path).write_text(text)
        self.server.listen(7600, HeartbeatFactory(page.server(theirs), self.notes, reactor=self.server.reactor))
        service = HeartbeatClientService(["server:7600"], page.gateway(mine), reactor=self.client.reactor)
        self.addCleanup(service.stopService)
        service.startService()
        self.net.result(service.when_alive())
        self.assertEqual([peer.identity for peer in self.notes.peers], ["gateway-7"])


class WrappedTests(WrappedCase):
    """Any protocol inside sealed DATA."""

    config = replace(CONFIG, keys=[KEY])

    def test_bytes(self) -> None:
        """A megabyte each way arrives in order, while beats go on."""
        theirs, mine = self.pair()
        there, back = bytes(range(256)) * 4096, b"back" * 262_144
        mine.transport.write(there)
        theirs.transport.write(back)
        self.net.run_until(lambda: len(theirs.received) == len(there) and len(mine.received) == len(back))
        self.assertEqual((bytes(theirs.received), bytes(mine.received)), (there, back))
        session = mine.transport.heartbeat.peer
        self.assertEqual(session.tally.strays, 0)

    def test_the_end(self) -> None:
        """BYE 0 behind all that was written."""
        theirs, mine = self.pair()
        mine.transport.write(b"x" * 100_000)
        mine.transport.loseConnection()
        self.net.run(SOON)
        self.assertEqual(len(theirs.received), 100_000)
        self.assertEqual((theirs.said[-1], mine.said[-1]), ("lost", "lost"))

    def test_without_the_key(self) -> None:
        """No protocol is built at either end."""
        served = NotesFactory()
        self.listen(served)
        mine = NotesFactory()
        connecting = self.endpoint(CONFIG).connect(mine)
        self.net.run(SOON)
        self.assertEqual(self.failureResultOf(connecting, PeerRefused).value.cause, "identity_refused")
        self.assertEqual((served.built, mine.built), ([], []))


class Half(Protocol):
    """One of the two connections of whoever is on the path."""

    other: Half | None = None

    def __init__(self, meddler: Meddler, name: str) -> None:
        self.meddler = meddler
        self.name = name
        self.waiting: list[bytes] = []

    def connectionMade(self) -> None:
        """Of the client's: connect to the server."""
        if self.name == "connector":
            inner = Half(self.meddler, "acceptor")
            inner.other = self
            self.meddler.endpoint.connect(Factory.forProtocol(lambda: inner)).addCallbacks(self.joined, self.failed)

    def failed(self, why: Failure) -> None:
        """There is no server any more."""
        assert self.transport is not None
        self.transport.loseConnection()

    def joined(self, inner: Half) -> None:
        """Now all passes."""
        self.other = inner
        self.meddler.halves = {"connector": self, "acceptor": inner}
        waiting, self.waiting = self.waiting, []
        for data in waiting:
            self.dataReceived(data)

    def dataReceived(self, data: bytes) -> None:
        """Pass it on, or what is made of it."""
        if self.other is None or self.other.transport is None:
            self.waiting.append(data)
        else:
            self.other.transport.write(self.meddler.meddle(self.name, data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Both go together."""
        if self.other is not None and self.other.transport is not None:
            self.other.transport.loseConnection()


class Meddler(Factory):
    """Whoever is on the path: all bytes pass through here, and it may add its own.

    :ivar meddle: told who speaks, and what; gives what is passed on
    """

    noisy = False

    def __init__(self, endpoint: Any, meddle: Callable[[str, bytes], bytes]) -> None:
        self.endpoint = endpoint
        self.meddle = meddle
        self.halves: dict[str, Half] = {}

    def buildProtocol(self, addr: Any) -> Half:
        """The client's."""
        return Half(self, "connector")

    def inject(self, towards: str, data: bytes) -> None:
        """Bytes of its own."""
        half = self.halves["connector" if towards == "connector" else "acceptor"]
        assert half.transport is not None
        half.transport.write(data)


class PathTests(SimulatedCase):
    """Somebody is on the path; both ends run as they are used."""

    def between(self, meddle: Callable[[str, bytes], bytes] = lambda name, data: data) -> Meddler:
        """A server, somebody, and a client that believes to talk to the server."""
        self.listen(keys=[KEY])
        host = self.net.host("somebody")
        self.net.between(host, self.server)
        self.net.between(host, self.client)
        meddler = Meddler(TCP4ClientEndpoint(host.reactor, "server", 7600), meddle)
        host.listen(7600, meddler)
        self.somebody = host
        return meddler

    def beat(self, meddle: Callable[[str, bytes], bytes] = lambda name, data: data) -> Meddler:
        """... and they beat."""
        meddler = self.between(meddle)
        self.connect(self.somebody, keys=[KEY])
        self.net.run(5.0)
        self.assertEqual((self.notes.deaths(), self.client_notes.deaths()), ([], []))
        return meddler

    def causes(self) -> tuple[list[str], list[str]]:
        """Of what the server's peer has died, and the client's."""
        here, there = (
            [event.cause for _, _, event in notes.events if isinstance(event, Dead)]
            for notes in (self.notes, self.client_notes)
        )
        return here, there

    def test_passing_on(self) -> None:
        """Is no harm."""
        self.beat()

    def test_injected(self) -> None:
        """PINGs towards either end are answered by BYE 8, and both ends record it."""
        for towards in ("acceptor", "connector"):
            self.setUp()
            meddler = self.beat()
            meddler.inject(towards, f.Ping(7, 7).encode() * 2)
            self.net.run(0.5)
            self.assertEqual(self.causes(), (["intercepted"], ["intercepted"]), towards)

    def test_a_forged_bye(self) -> None:
        """Keeps nobody away, and is named as soon as the true end says something."""
        meddler = self.beat()
        meddler.inject("connector", bye(7, "go away"))
        self.net.run(1.0)
        self.assertEqual(self.causes(), (["intercepted"], ["intercepted"]))
        self.assertEqual(self.client_notes.departures(), [])

    def test_stripped(self) -> None:
        """Capabilities, taken away: refused before a beat, by both ends."""
        meddled = {"connector": 0, "acceptor": 0}

        def strip(name: str, data: bytes) -> bytes:
            if name == "connector" and data.startswith(f.HELLO):
                meddled[name] += 1
                return data.replace(b'"signed-ack"', b'"signed-nak"')
            return data

        self.between(strip)
        service = self.service(self.somebody, keys=[KEY])
        service.startService()
        self.net.run(1.0)
        self.assertEqual(meddled["connector"], 1)
        self.assertEqual([one.cause for one in self.notes.refusals], ["intercepted"])
        self.assertEqual([one.cause for one in self.client_notes.refusals], ["intercepted"])
        self.assertEqual(self.notes.peers, [])

    def test_two_connections_never_share_a_nonce(self) -> None:
        """Of one configuration: each HELLO, of either end, has a nonce that no other had."""
        hellos: list[bytes] = []

        def listen(name: str, data: bytes) -> bytes:
            if data.startswith(f.HELLO):
                hellos.append(data[data.index(b'"nonce":"') + 9 :][:32])
            return data

        self.between(listen)
        for _ in range(10):
            service = self.service(self.somebody, keys=[KEY])
            service.startService()
            self.net.result(service.when_alive())
            self.net.result(service.stopService())
            self.net.run(0.5)
        self.assertEqual((len(hellos), len(set(hellos))), (20, 20))

    def test_a_keyed_session(self) -> None:
        """This is what drives them."""
        self.beat()
        service = self.connect(self.somebody, id="second", keys=[KEY])
        (driver, *_) = service.connectors._drivers
        self.assertIs(type(driver.session), KeyedSession)
