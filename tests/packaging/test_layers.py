"""The arrows between the rooms: the contracts of pyproject.toml, checked by import-linter."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.environment import CHECKOUT


def contracts() -> list[dict[str, object]]:
    """The contracts as they are configured."""
    settings = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    found: list[dict[str, object]] = settings["tool"]["importlinter"]["contracts"]
    return found


@skipUnless(find_spec("importlinter"), "import-linter is not installed: pip install 'txheartbeat[test]'")
class LayerTests(SynchronousTestCase):
    """What each room may know."""

    def check(self, contract: str) -> None:
        """Run one contract in a process of its own, over the checkout's modules."""
        command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
        run = subprocess.run(
            [*command, "--no-cache", "--contract", contract], cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)

    def test_rooms(self) -> None:
        """Apps know everything below them, and nobody knows what is above."""
        self.check("rooms")

    def test_pure(self) -> None:
        """The pure rooms know no Twisted, no socket, no clock and no chance."""
        self.check("pure")

    def test_judge(self) -> None:
        """The judge knows no frames, so that it can judge any protocol."""
        self.check("judge")

    def test_net(self) -> None:
        """The library can be used without registry, metrics, web and simulator."""
        self.check("net")

    def test_none_forgotten(self) -> None:
        """Each contract has a test here."""
        self.assertEqual({one["id"] for one in contracts()}, {"rooms", "pure", "judge", "net"})

    def test_pure_rooms_exist(self) -> None:
        """A room that was renamed does not slip out of its contract."""
        (pure,) = (one for one in contracts() if one["id"] == "pure")
        rooms = pure["source_modules"]
        assert isinstance(rooms, list)
        for room in rooms:
            path = Path(CHECKOUT, *room.split("."))
            self.assertTrue(path.is_dir() or path.with_suffix(".py").is_file(), room)
