"""A living peer as JSON text, written directly: a list of thousands is mostly this.

It is what :func:`.answers.dumps` makes of :meth:`.Peer.as_json`, equal when parsed, and in a loop of nothing else made
in half of the time: no dict is built of what is text a moment later, and what peers have in common is written once. A
new field goes into both; a test holds them equal.
"""

from __future__ import annotations

import math
from functools import lru_cache
from json.encoder import encode_basestring as quoted
from typing import TYPE_CHECKING, Final

from heartbeat.liveness.peer import Peer
from heartbeat.liveness.report import MOVING
from heartbeat.watch.web.answers import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.liveness.layers import Layers
    from heartbeat.liveness.rtt import RoundTrips

__all__ = ["peer_text"]

#: Texts that peers have in common and that are kept: lists of services (as many as :mod:`.report` keeps), and names of
#: nodes and transports.
_SERVICES_KEPT: Final = 1024
_NAMES_KEPT: Final = 64

# ``%.3f`` is round(x, 3) in one step, and with its zeros: both are the double that is nearest to three places.
_PEER: Final = (
    '{"id":%s,"node":%s,"session":%s,"address":%s,"transport":%s,"identity":%s,"state":"%s","since":%.3f,'
    '"last_heard_ms":%d,"rtt_ms":%s,"loss_ratio":%s,"interval_ms":%d,"detect_ms":%d,"phi":%s,"services":%s,'
    '"svc_hash":"%s","load":%.4f,"uptime_s":%d,"meta":%s,"cert_expires_s":%s,"bare":%s,"layers":%s}'
)
_TRIPS: Final = '{"last":%.3f,"smoothed":%.3f,"p95":%.3f}'


def peer_text(peer: Peer, now: float, wall: float) -> str:
    """The entry of ``/api/peers``.

    :param now: monotonic seconds
    :param wall: the same moment in seconds since the epoch
    """
    if type(peer) is not Peer:  # known from another server, and with one field more
        return text_of(peer.as_json())
    loss, phi, ends = peer.loss, peer.phi, peer.cert_expires
    load, uptime = MOVING.unpack(peer.moving)
    return _PEER % (
        quoted(peer.id),
        _name(peer.node),
        quoted(peer.session),
        quoted(peer.address),
        _name(peer.transport),
        "null" if peer.identity is None else quoted(peer.identity),
        peer.state.value,
        wall - (now - peer.since),
        max(0, round((now - peer.heard_at) * 1000)),
        _trips(peer.rtt),
        round(loss, 4) if loss else "0.0",
        round(peer.interval * 1000),
        round(peer.detect * 1000),
        "null" if phi is None or not math.isfinite(phi) else round(phi, 3),
        _services(peer.services),
        peer.svc_hash.hex(),
        load,
        uptime,
        _meta(peer.meta),
        "null" if ends is None else ends,
        "true" if peer.bare else "false",
        _layers(peer.layers),
    )


def _trips(rtt: RoundTrips) -> str:
    last, smoothed, p95 = rtt.last, rtt.smoothed, rtt.p95
    if last is None or smoothed is None or p95 is None:
        return "null"
    return _TRIPS % (last * 1000, smoothed * 1000, p95 * 1000)


def _meta(meta: Mapping[str, str]) -> str:
    return text_of(dict(meta)) if meta else "{}"


@lru_cache(_NAMES_KEPT)
def _name(name: str) -> str:
    return quoted(name)


@lru_cache(_SERVICES_KEPT)
def _services(services: tuple[str, ...]) -> str:
    return text_of(services)


@lru_cache(_NAMES_KEPT)
def _layers(layers: Layers) -> str:
    return text_of(layers.as_json())
