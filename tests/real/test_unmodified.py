"""Peers that have never heard of us, on real sockets: nothing is added for them, and nothing is lost."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
import threading
from pathlib import Path
from typing import Any

import trustme
from twisted.internet import reactor, ssl, threads
from twisted.internet.endpoints import (
    SSL4ServerEndpoint,
    TCP4ClientEndpoint,
    TCP4ServerEndpoint,
    clientFromString,
    serverFromString,
    wrapClientTLS,
)
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.client import Agent, readBody
from twisted.web.server import Site

from heartbeat import State
from heartbeat.net import IHeartbeat, observe_client, observe_server
from heartbeat.net.kernel import ENABLED
from tests.net.observing import Board
from tests.net.wrapped import Halves, NotesFactory
from tests.real.stalls.blocking import Stalls, TwistedLoop
from tests.real.test_wrapped import BODY, FAST, Body, Shaken, Through, WrappedCase, asynchronous, sleep

QUESTION = hashlib.sha256(b"a question").digest() * 3000
ANSWER = hashlib.sha256(b"an answer").digest() * 5000


class Tap(Protocol):
    """Passes on between two sockets, and keeps what passes. Not of the library: plain sockets see the plain stream."""

    def __init__(self, port: int) -> None:
        self.passed = {"there": bytearray(), "back": bytearray()}
        self._port = port
        self._waiting = bytearray()
        self._far: Any = None

    def connectionMade(self) -> None:
        """Connect on."""
        TCP4ClientEndpoint(reactor, "127.0.0.1", self._port).connect(Factory.forProtocol(Protocol)).addCallback(
            self._on
        )

    def _on(self, far: Any) -> None:
        near: Any = self.transport
        self._far = far

        def back(data: bytes) -> None:
            self.passed["back"] += data
            near.write(data)

        far.dataReceived = back
        far.connectionLost = lambda reason=connectionDone: near.loseConnection()
        waiting, self._waiting = bytes(self._waiting), bytearray()
        far.transport.write(waiting)

    def dataReceived(self, data: bytes) -> None:
        """There."""
        self.passed["there"] += data
        if self._far is None:
            self._waiting += data
        else:
            self._far.transport.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The near end is gone."""
        if self._far is not None:
            self._far.transport.loseConnection()


class StreamTests(WrappedCase):
    """The stream is the application's, byte for byte."""

    @asynchronous
    async def test_through_a_tap(self) -> None:
        """Both ends observe, for several detection times; what passes between them is what the applications wrote."""
        served, taps = NotesFactory(), NotesFactory()
        observe = "beatMode=observe:beatDetect=1:beatIdle=20"
        host = await self.listen(f"heartbeat:tcp:0:interface=127.0.0.1:{observe}", served)
        taps.kind = lambda: Tap(host.port)
        tapped = await self.listen("tcp:0:interface=127.0.0.1", taps)
        mine = await self.connect(f"heartbeat:tcp:127.0.0.1:{tapped.port}:{observe}", NotesFactory())
        mine.transport.write(QUESTION)
        while not served.built or len(served.built[0].received) < len(QUESTION):
            await sleep(0.02)
        theirs = served.built[0]
        await sleep(3.5)
        theirs.transport.write(ANSWER)
        while len(mine.received) < len(ANSWER):
            await sleep(0.02)
        for one in (mine, theirs):
            self.assertIs(IHeartbeat(one.transport).state, State.ALIVE)
        mine.transport.loseConnection()
        while theirs.lost is None:
            await sleep(0.02)
        (tap,) = taps.built
        self.assertEqual((bytes(tap.passed["there"]), bytes(tap.passed["back"])), (QUESTION, ANSWER))
        self.assertIs(theirs.lost.type, ConnectionDone)
        self.assertIs(mine.lost.type, ConnectionDone)

    @asynchronous
    async def test_a_web_site_and_a_plain_client(self) -> None:
        """A site of Twisted's, observed, serves an Agent that knows nothing; the resource finds the handle."""
        site = Site(Body())
        site.noisy = False
        host = await self.listen("heartbeat:tcp:0:interface=127.0.0.1:beatMode=observe:beatDetect=2", site)
        agent = Agent(reactor)
        response: Any = await agent.request(b"GET", b"http://127.0.0.1:%d/" % host.port)
        self.assertEqual(response.headers.getRawHeaders(b"peer")[0][:11], b"~127.0.0.1:")
        self.assertEqual(await readBody(response), BODY)

    @asynchronous
    async def test_over_a_unix_socket(self) -> None:
        """No evidence there: nobody is judged by the path, and the silence of the application is limited as ever."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "socket")
            served = NotesFactory()
            port = await serverFromString(
                reactor, f"heartbeat:unix:{path}:beatMode=observe:beatDetect=1:beatIdle=2"
            ).listen(served)
            mine: Any = await clientFromString(reactor, f"unix:{path}").connect(NotesFactory())
            self.addCleanup(mine.transport.abortConnection)
            for _ in range(3):
                mine.transport.write(b"beat")
                await sleep(0.8)
            (theirs,) = served.built
            self.assertEqual(IHeartbeat(theirs.transport).peer.transport, "unix")
            self.assertTrue(IHeartbeat(theirs.transport).peer.id.startswith("unix#"))
            self.assertIs(IHeartbeat(theirs.transport).state, State.ALIVE)
            while theirs.lost is None:
                await sleep(0.1)
            self.assertEqual(theirs.lost.value.cause, "unattributed")
            self.assertEqual(theirs.lost.value.evidence.detail, "idle")
            await port.stopListening()


class StallTests(WrappedCase):
    """Our loop stands still for longer than both limits, in each of the ways in which it can."""

    @asynchronous
    async def test_nobody_is_dead(self) -> None:
        """Twenty living peers, three stalls of 2.2 s: no connection ends, by the path (1 s) or by silence (1.5 s)."""
        served, board = NotesFactory(), Board()
        inner = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await observe_server(inner, detect=1.0, idle=1.5, listener=board).listen(served)
        self.addCleanup(port.stopListening)
        over = threading.Event()

        def talk() -> None:
            peers = [socket.create_connection(("127.0.0.1", port.getHost().port)) for _ in range(20)]
            while not over.wait(0.25):
                for one in peers:
                    one.sendall(b"x")
            for one in peers:
                one.close()

        talking = threads.deferToThread(talk)
        while sum(bool(one.received) for one in served.built) < 20:
            await sleep(0.05)
        stalls = Stalls(TwistedLoop(reactor))
        for kind in ("timer", "io", "thread"):
            await threads.deferToThread(stalls.make, kind, 2.2)
            await sleep(0.5)
            self.assertEqual([one.lost for one in served.built], [None] * 20, kind)
        over.set()
        await talking
        while None in [one.lost for one in served.built]:
            await sleep(0.05)
        self.assertNotIn("Dead", board.told)
        (reader,) = [one for one in reactor.getReaders() if one.fileno() == stalls._reads]
        reactor.removeReader(reader)
        os.close(stalls._reads)
        os.close(stalls._writes)


class SecureTests(WrappedCase):
    """TLS: judged behind the handshake, and looked through."""

    @asynchronous
    async def test_observed_at_both_ends(self) -> None:
        """The applications are told of the handshake as ever; the evidence is that of the socket below."""
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        pem = issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        trusted = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority.cert_pem.bytes())])
        options = ssl.optionsForClientTLS("localhost", trustRoot=trusted)
        served, board = NotesFactory(Shaken), Board()
        context = ssl.PrivateCertificate.loadPEM(pem).options()
        inner = SSL4ServerEndpoint(reactor, 0, context, interface="127.0.0.1")
        port = await observe_server(inner, detect=1.0, listener=board).listen(served)
        self.addCleanup(port.stopListening)
        plain = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        mine: Any = await observe_client(wrapClientTLS(options, plain), detect=1.0).connect(NotesFactory(Shaken))
        self.close(mine)
        while not served.built or "shaken" not in served.built[0].said:
            await sleep(0.02)
        await sleep(3.0)
        (theirs,) = served.built
        self.assertEqual(board.told, ["joined", "Alive"])
        self.assertIsInstance(theirs.transport, TLSMemoryBIOProtocol)
        handle = IHeartbeat(theirs.transport)
        self.assertEqual((handle.peer.transport, handle.state), ("tls", State.ALIVE))
        if ENABLED:
            self.assertEqual(handle.peer.layers.host, "alive")
            self.assertEqual(handle.peer.options["keepalive"], "applied")
        mine.transport.write(BODY)
        while len(theirs.received) < len(BODY):
            await sleep(0.02)
        self.assertEqual(bytes(theirs.received), BODY)


class UpgradeTests(WrappedCase):
    """One port during a rolling upgrade."""

    @asynchronous
    async def test_old_and_new_clients_at_once(self) -> None:
        """A site on an accepting port serves a plain Agent and one behind ``heartbeat:``, the whole body each."""
        site = Site(Body())
        site.noisy = False
        host = await self.listen(f"heartbeat:tcp:0:interface=127.0.0.1:beatMode=accept:{FAST}", site)
        old = Agent(reactor)
        new = Agent.usingEndpointFactory(reactor, Through(f"heartbeat:tcp:127.0.0.1:{host.port}:{FAST}"))
        for _ in range(2):
            for agent, url in ((old, b"http://127.0.0.1:%d/" % host.port), (new, b"http://site/")):
                response: Any = await agent.request(b"GET", url)
                self.assertEqual(await readBody(response), BODY)
        await sleep(0.2)

    @asynchronous
    async def test_chopped_by_a_plain_socket(self) -> None:
        """An old client whose first byte is one of ours, and comes alone; its half-close is one."""
        served = NotesFactory(Halves)
        host = await self.listen(f"heartbeat:tcp:0:interface=127.0.0.1:beatMode=accept:{FAST}", served)

        def old() -> bytes:
            with socket.create_connection((host.host, host.port)) as plain:
                for byte in (b"H", b"E", b"A", b"D / HTTP/1.0\r\n\r\n"):
                    plain.sendall(byte)
                plain.shutdown(socket.SHUT_WR)
                return plain.recv(100)

        waiting = threads.deferToThread(old)
        while not served.built or "read over" not in served.built[0].said:
            await sleep(0.02)
        self.assertEqual(bytes(served.built[0].received), b"HEAD / HTTP/1.0\r\n\r\n")
        served.built[0].transport.write(b"HTTP/1.0 200 OK\r\n")
        self.assertEqual(await waiting, b"HTTP/1.0 200 OK\r\n")
        served.built[0].transport.loseConnection()
        await sleep(0.1)

    @asynchronous
    async def test_over_a_unix_socket(self) -> None:
        """Both kinds on a path of the file system."""
        with tempfile.TemporaryDirectory() as folder:
            path, served = Path(folder, "socket"), NotesFactory()
            port = await serverFromString(reactor, f"heartbeat:unix:{path}:beatMode=accept:{FAST}").listen(served)
            for prefix, word in (("heartbeat:", b"framed"), ("", b"plain")):
                mine: Any = await clientFromString(
                    reactor, f"{prefix}unix:{path}" + (f":{FAST}" if prefix else "")
                ).connect(NotesFactory())
                self.addCleanup(sleep, 0.1)
                self.addCleanup(mine.transport.abortConnection)
                mine.transport.write(word)
                while word not in [bytes(one.received) for one in served.built]:
                    await sleep(0.02)
            await port.stopListening()

    @asynchronous
    async def test_over_tls(self) -> None:
        """The same with TLS below: who is framed and who is not is decided behind the handshake."""
        authority = trustme.CA()
        issued = authority.issue_cert("localhost")
        with tempfile.TemporaryDirectory() as folder:
            key, certificate = Path(folder, "key.pem"), Path(folder, "certificate.pem")
            issued.private_key_pem.write_to_path(str(key))
            issued.cert_chain_pems[0].write_to_path(str(certificate))
            served = NotesFactory(Shaken)
            host = await self.listen(
                f"heartbeat:ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}:beatMode=accept:{FAST}",
                served,
            )
        trusted = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(authority.cert_pem.bytes())])
        options = ssl.optionsForClientTLS("localhost", trustRoot=trusted)
        endpoint = wrapClientTLS(options, TCP4ClientEndpoint(reactor, "127.0.0.1", host.port))
        from heartbeat.net import heartbeat_client
        from tests.real.test_wrapped import CONFIG

        framed: Any = await heartbeat_client(endpoint, CONFIG).connect(NotesFactory())
        self.close(framed)
        plain: Any = await endpoint.connect(NotesFactory())
        self.addCleanup(plain.transport.abortConnection)
        framed.transport.write(b"framed")
        plain.transport.write(b"plain")
        while sum(len(one.received) for one in served.built) < len(b"framedplain"):
            await sleep(0.02)
        self.assertEqual(sorted(bytes(one.received) for one in served.built), [b"framed", b"plain"])
        for one in served.built:
            self.assertEqual(one.said, ["made", "shaken"])
            one.transport.write(b"welcome")
        while not (framed.received and plain.received):
            await sleep(0.02)
        self.assertEqual((bytes(framed.received), bytes(plain.received)), (b"welcome", b"welcome"))
