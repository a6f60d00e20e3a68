"""heartbeat.watch.web.page: the first page."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser
from urllib.parse import parse_qs, unquote, urlsplit

from heartbeat.liveness.evidence import Evidence
from heartbeat.watch.web.page import ROWS
from tests.watch.web.browser import WebCase

NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"


class Seen(HTMLParser):
    """What a browser makes of a page: tags, attributes, and the text of each cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.titles: list[str | None] = []
        self.links: dict[str, str] = {}
        self.rows: list[list[str]] = []
        self._href: str | None = None
        self._cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        self.titles += [text for name, text in attrs if name == "title"]
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True
        elif tag == "a":
            self._href = dict(attrs)["href"]

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._href = None
        elif tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._href is not None:
            self.links[data] = self._href
        if self._cell:
            self.rows[-1][-1] += data

    def row(self, first: str) -> list[str]:
        """The row that begins with this text."""
        return next(row for row in self.rows if row[0] == first)


class PageTests(WebCase):
    def page(self, query: str = "") -> Seen:
        """The page as a browser sees it."""
        answered = self.ask(f"/{query}")
        self.assertEqual(answered.status, 200)
        return Seen(answered.text)

    def test_an_empty_page(self) -> None:
        """Without peers and failures both tables say so."""
        seen = self.page()
        self.assertEqual([row for row in seen.rows if len(row) == 1], [["none"], ["none"]])

    def test_a_peer(self) -> None:
        """A peer is a row with what is known of it, and a link to the rest."""
        one = self.join("gateway/7", services=("auth", "billing"), load=0.25)
        one.answer(0.0125)
        one.lose()
        one.answer(0.0125)
        self.hands.now += 0.4
        seen = self.page()
        self.assertEqual(
            seen.row("gateway/7"),
            [
                "gateway/7",
                "alive",
                "2027-01-15 08:16:40",
                "0.4 s ago",
                "12.5 ms",
                "25.0%",
                "0.25",
                "auth, billing",
                "192.0.2.1:4711",
            ],
        )
        self.assertEqual(seen.links["gateway/7"], "api/peers/gateway%2F7")

    def test_layers(self) -> None:
        """The state says, to who points at it, what is known of host, loop and work."""
        self.join("a").stick()
        self.join("b").die("peer_stalled")
        self.assertEqual(
            self.page().titles,
            ["host alive, loop alive, work dead", "host alive, loop dead, work unknown"],
        )

    def test_a_peer_of_which_little_is_known(self) -> None:
        """No round trip, no services: the cells are empty, nothing is made up."""
        self.join("a")
        self.assertEqual(self.page().row("a")[4], "")
        self.assertEqual(self.page().row("a")[7], "")

    def test_many_services(self) -> None:
        """A long list is cut and counted."""
        self.join("a", services=tuple(f"s{number}" for number in range(12)))
        self.assertEqual(self.page().row("a")[7], "s0, s1, s2, s3, s4, s5, s6, s7 … and 4 more")

    def test_a_failure(self) -> None:
        """A failure is a row, the newest first."""
        self.join("old").die("path_dead")
        one = self.join("new")
        one.answer(0.08)
        self.hands.now += 90.0
        one.die("peer_closed", Evidence(at=self.hands.now))
        rows = [row for row in self.page().rows if len(row) == 7]
        self.assertEqual([row[1] for row in rows[1:]], ["new", "old"])
        self.assertEqual(rows[1][2:5], ["peer_closed", "live", "90.0 s"])
        self.assertRegex(rows[1][5], r"^\d+\.?\d* ms$")
        self.assertEqual(rows[2][5], "")

    def test_nothing_of_a_peer_is_markup(self) -> None:
        """Whatever a peer calls itself, its services or its node, it is text: no tag, no attribute, no script."""
        self.join("plain", services=("auth",)).die()
        plain = self.page()
        one = self.join(NASTY, services=(NASTY, "x" + NASTY), node=NASTY)
        one.peer.address = NASTY
        one.die()
        answered = self.ask("/")
        seen = Seen(answered.text)
        self.assertEqual((seen.tags, seen.attributes), (plain.tags, plain.attributes))
        self.assertEqual(seen.row(NASTY)[7], f"{NASTY}, x{NASTY}")
        self.assertEqual(unquote(seen.links[NASTY].removeprefix("api/peers/")), NASTY)
        self.assertNotIn("<script", answered.text)

    def test_the_query_is_no_markup_either(self) -> None:
        """What is asked for comes back in links only, encoded."""
        for number in range(ROWS + 1):
            self.join(f"p{number:03}{NASTY}")
        query = "?q=%3Cscript%3Ealert(1)"
        answered = self.ask(f"/{query}&state=alive")
        self.assertNotIn("<script", answered.text)
        following = parse_qs(urlsplit(Seen(answered.text).links["Further peers"]).query)
        self.assertEqual(following["q"], ["<script>alert(1)"])

    def test_the_style_is_the_only_thing_that_may_be_applied(self) -> None:
        """The policy names the digest of our style, and nothing else may load; no attribute styles anything."""
        answered = self.ask("/")
        policy = answered.headers["content-security-policy"]
        (style,) = re.findall(r"<style>(.*?)</style>", answered.text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self.assertIn(f"style-src 'sha256-{digest}'", policy)
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("style", Seen(answered.text).attributes)
        self.assertEqual(answered.headers["content-type"], "text/html; charset=utf-8")

    def test_it_asks_again_by_itself(self) -> None:
        """Without a script, in light and dark, on a phone."""
        text = self.ask("/").text
        for needed in ('http-equiv="refresh" content="5"', "color-scheme: light dark", 'name="viewport"', "max-width"):
            self.assertIn(needed, text)
        self.assertTrue(text.startswith("<!doctype html>"))

    def test_pages(self) -> None:
        """It shows a page of peers at a time, and the link to the next one keeps the filter."""
        for number in range(ROWS + 5):
            self.join(f"p{number:03}")
        self.join("x").die()
        first = self.page("?state=alive")
        self.assertEqual(first.row("p000")[0], "p000")
        self.assertNotIn(f"p{ROWS}", first.links)
        following = first.links["Further peers"]
        self.assertEqual(parse_qs(urlsplit(following).query), {"state": ["alive"], "after": ["p099"]})
        second = self.page(following)
        self.assertIn(f"p{ROWS}", second.links)
        self.assertNotIn("x", second.links)
        self.assertNotIn("Further peers", second.links)

    def test_links_to_the_states(self) -> None:
        """Each state is a link with its number; the one that is shown says so, and a search goes along."""
        self.join("a1")
        self.join("a2").die()
        text = self.ask("/?state=dead&q=a").text
        links = Seen(text).links
        self.assertEqual(links["all 2"], "?q=a")
        self.assertEqual(links["alive 1"], "?q=a&state=alive")
        self.assertRegex(unescape(text), r'href="\?q=a&state=dead" aria-current="page">dead 1<')
        self.assertEqual(text.count("aria-current="), 1)

    def test_a_search_of_many(self) -> None:
        """Looking through many peers for a few is done in slices."""
        for number in range(1001):
            self.join(f"p{number:04}")
        answered = self.ask("/?q=0999")
        self.assertGreaterEqual(answered.turns, 5)
        self.assertIn("p0999", Seen(answered.text).links)

    def test_long_times(self) -> None:
        """Long silences are told in the unit that one reads."""
        for seconds, told in ((100.0, "100.0 s"), (150.0, "2 min"), (7300.0, "2 h"), (200_000.0, "2 d")):
            one = self.join("a")
            self.hands.now += seconds
            self.assertEqual(self.page().row("a")[3], f"{told} ago")
            one.leave()
