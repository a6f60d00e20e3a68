"""A heartbeat over a framing that is not ours: numbers on lines, and a peer that only gives them back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.protocol import ClientFactory, Factory, Protocol, connectionDone

from heartbeat import Dead, State
from heartbeat.liveness.beats import Beats
from heartbeat.net.link import link_for
from heartbeat.net.pulse import Pulse
from heartbeat.net.wheel import wheel_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.python.failure import Failure

    from heartbeat.testing import SimulatedNetwork

__all__ = ["Echo", "Judge", "JudgeFactory", "echo_factory"]


class Echo(Protocol):
    """The peer: it knows nothing of heartbeats, and never speaks first."""

    def dataReceived(self, data: bytes) -> None:
        """Back with it."""
        assert self.transport is not None
        self.transport.write(data)


class Judge(Protocol):
    """A Beats on a Pulse.

    :ivar after_input: called once, in the next callback that brings input
    :ivar after_write: called once, when the next question was written
    :ivar verdict: when it fell, in the time of the network, and how; None while the peer lives
    """

    def __init__(self, reactor: Any, net: SimulatedNetwork, interval: float, detect: float) -> None:
        self._reactor = reactor
        self._net = net
        self._times = interval, detect
        self._line = b""
        self.after_input: Callable[[], object] | None = None
        self.after_write: Callable[[], object] | None = None
        self.verdict: tuple[float, Dead] | None = None

    def connectionMade(self) -> None:
        """Begin to watch."""
        interval, detect = self._times
        wheel = wheel_for(self._reactor)
        now = wheel.seconds()
        self.wheel = wheel
        self.link = link_for(self.transport, wheel.turns, self)
        self.beats = Beats(detect, wheel.attention, now, interval=interval, draw=wheel.clocks.draw)
        self.pulse = Pulse(wheel, self.beats, self.link, self._ask, self._decided)
        self.pulse.start()

    def dataReceived(self, data: bytes) -> None:
        """Answers."""
        now = self.wheel.seconds()
        arrived = self.link.arrived_at(now) if now > self.wheel.attention.fresh_until else None
        *lines, self._line = (self._line + data).split(b"\n")
        for line in lines:
            self.beats.answered(int(line), now, arrived)
        self.pulse.attend(now)
        if self.after_input is not None:
            call, self.after_input = self.after_input, None
            call()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone."""
        now = self.wheel.seconds()
        self.beats.ended(self.link.ending(reason, now), now)
        self.pulse.attend(now)
        self.pulse.stop()

    def pause(self) -> None:
        """The application reads nothing for a while."""
        now = self.wheel.seconds()
        self.link.pause()
        self.beats.deaf(now)
        self.pulse.attend(now)

    def resume(self) -> None:
        """It reads again."""
        now = self.wheel.seconds()
        self.link.resume()
        self.beats.hearing(now)
        self.pulse.attend(now)

    def _ask(self, now: float) -> bool:
        self.link.write(b"%d\n" % self.beats.number)
        if self.after_write is not None:
            call, self.after_write = self.after_write, None
            call()
        return True

    def _decided(self) -> None:
        if self.beats.state is State.DEAD:
            now = self.wheel.seconds()
            silent = now - self.beats.liveness.heard_at
            self.verdict = self._net.now, Dead(now, self.beats.cause or "", silent, self.beats.evidence)
        self.link.abort()


class JudgeFactory(ClientFactory[Judge]):
    """Makes the one judge."""

    noisy = False

    def __init__(self, judge: Judge) -> None:
        self._judge = judge

    def buildProtocol(self, addr: Any) -> Judge:
        """It."""
        return self._judge


def echo_factory() -> Factory[Echo]:
    """For the peer's listener."""
    factory = Factory.forProtocol(Echo)
    factory.noisy = False
    return factory
