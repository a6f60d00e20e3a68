"""One thing that is probed for as long as we run: alive, suspect, dead, and alive again."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import urlsplit

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from heartbeat.liveness.evidence import Evidence
from heartbeat.liveness.pace import jittered
from heartbeat.liveness.peer import Peer
from heartbeat.liveness.report import Report
from heartbeat.liveness.states import State
from heartbeat.liveness.tally import Tally
from heartbeat.net.listening import call, tell, wants_round_trips
from heartbeat.net.pulse import Pulse
from heartbeat.probes.answers import Answers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.liveness.counters import Counters
    from heartbeat.net.wheel import Wheel
    from heartbeat.probes.http import Outcome
    from heartbeat.probes.reasons import Trouble

__all__ = ["ProbeSpans", "Target", "new_traceparent"]

log = Logger(namespace="heartbeat.probe")
#: While questions fail the next comes sooner, but never sooner than this, seconds.
FASTEST: Final = 1.0
#: A gap of this share of the timeout, in which we were not there to read, makes a timeout worth nothing.
OUR_SHARE: Final = 1 / 8
TIMEOUTS: Final = ("tcp_timeout", "tls_timeout", "http_timeout")
PORTS: Final = {"http": 80, "https": 443}


class Asked(Protocol):
    """What a target asks: :class:`~heartbeat.probes.http.HttpProbe`, or anything like it."""

    url: str
    method: str
    timeout: float

    async def ask(self, headers: Mapping[str, str]) -> Outcome:
        """One question, one at a time."""


class ProbeSpans(Protocol):
    """Who makes spans of requests: :class:`heartbeat.watch.export.probetraces.ProbeTraces`, or anything like it."""

    def begin(self, peer: Peer, url: str, method: str) -> tuple[Any, str]:
        """A request begins: something to give back at its end, and the traceparent that it carries."""

    def end(self, begun: Any, peer: Peer, reason: str, detail: str, status: int | None) -> None:
        """It is over; ``reason`` is empty if all is well."""


class Target:
    """Asks one target again and again, and tells listeners what becomes of it, as of any peer.

    Alive it has a judge on a pulse. Dead it is asked at the usual pace, and the first right answer makes it alive: then
    it is a new peer of the same id, as one that has come back. Not one thing is done before :meth:`start`.

    :param probe: puts a question
    :param wheel: of the reactor
    :param listener: an IHeartbeatListener
    :param interval: between two questions, seconds; the detection time is ``multiplier`` times that
    :param rtt_counts: how long right answers took, all targets together
    :param spans: None: requests carry a traceparent of which nobody but the other end knows more
    :ivar peer: what is known of it now
    :ivar tally: of all its questions, whatever has become of it in between
    """

    def __init__(
        self,
        probe: Asked,
        wheel: Wheel,
        reactor: Any,
        listener: Any,
        *,
        interval: float = 5.0,
        multiplier: int = 3,
        node: str = "",
        rtt_counts: Counters | None = None,
        spans: ProbeSpans | None = None,
    ) -> None:
        self._probe = probe
        self._wheel = wheel
        self._reactor = reactor
        self._listener = listener
        self._interval = interval
        self._multiplier = multiplier
        self._node = node
        self._rtt_counts = rtt_counts
        self._spans = spans
        self.tally = Tally()
        self._met = False  # it was alive, or dead, before
        self._pulse: Pulse | None = None
        self._call: Any = None  # the next thing that happens by itself
        self._asking: Deferred[Any] | None = None
        self._last: Trouble | None = None
        self._judge, self.peer = self._fresh()

    # -- what others read of all targets, as of peers

    @property
    def interval(self) -> float:
        """Seconds between two questions, as they are paced now."""
        return self._judge.interval

    @property
    def loss(self) -> float:
        """The ratio of questions that failed within the last 60 s."""
        return self._judge.loss(self._wheel.seconds())

    @property
    def busy(self) -> bool:
        """Whether a question is under way."""
        return self._asking is not None

    # -- its life

    def start(self) -> None:
        """Ask from now on; not all targets in the same moment."""
        spread = min(self._interval, FASTEST) * self._wheel.clocks.draw()
        self._call = self._reactor.callLater(spread, self._ask_apart)

    def stop(self) -> None:
        """Ask no more. Nothing remains: no timer, no connection."""
        call, self._call = self._call, None
        if call is not None:
            call.cancel()
        asking, self._asking = self._asking, None
        if asking is not None:
            asking.cancel()
        pulse, self._pulse = self._pulse, None
        if pulse is not None:
            pulse.stop()

    # -- asking

    def _ask_apart(self) -> None:
        """Ask although nobody is judged."""
        now = self._wheel.seconds()
        number = self._judge.number
        self._judge.asked(now)
        self._judge.handed_over(now)
        self._begin(number)

    def _ask(self, now: float) -> bool:
        """The pulse wants to know. While a question is under way there is no other."""
        if self._asking is not None or self._call is not None:
            return False
        # In the next turn: the judge has to hear that it asked before it hears what came of it.
        self._call = self._reactor.callLater(0, self._begin, self._judge.number)
        return True

    def _begin(self, number: int) -> None:
        self._call = None
        began = self._wheel.seconds()
        spans, peer = self._spans, self.peer
        begun: Any = None
        if spans is None:
            traceparent = new_traceparent()
        else:
            begun, traceparent = spans.begin(peer, self._probe.url, self._probe.method)
        peer.traceparent = traceparent
        judge = self._judge
        asking = self._asking = Deferred.fromCoroutine(self._probe.ask({"traceparent": traceparent}))

        def over(outcome: Outcome) -> None:
            if self._asking is not asking:
                return  # we were told to stop
            self._asking = None
            self._came(judge, number, outcome, began)
            if spans is not None:
                reason, detail = outcome.trouble or ("", "")
                spans.end(begun, peer, reason, detail, outcome.status)

        asking.addCallback(over)
        asking.addErrback(_defect)

    def _came(self, asked: Answers, number: int, outcome: Outcome, began: float) -> None:
        """An answer, or none. The judge that asked may have given its verdict meanwhile."""
        now = self._wheel.seconds()
        trouble = outcome.trouble
        if trouble is not None and self._our_fault(trouble, began):
            asked.failed(number, None, now)
            self._follow(now)
            return
        self._write(outcome)
        if trouble is None:
            asked.settle(number, now, now)
            if self._judge.state is State.CONNECTING:
                self._open(now)
            self._judge.heard(now)
        else:
            asked.failed(number, trouble, now)
            if not self._met:
                self._open(now)
                self._judge.distrust(now, None if trouble.reason in TIMEOUTS else outcome.seconds)
        self._follow(now)

    def _our_fault(self, trouble: Trouble, began: float) -> bool:
        """A timeout that fired because our own loop did not run says nothing."""
        if self._pulse is None:  # nobody is judged: nothing wakes the wheel, which would notice
            return False
        now = self._wheel.seconds()
        stalled = now - began - self._wheel.attention.awake(began, now, 0.0)
        return trouble.reason in TIMEOUTS and stalled > self._probe.timeout * OUR_SHARE

    # -- judging

    def _open(self, now: float) -> None:
        """It is watched from here on."""
        self._met = True
        self._judge.opened(now, at_once=False)
        if self._listener is not None:
            call(self._listener, "joined", self.peer)
        link: Any = _NoLink()
        self._pulse = Pulse(self._wheel, self._judge, link, self._ask, self._died, changed=self._tell)
        self._pulse.start()

    def _follow(self, now: float) -> None:
        """What comes next."""
        self._tell()
        if self._pulse is not None:
            self._pulse.attend(now)
        elif self._call is None and self._asking is None:
            self._call = self._reactor.callLater(jittered(self._interval, self._wheel.clocks.draw), self._ask_apart)

    def _tell(self) -> None:
        for event in self._judge.events():
            if self._listener is not None:
                tell(self._listener, self.peer, event, True)

    def _died(self) -> None:
        """The verdict has fallen: from here on it is only asked."""
        self._tell()
        self._pulse = None
        self._judge, self.peer = self._fresh()
        if self._call is None and self._asking is None:
            self._follow(self._wheel.seconds())

    def _fresh(self) -> tuple[Answers, Peer]:
        """A judge who knows nothing yet, and the view of it."""
        wheel = self._wheel
        judge = Answers(
            self._interval * self._multiplier,
            wheel.attention,
            wheel.seconds(),
            interval=self._interval,
            draw=wheel.clocks.draw,
            floor=min(FASTEST, self._interval),
            gated=True,
            rtt_counts=self._rtt_counts,
        )
        judge.tally = self.tally
        judge.wants_round_trips = wants_round_trips(self._listener)
        parts = urlsplit(self._probe.url)
        address = f"{parts.hostname}:{parts.port or PORTS[parts.scheme]}"
        peer = Peer(judge, wheel.clocks, id=self._probe.url, address=address, transport=parts.scheme, node=self._node)
        return judge, peer

    def _write(self, outcome: Outcome) -> None:
        """What the page and the log say of it. The log tells changes; all of it to those who debug."""
        trouble = outcome.trouble
        meta = {"method": self._probe.method}
        if outcome.status is not None:
            meta["status"] = str(outcome.status)
        if trouble is not None:
            meta["trouble"] = f"{trouble.reason}: {trouble.detail}" if trouble.detail else trouble.reason
        self.peer.report = Report(meta=meta)
        write = log.debug if trouble == self._last else log.info
        self._last = trouble
        write(
            "{peer}: {what} after {seconds} s",
            peer=self.peer.id,
            what=meta.get("trouble", f"status {outcome.status}"),
            seconds=round(outcome.seconds, 3),
            reason=None if trouble is None else trouble.reason,
            trace_id=self.peer.trace_id,
            traceparent=self.peer.traceparent,
        )


class _NoLink:
    """Requests have a connection each, and none of them is watched by itself."""

    exact = True

    def look(self, now: float) -> Evidence:
        """Nothing to see."""
        return Evidence(now)

    def drained(self, callback: Any) -> None:
        """The clock of a question runs from the request on: to connect is a part of it."""
        callback()


def _defect(failure: Failure) -> None:
    if not failure.check(CancelledError):
        log.failure("a probe is broken, and asks no more", failure)


def new_traceparent() -> str:
    """A trace context of which nothing is recorded here."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
