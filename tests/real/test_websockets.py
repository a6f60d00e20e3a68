"""The examples of WebSockets, on real sockets: docs/howto/websocket.py and docs/howto/autobahn_ping.py."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import Final

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.environment import CHECKOUT

#: Seconds for one example: an interpreter, a connection, a round trip and a farewell, on a busy machine.
MOST: Final = 30.0


class ExampleTests(SynchronousTestCase):
    """Each connects two ends, measures a round trip, and ends by a close."""

    def runs(self, name: str, needs: str) -> list[str]:
        """What the example prints; it ends by itself, without an error."""
        if find_spec(needs) is None:
            raise SkipTest(f"needs {needs}")
        command = [sys.executable, f"docs/howto/{name}.py"]
        done = subprocess.run(
            command, check=False, cwd=CHECKOUT, env={"PYTHONPATH": "."}, capture_output=True, text=True, timeout=MOST
        )
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout.splitlines()

    def test_twisted(self) -> None:
        """Twisted's own, at both ends."""
        printed = self.runs("websocket", "wsproto")
        self.assertRegex(printed[0], r"^round trip: \d+\.\d ms$")
        self.assertEqual(printed[1:], ["lost: Connection was closed cleanly."] * 2)

    def test_autobahn(self) -> None:
        """Autobahn's, at both ends."""
        printed = self.runs("autobahn_ping", "autobahn")
        self.assertRegex(printed[0], r"^round trip: \d+\.\d ms$")
        self.assertEqual(printed[1:], ["closed: 1000"])
