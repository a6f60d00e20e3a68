"""Two kernels: handshake, delivery, the ends of a connection, and what TCP_INFO says under each fault (facts K2)."""

from __future__ import annotations

import errno

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.testing.endpoints import CLOSE_WAIT, CLOSED, ESTABLISHED, FIN_WAIT2, SYN_SENT
from heartbeat.testing.faults import Delay, Loss, NatExpiry, OneWay, SilentDrop
from heartbeat.testing.segments import BUFFER
from heartbeat.testing.tcp import Connection
from tests.testing.wires import PORT, Wire


def read_all(connection: Connection) -> bytes:
    """Everything that can be read now."""
    read = b""
    while data := connection.receive(65536):
        read += data
    return read


class HandshakeTests(SynchronousTestCase):
    """Connecting."""

    def test_connected(self) -> None:
        """After one round trip both ends are open, the server's waits to be accepted, and the round trip is known."""
        wire = Wire()
        client = wire.connect()
        self.assertEqual(client.state, SYN_SENT)
        self.assertFalse(client.writable)
        wire.run(0.1)
        server = wire.listener.accept()
        assert server is not None
        self.assertEqual((client.state, server.state), (ESTABLISHED, ESTABLISHED))
        self.assertEqual((client.remote, server.remote), (server.local, client.local))
        self.assertTrue(client.writable and server.writable)
        self.assertAlmostEqual(client.info().rtt or 0.0, 0.001, places=5)

    def test_refused(self) -> None:
        """Nobody listens: ECONNREFUSED after a round trip."""
        wire = Wire()
        client = wire.client.open_connection(wire.server.address, PORT + 1)
        wire.run(0.01)
        self.assertTrue(client.readable)
        self.assertEqual(client.take_error(), errno.ECONNREFUSED)
        self.assertEqual(client.take_error(), 0)

    def test_lost_syn(self) -> None:
        """A SYN that is lost is sent again after a second."""
        wire = Wire()
        drop = wire.path.add(SilentDrop())
        client = wire.connect()
        wire.run(0.5)
        wire.path.remove(drop)
        wire.run(1.0)
        self.assertEqual(client.state, ESTABLISHED)

    def test_lost_answer(self) -> None:
        """A SYN-ACK that is lost is sent again, and an acknowledgement of it that is lost does not matter."""
        wire = Wire()
        drop = wire.path.add(OneWay(towards="client"))
        client = wire.connect()
        wire.run(0.5)
        wire.path.remove(drop)
        wire.run(1.0)
        self.assertEqual(client.state, ESTABLISHED)
        wire = Wire()
        client = wire.connect()
        wire.run(0.0008)
        drop = wire.path.add(OneWay(towards="server"))
        wire.run(0.5)
        self.assertEqual(client.state, ESTABLISHED)
        self.assertIsNone(wire.listener.accept())
        wire.path.remove(drop)
        wire.run(5.0)
        self.assertIsNotNone(wire.listener.accept())

    def test_timed_out(self) -> None:
        """Nobody answers: ETIMEDOUT after 31 s."""
        wire = Wire()
        wire.server.vanish()
        client = wire.connect()
        wire.run(30.9)
        self.assertEqual(client.take_error(), 0)
        wire.run(0.2)
        self.assertEqual(client.take_error(), errno.ETIMEDOUT)

    def test_a_full_backlog_drops_syns(self) -> None:
        """Who does not fit is not refused but tries again, and is let in when there is room."""
        wire = Wire()
        clients = []
        for _ in range(6):
            clients.append(wire.connect())
            wire.run(0.1)
        self.assertEqual([one.state for one in clients], [ESTABLISHED] * 5 + [SYN_SENT])
        wire.listener.accept()
        wire.run(1.0)
        self.assertEqual(clients[5].state, ESTABLISHED)

    def test_a_closed_listener_resets_who_waited(self) -> None:
        """Connections that were never accepted end with RST, also those whose handshake was not done."""
        wire = Wire()
        waiting, late = wire.connect(), wire.client
        wire.run(0.1)
        late_one = late.open_connection(wire.server.address, PORT)
        wire.run(0.0006)
        wire.listener.close()
        wire.run(0.1)
        self.assertEqual(waiting.take_error(), errno.ECONNRESET)
        self.assertEqual(late_one.take_error(), errno.ECONNRESET)

    def test_addresses_outside(self) -> None:
        """There is no route to anything but 10.0.0.0/8."""
        error = self.assertRaises(OSError, Wire().client.open_connection, "192.0.2.1", 80)
        self.assertEqual(error.errno, errno.ENETUNREACH)

    def test_loopback(self) -> None:
        """A host reaches itself at 127.0.0.1."""
        wire = Wire()
        wire.server.open_listener("127.0.0.1", 99, 5)
        inside = wire.server.open_connection("127.0.0.1", 99)
        outside = wire.client.open_connection(wire.server.address, 99)
        wire.run(0.1)
        self.assertEqual(inside.state, ESTABLISHED)
        self.assertEqual(outside.take_error(), errno.ECONNREFUSED)


class DeliveryTests(SynchronousTestCase):
    """Bytes."""

    @given(st.integers(0, 2**32), st.floats(0.0, 0.4), st.floats(0.0, 0.3), st.integers(1, 300_000))
    @settings(deadline=None, max_examples=25)
    def test_all_bytes_in_order(self, seed: int, ratio: float, jitter: float, size: int) -> None:
        """Whatever is lost, delayed and overtaken, what is read is what was written, and then the end."""
        wire = Wire(seed)
        client, server = wire.pair()
        wire.path.add(Loss(ratio))
        wire.path.add(Delay(0.01, jitter=jitter))
        payload = bytes(index * 7 % 251 for index in range(size))
        read, written = b"", 0
        for _ in range(4000):
            written += client.send(payload[written:]) if written < size else 0
            if written == size:
                client.shut_down()
            wire.run(0.5)
            read += read_all(server)
            if server.incoming.ended:
                break
        self.assertEqual(len(read), size)
        self.assertEqual(read, payload)
        self.assertEqual(server.receive(1), b"")
        self.assertEqual(server.state, CLOSE_WAIT)

    def test_nothing_to_read_is_not_the_end(self) -> None:
        """None: not yet."""
        client, _ = Wire().pair()
        self.assertIsNone(client.receive(10))
        self.assertFalse(client.readable)

    def test_watchers(self) -> None:
        """The process is told when there is something to read, and when there is room to write again."""
        wire = Wire()
        client, server = wire.pair()
        told: list[str] = []
        client.watcher, server.watcher = lambda: told.append("client"), lambda: told.append("server")
        client.send(bytes(BUFFER))
        wire.run(1.0)
        self.assertIn("server", told)
        told.clear()
        self.assertEqual(client.send(bytes(BUFFER)), BUFFER)
        self.assertFalse(client.writable)
        wire.run(5.0)
        self.assertEqual(told, [])
        read_all(server)
        wire.run(5.0)
        self.assertIn("client", told)
        self.assertTrue(client.writable)


class EndTests(SynchronousTestCase):
    """FIN, RST, and what a process that does not know yet is told."""

    def test_close(self) -> None:
        """A closed end says FIN; when the other closes, too, both kernels forget."""
        wire = Wire()
        client, server = wire.pair()
        client.send(b"last words")
        client.close()
        wire.run(0.1)
        self.assertEqual(read_all(server), b"last words")
        self.assertEqual(server.receive(1), b"")
        self.assertEqual((client.state, server.state), (FIN_WAIT2, CLOSE_WAIT))
        server.close()
        wire.run(0.1)
        self.assertEqual((client.state, server.state), (CLOSED, CLOSED))

    def test_half_close(self) -> None:
        """After a shutdown the other direction still works."""
        wire = Wire()
        client, server = wire.pair()
        client.shut_down()
        wire.run(0.1)
        self.assertEqual(server.receive(1), b"")
        server.send(b"answer")
        server.close()
        wire.run(0.1)
        self.assertEqual(read_all(client), b"answer")
        self.assertTrue(client.hung_up)
        self.assertEqual(self.assertRaises(OSError, client.send, b"x").errno, errno.EPIPE)

    def test_both_at_once(self) -> None:
        """Two FINs that cross end both ends."""
        wire = Wire()
        client, server = wire.pair()
        client.close()
        server.close()
        wire.run(0.1)
        self.assertEqual((client.state, server.state), (CLOSED, CLOSED))

    def test_abort(self) -> None:
        """RST: the other end reads what it had, then ECONNRESET, once; then it is closed."""
        wire = Wire()
        client, server = wire.pair()
        client.send(b"before")
        wire.run(0.1)
        client.close(reset=True)
        wire.run(0.1)
        self.assertTrue(server.hung_up and server.readable)
        self.assertEqual(read_all_but_error(server), b"before")
        self.assertEqual(self.assertRaises(OSError, server.receive, 9).errno, errno.ECONNRESET)
        self.assertEqual(server.receive(9), b"")
        self.assertEqual(self.assertRaises(OSError, server.send, b"x").errno, errno.EPIPE)

    def test_unread_data_makes_it_a_reset(self) -> None:
        """Who closes with unread input resets, and what it had not sent yet is lost (wire.md §6)."""
        wire = Wire()
        client, server = wire.pair()
        server.send(b"unread")
        wire.run(0.1)
        wire.path.add(Delay(0.1))
        client.send(b"BYE")
        client.close()
        wire.run(1.0)
        self.assertEqual(read_all_but_error(server), b"BYE")
        self.assertEqual(self.assertRaises(OSError, server.receive, 9).errno, errno.ECONNRESET)

    def test_data_for_nobody_is_answered_with_reset(self) -> None:
        """What comes after a close was complete tells its sender so."""
        wire = Wire()
        client, server = wire.pair()
        client.close()
        wire.run(0.1)
        server.send(b"too late")
        wire.run(0.1)
        self.assertEqual(server.take_error(), errno.ECONNRESET)
        self.assertEqual(client.state, CLOSED)

    def test_a_peer_that_never_closes(self) -> None:
        """A closed end waits a minute for the other FIN, then the kernel forgets it."""
        wire = Wire()
        client, _ = wire.pair()
        client.close()
        wire.run(59.0)
        self.assertEqual(client.state, FIN_WAIT2)
        wire.run(2.0)
        self.assertEqual(client.state, CLOSED)

    def test_a_lost_host_that_came_back(self) -> None:
        """A restarted host knows no connection: RST one round trip after our next send (facts K2d)."""
        wire = Wire()
        client, _ = wire.pair()
        wire.server.vanish()
        wire.run(5.0)
        self.assertEqual(client.take_error(), 0)
        wire.server.present = True
        client.send(b"ping")
        wire.run(0.0011)
        self.assertEqual(client.take_error(), errno.ECONNRESET)

    def test_a_dead_path_ends_by_itself(self) -> None:
        """The kernel gives up after about 15 minutes with ETIMEDOUT; the counters can still be read (facts K2e)."""
        wire = Wire()
        client, _ = wire.pair()
        wire.path.add(SilentDrop())
        client.send(b"ping")
        wire.run(900.0)
        self.assertEqual(client.error, 0)
        wire.run(100.0)
        self.assertEqual(client.take_error(), errno.ETIMEDOUT)
        info = client.info()
        self.assertEqual((info.state, info.retransmits, info.unacked, info.backoff), (CLOSED, 15, 0, 0))


def read_all_but_error(connection: Connection) -> bytes:
    """What came before the error."""
    return bytes(connection.receive(65536) or b"") if connection.incoming.unread else b""


class SignatureTests(SynchronousTestCase):
    """The evidence of each fault, as it was measured on Linux (facts K2b, K2c): what the cause is told by."""

    def setUp(self) -> None:
        """A connection with one good exchange."""
        self.wire = Wire()
        self.client, self.server = self.wire.pair()
        self.exchange()

    def exchange(self) -> None:
        """Ping, pong."""
        self.client.send(b"ping")
        self.wire.run(0.01)
        self.server.send(read_all(self.server) and b"pong")
        self.wire.run(0.01)
        self.assertEqual(read_all(self.client), b"pong")

    def ping(self, seconds: int, *, read: bool = True) -> None:
        """A ping each second, and a server that answers what it hears, or does not run at all."""
        for _ in range(seconds):
            self.client.send(b"ping")
            self.wire.run(1.0)
            if read and read_all(self.server):
                self.server.send(b"pong")

    def test_silent_drop(self) -> None:
        """Unacked, retransmits = backoff, later pings not sent; the server's counters are frozen."""
        before = self.client.info()
        self.wire.path.add(SilentDrop())
        self.ping(5)
        client, server = self.client.info(), self.server.info()
        self.assertEqual(client.retransmits, client.backoff)
        self.assertGreaterEqual(client.retransmits, 3)
        self.assertEqual((client.unacked, client.notsent), (1, 4 * 4))
        self.assertEqual(client.bytes_acked, before.bytes_acked)
        self.assertGreater(client.last_ack_recv or 0.0, 5.0)
        self.assertGreater(client.total_retrans or 0, 0)
        self.assertEqual((server.unacked, server.retransmits), (0, 0))

    def test_one_way_loss_seen_by_the_server(self) -> None:
        """Its answers are lost: last_ack_recv moves on with the client's retransmissions, its data is not."""
        self.wire.path.add(OneWay(towards="client"))
        self.ping(5)
        server = self.server.info()
        self.assertGreater(server.unacked or 0, 0)
        self.assertEqual(server.retransmits, server.backoff)
        self.assertGreater(server.retransmits, 2)

    def test_stopped_process(self) -> None:
        """Its kernel acknowledges: unacked 0, bytes_acked moves, the last ACK is fresh and the last data is old."""
        before = self.client.info()
        self.ping(5, read=False)
        client = self.client.info()
        self.assertEqual((client.unacked, client.retransmits, client.notsent), (0, 0, 0))
        self.assertEqual((client.bytes_acked or 0) - (before.bytes_acked or 0), 5 * 4)
        self.assertLess(client.last_ack_recv or 9.0, 1.01)
        self.assertGreater(client.last_data_recv or 0.0, 5.0)
        self.assertEqual(len(self.server.incoming.unread), 20)

    def test_closed_window(self) -> None:
        """A peer that never reads: snd_wnd 0, notsent > 0, unacked 0, probes answered, backoff growing."""
        self.client.send(bytes(BUFFER))
        self.wire.run(1.0)
        self.client.send(bytes(BUFFER))
        self.wire.run(10.0)
        client = self.client.info()
        self.assertEqual((client.snd_wnd, client.unacked, client.probes), (0, 0, 0))
        self.assertGreater(client.notsent or 0, 0)
        self.assertGreater(client.backoff, 3)
        self.assertLess(client.last_ack_recv or 99.0, 6.5)

    def test_nat_expiry(self) -> None:
        """The same as a silent drop on this connection, while a new one works at once."""
        self.wire.path.add(NatExpiry(idle=5.0))
        self.wire.run(6.0)
        self.ping(3)
        client = self.client.info()
        self.assertEqual(client.retransmits, client.backoff)
        self.assertGreater(client.unacked or 0, 0)
        fresh, _ = self.wire.pair()
        self.assertEqual(fresh.state, ESTABLISHED)

    def test_healing(self) -> None:
        """After an outage the answer needs the rest of the backed-off timeout: 20 s of silence, some more to heal."""
        drop = self.wire.path.add(SilentDrop())
        self.ping(20)
        self.wire.path.remove(drop)
        healed = self.wire.network.now
        while not read_all(self.server):
            self.wire.run(0.1)
        self.assertTrue(1.0 < self.wire.network.now - healed < 13.0)

    def test_arrival_time(self) -> None:
        """last_data_recv is the arrival in the kernel, however late it is read."""
        self.server.send(b"pong")
        self.wire.run(3.0)
        self.assertAlmostEqual(self.client.info().last_data_recv or 0.0, 2.9995, places=5)
