"""Every exception of this library, in one tree.

::

    HeartbeatError
    ├── ConfigError (a ValueError)      an option, a key or an argument of yours; names it and the value
    │   └── MissingExtra                a feature whose optional package is not installed; names the extra
    ├── BadCertificate                  a certificate, key or list of authorities that cannot be used; names it
    │   └── CertificateNotReady         ... because its provider has not given it yet
    ├── PeerUnresponsive                the verdict: the peer is dead; has a cause and the evidence
    ├── PeerViolation                   the peer broke the wire protocol; has the BYE code to answer with
    ├── PeerRefused                     the gate never opened: refused by the peer, or by us
    │   └── TermsRefused                ... because no common terms were found (BYE 4)
    ├── PingLost                        the peer is alive, but this one question was never answered
    ├── DeadlineExpired                 a caller's own waiting is over; nothing was closed
    │   ├── BudgetExpired               ... because the budget was spent that this time was a part of
    │   └── AlreadyExpired              ... before the request began: nothing was waited for
    ├── StoreUnavailable                a store does not answer (now); nobody is dead because of that
    ├── IncompleteRead                  the stream ended before the bytes that were asked for
    └── NotConnected                    asked of a connection that is not open (any more)

This module is pure. What reaches a Twisted ``connectionLost`` is in :mod:`heartbeat.net.reasons`. A caller that cancels
its own waiting gets Twisted's ``CancelledError``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heartbeat.liveness.evidence import Evidence

__all__ = [
    "AlreadyExpired",
    "BadCertificate",
    "BudgetExpired",
    "CertificateNotReady",
    "ConfigError",
    "DeadlineExpired",
    "HeartbeatError",
    "IncompleteRead",
    "MissingExtra",
    "NotConnected",
    "PeerRefused",
    "PeerUnresponsive",
    "PeerViolation",
    "PingLost",
    "StoreUnavailable",
    "TermsRefused",
]


class HeartbeatError(Exception):
    """The root: catch this to catch anything that this library raises."""


class ConfigError(HeartbeatError, ValueError):
    """A setting is wrong.

    :ivar name: the setting as its user wrote it (``interval``, ``--listen``, ``beatKey``)
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name

    def __str__(self) -> str:
        return ": ".join(self.args)


class MissingExtra(ConfigError):
    """A feature was asked for whose optional package is not installed.

    :ivar extra: what to install: ``pip install 'txheartbeat[extra]'``
    """

    def __init__(self, name: str, extra: str) -> None:
        super().__init__(name, f"needs an optional package: pip install 'txheartbeat[{extra}]'")
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        return type(self), (self.name, self.extra)


class BadCertificate(HeartbeatError):
    """A certificate, its key or a list of authorities cannot be used. No part of a key is ever shown.

    :ivar part: which of them, as its user knows it: a path, say
    :ivar trouble: what is wrong with it
    """

    def __init__(self, part: str, trouble: str) -> None:
        super().__init__(part, trouble)
        self.part = part
        self.trouble = trouble

    def __str__(self) -> str:
        return f"{self.part} {self.trouble}"


class CertificateNotReady(BadCertificate):
    """... because its provider has not given it yet."""

    def __init__(self, part: str = "the certificate", trouble: str = "is not loaded yet") -> None:
        super().__init__(part, trouble)


class PeerUnresponsive(HeartbeatError):
    """The peer is dead.

    :ivar cause: one of :data:`heartbeat.liveness.causes.FAILURE_REASONS`
    :ivar evidence: what was observable when the verdict fell, or None
    """

    def __init__(self, cause: str, evidence: Evidence | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.evidence = evidence


class PeerViolation(HeartbeatError):
    """The peer broke the protocol (``wire.md`` §1, §6).

    :ivar code: the code of the BYE that answers it
    :ivar reason: one line for people; also the reason text of that BYE
    """

    def __init__(self, reason: str, code: int = 2) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class PeerRefused(HeartbeatError):
    """The gate never opened.

    :ivar cause: one of :data:`heartbeat.liveness.causes.FAILURE_REASONS`
    :ivar reason: the text of the BYE, or what we found
    """

    def __init__(self, cause: str, reason: str = "") -> None:
        super().__init__(f"{cause}: {reason}" if reason else cause)
        self.cause = cause
        self.reason = reason


class TermsRefused(PeerRefused):
    """No common terms: a detection time over the limit of one of the two ends (``wire.md`` §4)."""


class PingLost(HeartbeatError):
    """The peer answered a later question and not this one."""


class DeadlineExpired(HeartbeatError):
    """The caller's own time is up. Nothing was closed and the peer is not judged by it.

    :ivar made: where the deadline was made, ``file:line``; empty if it was a plain number of seconds
    :ivar seconds: how long it was, or None
    :ivar late: by how many seconds our own loop was late to notice: so long it was stalled
    """

    def __init__(self, message: str = "", made: str = "", seconds: float | None = None, late: float = 0.0) -> None:
        super().__init__(*([message] if message else []))
        self.made = made
        self.seconds = seconds
        self.late = late


class BudgetExpired(DeadlineExpired):
    """The budget was spent that this time was a part of; :attr:`made` is where the budget was made."""


class AlreadyExpired(DeadlineExpired):
    """The deadline was over before this request began: it was used for an earlier one, or made too early.

    It failed at once. Make a new deadline for each request, or give a budget that is long enough for all.
    """


class StoreUnavailable(HeartbeatError):
    """A store does not answer, or not now. What was asked of it may have been carried out, and may be repeated."""


class IncompleteRead(HeartbeatError):
    """The stream ended before the bytes that were asked for had come. ``__cause__`` is the reason of its end.

    :ivar partial: how many had come; the next read can still have them
    :ivar wanted: how many were asked for
    """

    def __init__(self, partial: int, wanted: int) -> None:
        super().__init__(partial, wanted)
        self.partial = partial
        self.wanted = wanted

    def __str__(self) -> str:
        return f"the stream ended after {self.partial} of {self.wanted} bytes"


class NotConnected(HeartbeatError):
    """The connection is not open: not yet, or not any more."""
