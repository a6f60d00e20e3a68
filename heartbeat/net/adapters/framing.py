"""A heartbeat in somebody else's framing: how a question and an answer travel there is all that a subclass says.

Theory of operation. The judge is a Beats on a Pulse; it knows no frames. When it wants to ask, :meth:`ask` puts one
question in the framing at hand; whatever whole unit comes in is told by :meth:`heard`, and what answers a question by
:meth:`answered`. The application owns the connection: its writes, its producers, its pauses. On a verdict the
transport is aborted, and :meth:`stop`, which the protocol calls from its ``connectionLost``, gives the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from heartbeat.config import HeartbeatConfig
from heartbeat.errors import NotConnected
from heartbeat.interfaces import IHeartbeat
from heartbeat.liveness.states import State
from heartbeat.net.adapters.outside import WatchedFactory
from heartbeat.net.adapters.watch import Watch
from heartbeat.net.heartbeat import Heartbeat
from heartbeat.net.reasons import told
from heartbeat.net.wheel import wheel_for

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory
    from twisted.python.failure import Failure
    from zope.interface import Interface

__all__ = ["FramingHeartbeat"]


class FramingHeartbeat:
    """Watches one connection whose framing is not ours. Subclass it, override :meth:`ask`.

    :param protocol: that has the framing, connected
    :param config: interval, multiplier, adaptive, detector and kernel options count here
    :param listener: an IHeartbeatListener
    :param reactor: None: the installed one
    :param seconds: the monotonic clock; None: ``heartbeat.net.clocks`` chooses

    Call :meth:`start` in ``connectionMade`` and :meth:`stop` in ``connectionLost``. In between it has the whole face of
    its handle, so that ``protocol.heartbeat.ping()``, ``.state``, ``.events()`` read as in every other way in;
    ``leave()`` closes the transport, ``progress()`` raises NotConnected: a framing that is not ours has no words for
    either. ``IHeartbeat(adapter)`` is the handle itself.

    :ivar protocol: the same
    """

    def __init__(
        self,
        protocol: Any,
        config: HeartbeatConfig | None = None,
        *,
        listener: Any = None,
        reactor: Any = None,
        seconds: Callable[[], float] | None = None,
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self.protocol = protocol
        self._config = config if config is not None else HeartbeatConfig()
        self._listener = listener
        self._reactor: Any = reactor
        self._wheel = wheel_for(reactor, seconds)
        self._watch: Watch | None = None
        self._heartbeat: Heartbeat | None = None

    def __getattr__(self, name: str) -> Any:
        """What the handle has, while there is one. Raises NotConnected before :meth:`start`."""
        if name in IHeartbeat:
            return getattr(self.heartbeat, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __conform__(self, interface: type[Interface]) -> Heartbeat | None:
        return self.heartbeat if interface is IHeartbeat else None

    # -- for subclasses

    def ask(self, number: int) -> bool:
        """Write one question, whose answer is told by ``answered(number)``. False: impossible now, we only listen.

        While it is impossible nobody is condemned: what cannot be asked cannot be known.
        """
        raise NotImplementedError

    def attached(self) -> None:
        """The heartbeat begins: the place to listen in on the protocol. The base does nothing."""

    def detached(self) -> None:
        """It is over: take back what :meth:`attached` did. The base does nothing."""

    # -- for the protocol

    def start(self) -> Self:
        """Begin; the protocol is connected. Next: :meth:`heard` and :meth:`answered`, and in the end :meth:`stop`.

        :raises NotConnected: it has no transport yet
        """
        if getattr(self.protocol, "transport", None) is None:
            raise NotConnected("start() is for connectionMade: the protocol has no transport yet")
        if self._watch is None:
            self._watch = Watch(self.protocol, self.ask, self._wheel, self._config, self._listener)
            self.attached()
            self._watch.begin()
        return self

    @property
    def heartbeat(self) -> Heartbeat:
        """The handle. Only after :meth:`start`.

        :raises NotConnected: it has not begun
        """
        if self._watch is None:
            raise NotConnected("this heartbeat was not started")
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self._watch, self._reactor, None)
        return self._heartbeat

    def heard(self) -> None:
        """A whole unit of the framing was read, whatever it is: a sign of life."""
        if self._watch is not None:
            self._watch.heard()

    def answered(self, number: int) -> bool:
        """The answer to question ``number`` was read, an error or not. False: it is not open (any more)."""
        return self._watch is not None and self._watch.answered(number)

    def stop(self, reason: Failure) -> Failure:
        """The transport is gone; twice is once. (Over an endpoint of Autobahn's the reason is None: any end will do.)

        :returns: the reason for the application: with our cause if the peer is dead or its handshake took too long,
            else ``reason`` as it is
        """
        reason = told(reason)
        watch = self._watch
        if watch is None:
            return reason
        if not watch.gone:
            self.detached()
            watch.end(reason)
            if self._heartbeat is not None:
                self._heartbeat.ended()
        return watch.reason() if watch.decided or watch.beats.state is State.DEAD else reason

    @classmethod
    def factory(
        cls, wrapped: IProtocolFactory, config: HeartbeatConfig | None = None, **settings: Any
    ) -> WatchedFactory:
        """The same protocols, each with a heartbeat, for classes that are not to be touched.

        :param settings: as of this class
        """
        return WatchedFactory(wrapped, lambda protocol: cls(protocol, config, **settings))
