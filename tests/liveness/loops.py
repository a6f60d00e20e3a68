"""An event loop in virtual time for one judge: it sleeps, it stalls, it asks, and nothing else happens by itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.attention import Attention
from heartbeat.liveness.beats import Beats
from heartbeat.liveness.events import Dead, Event
from heartbeat.liveness.evidence import Evidence, TcpInfo
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.need import Need
from heartbeat.liveness.states import FINAL

__all__ = [
    "CAP",
    "HALF",
    "INTERVAL",
    "START",
    "TURN",
    "D",
    "Loop",
    "T",
    "TimedTestCase",
    "counted",
    "died_after",
    "uncounted",
    "watched",
]

#: A machine that has been up for two months: floats have lost some of their digits.
START = 5_000_000.0
#: A turn of the loop: what the wheel waits at least before it serves the same judge again.
TURN = 0.02

#: The usual terms: I, D, half time, T, and what a stall counts for at most.
INTERVAL = 0.5
D = 1.5
HALF = 1.0
T = 1.0
CAP = D / 8


class TimedTestCase(SynchronousTestCase):
    """Compares times."""

    def assert_near(self, seconds: float, wanted: float, within: float = 1e-4) -> None:
        """``seconds`` is as long as wanted, give or take. (Trial's ``assertAlmostEqual`` ignores a ``delta``.)"""
        if not abs(seconds - wanted) <= within:
            self.fail(f"{seconds} is not within {within} of {wanted}")


def counted(now: float, unread: int, received: int) -> Evidence:
    """What a Link says whose kernel counts bytes: so many lie unread, so many came in all."""
    tcp = TcpInfo(state=1, retransmits=0, probes=0, backoff=0, bytes_received=received)
    return Evidence(now, unread=unread, tcp=tcp)


def uncounted(now: float, unread: int) -> Evidence:
    """What a Link says that knows of unread input and of no counter."""
    return Evidence(now, unread=unread)


class Loop:
    """Drives one judge as a shell does.

    :ivar now: the time
    :ivar kernel: whether the kernel takes what is written at once; else :meth:`drain` says when
    :ivar crowd: whether so many others are due with this judge that the crowd rule is asked
    :ivar unread: bytes that each look finds unread
    :ivar received: bytes that the kernel has counted, None if it does not count
    :ivar handed_over: how the link knows that the kernel has a question
    :ivar asked: when questions were put
    :ivar log: all events so far
    """

    def __init__(self, now: float = START) -> None:
        self.now = now
        self.attention = Attention(now)
        self.judge: Liveness | Beats = Liveness(1.0, self.attention, now)
        self.kernel = True
        self.crowd = False
        self.unread = 0
        self.received: int | None = None
        self.handed_over: Literal["exact", "guess"] = "exact"
        self.asked: list[float] = []
        self.judged: list[float] = []
        self.served = -1.0
        self.log: list[Event] = []

    def sleep(self, seconds: float) -> None:
        """Listen for so long, waking whenever the judge wants to."""
        end = self.now + seconds
        while self.judge.state not in FINAL:
            at = self.judge.next_timer()
            if at is None or at > end:
                break
            if at <= self.now:  # not twice in one turn, as in the wheel
                at = self.now + TURN if self.served == self.now else self.now
            self._wake(at)
        if self.now < end:
            self.attention.expect(end)
            self.now = end
            self.attention.looked(end)

    def stall(self, seconds: float) -> None:
        """Be unable to run for so long, then do what is due: the timers first."""
        self.attention.expect(self.now)
        self.now += seconds
        self.attention.looked(self.now)
        at = self.judge.next_timer()
        if at is not None and at <= self.now:
            self._serve()

    def _wake(self, at: float) -> None:
        self.attention.expect(at)
        self.now = at
        self.attention.looked(at)
        self._serve()

    def _serve(self) -> None:
        judge, now = self.judge, self.now
        self.served = now
        need = judge.handle_timer(now)
        after = judge.next_timer()
        assert after is None or after > now or need & Need.LOOK, "a judge that wants to wake now wants to wake for ever"
        if need & Need.ASK:
            self.ask()
        if need & Need.JUDGE:
            self.judged.append(now)
            if self.crowd and judge.doubt(now) is Need.ASK:
                self.ask()
            else:
                judge.observe(self.look(), now)
        elif need & Need.LOOK:
            judge.observe(self.look(), now)
        self.log += judge.events()

    def look(self) -> Evidence:
        """The evidence as it is now."""
        seen = (
            uncounted(self.now, self.unread) if self.received is None else counted(self.now, self.unread, self.received)
        )
        return replace(seen, handed_over=self.handed_over)

    def ask(self) -> None:
        """Put a question."""
        self.asked.append(self.now)
        self.judge.asked(self.now)
        if self.kernel:
            self.judge.handed_over(self.now)

    def drain(self) -> None:
        """The kernel takes what was written."""
        self.judge.handed_over(self.now)

    def heard(self) -> None:
        """A sign of life that is no answer."""
        self.judge.heard(self.now)
        self.log += self.judge.events()

    def events(self, kind: type[Event]) -> list[Event]:
        """The events of one kind so far."""
        self.log += self.judge.events()
        return [event for event in self.log if type(event) is kind]


def watched(**settings: object) -> tuple[Loop, Liveness]:
    """A loop with one judge on the usual terms."""
    loop = Loop()
    loop.judge = judge = Liveness(D, loop.attention, loop.now, **{"interval": INTERVAL, **settings})  # type: ignore[arg-type]  # keyword arguments of a test
    return loop, judge


def died_after(loop: Loop, most: float = 60.0) -> float:
    """Seconds from now until the verdict."""
    begun = loop.now
    loop.sleep(most)
    (dead,) = loop.events(Dead)
    return dead.at - begun
