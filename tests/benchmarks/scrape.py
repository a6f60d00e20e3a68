"""What the server says of itself over HTTP, read as anybody reads it: /metrics and /api/peers."""

from __future__ import annotations

import json
import threading
from typing import Any, Final, Self
from urllib.parse import quote
from urllib.request import urlopen

__all__ = ["Scraper", "counter", "peers"]

_TIMEOUT: Final = 10.0
_PAGE: Final = 1000  # peers asked for at once


class Scraper(threading.Thread):
    """Reads /metrics once per second, as a Prometheus server would, until it is stopped.

    :ivar count: how often it was read
    """

    def __init__(self, port: int, every: float = 1.0) -> None:
        super().__init__(name="scraper", daemon=True)
        self.count = 0
        self._url = f"http://127.0.0.1:{port}/metrics"
        self._every = every
        self._over = threading.Event()
        self._failed: BaseException | None = None

    def run(self) -> None:
        """Read, and wait."""
        try:
            while True:
                self.text()
                self.count += 1
                if self._over.wait(self._every):
                    return
        except OSError as error:
            self._failed = error

    def text(self) -> str:
        """What /metrics says now."""
        with urlopen(self._url, timeout=_TIMEOUT) as answer:
            return answer.read().decode()  # type: ignore[no-any-return]  # typeshed: urlopen answers Any

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop it. Raises what went wrong meanwhile."""
        self._over.set()
        self.join()
        if self._failed is not None:
            raise self._failed


def counter(text: str, name: str, **labels: str) -> float:
    """The sum of the samples of ``name`` that carry these labels.

    :raises LookupError: there is none
    """
    wanted = [f'{key}="{value}"' for key, value in labels.items()]
    found = []
    for line in text.splitlines():
        sample, _, value = line.rpartition(" ")
        if sample.partition("{")[0] == name and all(one in sample for one in wanted):
            found.append(float(value))
    if not found:
        raise LookupError(f"no {name} with {labels} in /metrics")
    return sum(found)


def peers(port: int) -> list[dict[str, Any]]:
    """All of /api/peers, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        after = f"&after={quote(found[-1]['id'], safe='')}" if found else ""
        with urlopen(f"http://127.0.0.1:{port}/api/peers?limit={_PAGE}{after}", timeout=_TIMEOUT) as answer:
            page = json.load(answer)
        found += page
        if len(page) < _PAGE:
            return found
