"""One end of some connections, as a process that tells in JSON lines what it sees of the other end.

``python -m tests.real.end '{"role": "server", ...}'``: the members are those of an
:class:`~tests.real.endprocess.Order`. Each line has
``what`` and ``now``, seconds of CLOCK_MONOTONIC, which is one clock for all namespaces of a machine. Words that it
reads line by line make it do something: ``connect``, ``again``,
``flood``, ``abort``, ``records``. It ends when its input ends, and with its parent.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import SSL4ServerEndpoint, TCP4ClientEndpoint, TCP4ServerEndpoint, wrapClientTLS
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, PrivateCertificate, optionsForClientTLS
from twisted.internet.stdio import StandardIO
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python import log

from heartbeat import HeartbeatConfig
from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.events import Event, Refused
from heartbeat.liveness.peer import Peer
from heartbeat.net.client import HeartbeatClientService
from heartbeat.net.clocks import clocks_for
from heartbeat.net.endpoints import heartbeat_client, heartbeat_server
from heartbeat.net.protocol import HeartbeatFactory
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from tests.real.endprocess import SERVER_NAME, Order

__all__: list[str] = []

PORT: Final = 7600
#: More than the credit for DATA and every buffer on the way.
FLOOD: Final = bytes(4 * 1024 * 1024)
_PR_SET_PDEATHSIG: Final = 1
#: How often a process looks at its own clock, from when on it was late, and for how long it remembers that.
_BEAT: Final = 0.02
_LATE: Final = 0.005
_REMEMBERED: Final = 10.0
reactor: Any = _reactor


def say(what: str, **members: Any) -> None:
    """One line."""
    print(json.dumps({"what": what, "now": time.monotonic(), **members}), flush=True)


class Lateness:
    """How much of the last seconds this process was not able to run: the bound of a verdict grows by that."""

    def __init__(self) -> None:
        self._late: deque[tuple[float, float]] = deque()
        self._due = time.monotonic() + _BEAT
        reactor.callLater(_BEAT, self._look)

    def _look(self) -> None:
        now = time.monotonic()
        if now - self._due > _LATE:
            self._late.append((now, now - self._due))
        while self._late and self._late[0][0] < now - _REMEMBERED:
            self._late.popleft()
        self._due = now + _BEAT
        reactor.callLater(_BEAT, self._look)

    def recent(self) -> list[tuple[float, float]]:
        """When it was late, and how much."""
        return list(self._late)


class Teller(HeartbeatListener):
    """Tells what happens to a peer.

    :param name: of the one connection that this listens to; None: the peer's id
    """

    def __init__(self, lateness: Lateness, name: str | None = None) -> None:
        self._lateness = lateness
        self._name = name

    def joined(self, peer: Peer) -> None:
        say("joined", peer=self._name or peer.id)

    def changed(self, peer: Peer, event: Event) -> None:
        # No part of the library's face: only the judge has what it saw at half time, and what it granted the peer.
        judge = peer._beats.liveness
        suspicion, allowance = judge.suspicion, judge._allowance
        half = None if suspicion is None or suspicion.half_time is None else suspicion.half_time.as_json()
        granted = 0.0 if allowance is None else allowance.granted(event.at)
        slow = judge.terms.answer_time(judge.rtt)
        self._tell(type(event).__name__, peer, event, half_time=half, granted=granted, slow=slow)

    def refused(self, peer: Peer, event: Refused) -> None:
        self._tell("Refused", peer, event)

    def _tell(self, what: str, peer: Peer, event: Event, **more: Any) -> None:
        members = {name: getattr(event, name) for name in ("at", "cause", "silent", "detail", "reason", "seconds")
                   if hasattr(event, name)}  # fmt: skip
        evidence = getattr(event, "evidence", None)
        if evidence is not None:
            members["evidence"] = evidence.as_json()
        say(what, peer=self._name or peer.id, late=self._lateness.recent(), **members, **more)


class Board:
    """The records of failures of some connections, each with what tells of it.

    :param names: of the connections; None: of all that come
    """

    def __init__(self, lateness: Lateness, names: tuple[str | None, ...]) -> None:
        self._boards = {name: Failures(clocks_for(reactor)) for name in names}
        self.listeners = {name: Listeners(Teller(lateness, name), board) for name, board in self._boards.items()}

    def tell(self) -> None:
        """All of them, newest first."""
        for name, board in self._boards.items():
            for record in board.since():
                say("record", of=name or record.peer, **record.as_json())
        say("records")


class Idle(Protocol):
    """An application that takes what comes."""

    def dataReceived(self, data: bytes) -> None:
        """Nothing is done with it."""


class Words(LineOnlyReceiver):
    """Standard input.

    :param known: what to do at which word
    """

    delimiter = b"\n"

    def __init__(self, known: dict[str, Callable[[], None]]) -> None:
        self._known = known

    def lineReceived(self, line: bytes) -> None:
        """A word."""
        self._known[line.decode()]()

    def connectionLost(self, reason: Any = None) -> None:
        """Whoever started us is gone, or wants no more of us."""
        os._exit(0)


def serve(order: Order, config: HeartbeatConfig, lateness: Lateness) -> dict[str, Callable[[], None]]:
    """Be the accepting end."""
    board = Board(lateness, (None,))
    factory = HeartbeatFactory(config, board.listeners[None])
    inner: Any = TCP4ServerEndpoint(reactor, PORT, interface=order.host)
    if order.pem is not None:
        options = PrivateCertificate.loadPEM(Path(order.pem).read_text()).options()
        inner = SSL4ServerEndpoint(reactor, PORT, options, interface=order.host)
    if order.data:
        listening = heartbeat_server(inner, config, board.listeners[None]).listen(Factory.forProtocol(Idle))
    else:
        listening = inner.listen(factory)
    listening.addCallbacks(lambda port: say("listening"), log.err)
    return {"abort": factory.abort_all, "records": board.tell}


def prepare(order: Order, config: HeartbeatConfig, lateness: Lateness) -> dict[str, Callable[[], None]]:
    """Be the connecting end, at the word: then no other process is starting any more, and all have time to run."""
    applications: list[Any] = []
    services: list[HeartbeatClientService] = []
    board = Board(lateness, order.names)

    def connect() -> None:
        for name in order.names:
            start(name)

    def start(name: str) -> None:
        own = HeartbeatConfig(id=name, interval=config.interval)
        endpoint: Any = TCP4ClientEndpoint(reactor, order.host, PORT)
        if order.authority is not None:
            authority = Certificate.loadPEM(Path(order.authority).read_bytes())
            endpoint = wrapClientTLS(optionsForClientTLS(SERVER_NAME, authority), endpoint)
        listener = board.listeners[name]
        if order.data:
            connecting: Any = heartbeat_client(endpoint, own, listener).connect(Factory.forProtocol(Idle))
            connecting.addCallbacks(applications.append, log.err)
        else:
            services.append(HeartbeatClientService([endpoint], own, listener))
            services[-1].startService()

    def restart(service: HeartbeatClientService) -> None:
        service.stopService().addCallback(lambda _: service.startService())

    def again() -> None:
        for one in services:
            restart(one)

    def flood() -> None:
        for one in applications:
            one.transport.write(FLOOD)

    return {"connect": connect, "again": again, "flood": flood, "records": board.tell}


def main() -> None:
    """Be what the argument says."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a stopped process would outlive a killed parent
    members = json.loads(sys.argv[1])
    order = Order(**{**members, "names": tuple(members["names"])})
    log.startLogging(sys.stderr, setStdout=False)
    # A server that has no name is known by its address, and may be another one of a balancer's at any time.
    config = HeartbeatConfig(id="server" if order.role == "server" else None, interval=order.interval)
    lateness = Lateness()
    StandardIO(Words((serve if order.role == "server" else prepare)(order, config, lateness)))
    reactor.callWhenRunning(say, "ready")
    reactor.run()


if __name__ == "__main__":
    main()
