"""A reactor with many peers in virtual time: turns of timers and then sockets, as Twisted has them, and its stalls."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from heartbeat.liveness.attention import Attention
from heartbeat.liveness.events import Dead, Event
from heartbeat.liveness.evidence import Evidence, TcpInfo
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.need import Need
from heartbeat.liveness.states import FINAL
from tests.liveness.loops import START, TURN, D

__all__ = ["NEVER", "Remote", "World"]

NEVER: Final = float("inf")
FRAME: Final = 8
INTERVAL: Final = 0.5


@dataclass
class Remote:
    """A peer: when it beats, when it answers, when it dies, and what of it lies in our kernel.

    :ivar quiet: it only answers
    :ivar suspended: while we are stalled our host sleeps: what it sends is lost, and comes again after a while
    """

    judge: Liveness
    rtt: float = 0.02
    quiet: bool = False
    suspended: bool = False
    dies_at: float = NEVER
    next_beat: float = START
    again_at: float = START
    coming: list[float] = field(default_factory=list)
    received: int = 0
    read: int = 0
    log: list[Event] = field(default_factory=list)

    def send(self, at: float) -> None:
        """A frame of it that reaches our kernel at ``at``, or behind what was lost: TCP keeps the order."""
        if at < self.dies_at:
            self.coming.append(max(at, self.again_at))

    def arrive(self, now: float) -> None:
        """What has reached our kernel by now."""
        arrived = [at for at in self.coming if at <= now]
        self.coming = [at for at in self.coming if at > now]
        self.received += FRAME * len(arrived)

    @property
    def death(self) -> Dead | None:
        """The verdict, if there was one."""
        return next((event for event in self.log if isinstance(event, Dead)), None)


class World:
    """Runs the loop turn by turn.

    :param stalls: (when, how long): the loop cannot run
    :param starved: (from, until): the loop runs, but the first ``starving`` sockets are not read
    """

    def __init__(
        self,
        seed: int,
        attention: Callable[[float], Attention],
        stalls: list[tuple[float, float]],
        starved: list[tuple[float, float]],
        starving: int,
    ) -> None:
        self.now = START
        self.attention = attention(START)
        self.remotes: list[Remote] = []
        self._chance = random.Random(seed)
        self._stalls = sorted(stalls)
        self._starved = starved
        self._starving = starving

    def run(self, seconds: float) -> None:
        """Let it live for so long."""
        while self.now < START + seconds:
            meant = self.now + TURN
            self.attention.expect(meant)
            self.now = meant
            if self._stalls and self._stalls[0][0] <= meant:
                self.now += self._stalls.pop(0)[1]
            self.attention.looked(self.now)
            for remote in self.remotes:
                self._live(remote, meant)
            self._timers()
            self._sockets()

    def _live(self, remote: Remote, meant: float) -> None:
        """What the peer did until now."""
        while not remote.quiet and remote.next_beat <= self.now:
            if remote.suspended and self.now - meant > 1.0 and remote.next_beat > meant:
                remote.again_at = max(remote.again_at, self.now + self._chance.uniform(0.55, 0.75))
            remote.send(remote.next_beat)
            remote.next_beat += INTERVAL * self._chance.uniform(0.85, 1.15)
        remote.arrive(self.now)

    def _timers(self) -> None:
        judging = []
        for remote in self.remotes:
            judge = remote.judge
            at = judge.next_timer()
            if at is None or at > self.now:
                continue
            need = judge.handle_timer(self.now)
            if need & Need.ASK:
                self._ask(remote)
            if need & Need.JUDGE:
                judging.append(remote)
            elif need & Need.LOOK:
                judge.observe(self._look(remote), self.now)
        crowded = self.attention.crowded(len(judging), len(self.remotes))
        for remote in judging:
            if crowded and remote.judge.doubt(self.now) is Need.ASK:
                self._ask(remote)
            else:
                remote.judge.observe(self._look(remote), self.now)
        for remote in self.remotes:
            remote.log += remote.judge.events()

    def _ask(self, remote: Remote) -> None:
        remote.judge.asked(self.now)
        remote.judge.handed_over(self.now)
        remote.send(self.now + remote.rtt)

    def _look(self, remote: Remote) -> Evidence:
        tcp = TcpInfo(state=1, retransmits=0, probes=0, backoff=0, bytes_received=remote.received)
        return Evidence(self.now, unread=remote.received - remote.read, tcp=tcp)

    def _sockets(self) -> None:
        starves = any(begun <= self.now < ended for begun, ended in self._starved)
        for index, remote in enumerate(self.remotes):
            if remote.received > remote.read and not (starves and index < self._starving):
                remote.read = remote.received
                if remote.judge.state not in FINAL:
                    remote.judge.heard(self.now)

    def watch(self, judge: Callable[..., Liveness], **remote: bool | float) -> Remote:
        """One more peer, judged by a judge of that kind."""
        made = Remote(judge(D, self.attention, self.now, interval=INTERVAL), **remote)  # type: ignore[arg-type]  # keyword arguments of a test
        made.next_beat = START + self._chance.random() * INTERVAL
        self.remotes.append(made)
        return made
