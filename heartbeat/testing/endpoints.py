"""One end of a simulated TCP connection, as the kernel of its host keeps it. Pure.

The kernel works while the process is stalled: it receives, acknowledges, sends again. What the process may do with
a connection is in :mod:`heartbeat.testing.tcp`.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from heartbeat.testing.incoming import Incoming
from heartbeat.testing.keepalive import Keepalive
from heartbeat.testing.outgoing import Outgoing
from heartbeat.testing.segments import Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from heartbeat.testing.hosts import Host
    from heartbeat.testing.segments import Address

__all__ = ["CLOSED", "ESTABLISHED", "SYN_RECEIVED", "SYN_SENT", "Endpoint"]

# The states of a connection, numbered as in Linux's include/net/tcp_states.h.
ESTABLISHED: Final = 1
SYN_SENT: Final = 2
SYN_RECEIVED: Final = 3
FIN_WAIT1: Final = 4
FIN_WAIT2: Final = 5
CLOSED: Final = 7
CLOSE_WAIT: Final = 8
LAST_ACK: Final = 9
CLOSING: Final = 11

#: Seconds that a closed connection waits for the peer's FIN (Linux's tcp_fin_timeout).
FIN_TIMEOUT: Final = 60.0


class Endpoint:
    """One end of a connection.

    :ivar local: own address and port
    :ivar remote: the peer's
    :ivar state: one of the numbers above
    :ivar error: the errno that waits to be handed out, 0 if none does
    :ivar watcher: called when the process could read or write something that it could not before
    :ivar opened: called once when the handshake is done
    :ivar held: False: the process let go of it and only the kernel still works on it
    """

    def __init__(self, host: Host, local: Address, remote: Address) -> None:
        self.host = host
        self.local = local
        self.remote = remote
        self.state = CLOSED
        self.error = 0
        self.held = True
        self.watcher: Callable[[], None] | None = None
        self.opened: Callable[[], None] | None = None
        self.outgoing = Outgoing(self._launch)
        self.incoming = Incoming()
        self.keepalive = Keepalive(self.outgoing, self.incoming)
        self._timeline = host.network.timeline
        self._shut = False
        self._timer_at: float | None = None

    # ---- what the network does

    def deliver(self, segment: Segment) -> None:
        """A segment came in."""
        if self.state == CLOSED:
            return
        if segment.rst:
            self._fail(errno.ECONNREFUSED if self.state == SYN_SENT else errno.ECONNRESET)
            return
        now = self._timeline.now
        if segment.syn:
            self._synchronise(segment, now)
            return
        if self.state == SYN_SENT:  # it overtook the answer to our SYN
            return
        if segment.data and not self.held and segment.seq + len(segment.data) > self.incoming.next:  # nobody reads it
            self._send_segment(Segment(self.local, self.remote, self.outgoing.next, rst=True))
            self._end()
            return
        blocked = self.outgoing.free <= 0
        if segment.ack is not None:
            if self.state == SYN_RECEIVED and segment.ack > 0:
                self._establish()
            self.outgoing.acknowledged(segment.ack, segment.window, now, pure=not segment.data)
        news = self.incoming.take(segment, now)
        if segment.data or segment.fin or segment.probe:
            self._acknowledge()
        if self.state != ESTABLISHED or self.incoming.ended:
            self._advance()
        self._watch_deadline()
        if self.watcher is not None and (news or (blocked and self.outgoing.free > 0)):
            self.watcher()

    def answer_syn(self, segment: Segment) -> None:
        """A SYN came to a listener, and this new connection answers it."""
        self.state = SYN_RECEIVED
        self.incoming.next = 1
        self.outgoing.window = segment.window
        self.outgoing.open(self._timeline.now)
        self._watch_deadline()

    def vanish(self) -> None:
        """The host lost its memory: no segment says so."""
        self.held = False
        self.watcher = None
        self._end()

    # ---- letting go

    def shut_down(self) -> None:
        """No more data from here: FIN behind what is still in the buffer."""
        if self._shut or self.state == CLOSED:
            return
        self._shut = True
        if self.state in (SYN_SENT, SYN_RECEIVED):
            return
        self.state = LAST_ACK if self.state == CLOSE_WAIT else FIN_WAIT1
        self.outgoing.finish(self._timeline.now)
        self._watch_deadline()

    def close(self, *, reset: bool = False) -> None:
        """The process lets go. What was written still goes; unread data, or ``reset`` (SO_LINGER 0), makes it a RST."""
        if not self.held:
            return
        self.held = False
        self.watcher = None
        if self.state in (CLOSED, SYN_SENT):
            self._end()
        elif reset or self.incoming.unread or self.state == SYN_RECEIVED:
            self._send_segment(Segment(self.local, self.remote, self.outgoing.next, rst=True))
            self._end()
        else:
            self.shut_down()
            self._finish()
            if self.state == FIN_WAIT2:
                self._linger()

    # ---- inside

    def _synchronise(self, segment: Segment, now: float) -> None:
        if self.state == SYN_SENT and segment.ack is not None:
            self.incoming.next = 1
            self._establish()
            self.outgoing.acknowledged(segment.ack, segment.window, now)
            self._acknowledge()
            if self._shut:
                self._shut = False
                self.shut_down()
            self._watch_deadline()
            if self.watcher is not None:
                self.watcher()
        elif self.state == SYN_RECEIVED:
            self._launch(0, b"", True, False, False)
        elif self.state != SYN_SENT:  # our acknowledgement of the SYN was lost
            self._acknowledge()

    def _establish(self) -> None:
        self.state = ESTABLISHED
        self.outgoing.ready = True
        if self.opened is not None:
            opened, self.opened = self.opened, None
            opened()

    def _advance(self) -> None:
        """Change the state after a FIN came, or ours was acknowledged."""
        sent, came = self.outgoing.done, self.incoming.ended
        if self.state == ESTABLISHED and came:
            self.state = CLOSE_WAIT
        elif self.state == FIN_WAIT1:
            self.state = FIN_WAIT2 if sent else (CLOSING if came else FIN_WAIT1)
            if self.state == FIN_WAIT2 and not self.held:
                self._linger()
        self._finish()

    def _finish(self) -> None:
        """Let go when both directions are done: no time-wait, its duplicates find nobody."""
        if self.outgoing.done and self.incoming.ended and not self.held:
            self._end()

    def _linger(self) -> None:
        self._timeline.at(self._timeline.now + FIN_TIMEOUT, self._give_up_waiting)

    def _give_up_waiting(self) -> None:
        if self.state == FIN_WAIT2:
            self._end()

    def _fail(self, error: int) -> None:
        self.error = error
        self._end()

    def _end(self) -> None:
        self.state = CLOSED
        self.outgoing.drop()
        self.host.forget(self)
        if self.watcher is not None:
            self.watcher()

    def _launch(self, seq: int, data: bytes, syn: bool, fin: bool, probe: bool) -> None:
        ack = None if self.state == SYN_SENT else self.incoming.next
        window = self.incoming.promised = self.incoming.window
        self._send_segment(
            Segment(self.local, self.remote, seq, ack, window, data=data, syn=syn, fin=fin, probe=probe),
        )

    def _acknowledge(self) -> None:
        self._launch(self.outgoing.next, b"", False, False, False)

    def _send_segment(self, segment: Segment) -> None:
        self.host.network.carry(self.host, segment)

    def _watch_deadline(self) -> None:
        """One event for both timers, left where it is when the deadline moves later."""
        deadline = self._next_deadline()
        if deadline is not None and (self._timer_at is None or deadline < self._timer_at):
            self._timer_at = deadline
            self._timeline.at(deadline, self._tick)

    def _next_deadline(self) -> float | None:
        if self.state == CLOSED:
            return None
        deadlines = (self.outgoing.deadline, self.keepalive.deadline)
        return min((one for one in deadlines if one is not None), default=None)

    def _tick(self) -> None:
        now = self._timeline.now
        if self._timer_at is not None and now < self._timer_at:
            return
        self._timer_at = None
        for timer in (self.outgoing, self.keepalive):
            if self.state != CLOSED and timer.deadline is not None and timer.deadline <= now and not timer.expired(now):
                self._fail(errno.ETIMEDOUT)
                return
        self._watch_deadline()
