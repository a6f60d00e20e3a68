"""Phase two: SYNC, SYNC-ACK and STATE, both directions of one connection (``wire.md`` §3)."""

from __future__ import annotations

import hashlib
import math
import re
from functools import lru_cache
from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from heartbeat.errors import ConfigError, PeerViolation
from heartbeat.liveness.events import Synced
from heartbeat.liveness.report import EMPTY_REPORT, Report
from heartbeat.session.greeting import known_traceparent
from heartbeat.wire.frames import CHANGED, STUCK, SYNC_ACK, WANT_STATE, State, Sync, SyncAck
from heartbeat.wire.profile import dump_object, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.interfaces import IStateSource
    from heartbeat.liveness.peer import Peer

__all__ = ["Syncs", "parse_state", "service_hash"]

MOST_SERVICES: Final = 4096
MOST_SERVICE_BYTES: Final = 255
MOST_SERVICES_BYTES: Final = 65_536
MOST_META: Final = 64
MOST_META_BYTES: Final = 1024
MOST_META_NAME_BYTES: Final = 64
# The largest finite float32: a load over it does not fit into a SYNC.
MOST_LOAD: Final = 3.4028234663852886e38
# Lists of services whose digest is remembered; a process announces one or two, a test some dozens.
DIGESTS: Final = 64
# Digests that peers have in common, and that are kept once for all of them.
SHARED: Final = 1024
# A float32, big-endian, that is below this as bytes is neither negative nor infinite nor NaN.
INFINITE: Final = b"\x7f\x80"
NO_FLAGS: Final = b"\x00\x00"
# What was said in an older connection, of which this one knows nothing: it differs from everything.
NOT_KNOWN: Final = (None, None, None)
# The time that is left crosses the wire in whole seconds, and clocks on the wall are set; a renewal gains days.
SAME_EXPIRY: Final = 60.0

_U16: Final = Struct(">H").pack
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")


@lru_cache(maxsize=DIGESTS)
def service_hash(services: tuple[str, ...]) -> bytes:
    """The 16 bytes by which a change of services is noticed: MD5, never a security check."""
    names = sorted({name.encode() for name in services})
    return hashlib.md5(b"".join(name + b"\n" for name in names), usedforsecurity=False).digest()


@lru_cache(maxsize=SHARED)
def shared(digest: bytes) -> bytes:
    """``digest``, the same object for equal ones: 10,000 gateways offer the same services."""
    return digest


class Syncs:
    """What one connection knows of phase two.

    :param source: gives our own account

    :ivar interval: the agreed sync interval, seconds
    :ivar due: when the next SYNC may follow a success of phase one; the hot path compares it
    :ivar expects: a STATE was asked for and has not come
    """

    __slots__ = (
        "_asks", "_news", "_sent", "_seq", "_source", "_state", "_usual", "_wanted", "due", "expects", "held",
        "interval",
    )  # fmt: skip

    def __init__(self, source: IStateSource) -> None:
        self._source = source
        self.interval = math.inf
        self._state = False  # whether STATE is in force
        self.due = -math.inf
        self.expects = False
        self._seq = -1  # of the newest SYNC that we sent
        self._asks = False  # ... which was not answered yet
        self._sent: tuple[Any, ...] | None = None  # what our last STATE said
        self.held: bytes | None = None  # the svc_hash under which we keep the peer's STATE
        self._wanted = b""  # the svc_hash for which we asked
        self._news = True  # the peer's next SYNC is its first
        self._usual = b""  # flags and svc_hash of a SYNC that has no news but load and uptime

    def agree(self, interval: float, state: bool) -> None:
        """The gate has opened: the agreed sync interval, and whether STATE is in force."""
        self.interval = interval
        self._state = state

    def withhold(self) -> None:
        """Give the peer no state: no SYNC is sent, and so no STATE is asked for. Its own are taken and answered."""
        self.due = math.inf

    def release(self) -> None:
        """The peer has proved who it is, whatever it was before: it gets our state."""
        self.due = -math.inf

    def resumed(self) -> None:
        """The session goes on from an older connection: what we said last in it counts as changed."""
        self._sent = NOT_KNOWN

    # -- ours

    def compose(self, now: float) -> bytes:
        """A SYNC frame, due now."""
        self.due = now + self.interval
        report = self._source.report()
        self._seq = (self._seq + 1) & 0xFFFF
        self._asks = True
        flags = STUCK if report.stuck else 0
        if self._state and self._sent is not None and _differ(self._sent, _constant(report, now)):
            flags |= CHANGED
        load = min(report.load, MOST_LOAD) if report.load >= 0.0 else 0.0  # a source that says NaN says nothing
        return Sync(self._seq, flags, service_hash(report.services), load, max(report.uptime, 0)).encode()

    def acknowledged(self, frame: SyncAck, now: float, traceparent: str | None = None) -> tuple[bool, bytes]:
        """A SYNC-ACK came: whether it matches our newest SYNC, and the STATE frame that it asks for, if any."""
        if frame.seq != self._seq or not self._asks:  # a second STATE for one SYNC would be unasked for
            return False, b""
        self._asks = False
        if not (self._state and frame.flags & WANT_STATE):
            return True, b""
        report = self._source.report()
        self._sent = _constant(report, now)
        try:
            return True, _state_frame(report, traceparent)
        except ConfigError:  # more than a STATE holds: better an empty one than a peer that asks for ever
            return True, _state_frame(EMPTY_REPORT)

    # -- the peer's

    def received(self, frame: Sync, peer: Peer, now: float) -> tuple[bytes, Synced | None]:
        """A SYNC came: the SYNC-ACK for it, and an event if there is news."""
        stuck = bool(frame.flags & STUCK)
        old = peer.report
        peer.svc_hash = shared(frame.svc_hash)
        peer.report = old._replace(load=frame.load, uptime=frame.uptime, stuck=stuck)
        want = self._state and (frame.svc_hash != self.held or bool(frame.flags & CHANGED))
        if want:
            self.expects = True
            self._wanted = peer.svc_hash
        self._usual = b"" if want else shared(_U16(STUCK if stuck else 0) + frame.svc_hash)
        event = Synced(now, peer.report) if self._news or old.stuck != stuck else None
        self._news = False
        return SyncAck(frame.seq, WANT_STATE if want else 0).encode(), event

    def again(self, data: bytes, peer: Peer) -> bytes:
        """The usual SYNC, whole, in which only load and uptime are new: its SYNC-ACK. ``b""``: it is another one.

        It is a short way past the decoder and :meth:`received`, with the same effect.
        """
        if data[6:24] != self._usual or data[24:26] >= INFINITE:
            return b""
        peer.moving = data[24:]
        return SYNC_ACK + data[4:6] + NO_FLAGS

    def stated(self, body: bytes, peer: Peer, now: float) -> Synced:
        """The STATE that we asked for came. Raises PeerViolation."""
        told, traceparent = _read_state(body)
        if peer.traceparent is None:
            peer.traceparent = traceparent
        last = peer.report
        peer.report = told._replace(load=last.load, uptime=last.uptime, stuck=last.stuck)
        self.expects = False
        self.held = self._wanted
        return Synced(now, peer.report)


def _constant(report: Report, now: float) -> tuple[Any, ...]:
    """What CHANGED is about: all but the numbers that move all the time, and when a certificate expires."""
    return (report.services, dict(report.meta), None if report.cert_expires is None else now + report.cert_expires)


def _differ(sent: tuple[Any, ...], meant: tuple[Any, ...]) -> bool:
    """Whether the peer must be told. A certificate that expires at about the same moment was not renewed."""
    if sent[:2] != meant[:2]:
        return True
    before, after = sent[2], meant[2]
    return (before is None) != (after is None) or (after is not None and abs(after - before) > SAME_EXPIRY)


def _state_frame(report: Report, traceparent: str | None = None) -> bytes:
    members = {
        "services": list(report.services),
        "meta": dict(report.meta),
        "progress": report.progress,
        "cert_expires_s": report.cert_expires,
        "lag_p99_ms": report.lag_p99_ms,
        "traceparent": traceparent,
    }
    return State(dump_object({name: value for name, value in members.items() if value is not None})).encode()


def parse_state(body: bytes) -> Report:
    """Read a STATE; load, uptime and stuck are those of an empty report. Raises PeerViolation, code 2."""
    return _read_state(body)[0]


def _read_state(body: bytes) -> tuple[Report, str | None]:
    """The report, and the trace context."""
    members = parse_object(body, "STATE")
    services = members.get("services", [])
    if type(services) is not list or len(services) > MOST_SERVICES:
        raise PeerViolation(f"STATE: services must be a list of at most {MOST_SERVICES} names")
    if not all(type(one) is str and one and _fits(one, MOST_SERVICE_BYTES) for one in services):
        raise PeerViolation(f"STATE: a service must be 1-{MOST_SERVICE_BYTES} bytes without control characters")
    if sum(len(one.encode()) for one in services) > MOST_SERVICES_BYTES:
        raise PeerViolation(f"STATE: services over {MOST_SERVICES_BYTES} bytes in all")
    lag = _number(members, "lag_p99_ms", (int, float))
    traceparent = members.get("traceparent", "")
    if type(traceparent) is not str:
        raise PeerViolation("STATE: traceparent must be a string")
    report = Report(
        services=tuple(services),
        meta=_meta(members.get("meta", {})),
        progress=_number(members, "progress", (int,)),
        cert_expires=_number(members, "cert_expires_s", (int,)),
        lag_p99_ms=None if lag is None else min(float(lag), MOST_LOAD),
    )
    return report, known_traceparent(traceparent)


def _meta(meta: Any) -> Mapping[str, str]:
    if type(meta) is not dict or len(meta) > MOST_META:
        raise PeerViolation(f"STATE: meta must be an object of at most {MOST_META} strings")
    for name, text in meta.items():
        if not _fits(name, MOST_META_NAME_BYTES) or type(text) is not str or not _fits(text, MOST_META_BYTES):
            raise PeerViolation(
                f"STATE: meta {name!r:.80} must be text of at most {MOST_META_BYTES} bytes without control characters"
            )
    return meta


def _number(members: Mapping[str, Any], name: str, kinds: tuple[type, ...]) -> Any:
    value = members.get(name)
    if name in members and type(value) not in kinds:
        raise PeerViolation(f"STATE: {name} must be a number, not {value!r:.60}")
    return value


def _fits(text: str, most: int) -> bool:
    return len(text.encode()) <= most and _CONTROL.search(text) is None
