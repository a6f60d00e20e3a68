"""CPU per beat over TLS 1.3, beside a bare TLS echo of Twisted's and beside WebSockets over TLS.

The same closed loop as in :mod:`tests.benchmarks.beat`, slice by slice in turns, on connections that have shaken hands
before; what was charged to each server, divided by the beats. Afterwards the counters of both ends must agree.
"""

from __future__ import annotations

import ssl
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import trustme

from tests.benchmarks import comparisons
from tests.benchmarks.beat import SMALL, Size, agree
from tests.benchmarks.dialects import EchoConnection, HeartbeatPeer, WebSocketPinger
from tests.benchmarks.load import Connection, Load
from tests.benchmarks.process import Server, cores, descriptors, pinned
from tests.benchmarks.scrape import Scraper
from tests.benchmarks.table import Figures, bar, ratio, render

__all__ = ["OURS", "SMALL", "Report", "measure"]

OURS: Final = "heartbeat-server, TLS"
ECHO: Final = "Twisted TLS echo"
_ANY: Final = "tcp:0:interface=127.0.0.1"
_BAR: Final = 1.0
#: What a read gives that brought no data of the application: a ticket, or a record that is not whole.
_NOTHING: Final = b"\0"


def over_tls(dialect: type[Connection], context: ssl.SSLContext) -> Callable[..., Connection]:
    """The same dialect on a socket that has shaken hands."""

    class Secure(dialect):  # type: ignore[valid-type,misc]  # a class made for this context
        __slots__ = ()

        def other(self, data: bytes) -> bool:
            """Not the expected answer, and maybe nothing at all."""
            return False if data is _NOTHING else bool(super().other(data))

    def connect(sock: Any, number: int) -> Connection:
        wrapped = context.wrap_socket(sock, server_hostname="localhost")
        made: Connection = Secure(wrapped, number)

        def recv(most: int) -> bytes:
            try:
                return bytes(wrapped.recv(most))
            except ssl.SSLWantReadError:
                return _NOTHING

        made.recv = recv
        return made

    return connect


class Report:
    """What came out.

    :ivar cost: µs of CPU per beat, by the name of the server
    :ivar agreed: what both ends counted alike, in the last round
    """

    def __init__(self) -> None:
        self.cost: dict[str, Figures] = {}
        self.busy: dict[str, Figures] = {}
        self.agreed = ""

    def add(self, name: str, cost: float, busy: float) -> None:
        """One round of one server."""
        for figures, value in ((self.cost, cost), (self.busy, busy)):
            figures.setdefault(name, Figures(name)).values.append(value)

    def __str__(self) -> str:
        echo = self.cost[ECHO]
        rows: list[tuple[str, ...]] = []
        for name, one in self.cost.items():
            if one.skipped:
                rows.append((name, f"left out: {one.skipped}"))
                continue
            busy = self.busy[name].median
            rows.append((name, f"{one.median:.2f}", one.spread(), f"{ratio(one, echo):.2f}", f"{busy:.0%}"))
        table = render("CPU per beat over TLS 1.3", ("server", "µs", "rounds", "× echo", "core used"), rows)
        kept = bar("ours / TLS echo", ratio(self.cost[OURS], echo), at_most=_BAR)
        return "\n".join([table, kept, f"counters agree in every round; in the last: {self.agreed}"])


class _Contestant:
    """One server and its load."""

    def __init__(self, name: str, size: Size, core: int | None, files: tuple[str, str, str], stack: ExitStack) -> None:
        certificate, key, authority = files
        self.name, self.size = name, size
        self.used = self.passed = 0.0
        self.done = 0
        if name == OURS:
            tls = ("--listen-tls", _ANY, "--tls-cert", certificate, "--tls-key", key)
            arguments = ("-m", "twisted", "heartbeat-server", *tls, "--web", _ANY, "--min-interval", "0")
            self.server = stack.enter_context(Server(arguments, ("heartbeat", "web"), core))
        else:
            arguments = ("-P", str(Path(comparisons.__file__)), name, certificate, key)
            self.server = stack.enter_context(Server(arguments, ("comparison",), core))
        dialect = {OURS: HeartbeatPeer, ECHO: EchoConnection}.get(name, WebSocketPinger)
        context = ssl.create_default_context(cafile=authority)
        port = self.server.ports["heartbeat" if name == OURS else "comparison"]
        self.load = stack.enter_context(Load(over_tls(dialect, context), port, size.connections))
        self.load.exchange(size.warm)

    def slice(self) -> None:
        """Its turn: what piled up since the last one is not in the figure."""
        self.load.exchange(self.size.beats // 10)
        cpu, clock = self.server.cpu(), time.monotonic()
        self.done += self.load.exchange(self.size.beats)
        self.used += self.server.cpu() - cpu
        self.passed += time.monotonic() - clock


def measure(size: Size | None = None) -> Report:
    """All servers in turns, round by round."""
    size, report = size or Size(), Report()
    core, other = cores()
    names = [OURS]
    for name in comparisons.SECURE:
        if reason := comparisons.missing(name):
            report.cost[name] = Figures(name, skipped=reason)
        else:
            names.append(name)
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        files = _files(Path(folder))
        with pinned(other), descriptors(size.connections * len(names) + 100):
            for _ in range(size.rounds):
                _round(report, size, core, names, files)
    return report


def _round(report: Report, size: Size, core: int | None, names: list[str], files: tuple[str, str, str]) -> None:
    with ExitStack() as stack:
        contestants = [_Contestant(name, size, core, files, stack) for name in names]
        ours = contestants[0]
        with Scraper(ours.server.ports["web"]) as scraper:
            for _ in range(size.slices):
                for one in contestants:
                    one.slice()
        for one in contestants:
            report.add(one.name, one.used / one.done * 1e6, one.used / one.passed)
        ours.load.settle()
        report.agreed = agree(ours.load, scraper, ours.server.ports["web"])


def _files(folder: Path) -> tuple[str, str, str]:
    """A certificate, its key, and its authority."""
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    names = ("tls.crt", "tls.key", "ca.crt")
    parts = (issued.cert_chain_pems[0], issued.private_key_pem, authority.cert_pem)
    for name, part in zip(names, parts, strict=True):
        part.write_to_path(str(folder / name))
    return str(folder / names[0]), str(folder / names[1]), str(folder / names[2])


if __name__ == "__main__":
    print(measure(SMALL if "--small" in sys.argv else Size()))
