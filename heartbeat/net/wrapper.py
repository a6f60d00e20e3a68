"""Any protocol under a heartbeat: a factory in, a factory out, nothing of it changed.

Both ends must do this: the application's bytes travel as DATA (``wire.md`` §7). See :mod:`heartbeat.net.endpoints` for
endpoints in, endpoints out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal

from twisted.internet import tcp
from twisted.internet.interfaces import IAddress, ILoggingContext, IProtocol, IProtocolFactory
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from heartbeat.config import HeartbeatConfig, check_choice
from heartbeat.errors import ConfigError
from heartbeat.interfaces import IStateSource
from heartbeat.net.application import Application
from heartbeat.net.datadriver import DataDriver
from heartbeat.net.driver import Driver
from heartbeat.net.kernel import limit_unsent
from heartbeat.net.protocol import HeartbeatFactory, HeartbeatProtocol
from heartbeat.net.reasons import reason_for, told
from heartbeat.session.session import CAPS

__all__ = ["WRAPPED_CAPS", "WrappedProtocol", "WrappingFactory", "check_mode", "heartbeat_factory"]

#: The capabilities of a wrapped connection.
WRAPPED_CAPS: Final = (*CAPS, "data")
LEAVING: Final = 0  # BYE codes
SERVER_FULL: Final = 10


class WrappedProtocol(HeartbeatProtocol):
    """Ours, on the transport; the user's is built when the gate opens.

    :param factory: makes the session
    :param build: the user's ``buildProtocol``
    :param opened: called once, with the user's protocol behind the gate, or with why there will be none
    """

    caps: ClassVar[tuple[str, ...]] = WRAPPED_CAPS
    drives: ClassVar[type[Driver]] = DataDriver

    def __init__(
        self,
        factory: HeartbeatFactory,
        build: Callable[[Any], IProtocol | None],
        opened: Callable[[IProtocol | Failure], None] | None = None,
    ) -> None:
        super().__init__(factory)
        self._build = build
        self._tell_opened = opened
        self._application: Application | None = None

    def connectionMade(self) -> None:
        """Begin."""
        super().connectionMade()
        driver = self.driver
        assert isinstance(driver, DataDriver)  # what drives says
        self.close_timeout = self._factory.config.close_timeout
        driver.application = self._application = Application(driver, self, self._build, self._tell_opened)
        _limit(self.transport)
        driver.application.serve(driver.seconds())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The transport is gone."""
        super().connectionLost(reason)
        application, self._application = self._application, None
        if application is not None and self.driver is not None:
            application.gone(reason_for(self.driver.session), told(reason))

    def unwanted(self, now: float) -> None:
        """The user's factory wants no connection."""
        driver = self.driver
        if driver is not None:
            driver.session.bye(LEAVING if self._factory.connector else SERVER_FULL, "no connection is wanted now", now)
            driver.attend(now)


class WrappingFactory(HeartbeatFactory):
    """Accepts connections for a wrapped factory. See :func:`heartbeat_factory`, which makes it.

    :ivar wrapped: the user's factory
    """

    def __init__(self, wrapped: IProtocolFactory, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.wrapped: Any = wrapped

    def logPrefix(self) -> str:
        """The wrapped factory's name in the logs, and that it is wrapped."""
        wrapped = self.wrapped
        name = wrapped.logPrefix() if ILoggingContext.providedBy(wrapped) else type(wrapped).__name__
        return f"{name} (heartbeat)"

    def startFactory(self) -> None:
        """The wrapped factory starts, too."""
        self.wrapped.doStart()

    def stopFactory(self) -> None:
        """The wrapped factory stops, too."""
        self.wrapped.doStop()

    def buildProtocol(self, addr: IAddress | None) -> WrappedProtocol:
        """Ours, for one connection."""
        return WrappedProtocol(self, self.wrapped.buildProtocol)

    def applies(self, driver: Driver, now: float) -> None:
        """A HELLO waits. If nobody wants its connection it is refused, before the gate unless it has an id: with one,
        it may still be refused for another, and a protocol that was built is connected in any case."""
        self._locate(driver, now)
        hello = driver.session.applicant
        if hello is None:
            return
        application = driver.application if isinstance(driver, DataDriver) else None
        if hello.id is None and application is not None and not application.build():
            driver.session.bye(SERVER_FULL, "no connection is wanted now", now)
        else:
            super().applies(driver, now)


def heartbeat_factory(
    wrapped_factory: IProtocolFactory,
    config: HeartbeatConfig | None = None,
    listener: Any = None,
    *,
    reactor: Any = None,
    seconds: Callable[[], float] | None = None,
    state: IStateSource | None = None,
    node: str = "",
    max_connections: int | None = None,
    max_per_address: int | None = None,
    mode: Literal["frame", "accept"] = "frame",
) -> WrappingFactory:
    """A factory for the accepting end, whose connections carry those of ``wrapped_factory`` under a heartbeat.

    The wrapped protocols run unchanged: their transport is ours, ``IHeartbeat(self.transport)`` is the handle, and
    ``connectionLost`` gets a ``ConnectionLost`` or ``ConnectionDone`` that is one of
    :mod:`heartbeat.net.reasons`, too. Next: give it to ``listenTCP``, or use
    :func:`~heartbeat.net.endpoints.heartbeat_server`; the other end needs
    :func:`~heartbeat.net.endpoints.heartbeat_client`. The parameters are those of
    :class:`~heartbeat.net.protocol.HeartbeatFactory`.

    :param mode: ``accept``: peers that are not framed are served, too, as they are, and only observed
        (:mod:`heartbeat.net.accept`)
    :raises ConfigError: there is no such mode, or this configuration wants a proof that unframed peers cannot give
    """
    check_mode(mode, config)
    kind: type[WrappingFactory] = WrappingFactory
    if mode == "accept":
        from heartbeat.net.accept import AcceptingFactory  # it is a WrappingFactory itself

        kind = AcceptingFactory
    return kind(
        wrapped_factory,
        config,
        listener,
        reactor=reactor,
        seconds=seconds,
        state=state,
        node=node,
        max_connections=max_connections,
        max_per_address=max_per_address,
    )


def check_mode(mode: str, config: HeartbeatConfig | None) -> None:
    """Refuse a mode that there is not, and ``accept`` where a proof is wanted. Raises ConfigError."""
    check_choice("mode", mode, ("frame", "accept"))
    if mode == "accept" and config is not None and (config.wants_key or config.wants_certificate):
        raise ConfigError("mode", "accept lets in who is not framed, and so without the proof that is wanted")


def _limit(transport: Any) -> None:
    """Keep little unsent in the kernel, so that beats wait behind little. By type, as links are chosen."""
    raw = transport.transport if isinstance(transport, TLSMemoryBIOProtocol) else transport
    if isinstance(raw, tcp.Connection):
        limit_unsent(raw.socket)
