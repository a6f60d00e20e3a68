"""CPU per signed beat over TLS, and per sealed beat without, beside a bare Twisted echo over TLS in the same run.

Closed loop, as in :mod:`tests.benchmarks.beat`: a server on a core of its own, peers with HELLO (and CONFIRM), a SYNC
among every ten beats. All servers live at the same time and have their turns, slice by slice.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.benchmarks import tlsecho
from tests.benchmarks.keyed import KEY, Echo, KeyedPeer, Peer, TlsSocket
from tests.benchmarks.load import Load
from tests.benchmarks.process import Server, cores, descriptors, pinned
from tests.benchmarks.table import Figures, bar, ratio, render

__all__ = ["ECHO", "PLAIN", "SEALED", "SIGNED", "SMALL", "TLS", "Report", "Size", "measure"]

ECHO: Final = "Twisted TLS echo"
TLS: Final = "heartbeat-server over TLS"
SIGNED: Final = "... signed"
PLAIN: Final = "heartbeat-server, plain"
SEALED: Final = "... sealed"
_SIGNED_BAR: Final = 1.25


@dataclass(frozen=True)
class Size:
    """How much is done; see :class:`tests.benchmarks.beat.Size`."""

    connections: int = 100
    warm: int = 5000
    beats: int = 5000
    slices: int = 10
    rounds: int = 5


SMALL: Final = Size(connections=10, warm=200, beats=500, slices=2, rounds=1)


@dataclass
class Report:
    """What came out.

    :ivar cost: µs of CPU per beat, by the name of the server
    """

    cost: dict[str, Figures] = field(default_factory=dict)

    def __str__(self) -> str:
        echo = self.cost[ECHO]
        rows = [(name, f"{one.median:.2f}", one.spread(), f"{ratio(one, echo):.2f}") for name, one in self.cost.items()]
        lines = [
            render("CPU per beat, with proof and without", ("server", "µs", "rounds", "× TLS echo"), rows),
            bar("signed / TLS echo", ratio(self.cost[SIGNED], echo), at_most=_SIGNED_BAR),
            f"signed / unsigned over TLS: {ratio(self.cost[SIGNED], self.cost[TLS]):.2f}",
            f"sealed / plain: {ratio(self.cost[SEALED], self.cost[PLAIN]):.2f}",
        ]
        return "\n".join(lines)


class Contestant:
    """One server and its load, measured slice by slice."""

    def __init__(self, name: str, files: dict[str, str], size: Size, core: int | None, stack: ExitStack) -> None:
        self.name = name
        self.size = size
        self.used = 0.0
        self.done = 0
        self.server = stack.enter_context(start(name, files, core))
        dialect: Any = {ECHO: Echo, SIGNED: KeyedPeer, SEALED: KeyedPeer}.get(name, Peer)
        secure = name in (ECHO, TLS, SIGNED)
        port = next(port for kind, port in self.server.ports.items() if kind != "web")
        self.load = stack.enter_context(
            Load(
                lambda sock, number: dialect(TlsSocket(sock) if secure else sock, number),
                port,
                size.connections,
            )
        )
        self.load.exchange(size.warm)

    def slice(self) -> None:
        """Its turn: what piled up since the last one is not in the figure."""
        self.load.exchange(self.size.beats // 10)
        cpu = self.server.cpu()
        self.done += self.load.exchange(self.size.beats)
        self.used += self.server.cpu() - cpu


def start(name: str, files: dict[str, str], core: int | None) -> Server:
    """Ours, or a comparison."""
    if name == ECHO:
        script = str(Path(tlsecho.__file__))
        return Server(("-P", script, files["certificate"], files["key"]), ("comparison",), core)
    listen = "tcp:0:interface=127.0.0.1"
    if name in (TLS, SIGNED):
        listen = f"ssl:0:interface=127.0.0.1:certKey={files['certificate']}:privateKey={files['key']}"
    proof = ("--shared-key", files["shared"]) if name in (SIGNED, SEALED) else ()
    arguments = ("--listen", listen, "--web", "tcp:0:interface=127.0.0.1", "--min-interval", "0", *proof)
    return Server(("-m", "twisted", "heartbeat-server", *arguments), ("heartbeat", "web"), core)


def certified(folder: Path) -> dict[str, str]:
    """A certificate, its key, and a shared key, in files."""
    import trustme

    issued = trustme.CA().issue_cert("localhost")
    files = {name: folder / name for name in ("certificate", "key", "shared")}
    issued.cert_chain_pems[0].write_to_path(files["certificate"])
    issued.private_key_pem.write_to_path(files["key"])
    files["shared"].write_text(KEY.hex())
    files["shared"].chmod(0o600)
    return {name: str(path) for name, path in files.items()}


def measure(size: Size | None = None) -> Report:
    """All servers in turns, round by round."""
    size, report = size or Size(), Report()
    core, other = cores()
    names = [ECHO, TLS, SIGNED, PLAIN, SEALED]
    with (
        tempfile.TemporaryDirectory(prefix="benchmark-") as folder,
        pinned(other),
        descriptors(size.connections * len(names) + 100),
    ):
        files = certified(Path(folder))
        for _ in range(size.rounds):
            with ExitStack() as stack:
                contestants = [Contestant(name, files, size, core, stack) for name in names]
                for _ in range(size.slices):
                    for one in contestants:
                        one.slice()
                for one in contestants:
                    figures = report.cost.setdefault(one.name, Figures(one.name))
                    figures.values.append(one.used / one.done * 1e6)
    return report


if __name__ == "__main__":
    began = time.monotonic()
    print(measure(SMALL if "--small" in sys.argv else Size()))
    print(f"took {time.monotonic() - began:.0f} s")
