"""An end as a process, under ``heartbeat:`` from a string, whose application does as told and tells what it sees.

``python -m tests.real.wrappedend listen|connect STRING``. Prints JSON lines: ``listening`` with the port, or how
connecting failed, ``refused``; then per connection ``made``, ``order`` when it has one, ``got`` with the number of
bytes so far, ``read over``, ``write over``, and ``lost`` with the classes of the reason, its cause and its detail.
What comes first on a connection is one line, an order: ``echo``, ``give BYTES`` (and echo), ``hold SECONDS`` (stop
reading for so long, then count), ``count``.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

reactor: Any = _reactor


def say(what: str, **members: Any) -> None:
    """One line."""
    print(json.dumps({"what": what, **members}), flush=True)


def ended(what: str, reason: Failure) -> None:
    """One line about a reason."""
    value: Any = reason.value
    classes = [one.__name__ for one in type(value).__mro__]
    members = {name: getattr(value, name, None) for name in ("cause", "detail", "reason")}
    say(what, classes=classes, **members)


@implementer(IHalfCloseableProtocol)
class Obedient(Protocol):
    """The application. It knows nothing of heartbeats."""

    transport: Any

    def __init__(self) -> None:
        self._head = b""
        self._order = ""
        self._got = 0

    def connectionMade(self) -> None:
        say("made")

    def dataReceived(self, data: bytes) -> None:
        if not self._order:
            self._head += data
            if b"\n" not in self._head:
                return
            line, _, data = self._head.partition(b"\n")
            self._obey(*line.decode().split())
        if data:
            self._got += len(data)
            say("got", bytes=self._got)
            if self._order in ("echo", "give"):
                self.transport.write(data)

    def _obey(self, order: str, number: str = "0") -> None:
        self._order = order
        say("order")
        if order == "give":
            self.transport.write(bytes(range(256)) * (int(number) // 256))
        elif order == "hold":
            self.transport.pauseProducing()
            reactor.callLater(float(number), self.transport.resumeProducing)

    def readConnectionLost(self) -> None:
        say("read over")
        self.transport.loseWriteConnection()

    def writeConnectionLost(self) -> None:
        say("write over")

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        ended("lost", reason)


def main() -> None:
    """The process."""
    factory = Factory.forProtocol(Obedient)
    factory.noisy = False

    role, string = sys.argv[1:]
    if role == "connect":
        connecting: Any = clientFromString(reactor, string).connect(factory)
        connecting.addErrback(lambda reason: ended("refused", reason))
    else:
        listening: Any = serverFromString(reactor, string).listen(factory)
        listening.addCallback(lambda port: say("listening", port=port.getHost().port))
    reactor.run()


if __name__ == "__main__":
    main()
