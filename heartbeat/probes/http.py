"""One HTTP request: is the target there, does it answer in time, is the answer right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urljoin, urlsplit

from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers

from heartbeat import __version__
from heartbeat.net.clocks import clocks_for
from heartbeat.net.deadline import Deadline
from heartbeat.probes.https import Policy
from heartbeat.probes.reasons import Expected, TooLarge, Trouble, trouble_with, wrong_answer

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["MOST_BODY", "HttpProbe", "Outcome"]

#: Bytes of a body that are read; a page that says how somebody is has a line or two.
MOST_BODY: Final = 64 * 1024
SCHEMES: Final = ("http", "https")
REDIRECTS: Final = (301, 302, 303, 307, 308)
ANY_2XX: Final = Expected()
COMMON: Final = {"User-Agent": f"txheartbeat/{__version__}", "Accept": "*/*"}


class Outcome(NamedTuple):
    """What came of one request.

    :ivar seconds: until the last byte that counts, or until it was given up
    :ivar trouble: None: all is well
    :ivar status: of the answer, None without one
    """

    seconds: float
    trouble: Trouble | None = None
    status: int | None = None


class HttpProbe:
    """Asks one URL. No connection is kept: to connect is a part of what is asked.

    :param url: ``http`` or ``https``
    :param expected: the right answer
    :param timeout: seconds for all of it, from the lookup of the name to the last byte of the body
    :param method: ``GET`` or ``HEAD``
    :param redirects: how many are followed; 0: a redirect is an answer
    :param most: bytes of the body
    :param trust: as :class:`~heartbeat.probes.https.Policy` takes it
    """

    def __init__(
        self,
        url: str,
        reactor: Any,
        *,
        expected: Expected = ANY_2XX,
        timeout: float = 5.0,
        method: str = "GET",
        redirects: int = 0,
        most: int = MOST_BODY,
        trust: Any = None,
    ) -> None:
        self.url = url
        self.method = method
        self.timeout = timeout
        self._reactor = reactor
        self._seconds = clocks_for(reactor).seconds
        self._expected = expected
        self._most = most
        self._redirects = redirects
        self._policy = Policy(trust)
        pool = HTTPConnectionPool(reactor, persistent=False)
        self._agent: Any = Agent(reactor, self._policy, connectTimeout=timeout, pool=pool)

    async def ask(self, headers: Mapping[str, str]) -> Outcome:
        """Put one question; only one at a time. What goes wrong is told and not raised, but for a cancellation.

        :param headers: more of them, ``traceparent`` say
        """
        began = self._seconds()
        deadline = Deadline(self.timeout, self._reactor)
        url, status = self.url, None
        for hops in range(self._redirects + 1):
            progress = self._policy.begin(url.lower().startswith("https:"))
            try:
                response = await deadline.watch(self._request(url, headers))
                progress.answered = True
                status = response.code
                body = await deadline.watch(Body(self._most).read(response))
                onward = _onward(url, response) if hops < self._redirects else None
            except Exception as problem:  # noqa: BLE001  a library may raise anything: each is a reason, or unattributed
                # The certificate is the cause of what the library says then.
                trouble = self._policy.trouble() or trouble_with(problem, progress)
                return Outcome(self._seconds() - began, trouble, status)
            finally:
                self._policy.end()
            if onward is None:
                return Outcome(self._seconds() - began, wrong_answer(status, body, self._expected), status)
            url = onward
        raise AssertionError("the last answer is no redirect that is followed")

    def _request(self, url: str, headers: Mapping[str, str]) -> Deferred[Any]:
        # A client of its own for each request: it would collect cookies. Its way to follow redirects leaves their
        # connections open.
        asking: Deferred[Any] = HTTPClient(self._agent).request(
            self.method,
            url,
            headers=Headers({name: [text] for name, text in {**COMMON, **headers}.items()}),
            allow_redirects=False,
            unbuffered=True,
        )
        return asking


class Body(Protocol):
    """Reads a body up to a limit. Given up, it ends the connection, which would go on otherwise."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken = bytearray()
        self._done: Deferred[bytes] = Deferred(lambda _: self._end())

    def read(self, response: Any) -> Deferred[bytes]:
        """All of it. Fails with TooLarge, or with why it is not complete."""
        response.deliverBody(self)
        return self._done

    def dataReceived(self, data: bytes) -> None:
        """A part."""
        self._taken += data
        if len(self._taken) > self._most and not self._done.called:
            self._done.errback(Failure(TooLarge(f"over {self._most} bytes")))
            self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end: of the body, or of the connection before it."""
        if self._done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):  # the latter: no length was told, and it ended well
            self._done.callback(bytes(self._taken))
        else:
            self._done.errback(reason)

    def _end(self) -> None:
        transport: Any = self.transport
        end = getattr(transport, "abortConnection", None) or getattr(transport, "loseConnection", None)
        if end is not None:
            end()


def _onward(url: str, response: Any) -> str | None:
    """Where a redirect leads; None: it is none, or leads to what is not HTTP."""
    where = response.headers.getRawHeaders("location", [None])[0]
    if response.code not in REDIRECTS or where is None:
        return None
    onward = urljoin(url, where)
    return onward if urlsplit(onward).scheme in SCHEMES else None
