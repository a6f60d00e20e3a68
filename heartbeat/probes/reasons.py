"""From what an HTTP client raises, or from an answer, to a reason of the closed list. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from OpenSSL import SSL
from twisted.internet import error
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.web.client import ResponseFailed

from heartbeat.errors import DeadlineExpired

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["MOST_DETAIL", "Expected", "Progress", "TooLarge", "Trouble", "trouble_with", "wrong_answer"]

#: How much of what a library says goes into a detail.
MOST_DETAIL: Final = 120


class TooLarge(Exception):
    """The body is longer than it may be."""


class Trouble(NamedTuple):
    """What is wrong with a target.

    :ivar reason: one of :data:`heartbeat.liveness.causes.FAILURE_REASONS`
    :ivar detail: the finer name, for people
    """

    reason: str
    detail: str = ""


@dataclass(slots=True)
class Progress:
    """How far a request came: what tells one silence from another.

    :ivar tls: it is ``https``; of the next two nothing is known otherwise
    :ivar connected: TCP was there, and TLS began
    :ivar secured: TLS has shaken hands
    :ivar answered: the head of the answer has come
    """

    tls: bool = False
    connected: bool = False
    secured: bool = False
    answered: bool = False

    @property
    def shaking(self) -> bool:
        """TLS began and has not come to an end."""
        return self.connected and not self.secured


class Expected(NamedTuple):
    """What a right answer is.

    :ivar status: exactly this; None: any 2xx
    :ivar body: a text that it contains, in bytes; None: anything
    """

    status: int | None = None
    body: bytes | None = None


def trouble_with(problem: BaseException, progress: Progress) -> Trouble:
    """The reason for an exception, by the innermost of what it wraps."""
    leaves = list(_leaves(problem))
    for kinds, judge in _KINDS:
        for one in leaves:
            if isinstance(one, kinds):
                return judge(one, progress)
    if isinstance(problem, ResponseFailed):  # all else that it holds is about the answer
        return Trouble("http_protocol", _told(leaves[0]))
    return Trouble("unattributed", _told(leaves[0]))


def wrong_answer(status: int, body: bytes, expected: Expected) -> Trouble | None:
    """What is wrong with an answer; None: nothing."""
    right = status == expected.status if expected.status is not None else 200 <= status < 300
    if not right:
        kind = {4: "http_4xx", 5: "http_5xx"}.get(status // 100, "http_protocol")
        return Trouble(kind, f"status {status}")
    if expected.body is not None and expected.body not in body:
        return Trouble("http_protocol", "another body")
    return None


def _silence(problem: BaseException, progress: Progress) -> Trouble:
    if progress.answered:
        return Trouble("http_timeout", "in the body")
    return Trouble("tls_timeout") if progress.shaking else Trouble("http_timeout", "no answer")


def _lost(problem: BaseException, progress: Progress) -> Trouble:
    closed = not isinstance(problem, error.ConnectionLost)
    if progress.shaking:
        return Trouble("tls_handshake", "closed" if closed else "reset")
    return Trouble("peer_closed" if closed else "peer_reset")


def _just(reason: str, detail: str = "") -> Judge:
    return lambda problem, progress: Trouble(reason, detail)


def _with_words(reason: str) -> Judge:
    return lambda problem, progress: Trouble(reason, _told(problem))


Judge = Callable[[BaseException, Progress], Trouble]
#: The first that fits, in this order: a cause stands before what follows from it.
_KINDS: Final[tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Judge], ...]] = (
    (error.DNSLookupError, _just("dns_fail")),
    (error.ConnectionRefusedError, _just("tcp_refused")),
    ((error.TCPTimedOutError, error.TimeoutError, error.ConnectingCancelledError), _just("tcp_timeout")),
    (TooLarge, _just("http_protocol", "too large")),
    ((DeadlineExpired, CancelledError), _silence),
    (SSL.Error, _with_words("tls_handshake")),
    (error.ConnectionClosed, _lost),
    ((error.ConnectError, OSError), _with_words("tcp_unreachable")),
    (ValueError, _with_words("http_protocol")),  # a redirect to what is no URL
)


def _leaves(problem: BaseException) -> Iterator[BaseException]:
    """The exceptions inside of those that Twisted wraps (``reasons``), and of ours (``__cause__``)."""
    wrapped: list[Failure] = getattr(problem, "reasons", None) or []
    for one in wrapped:
        if one.value is not None:
            yield from _leaves(one.value)
    if wrapped:
        return
    yield problem
    if isinstance(problem, DeadlineExpired) and problem.__cause__ is not None:
        yield from _leaves(problem.__cause__)


def _told(problem: BaseException) -> str:
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text[:MOST_DETAIL]
