"""``/static``: the style, the scripts and the icon of the page. They are files of the package; nothing is elsewhere."""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from importlib.resources import files
from typing import TYPE_CHECKING, Final

from heartbeat.watch.web.answers import Answer, Page, nothing_here

if TYPE_CHECKING:
    from twisted.web.server import Request

    from heartbeat.watch.web.slices import Turns

__all__ = ["Static"]

_MEDIA: Final = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Static(Page):
    """``/static/NAME``: one of the files in the folder of that name. They are read once, when a site is made.

    A browser keeps them and asks each time whether they have changed: an update of the server is never half seen.
    """

    below = True

    def __init__(self, turns: Turns) -> None:
        super().__init__(turns)
        self._files: dict[bytes, tuple[bytes, str, str]] = {}
        for file in (files("heartbeat.watch.web") / "static").iterdir():
            media = _MEDIA.get(f".{file.name.rpartition('.')[2]}")
            if media is not None:
                data = file.read_bytes()
                self._files[file.name.encode()] = data, media, f'"{hashlib.sha256(data).hexdigest()[:32]}"'

    def answer(self, request: Request) -> Answer:
        """The file; 304 where the client has it."""
        found = self._files.get(b"/".join(request.postpath or ()))
        if found is None:
            return nothing_here(request)
        data, media, tag = found
        headers = {"Cache-Control": "no-cache", "ETag": tag}
        if tag in (request.getHeader("if-none-match") or ""):
            return Answer(b"", media, HTTPStatus.NOT_MODIFIED, headers)
        return Answer(data, media, headers=headers)
