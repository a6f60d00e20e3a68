"""140 connections under random stalls that cover half of the time: ``python -m tests.real.stalls.soak [--long]``.

Five minutes (``--long``: an hour) of stalls of every kind and of 0.3 to 4 s; one connection in seven is TLS, and the
peers answer in 20 to 300 ms. Beside our judge, on the same connections, a plain timer: a question each second and a
``callLater`` of the same timeout that the answer cancels. At the end ten peers are stopped. Prints the figures, and
as last line the same as JSON; exit code 1 when one of our peers was ended wrongly or a stopped one not found in time.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from tests.real.stalls.blocking import KINDS, Stalls, TwistedLoop
from tests.real.stalls.cell import MARGIN, OWNERS, started
from tests.real.stalls.children import REACTORS, Peers

__all__ = ["main", "measure"]

PLAIN: Final = 110
STOPPED: Final = 10
TLS: Final = 20
#: Times a second: three seconds of detection, two of them for the answer.
_MULTIPLIER: Final = 3
_TIMEOUT: Final = 2.0
_STALLS: Final = (0.3, 4.0)
#: In so many slices of a second each connection is asked once, so that a stall meets some in flight at any time.
_SLICES: Final = 20
_ANSWERS: Final = ("--least", "0.02", "--most", "0.3", "--multiplier", str(_MULTIPLIER))


class Shadow:
    """A plain timer per question, as applications write it, on the connections that our judge watches.

    :ivar false: timers that fired although the answer came
    :ivar read: every round trip of these questions as it was read
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.asked = 0
        self.false = 0
        self.read: list[float] = []

    def ask(self, heartbeat: Any) -> None:
        """One question with its timer."""
        fired: list[float] = []
        timer = self._reactor.callLater(_TIMEOUT, fired.append, 0.0)
        self.asked += 1

        def answered(seconds: float) -> None:
            self.read.append(seconds)
            self.false += bool(fired)

        def settle(result: object) -> None:
            if timer.active():
                timer.cancel()

        heartbeat.ping().addCallbacks(answered, lambda _: None).addBoth(settle)


def percentile(values: Sequence[float], share: float) -> float:
    """Of sorted values."""
    return round(values[min(len(values) - 1, int(share * len(values)))], 3) if values else 0.0


def keep_samples() -> list[float]:
    """The round trips that our judges learn from, from now on; all of them, which nothing of the package keeps."""
    from heartbeat.liveness.rtt import RoundTrips

    kept: list[float] = []
    ordinary = RoundTrips.sample

    def sample(self: RoundTrips, seconds: float, provisional: bool = False) -> None:
        if not provisional:
            kept.append(seconds)
        ordinary(self, seconds, provisional)

    RoundTrips.sample = sample  # type: ignore[method-assign]  # in this process only
    return kept


def stall_until(end: float, stalls: Stalls, draw: random.Random) -> tuple[Counter[str], float]:
    """Stalls and as long times without, each length by chance; returns how many of each kind, and their seconds."""
    made: Counter[str] = Counter()
    stalled = 0.0
    kinds: list[str] = []
    while time.monotonic() < end:
        if not kinds:  # each kind as often as the others
            kinds = draw.sample(KINDS, len(KINDS))
        kind, seconds = kinds.pop(), draw.uniform(*_STALLS)
        stalls.make(kind, seconds)
        made[kind] += 1
        stalled += seconds
        time.sleep(draw.uniform(*_STALLS))
    return made, stalled


def measure(name: str, owner: str, seconds: float, seed: int) -> dict[str, Any]:
    """Run it; returns the figures."""
    reactor = started(name, owner)
    from twisted.internet.task import LoopingCall

    from tests.real.stalls.watching import INTERVAL, Watch, control, listen

    kept = keep_samples()
    watch, shadow = Watch(reactor, _MULTIPLIER), Shadow(reactor)
    ports = [listen(reactor, watch.factory, tls=tls) for tls in (False, True)]
    result: dict[str, Any] = {
        "reactor": name,
        "owner": owner,
        "seed": seed,
        "connections": PLAIN + STOPPED + TLS,
        "tls": TLS,
    }

    slices = itertools.cycle(range(_SLICES))

    def ask(first: int = 0, step: int = 1) -> None:
        for heartbeat in watch.open()[first::step]:
            shadow.ask(heartbeat)

    asking = LoopingCall(lambda: ask(next(slices), _SLICES))

    def script() -> None:
        stalls = Stalls(TwistedLoop(reactor), ask)
        plain = Peers("heartbeat", ports[0], PLAIN, "--name", "plain", "--seed", str(seed), *_ANSWERS)
        stopped = Peers("heartbeat", ports[0], STOPPED, "--name", "stopped", *_ANSWERS)
        secure = Peers("heartbeat", ports[1], TLS, "--name", "tls", "--tls", *_ANSWERS)
        try:
            reactor.callFromThread(asking.start, INTERVAL / _SLICES)
            time.sleep(1.5)
            assert len(watch.peers) == result["connections"], f"{len(watch.peers)} joined"
            begun = time.monotonic()
            made, stalled = stall_until(begun + seconds, stalls, random.Random(seed))
            result.update(seconds=round(time.monotonic() - begun, 1), stalls=dict(made), stalled=round(stalled, 1))
            time.sleep(_MULTIPLIER * INTERVAL + 0.5)
            read, learned = sorted(shadow.read), sorted(kept)
            late = sum(one > _TIMEOUT for one in read)
            result.update(questions=shadow.asked, read_late=late, naive_false=shadow.false)
            result.update(false=len(watch.dead) + len(watch.left), spared=watch.spared)
            result.update(rtt_p99_read=percentile(read, 0.99), rtt_p99_kept=percentile(learned, 0.99))
            result.update(rtt_read=len(read), rtt_kept=len(learned), rtt_kept_longest=percentile(learned, 1.0))
            result.update(watch.judge_stopped(stopped, "stopped", STOPPED, _MULTIPLIER * INTERVAL + MARGIN))
            reactor.callFromThread(asking.stop)
            result.update(open=plain.report() + secure.report())
        finally:
            for one in (plain, stopped, secure):
                one.kill()

    control(reactor, script)
    return result


def shown(result: dict[str, Any]) -> str:
    """For people."""
    made = ", ".join(f"{kind} {count}" for kind, count in sorted(result["stalls"].items()))
    return (
        f"{result['seconds']} s on {result['reactor']}, stalled for {result['stalled']} s of them ({made})\n"
        f"{result['connections']} connections, {result['tls']} of them TLS: {result['false']} false deaths of ours, "
        f"{result['naive_false']} of a plain timer\n"
        f"{result['questions']} questions with such a timer, {result['read_late']} answers read after more than "
        f"{_TIMEOUT:g} s; {result['spared']} spared by us\n"
        f"round trips, 99th percentile: {result['rtt_p99_read']} s as read, {result['rtt_p99_kept']} s as kept "
        f"(the peers take 0.02 to 0.3 s); {result['rtt_kept']} kept\n"
        f"then {result['found']} of {STOPPED} stopped peers found, {result['late']} late, the last after "
        f"{result['slowest']} s of {_MULTIPLIER} s; {result['open']} of {PLAIN + TLS} others still connected"
    )


def main() -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true", help="an hour")
    parser.add_argument("--seconds", type=float, default=None)
    parser.add_argument("--reactor", choices=REACTORS, default="epoll")
    parser.add_argument("--owner", choices=OWNERS, default="foreign", help="ours: reactor.seconds is monotonic")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    seconds = options.seconds or (3600.0 if options.long else 300.0)
    result = measure(options.reactor, options.owner, seconds, options.seed)
    print(shown(result))
    print(json.dumps(result), flush=True)
    kept = result["open"] == PLAIN + TLS
    return 0 if result["false"] == 0 and result["found"] == STOPPED and not result["late"] and kept else 1


if __name__ == "__main__":
    sys.exit(main())
