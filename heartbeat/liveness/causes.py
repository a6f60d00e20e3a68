"""From evidence to a cause, and the closed lists of names that both metrics and pages use.

:func:`name_ending` and :func:`name_silence` are pure. What the evidence cannot prove is ``unattributed``.
"""

from __future__ import annotations

from typing import Final, Literal

from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.liveness.table import ENDINGS, SILENCES, Case, first

__all__ = [
    "FAILURE_REASONS", "PHASES", "SPARE_REASONS", "known_reason", "name_ending", "name_silence",
    "phase_of",
]  # fmt: skip

CONNECT_REASONS: Final = ("dns_fail", "tcp_refused", "tcp_timeout", "tcp_unreachable")
HANDSHAKE_REASONS: Final = (
    "tls_timeout",
    "tls_verify",
    "tls_hostname",
    "tls_expired",
    "tls_pin",
    "tls_handshake",
    "intercepted",
    "identity_refused",
    "terms_refused",
    "version_refused",
    "hello_timeout",
    "id_in_use",
    "server_full",
)
LIVE_REASONS: Final = (
    "path_dead",
    "nat_expired",
    "peer_stalled",
    "peer_not_reading",
    "local_egress",
    "local_link",
    "peer_closed",
    "peer_reset",
    "middlebox_reset",
    "peer_restarted",
    "peer_stuck",
    "ping_flood",
    "protocol_error",
    "unattributed",
)
#: What only an HTTP probe finds.
HTTP_REASONS: Final = ("http_timeout", "http_4xx", "http_5xx", "http_protocol")

#: Every name that a failure can have. A closed list: they are metric labels.
FAILURE_REASONS: Final = frozenset((*CONNECT_REASONS, *HANDSHAKE_REASONS, *LIVE_REASONS, *HTTP_REASONS))
Phase = Literal["connect", "handshake", "live"]
#: Where a failure showed.
PHASES: Final = ("connect", "handshake", "live")
#: Why a peer was spared that a plain timer would have killed. Never a death.
SPARE_REASONS: Final = ("local_stall", "clock_step", "suspended", "unread_input", "mass_timeout")


def phase_of(reason: str) -> Phase:
    """Where the failure of something that was alive showed: a probe connects and shakes hands anew each time."""
    if reason in CONNECT_REASONS:
        return "connect"
    return "handshake" if reason.startswith("tls_") else "live"


def known_reason(name: str) -> str:
    """``name`` if it is on the closed list, else ``unattributed``: what a peer claims never becomes a new label."""
    return name if name in FAILURE_REASONS else "unattributed"


def name_ending(ending: Ending, half_time: Evidence | None = None) -> tuple[str, str]:
    """The cause and the detail of a transport that ended without BYE.

    :param half_time: what was observable at half time, if the peer was suspect
    """
    row = first(ENDINGS, Case(ending.evidence, half_time, how=ending.how))
    return row.cause, row.detail


def name_silence(half_time: Evidence | None, verdict: Evidence, asked: bool = True) -> tuple[str, str]:
    """The cause and the detail of a silence, from what was observable at half time and at the verdict.

    :param asked: a question is with the kernel since the last sign of life; without one nothing can be proved
    """
    row = first(SILENCES, Case(verdict, half_time, asked))
    return row.cause, row.detail
