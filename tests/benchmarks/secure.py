"""CPU per beat over TLS 1.3, signed and not, and sealed without TLS, beside a bare TLS echo of Twisted's and beside
WebSockets over TLS.

The same closed loop as in :mod:`tests.benchmarks.beat`, slice by slice in turns, on connections that have shaken hands
(and proved their key) before; what was charged to each server, divided by the beats. Each answer's proof is checked.
Afterwards the counters of both ends must agree.
"""

from __future__ import annotations

import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import trustme

from tests.benchmarks import beat, comparisons
from tests.benchmarks.beat import Contestant, Size, compete
from tests.benchmarks.dialects import EchoConnection, HeartbeatPeer, WebSocketPinger
from tests.benchmarks.keyed import KEY, KeyedPeer, TlsSocket
from tests.benchmarks.load import Connection
from tests.benchmarks.process import Server, cores, descriptors, pinned
from tests.benchmarks.table import bar, ratio

__all__ = ["ECHO", "OURS", "PLAIN", "SEALED", "SIGNED", "SMALL", "TLS", "Report", "measure"]

ECHO: Final = "Twisted TLS echo"
TLS: Final = "heartbeat-server, TLS"
SIGNED: Final = "... signed"
PLAIN: Final = "heartbeat-server, plain"
SEALED: Final = "... sealed"
OURS: Final = (TLS, SIGNED, PLAIN, SEALED)

#: Short slices: there are six servers, and who has said nothing for 10 s is dead.
FULL: Final = Size(warm=5000, beats=2500, slices=20)
SMALL: Final = Size(connections=20, warm=200, beats=500, slices=2, rounds=1)

_ANY: Final = "tcp:0:interface=127.0.0.1"
_BAR: Final = 1.0
_SIGNED_BAR: Final = 1.25


class Report(beat.Report):
    """What came out."""

    def __str__(self) -> str:
        cost = self.cost
        lines = [
            self.table("CPU per beat over TLS 1.3, and with proof", ECHO),
            bar("ours / TLS echo", ratio(cost[TLS], cost[ECHO]), at_most=_BAR),
            bar("signed / TLS echo", ratio(cost[SIGNED], cost[ECHO]), at_most=_SIGNED_BAR),
            f"signed / unsigned over TLS: {ratio(cost[SIGNED], cost[TLS]):.2f}",
            f"sealed / plain: {ratio(cost[SEALED], cost[PLAIN]):.2f}",
            *self.notes,
            f"counters of each of ours agree in every round; those of the last: {self.agreed}",
        ]
        return "\n".join(lines)


def start(name: str, files: dict[str, str], core: int | None) -> Server:
    """Ours in one of its ways, or a comparison."""
    if name in comparisons.SECURE:
        script = str(Path(comparisons.__file__))
        return Server(("-P", script, name, files["certificate"], files["key"]), ("comparison",), core)
    listen: tuple[str, ...] = ("--listen", _ANY)
    if name in (TLS, SIGNED):
        listen = ("--listen-tls", _ANY, "--tls-cert", files["certificate"], "--tls-key", files["key"])
    proof = ("--shared-key", files["shared"]) if name in (SIGNED, SEALED) else ()
    arguments = ("-m", "twisted", "heartbeat-server", *listen, "--web", _ANY, "--min-interval", "0", *proof)
    return Server(arguments, ("heartbeat", "web"), core)


def connection(name: str, sock: Any, number: int) -> Connection:
    """A connection to that server."""
    known = {ECHO: EchoConnection, TLS: HeartbeatPeer, SIGNED: KeyedPeer, PLAIN: HeartbeatPeer, SEALED: KeyedPeer}
    dialect: Any = known.get(name, WebSocketPinger)
    made: Connection = dialect(sock if name in (PLAIN, SEALED) else TlsSocket(sock), number)
    return made


def measure(size: Size | None = None) -> Report:
    """All servers in turns, round by round."""
    size, report = size or FULL, Report()
    core, other = cores()
    if core is None:
        report.notes.append("note: one core only: server and load share it")
    names = []
    for name in comparisons.SECURE:
        if reason := comparisons.missing(name):
            report.skip(name, reason)
        else:
            names.append(name)
    names += OURS
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        pinned(other),
        descriptors(size.connections * len(names) + 100),
    ):
        files = _files(Path(folder))
        for _ in range(size.rounds):
            with ExitStack() as stack:
                contestants = [Contestant(name, stack.enter_context(start(name, files, core)), size) for name in names]
                for one in contestants:
                    one.connect(partial(connection, one.name), stack)
                compete(report, contestants, size)
    return report


def _files(folder: Path) -> dict[str, str]:
    """A certificate, its key, and a shared key."""
    issued = trustme.CA().issue_cert("localhost", "127.0.0.1")
    files = {name: folder / name for name in ("certificate", "key", "shared")}
    issued.cert_chain_pems[0].write_to_path(str(files["certificate"]))
    issued.private_key_pem.write_to_path(str(files["key"]))
    files["shared"].write_text(KEY.hex())
    files["shared"].chmod(0o600)
    return {name: str(path) for name, path in files.items()}


if __name__ == "__main__":
    print(measure(SMALL if "--small" in sys.argv else None))
