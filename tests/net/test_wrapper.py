"""Any protocol under a heartbeat: the gate, the way in and out, and every end, in virtual time."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, NoProtocol
from twisted.internet.protocol import Protocol

from heartbeat import Dead, HeartbeatConfig, HeartbeatListener, Peer, PeerRefused, State
from heartbeat.interfaces import IHeartbeat
from heartbeat.net import (
    AbortedConnection,
    Heartbeat,
    HeartbeatClientService,
    HeartbeatFactory,
    PeerLeft,
    UnresponsiveConnection,
    kernel,
)
from heartbeat.testing import SilentDrop
from heartbeat.wire.frames import Bye, Data, Ping, Window
from tests.net.wrapped import CONFIG, PORT, Notes, NotesFactory, WrappedCase, frames


class Board(HeartbeatListener):
    """Remembers who joined, and how they died."""

    def __init__(self) -> None:
        self.joins: list[Peer] = []
        self.deaths: list[str] = []

    def joined(self, peer: Peer) -> None:
        """Remember it."""
        self.joins.append(peer)

    def gone(self, peer: Peer, event: Any) -> None:
        """Remember it."""
        if isinstance(event, Dead):
            self.deaths.append(event.cause)


class GateTests(WrappedCase):
    """Who gets a protocol, and who hears why not."""

    def test_connect_gives_the_users_own_protocol(self) -> None:
        """Both applications are the users' own, unchanged, and their bytes arrive in order, both ways."""
        theirs, mine = self.pair()
        self.assertIsInstance(mine, Notes)
        mine.transport.write(b"there ")
        mine.transport.writeSequence([b"and ", b"there"])
        theirs.transport.write(b"back")
        self.net.run(0.1)
        self.assertEqual((bytes(theirs.received), bytes(mine.received)), (b"there and there", b"back"))

    def test_the_handle_is_found_from_the_transport(self) -> None:
        """``IHeartbeat(transport)`` is the handle, the same each time; what has no heartbeat gives the default."""
        theirs, mine = self.pair()
        handle = IHeartbeat(mine.transport)
        self.assertIsInstance(handle, Heartbeat)
        self.assertTrue(IHeartbeat.providedBy(handle))
        self.assertIs(IHeartbeat(mine.transport), handle)
        self.assertIs(IHeartbeat(theirs.transport).state, State.ALIVE)
        self.assertIsNone(IHeartbeat(object(), None))
        self.assertLess(self.net.result(handle.ping()), 0.1)

    def test_many_connections_of_one_process(self) -> None:
        """Wrapped connections are anonymous by default: none takes another's place."""
        served, board = NotesFactory(), Board()
        self.listen(served, listener=board)
        endpoint = self.endpoint()
        mine = [self.net.result(endpoint.connect(NotesFactory())) for _ in range(3)]
        self.net.run(2.0)
        self.assertEqual([one.lost for one in mine], [None] * 3)
        self.assertEqual(len({peer.id for peer in board.joins}), 3)
        for one in mine:
            one.transport.loseConnection()

    def test_an_id_is_kept(self) -> None:
        """With an id in its configuration a wrapped peer is known by it."""
        board = Board()
        self.listen(NotesFactory(), listener=board)
        mine = self.net.result(self.endpoint(replace(CONFIG, id="gateway-7")).connect(NotesFactory()))
        self.net.run(0.1)
        self.assertEqual([peer.id for peer in board.joins], ["gateway-7"])
        mine.transport.loseConnection()

    def refused(self, connected: Any) -> PeerRefused:
        """Why a connect() was refused: one of ours and one of Twisted's reasons."""
        error = self.net.result(self.failing(connected))
        self.assertIsInstance(error, ConnectionLost)
        assert isinstance(error, PeerRefused)
        return error

    def failing(self, connected: Any) -> Any:
        """Fires with the error."""
        return connected.addCallbacks(lambda _: self.fail("connected"), lambda failure: failure.value)

    def test_a_server_without_data_is_refused(self) -> None:
        """A client that carries an application tells a heartbeat-only server that ``data`` is missing; nobody joins."""
        board = Board()
        factory = HeartbeatFactory(CONFIG, board, reactor=self.server.reactor)
        self.server.listen(PORT, factory)
        served = NotesFactory()
        error = self.refused(self.endpoint().connect(served))
        self.assertEqual(error.cause, "protocol_error")
        self.assertIn("capability data", error.reason)
        self.assertEqual(served.built, [])

    def test_a_client_without_data_is_refused(self) -> None:
        """A wrapped server tells a heartbeat-only client that ``data`` is missing, before its gate."""
        served, board = NotesFactory(), Board()
        self.listen(served, listener=board)
        refusals: list[Any] = []
        listener = HeartbeatListener()
        listener.refused = lambda peer, event: refusals.append(event)  # type: ignore[method-assign]
        service = HeartbeatClientService(["tcp:server:7600"], CONFIG, listener, reactor=self.client.reactor)
        service.startService()
        self.net.run(0.5)
        service.stopService()
        self.assertEqual((served.built, board.joins), ([], []))
        self.assertEqual(refusals[0].cause, "protocol_error")
        self.assertIn("capability data", refusals[0].reason)

    def test_a_bare_peer_is_refused(self) -> None:
        """A bare peer can carry no application: BYE 5."""
        self.listen(NotesFactory())
        raw = self.net.result(TCP4ClientEndpoint(self.client.reactor, "server", PORT).connect(NotesFactory()))
        raw.transport.write(Ping(1, 2).encode())
        self.net.run(0.5)
        self.assertEqual(bytes(raw.received), Bye(5, "a HELLO is required here").encode())
        raw.transport.loseConnection()

    def test_an_unwrapped_client_is_told_what_this_port_speaks(self) -> None:
        """Whoever speaks something else gets BYE 2 with a reason that a person can read."""
        self.listen(NotesFactory())
        raw = self.net.result(TCP4ClientEndpoint(self.client.reactor, "server", PORT).connect(NotesFactory()))
        raw.transport.write(b"GET / HTTP/1.1\r\n\r\n")
        self.net.run(0.5)
        self.assertEqual(bytes(raw.received), Bye(2, "this port speaks txheartbeat frames").encode())
        raw.transport.loseConnection()

    def test_no_protocol_on_the_server(self) -> None:
        """``buildProtocol`` that gives None, or raises, is BYE 10 before the gate: ``connect()`` fails."""

        def broken() -> None:
            raise RuntimeError("no more")

        served = NotesFactory(lambda: None)
        self.listen(served)
        self.assertEqual(self.refused(self.endpoint().connect(NotesFactory())).cause, "server_full")
        served.kind = broken
        self.assertEqual(self.refused(self.endpoint().connect(NotesFactory())).cause, "server_full")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_no_protocol_for_a_peer_with_an_id(self) -> None:
        """Whether it is let in decides the contest for its id first: BYE 10 right behind HELLO fails, too."""
        self.listen(NotesFactory(lambda: None))
        mine = NotesFactory()
        error = self.net.result(self.failing(self.endpoint(replace(CONFIG, id="gateway-7")).connect(mine)))
        self.assertIsInstance(error, ConnectionLost)
        self.assertEqual((error.cause, mine.built), ("server_full", []))

    def test_a_protocol_that_fails_when_it_is_connected(self) -> None:
        """``connect()`` fails, the protocol is told the end, and the server's is lost."""

        class Broken(Notes):
            def connectionMade(self) -> None:
                raise RuntimeError("no")

        served, mine = NotesFactory(), NotesFactory(Broken)
        self.listen(served)
        error = self.net.result(self.failing(self.endpoint().connect(mine)))
        self.net.run(0.5)
        self.assertIsInstance(error, AbortedConnection)
        self.assertEqual(str(error), "the connection was aborted by this end: the application failed")
        self.assertIsInstance(error.__cause__, RuntimeError)
        self.assertEqual((mine.built[0].said, served.built[0].said), (["lost"], ["made", "lost"]))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_no_protocol_on_the_client(self) -> None:
        """On the client ``connect()`` fails as Twisted's own endpoints do, and the server's protocol is left."""

        def broken() -> None:
            raise RuntimeError("no more")

        served = NotesFactory()
        self.listen(served)
        for kind, error in ((lambda: None, NoProtocol), (broken, RuntimeError)):
            found = self.net.result(self.failing(self.endpoint().connect(NotesFactory(kind))))
            self.assertIsInstance(found, error)
        self.net.run(1.0)
        self.assertEqual([one.lost.type for one in served.built], [PeerLeft, PeerLeft])

    def test_a_server_that_says_nothing(self) -> None:
        """A gate that does not open within the handshake timeout fails ``connect()``."""
        self.server.listen(PORT, NotesFactory())
        config = replace(CONFIG, handshake_timeout=2.0)
        connected = self.endpoint(config).connect(NotesFactory())
        self.assertEqual(self.refused(connected).cause, "hello_timeout")
        self.assertApproximates(self.net.now, 2.0, 0.1)

    def test_a_connect_that_is_cancelled(self) -> None:
        """Cancelled before its gate opened, nothing of a connection is left, and no protocol was built."""
        self.server.listen(PORT, NotesFactory())
        mine = NotesFactory()
        errors: list[Any] = []
        connected = self.endpoint().connect(mine)
        connected.addErrback(errors.append)
        self.net.run(0.5)
        connected.cancel()
        self.net.run(0.5)
        self.assertEqual((len(errors), mine.built), (1, []))

    def test_the_wrapped_factory_starts_and_stops(self) -> None:
        """``startFactory`` and ``stopFactory`` of the wrapped factories are called as without us."""
        calls: list[str] = []
        served, mine = NotesFactory(), NotesFactory()
        for name, factory in (("server", served), ("client", mine)):
            factory.startFactory = lambda name=name: calls.append(f"{name} starts")  # type: ignore[method-assign,misc]
            factory.stopFactory = lambda name=name: calls.append(f"{name} stops")  # type: ignore[method-assign,misc]
        self.listen(served)
        connected = self.net.result(self.endpoint().connect(mine))
        connected.transport.loseConnection()
        self.net.run(1.0)
        self.server.stop_listening()
        self.net.run(1.0)
        self.assertEqual(calls, ["server starts", "client starts", "client stops", "server stops"])


class ViolationTests(WrappedCase):
    """What breaks the rules of DATA ends with BYE 2, and the application hears the cause."""

    def violates(self, *data: bytes) -> str:
        """The reason of the BYE for this, sent by a peer that was let in."""
        served, board = NotesFactory(), Board()
        self.listen(served, listener=board)
        raw = self.raw()
        for one in data:
            raw.transport.write(one)
        self.net.run(0.5)
        magic, bye = frames(raw.received)[-1]
        self.assertEqual((magic, bye[:2]), (b"HBYE", b"\0\2"))
        raw.transport.loseConnection()
        self.net.run(0.5)
        (application,) = served.built
        self.assertEqual(application.said, ["made", "lost"])
        reason = application.lost.value
        self.assertIsInstance(reason, UnresponsiveConnection)
        self.assertIsInstance(reason, ConnectionLost)
        self.assertEqual(reason.cause, "protocol_error")
        self.assertEqual(board.deaths, ["protocol_error"])
        return bye[4:].decode()

    def test_data_beyond_the_credit(self) -> None:
        """The application was paused, so no credit came back: one byte more is too much, at its header."""
        served = NotesFactory()
        self.listen(served)
        raw = self.raw()
        served.built[0].transport.pauseProducing()
        raw.transport.write(b"".join(Data(bytes(16_384)).encode() for _ in range(4)))
        self.net.run(0.5)
        self.assertIsNone(served.built[0].lost)
        raw.transport.write(Data(b"x").encode()[:8])
        self.net.run(0.5)
        self.assertEqual(frames(raw.received)[-1][0], b"HBYE")
        raw.transport.loseConnection()
        self.net.run(0.5)
        self.assertEqual(served.built[0].lost.value.cause, "protocol_error")

    def test_a_frame_longer_than_the_credit(self) -> None:
        """A DATA longer than all credit is refused at its header: nothing of it is held."""
        self.assertIn("65537", self.violates(Data(bytes(65_537)).encode()[:8]))

    def test_data_behind_the_end(self) -> None:
        """DATA of length 0 ends a direction: more is a violation, also a second end."""
        self.assertIn("end", self.violates(Data(b"").encode(), Data(b"x").encode()))

    def test_a_window_of_nothing(self) -> None:
        """WINDOW gives at least a byte."""
        self.assertIn("WINDOW", self.violates(b"HWIN\0\0\0\0"))

    def test_a_window_without_end(self) -> None:
        """No more credit than 2^31 - 1 in all."""
        self.assertIn("WINDOW", self.violates(Window(2**31 - 1).encode()))


class EndTests(WrappedCase):
    """Every end of a connection, as both applications see it."""

    def test_a_close_is_clean_on_both_ends(self) -> None:
        """``loseConnection`` sends what was written and ends with ``ConnectionDone`` on both ends, once."""
        theirs, mine = self.pair()
        theirs.transport.write(b"x" * 300_000)
        theirs.transport.loseConnection()
        self.assertTrue(theirs.transport.disconnecting)
        self.net.run(2.0)
        self.assertEqual(len(mine.received), 300_000)
        for one in (theirs, mine):
            self.assertEqual(one.said, ["made", "lost"])
            self.assertIsInstance(one.lost.value, ConnectionDone)
            self.assertIsInstance(one.lost.value, PeerLeft)
            self.assertFalse(one.transport.connected)

    def test_a_close_that_cannot_finish_is_given_up(self) -> None:
        """With an application that reads nothing a close ends ``close_timeout`` later, as aborted, without a BYE."""
        theirs, mine = self.pair()
        mine.transport.pauseProducing()
        theirs.transport.write(b"x" * 300_000)
        theirs.transport.loseConnection()
        took = self.net.run_until(lambda: theirs.lost is not None)
        self.assertApproximates(took, CONFIG.close_timeout, 0.3)
        self.assertIsInstance(theirs.lost.value, ConnectionAborted)
        self.assertIsInstance(theirs.lost.value, AbortedConnection)
        self.net.run(0.5)
        self.assertIsInstance(mine.lost.value, UnresponsiveConnection)

    def test_a_close_that_moves_is_not_given_up(self) -> None:
        """A slow reader gets all of it, however often ``close_timeout`` that takes."""
        theirs, mine = self.pair()

        def sip(data: bytes) -> None:
            mine.transport.pauseProducing()
            self.client.reactor.callLater(1.0, mine.transport.resumeProducing)

        mine.on_data = sip
        theirs.transport.write(b"x" * 600_000)
        theirs.transport.loseConnection()
        took = self.net.run_until(lambda: mine.lost is not None)
        self.assertGreater(took, 3 * CONFIG.close_timeout)
        self.assertEqual(len(mine.received), 600_000)
        self.assertIsInstance(mine.lost.value, PeerLeft)

    def test_a_close_waits_for_the_kernel(self) -> None:
        """While the kernel has to send again what was lost there is no BYE: its second would end in a RST."""
        self.config = HeartbeatConfig()
        theirs, mine = self.pair()
        path = self.net.between("server", "client")
        fault = path.add(SilentDrop())
        theirs.transport.write(b"x" * 60_000)
        theirs.transport.loseConnection()
        self.net.later(1.3, lambda: path.remove(fault))
        self.net.run(10.0)
        self.assertEqual(len(mine.received), 60_000)
        self.assertIsInstance(mine.lost.value, PeerLeft)
        self.assertIsInstance(theirs.lost.value, PeerLeft)

    def test_what_was_sent_before_a_close_is_delivered_to_a_paused_application(self) -> None:
        """The end is told behind the last byte, also when the application takes its time, as on plain TCP."""
        theirs, mine = self.pair()
        mine.transport.pauseProducing()
        theirs.transport.write(b"last words")
        theirs.transport.loseConnection()
        self.net.run(5.0)
        self.assertEqual((bytes(mine.received), mine.lost), (b"", None))
        mine.transport.resumeProducing()
        self.net.run(0.1)
        self.assertEqual(bytes(mine.received), b"last words")
        self.assertIsInstance(mine.lost.value, PeerLeft)

    def test_an_abort_is_none_of_the_peer(self) -> None:
        """``abortConnection``: aborted on this end, lost on the other, and what waited is lost."""
        theirs, mine = self.pair()
        theirs.transport.abortConnection()
        self.net.run(0.5)
        self.assertIsInstance(theirs.lost.value, ConnectionAborted)
        self.assertIsInstance(mine.lost.value, ConnectionLost)
        theirs.transport.write(b"late")
        theirs.transport.loseConnection()
        theirs.transport.abortConnection()
        self.assertEqual(theirs.said, ["made", "lost"])

    def test_an_application_that_raises_ends_its_own_connection(self) -> None:
        """It is logged, this connection is aborted, and no other connection notices."""
        served = NotesFactory()
        self.listen(served)
        endpoint = self.endpoint()
        one, other = [self.net.result(endpoint.connect(NotesFactory())) for _ in range(2)]
        self.net.run(0.1)

        def fail(data: bytes) -> None:
            raise RuntimeError("not my day")

        served.built[0].on_data = fail
        one.transport.write(b"x" * 100_000)
        other.transport.write(b"y")
        self.net.run(1.0)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(served.built[0].chunks, 1)
        self.assertIsInstance(served.built[0].lost.value, ConnectionAborted)
        self.assertIsInstance(one.lost.value, ConnectionLost)
        self.assertEqual((bytes(served.built[1].received), served.built[1].lost), (b"y", None))
        other.transport.loseConnection()

    def test_a_dead_path_is_a_lost_connection(self) -> None:
        """The verdict reaches both applications as ``ConnectionLost`` with cause and evidence, in the agreed time."""
        theirs, mine = self.pair()
        self.net.run(1.0)
        self.net.between("server", "client").add(SilentDrop())
        self.net.run(1.7)
        for one in (theirs, mine):
            reason = one.lost.value
            self.assertIsInstance(reason, UnresponsiveConnection)
            self.assertIsInstance(reason, ConnectionLost)
            self.assertIsNotNone(reason.evidence)

    def test_a_drain_is_told(self) -> None:
        """BYE 1 from the factory reaches the applications as ``ConnectionDone``, and the next is not let in."""
        served = NotesFactory()
        factory = self.listen(served)
        mine = self.net.result(self.endpoint().connect(NotesFactory()))
        self.net.result(factory.drain(5.0))
        self.net.run(0.5)
        self.assertEqual((mine.lost.value.detail, served.built[0].lost.value.detail), ("draining", "draining"))

    def test_a_protocol_that_was_built_is_connected(self) -> None:
        """Also when the peer has left with the same segment: a factory that counts its protocols counts right."""
        served = NotesFactory()
        self.listen(served)
        raw = self.net.result(TCP4ClientEndpoint(self.client.reactor, "server", PORT).connect(NotesFactory()))
        raw.transport.write(b"HELO\0\0\0\x17" + b'{"v":1,"caps":["data"]}' + Bye(0, "").encode())
        self.net.run(0.5)
        raw.transport.loseConnection()
        self.net.run(0.5)
        self.assertEqual([one.said for one in served.built], [["made", "lost"]])


class FaceTests(WrappedCase):
    """The transport that an application gets."""

    def test_it_is_a_transport_of_twisteds_kind(self) -> None:
        """Addresses and TCP options are those below; what would reach below the frames is not there."""
        theirs, mine = self.pair()
        self.assertEqual(mine.transport.getPeer(), theirs.transport.getHost())
        self.assertEqual(mine.transport.getHost(), theirs.transport.getPeer())
        mine.transport.setTcpKeepAlive(True)
        mine.transport.setTcpNoDelay(True)
        self.assertTrue(mine.transport.getTcpKeepAlive() and mine.transport.getTcpNoDelay())
        for name in ("startTLS", "socket", "getHandle", "negotiatedProtocol", "dataBuffer"):
            self.assertFalse(hasattr(mine.transport, name), name)
        self.assertRaises(TypeError, mine.transport.write, "text")

    def test_the_kernel_holds_little_unsent(self) -> None:
        """TCP_NOTSENT_LOWAT is set where there is one, so that beats do not wait behind megabytes in the kernel."""
        option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if option is None or not kernel.ENABLED:
            self.skipTest("this platform has no TCP_NOTSENT_LOWAT")
        theirs, mine = self.pair()
        for one in (theirs, mine):
            raw = one.transport._application.wrapping.transport
            self.assertEqual(raw.socket.getsockopt(socket.IPPROTO_TCP, option), 16 * 1024)

    def test_what_connection_made_writes_goes_first(self) -> None:
        """Bytes written in ``connectionMade`` of either end arrive, before all others."""

        class Greeter(Notes):
            def connectionMade(self) -> None:
                self.transport.write(b"hello ")
                super().connectionMade()

        theirs, mine = self.pair(Greeter, Greeter)
        theirs.transport.write(b"client")
        mine.transport.write(b"server")
        self.net.run(0.1)
        self.assertEqual((bytes(mine.received), bytes(theirs.received)), (b"hello client", b"hello server"))

    def test_an_application_that_closes_at_once(self) -> None:
        """``write`` and ``loseConnection`` in ``connectionMade``: the client gets its protocol, the bytes, the end."""

        class Brief(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(b"closed today")
                self.transport.loseConnection()

        self.listen(NotesFactory(Brief))
        mine = self.net.result(self.endpoint().connect(NotesFactory()))
        self.net.run(1.0)
        self.assertEqual(bytes(mine.received), b"closed today")
        self.assertIsInstance(mine.lost.value, ConnectionDone)

    def test_the_default_configuration_is_anonymous(self) -> None:
        """Nothing has to be configured: 5 s × 3, no id."""
        served, board = NotesFactory(), Board()
        self.listen(served, HeartbeatConfig(), listener=board)
        mine = self.net.result(self.endpoint(HeartbeatConfig()).connect(NotesFactory()))
        self.net.run(60.0)
        self.assertIsNone(mine.lost)
        self.assertTrue(board.joins[0].id.startswith("~"))
        self.assertEqual(board.joins[0].detect, 15.0)
        mine.transport.loseConnection()
