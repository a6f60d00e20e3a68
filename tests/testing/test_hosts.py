"""The life of a process beside its kernel: turns, stalls, clocks, and ways to end."""

from __future__ import annotations

import errno

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.testing.endpoints import CLOSED, ESTABLISHED
from heartbeat.testing.faults import ClockStep, Stall
from heartbeat.testing.hosts import EPOCH, MOST_TURNS
from tests.testing.wires import PORT, IdleLoop, Wire


class TurnTests(SynchronousTestCase):
    """When the loop runs, and in which order."""

    def setUp(self) -> None:
        """A process that has been booted and sleeps."""
        self.wire = Wire()
        self.host = self.wire.server
        self.wire.run(0.0)
        process = self.host.process
        assert process is not None and isinstance(process._loop, IdleLoop)
        self.process, self.loop = process, process._loop
        self.loop.calls.clear()

    def timer(self, seconds: float) -> None:
        """Set one."""
        self.loop.due.append(self.wire.network.now + seconds)
        self.process.wake()

    def test_it_sleeps(self) -> None:
        """Nothing to do, no turn."""
        self.wire.run(100.0)
        self.assertEqual(self.loop.calls, [])

    def test_timers(self) -> None:
        """A timer wakes it at its time: an empty poll, then the timers."""
        self.timer(2.0)
        self.timer(1.0)
        self.wire.run(0.999)
        self.assertEqual(self.loop.calls, [])
        self.wire.run(0.001)
        self.assertEqual(self.loop.calls, ["poll", "timers"])
        self.wire.run(5.0)
        self.assertEqual(self.loop.calls, ["poll", "timers"] * 2)

    def test_sockets(self) -> None:
        """A ready socket wakes it at once, and a later timer still comes at its time."""
        self.timer(2.0)
        self.wire.run(1.0)
        self.process.ready()
        self.wire.run(0.0)
        self.assertEqual(self.loop.calls, ["poll", "timers"])
        self.wire.run(1.0)
        self.assertEqual(self.loop.calls, ["poll", "timers"] * 2)

    def test_a_stall_while_it_sleeps(self) -> None:
        """Nothing runs until it ends; then the timers first, the sockets second."""
        self.timer(1.0)
        self.host.stall(3.0)
        self.process.ready()
        self.wire.run(2.999)
        self.assertEqual(self.loop.calls, [])
        self.loop.busy = True
        self.wire.run(0.002)
        self.assertEqual(self.loop.calls, ["timers", "poll", "timers"])

    def test_a_stall_while_it_reads(self) -> None:
        """A blocking call in an I/O callback: timers first, too."""
        self.loop.poll = lambda: (self.loop.calls.append("poll"), self.host.stall(3.0))
        self.process.ready()
        self.wire.run(2.9)
        self.assertEqual(self.loop.calls, ["poll"])
        self.wire.run(0.101)
        self.assertEqual(self.loop.calls, ["poll", "timers"])

    def test_a_stall_in_a_timer(self) -> None:
        """A blocking call in a timer: the poll comes next, which is why it is harmless (facts K2f)."""
        self.loop.run_timers = lambda: (self.loop.calls.append("timers"), self.loop.due.clear(), self.host.stall(3.0))
        self.timer(1.0)
        self.wire.run(3.9)
        self.assertEqual(self.loop.calls, ["poll", "timers"])
        self.wire.run(0.1)
        self.assertEqual(self.loop.calls, ["poll", "timers", "poll", "timers"])

    def test_stalls_overlap(self) -> None:
        """The one that ends last counts."""
        self.timer(0.5)
        self.host.stall(3.0)
        self.wire.run(1.0)
        self.host.stall(1.0)
        self.wire.run(1.9)
        self.assertEqual(self.loop.calls, [])
        self.wire.run(0.2)
        self.assertEqual(self.loop.calls, ["timers"])

    def test_a_loop_that_never_sleeps_is_found(self) -> None:
        """Virtual time would stand still for ever: it is an error that names the host."""
        self.loop.sleep = lambda: 0.0
        self.process.wake()
        error = self.assertRaises(RuntimeError, self.wire.run, 1.0)
        self.assertIn("server", str(error))
        self.assertIn(len(self.loop.calls), (2 * MOST_TURNS - 2, 2 * MOST_TURNS))


class ClockTests(SynchronousTestCase):
    """Two clocks for each host."""

    def test_the_wall_clock_steps(self) -> None:
        """A step moves the wall clock of one host and no other clock."""
        wire = Wire()
        before = wire.server.monotonic()
        wire.server.step_clock(3600.0)
        wire.run(1.0)
        self.assertAlmostEqual(wire.server.monotonic() - before, 1.0)
        self.assertEqual(wire.server.wall(), EPOCH + 3601.0)
        self.assertEqual(wire.client.wall(), EPOCH + 1.0)

    def test_monotonic_clocks_differ(self) -> None:
        """Nobody may compare them between hosts; a mistake shows."""
        wire = Wire()
        self.assertGreater(abs(wire.server.monotonic() - wire.client.monotonic()), 1.0)

    def test_faults_as_values(self) -> None:
        """add() lets a fault happen."""
        wire = Wire()
        wire.server.add(ClockStep(-60.0))
        self.assertEqual(wire.server.wall(), EPOCH - 60.0)
        wire.server.add(Stall(2.0))
        assert wire.server.process is not None
        self.assertTrue(wire.server.process.stalled)
        wire.run(2.0)
        self.assertFalse(wire.server.process.stalled)


class EndTests(SynchronousTestCase):
    """A process, or a host, that ends."""

    def test_the_kernel_lives_through_a_stall(self) -> None:
        """It acknowledges, buffers, and accepts into the backlog."""
        wire = Wire()
        client, server = wire.pair()
        wire.server.stall(60.0)
        client.send(b"ping")
        another = wire.connect()
        wire.run(1.0)
        self.assertEqual(client.info().unacked, 0)
        self.assertEqual(bytes(server.incoming.unread), b"ping")
        self.assertEqual(another.state, ESTABLISHED)

    def test_crash(self) -> None:
        """Its kernel closes what it held: FIN where all was read, RST where not; new connections are refused."""
        wire = Wire()
        clean, _ = wire.pair()
        unread, _ = wire.pair()
        waiting = wire.connect()
        unread.send(b"ping")
        wire.run(0.1)
        process = wire.server.process
        assert process is not None
        loop = process._loop
        assert isinstance(loop, IdleLoop)
        wire.server.crash()
        wire.run(0.1)
        self.assertEqual(clean.receive(9), b"")
        self.assertEqual(unread.take_error(), errno.ECONNRESET)
        self.assertEqual(waiting.take_error(), errno.ECONNRESET)
        refused = wire.connect()
        wire.run(0.1)
        self.assertEqual(refused.take_error(), errno.ECONNREFUSED)
        self.assertTrue(loop.ended)
        self.assertFalse(process.alive)
        wire.server.crash()
        wire.server.stall(1.0)

    def test_a_killed_process_runs_no_more(self) -> None:
        """Its timers and sockets are never served, also when it was stalled."""
        wire = Wire()
        process = wire.server.process
        assert process is not None
        loop = process._loop
        assert isinstance(loop, IdleLoop)
        wire.server.stall(1.0)
        wire.server.crash()
        loop.calls.clear()
        process.ready()
        process.wake()
        wire.run(5.0)
        self.assertEqual(loop.calls, [])

    def test_vanish(self) -> None:
        """Silence: no FIN, nobody told, nothing received."""
        wire = Wire()
        client, server = wire.pair()
        sent: list[str] = []
        wire.network.watcher = lambda now, line: sent.append(line)
        wire.server.vanish()
        wire.run(10.0)
        self.assertEqual(sent, [])
        self.assertEqual((client.state, server.state), (ESTABLISHED, CLOSED))
        client.send(b"ping")
        wire.run(1.0)
        self.assertGreater(client.info().retransmits, 0)

    def test_boot(self) -> None:
        """A booted host listens to nothing, knows no connection, and has a new process."""
        wire = Wire()
        wire.server.vanish()
        wire.server.boot(IdleLoop)
        refused = wire.connect()
        wire.run(0.1)
        self.assertEqual(refused.take_error(), errno.ECONNREFUSED)
        wire.server.open_listener("", PORT, 5)
        accepted = wire.connect()
        wire.run(0.1)
        self.assertEqual(accepted.state, ESTABLISHED)


class PortTests(SynchronousTestCase):
    """Listening."""

    def test_in_use(self) -> None:
        """One listener for an address and port; all addresses include each."""
        wire = Wire()
        for address in ("", "0.0.0.0", wire.server.address):
            error = self.assertRaises(OSError, wire.server.open_listener, address, PORT, 5)
            self.assertEqual(error.errno, errno.EADDRINUSE)
        wire.server.open_listener("127.0.0.1", PORT + 1, 5)
        wire.server.open_listener(wire.server.address, PORT + 1, 5)

    def test_no_address_of_this_host(self) -> None:
        """Only its own."""
        error = self.assertRaises(OSError, Wire().server.open_listener, "10.9.9.9", 1, 5)
        self.assertEqual(error.errno, errno.EADDRNOTAVAIL)

    def test_any_port(self) -> None:
        """Port 0 takes free ones."""
        host = Wire().server
        ports = {host.open_listener("", 0, 5).address[1] for _ in range(10)}
        self.assertEqual(len(ports), 10)
        self.assertTrue(all(32_768 <= port <= 65_535 for port in ports))

    def test_ports_of_connections_differ(self) -> None:
        """Every connection to one place has its own."""
        wire = Wire()
        self.assertEqual(len({wire.connect().local for _ in range(50)}), 50)
