"""What a simulated process finds outside of its loop: host names, and no threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.abstract import isIPAddress
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver, IHostResolution
from twisted.python.failure import Failure
from zope.interface import implementer

if TYPE_CHECKING:
    from twisted.internet.interfaces import IAddress, IReactorFromThreads, IResolutionReceiver

    from heartbeat.testing.hosts import Host

__all__ = ["HostNames", "NoThreads"]


@implementer(IHostResolution)
class _Question:
    """A name that is being looked up."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cancelled = False

    def cancel(self) -> None:
        """Not wanted any more."""
        self.cancelled = True


@implementer(IHostnameResolver)
class HostNames:
    """Knows the hosts of the simulated network by their names, and ``localhost``. Answers in the next turn."""

    def __init__(self, reactor: IReactorFromThreads, host: Host) -> None:
        self._reactor = reactor
        self._host = host

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Sequence[type[IAddress]] | None = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        """Find the address of a host. An unknown name has none."""
        question = _Question(hostName)
        address = self._find(hostName) if addressTypes is None or IPv4Address in addressTypes else None
        resolutionReceiver.resolutionBegan(question)

        def answer() -> None:
            if address is not None and not question.cancelled:
                semantics: Any = transportSemantics
                resolutionReceiver.addressResolved(IPv4Address(semantics, address, portNumber))
            resolutionReceiver.resolutionComplete()

        self._reactor.callFromThread(answer)
        return question

    def _find(self, name: str) -> str | None:
        if isIPAddress(name):
            return name
        if name == "localhost":
            return "127.0.0.1"
        found = self._host.network.find(name)
        return None if found is None else found.address


class NoThreads:
    """A thread pool without threads: what it is given runs in the loop, one turn later, and takes no time."""

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor

    def callInThread(self, func: Callable[..., Any], *args: Any, **kw: Any) -> None:
        """Run it, and log what it raises."""
        self._reactor.callFromThread(func, *args, **kw)

    def callInThreadWithCallback(
        self, onResult: Callable[[bool, Any], Any] | None, func: Callable[..., Any], *args: Any, **kw: Any
    ) -> None:
        """Run it, and tell how it went."""

        def run() -> None:
            outcome: Any
            try:
                outcome, well = func(*args, **kw), True
            except Exception:  # noqa: BLE001 - whatever it raises is handed to onResult, as a thread pool does
                outcome, well = Failure(), False
            if onResult is not None:
                onResult(well, outcome)

        self._reactor.callFromThread(run)

    def adjustPoolsize(self, minthreads: int | None = None, maxthreads: int | None = None) -> None:
        """Ignored."""
