"""Tests of the logs: JSON lines, levels, and how twist is made to use them."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

from twisted.logger import Logger, LogLevel, LogPublisher, globalLogPublisher, jsonFileLogObserver, textFileLogObserver
from twisted.logger._global import LogBeginner
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps.logs import RETRIES, json_line, json_observer, take_over


class JSONTests(SynchronousTestCase):
    """One event, one line of JSON."""

    def lines(self, *events: dict[str, Any]) -> list[dict[str, Any]]:
        """What is written for the events."""
        out = io.StringIO()
        observer = json_observer(out)
        for event in events:
            observer(event)
        self.assertTrue(out.getvalue().endswith("\n"))
        return [json.loads(line) for line in out.getvalue().splitlines()]

    def test_fields(self) -> None:
        """A line has time, level, logger, message and the ids that the event has, and nothing it was not asked for."""
        (line,) = self.lines(
            {
                "log_time": 1700000000.25,
                "log_level": LogLevel.warn,
                "log_namespace": "heartbeat.peer",
                "log_format": "{peer} is dead: {reason}",
                "peer": "gateway-7",
                "reason": "path_dead",
                "session": None,
                "other": object(),
            }
        )
        self.assertEqual(
            line,
            {
                "ts": "2023-11-14T22:13:20.250Z",
                "level": "warn",
                "logger": "heartbeat.peer",
                "msg": "gateway-7 is dead: path_dead",
                "peer": "gateway-7",
                "reason": "path_dead",
            },
        )

    def test_a_failure(self) -> None:
        """An exception is three fields: type, message and traceback, in the same line."""
        try:
            raise ValueError("bad\nluck")
        except ValueError:
            failure = Failure()
        (line,) = self.lines(
            {"log_level": LogLevel.critical, "log_format": "oh", "log_failure": failure, "log_time": 0.0}
        )
        self.assertEqual((line["exc"]["type"], line["exc"]["msg"]), ("ValueError", "bad\nluck"))
        self.assertIn("test_logs.py", line["exc"]["tb"])

    def test_one_line_whatever_is_in_it(self) -> None:
        """Line breaks, control characters, lone surrogates and objects stay within one line of valid JSON."""
        events = [
            {"log_format": "{peer}", "peer": text, "log_time": 0.0, "log_level": LogLevel.info}
            for text in ("a\nb", "\x00\x1e", "\ud800", "\u2028", object())
        ]
        self.assertEqual(len(self.lines(*events)), len(events))

    def test_an_event_that_cannot_be_formatted(self) -> None:
        """A broken format is told about, not raised."""
        self.assertIn("msg", json.loads(json_line({"log_format": "{nothing.there}", "log_time": 0.0})))


class TakeOverTests(SynchronousTestCase):
    """How twist is made to log our way."""

    def twist(self, level: Any = LogLevel.info) -> dict[str, Any]:
        """The options of twist that matter here."""
        return {"fileLogObserverFactory": textFileLogObserver, "logLevel": level, "logFile": io.StringIO()}

    def begin(self, parent: dict[str, Any], publisher: LogPublisher, beginner: LogBeginner) -> None:
        """Begin to log as twist's runner does."""
        observer = parent["fileLogObserverFactory"](parent["logFile"])
        beginner.beginLoggingTo([observer], redirectStandardIO=False)

    def test_nothing_twice(self) -> None:
        """What is logged before twist begins its log is written once, and so is what comes later."""
        parent = self.twist()
        publisher = LogPublisher()
        beginner = LogBeginner(publisher, io.StringIO(), sys, __import__("warnings"))
        self.addCleanup(setattr, __import__("warnings"), "showwarning", __import__("warnings").showwarning)
        log = Logger("heartbeat.test", observer=publisher)
        take_over(parent, as_json=True, level=None)
        log.info("early")
        self.begin(parent, publisher, beginner)
        log.info("late")
        written = [json.loads(line)["msg"] for line in parent["logFile"].getvalue().splitlines()]
        self.assertEqual(written, ["early", "late"])

    def test_the_level_may_change(self) -> None:
        """The level is twist's own, or ours where we were given one, and a reload may change it both ways."""
        parent = self.twist(LogLevel.warn)
        publisher = LogPublisher()
        log = Logger("heartbeat.test", observer=publisher)
        levels = take_over(parent, as_json=True, level=None)
        publisher.addObserver(parent["fileLogObserverFactory"](parent["logFile"]))
        for level, texts in ((None, "ab"), ("debug", "cd"), ("error", "ef"), (None, "gh")):
            levels.use(level)
            log.warn(texts[0])
            log.debug(texts[1])
        written = [json.loads(line)["msg"] for line in parent["logFile"].getvalue().splitlines()]
        self.assertEqual(written, ["a", "c", "d", "g"])

    def test_retries_are_for_who_debugs(self) -> None:
        """What ClientService says about each retry, at info, shows at level debug only."""
        parent = self.twist()
        publisher = LogPublisher()
        log = Logger(RETRIES[0], observer=publisher)
        levels = take_over(parent, as_json=True, level=None)
        publisher.addObserver(parent["fileLogObserverFactory"](parent["logFile"]))
        for level in (None, "debug", "error"):
            levels.use(level)
            log.info("Scheduling retry, {at}", at=level)
            log.warn("warned, {at}", at=level)
        written = [json.loads(line)["msg"] for line in parent["logFile"].getvalue().splitlines()]
        self.assertEqual(written, ["warned, None", "Scheduling retry, debug", "warned, debug"])

    def test_text_unless_somebody_asked(self) -> None:
        """Into a pipe goes text, not the format that twist has for that, unless it was asked for."""
        for argv, text in ((["twist", "x"], True), (["twist", "--log-format=json", "x"], False)):
            self.patch(sys, "argv", argv)
            parent = {**self.twist(), "fileLogObserverFactory": jsonFileLogObserver}
            take_over(parent, as_json=False, level=None)
            publisher = LogPublisher(parent["fileLogObserverFactory"](parent["logFile"]))
            Logger("heartbeat.test", observer=publisher).info("hello")
            written = parent["logFile"].getvalue()
            self.assertIn("hello", written)
            self.assertEqual("[heartbeat.test#info]" in written, text, written)

    def test_text_stays_text(self) -> None:
        """Without --log-json the format is the one that twist was told, with our level."""
        parent = self.twist()
        take_over(parent, as_json=False, level="warn")
        observer = parent["fileLogObserverFactory"](parent["logFile"])
        publisher = LogPublisher(observer)
        log = Logger("heartbeat.test", observer=publisher)
        log.info("not this")
        log.warn("but this")
        self.assertIn("[heartbeat.test#warn] but this", parent["logFile"].getvalue())
        self.assertNotIn("not this", parent["logFile"].getvalue())

    def test_without_twist(self) -> None:
        """Under anything else JSON goes to standard output, and a replay of early events is not written again."""
        out = io.StringIO()
        self.patch(sys, "__stdout__", out)
        before = list(globalLogPublisher._observers)  # what was there must be there again afterwards
        take_over(None, as_json=True, level=None)
        (observer,) = [one for one in globalLogPublisher._observers if one not in before]
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        event = {"log_format": "once", "log_level": LogLevel.info, "log_namespace": "heartbeat", "log_time": 0.0}
        observer(event)
        observer(event)
        self.assertEqual(len(out.getvalue().splitlines()), 1)
