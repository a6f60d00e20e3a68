"""Tests of the progress file."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.apps.progress import MAX_BYTES, STUCK_AFTER, Progress, ProgressFile


class ProgressTests(SynchronousTestCase):
    """A counter of work done and what is queued."""

    def setUp(self) -> None:
        """A file, and what is logged about it."""
        self.path = self.mktemp()
        self.file = ProgressFile(self.path)
        self.logged: list[str] = []
        observer = self.observe
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def observe(self, event: dict[str, object]) -> None:
        """Keep what concerns the agent."""
        if event.get("log_namespace") == "heartbeat.agent":
            self.logged.append(str(event.get("trouble", "")))

    def read(self, text: str, now: float) -> Progress | None:
        """What the file says, with this in it."""
        Path(self.path).write_text(text, encoding="utf-8")
        return self.file.read(now)

    def test_counters(self) -> None:
        """The first word counts what is done, a second what is queued, the rest is for people."""
        for text, done in (
            ("7", 7),
            ("8\n", 8),
            (" 9 3", 9),
            ("10 0 since noon\nmore\n", 10),
            ("11 jobs", 11),
            ("jobs 11", None),
            ("-1", None),
            ("1.5", None),
            ("0x1", None),
        ):
            progress = self.read(text, 0.0)
            self.assertEqual(None if progress is None else progress.done, done, text)

    def test_stuck(self) -> None:
        """Work is queued and the counter does not move: stuck, until it moves or nothing is queued any more."""
        self.assertEqual(self.read("5 2", 100.0), Progress(5, False))
        self.assertEqual(self.read("5 2", 100.0 + STUCK_AFTER - 0.1), Progress(5, False))
        self.assertEqual(self.read("5 3", 100.0 + STUCK_AFTER), Progress(5, True))
        self.assertEqual(self.read("6 3", 101.0 + STUCK_AFTER), Progress(6, False))
        self.assertEqual(self.read("6 3", 102.0 + 2 * STUCK_AFTER), Progress(6, True))
        self.assertEqual(self.read("6 0", 103.0 + 2 * STUCK_AFTER), Progress(6, False))
        self.assertEqual(self.read("6 1", 103.5 + 2 * STUCK_AFTER), Progress(6, False))

    def test_idle_is_not_stuck(self) -> None:
        """Without a queue a counter may rest."""
        self.assertEqual(self.read("5", 0.0), Progress(5, False))
        self.assertEqual(self.read("5", 1e6), Progress(5, False))

    def test_a_restarted_worker(self) -> None:
        """A counter that begins again has moved."""
        self.read("5 2", 0.0)
        self.assertEqual(self.read("0 2", 2 * STUCK_AFTER), Progress(0, False))

    def test_garbage_is_one_line(self) -> None:
        """A file that makes no sense is one line in the log, however often it is read, and one when it does again."""
        self.assertIsNone(self.file.read(0.0))  # it is not there
        for _ in range(3):
            self.assertIsNone(self.read("garbage", 1.0))
        for _ in range(3):
            self.assertEqual(self.read("5", 2.0), Progress(5, False))
        self.assertEqual(len(self.logged), 3, self.logged)
        self.assertIn("No such file", self.logged[0])

    @given(st.binary(max_size=64))
    @settings(deadline=None, max_examples=50)
    def test_anything(self, data: bytes) -> None:
        """Whatever a worker writes, reading it gives a counter or nothing."""
        Path(self.path).write_bytes(data)
        progress = self.file.read(0.0)
        self.assertTrue(progress is None or 0 <= progress.done < 10**18)

    def test_a_huge_file(self) -> None:
        """A file that is much longer than two counters is not read through."""
        self.assertIsNone(self.read("5 " * MAX_BYTES, 0.0))
        self.assertIn(str(MAX_BYTES), self.logged[0])
