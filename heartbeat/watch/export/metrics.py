"""The metrics of ``/metrics``: read and added up when somebody asks, nothing is counted for a beat.

Needs prometheus_client (the extra ``prometheus``); :func:`heartbeat.watch.export.metrics_of` says so in one line where
it is missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from heartbeat.watch.export.families import described, families

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    from prometheus_client import Metric

    from heartbeat.watch.export.sources import Sources
    from heartbeat.watch.tally import Sums

__all__ = ["Metrics"]


class Metrics:
    """A collector of prometheus_client, and the text that it makes.

    :param sources: what is read
    :param registry: where to register; None: a registry of its own
    :ivar registry: holds this collector; others may be added to it
    """

    def __init__(self, sources: Sources, registry: CollectorRegistry | None = None) -> None:
        self.registry = CollectorRegistry() if registry is None else registry
        self._sources = sources
        self._walk: Iterator[Sums | None] | None = None
        self._walkers = 0  # how many requests wait for the end of the walk
        self._walks = 0  # how many walks came to their end
        self._sums: Sums | None = None  # of the last of them
        self._given: Sums | None = None  # collect() is to use these
        self.registry.register(self)

    # -- the collector

    def describe(self) -> Iterable[Metric]:
        """The families without samples, so that ``?name[]=`` can choose among them without counting anything."""
        return described()

    def collect(self) -> Iterable[Metric]:
        """The families with samples as of now, in one go."""
        sums = self._given
        while sums is None:
            sums = self._step()
        return families(sums, self._sources)

    # -- the text

    def scrape(self, accept: str = "", names: Iterable[str] = ()) -> tuple[str, Generator[bytes, None, None]]:
        """The media type and the text, by content negotiation. Each step of the text but the last gives ``b""``.

        Take one step per turn of the reactor: each costs about 2 ms, however many peers there are. Requests that
        overlap share one walk over the peers, so an answer never counts less than one that was given before it.

        :param accept: the header of that name; OpenMetrics where it asks for it, else the Prometheus text
        :param names: only these series; none: all
        """
        try:
            encode, media = choose_encoder(accept)
        except (TypeError, ValueError):  # a version that is no number is more than it can take
            encode, media = choose_encoder("")
        wanted = list(names)
        return media, self._text(lambda: encode(self.registry.restricted_registry(wanted) if wanted else self.registry))

    # -- inside

    def _text(self, encode: Callable[[], bytes]) -> Generator[bytes, None, None]:
        begun = self._walks
        self._walkers += 1
        try:
            while self._walks == begun and self._step() is None:
                yield b""
        finally:
            self._walkers -= 1
            if not self._walkers:
                self._walk = None  # nobody is left to finish it: let go of its peers
        self._given = self._sums
        try:
            text = encode()
        finally:
            self._given = None
        yield text

    def _step(self) -> Sums | None:
        """One step of the walk that all who wait share. The sums, if it was the last."""
        if self._walk is None:
            self._walk = self._sources.totals.walk()
        sums = next(self._walk)
        if sums is not None:
            self._walk = None
            self._walks += 1
            self._sums = sums
        return sums
