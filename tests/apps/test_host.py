"""Tests of what an agent says about its host."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from heartbeat.apps.host import HostState, host_load, host_uptime
from heartbeat.apps.progress import ProgressFile
from heartbeat.errors import MissingExtra
from heartbeat.interfaces import IStateSource


class MeasurementTests(SynchronousTestCase):
    """The real numbers of this host."""

    def without_psutil(self) -> None:
        """As if the extra were not installed."""
        before = sys.modules.get("psutil")
        sys.modules["psutil"] = None  # type: ignore[assignment]  # which makes an import of it fail
        self.addCleanup(sys.modules.__setitem__, "psutil", before)

    def test_load(self) -> None:
        """The load is the mean of the last minute for each processor, with psutil and without."""
        expected = os.getloadavg()[0] / (os.cpu_count() or 1)
        self.assertLess(abs(host_load()() - expected), 0.5)
        self.without_psutil()
        self.assertLess(abs(host_load()() - expected), 0.5)

    def test_uptime(self) -> None:
        """The uptime is that of the host, in whole seconds, from /proc and from psutil alike."""
        up = host_uptime()()
        self.assertIsInstance(up, int)
        self.assertGreater(up, 0)
        self.assertLess(abs(host_uptime("/nonexistent")() - up), 5)

    def test_uptime_of_proc(self) -> None:
        """The first number of the file counts."""
        path = self.mktemp()
        Path(path).write_text("3725.91 7000.10\n", encoding="ascii")
        self.assertEqual(host_uptime(path)(), 3725)

    def test_a_clock_that_steps_back(self) -> None:
        """With psutil the wall clock decides: one that steps back before the boot makes 0, not a negative number."""
        uptime = host_uptime("/nonexistent")
        self.patch(time, "time", lambda: 1.0)
        self.assertEqual(uptime(), 0)

    def test_neither(self) -> None:
        """Where the platform cannot be asked without psutil, the error names what to install."""
        self.without_psutil()
        error = self.assertRaises(MissingExtra, host_uptime, "/nonexistent")
        self.assertIn("txheartbeat[agent]", str(error))


class HostStateTests(SynchronousTestCase):
    """The account."""

    def test_real(self) -> None:
        """By itself it gives the numbers of this host."""
        state = HostState(services=("auth",), meta={"rack": "r1"})
        self.assertTrue(verifyObject(IStateSource, state))
        report = state.report()
        self.assertEqual((report.services, dict(report.meta)), (("auth",), {"rack": "r1"}))
        self.assertGreaterEqual(report.load, 0.0)
        self.assertGreater(report.uptime, 0)
        self.assertEqual((report.stuck, report.progress), (False, None))

    def test_progress(self) -> None:
        """Progress and STUCK come from the progress file, judged by the monotonic clock."""
        path = self.mktemp()
        Path(path).write_text("41 2", encoding="ascii")
        now = [0.0]
        state = HostState(progress=ProgressFile(path), load=lambda: 0.25, uptime=lambda: 7, seconds=lambda: now[0])
        report = state.report()
        self.assertEqual((report.progress, report.stuck, report.load, report.uptime), (41, False, 0.25, 7))
        now[0] = 60.0
        self.assertTrue(state.report().stuck)
