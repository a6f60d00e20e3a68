"""Tests of SIGHUP and of the handlers of signals."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, replace
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps.kinds import Text
from heartbeat.apps.options import Setting, When
from heartbeat.apps.reload import Reload
from heartbeat.apps.signals import HANGUP, STOP, Signals
from heartbeat.errors import ConfigError

TABLE = (
    Setting(name="keep-peers", kind=Text(), doc="", when=When.AT_ONCE),
    Setting(name="ping-interval", kind=Text(), doc="", when=When.NEXT),
    Setting(name="listen", kind=Text(), doc="", when=When.RESTART),
)


@dataclass(frozen=True)
class Settings:
    """Three settings, one of each sort."""

    keep_peers: int = 1
    ping_interval: float = 0.5
    listen: str = "tcp:1"


class FromThreads(MemoryReactorClock):
    """A reactor that runs what comes from elsewhere at once."""

    def callFromThread(self, function: Any, *args: Any, **kwargs: Any) -> None:
        function(*args, **kwargs)


class ReloadTests(SynchronousTestCase):
    """What a reload does, and what it says."""

    def setUp(self) -> None:
        """A service that reads :attr:`next` and applies to :attr:`applied`."""
        self.next: Settings | Exception = Settings()
        self.applied: list[Settings] = []
        self.service: Reload[Settings] = Reload(FromThreads(), TABLE, Settings(), self.read, self.applied.append)
        self.said: list[tuple[str, str]] = []
        observer = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def observe(self, event: dict[str, Any]) -> None:
        """Keep what is said about reloads."""
        if event.get("log_namespace") == "heartbeat.reload":
            self.said.append((event["log_level"].name, formatEvent(event)))

    def read(self) -> Settings:
        """The settings as the test wants them."""
        if isinstance(self.next, Exception):
            raise self.next
        return self.next

    def test_changes(self) -> None:
        """What may change does, in one line that names it."""
        self.next = Settings(keep_peers=2, ping_interval=1.0)
        self.service.reload()
        self.assertEqual(self.applied, [self.next])
        self.assertEqual(self.said, [("info", "reloaded: keep-peers, ping-interval")])
        self.assertEqual(self.service.settings, self.next)

    def test_no_change(self) -> None:
        """The same settings again are said to be no change."""
        self.service.reload()
        self.assertEqual(self.said, [("info", "reloaded: nothing has changed")])

    def test_a_restart_is_needed(self) -> None:
        """What needs a restart is named in one line, each time until it is taken back."""
        self.next = Settings(keep_peers=2, listen="tcp:2")
        self.service.reload()
        self.assertEqual(self.said, [("info", "reloaded: keep-peers"), ("warn", "needs a restart: listen")])
        self.said.clear()
        self.next = replace(self.next, keep_peers=3)
        self.service.reload()
        self.assertEqual(self.said[1:], [("warn", "needs a restart: listen")])
        self.said.clear()
        self.next = replace(self.next, listen="tcp:1")
        self.service.reload()
        self.assertEqual(self.said, [("info", "reloaded: nothing has changed")])

    def test_a_bad_file(self) -> None:
        """A file that is wrong or gone changes nothing and is one line."""
        for trouble in (ConfigError("f.toml:3", 'unknown key "x"'), FileNotFoundError(2, "No such file", "f.toml")):
            self.next = trouble
            self.service.reload()
            self.assertEqual(self.applied, [])
            self.assertEqual(self.service.settings, Settings())
            ((level, text),) = self.said
            self.said.clear()
            self.assertEqual(level, "warn")
            self.assertIn("f.toml", text)

    def test_sighup(self) -> None:
        """While the service runs SIGHUP means reload; afterwards what it meant before."""
        before = signal.getsignal(signal.SIGHUP)
        self.service.startService()
        os.kill(os.getpid(), signal.SIGHUP)
        self.assertEqual(len(self.applied), 1)
        self.service.stopService()
        self.assertEqual(signal.getsignal(signal.SIGHUP), before)

    if not hasattr(signal, "SIGHUP"):
        test_sighup.skip = "this platform has no SIGHUP"  # type: ignore[attr-defined]  # trial's


class SignalsTests(SynchronousTestCase):
    """Handlers that are installed for a while."""

    def test_unknown_names(self) -> None:
        """A signal that this platform does not have is left out."""
        signals = Signals(FromThreads(), ("SIGNONE",), self.fail)
        signals.listen()
        signals.close()

    def test_only_in_the_main_thread(self) -> None:
        """In another thread, where Python allows no handlers, nothing is installed and nothing fails."""
        self.patch(signal, "signal", lambda *_: self.fail("a handler was installed"))
        self.patch(Signals.listen.__globals__["threading"], "current_thread", object)
        signals = Signals(FromThreads(), HANGUP + STOP, self.fail)
        signals.listen()
        signals.close()
