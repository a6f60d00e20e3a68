"""Our verdict beside a heartbeat that exists, without acting: what it would have spared, and found earlier.

Theory of operation. The heartbeat that there is (a ``TimeoutMixin``, the pings of Autobahn, a timer of one's own) goes
on to act; when it gives a peer up it calls :meth:`Other.killed`. Our judge of the same connection is asked at that
moment, and when the connection ends: did it hold the peer alive, had it found it dead before, or did it still wait?
Nothing that a shadow says ends a connection.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Unpack

from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger

from heartbeat.errors import ConfigError
from heartbeat.interfaces import IHeartbeat
from heartbeat.net.heartbeat import Heartbeat
from heartbeat.net.limits import MOST_PROBES, ObserveLimits, probing
from heartbeat.net.observation import Observation
from heartbeat.net.observe import ObserveSettings, observer_of
from heartbeat.net.observed import ObservedProtocol, Observer, ObservingFactory
from heartbeat.net.shadowed import Handled, Hooked, Pair, ShadowReport, Watched

if TYPE_CHECKING:
    from heartbeat.net.wheel import Wheel

__all__ = ["KNOWN", "Other", "Shadow", "ShadowObserver", "ShadowReport"]

log = Logger()

#: How the heartbeats that we know give a peer up: Twisted's ``TimeoutMixin``, and the pings of Autobahn.
KNOWN: Final = ("timeoutConnection", "onAutoPingTimeout")


class Other:
    """The heartbeat that there is, as a shadow sees it. Give it to a :class:`Shadow`, and tell it."""

    def __init__(self) -> None:
        self._told: Callable[[Any], None] | None = None

    def killed(self, protocol: Any = None) -> None:
        """It gives a peer up now. Call it before the connection is closed.

        :param protocol: whose peer; None where the shadow is one of a single connection
        """
        if self._told is not None:
            self._told(protocol)

    def tell(self, told: Callable[[Any], None]) -> None:
        """A shadow listens."""
        self._told = told


class Shadow:
    """Counts what our verdict would have changed.

    :param subject: a factory, all of whose connections are watched (next: listen with :attr:`factory`), or the handle
        of one connection; None: connections come from a :class:`ShadowObserver`
    :param other: how the heartbeat that there is gives a peer up: the name of the method of the protocol by which it
        does; an :class:`Other`, which it tells; any other object, which gets a method ``killed`` to be called; or a
        function of a protocol and of what is to be called then. None: :data:`KNOWN` methods
    :param settings: for a factory, those of :func:`.observe_factory`

    :ivar factory: of the watched connections, None without a factory
    :ivar other: the same, as an object with ``killed``, where there is one
    :raises ConfigError: neither a factory nor a handle
    """

    def __init__(self, subject: Any = None, other: Any = None, **settings: Unpack[ObserveSettings]) -> None:
        self._counts: dict[str, int | float] = {}
        self._pairs: dict[Pair, None] = {}
        self.factory: ObservingFactory | None = None
        self._attach: Callable[[Any, Callable[[], None]], None] | None = None
        self.other: Any = self._understand(other)
        if subject is None:
            return
        if IProtocolFactory.providedBy(subject):
            observer = observer_of(ShadowObserver, **settings)
            assert isinstance(observer, ShadowObserver)  # what was asked for
            observer.shadow = self
            self.factory = ObservingFactory(subject, observer)
            return
        handle = IHeartbeat(subject, None)
        if not isinstance(handle, Heartbeat):
            raise ConfigError("subject", f"must be a factory or the handle of a connection, not {subject!r:.80}")
        watched = handle.subject
        pair = self.follow(Watched(watched) if isinstance(watched, Observation) else Handled(handle))
        handle.when_gone().addCallback(lambda _: pair.ended())

    def _understand(self, other: Any) -> Any:
        if isinstance(other, str) or other is None:
            names = KNOWN if other is None else (other,)
            self._attach = lambda protocol, killed: _hook(protocol, names, killed)
            return None
        if isinstance(other, Other):
            other.tell(self.killed)
        elif callable(other):
            self._attach = other
            return None
        else:
            before = getattr(other, "killed", None)

            def killed(protocol: Any = None) -> None:
                self.killed(protocol)
                if before is not None:
                    before()

            other.killed = killed
            _hook(other, KNOWN, self.killed)
        return other

    def killed(self, protocol: Any = None) -> None:
        """The other heartbeat gives a peer up now: as :meth:`Other.killed`.

        Nothing is raised, or that heartbeat would be kept from what it does: a kill of nobody known is logged.
        """
        found = [one for one in self._pairs if protocol is None or one.is_of(protocol)]
        if len(found) == 1:
            found[0].killed()
        else:
            log.warn("shadow: whose peer was killed? {protocol} is that of {count} connections", protocol=protocol,
                     count=len(found))  # fmt: skip

    def follow(self, watched: Watched, protocol: Any = None) -> Pair:
        """Compare on one more connection."""
        pair = Pair(self, watched, protocol)
        self._pairs[pair] = None
        self.count("connections")
        if self._attach is not None and protocol is not None:
            self._attach(protocol, pair.killed)
        return pair

    def count(self, name: str, more: float = 1) -> None:
        """Add to one of the numbers of the report."""
        self._counts[name] = self._counts.get(name, 0) + more

    def forget(self, pair: Pair) -> None:
        """Its connection is gone."""
        self._pairs.pop(pair, None)

    def report(self) -> ShadowReport:
        """What came of it so far, of all connections that were watched."""
        return ShadowReport(**self._counts)  # type: ignore[arg-type]  # whole numbers but for two

    @property
    def open(self) -> tuple[Pair, ...]:
        """The connections that are open; each has a ``report`` of its own."""
        return tuple(self._pairs)


class ShadowObserver(Observer):
    """Observes and never acts: what it would have done is logged, and counted by a shadow.

    :ivar shadow: that counts
    """

    def __init__(self, limits: ObserveLimits, listener: Any, reactor: Any, wheel: Wheel) -> None:
        if limits.kernel is None:
            # Nor does the kernel act: it asks, and gives nobody up, or only long after.
            kernel = replace(probing(limits.detect), keepalive_count=MOST_PROBES, user_timeout=None)
            limits = replace(limits, kernel=kernel)
        super().__init__(limits, listener, reactor, wheel)
        self.shadow = Shadow()

    def stopped(self) -> None:
        """What came of it so far goes to the log."""
        log.info("shadow: {report}", report=self.shadow.report())

    def observe(self, protocol: ObservedProtocol) -> Observation:
        """An observation without consequences."""
        seen = Observation(
            protocol, self.wheel, self.limits, self.listener, self.reactor, acts=False,
            decided=lambda: _would_have_ended(seen),
        )  # fmt: skip
        pair = self.shadow.follow(Watched(seen), protocol.wrapped)
        seen.heartbeat.when_gone().addCallback(lambda _: pair.ended())
        return seen


def _would_have_ended(seen: Observation) -> None:
    peer = seen.peer
    evidence = seen.beats.evidence
    detail = None if evidence is None else evidence.detail
    log.info("shadow: {peer}: we would end it now: {cause} ({detail})", peer=peer.id, cause=peer.cause, detail=detail)


def _hook(protocol: Any, names: tuple[str, ...], killed: Callable[[], None]) -> None:
    """Call ``killed`` before the protocol's own method, for those of these names that it has."""
    for name in names:
        method = getattr(protocol, name, None)
        if callable(method):
            with suppress(AttributeError, TypeError):  # one that takes no attributes tells nobody
                setattr(protocol, name, Hooked(method, killed))
