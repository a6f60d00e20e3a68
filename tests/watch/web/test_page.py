"""heartbeat.watch.web.page and its sections: what the dashboard says, without a browser."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from urllib.parse import parse_qs, unquote, urlsplit

from heartbeat.liveness.causes import FAILURE_REASONS, SPARE_REASONS
from heartbeat.liveness.counters import Counters
from heartbeat.liveness.evidence import Evidence, TcpInfo
from heartbeat.liveness.recorder import Kind
from heartbeat.watch.registry import LISTED
from heartbeat.watch.web import Vitals, make_site, words
from heartbeat.watch.web.failureboard import ENTRIES, GROUPS
from heartbeat.watch.web.peertable import ROWS
from tests.watch.crowd import EPOCH, Somebody
from tests.watch.web.browser import WebCase

NASTY = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;"
_VOID = frozenset({"meta", "link", "input", "br", "polyline", "rect"})


class Seen(HTMLParser):
    """What a browser makes of a page: tags and attributes, the text of each cell, links, sections, entries.

    :ivar rows: the cells of each row of each table
    :ivar links: by text; of several, the last
    :ivar sections: the text of each, by id
    :ivar entries: the text of each failure
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.links: dict[str, str] = {}
        self.rows: list[list[str]] = []
        self.sections: dict[str, str] = {}
        self.entries: list[str] = []
        self.stack: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not [tag for tag, _ in self.stack if tag not in _VOID], self.stack

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)
        if tag not in _VOID:
            self.stack.append((tag, dict(attrs)))
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "li" and "data-key" in dict(attrs):
            self.entries.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.stack[-1][0] == tag, (tag, self.stack)
            self.stack.pop()

    def handle_data(self, data: str) -> None:
        if (href := self._within("a", "href")) is not None:
            self.links[data] = href
        if self._within("td", "") is not None or self._within("th", "") is not None:
            self.rows[-1][-1] += data
        if (section := self._within("section", "id")) is not None:
            self.sections[section] = self.sections.get(section, "") + data + " "
        if self.entries and self._within("details", "") is not None:
            self.entries[-1] += data + " "

    def _within(self, tag: str, attribute: str) -> str | None:
        for name, attrs in reversed(self.stack):
            if name == tag:
                return attrs.get(attribute, "") or ""
        return None

    def row(self, first: str) -> list[str]:
        """The row of a peer."""
        return next(row for row in self.rows if row and row[0].startswith(first))

    @property
    def peers(self) -> list[str]:
        """The names of the peers in the table."""
        heads = [index for index, row in enumerate(self.rows) if row[:2] == ["Peer", "State"]]
        return [row[0] for row in self.rows[heads[0] + 1 :]] if heads else []


class PageCase(WebCase):
    """The dashboard."""

    def page(self, query: str = "") -> Seen:
        """The page as a browser sees it."""
        answered = self.ask(f"/{query}")
        self.assertEqual(answered.status, 200, answered.text)
        return Seen(answered.text)


class PeersTests(PageCase):
    """The peers on the page."""

    def test_an_empty_page(self) -> None:
        """Without peers and failures both sections say so, and what to do."""
        seen = self.page()
        self.assertIn("No peer has connected yet", seen.sections["peers"])
        self.assertIn("twist heartbeat-agent", seen.sections["peers"])
        self.assertIn("Nothing has failed", seen.sections["failures"])
        self.assertEqual(seen.rows, [])

    def test_a_peer(self) -> None:
        """A peer is a row with what is known of it; its name leads to the rest, its services to their peers."""
        one = self.join("gateway/7", services=("auth", "billing"), load=0.95, cert_expires=864_123)
        one.answer(0.0125)
        one.lose()
        one.answer(0.0125)
        self.hands.now += 3.4
        row = self.page().row("gateway/7")
        self.assertEqual(row[0], "gateway/7192.0.2.1:4711")
        self.assertEqual(row[1], "alive 3 s")
        self.assertRegex(row[2], r"^12\.5 ms p95 \d+\.?\d* ms$")
        self.assertEqual(row[3:], ["25.0%", "0.95", "auth billing", "10 d", "3 s ago"])
        seen = self.page()
        self.assertEqual(seen.links["gateway/7"], "?peer=gateway%2F7")
        self.assertEqual(seen.links["auth"], "?service=auth")

    def test_a_peer_of_which_little_is_known(self) -> None:
        """No round trip, no services, no certificate: nothing is made up."""
        self.join("a")
        self.assertEqual(self.page().row("a")[2:], ["–", "0.0%", "0.00", "", "", "0 s ago"])

    def test_whose_peer_it_is(self) -> None:
        """That of another server of the fleet says so."""
        self.join("a", node="node-2")
        self.assertEqual(self.page().row("a")[0], "a192.0.2.1:4711 at node-2")

    def test_many_services(self) -> None:
        """A long list is cut and counted."""
        self.join("a", services=tuple(f"s{number}" for number in range(12)))
        self.assertEqual(self.page().row("a")[5], "s0 s1 s2 s3 and 8 more")

    def test_the_line_of_round_trips(self) -> None:
        """A peer that is looked at gets a line, which says in words what it shows."""
        one = self.join("a")
        for seconds in (0.01, 0.03, 0.02):
            one.answer(seconds)
            text = self.ask("/").text
            self.hands.now += 2.0
        (points,) = re.findall(r'<polyline points="([^"]*)"', text)
        self.assertEqual(len(points.split()), 3)
        self.assertIn('aria-label="10 ms to 30 ms lately"', text)

    def test_pages(self) -> None:
        """It shows a page of peers at a time; the links to the others keep the filters."""
        for number in range(ROWS + 5):
            self.join(f"p{number:03}")
        self.join("x").die()
        first = self.page("?state=alive")
        self.assertEqual(len(first.peers), ROWS)
        following = first.links["Further peers"]
        self.assertEqual(parse_qs(urlsplit(following).query), {"state": ["alive"], "after": [f"p{ROWS - 1:03}"]})
        second = self.page(following)
        self.assertEqual(len(second.peers), 5)
        self.assertNotIn("Further peers", second.links)
        self.assertEqual(second.links["First page"], "?state=alive")

    def test_filters(self) -> None:
        """By state, reason, service, region and text, alone and together; the form shows what is chosen."""
        self.join("a-1", services=("auth",), meta={"region": "north"})
        self.join("a-2", services=("authority",), meta={"region": "south"})
        self.join("b-1", services=("auth",)).die("path_dead")
        for query, found in {
            "?state=dead": ["b-1"],
            "?reason=path_dead": ["b-1"],
            "?service=auth": ["a-1", "b-1"],
            "?service=auth&state=alive": ["a-1"],
            "?region=south": ["a-2"],
            "?q=A-": ["a-1", "a-2"],
            "?q=nobody": [],
        }.items():
            peers = [one.removesuffix("192.0.2.1:4711") for one in self.page(query).peers]
            self.assertEqual(peers, found, query)
        self.assertIn("No peer fits these filters", self.page("?q=nobody").sections["peers"])
        text = self.ask("/?q=a-&state=alive&service=x%22y").text
        self.assertIn('name="q" placeholder="name, address …" maxlength="60" value="a-"', text)
        self.assertIn('<option value="alive" selected>', text)
        self.assertIn('value="x&quot;y"', text)
        self.assertEqual(Seen(text).links["Clear"], "?")

    def test_one_peer(self) -> None:
        """``peer`` shows one in full, its flight recorder too, and its failures only; also if it is not listed."""
        one = self.join("a", services=("auth",), meta={"rack": "r1"}, uptime=7200)
        one.answer(0.01)
        one.die("peer_closed")
        self.join("b").die()
        seen = self.page("?peer=a")
        for part in (
            "Process ended",
            "auth",
            "rack",
            "r1",
            "Up for 2 h",
            "Flight recorder",
            "last sign of life",
            "1500 ms",
        ):
            self.assertIn(part, seen.sections["peer"])
        self.assertEqual(len(seen.entries), 1)
        self.assertEqual(seen.links["As JSON"], "api/peers/a")
        self.assertIn("not listed", self.page("?peer=nobody").sections["peer"])
        self.assertIn(
            "No failure of nobody is remembered", " ".join(self.page("?peer=nobody").sections["failures"].split())
        )
        self.assertIn("No failure fits these filters", self.page("?peer=a&q=x").sections["failures"])

    def test_a_search_of_many(self) -> None:
        """Looking through many peers for a few is done in slices."""
        for number in range(1001):
            self.join(f"p{number:04}")
        answered = self.ask("/?q=0999")
        self.assertGreaterEqual(answered.turns, 5)
        self.assertEqual(len(Seen(answered.text).peers), 1)


class FailuresTests(PageCase):
    """The failures on the page."""

    def test_a_failure(self) -> None:
        """Each is an entry, the newest first: the reason in words and by name, what tells most, and all the rest."""
        self.failures.region = "north"
        self.join("old").die("path_dead")
        one = self.join("new", services=("auth",))
        one.peer.session = "5e55"
        one.answer(0.08)
        self.hands.now += 90.0
        tcp = TcpInfo(1, 3, 0, 3, unacked=2, snd_wnd=0, rtt=0.0125, bytes_acked=2048)
        one.die("peer_closed", Evidence(at=self.hands.now, unread=0, tcp=tcp, error="ECONNRESET", detail="eof"))
        new, old = self.page().entries
        for part in ("Process ended", "peer_closed", "new", "silent 90.00 s", "unacked 2", "retransmits 3", "eof"):
            self.assertIn(part, new)
        for part in (
            "window closed",
            "ECONNRESET",
            "host",
            "alive",
            "loop",
            "dead",
            "5e55",
            "auth",
            "north",
            "192.0.2.1",
        ):
            self.assertIn(part, new)
        for part in (
            "TCP state established",
            "Round trip (kernel) 12.5 ms",
            "Acknowledged in all 2 KiB",
            "Timeout doubled 3×",
        ):
            self.assertIn(part, " ".join(new.split()))
        self.assertRegex(new, r"p95 latency \d+\.?\d* ms")
        self.assertIn("−90.000 s last sign of life 0 dead, silent for 90.00 s", " ".join(new.split()))
        self.assertIn("Path is dead", old)
        self.assertIn("none known", old)

    def test_groups(self) -> None:
        """By reason, region and service: how many, the worst p95, and each a link that filters, or undoes it."""
        for number in range(3):
            one = self.join(f"p{number}", services=("auth", "http"), meta={"region": "north"})
            one.answer(0.08)
            one.die("peer_closed")
        self.join("x", meta={"region": "south"}).die("path_dead")
        rows = {row[0]: row[1:] for row in self.page().rows}
        self.assertEqual((rows["Process ended"][0], rows["Path is dead"][0]), ("3", "1"))
        self.assertRegex(rows["Process ended"][1], r"ms$")
        self.assertEqual((rows["north"][0], rows["south"][0], rows["south"][1]), ("3", "1", "–"))
        self.assertEqual((rows["auth"][0], rows["http"][0], rows["no service"][0]), ("3", "3", "1"))
        query = "?reason=peer_closed&service=auth&region=north&q=p1"
        self.assertEqual(len(self.page(query).entries), 1)
        undone = re.search(r'href="([^"]*)" aria-current="true"><bdi>north', self.ask(f"/{query}").text)
        assert undone is not None
        self.assertEqual(unescape(undone[1]), "?reason=peer_closed&service=auth&q=p1")
        self.assertEqual(self.page("?reason=path_dead").links["south"], "?reason=path_dead&region=south")
        self.assertIn("1 of 4", self.page("?reason=path_dead").sections["failures"])

    def test_somebody_who_announces_a_lot(self) -> None:
        """Of thousands of services only some are counted: the page is no slower for it."""
        self.join("a", services=tuple(f"s{number}" for number in range(5000))).die()
        self.assertIn("and 10 more", self.page().sections["failures"])

    def test_many_groups(self) -> None:
        """The largest are shown, the rest is counted."""
        for number in range(GROUPS + 3):
            self.join(f"p{number}", services=(f"s{number}",)).die()
        self.assertIn("and 3 more", self.page().sections["failures"])

    def test_pages(self) -> None:
        """A page of them at a time."""
        for number in range(ENTRIES + 5):
            self.join(f"p{number:02}").die()
        first = self.page()
        self.assertEqual(len(first.entries), ENTRIES)
        second = self.page(first.links["Older failures"])
        self.assertEqual(len(second.entries), 5)
        self.assertIn("p04", second.entries[0])
        self.assertEqual(second.links["Newest failures"], "?")

    def test_a_link_to_one(self) -> None:
        """``failure`` shows it first, and open, however old it is; and says so if it is forgotten."""
        self.join("old").die()
        id = self.failures.newest()[0].as_json()["id"]
        for number in range(ENTRIES + 5):
            self.join(f"p{number:02}").die()
        text = self.ask(f"/?failure={id}").text
        self.assertIn("old", Seen(text).entries[0])
        self.assertEqual(text.count("<details open>"), 1)
        self.assertIn("not remembered any more", self.page("?failure=17").sections["failures"])

    def test_one_that_never_joined(self) -> None:
        """A refusal has its reason for people, and no layers."""
        Somebody(self.hands, "~192.0.2.9:1", self.listener).die("hello_timeout")
        (entry,) = self.page().entries
        self.assertIn("Said nothing in time", entry)
        self.assertIn("during the handshake", entry)

    def test_each_event_can_be_read(self) -> None:
        """A flight recorder with every kind of event, with and without a value, is words."""
        for kind in Kind:
            self.assertIn(kind.shown.partition(":")[0], {*words.EVENTS, "spared"})
        one = self.join("a")
        one.fall_silent()
        one.spare("local_stall")
        one.speak()
        one.die()
        (entry,) = self.page().entries
        self.assertIn("spared (own stall), not its own 1.00 s", " ".join(entry.split()))


class SummaryTests(PageCase):
    """The strip on top."""

    def make_site(self) -> object:
        """With everything that a server tells of itself."""
        self.lag = Counters()
        vitals = Vitals("node-1", lambda: {"local_stall": 3, "clock_step": 0}, self.lag)
        return make_site(self.registry, self.failures, vitals=vitals, reactor=self.clock)

    def test_states(self) -> None:
        """Each state with its number is a link that filters by it, or undoes that; the rest of the filter stays."""
        self.join("a1")
        self.join("a2").die()
        text = self.ask("/?state=dead&q=a").text
        self.assertRegex(
            unescape(text), r'href="\?q=a" aria-current="true"><span class="state dead">Dead</span><b>1</b>'
        )
        self.assertIn('href="?state=alive&q=a"', unescape(text))

    def test_the_last_hour(self) -> None:
        """Failures of the last hour by reason; older ones are not counted."""
        self.join("old").die("peer_reset")
        self.hands.now += 3700.0
        for number in range(3):
            self.join(f"p{number}").die("peer_closed")
        self.join("x").die("path_dead")
        strip = " ".join(self.page().sections["strip"].split())
        self.assertIn("Failed in the last hour 4 Process ended 3 Path is dead 1 Spared", strip)

    def test_of_the_server_itself(self) -> None:
        """Whom it spared, how late its loop came, and its name."""
        self.assertIn("Scheduler lag –", self.page().sections["strip"].replace("  ", " "))
        for _ in range(99):
            self.lag.add(0.001)
        self.lag.add(2.0)
        strip = " ".join(self.page().sections["strip"].split())
        self.assertIn("Spared 3 own stall 3", strip)
        self.assertIn("< 1.02 ms 99 of 100; mean 21 ms", strip)
        self.assertIn("node-1", self.ask("/").text)
        for _ in range(9):
            self.lag.add(40.0)
        self.assertIn("16 s", self.page().sections["strip"])

    def test_the_title(self) -> None:
        """It tells what is wrong, for whoever has the page in one of many tabs."""
        self.join("a")
        self.assertIn("<title>all well – heartbeat</title>", self.ask("/").text)
        self.join("b").die()
        self.join("c").stick()
        self.assertIn("<title>1 dead, 1 stuck – heartbeat</title>", self.ask("/").text)
        self.assertIn('data-title="1 dead, 1 stuck – heartbeat"', self.ask("/?part=strip").text)


class SafetyTests(PageCase):
    """What comes from outside stays text."""

    def test_nothing_of_a_peer_is_markup(self) -> None:
        """Whatever a peer calls itself, its services, meta or node, it is text: no tag, no attribute, no script."""
        plain = self.join("plain", services=("auth",), meta={"region": "r", "k": "v"}, node="n")
        plain.die("peer_closed", Evidence(at=self.hands.now, detail="d", error="e"))
        expected = self.page("?peer=plain")
        one = self.join(NASTY, services=(NASTY, "x" + NASTY), node=NASTY, meta={"region": NASTY, "k" + NASTY: NASTY})
        one.peer.address = one.peer.session = NASTY
        one.die("peer_closed", Evidence(at=self.hands.now, detail=NASTY, error=NASTY))
        for query in ("", "?peer=%3Cscript%3E", f"?peer={NASTY}".replace("&", "%26").replace(" ", "%20")):
            answered = self.ask(f"/{query}")
            seen = Seen(answered.text)
            self.assertLessEqual(seen.tags, expected.tags)
            self.assertLessEqual(seen.attributes, expected.attributes | {"open", "hidden"})
            self.assertNotIn("<script>", answered.text)
        seen = self.page()
        self.assertEqual(unquote(seen.links[NASTY].partition("=")[2]).replace("+", " "), NASTY)

    def test_the_query_is_no_markup_either(self) -> None:
        """What is asked for comes back in links and fields only, encoded."""
        for number in range(ROWS + 1):
            self.join(f"p{number:03}{NASTY}")
        answered = self.ask("/?q=%3Cscript%3Ealert(1)&state=alive&service=&region=")
        self.assertNotIn("<script>", answered.text)
        following = parse_qs(urlsplit(Seen(answered.text).links["Further peers"]).query)
        self.assertEqual(following["q"], ["<script>alert(1)"])

    def test_the_policy(self) -> None:
        """Only our own files may run or style, and only we may be talked to; nothing in the page is either."""
        self.join("a").die()
        for path in ("/", "/reasons"):
            answered = self.ask(path)
            policy = answered.headers["content-security-policy"]
            for part in ("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"):
                self.assertIn(part, policy)
            self.assertNotIn("unsafe", policy)
            text = answered.text
            self.assertEqual(re.findall(r"<script(?! type=\"module\" src=\"static/[a-z]+\.js\"></script>)", text), [])
            self.assertNotIn("<style", text)
            attributes = Seen(text).attributes
            self.assertFalse({one for one in attributes if one.startswith("on") or one == "style"}, attributes)
            self.assertEqual(re.findall(r"(?:src|href)=\"(?:https?:)?//", text), [])

    def test_wrong_parameters(self) -> None:
        """Each is named, in a line."""
        for path, name in (
            ("/?state=x", "state"),
            ("/?reason=x", "reason"),
            ("/?before=x", "before"),
            ("/?failure=x", "failure"),
            ("/?part=head", "part"),
            ("/?peer=a&peer=b", "peer"),
        ):
            answered = self.ask(path)
            self.assertEqual(answered.status, 400, path)
            self.assertTrue(answered.text.startswith(f"{name}: "), answered.text)


class PartsTests(PageCase):
    """What the page's own script asks for."""

    def test_some_sections(self) -> None:
        """``part`` gives these sections, filtered as the page is, and nothing around them."""
        self.join("a")
        self.join("b").die()
        whole, part = self.ask("/?state=dead").text, self.ask("/?state=dead&part=peers,strip").text
        for section in part.split("</section>\n")[:-1]:
            self.assertIn(section, whole)
        self.assertEqual(set(Seen(part).sections), {"peers", "strip"})
        self.assertTrue(part.startswith("<section"))
        self.assertNotIn("part", part)

    def test_times_can_tick(self) -> None:
        """Each time has its moment in it, and the page the time of the server."""
        self.join("a")
        text = self.ask("/").text
        self.assertIn(f'data-now="{EPOCH + self.hands.now:.1f}"', text)
        self.assertIn(f'data-at="{EPOCH + self.hands.now:.1f}"', text)

    def test_without_scripts(self) -> None:
        """It asks again by itself, on a phone too, in light and dark."""
        text = self.ask("/").text
        for needed in ('<noscript><meta http-equiv="refresh" content="10"></noscript>', '"viewport"', '"light dark"'):
            self.assertIn(needed, text)
        self.assertTrue(text.startswith("<!doctype html>"))


class StaticTests(PageCase):
    """The files of the page."""

    def test_all_that_the_page_asks_for(self) -> None:
        """Each file that the page or its scripts name is there, with its type, and the browser may keep it."""
        names = set(re.findall(r'(?:src|href)="static/([^"]+)"', self.ask("/").text))
        names |= set(re.findall(r'from "\./([^"]+)"', self.ask("/static/board.js").text))
        self.assertEqual(names, {"board.css", "board.js", "icon.svg", "live.js", "morph.js", "times.js"})
        for name in names:
            answered = self.ask(f"/static/{name}")
            self.assertEqual(answered.status, 200, name)
            self.assertRegex(
                answered.headers["content-type"], r"^(text/(css|javascript); charset=utf-8|image/svg\+xml)$"
            )
            self.assertEqual(answered.headers["cache-control"], "no-cache")
            again = self.ask(f"/static/{name}", **{"If-None-Match": answered.headers["etag"]})
            self.assertEqual((again.status, again.body), (304, b""))
            self.assertEqual(self.ask(f"/static/{name}", **{"If-None-Match": '"other"'}).status, 200)

    def test_nothing_else(self) -> None:
        """No listing, no file of the package, nothing above."""
        for path in ("", "/", "/__init__.py", "/../page.py", "/%2e%2e/page.py", "/board.css/x", "/nothing.js"):
            self.assertEqual(self.ask(f"/static{path}").status, 404, path)

    def test_no_script_writes_markup_or_code(self) -> None:
        """No eval, no innerHTML, no inline style: the policy would forbid them, and there is no need."""
        for name in ("board.js", "live.js", "morph.js", "times.js"):
            text = self.ask(f"/static/{name}").text
            self.assertEqual(re.findall(r"innerHTML|outerHTML|eval\(|document\.write|setAttribute\(\"style", text), [])


class WordsTests(PageCase):
    """What the reasons mean."""

    def test_every_name_has_words(self) -> None:
        """Each reason, state, reason to spare and field of the evidence has a title and a meaning; reasons, advice."""
        self.assertLessEqual(FAILURE_REASONS, set(words.REASONS))
        self.assertEqual({state.value for state in LISTED}, set(words.STATES))
        self.assertEqual(set(SPARE_REASONS), set(words.SPARED))
        for name in FAILURE_REASONS:
            word = words.reason(name)
            self.assertTrue(word.title and word.meaning and word.advice, name)
        fields = {*Evidence.__dataclass_fields__, *(f"tcp.{one}" for one in TcpInfo.__dataclass_fields__)} - {"tcp"}
        self.assertLessEqual(fields, set(words.EVIDENCE))
        self.assertEqual(words.reason("new_reason").title, "new reason")

    def test_the_page(self) -> None:
        """``/reasons`` has a place for each, to which an entry leads."""
        text = self.ask("/reasons").text
        for name in FAILURE_REASONS:
            self.assertIn(f'id="{name}"', text)
        self.join("a").die("nat_expired")
        self.assertEqual(self.page().links["More about this reason"], "reasons#nat_expired")
