"""What a page answers, as a value, and the one resource class that turns it into HTTP."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from twisted.web.resource import IResource
from zope.interface import implementer

from heartbeat.errors import ConfigError
from heartbeat.watch.web.slices import Slices

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping

    from twisted.web.server import Request

    from heartbeat.watch.web.slices import Turns

__all__ = [
    "JSON",
    "TEXT",
    "WHOLE",
    "Answer",
    "Nothing",
    "Page",
    "dumps",
    "json_answer",
    "json_list",
    "nothing_here",
    "problem",
    "text_answer",
    "text_of",
]

JSON: Final = "application/json; charset=utf-8"
TEXT: Final = "text/plain; charset=utf-8"
#: Bytes up to which an answer is handed to the transport at once. Longer ones wait until what was sent before is read:
#: a client that asks a thousand times in one segment, and reads nothing, would have them all in memory.
WHOLE: Final = 4096
# Made once: json.dumps would make one for each call, which is half of the time of a small object.
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
_METHODS: Final = (b"GET", b"HEAD")
_API: Final = b"/api"


class Answer(NamedTuple):
    """One answer.

    :ivar body: all of it; or in slices, one of which is made per turn of the reactor; or a function that goes on from
        here, and returns what ``render`` is to return
    :ivar headers: more headers
    """

    body: bytes | Generator[bytes, None, None] | Callable[[], int]
    media: str = JSON
    status: HTTPStatus = HTTPStatus.OK
    headers: Mapping[str, str] = {}


def text_of(value: Any) -> str:
    """JSON. Text stays as it is: a name stays readable."""
    return _ENCODER.encode(value)


def dumps(value: Any) -> bytes:
    """JSON in UTF-8."""
    return text_of(value).encode()


def json_answer(value: Any, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """One JSON value, whole."""
    return Answer(dumps(value) + b"\n", JSON, status)


def text_answer(line: str, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """One line for people and probes."""
    return Answer(f"{line}\n".encode(), TEXT, status)


def json_list(slices: Iterable[list[str]]) -> Answer:
    """A JSON list, one slice per line, made slice by slice. Each member is JSON already."""

    def parts() -> Generator[bytes, None, None]:
        before = "["
        for members in slices:
            part = b""
            if members:
                part = (before + ",".join(members)).encode()
                before = ",\n"
            yield part
        yield b"[]\n" if before == "[" else b"]\n"

    return Answer(parts())


@implementer(IResource)
class Page(ABC):
    """One page: override :meth:`answer`. Everything else is said here, once, the same for all.

    GET and HEAD only (405 says so); under this path is nothing (404) unless :attr:`below` says otherwise; a
    :class:`~heartbeat.errors.ConfigError` is a parameter that is wrong (400 names it). Errors are JSON under ``/api``,
    a line of text elsewhere.

    :param turns: of the reactor; long answers are made in them
    """

    isLeaf = True
    below = False

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._children: dict[bytes, IResource] = {}

    def putChild(self, path: bytes, child: IResource) -> None:
        """Put another page below this one, which then needs ``isLeaf = False``."""
        self._children[path] = child

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """The page below this one; where there is none, one that says so."""
        return self._children.get(name) or Nothing(self._turns)

    @abstractmethod
    def answer(self, request: Request) -> Answer:
        """What to answer to a GET. Raises ConfigError that names the parameter."""

    def render(self, request: Request) -> bytes | int:
        """Answer a request."""
        answer = self._answer(request)
        request.setResponseCode(answer.status.value, answer.status.phrase.encode())
        headers = request.responseHeaders
        headers.setRawHeaders("Content-Type", [answer.media])
        for name, value in answer.headers.items():
            headers.setRawHeaders(name, [value])
        body = answer.body
        if isinstance(body, bytes):
            headers.setRawHeaders("Content-Length", [str(len(body))])
        if request.method == b"HEAD":
            return b""
        if isinstance(body, bytes):
            if len(body) <= WHOLE:
                return body
            body = _in_one(body)
        if callable(body):
            return body()
        return Slices(request, body, self._turns).start()

    def _answer(self, request: Request) -> Answer:
        if request.method not in _METHODS:
            refusal = problem(request, HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are allowed here")
            return refusal._replace(headers={"Allow": "GET, HEAD"})
        if not self.below and any(request.postpath or ()):
            return nothing_here(request)
        try:
            return self.answer(request)
        except ConfigError as wrong:
            return problem(request, HTTPStatus.BAD_REQUEST, str(wrong))


class Nothing(Page):
    """What is behind every other path."""

    below = True

    def answer(self, request: Request) -> Answer:
        """404."""
        return nothing_here(request)


def nothing_here(request: Request, what: str = "there is nothing here") -> Answer:
    """404, with the reason."""
    return problem(request, HTTPStatus.NOT_FOUND, what)


def _in_one(body: bytes) -> Generator[bytes, None, None]:
    yield body


def problem(request: Request, status: HTTPStatus, what: str) -> Answer:
    """An error with one line for people: JSON under ``/api``, text elsewhere."""
    path = request.path
    if path == _API or path.startswith(_API + b"/"):
        return json_answer({"error": what}, status)
    return text_answer(what, status)
