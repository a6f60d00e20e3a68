"""The site: every page under its path, and what is the same for all of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, cast

from twisted.logger import Logger, LogLevel
from twisted.web import http
from twisted.web.server import Request, Site

from heartbeat.watch.news import News
from heartbeat.watch.web.answers import Answer, Page, nothing_here, problem
from heartbeat.watch.web.api import FailureList, Peers
from heartbeat.watch.web.assets import Static
from heartbeat.watch.web.auth import OPEN, Passwords, Refusal
from heartbeat.watch.web.events import Events
from heartbeat.watch.web.health import PROBES, Alive, Health, Readiness, Ready
from heartbeat.watch.web.hosts import AllowedHosts
from heartbeat.watch.web.metrics import MetricsPage, Scraped
from heartbeat.watch.web.page import FrontPage, Reasons
from heartbeat.watch.web.slices import Turns
from heartbeat.watch.web.stream import Broadcast
from heartbeat.watch.web.strip import Vitals

if TYPE_CHECKING:
    from collections.abc import Callable

    from twisted.internet.interfaces import IReactorTime
    from twisted.web.resource import IResource

    from heartbeat.watch.failures import Failures
    from heartbeat.watch.registry import Registry

__all__ = ["WebRequest", "WebSite", "make_site"]

#: Seconds that a connection may idle between two requests. A page asks again every 2 s, a Prometheus every 15 to 60.
IDLE: Final = 75

#: On every answer. No script is ever loaded, nothing is kept, nobody frames us; a page that needs more says so itself.
_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)


class WebRequest(Request):
    """A request to us: it has no body, and its answer does not tell what we are made of."""

    def handleContentChunk(self, data: bytes) -> None:
        """Throw away what nobody will read, instead of keeping it in a file."""

    def write(self, data: bytes) -> None:
        """Put the common headers in front of the first byte, whoever answers: Twisted's own errors, too."""
        if not self.startedWriting:
            headers = self.responseHeaders
            headers.removeHeader("Server")
            for name, value in _HEADERS:
                if not headers.hasHeader(name):
                    headers.setRawHeaders(name, [value])
        write: Callable[[bytes], None] = super().write
        write(data)


class WebSite(Site):
    """A site without an access log file: requests are log events, and those of probes only for who debugs.

    Make it with :func:`make_site`.

    Twisted's own line has the time of ``reactor.seconds``, which is 1970 where that is monotonic; a log event has the
    right time by itself.
    """

    noisy = False
    logger = Logger()

    def __init__(
        self, root: _Root, reactor: IReactorTime, broadcast: Broadcast, refusal: Page, hosts: AllowedHosts
    ) -> None:
        self._refusal = refusal
        self._hosts = hosts
        build: Callable[..., None] = super().__init__
        build(root, requestFactory=WebRequest, parsePOSTFormSubmission=False, timeout=IDLE, reactor=reactor)
        self._root = root
        self._broadcast = broadcast

    def protect(self, passwords: Passwords) -> None:
        """Ask for one of these passwords from now on; whoever follows the events already goes on."""
        self._root.passwords = passwords

    def stopFactory(self) -> None:
        """Nobody listens any more: end what would go on for ever."""
        self._broadcast.close()
        stop: Callable[[], None] = super().stopFactory
        stop()

    def getResourceFor(self, request: Request) -> Any:
        """The page; for a request that is meant for somebody else, one that says so."""
        said = request.requestHeaders.getRawHeaders("host") or []
        own: Any = request.getHost()
        address = getattr(own, "host", None)
        # Without a Host (HTTP/1.0) it is no browser; and a probe, by whatever name, hears nothing worth stealing.
        harmless = not said or request.path[1:] in OPEN  # exactly: "//livez" is another page
        if not harmless and not (len(said) == 1 and self._hosts.allow(said[0], address)):
            return self._refusal
        return super().getResourceFor(request)  # type: ignore[no-untyped-call]  # Twisted's

    def log(self, request: http.Request) -> None:
        """Tell of a finished request."""
        if request.path in PROBES or request.code < 400:
            level = LogLevel.debug
        else:
            level = LogLevel.info if request.code < 500 else LogLevel.warn
        self.logger.emit(level, "{line}", line=access_line(request), status=request.code)


class _Misdirected(Page):
    """For requests that name a host which we are not."""

    below = True

    def answer(self, request: Request) -> Answer:
        host = ", ".join(request.requestHeaders.getRawHeaders("host") or [])
        return problem(
            request,
            HTTPStatus.MISDIRECTED_REQUEST,
            f"this server is not called {host!r:.120}; if it is, start it with --web-host NAME",
        )


class _Branch(Page):
    """A path with pages below it, and nothing of its own."""

    isLeaf = False

    def answer(self, request: Request) -> Answer:
        return nothing_here(request)


class _Root(_Branch):
    """All of the site, for those who may see it."""

    def __init__(self, turns: Turns) -> None:
        super().__init__(turns)
        self.passwords = Passwords()

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        if self.passwords and name not in OPEN and not self.passwords.allow(request):
            return Refusal(self._turns)
        return super().getChildWithDefault(name, request)


def make_site(
    registry: Registry,
    failures: Failures,
    *,
    metrics: Scraped | None = None,
    readiness: Readiness = lambda: None,
    degraded: Readiness = lambda: None,
    vitals: Vitals | None = None,
    reactor: IReactorTime | None = None,
    hosts: AllowedHosts | None = None,
) -> WebSite:
    """Everything under one root, ready for ``listen``. It follows the register and the board.

    :param metrics: :func:`heartbeat.watch.export.metrics_of`, or None: ``/metrics`` then says what to install (501)
    :param readiness: gives the reason why no new peers are wanted now, one line, or None
    :param degraded: gives what does not work, though peers are welcome, one line, or None
    :param vitals: what the page tells about the server itself
    :param reactor: None: the installed one
    :param hosts: the names under which it may be asked for; None: its own addresses only
    """
    if reactor is None:
        from twisted.internet import reactor as installed

        reactor = cast("IReactorTime", installed)
    turns = Turns(reactor)
    broadcast = Broadcast(turns, News(registry, failures))
    api = _Branch(turns)
    api.putChild(b"events", Events(turns, broadcast))
    api.putChild(b"peers", Peers(turns, registry))
    api.putChild(b"failures", FailureList(turns, failures))
    root = _Root(turns)
    for path, page in {
        b"": FrontPage(turns, registry, failures, vitals or Vitals()),
        b"reasons": Reasons(turns),
        b"static": Static(turns),
        b"api": api,
        b"livez": Alive(turns),
        b"readyz": Ready(turns, readiness, degraded),
        b"health": Health(turns, readiness, degraded, registry),
        b"metrics": MetricsPage(turns, metrics),
    }.items():
        root.putChild(path, page)
    return WebSite(root, reactor, broadcast, _Misdirected(turns), AllowedHosts() if hosts is None else hosts)


def access_line(request: http.Request) -> str:
    """One line on a request. Twisted lets only printable ASCII through: nothing in it breaks a line or a terminal."""
    address: Callable[[], Any] = request.getClientAddress
    client = getattr(address(), "host", None) or "-"
    asked = b" ".join((request.method, request.uri)).decode("ascii", "backslashreplace")
    return f"{client} {asked} {request.code} {request.sentLength}"
