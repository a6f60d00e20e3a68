"""One connection that is only watched: its judges, the view that others get of the peer, and what follows a verdict.

Theory of operation. The user's protocol sits on Twisted's own transport, with nothing in between but a protocol that
passes everything on (:mod:`.observed`). What is judged is read from the kernel by a :class:`.PathPulse`; the silence of
the peer's application, where that is limited, and the handshake of TLS are judged by a :class:`.SilencePulse`. A
verdict ends the connection, or, in shadow mode, is only told.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import error
from twisted.internet.interfaces import ISSLTransport
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure

from heartbeat.liveness.beats import Beats
from heartbeat.liveness.causes import name_silence
from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.liveness import Liveness
from heartbeat.liveness.signs import asked_in_vain
from heartbeat.liveness.states import FINAL, State
from heartbeat.net.address import kind_of
from heartbeat.net.conforming import Conforming
from heartbeat.net.heartbeat import Heartbeat
from heartbeat.net.limits import is_probing
from heartbeat.net.link import GONE
from heartbeat.net.listening import call
from heartbeat.net.observed_link import ObservedLink, sits
from heartbeat.net.observed_peer import ObservedPeer
from heartbeat.net.options import KernelReports, user_timeout
from heartbeat.net.pathpulse import PathPulse, SilencePulse, silence_left
from heartbeat.net.unframed import Unframed

if TYPE_CHECKING:
    from heartbeat.net.limits import ObserveLimits
    from heartbeat.net.wheel import Wheel

__all__ = ["Observation"]

# Of all observed connections of the process: equal reports are one object, and what does not work is said once.
_KERNEL: Final = KernelReports()


class Observation(Unframed):
    """Watches one connection.

    :param protocol: connected, on the transport that is watched
    :param acts: a verdict ends the connection; False: it is only told
    :param decided: called after a verdict

    :ivar decided_at: when it decided, monotonic seconds
    :ivar heard_again: its application said something after that
    """

    def __init__(
        self,
        protocol: Any,
        wheel: Wheel,
        limits: ObserveLimits,
        listener: Any,
        reactor: Any,
        *,
        acts: bool = True,
        decided: Callable[[], None] | None = None,
    ) -> None:
        transport = protocol.transport
        beats = Beats(
            limits.detect, wheel.attention, wheel.seconds(), interval=limits.detect, peer_interval=0.0,
            draw=wheel.clocks.draw, gated=True,
        )  # fmt: skip
        link = ObservedLink(transport, wheel.turns)
        super().__init__(wheel, beats, link, listener)
        self._protocol = weakref.ref(protocol)
        self._limits = limits
        self._reactor = reactor
        self._acts = acts
        self._tell_decided = decided
        self._heartbeat: Heartbeat | None = None
        self.decided_at = 0.0
        self.heard_again = False
        self._last: Evidence | None = None  # the last look
        judge = beats.liveness
        judge.can_ask = False
        judge.rtt = None  # there are no answers to wait for
        vanished = partial(_vanished, self)
        self._path = PathPulse(wheel, judge, link, self._decided, self._spread, vanished)
        self._silence: SilencePulse | None = None
        # Behind a proxy the address of the peer is known only when its first bytes have come (facts R7).
        self._unlocated = isinstance(transport, ProtocolWrapper) and not ISSLTransport.providedBy(transport)
        self.peer: ObservedPeer = ObservedPeer(beats, wheel.clocks, id="", transport=kind_of(transport))
        self.peer.locate(transport.getPeer())
        self.peer.bare = True
        self.peer.blind = self._path.blind
        self._set_options(link, judge)
        self.watch_pauses(transport)

    def _set_options(self, link: ObservedLink, judge: Liveness) -> None:
        """All at once: the detection time is no matter of agreement here."""
        options = self._limits.options
        report = _KERNEL.opened(link.seen, options, judge, _KERNEL.connected(link.seen, options))
        self.peer.options = report
        self._path.probed = report.get("keepalive_idle") == "applied" and is_probing(options, judge.terms.detect)
        link.user_timeout = user_timeout(options, judge) if report.get("user_timeout") == "applied" else None

    # -- the gate

    def begin(self) -> None:
        """The transport is there. On TLS the handshake comes first."""
        transport = self._link.transport
        self._conforming = Conforming(transport, lambda: self.heartbeat)
        if not ISSLTransport.providedBy(transport):
            self.open()
        elif self._limits.handshake_timeout is not None:
            self._limit_silence(self._limits.handshake_timeout)

    def open(self) -> None:
        """The peer is judged from here on; twice is once."""
        if self.opened or self.gone or self.beats.state in FINAL:
            return
        self.opened = True
        self._limit_silence(self._limits.idle)
        self.beats.opened(self.seconds(), at_once=False)
        if self._listener is not None:
            call(self._listener, "joined", self.peer)
        if not self._path.blind:
            self._path.start()
        self._spread()
        if self.paused:
            self.deaf()

    def _limit_silence(self, period: float | None) -> None:
        silence, self._silence = self._silence, None
        if silence is not None:
            silence.stop()
        if period is None:
            return
        wheel = self._wheel
        judge = Liveness(period, wheel.attention, wheel.seconds(), can_ask=False)
        self._silence = SilencePulse(wheel, judge, self._protocol, self._link, self._silent)
        self._silence.start()

    @property
    def heartbeat(self) -> Heartbeat:
        """The handle, made when it is first asked for."""
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self, self._reactor, None)
        return self._heartbeat

    # -- what happens

    def heard(self) -> None:
        """The application of the peer said something. The first word, behind a wrapper, is how a handshake shows."""
        if not self.opened:
            self.open()
        if self._unlocated:
            self._unlocated = False
            self.peer.locate(self._link.transport.getPeer())
        if self._silence is not None:
            self._silence.heard(self.seconds())
        self.heard_again = self.heard_again or self.decided

    def listen(self) -> None:
        """Look now, for whoever wants to know the state as of now."""
        if self.opened and not self.gone and not self._path.blind:
            self._path.listen(self.seconds())
            self._spread()

    def look(self) -> Evidence:
        """What can be seen now, or could be seen last."""
        return self._last if self._last is not None else self._link.look(self.seconds())

    def left(self) -> float | None:
        """Seconds until the earliest verdict on a peer whose kernel or application is silent; None: it is well."""
        now = self.seconds()
        judges = [self.beats.liveness, *([] if self._silence is None else [self._silence.judge])]
        return min((silence_left(one, now) for one in judges if one.state is State.SUSPECT), default=None)

    def end(self, reason: Failure) -> Failure:
        """The transport is gone; twice is once. Returns the reason for the application: with our cause if there is
        one, else as it is."""
        if not self.gone:
            self._last = self._ended(reason).evidence
            self._spread()
            self._stop()
            self._link = self._path.link = GONE  # whoever keeps a handle keeps no transport
            if self._heartbeat is not None:
                self._heartbeat.ended()
            self._conforming.settle(self.heartbeat)
        ours = self.beats.state is State.DEAD or self.decided
        return self.reason() if ours and self._acts else reason

    def deaf(self) -> None:
        """The application stopped reading."""
        now = self.seconds()
        if self._silence is not None:
            self._silence.deaf(now)
        if self.opened and not self._path.blind:
            self._path.deaf(now)

    def hearing(self) -> None:
        """It reads again."""
        now = self.seconds()
        if self._silence is not None:
            self._silence.hearing(now)
        if self.opened and not self._path.blind:
            self._path.hearing(now)

    # -- Subject

    def ask(self, now: float) -> int | None:
        """Impossible: not a byte is ours."""
        return None

    # -- inside

    def _silent(self, seen: Evidence | None) -> None:
        """The application, or the handshake, has been silent for too long. If the path is broken, that is why."""
        judge, now = self.beats.liveness, self.seconds()
        self._silence = None
        if not self.opened:
            judge.condemn("tls_timeout", now, seen, "the TLS handshake took too long")
        else:
            if not sits(self._link.transport, self._protocol()):
                return  # somebody has taken our place, and hears what we do not
            cause, detail = "unattributed", "idle"
            if seen is not None and judge.suspicion is not None and asked_in_vain(seen.tcp):
                cause, detail = name_silence(judge.suspicion.half_time, seen)
            judge.condemn(cause, now, replace(seen if seen is not None else Evidence(now), detail=detail))
        self._decided()

    def _decided(self) -> None:
        if self.decided:
            return
        self.decided = True
        self.decided_at = self.seconds()
        self._spread()
        self._stop()
        if self._tell_decided is not None:
            self._tell_decided()
        if self._acts and not self.gone:
            self._link.abort()

    def _stop(self) -> None:
        self._path.stop()
        silence, self._silence = self._silence, None
        if silence is not None:
            silence.stop()


def _vanished(seen: Observation) -> None:
    """Whoever has taken our place on the transport was told its end, and we were not."""
    seen.end(Failure(error.ConnectionDone()))
