"""What a process may do with a simulated connection: the calls of a socket, and TCP_INFO. Pure.

An error is handed out once, by whichever call comes first; what came before it can still be read.
"""

from __future__ import annotations

import errno
from typing import Any

from heartbeat.liveness.evidence import TcpInfo
from heartbeat.testing.endpoints import CLOSED, SYN_RECEIVED, SYN_SENT, Endpoint

__all__ = ["Connection"]


class Connection(Endpoint):
    """One end of a connection, with what its process sees of it."""

    @property
    def readable(self) -> bool:
        """There is data, an end or an error to read."""
        return bool(self.incoming.unread) or self.incoming.ended or self.state == CLOSED or bool(self.error)

    @property
    def writable(self) -> bool:
        """A write would take at least one byte, or fail."""
        if self.state in (SYN_SENT, SYN_RECEIVED):
            return False
        return self.outgoing.free > 0 or self._shut or self.state == CLOSED or bool(self.error)

    @property
    def hung_up(self) -> bool:
        """Nothing more can come or go."""
        return self.state == CLOSED or bool(self.error) or (self._shut and self.incoming.ended)

    def connect(self) -> None:
        """Send a SYN."""
        self.state = SYN_SENT
        self.outgoing.open(self._timeline.now)
        self._watch_deadline()

    def send(self, data: bytes) -> int:
        """Take bytes to send. How many were taken: 0 when the buffer is full.

        :raises OSError: the waiting error; EPIPE when nothing can be sent any more; EAGAIN before it is connected
        """
        self._raise_error()
        if self._shut or self.state == CLOSED:
            raise OSError(errno.EPIPE, "the simulated connection takes no more data")
        if self.state in (SYN_SENT, SYN_RECEIVED):
            return 0
        taken = self.outgoing.write(data, self._timeline.now)
        self._watch_deadline()
        return taken

    def receive(self, size: int) -> bytes | None:
        """At most ``size`` bytes; ``b""`` at the end, None when there is nothing yet.

        :raises OSError: the waiting error, once everything that came before it was read
        """
        incoming = self.incoming
        if incoming.unread:
            data = incoming.read(size)
            if incoming.window - incoming.promised >= incoming.capacity // 2 and not self.error:
                self._acknowledge()
            return data
        self._raise_error()
        return b"" if incoming.ended or self.state == CLOSED else None

    def tune(self, name: str, value: Any) -> None:
        """An option of its socket was set: see :meth:`.Keepalive.set`."""
        self.keepalive.set(name, value, self._timeline.now)
        self._watch_deadline()

    def take_error(self) -> int:
        """The waiting errno, which is handed out once (SO_ERROR); 0 if there is none."""
        error, self.error = self.error, 0
        return error

    def info(self) -> TcpInfo:
        """What TCP_INFO would say now."""
        now, outgoing = self._timeline.now, self.outgoing
        arrived, acked = self.incoming.arrived_at, outgoing.last_ack_recv
        return TcpInfo(
            state=self.state,
            retransmits=outgoing.retransmits,
            probes=outgoing.probes,
            backoff=outgoing.backoff,
            rto=outgoing.rto * 2**outgoing.backoff,
            unacked=len(outgoing.flight),
            last_data_recv=None if arrived is None else now - arrived,
            last_ack_recv=None if acked is None else now - acked,
            rtt=outgoing.rtt,
            rtt_variation=outgoing.rtt_variation,
            total_retrans=outgoing.total_retrans,
            bytes_acked=outgoing.bytes_acked,
            bytes_received=self.incoming.bytes_received,
            notsent=outgoing.notsent,
            snd_wnd=outgoing.window,
        )

    def _raise_error(self) -> None:
        error = self.take_error()
        if error:
            raise OSError(error, "the simulated connection failed")
