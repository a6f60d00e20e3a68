"""Two steps of a conversation within one budget of five seconds."""

from __future__ import annotations

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from heartbeat import DeadlineExpired, IncompleteRead
from heartbeat.net import Deadline, ExactReader


class Lookup(Protocol):
    """Asks for one record: its length in four bytes, and then so many."""

    def connectionMade(self) -> None:
        self.reader = ExactReader(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self.reader.feed(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.reader.end(reason)

    async def ask(self, key: bytes, budget: Deadline) -> bytes | None:
        self.transport.write(key + b"\n")
        try:
            head = await self.reader.read_exactly(4, budget.within(1.0))  # at most 1 s, and never more than is left
            return await self.reader.read_exactly(int.from_bytes(head, "big"), budget)
        except DeadlineExpired as error:  # our waiting is over; the connection is not
            print(error)  # a read of 4 bytes: no result within 1 s; the deadline was made at lookup.py:29
        except IncompleteRead as error:  # the stream is over
            print(f"{error.partial} of {error.wanted} bytes, then {error.__cause__!r}")
        return None
