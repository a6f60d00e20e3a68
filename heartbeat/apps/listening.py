"""Listening on an endpoint, said in one line when it works and in another when it does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort

from heartbeat.apps.exits import FAILED, USAGE, leave, one_line, stop_reactor

if TYPE_CHECKING:
    from twisted.internet.interfaces import IProtocolFactory, IReactorCore, IStreamServerEndpoint
    from twisted.python.failure import Failure

__all__ = ["Listening", "told"]

#: The prefixes of endpoint strings whose connections are TLS.
TLS_PREFIXES: Final = ("ssl:", "tls:")


def told(address: object) -> str:
    """An address as people write it: ``0.0.0.0:7600``, ``[::]:7600``, ``/path``, ``@abstract``."""
    if isinstance(address, IPv6Address):
        return f"[{address.host}]:{address.port}"
    if isinstance(address, IPv4Address):
        return f"{address.host}:{address.port}"
    if isinstance(address, UNIXAddress):
        path = (address.name or b"").decode("utf-8", "backslashreplace")
        return "@" + path[1:] if path.startswith("\0") else path
    return str(address)


class Listening(Service):
    """A factory that listens on an endpoint while this service runs.

    :param kind: what it listens for, ``heartbeat`` or ``web``: the first word of the line that says so
    :param name: how the option and its value are called when it cannot
    :param text: the endpoint string
    :ivar port: what listens, None while nothing does
    """

    def __init__(
        self,
        reactor: IReactorCore,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        *,
        kind: str,
        name: str,
        text: str,
    ) -> None:
        self.port: IListeningPort | None = None
        self.kind = kind
        self.text = text
        self._name = name
        self._reactor = reactor
        self._endpoint = endpoint
        self._factory = factory
        self._waiting: Deferred[Any] = succeed(None)
        self._starting = False
        self._trouble: tuple[int, str] | None = None

    def startService(self) -> None:
        """Listen, and print where.

        :raises SystemExit: it cannot be done, and standard error says why in one line: status 1, or 64 where the
            endpoint makes no sense. An endpoint that finds out later ends the process with status 1
        """
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._starting = True
        self._waiting = maybeDeferred(self._endpoint.listen, self._factory)
        self._waiting.addCallbacks(self._listens, self._failed)
        self._starting = False
        if self._trouble is not None:
            leave(*self._trouble)

    def stopService(self) -> Deferred[None]:
        """Listen no more. Connections that are open stay open."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        port, self.port = self.port, None
        if port is not None:
            return maybeDeferred(port.stopListening).addCallback(lambda _: None)
        self._waiting.cancel()
        return succeed(None)

    def line(self) -> str:
        """What is printed when it listens."""
        assert self.port is not None
        address = self.port.getHost()
        where = told(address)
        if isinstance(address, UNIXAddress):
            return f"listening {self.kind} unix {where}"
        if self.kind == "web":
            return f"listening web http{'s' if self.tls else ''}://{where}/"
        return f"listening {self.kind} {'tls' if self.tls else 'tcp'} {where}"

    @property
    def plain(self) -> bool:
        """A client needs nothing but the address: no TLS, and no balancer in between."""
        return not self.text.startswith((*TLS_PREFIXES, "haproxy:"))

    @property
    def tls(self) -> bool:
        """Its connections are TLS."""
        return self.text.startswith(TLS_PREFIXES)

    def _listens(self, port: Any) -> Any:
        if not IListeningPort.providedBy(port):
            self._end(USAGE, "is no endpoint that listens")
        elif not self.running:
            return port.stopListening()
        else:
            self.port = port
            print(self.line(), flush=True)
        return None

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError) and not self.running:
            return
        status = FAILED if failure.check(CannotListenError, OSError) else USAGE
        self._end(status, one_line(failure.getErrorMessage()))

    def _end(self, status: int, message: str) -> None:
        """End the process: at once while it starts, since no Deferred may swallow the SystemExit."""
        self.running = False
        if self._starting:
            self._trouble = status, f"{self._name}: {message}"
        else:
            stop_reactor(self._reactor, f"{self._name}: {message}")
