"""A simulated host: a kernel that keeps connections, two clocks, and one process with its event loop. Pure.

The kernel and the process are separate lives. :meth:`Host.stall` stops only the process; :meth:`Host.crash` ends
it, and the kernel then closes what it held; :meth:`Host.vanish` takes both away without a word.

The loop turns as Twisted's does: it sleeps in a poll until a socket is ready or a timer is due, reads and writes
the sockets that are ready, then runs the timers, then polls again. A stall while it sleeps, or while it reads,
ends with the timers first and the sockets second; a stall in a timer ends with the sockets first (``facts.md`` K2f).
A turn takes a microsecond, so that a loop which waits for its own clock sees it move.
"""

from __future__ import annotations

import errno
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from heartbeat.testing.listeners import Listener
from heartbeat.testing.network import GRAIN, grained
from heartbeat.testing.segments import Segment
from heartbeat.testing.tcp import Connection

if TYPE_CHECKING:
    from collections.abc import Callable

    from heartbeat.testing.endpoints import Endpoint
    from heartbeat.testing.faults import HostFault
    from heartbeat.testing.network import Network
    from heartbeat.testing.segments import Address

__all__ = ["EPOCH", "Host", "Loop", "Process"]

#: The wall clock when a simulation begins: 2027-01-15T08:00:00Z. Any date does, this one is easy to tell from 1970.
EPOCH: Final = 1_800_000_000.0
#: Seconds: no two hosts agree about their monotonic clocks, which begin at anything below this.
MONOTONIC_SPREAD: Final = 100_000.0
#: Ports given to connections and to listeners on port 0, as Linux does from here on.
FIRST_EPHEMERAL: Final = 32_768
LAST_PORT: Final = 65_535
#: Seconds from one turn of a loop to the next, at least.
TURN: Final = GRAIN
#: Turns in a row without any sleep, beyond which it is called a livelock.
MOST_TURNS: Final = 100_000


class Loop(Protocol):
    """The event loop of a process, as its host drives it."""

    def poll(self) -> None:
        """Read and write the sockets that are ready, without waiting."""

    def run_timers(self) -> None:
        """Run the timers that are due."""

    def sleep(self) -> float | None:
        """Seconds until the next timer, 0 if a socket is ready, None if nothing is awaited."""

    def end(self) -> None:
        """The process was killed: forget everything, run nothing."""


class Process:
    """One life of a program: begins with :meth:`Host.boot`, ends with a crash.

    :ivar alive: False once it was killed
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.alive = True
        self._timeline = host.network.timeline
        self._loop: Loop | None = None
        self._stalled_until = 0.0
        self._timers_first = False
        self._turning = False
        self._wake_at: float | None = None
        self._booked: float | None = None
        self._turned_at = -1.0
        self._turns = 0

    @property
    def stalled(self) -> bool:
        """The loop does not run at the moment, or never will again."""
        return not self.alive or self._stalled_until > self._timeline.now

    def start(self, loop: Loop) -> None:
        """Run this loop from now on."""
        self._loop = loop
        self.ready()

    def stall(self, seconds: float) -> None:
        """Do not run for so many seconds from now."""
        if not self._turning:
            self._timers_first = True
        self._stalled_until = max(self._stalled_until, self._timeline.now + seconds)
        self._sleep_until(self._stalled_until)

    def ready(self) -> None:
        """A socket is ready: wake now."""
        if not (self._turning or self.stalled):
            self._sleep_until(self._timeline.now)

    def wake(self) -> None:
        """A timer was set or cancelled, or a turn is over: find out how long to sleep."""
        if self._turning or self.stalled or self._loop is None:
            return
        seconds = self._loop.sleep()
        if seconds is None:
            self._wake_at = None
        else:
            self._sleep_until(self._timeline.now + seconds)

    def kill(self) -> None:
        """It ends here, between two instructions."""
        self.alive = False
        self._wake_at = None
        if self._loop is not None:
            self._loop.end()
            self._loop = None

    def _sleep_until(self, time: float) -> None:
        """Wake at ``time``. One event is kept in the queue for it; one that comes too early only books the next."""
        time = max(grained(time), self._turned_at + TURN)
        if time == self._wake_at:
            return
        self._wake_at = time
        if time <= self._timeline.now:
            self._timeline.at(time, self._fire)
        elif self._booked is None or time < self._booked:
            self._booked = time
            self._timeline.at(time, self._fire)

    def _fire(self) -> None:
        now = self._timeline.now
        if self._booked is not None and self._booked <= now:
            self._booked = None
        wake_at, self._wake_at = self._wake_at, None
        if wake_at is None or self._loop is None:
            return
        if now < wake_at:
            self._sleep_until(wake_at)
            return
        self._count(now)
        self._turning = True
        try:
            self._turn(self._loop)
        finally:
            self._turning = False
        self.wake()

    def _turn(self, loop: Loop) -> None:
        if not self._timers_first:
            self._timers_first = True
            loop.poll()
            if self.stalled:
                return
        self._timers_first = False
        loop.run_timers()

    def _count(self, now: float) -> None:
        self._turns = self._turns + 1 if now <= self._turned_at + 2 * TURN else 1
        self._turned_at = now
        if self._turns > MOST_TURNS:
            raise RuntimeError(f"the loop of {self.host.name} never sleeps: {MOST_TURNS} turns until {now:.6f} s")


class Host:
    """A machine on the network. Its clocks are its own.

    :ivar name: also its DNS name
    :ivar address: its IPv4 address
    :ivar present: False after :meth:`vanish`
    :ivar process: the program that runs on it, None while none does
    """

    def __init__(self, network: Network, name: str) -> None:
        self.network = network
        self.name = name
        self.address = network.next_address()
        self.present = True
        self.process: Process | None = None
        self._timeline = network.timeline
        self._began = grained(network.draw() * MONOTONIC_SPREAD)
        self._step = 0.0
        self._connections: dict[tuple[Address, Address], Connection] = {}
        self._listeners: dict[Address, Listener] = {}
        self._next_port = FIRST_EPHEMERAL
        network.place(self)

    def __repr__(self) -> str:
        return f"<Host {self.name} {self.address}>"

    # ---- clocks

    def monotonic(self) -> float:
        """Seconds that never step. Not comparable with those of another host."""
        return self._began + self._timeline.now

    def wall(self) -> float:
        """Seconds since the epoch, as this host believes."""
        return EPOCH + self._timeline.now + self._step

    def step_clock(self, seconds: float) -> None:
        """Set the wall clock forward, or backward where negative. A sleeping loop notices when it next wakes."""
        self._step += grained(seconds)

    # ---- the process

    def boot(self, program: Callable[[Process], Loop]) -> None:
        """Start a process, after ending the one that runs. ``program`` makes its loop."""
        self.crash()
        self.present = True
        self.process = Process(self)
        self.process.start(program(self.process))

    # ---- faults

    def add(self, fault: HostFault) -> None:
        """Let a fault happen now: :class:`~heartbeat.testing.Stall`, :class:`~heartbeat.testing.ClockStep`."""
        fault.strike(self)

    def stall(self, seconds: float) -> None:
        """The process does not run for so many seconds; the kernel does."""
        if self.process is not None:
            self.process.stall(seconds)

    def crash(self) -> None:
        """The process is killed. Its kernel closes what it held: FIN, or RST where unread data waits."""
        process, self.process = self.process, None
        if process is None:
            return
        process.kill()
        for listener in list(self._listeners.values()):
            listener.close()
        for connection in list(self._connections.values()):
            connection.close()

    def vanish(self) -> None:
        """The host is gone, power off, with no word to anybody."""
        self.present = False
        process, self.process = self.process, None
        if process is not None:
            process.kill()
        for listener in self._listeners.values():
            listener.watcher = None
        self._listeners.clear()
        for connection in list(self._connections.values()):
            connection.vanish()

    # ---- the kernel

    def open_listener(self, address: str, port: int, backlog: int) -> Listener:
        """Listen. Port 0 takes a free one; address ``""`` is all of them.

        :raises OSError: EADDRINUSE or EADDRNOTAVAIL
        """
        address, port = self.check_address(address, port)
        listener = self._listeners[address, port] = Listener(self, (address, port), backlog)
        return listener

    def check_address(self, address: str, port: int) -> Address:
        """Where one may listen: ``""`` for all addresses, and a free port for 0.

        :raises OSError: EADDRINUSE or EADDRNOTAVAIL
        """
        if address == "0.0.0.0":  # noqa: S104 - compared with, and nothing real is bound
            address = ""
        if address not in ("", self.address, "127.0.0.1"):
            raise OSError(errno.EADDRNOTAVAIL, "that is no address of this simulated host")
        if any(used == port and (not address or other in ("", address)) for other, used in self._listeners):
            raise OSError(errno.EADDRINUSE, "somebody listens there already")
        return address, port or self._port_for(self.address, ("", 0))

    def open_connection(self, address: str, port: int) -> Connection:
        """Begin to connect. Watch the connection: it becomes writable, or has an error.

        :raises OSError: ENETUNREACH for an address outside of 10.0.0.0/8
        """
        if address.startswith("127."):
            own = address
        elif address.startswith("10."):
            own = self.address
        else:
            raise OSError(errno.ENETUNREACH, "the simulated network is 10.0.0.0/8")
        remote = (address, port)
        connection = Connection(self, (own, self._port_for(own, remote)), remote)
        self._connections[connection.local, connection.remote] = connection
        connection.connect()
        return connection

    def receive(self, segment: Segment) -> None:
        """A segment arrived. A connection takes it, or a listener; else the answer is RST."""
        if not self.present:
            return
        connection = self._connections.get((segment.target, segment.source))
        if connection is not None:
            connection.deliver(segment)
        elif segment.syn and segment.ack is None and (listener := self._listener(segment.target)):
            if len(listener.waiting) < listener.backlog:
                connection = Connection(self, segment.target, segment.source)
                connection.opened = partial(listener.offer, connection)
                self._connections[segment.target, segment.source] = connection
                connection.answer_syn(segment)
        elif not segment.rst:
            self.network.carry(self, Segment(segment.target, segment.source, segment.ack or 0, segment.seq, rst=True))

    def forget(self, connection: Endpoint) -> None:
        """A connection is gone from the kernel's table."""
        self._connections.pop((connection.local, connection.remote), None)

    def forget_listener(self, listener: Listener) -> None:
        """A listener is closed."""
        self._listeners.pop(listener.address, None)

    def _listener(self, target: Address) -> Listener | None:
        return self._listeners.get(target) or self._listeners.get(("", target[1]))

    def _port_for(self, own: str, remote: Address) -> int:
        for _ in range(FIRST_EPHEMERAL, LAST_PORT):
            port = self._next_port
            self._next_port = FIRST_EPHEMERAL if port == LAST_PORT else port + 1
            if ((own, port), remote) not in self._connections and not self._listener((own, port)):
                return port
        raise OSError(errno.EADDRNOTAVAIL, "every port of this simulated host is in use")
