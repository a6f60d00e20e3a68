"""heartbeat.watch.web.site: what is the same for every page."""

from __future__ import annotations

from typing import Any

from twisted.logger import LogLevel, globalLogPublisher

from heartbeat.watch.web import make_site
from heartbeat.watch.web.answers import Page
from heartbeat.watch.web.slices import PATIENCE, Turns
from tests.watch.web.browser import WebCase

LOGGER = "heartbeat.watch.web.site.WebSite"
EVERYWHERE = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class HeaderTests(WebCase):
    """Headers."""

    def test_on_every_answer(self) -> None:
        """Nothing is kept, guessed or framed, and no answer says what we are made of, whoever gives it."""
        self.join()
        for path, method in (
            ("/", "GET"),
            ("/api/peers", "GET"),
            ("/api/peers/a", "HEAD"),
            ("/api/peers?limit=x", "GET"),
            ("/nothing", "GET"),
            ("/metrics", "GET"),
            ("/livez", "POST"),
            ("*", "OPTIONS"),
        ):
            answered = self.ask(path, method)
            for name, value in EVERYWHERE.items():
                self.assertEqual(answered.headers.get(name), value, (path, name))
            self.assertIn("frame-ancestors 'none'", answered.headers["content-security-policy"])
            self.assertTrue(answered.headers["content-security-policy"].startswith("default-src 'none';"), path)
            self.assertNotIn("server", answered.headers, path)
            self.assertNotIn("unsafe", answered.headers["content-security-policy"])

    def test_errors_elsewhere_are_a_line(self) -> None:
        """Outside of /api an error is a line of text."""
        for path in ("/nothing", "/livez/nothing", "/apix"):
            answered = self.ask(path)
            self.assertEqual(answered.status, 404)
            self.assertEqual(answered.headers["content-type"], "text/plain; charset=utf-8")
            self.assertEqual(answered.text, "there is nothing here\n")
        answered = self.ask("/livez", "POST")
        self.assertEqual((answered.status, answered.headers["allow"]), (405, "GET, HEAD"))
        self.assertEqual(self.ask("/?state=x").status, 400)

    def test_head(self) -> None:
        """HEAD has the headers of GET and no body, on every page."""
        self.join()
        for path in ("/", "/api/peers", "/api/peers/a", "/api/failures", "/livez", "/readyz", "/health", "/nothing"):
            got, head = self.ask(path), self.ask(path, "HEAD")
            self.assertEqual(head.status, got.status, path)
            self.assertEqual(head.headers["content-type"], got.headers["content-type"])
            self.assertEqual(head.headers.get("content-length"), got.headers.get("content-length"))
            self.assertEqual(head.body, b"")

    def test_a_body_that_nobody_asked_for(self) -> None:
        """What a request brings along is thrown away: the next request on the connection is answered."""
        answered = self.ask("/api/peers", "POST", b"x" * 200_000)
        self.assertEqual(answered.status, 405)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        self.assertEqual(self.ask("/livez", "GET", b"limit=x", **form).status, 200)

    def test_the_installed_reactor_is_only_the_default(self) -> None:
        """Without a reactor the installed one is taken, when a site is made and not before."""
        from twisted.internet import reactor

        self.assertIs(make_site(self.registry, self.failures).reactor, reactor)


class LogTests(WebCase):
    """The access log."""

    def setUp(self) -> None:
        super().setUp()
        self.events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def levels(self) -> list[LogLevel]:
        """The levels of the lines on requests."""
        found = [event["log_level"] for event in self.events if event.get("log_namespace") == LOGGER]
        self.events.clear()
        return found

    def test_probes_are_no_news(self) -> None:
        """Whatever programs ask all the time is for who debugs, also when it says no."""
        self.reason = "draining"
        for path in ("/livez", "/readyz", "/health", "/metrics", "/", "/api/peers"):
            self.ask(path)
        self.assertEqual(set(self.levels()), {LogLevel.debug})

    def test_errors(self) -> None:
        """What a client did wrong is told, what we did wrong is a warning."""
        self.ask("/nothing")
        self.assertEqual(self.levels(), [LogLevel.info])
        self.site.resource.putChild(b"broken", Broken(Turns(self.clock)))
        self.assertEqual(self.ask("/broken").status, 500)
        self.assertEqual(self.levels(), [LogLevel.warn])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_the_line(self) -> None:
        """It says who asked for what and got what; it has no time of its own, which the event has."""
        self.ask("/%0a%1bnothing?q=1")
        (event,) = [event for event in self.events if event.get("log_namespace") == LOGGER]
        self.assertEqual(event["line"], "192.0.2.9 GET /%0a%1bnothing?q=1 404 22")
        self.assertEqual(event["status"], 404)
        self.connection.send("/\x1b[2J")
        self.assertTrue(self.connection.transport.value().startswith(b"HTTP/1.1 400 "))

    def test_nothing_is_written_behind_our_back(self) -> None:
        """With a factory that was started (Twisted's own log file, then), there is still one line per request."""
        self.site.doStart()
        self.addCleanup(self.site.doStop)
        self.ask("/livez")
        self.assertEqual(len([event for event in self.events if "livez" in str(event)]), 1)


class Broken(Page):
    """A page that fails."""

    def answer(self, request: object) -> Any:
        raise ZeroDivisionError


class Bits(Page):
    """A page that is made bit by bit, as told."""

    parts: Any = ()
    closed = False

    def answer(self, request: object) -> Any:
        from heartbeat.watch.web.answers import Answer

        def parts() -> Any:
            try:
                yield from self.parts
            finally:
                self.closed = True

        return Answer(parts())


class SlowReaderTests(WebCase):
    """Readers that do not read, and answers that break off."""

    def setUp(self) -> None:
        super().setUp()
        self.bits = Bits(Turns(self.clock))
        self.site.resource.putChild(b"bits", self.bits)
        self.made = 0
        self.bits.parts = self.count(10)

    def count(self, number: int) -> Any:
        """Parts, and how many of them were made."""
        for _ in range(number):
            self.made += 1
            yield b"x" * 1000

    def test_nothing_is_made_while_nobody_reads(self) -> None:
        """A reader that does not read costs what is on its way, not the rest of the answer."""
        self.connection.send("/bits")
        self.clock.turn()
        self.clock.turn()
        self.connection.reader.pauseProducing()
        for _ in range(5):
            self.clock.turn()
        self.assertEqual(self.made, 2)
        self.clock.advance(PATIENCE - 1)
        self.connection.reader.resumeProducing()
        self.assertEqual(len(self.connection.answer().body), 10_000)
        self.assertTrue(self.bits.closed)

    def test_pausing_again(self) -> None:
        """The patience is for each pause anew, and a second word for the same pause changes nothing."""
        self.connection.send("/bits")
        for _ in range(3):
            self.clock.turn()
            self.connection.reader.pauseProducing()
            self.connection.reader.pauseProducing()
            self.clock.advance(PATIENCE - 1)
            self.connection.reader.resumeProducing()
            self.connection.reader.resumeProducing()
        self.assertEqual(len(self.connection.answer().body), 10_000)

    def test_a_reader_that_never_reads_is_cut(self) -> None:
        """After 30 s the connection is aborted, not left for ever."""
        self.connection.send("/bits")
        self.clock.turn()
        self.connection.reader.pauseProducing()
        self.clock.advance(PATIENCE)
        self.assertTrue(self.connection.transport.disconnected)
        self.connection.lose()
        self.assertTrue(self.bits.closed)
        self.addCleanup(setattr, self.connection, "lose", lambda: None)

    def test_a_reader_that_goes_away(self) -> None:
        """The rest is not made."""
        self.connection.send("/bits")
        self.clock.turn()
        self.connection.lose()
        self.assertFalse(self.clock.turn())
        self.assertEqual(self.made, 1)
        self.assertTrue(self.bits.closed)

    def test_a_reader_that_goes_away_while_it_does_not_read(self) -> None:
        """Nothing is left on the clock."""
        self.connection.send("/bits")
        self.clock.turn()
        self.connection.reader.pauseProducing()
        self.connection.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_told_to_stop(self) -> None:
        """The consumer may say so, too, and more than once."""
        self.connection.send("/bits")
        self.clock.turn()
        self.connection.reader.stopProducing()
        self.connection.reader.stopProducing()
        self.connection.reader.pauseProducing()
        self.connection.reader.resumeProducing()
        self.assertFalse(self.clock.turn())
        self.assertEqual(self.made, 1)

    def test_an_answer_that_breaks_off(self) -> None:
        """It is logged, and the connection cut, so that nobody takes it for whole."""

        def parts() -> Any:
            yield b"x"
            raise ZeroDivisionError

        self.bits.parts = parts()
        self.connection.send("/bits")
        while self.clock.turn():
            pass
        self.assertTrue(self.connection.transport.disconnected)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
