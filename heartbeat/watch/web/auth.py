"""Passwords (HTTP Basic, RFC 7617): who may see the site. Over TLS or the loopback; in clear anybody can read them."""

from __future__ import annotations

import hashlib
import hmac
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from twisted.cred.error import LoginFailed
from twisted.web.guard import BasicCredentialFactory

from heartbeat.watch.web.answers import Answer, Page, problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from twisted.web.resource import IResource
    from twisted.web.server import Request

    from heartbeat.watch.web.slices import Turns

__all__ = ["OPEN", "Passwords", "Refusal"]

_REALM: Final = b"heartbeat"
_SCHEME: Final = "basic"
#: What a balancer or an orchestrator asks, who have no password and any name for us: it tells whether we run, no more.
OPEN: Final = (b"livez", b"readyz")


class Passwords:
    """Names and passwords.

    :param known: password by name; the name ``""`` is any name. None at all: nobody is asked
    """

    __slots__ = ("_known",)

    def __init__(self, known: Mapping[str, str] | None = None) -> None:
        self._known = [(name, _digest(name.encode()), _digest(word.encode())) for name, word in (known or {}).items()]

    def __bool__(self) -> bool:
        return bool(self._known)

    def admit(self, name: bytes, password: bytes) -> bool:
        """Whether they belong together. Takes the same time whichever of them is wrong, and wherever."""
        given_name, given = _digest(name), _digest(password)
        good = False
        for shown, known_name, known in self._known:
            named = hmac.compare_digest(given_name, known_name) | (not shown)
            good |= hmac.compare_digest(given, known) & named
        return good

    def allow(self, request: Request) -> bool:
        """Whether a request may have what it asks for."""
        scheme, _, response = (request.getHeader("authorization") or "").partition(" ")
        if scheme.lower() != _SCHEME:
            return False
        try:
            credentials = BasicCredentialFactory(_REALM).decode(response.strip().encode(), request)
        except (LoginFailed, ValueError):
            return False
        return self.admit(credentials.username, credentials.password)


class Refusal(Page):
    """401, whatever is asked for: what is there and what is not is nobody's business."""

    below = True

    def __init__(self, turns: Turns) -> None:
        super().__init__(turns)

    def answer(self, request: Request) -> Answer:
        """Ask for a name and a password."""
        refusal = problem(request, HTTPStatus.UNAUTHORIZED, "a name and a password are needed")
        return refusal._replace(headers={"WWW-Authenticate": f'Basic realm="{_REALM.decode()}", charset="UTF-8"'})

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """The same below."""
        return self


def _digest(text: bytes) -> bytes:
    # Of one length, so that comparing them says nothing about the length of the password.
    return hashlib.sha256(text).digest()
