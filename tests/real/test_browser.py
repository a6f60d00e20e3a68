"""The dashboard in a real browser: live, whole without scripts, for keyboards and phones, and true to its policy."""

from __future__ import annotations

import contextlib  # trial has a meaning of its own for a `suppress` in a module of tests
import functools
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.real.chromium import Browser, missing
from tests.real.processes import Agent, Server, poll
from tests.real.rawpeer import RawPeer, connect

#: Seconds in which the page shows what has happened: the verdict (1.6 s at most), a look at the sections, and a busy
#: machine.
SOON = 8.0

ROW = "return document.querySelector(`.peers [data-key='${arguments[0]}']`)?.innerText ?? ''"
LIVE = "return document.querySelector('#live .on') !== null"
#: Elements that stick out to the right, and are not cut off or scrolled by something around them.
STICKING_OUT = """
const clipped = (one) => { for (let up = one.parentElement; up && up !== document.body; up = up.parentElement) {
  if (getComputedStyle(up).overflowX !== "visible") return true; } return false; };
return [...document.body.querySelectorAll("*")].filter((one) => { const box = one.getBoundingClientRect();
  return box.width && box.right > innerWidth + 1 && !clipped(one); }).map((one) => one.outerHTML.slice(0, 120));
"""
BACKGROUND = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"
#: The contrast of text with what is behind it (WCAG 2), of each element with text of its own, where under 4.5.
TOO_FAINT = """
const one = (v) => v <= 10.31475 ? v / 3294.6 : ((v / 255 + .055) / 1.055) ** 2.4;
const light = ([r, g, b]) => { return .2126 * one(r) + .7152 * one(g) + .0722 * one(b); };
const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
const behind = (one) => { for (; one; one = one.parentElement) {
  const c = numbers(getComputedStyle(one).backgroundColor);
  if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
const found = new Set();
for (const one of document.body.querySelectorAll("*")) {
  if (!one.checkVisibility() || ![...one.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
  const [a, b] = [light(numbers(getComputedStyle(one).color)), light(behind(one))].sort((x, y) => y - x);
  if ((a + .05) / (b + .05) < 4.5) found.add(`${one.tagName}.${one.className} ${one.textContent.trim().slice(0, 30)}`);
}
return [...found];
"""


@functools.cache
def browser() -> Browser:
    """One browser for all tests here; starting one takes some seconds."""
    return Browser()


class BrowserTestCase(SynchronousTestCase):
    """A server with a few peers, and a window."""

    skip = missing()

    def setUp(self) -> None:
        """Start both."""
        self.server = self.start()
        self.addCleanup(lambda: self.assertEqual(self.server.complaints(), []))
        self.browser = browser()
        self.addCleanup(self.quiet)
        self.browser.resize(1280, 900)
        self.browser.prefer(dark=False)
        self.browser.complaints()  # of whoever was here before

    def start(self) -> Server:
        """A server of its own."""
        server = Server("--ping-interval", "0.5", "--region", "eu-west")
        self.addCleanup(server.kill)
        return server

    def quiet(self) -> None:
        """Leave the page, whose console had nothing to say: no error, and nothing that the policy forbade."""
        self.browser.open("about:blank")
        self.assertEqual(self.browser.complaints(), [])

    def url(self, path: str = "") -> str:
        """The address of a page."""
        return f"http://127.0.0.1:{self.server.web}/{path}"

    def peer(self, name: str) -> RawPeer:
        """A peer that beats by itself for as long as a minute."""
        peer = connect(self.server.port)
        self.addCleanup(peer.close)
        peer.greet(id=name, want_ping_ms=60_000, min_rx_ms=60_000)
        return peer

    def agent(self, name: str, *options: str) -> Agent:
        """An agent in a process of its own."""
        agent = Agent(self.server.port, "--id", name, *options)
        self.addCleanup(agent.kill)
        self.server.in_state(name, "alive", 20.0)
        return agent


class LiveTests(BrowserTestCase):
    """With scripts."""

    def test_a_peer_is_killed(self) -> None:
        """Its row, the failure and its evidence appear without a reload, and it is read out; nothing else moves."""
        agent = self.agent("edge-1", "--services", "auth,http", "--meta", "region=eu-north")
        self.peer("quiet-1")
        page = self.browser
        page.open(self.url())
        page.until(LIVE, SOON, "the page says that it is live")
        page.run("window.same = true; document.querySelector('.peers [data-key=quiet-1]').same = true")
        self.assertIn("alive", page.run(ROW, "edge-1"))
        self.assertIn("Nothing has failed", page.text("#failures"))

        agent.kill()
        page.until(f"{ROW}.includes('dead')", SOON, "its row says dead", "edge-1")
        page.until("return document.querySelector('.failures > li')", SOON, "the failure is there")
        summary = page.text(".failures > li summary")
        for part in ("Process ended", "peer_closed", "edge-1", "silent"):
            self.assertIn(part, summary)
        page.click(".failures > li summary")
        shown = page.text(".failures > li")
        (failure,) = self.server.failures("edge-1")
        for part in ("Evidence", "Silent for", "TCP state", "Flight recorder", "last sign of life", "dead, silent for"):
            self.assertIn(part.lower(), shown.lower())
        for part in ("eu-north", "auth", "http", failure["session"], "host alive", "loop dead"):
            self.assertIn(part, shown.replace("\n", " "))
        self.assertIn("eu-north", page.text(".groups"))
        page.until("return document.getElementById('said').innerText.includes('edge-1 failed')", SOON, "it is read out")
        self.assertTrue(page.run("return document.querySelector('.failures details').open"), "it was closed again")
        self.assertTrue(page.run("return window.same && document.querySelector('.peers [data-key=quiet-1]').same"))
        self.assertEqual(page.run("return document.title"), "1 dead – heartbeat")

    def test_the_view_is_in_the_address(self) -> None:
        """A filter is a link, no reload; the back button undoes it, and the address alone shows the same elsewhere."""
        for name in ("a-1", "a-2", "b-1"):
            self.peer(name)
        self.peer("c-1").close()
        self.server.in_state("c-1", "dead")
        page = self.browser
        page.open(self.url())
        page.until(LIVE, SOON, "live")
        page.run("window.same = true")
        page.click(".tile.dead a")
        page.until("return document.querySelectorAll('.peers tbody tr').length === 1", SOON, "only the dead one")
        self.assertEqual(page.run("return location.search"), "?state=dead")
        page.back()
        page.until("return document.querySelectorAll('.peers tbody tr').length === 4", SOON, "all of them again")
        page.run("document.querySelector('input[name=q]').focus()")
        page.press("a", "-")
        page.until("return document.querySelectorAll('.peers tbody tr').length === 2", SOON, "what was searched")
        self.assertEqual(page.run("return [location.search, window.same]"), ["?q=a-", True])
        self.assertEqual(page.run("return document.activeElement.value"), "a-", "the field lost its focus")
        page.open(self.url("?peer=c-1"))
        self.assertIn("Session", page.text("#peer"))
        self.assertIn("1 remembered", page.text("#failures"))
        (failure,) = self.server.failures("c-1")
        page.open(self.url(f"?failure={failure['id']}"))
        self.assertTrue(page.run("return document.querySelector('.failures details').open"))

    def test_with_a_password(self) -> None:
        """Whoever gave the password once has the page, its files, its updates and the events."""
        folder = Path(tempfile.mkdtemp(prefix="hb-"))
        self.addCleanup(shutil.rmtree, folder)
        secret = folder / "passwords"
        secret.touch(0o600)
        secret.write_text("ann:sesame\n")
        server = Server("--ping-interval", "0.5", "--web-password-file", str(secret))
        self.addCleanup(server.kill)
        page = self.browser
        page.open(f"http://ann:sesame@127.0.0.1:{server.web}/")
        page.until(LIVE, SOON, "the page says that it is live")
        peer = connect(server.port)
        self.addCleanup(peer.close)
        peer.greet(id="a-1", want_ping_ms=60_000, min_rx_ms=60_000)
        page.until(f"{ROW}.includes('alive')", SOON, "its row is there", "a-1")
        self.quiet()  # before its server goes

    def test_it_comes_back(self) -> None:
        """When the server was away the page says so, and goes on by itself."""
        page = self.browser
        page.open(self.url())
        page.until(LIVE, SOON, "live")
        self.server.kill()
        page.until("return document.querySelector('#live .off') !== null", SOON, "that the connection is lost")
        page.open("about:blank")
        page.complaints()  # of requests that nobody answered: that was the test


LONG = "edge-with-a-long-name-0123456789.rack-17.example.net"


@functools.cache
def scene() -> Server:
    """A server with something to see: a peer with much to tell, and one that was killed. Runs until the tests end."""
    server = Server("--ping-interval", "0.5", "--region", "eu-west")
    Agent(server.port, "--id", LONG, "--services", "auth,http,metrics,backup,dns")
    killed = Agent(server.port, "--id", "edge-2", "--services", "auth")
    for name in (LONG, "edge-2"):
        server.in_state(name, "alive", 20.0)
    killed.kill()
    server.in_state("edge-2", "dead")
    return server


class SceneTestCase(BrowserTestCase):
    """Tests that only look."""

    def start(self) -> Server:
        """The server that all of them look at."""
        return scene()


class LookTests(SceneTestCase):
    """What can be seen, heard and done by keys."""

    def open(self, path: str = "") -> None:
        """The page, with all details open."""
        self.browser.open(self.url(path))
        self.browser.run("for (const one of document.querySelectorAll('details')) one.open = true")

    def test_a_phone(self) -> None:
        """At 390 px nothing sticks out to the right: the page does not scroll sideways, and nothing is cut off."""
        for width in (390, 320):
            self.browser.resize(width, 844)
            for path in ("", "?peer=edge-2", "reasons", "?state=stuck"):
                self.open(path)
                at = f"{path} at {width}"
                self.assertEqual(self.browser.run(STICKING_OUT), [], at)
                self.assertEqual(self.browser.run("return document.documentElement.scrollWidth"), width, at)

    def test_light_and_dark(self) -> None:
        """The page follows the scheme of the user, and in both all text can be read (WCAG 2: 4.5 to 1)."""
        for dark in (False, True):
            self.browser.prefer(dark=dark)
            for path in ("", "?peer=edge-2&state=dead", "reasons"):
                self.open(path)
                self.browser.run("document.getAnimations().forEach((one) => one.cancel())")
                brightest = max(self.browser.run(BACKGROUND))
                self.assertLess(brightest, 50) if dark else self.assertGreater(brightest, 200)
                self.assertEqual(self.browser.run(TOO_FAINT), [], f"{path}, {'dark' if dark else 'light'}")

    def test_keyboard(self) -> None:
        """Everything can be reached and done by keys alone, and what has the focus shows it."""
        page = self.browser
        page.open(self.url())
        page.press("Tab")
        skip = "return document.activeElement.innerText === 'Skip to the failures'"
        page.until(skip, SOON, "the first thing to be reached leads past the rest")
        seen: list[str] = []
        for _ in range(40):
            page.press("Tab")
            focus, outlined = page.run(
                "const one = document.activeElement;"
                "return [one.tagName + ' ' + (one.name || one.innerText).slice(0, 30),"
                "getComputedStyle(one).outlineStyle !== 'none' || one.matches('.tile a')]"
            )
            self.assertTrue(outlined, f"the focus on {focus} cannot be seen")
            seen.append(focus)
            if focus.startswith("SUMMARY"):
                break
        self.assertTrue(seen[-1].startswith("SUMMARY"), seen)
        for reached in ("INPUT q", "SELECT state", "BUTTON Filter"):
            self.assertTrue(any(one.startswith(reached) for one in seen), (reached, seen))
        page.press("Enter")
        self.assertTrue(page.run("return document.querySelector('.failures details').open"))

    def test_names_for_who_hears_the_page(self) -> None:
        """There are landmarks, one first heading, headers with scope; fields, sections and pictures have names."""
        self.open()
        for what, script in {
            "main, header, footer": "return ['main', 'header', 'footer', 'h1'].every((one) => "
            "document.querySelectorAll(`body > ${one}, body > * > ${one}`).length >= 1)",
            "one h1": "return document.querySelectorAll('h1').length === 1",
            "language": "return document.documentElement.lang === 'en'",
            "scopes": "return [...document.querySelectorAll('th')].every((one) => one.scope)",
            "captions": "return [...document.querySelectorAll('table')].every((one) => one.caption)",
            "labels": "return [...document.querySelectorAll('input, select')].every((one) => one.labels.length)",
            "sections": "return [...document.querySelectorAll('section:not([hidden])')].every((one) => "
            "one.ariaLabel || document.getElementById(one.getAttribute('aria-labelledby')))",
            "pictures": "return [...document.querySelectorAll('svg')].every((one) => "
            "one.ariaHidden || one.getAttribute('aria-label'))",
            "polite": "return document.getElementById('said').ariaLive === 'polite'",
        }.items():
            self.assertTrue(self.browser.run(script), what)


class WithoutScriptsTests(SceneTestCase):
    """The same page for browsers that run no script."""

    def test_tables(self) -> None:
        """Peers are a table, failures can be opened, filters and pages are forms and links; it asks again by itself."""
        window = self.browser
        self.addCleanup(window.scripts, allowed=True)
        window.scripts(allowed=False)
        window.open(self.url())
        html = self.seen(window)
        for part in (f'data-key="{LONG}"', 'data-key="edge-2"', "<summary>", "peer_closed", 'http-equiv="refresh"'):
            self.assertIn(part, html)
        self.assertNotIn('class="on"', html)
        window.open(self.url("?state=dead"))
        self.assertNotIn(LONG, self.seen(window))
        window.click("#peers tbody a")
        self.assertIn("peer=edge-2", self.address(window))

    def seen(self, window: Browser) -> str:
        """The page as it is in the window, asked without running anything in it."""
        for _ in range(10):
            root = window.devtools("DOM.getDocument", depth=0)["root"]["nodeId"]
            with contextlib.suppress(AssertionError):  # the page was replaced in between
                return str(window.devtools("DOM.getOuterHTML", nodeId=root)["outerHTML"])
        raise AssertionError("the page does not come to rest")

    def address(self, window: Browser) -> str:
        """Where the window is."""
        history: dict[str, Any] = window.devtools("Page.getNavigationHistory")
        return str(history["entries"][history["currentIndex"]]["url"])


class CrowdTests(BrowserTestCase):
    """Many peers."""

    def test_one_page_of_them(self) -> None:
        """The window holds what it shows, whatever the number of peers, and an update changes only that."""
        peers = [connect(self.server.port) for _ in range(150)]
        for number, peer in enumerate(peers):
            self.addCleanup(peer.close)
            peer.greet(id=f"p{number:03}", want_ping_ms=60_000, min_rx_ms=60_000)
        poll(lambda: self.server.metric("heartbeat_peers", state="alive") == 150.0, 10.0, "150 peers")
        page = self.browser
        page.open(self.url())
        page.until(LIVE, SOON, "live")
        self.assertEqual(page.run("return document.querySelectorAll('.peers tbody tr').length"), 50)
        self.assertLess(page.run("return document.querySelectorAll('*').length"), 2000)
        self.assertIn("150", page.text(".tile.alive"))
        page.click("#peers .paging a[rel=next]")
        page.until("return document.querySelector('.peers tbody tr').dataset.key === 'p050'", SOON, "the second page")
        for peer in peers[:100]:
            peer.close()
        began = time.monotonic()
        page.until("return document.querySelector('.tile.dead b').innerText === '100'", SOON, "100 dead")
        self.assertLess(time.monotonic() - began, SOON)
        page.until("return document.querySelectorAll('.failures > li').length === 20", SOON, "a page of failures")
        asked = page.run("return performance.getEntriesByType('resource').map((one) => one.name)")
        self.assertLess(len([one for one in asked if "part=" in one]), 40, "100 deaths are not 100 requests")
