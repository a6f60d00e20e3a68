"""``/``: who is there, and who failed of what. It is whole without any script; with one it is kept up to date."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from heartbeat import __version__
from heartbeat.watch.history import History
from heartbeat.watch.web import view, words
from heartbeat.watch.web.answers import Answer, Page
from heartbeat.watch.web.failureboard import failure_board
from heartbeat.watch.web.html import escape, name
from heartbeat.watch.web.peertable import peer_panel, peer_table
from heartbeat.watch.web.strip import Vitals, filters, strip, title

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

    from twisted.web.server import Request

    from heartbeat.watch.failures import Failures
    from heartbeat.watch.registry import Registry
    from heartbeat.watch.web.slices import Turns

__all__ = ["HTML", "POLICY", "FrontPage", "Reasons"]

HTML: Final = "text/html; charset=utf-8"
#: Characters that are made in one turn of the reactor: about 2 ms. Fewer would make the page wait for more turns, each
#: of which is long when thousands of peers beat.
TURN: Final = 40_000
#: Seconds after which a browser without scripts asks again.
REFRESH: Final = 10
#: Ours and nothing else: no script or style in the page itself, nothing from elsewhere, in nobody's frame.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = {"Content-Security-Policy": POLICY}


class FrontPage(Page):
    """``/``: the page, filtered as its address says; ``?part=`` gives only some of its sections.

    :param vitals: of the server itself
    """

    def __init__(self, turns: Turns, registry: Registry, failures: Failures, vitals: Vitals) -> None:
        super().__init__(turns)
        self._registry = registry
        self._failures = failures
        self._history = History(registry.clocks)
        self._vitals = vitals

    def answer(self, request: Request) -> Answer:
        """The page."""
        shown, wanted = view.View.of(request), view.parts(request)
        return Answer(self._parts(shown, wanted), HTML, headers=_HEADERS)

    def _parts(self, shown: view.View, wanted: tuple[str, ...]) -> Generator[bytes, None, None]:
        registry, failures = self._registry, self._failures
        now = registry.clocks.wall()
        counts = {state.value: number for state, number in registry.counts().items()}
        sections: dict[str, Callable[[], Iterable[str]]] = {
            "strip": lambda: (strip(registry, failures, self._vitals, shown, now),),
            "filters": lambda: (filters(shown, counts),),
            "peer": lambda: (peer_panel(registry, self._history, shown, now),),
            "failures": lambda: failure_board(failures, shown, now),
            "peers": lambda: peer_table(registry, self._history, shown, now, self._vitals.node),
        }
        texts = [] if wanted else [_top(title(registry), self._vitals.node)]
        for part in wanted or view.PARTS:
            for text in sections[part]():
                texts.append(text)
                if not text or sum(map(len, texts)) >= TURN:
                    yield "".join(texts).encode()
                    texts = []
        if not wanted:
            texts.append(_bottom())
        yield "".join(texts).encode()


class Reasons(Page):
    """``/reasons``: what each failure reason means, and where to look first."""

    def answer(self, request: Request) -> Answer:
        """The page."""
        told = "".join(
            f'<section id="{escape(key)}"><h2>{escape(word.title)} <code>{escape(key)}</code></h2>'
            f"<p>{escape(word.meaning)}</p><p><b>{escape(word.advice)}</b></p></section>\n"
            for key, word in words.REASONS.items()
        )
        intro = (
            "<p>A reason is given only where the kernel of this host can prove it; what cannot be proved is "
            '<a href="#unattributed">unknown</a>, never guessed. <a href="./">Back to the board</a></p>\n'
        )
        body = f'{_head("What the reasons mean", live=False)}<main class="reasons"><h1>What the reasons mean</h1>\n'
        return Answer(f"{body}{intro}{told}</main>\n</body>\n</html>\n".encode(), HTML, headers=_HEADERS)


def _head(named: str, *, live: bool) -> str:
    script = '<script type="module" src="static/board.js"></script>\n' if live else ""
    refresh = f'<noscript><meta http-equiv="refresh" content="{REFRESH}"></noscript>\n' if live else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="color-scheme" content="light dark">\n<title>{escape(named)}</title>\n{refresh}'
        '<link rel="icon" href="static/icon.svg" type="image/svg+xml">\n'
        f'<link rel="stylesheet" href="static/board.css">\n{script}</head>\n<body>\n'
    )


def _top(named: str, node: str) -> str:
    at = f'<span class="node">{name(node)}</span>' if node else ""
    return (
        f"{_head(named, live=True)}"
        '<a class="skip" href="#failures">Skip to the failures</a>\n'
        f'<header class="top"><h1><a href="?">heartbeat</a></h1>{at}'
        '<p id="live" class="signal" role="status"><span class="off">asks again every '
        f'{REFRESH} s</span></p></header>\n<p id="said" class="hidden" aria-live="polite"></p>\n<main>\n'
    )


def _bottom() -> str:
    return (
        '</main>\n<footer><a href="reasons">What the reasons mean</a> <a href="api/peers">Peers</a> '
        '<a href="api/failures">Failures</a> <a href="metrics">Metrics</a> <a href="health">Health</a> '
        f'<span class="note">txheartbeat {escape(__version__)}</span></footer>\n</body>\n</html>\n'
    )
