"""The account that an end gives of itself when nobody brought another one."""

from __future__ import annotations

from zope.interface.verify import verifyObject

from heartbeat.config import HeartbeatConfig
from heartbeat.interfaces import IStateSource
from heartbeat.session.source import ConfigSource
from tests.liveness.loops import START, TimedTestCase


class ConfigSourceTests(TimedTestCase):
    """:class:`ConfigSource`."""

    def setUp(self) -> None:
        """One on a clock of its own."""
        self.now = START
        config = HeartbeatConfig(services=("auth", "db"), meta={"zone": "b"}, sync_interval=5.0)
        self.source = ConfigSource(config, lambda: self.now)

    def stuck(self, after: float = 0.0) -> bool:
        """Whether it says STUCK, so much later."""
        self.now += after
        return self.source.report().stuck

    def test_says_what_was_configured(self) -> None:
        """Services, meta, the uptime in whole seconds; no progress until some was told."""
        self.assertTrue(verifyObject(IStateSource, self.source))
        self.now += 61.9
        report = self.source.report()
        self.assertEqual((report.services, dict(report.meta), report.uptime), (("auth", "db"), {"zone": "b"}, 61))
        self.assertEqual((report.progress, report.stuck, report.load), (None, False, 0.0))

    def test_progress(self) -> None:
        """The counter as it was told last."""
        self.source.progress(17, 0)
        self.assertEqual(self.source.report().progress, 17)

    def test_work_that_moves_is_not_stuck(self) -> None:
        """However much is waiting."""
        for done in range(20):
            self.source.progress(done, 1000)
            self.assertFalse(self.stuck(after=4.9))

    def test_work_that_stands_still_is(self) -> None:
        """From a sync interval on; and no longer when it moves."""
        self.source.progress(5, 1)
        self.assertFalse(self.stuck(after=4.9))
        self.assertTrue(self.stuck(after=0.2))
        self.source.progress(5, 3)
        self.assertTrue(self.stuck())
        self.source.progress(6, 3)
        self.assertFalse(self.stuck())

    def test_nothing_to_do_is_not_stuck(self) -> None:
        """An idle end rests; the time counts from when work came."""
        self.source.progress(5, 0)
        self.assertFalse(self.stuck(after=100.0))
        self.source.progress(5, 1)
        self.assertFalse(self.stuck(after=4.9))
        self.assertTrue(self.stuck(after=0.2))
        self.source.progress(5, 0)
        self.assertFalse(self.stuck())

    def test_many_connections_ask(self) -> None:
        """A thousand SYNCs of one turn ask for the account; nobody is stuck because of that."""
        self.source.progress(5, 1)
        for _ in range(1000):
            self.assertFalse(self.stuck(after=0.001))
