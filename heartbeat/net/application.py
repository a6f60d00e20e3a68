"""A user's protocol inside DATA: it is opened behind the gate, fed with credit, and told the end once.

Theory of operation. :meth:`Application.serve` is called whenever anything may have happened: bytes came, the link is
empty again, the application wrote or let go. It opens, delivers, sends and parts, in this order, as far as each is
possible now. The application calls back into it all the time, so a second call from within does nothing: the first
one goes on. More than a burst in one direction waits for two turns of the reactor, so that beats come in between.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import IHalfCloseableProtocol, IProtocol, ISSLTransport
from twisted.python.failure import Failure

from heartbeat.liveness.states import FINAL, State
from heartbeat.net.closing import Closing
from heartbeat.net.guest import AbortedConnection, Guest
from heartbeat.net.supply import MOST_WAITING, Supply
from heartbeat.net.wrapped_transport import transport_for
from heartbeat.session.parting import Parting
from heartbeat.session.stream import CHUNK, Stream

if TYPE_CHECKING:
    from heartbeat.net.datadriver import DataDriver
    from heartbeat.net.wrapper import WrappedProtocol

__all__ = ["Application"]

#: Bytes that are delivered, or given to the link, in one turn of the reactor.
BURST_IN: Final = 64 * 1024
BURST_OUT: Final = 256 * 1024
STAY: Final = Parting.STAY
# The stream of a connection whose gate has not opened.
NOTHING: Final = Stream(0, 0)
#: With no more than this waiting, less than a frame, the producer is asked for more.
LITTLE: Final = CHUNK - 1


class Application:
    """One user's protocol on one connection.

    :param driver: of the connection
    :param wrapping: our protocol on the transport
    :param build: the user's ``buildProtocol``
    :param opened: as for :class:`.Guest`

    :ivar supply: what it wants to send
    :ivar paused: it wants nothing delivered now
    :ivar closing: how it ends
    """

    __slots__ = (
        "_driver", "_guest", "_last", "_later_called", "_opened", "_read_over", "_reason", "_serving", "_stream",
        "closing", "paused", "supply", "wrapping",
    )  # fmt: skip

    def __init__(
        self,
        driver: DataDriver,
        wrapping: WrappedProtocol,
        build: Callable[[Any], IProtocol | None],
        opened: Callable[[IProtocol | Failure], None] | None,
    ) -> None:
        self._driver = driver
        self.wrapping = wrapping
        self._guest = Guest(build, opened, self._fail)
        self.supply = Supply(self._guest.call)
        self.paused = False
        self.closing = Closing(driver, self.supply, self._guest, wrapping.close_timeout)
        self._stream = NOTHING
        self._opened = False
        self._serving = False
        self._later_called = False
        self._read_over = False  # it was told that the peer will write no more
        self._reason: Failure | None = None  # why this end gave up
        self._last: Failure | None = None  # the transport is gone, and this is why

    # -- from the gate to the end

    def build(self) -> bool:
        """Let the user's factory make its protocol. False: it wants none, or failed."""
        return self._guest.build(self._driver.link.transport.getPeer())

    def serve(self, now: float) -> None:
        """Do all that is possible now. From within itself: nothing, the first call goes on."""
        if self._serving or (self._opened and self._guest.protocol is None):
            return
        self._serving = True
        try:
            if self._opened or self._open(now):
                self._stream.ease(MOST_WAITING if self._last is None else 0)
                self._deliver(now)
                if self._last is None and self._reason is None:
                    if self._stream.ready or self.supply.producer is not None:
                        self._send(now)
                    if self.closing.half or self.closing.begun:
                        self.closing.go_on(self._stream, self._read_over, now)
        finally:
            self._serving = False
            self._stream.ease(MOST_WAITING if self._opened and self._driver.busy else 0)
        if self._last is not None and self._opened and self.closing.is_delivered(self._stream, self.paused):
            self._stream.inbox.clear()
            self._guest.end(self._last)

    def gone(self, reason: Failure, raw: Failure) -> None:
        """The transport is gone. What was read before is delivered still, unless the application is paused by then
        and the peer dead.

        :param reason: the session's
        :param raw: the transport's
        """
        self._last = self._reason or reason
        self.supply.stop()
        if self._opened:
            self._stream.drop()
            self.serve(self._driver.seconds())
            return
        self._guest.forget()
        if self._last.value is not None:
            self._last.value.__cause__ = raw.value
        self._guest.answer(self._last)

    def _open(self, now: float) -> bool:
        """Connect the user's protocol if the gate is open. True: it is connected."""
        session = self._driver.session
        if session.gate is not None or session.stream is None or self._last is not None:
            return False  # without a stream it was never open: both ends offer DATA, or the HELLO is refused
        self._stream = session.stream
        if self._guest.protocol is None:  # one that was built is connected in any case: its factory counts on that
            # A peer that let us in, sent something and left, all in one read, has not refused us.
            came = session.beats.state is State.LEFT and bool(self._stream.inbox)
            if session.parting is not Parting.STAY and not came:
                return False
            if not self.build():  # and whoever waits has been told
                self.wrapping.unwanted(now)
                return False
        self._opened = True
        raw: Any = self._driver.link.transport
        self._guest.connect(transport_for(self, raw), ISSLTransport.providedBy(raw))
        self._guest.answer(self._reason or self._guest.protocol)
        return True

    @property
    def connected(self) -> bool:
        """Whether the transport is there."""
        return self._last is None

    # -- bytes

    def _deliver(self, now: float) -> None:
        session, stream = self._driver.session, self._stream
        budget = BURST_IN
        while stream.inbox and not self.paused and not self.closing.begun:
            if len(stream.inbox[0]) > budget < BURST_IN:
                self._later()
                return
            payload = stream.take()
            self._guest.call(self._guest.protocol.dataReceived, payload)
            budget -= len(payload)
            window = stream.ate(len(payload))
            if window and session.parting is Parting.STAY:
                session.reply(window)
                self._driver.flush(now)
        if self.closing.begun:
            stream.inbox.clear()
        elif stream.ended_in and not self._read_over and not stream.inbox and not self.paused:
            self._read_over = True
            if IHalfCloseableProtocol.providedBy(self._guest.protocol):
                self._guest.call(self._guest.protocol.readConnectionLost)
            else:
                self.lose()

    def _send(self, now: float) -> None:
        stream, supply = self._stream, self.supply
        budget = BURST_OUT
        while True:
            if supply.producer is not None and stream.queued <= min(LITTLE, stream.credit_out):
                supply.ask()  # already now: what is left over would go in a frame of its own
            given = self._driver.push(now)
            if not given:  # nothing to send, no credit, or the link is busy: something will happen
                return
            budget -= given
            if budget <= 0:
                self._later()
                return

    def write(self, data: bytes) -> None:
        """Send. After the end: nothing, as on any transport of Twisted's.

        Small writes only wait while we serve, or the link is busy: some write line by line.

        :raises TypeError: ``data`` is no bytes
        """
        stream = self._stream
        if type(data) is bytes and stream.gather(data):
            return
        if not isinstance(data, bytes):
            raise TypeError(f"data must be bytes, not {type(data).__name__}")
        if not data or stream.ended_out or self._last is not None or self._driver.session.parting is not STAY:
            return
        stream.send(data)
        if not self._serving and not self._driver.busy:  # else it goes when the link has room
            self.serve(self._driver.seconds())
        if stream.queued > MOST_WAITING:
            self.supply.brake()

    def register(self, producer: Any, streaming: bool) -> None:
        """Take a producer."""
        if self._last is not None or self._driver.session.parting is not Parting.STAY:
            producer.stopProducing()
            return
        self.supply.register(producer, streaming)
        if self._stream.queued > MOST_WAITING:
            self.supply.brake()
        if self._serving:  # it may be too late for this turn
            self._later()
        else:
            self.serve(self._driver.seconds())

    def unregister(self) -> None:
        """The producer is done."""
        self.supply.unregister()
        self.serve(self._driver.seconds())

    def pause(self) -> None:
        """Deliver nothing: the peer gets no more credit, and beats go on."""
        self.paused = True

    def resume(self) -> None:
        """Deliver again, from a later turn on: whoever calls this may be in the middle of something."""
        if self.paused:
            self.paused = False
            self._later()

    # -- ends

    def half_close(self) -> None:
        """Nothing more will be written: what waits is sent, then the end of the stream."""
        self.closing.half = True
        self.serve(self._driver.seconds())

    def lose(self) -> None:
        """Send what waits, say BYE 0; give up when nothing moves for the close timeout. Deliver no more."""
        if self.closing.begun:
            return
        self.closing.begun = True
        if self._last is not None:
            self._later()
        else:
            self.serve(self._driver.seconds())

    def abort(self, why: str) -> None:
        """End it now. The protocol is told when the transport is gone."""
        if self._last is not None:
            self.lose()
            return
        if self._reason is None and self._driver.session.beats.state not in FINAL:
            self._reason = Failure(AbortedConnection(why))
        self.closing.begun = True
        self._driver.abort()

    def press(self, now: float) -> None:
        """While closing: go on, or give up."""
        if not self.closing.begun or self._last is not None:
            return
        if self.closing.is_stuck(self._stream, now):
            self.abort("closing took too long")
        else:
            self.serve(now)

    # -- inside

    def _fail(self, error: AbortedConnection) -> None:
        """The application raised: its connection ends."""
        if self._reason is None and self._last is None:
            self._reason = Failure(error)
            self.closing.begun = True
            self._driver.abort()

    def _later(self) -> None:
        if not self._later_called:
            self._later_called = True
            self._driver.soon(self._go_on)

    def _go_on(self) -> None:
        self._later_called = False
        if self._guest.protocol is not None:
            self.serve(self._driver.seconds())
