"""A peer as others see it: a live view, whose attributes are read when asked."""

from __future__ import annotations

import math
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol

from heartbeat.liveness.layers import Layers, layers
from heartbeat.liveness.recorder import KEPT, Flight, Kind, Recorder
from heartbeat.liveness.report import EMPTY_REPORT, MOVING, Report, lasting
from heartbeat.liveness.states import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.liveness.beats import Beats
    from heartbeat.liveness.rtt import RoundTrips
    from heartbeat.liveness.tally import Tally

__all__ = ["Clocks", "Peer"]


class Clocks(Protocol):
    """The two clocks that a view needs: one to subtract, one to show."""

    def seconds(self) -> float:
        """Monotonic seconds."""

    def wall(self) -> float:
        """Seconds since the epoch."""


# A moment that is told in whole seconds, again and again, is the same.
SAME_MOMENT: Final = 2.0
# What two sums of floats may differ by.
ROUNDING: Final = 1e-3
NOTHING_MOVES: Final = MOVING.pack(0.0, 0)
# What brought a peer without a recorder into its state; it was always well.
BEGINNINGS: Final = {State.CONNECTING: Kind.CONNECTED, State.ALIVE: Kind.OPENED, State.LEFT: Kind.LEFT}
NO_OPTIONS: Final[Mapping[str, str]] = MappingProxyType({})
# Where the id stands in a traceparent (W3C Trace Context §3.2.2).
TRACE_ID: Final = slice(3, 35)


class Peer:
    """One peer, alive or not. It keeps no connection alive: only the numbers of its judge.

    :ivar id: its name, or ``~host:port`` for a bare or anonymous one
    :ivar session: the id of its session, ``""`` where there is none
    :ivar node: the server that it is connected to
    :ivar address: ``host:port`` as the transport tells it
    :ivar transport: ``tcp``, ``tls``, ``unix`` ...
    :ivar identity: what it has proved: its id, ``*`` for a member (a shared key that is nobody's own), None for nothing
    :ivar instance: of its process, new at every start; None if it did not say
    :ivar bare: it sent no HELLO
    :ivar cert_ends: when its certificate expires, monotonic seconds; None where it has none
    :ivar moving: its last load and uptime, packed by :data:`.report.MOVING`; a usual SYNC writes it directly
    :ivar svc_hash: the digest of its services, as it last sent it (16 bytes, or empty)
    :ivar options: what became of each kernel option that was asked for; peers of the same fate share it
    :ivar traceparent: the W3C trace context of its connection: ours where this end traces, else what the peer sent, if
        anything
    """

    __slots__ = (
        "__weakref__",
        "_beats",
        "_clocks",
        "_told",
        "address",
        "bare",
        "cert_ends",
        "id",
        "identity",
        "instance",
        "moving",
        "node",
        "options",
        "session",
        "svc_hash",
        "traceparent",
        "transport",
    )

    def __init__(
        self, beats: Beats, clocks: Clocks, *, id: str, address: str = "", transport: str = "tcp", node: str = ""
    ) -> None:
        self._beats = beats
        self._clocks = clocks
        self.id = id
        self.node = node
        self.session = ""
        self.address = address
        self.transport = transport
        self.identity: str | None = None
        self.instance: str | None = None
        self.bare = False
        self.cert_ends: float | None = None
        self._told = EMPTY_REPORT
        self.moving = NOTHING_MOVES
        self.svc_hash = b""
        self.options: Mapping[str, str] = NO_OPTIONS
        self.traceparent: str | None = None

    @property
    def trace_id(self) -> str | None:
        """The id of the trace that its connection belongs to, 32 hex digits; None without one."""
        return None if self.traceparent is None else self.traceparent[TRACE_ID]

    @property
    def state(self) -> State:
        """What is known of it now."""
        return self._beats.state

    @property
    def cause(self) -> str | None:
        """Why it is dead or refused, None if it is not."""
        return self._beats.liveness.cause

    @property
    def since(self) -> float:
        """When it came into this state, monotonic seconds."""
        return self._beats.liveness.since

    @property
    def heard_at(self) -> float:
        """The last sign of life, monotonic seconds."""
        return self._beats.liveness.heard_at

    @property
    def rtt(self) -> RoundTrips:
        """Its round trips: ``last``, ``smoothed``, ``p95``; all None until a question of ours was answered."""
        return self._beats.rtt

    @property
    def loss(self) -> float:
        """The ratio of our questions of the last 60 s that were never answered, 0.0 to 1.0."""
        return self._beats.loss(self._clocks.seconds())

    @property
    def interval(self) -> float:
        """Seconds between our own questions, as they are paced now."""
        return self._beats.interval

    @property
    def detect(self) -> float:
        """Seconds of silence after which it is given up."""
        return self._beats.liveness.terms.detect

    @property
    def phi(self) -> float | None:
        """The suspicion of a phi accrual detector, None without one."""
        return self._beats.phi(self._clocks.seconds())

    @property
    def tally(self) -> Tally:
        """Its plain numbers."""
        return self._beats.tally

    @property
    def report(self) -> Report:
        """Its last account of itself."""
        load, uptime = MOVING.unpack(self.moving)
        return self._told._replace(load=load, uptime=uptime, cert_expires=self.cert_expires)

    @report.setter
    def report(self, report: Report) -> None:
        self.moving = MOVING.pack(report.load, report.uptime)
        if report.cert_expires is not None:
            ends = self._clocks.seconds() + report.cert_expires
            if self.cert_ends is None or abs(ends - self.cert_ends) > SAME_MOMENT:
                self.cert_ends = ends
        self._told = lasting(report._replace(cert_expires=None))

    @property
    def cert_expires(self) -> int | None:
        """Whole seconds until its certificate expires, as of now; negative if it has; None where it has none."""
        return None if self.cert_ends is None else math.ceil(self.cert_ends - self._clocks.seconds() - ROUNDING)

    @property
    def services(self) -> tuple[str, ...]:
        """The services that it announced."""
        return self._told.services

    @property
    def load(self) -> float:
        """Its load: 0.0 idle to 1.0 saturated, or above."""
        return float(MOVING.unpack(self.moving)[0])

    @property
    def uptime(self) -> int:
        """Whole seconds since its process or host started."""
        return int(MOVING.unpack(self.moving)[1])

    @property
    def meta(self) -> Mapping[str, str]:
        """Its free text by name."""
        return self._told.meta

    @property
    def layers(self) -> Layers:
        """What is known of its host, its loop and its work."""
        judge = self._beats.liveness
        return layers(judge.state, judge.cause, judge.evidence, counts=self._told.progress is not None)

    def flight(self) -> Flight:
        """Its last events, as of now: what was recorded, and what its judge knows besides."""
        beats = self._beats
        judge = beats.liveness
        recorder = judge.recorder
        if recorder is None:  # it was always well
            recorder = Recorder(judge.since, BEGINNINGS[judge.state])
        newest = range(max(beats.first, beats.number - KEPT), beats.number)
        open_questions = ((at, number) for number in newest if (at := beats.asked_at(number)) is not None)
        offset = self._clocks.wall() - self._clocks.seconds()
        return Flight(recorder.completed(judge.heard_at, open_questions), offset)

    def as_json(self) -> dict[str, Any]:
        """The shape of ``/api/peers``: plain values, times as of now."""
        now, wall = self._clocks.seconds(), self._clocks.wall()
        rtt, report = self.rtt, self._told
        load, uptime = MOVING.unpack(self.moving)  # a report made of both would take as long as five other fields
        phi = self.phi
        return {
            "id": self.id,
            "node": self.node,
            "session": self.session,
            "address": self.address,
            "transport": self.transport,
            "identity": self.identity,
            "state": self.state.value,
            "since": round(wall - (now - self.since), 3),
            "last_heard_ms": max(0, round((now - self.heard_at) * 1000)),
            "rtt_ms": None
            if rtt.last is None
            else {"last": _ms(rtt.last), "smoothed": _ms(rtt.smoothed), "p95": _ms(rtt.p95)},
            "loss_ratio": round(self._beats.loss(now), 4),
            "interval_ms": round(self.interval * 1000),
            "detect_ms": round(self.detect * 1000),
            "phi": None if phi is None or not math.isfinite(phi) else round(phi, 3),
            "services": list(report.services),
            "svc_hash": self.svc_hash.hex(),
            "load": round(load, 4),  # it crosses the wire in single precision
            "uptime_s": uptime,
            "meta": dict(report.meta),
            "cert_expires_s": self.cert_expires,
            "bare": self.bare,
            "layers": self.layers.as_json(),
        }

    def details(self) -> dict[str, Any]:
        """The shape of ``/api/peers/ID``: as :meth:`as_json`, and what would be too much for a list of thousands."""
        more = {"kernel": dict(self.options), "trace_id": self.trace_id, "events": self.flight().as_json()}
        return {**self.as_json(), **more}


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
