"""``/metrics``: what a Prometheus asks for."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol

from heartbeat.errors import MissingExtra
from heartbeat.watch.web.answers import Answer, Page, text_answer

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from twisted.web.server import Request

    from heartbeat.watch.web.slices import Turns

__all__ = ["MetricsPage", "Scraped"]


class Scraped(Protocol):
    """What makes the text: :class:`heartbeat.watch.export.metrics.Metrics`, or anything like it."""

    def scrape(self, accept: str = "", names: Iterable[str] = ()) -> tuple[str, Generator[bytes, None, None]]:
        """The media type, and the text in steps."""


class MetricsPage(Page):
    """``/metrics`` (``?name[]=SERIES``): Prometheus text or OpenMetrics, as ``Accept`` asks.

    :param metrics: None where the optional package is missing: then 501 and what to install
    """

    def __init__(self, turns: Turns, metrics: Scraped | None) -> None:
        super().__init__(turns)
        self._metrics = metrics

    def answer(self, request: Request) -> Answer:
        """The text, as of now."""
        if self._metrics is None:
            return text_answer(str(MissingExtra("/metrics", "prometheus")), HTTPStatus.NOT_IMPLEMENTED)
        accept = ",".join(request.requestHeaders.getRawHeaders("accept", []))
        names = [name.decode("utf-8", "replace") for name in (request.args or {}).get(b"name[]", [])]
        media, parts = self._metrics.scrape(accept, names)
        return Answer(parts, media)
