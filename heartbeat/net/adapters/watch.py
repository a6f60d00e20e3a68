"""What watches one connection in somebody else's framing: a judge, a pulse, and the view that others get of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IHandshakeListener, ISSLTransport
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import alsoProvides, noLongerProvides

from heartbeat.liveness.beats import Beats
from heartbeat.liveness.peer import Peer
from heartbeat.liveness.states import FINAL
from heartbeat.net.address import kind_of, shown
from heartbeat.net.link import GONE
from heartbeat.net.listening import call, wants_round_trips
from heartbeat.net.options import KernelReports
from heartbeat.net.pulse import Pulse
from heartbeat.net.shared_link import SharedLink
from heartbeat.net.unframed import Unframed

if TYPE_CHECKING:
    from heartbeat.config import HeartbeatConfig
    from heartbeat.net.wheel import Wheel

__all__ = ["Watch"]

# Of all adapters of the process: equal reports are one object, and what does not work is said once.
_KERNEL: Final = KernelReports()


class Watch(Unframed):
    """Judges the peer of one protocol.

    On TLS nobody is judged before the handshake, which has the handshake timeout.

    :param protocol: connected
    :param ask: puts the question of that number; False: impossible now
    """

    def __init__(
        self, protocol: Any, ask: Callable[[int], bool], wheel: Wheel, config: HeartbeatConfig, listener: Any
    ) -> None:
        transport = protocol.transport
        beats = Beats(
            config.detect, wheel.attention, wheel.seconds(), interval=config.interval, draw=wheel.clocks.draw,
            adaptive=config.adaptive, detector=config.detector, gated=True,
        )  # fmt: skip
        beats.wants_round_trips = wants_round_trips(listener)
        link = SharedLink(transport, wheel.turns)
        super().__init__(wheel, beats, link, listener)
        self._protocol = protocol
        self._question = ask
        self._config = config
        self._asking = False
        self._shaken_by = 0.0
        self._early: list[int] = []  # answers that came while their question was being put
        self.opened = not ISSLTransport.providedBy(transport)
        self._pulse = Pulse(wheel, beats, link, self._put, self._decided, changed=self._spread)
        self.tick = self.place = -1
        address = shown(transport.getPeer())
        self.peer = Peer(beats, wheel.clocks, id=f"~{address}", address=address, transport=kind_of(transport))
        self.peer.bare = True
        self.peer.options = _KERNEL.connected(link.seen, config.kernel)
        self.watch_pauses(transport)

    # -- the gate

    def begin(self) -> None:
        """The protocol is connected."""
        if self.opened:
            self._open()
            return
        self._shaken_by = self.seconds() + self._config.handshake_timeout
        self._wheel.put(self, self._shaken_by)
        transport = self._protocol.transport
        if isinstance(transport, TLSMemoryBIOProtocol) and transport.wrappedProtocol is self._protocol:
            _when_shaken(self._protocol, self._shaken)

    def _shaken(self) -> None:
        if not self.opened and not self.gone:
            self._open()

    def _open(self) -> None:
        self.opened = True
        self._wheel.remove(self)
        now = self.seconds()
        self.beats.opened(now, at_once=False)
        seen = self._link.seen if isinstance(self._link, SharedLink) else self._link
        self.peer.options = _KERNEL.opened(seen, self._config.kernel, self.beats.liveness, self.peer.options)
        if self._listener is not None:
            call(self._listener, "joined", self.peer)
        self._pulse.start()
        self._spread()
        if self.paused:
            self.deaf()

    def wake(self, now: float) -> float | None:
        """The wheel's call, which may come early: the handshake took too long."""
        if now < self._shaken_by:
            return self._shaken_by
        self.beats.liveness.condemn("tls_timeout", now, reason="the TLS handshake took too long")
        self._decided()
        return None

    def stepped(self, by: float, now: float) -> None:
        """The deadline of a handshake runs on no wall clock."""

    # -- what happens

    def heard(self) -> None:
        """A sign of life: the first one, behind a wrapper, is how a handshake shows."""
        if not self.opened:
            self._shaken()
        self.beats.heard(self.seconds())
        self._settle()

    def answered(self, number: int) -> bool:
        """A round trip. An answer that comes while its question is being put counts when that is done."""
        if self._asking:
            self._early.append(number)
            return True
        now = self.seconds()
        late = now > self._wheel.attention.fresh_until
        matched = self.beats.answered(number, now, self._link.arrived_at(now) if late else None)
        self._settle()
        return matched

    def end(self, reason: Failure) -> None:
        """The transport is gone."""
        self._ended(reason)
        self._wheel.remove(self)
        self._spread()
        self._pulse.stop()
        self._link = self._pulse.link = GONE  # whoever keeps a handle keeps no transport

    def deaf(self) -> None:
        """The application stopped reading."""
        self.beats.deaf(self.seconds())

    def hearing(self) -> None:
        """It reads again."""
        now = self.seconds()
        self.beats.hearing(now)
        if self.opened:
            self._pulse.attend(now)

    # -- Subject

    def ask(self, now: float) -> int | None:
        """One question now."""
        number = self.beats.number
        if not self.opened or self.beats.state in FINAL or not self._pulse.put_question(now):
            return None
        self.beats.watch(number)
        self._settle()
        return number

    # -- inside

    def _put(self, now: float) -> bool:
        self._asking = True
        try:
            return self._question(self.beats.number)
        finally:
            self._asking = False

    def _settle(self) -> None:
        early, self._early = self._early, []
        for number in early:
            self.answered(number)
        self._spread()

    def _decided(self) -> None:
        self.decided = True
        self._spread()
        if not self.gone:
            self._link.abort()

    def _spread(self) -> None:
        """Tell the events, if there are any."""
        if self._early:
            self._settle()
        events = self.beats.events()
        if events:
            self._tell(events)


def _when_shaken(protocol: Any, shaken: Callable[[], None]) -> None:
    """Call ``shaken`` when the handshake of the TLS layer that ``protocol`` sits on is done; once."""
    knew = IHandshakeListener.providedBy(protocol)
    told = getattr(protocol, "handshakeCompleted", None)

    def handshake_completed() -> None:
        del protocol.handshakeCompleted
        if not knew:
            noLongerProvides(protocol, IHandshakeListener)
        elif told is not None:
            told()
        shaken()

    if not knew:
        alsoProvides(protocol, IHandshakeListener)
    protocol.handshakeCompleted = handshake_completed
