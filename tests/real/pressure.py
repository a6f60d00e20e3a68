"""Bulk under pressure on a real connection: how long beats take meanwhile, and how much either end holds.

    python -m tests.real.pressure [--long] [--only offered|paused|slow]

Sender and receiver are processes of their own; both beat fifty times a second, and look a hundred times a second at
what they hold: the bytes in every buffer of the product, what the transport was given, and what the kernel has not
sent. Beside that ``tracemalloc`` says what all Python objects together have grown by, at their highest: that includes
the one read or write that is at work, the applications' own bookkeeping, and what the sampling itself needs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any, Final

from heartbeat import HeartbeatConfig, HeartbeatListener
from tests.real.processes import environment

__all__ = ["LONG", "SHORT", "Outcome", "Pressure", "run"]

HOST: Final = "127.0.0.1"
#: D is 1 s: a beat that waits is a peer that is found dead.
CONFIG: Final = HeartbeatConfig(interval=0.02, multiplier=50, min_interval=0.0)
CREDIT: Final = CONFIG.max_data
LOOKS: Final = 0.01
CHUNK: Final = bytes(64 * 1024)


@dataclass(frozen=True)
class Pressure:
    """What is done.

    :ivar name: of it
    :ivar size: bytes that are sent
    :ivar rate: bytes per second that the sender offers, 0: as fast as it may
    :ivar pause: seconds in which the receiving application takes nothing, from the first byte on
    :ivar reads: bytes per second that the receiving application takes, 0: all that comes
    """

    name: str
    size: int
    rate: int = 0
    pause: float = 0.0
    reads: int = 0


#: By name: what the requirement says, and the same shape in a few seconds.
LONG: Final = {
    "offered": Pressure("offered", 2_000_000_000, rate=200_000_000),
    "paused": Pressure("paused", 50_000_000, pause=30.0),
    "slow": Pressure("slow", 50_000_000, reads=100_000),
}
SHORT: Final = {
    "offered": replace(LONG["offered"], size=400_000_000),
    "paused": replace(LONG["paused"], pause=2.0),
    "slow": replace(LONG["slow"], size=5_000_000, reads=2_000_000),
}


@dataclass(frozen=True)
class Outcome:
    """How it went.

    :ivar seconds: from the first write until the receiver had all of it
    :ivar rtts: round trips of both ends, seconds
    :ivar dead: what was said of a peer that was given up, at either end
    :ivar sender: most bytes that the sender's end held at one time: waiting, in the transport, unsent by the kernel
    :ivar ahead: the last two of these: what a beat may have to wait behind
    :ivar receiver: most bytes that the receiver's end held for its application
    :ivar grown: by how much all Python objects of the sender and of the receiver had grown, at most
    """

    seconds: float
    rtts: list[float]
    dead: list[str]
    sender: int
    ahead: int
    receiver: int
    grown: tuple[int, int]

    def percentile(self, share: float) -> float:
        """Of the round trips, in milliseconds."""
        ordered = sorted(self.rtts)
        return 1000.0 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def __str__(self) -> str:
        return (
            f"{self.seconds:.1f} s, {len(self.rtts)} round trips: median {self.percentile(0.5):.2f} ms, "
            f"p99 {self.percentile(0.99):.2f} ms, longest {self.percentile(1.0):.2f} ms; dead: {self.dead or 'none'}; "
            f"sender held {self.sender} bytes, {self.ahead} of them ahead of a beat, receiver {self.receiver} "
            f"(credit {CREDIT}); Python objects grew by {self.grown[0]} and {self.grown[1]} bytes"
        )


def run(pressure: Pressure) -> Outcome:
    """Both ends, until all has arrived. Raises RuntimeError when an end fails."""
    told = json.dumps(pressure.__dict__)
    ends = []
    try:
        ends.append(_start("receive", told, "0"))
        assert ends[0].stdout is not None
        port = ends[0].stdout.readline().strip()
        ends.append(_start("send", told, port))
        wait = 60.0 + 2.0 * (pressure.pause + pressure.size / (pressure.reads or pressure.rate or 20_000_000))
        receiver, sender = (_last(one, wait) for one in ends)
    finally:
        for one in ends:
            one.kill()
            one.wait()
            for stream in (one.stdout, one.stderr):
                if stream is not None:
                    stream.close()
    return Outcome(
        receiver["seconds"], sender["rtts"] + receiver["rtts"], sender["dead"] + receiver["dead"],
        sender["held"], sender["ahead"], receiver["held"], (sender["grown"], receiver["grown"]),
    )  # fmt: skip


def _start(role: str, told: str, port: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.real.pressure", role, told, port],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(with_tests=True),
    )  # fmt: skip


def _last(end: subprocess.Popen[str], wait: float) -> dict[str, Any]:
    """The last line that an end says."""
    out, error = end.communicate(timeout=wait)
    if end.returncode != 0 or not out:
        raise RuntimeError(f"an end failed: {error}")
    account: dict[str, Any] = json.loads(out.splitlines()[-1])
    return account


class Watcher(HeartbeatListener):
    """Remembers what one end saw, and looks at what it holds."""

    def __init__(self) -> None:
        self.rtts: list[float] = []
        self.dead: list[str] = []
        self.held = self.ahead = 0

    def round_trip(self, peer: object, seconds: float) -> None:
        """A beat."""
        self.rtts.append(seconds)

    def gone(self, peer: Any, event: Any) -> None:
        """Nobody should be, but in peace."""
        if peer.state.value != "left":
            self.dead.append(repr(event))

    def look(self, driver: Any) -> None:
        """How much is held now."""
        stream, raw = driver.session.stream, driver.link.transport
        if stream is None:
            return
        in_transport = len(raw.dataBuffer) - raw.offset + raw._tempDataLen  # Twisted's own account, to the byte
        ahead = in_transport + (driver.link.unsent() or 0)
        inbox = sum(map(len, stream.inbox)) + driver.session.pending
        self.ahead = max(self.ahead, ahead)
        self.held = max(self.held, stream.queued + ahead, inbox)

    def account(self, began: float) -> None:
        """Say it."""
        seconds = monotonic() - began
        grown = tracemalloc.get_traced_memory()[1]
        told = {"rtts": self.rtts, "dead": self.dead, "held": self.held, "ahead": self.ahead}
        print(json.dumps({**told, "grown": grown, "seconds": seconds}), flush=True)


def _end(role: str, pressure: Pressure, port: int) -> None:
    """One end, in its process."""
    from twisted.internet import reactor as installed
    from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
    from twisted.internet.protocol import Factory

    from heartbeat.net import heartbeat_client, heartbeat_server
    from tests.real.pressured import Receiver, Sender

    reactor: Any = installed
    watcher = Watcher()
    factory: Any = Factory()
    factory.noisy = False
    if role == "receive":
        factory.buildProtocol = lambda address: Receiver(reactor, pressure, watcher)
        server = heartbeat_server(TCP4ServerEndpoint(reactor, port, interface=HOST), CONFIG, watcher)
        server.listen(factory).addCallback(lambda listening: print(listening.getHost().port, flush=True))
    else:
        factory.buildProtocol = lambda address: Sender(reactor, pressure, watcher)
        heartbeat_client(TCP4ClientEndpoint(reactor, HOST, port), CONFIG, watcher).connect(factory)
    reactor.run()


def main(arguments: Sequence[str]) -> int:
    """Run what is named, or all of it."""
    if arguments[:1] in (["receive"], ["send"]):
        _end(arguments[0], Pressure(**json.loads(arguments[1])), int(arguments[2]))
        return 0
    parser = argparse.ArgumentParser(prog="python -m tests.real.pressure", description=__doc__)
    parser.add_argument("--only", metavar="NAME", choices=LONG, help=", ".join(LONG))
    parser.add_argument("--long", action="store_true", help="sizes and times of the requirement; about ten minutes")
    options = parser.parse_args(arguments)
    for name in [options.only] if options.only else LONG:
        print(f"{name}: {run((LONG if options.long else SHORT)[name])}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
