"""Going in good order: no news, BYE 1 to the peers, and nobody waits for ever."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet import defer
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger

from heartbeat.apps.stopping import unless_hurried

if TYPE_CHECKING:
    from heartbeat.net import HeartbeatFactory

__all__ = ["Drain"]

#: Seconds for connections that were cut off to be gone. Newcomers, who are told BYE 1 meanwhile, prolong nothing.
GRACE: Final = 0.5


class Drain:
    """Sends the peers of a factory away.

    :ivar first: what is to be done before
    :ivar timeout: seconds after which those that do not go are cut off; may be changed until :meth:`begin`
    :ivar spread: seconds over which the peers are told to come back; 0: they are not told when
    """

    def __init__(self, reactor: Any, factory: HeartbeatFactory, timeout: float) -> None:
        self.timeout = timeout
        self.spread = 0.0
        self._reactor = reactor
        self._factory = factory
        self.first: Callable[[], Deferred[Any]] = lambda: succeed(None)
        self._begun = False
        self._log = Logger(namespace="heartbeat.server")

    def readiness(self) -> str | None:
        """Why this server wants no new peers, or None: it does."""
        return "draining" if self._begun else None

    def begin(self) -> Deferred[None]:
        """Say BYE 1 to everybody. Fires when all are gone, when the time is up, or at a second signal to stop."""
        self._begun = True
        return unless_hurried(self._reactor, Deferred.fromCoroutine(self._drain()), self._cut)

    async def _drain(self) -> None:
        await self.first()
        if self._factory.connections:
            self._log.info("draining: BYE to {count} connections", count=self._factory.connections)
        drained = self._factory.drain(self.timeout, spread=self.spread)
        drained.addTimeout(self.timeout + GRACE, self._reactor)
        try:
            await drained
        except defer.TimeoutError:  # somebody new came in at every moment
            self._log.info("{count} connections are cut off", count=self._factory.connections)

    def _cut(self) -> None:
        self._log.info("told to stop again: {count} connections are cut off", count=self._factory.connections)
        self._factory.abort_all()
