"""Certificates that are renewed under load: ``python -m tests.real.renewal`` does it with 500 connections."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import Final

from tests.net.tls.cases import LONG_AGO
from tests.real.cases import QUIET
from tests.real.processes import Server, poll
from tests.real.rawpeer import RawPeer
from tests.real.secured import Files, secure, serial_of

__all__ = ["Outcome", "renew_under_load"]

_ANY: Final = "tcp:0:interface=127.0.0.1"


@dataclass
class Outcome:
    """What came of it.

    :ivar opened: connections, all in all
    :ivar lost: of these, those that did not answer a PING at the end, or could not be made
    :ivar wrong: new ones that were shown another certificate than the one in force
    :ivar serials: how many certificates were seen
    :ivar metrics: what the server counted: renewed, refused
    """

    opened: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    serials: set[int] = field(default_factory=set)
    metrics: tuple[float, float] = (0.0, 0.0)


class _Arrivals(threading.Thread):
    """New connections all the time, one after the other, until it is told to stop."""

    def __init__(self, port: int, files: Files, outcome: Outcome) -> None:
        super().__init__(daemon=True)
        self._port, self._files, self._outcome = port, files, outcome
        self._context = files.context()
        self.peers: list[tuple[RawPeer, int, float]] = []
        self.running = True

    def one(self) -> None:
        """One more: shaken hands, and greeted."""
        begun = time.monotonic()
        try:
            peer = secure(self._port, self._context)
            peer.greet(id=f"r{len(self.peers)}", **QUIET)
        except (OSError, AssertionError) as error:
            self._outcome.lost.append(f"could not be made: {error!r}")
            return
        self.peers.append((peer, serial_of(peer), begun))

    def run(self) -> None:
        """Until it is told."""
        while self.running:
            self.one()
            time.sleep(0.01)


def renew_under_load(connections: int, renewals: int) -> Outcome:
    """Open connections, replace the certificate so often while new ones arrive, refuse one that has expired."""
    outcome = Outcome()
    with Files() as files, contextlib.ExitStack() as stack:
        certificate, key = files.issue("s", "localhost")
        server = Server("--listen-tls", _ANY, "--tls-cert", certificate, "--tls-key", key, "--min-interval", "0")
        stack.callback(server.kill)
        port = int(server.find(r"^listening heartbeat tls 127\.0\.0\.1:(\d+)$")[1])
        arrivals = _Arrivals(port, files, outcome)
        for _ in range(connections):
            arrivals.one()
        arrivals.start()
        in_force = [(0.0, files.serial("s"))]
        for number in range(1, renewals + 1):
            files.issue("s", "localhost")
            server.signal(signal.SIGHUP)
            _counted(server, "ok", number)
            in_force.append((time.monotonic(), files.serial("s")))
            time.sleep(0.1)
        _refuse_expired(server, files)
        time.sleep(0.2)
        arrivals.running = False
        arrivals.join(30.0)
        _judge(outcome, arrivals, in_force)
        outcome.metrics = tuple(  # type: ignore[assignment]  # two of them
            server.metric("heartbeat_certificate_reloads_total", outcome=one) for one in ("ok", "error")
        )
        for peer, _, _ in arrivals.peers:
            peer.close()
    return outcome


def _counted(server: Server, outcome: str, number: int) -> None:
    def reached() -> bool:
        return server.metric("heartbeat_certificate_reloads_total", outcome=outcome) == number

    poll(reached, 10.0, f"certificate {number} ({outcome})")


def _refuse_expired(server: Server, files: Files) -> None:
    files.issue("s", "localhost", valid=LONG_AGO)
    for _ in range(2):
        server.signal(signal.SIGHUP)
    server.find("certificate not renewed, the old one stays: .*has expired")
    _counted(server, "error", 1)


def _judge(outcome: Outcome, arrivals: _Arrivals, in_force: list[tuple[float, int]]) -> None:
    """Each is open still, and was shown what was in force when it came."""
    outcome.opened = len(arrivals.peers)
    for number, (peer, serial, begun) in enumerate(arrivals.peers):
        newest = [one for at, one in in_force if at <= begun][-1]
        allowed = {newest, *(one for at, one in in_force if at > begun)}  # a renewal may come while it shakes hands
        if serial not in allowed:
            outcome.wrong.append(f"connection {number}")
        outcome.serials.add(serial)
        try:
            peer.ping(seq=7)
        except AssertionError as error:
            outcome.lost.append(f"connection {number}: {error!r}")


if __name__ == "__main__":
    result = renew_under_load(500, 10)
    print(result)
    sys.exit(bool(result.lost or result.wrong or result.metrics != (10.0, 1.0)))
