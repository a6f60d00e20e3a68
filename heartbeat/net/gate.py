"""An endpoint whose connection counts only once HELLO was answered.

``ClientService`` takes a connection for good when ``connect`` fires; a gate in ``prepareConnection`` breaks it (facts
T0.1). So the gate is here: :meth:`GatedEndpoint.connect` fires behind it, with a protocol on a transport whose
``loseConnection`` is bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory, IStreamClientEndpoint, ITransport
from twisted.internet.protocol import Factory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from heartbeat.errors import CertificateNotReady, HeartbeatError, NotConnected, PeerRefused, PeerUnresponsive
from heartbeat.liveness.beats import Beats
from heartbeat.liveness.events import Unpinned
from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.peer import Peer
from heartbeat.liveness.states import State
from heartbeat.net.backoff import SUPERSEDED
from heartbeat.net.causes import name_connect, tls_text
from heartbeat.net.listening import tell
from heartbeat.net.protocol import HeartbeatFactory, HeartbeatProtocol
from heartbeat.net.reasons import PeerLeft
from heartbeat.net.tls.handshake import unpinned
from heartbeat.session.parting import Parting
from heartbeat.session.past import explained, remembered

if TYPE_CHECKING:
    from heartbeat.net.driver import Driver
    from heartbeat.net.heartbeat import Heartbeat
    from heartbeat.net.tls.pins import Pins
    from heartbeat.session.past import Past
    from heartbeat.wire.frames import Bye

__all__ = ["BoundedTransport", "Connectors", "GatedEndpoint", "too_late"]

log = Logger()


def too_late(result: Any, seconds: float) -> Any:
    """What a connect fails with that was not done in time, whatever its endpoint makes of being cancelled."""
    if isinstance(result, Failure) and result.check(CertificateNotReady):
        return result
    raise ConnectTimeout(string=f"not connected within {seconds:g} s")


class Connectors(HeartbeatFactory):
    """The connecting side: its sessions speak first.

    :ivar pins: keys that the certificate of a server may have; None: any. May be changed, for new connections
    :ivar farewell: the BYE that the connection which ended last has heard, None if none
    """

    connector = True
    pins: Pins | None = None
    farewell: Bye | None = None
    _token: str | None = None
    _past: Past | None = None

    def __init__(self, *args: Any, pins: Pins | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.pins = pins
        self._unpinned: dict[Driver, Unpinned] = {}

    def ready(self, driver: Driver) -> None:
        """The transport is ready: say HELLO, if the server's key is one that is pinned or the policy lets it go on."""
        now, session = self.wheel.seconds(), driver.session
        token, past = self._token, self._past
        found = None if self.pins is None else unpinned(driver.link.transport, self.pins)
        if found is not None and self.pins is not None:
            if self.pins.policy == "refuse":
                text = f"the key of the certificate is not pinned: {found}"
                session.refuse("tls_pin", text, now, Evidence(now, error=text, detail="key"))
            else:
                self._unpinned[driver] = Unpinned(now, found, self.pins.policy)
            if self.pins.policy == "degrade":  # neither our state nor what opens our session, before a key is confirmed
                session.syncs.withhold()
                token = past = None
        if session.parting is Parting.STAY:
            if self.tracing is not None:
                self.tracing.begin(session.peer)
            session.start(now, token, None if past is None else past.as_last())
        driver.attend(now)

    def opened(self, driver: Driver, now: float) -> None:
        """A gate opened: the same server, back at once or as another process, says why it was lost before."""
        super().opened(driver, now)
        if (alarm := self._unpinned.get(driver)) is not None:
            driver.session.liveness.note(alarm)
        past, self._past = self._past, None
        if past is not None and past.peer == driver.session.peer.id:
            event = explained(past, driver.session, None, now)
            if event is not None:
                driver.session.liveness.note(event)

    def ended(self, driver: Driver, now: float) -> None:
        """A connection is gone."""
        if driver.session.beats.state is not State.REFUSED:
            self._past = remembered(driver.session)
        self.farewell = driver.session.farewell
        self._token = driver.session.token or self._token
        self._unpinned.pop(driver, None)
        super().ended(driver, now)

    def unreachable(self, server: str, failed: BaseException) -> None:
        """No connection to ``server`` came about: tell the listener why, as of a peer that was refused.

        What failed behind the connect was told when it happened, and what a caller gave up is no failure.
        """
        told = (PeerRefused, PeerUnresponsive, PeerLeft, CancelledError, ConnectingCancelledError)
        if self.listener is None or isinstance(failed, told):
            return
        wheel, config = self.wheel, self.config
        now = wheel.seconds()
        cause, detail = name_connect(failed)
        beats = Beats(config.detect, wheel.attention, now, interval=config.interval, draw=wheel.clocks.draw, gated=True)
        peer = Peer(beats, wheel.clocks, id=f"~{server}", address=server)
        beats.liveness.condemn(cause, now, Evidence(now, error=tls_text(failed), detail=detail))
        for event in beats.events():
            tell(self.listener, peer, event, False)


class _Single(Factory):
    """A factory for the one protocol that there is already."""

    noisy = False

    def __init__(self, protocol: HeartbeatProtocol) -> None:
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> HeartbeatProtocol:
        """The one."""
        return self._protocol


@implementer(ITransport)
class BoundedTransport:
    """What a protocol behind the gate gets: closing it says BYE and takes a second at most."""

    def __init__(self, heartbeat: Heartbeat, transport: Any) -> None:
        self.heartbeat = heartbeat
        # Only these are kept of it: a stopped ClientService holds on to its last connection (and so to us).
        self._peer: IAddress = transport.getPeer()
        self._host: IAddress = transport.getHost()

    def write(self, data: bytes) -> None:
        """A heartbeat-only connection carries no bytes of an application."""
        raise NotConnected("a heartbeat-only connection carries no data")

    def writeSequence(self, data: Sequence[bytes]) -> None:  # type: ignore[override]  # Iterable in Twisted's stub
        """As :meth:`write`."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Say BYE 0, flush, close; abort if that takes too long."""
        self.heartbeat.leave()

    def abortConnection(self) -> None:
        """End it now."""
        self.heartbeat.abort()

    def getPeer(self) -> IAddress:
        """The address of the peer."""
        return self._peer

    def getHost(self) -> IAddress:
        """Our own address."""
        return self._host


@implementer(IStreamClientEndpoint)
class GatedEndpoint:
    """Tries servers in order until a gate opens; after a loss the one that was lost is tried last.

    (It may be gone without a trace, and then only the handshake timeout would tell.)

    :param endpoints: of the servers
    :param connectors: makes the connections
    :param names: how they are called when one of them cannot be reached; None: as they call themselves
    """

    def __init__(
        self,
        endpoints: Sequence[IStreamClientEndpoint],
        connectors: Connectors,
        names: Sequence[str] | None = None,
    ) -> None:
        self._endpoints = list(endpoints)
        self._names = [str(one) for one in endpoints] if names is None else list(names)
        self._connectors = connectors
        self._first = 0
        self.byes: list[Bye | None] = []

    def __repr__(self) -> str:
        return f"<GatedEndpoint {self._endpoints!r}>"

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Fires behind the gate with what the factory built; fails with the last server's reason.

        Cancelled it fails with a CancelledError, whatever the endpoint at hand makes of that, and tries no other.
        """
        wanted = True

        def give_up(_: object) -> None:
            nonlocal wanted
            wanted = False
            connecting.cancel()

        outcome: Deferred[IProtocol] = Deferred(give_up)
        connecting = Deferred.fromCoroutine(self._connect(protocolFactory.buildProtocol, lambda: wanted))
        connecting.addCallbacks(outcome.callback, outcome.errback)
        return outcome

    async def _connect(self, build: Callable[[IAddress], IProtocol | None], wanted: Callable[[], bool]) -> IProtocol:
        count = len(self._endpoints)
        first = self._first
        self.byes = []
        failed: Exception = HeartbeatError("no server to connect to")
        for index in (*range(first, count), *range(first)):
            self._connectors.farewell = None
            try:
                inner = await self._open(self._endpoints[index])
            except Exception as error:  # whatever stands in the way of one server, the next may do
                if not wanted():
                    raise CancelledError from error
                self.byes.append(self._refusal())
                log.debug("{server}: {error}", server=self._names[index], error=str(error))
                self._connectors.unreachable(self._names[index], error)
                failed = error
                continue
            self._first = (index + 1) % count
            transport: Any = inner.transport
            protocol = build(transport.getPeer())
            if protocol is None:
                inner.heartbeat.leave()
                raise HeartbeatError("the factory wants no connection now")
            inner.adopt(protocol, BoundedTransport(inner.heartbeat, transport))
            return protocol
        raise failed

    async def _open(self, endpoint: IStreamClientEndpoint) -> HeartbeatProtocol:
        inner = HeartbeatProtocol(self._connectors)
        connectors = self._connectors
        connecting: Deferred[Any] = endpoint.connect(_Single(inner))
        await connecting.addTimeout(connectors.config.handshake_timeout, connectors.reactor, too_late)
        try:
            await inner.heartbeat.when_alive()
        except CancelledError:
            inner.heartbeat.abort()
            raise
        return inner

    def _refusal(self) -> Bye | None:
        """The BYE that came before the gate. With a key it is the one frame that is not proved; the only code that
        would keep us away for good is not believed there: anybody on the path can have written it."""
        bye, keys = self._connectors.farewell, self._connectors.config.keys
        return None if keys and bye is not None and bye.code == SUPERSEDED else bye

    def lost(self) -> None:
        """The connection was lost after it had been open."""
        self.byes = [self._connectors.farewell]
