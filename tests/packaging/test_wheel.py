"""The wheel carries the two dropins: they are lost easily, and without them ``twist`` does not know us."""

from __future__ import annotations

import os
import shutil
import zipfile
from importlib.util import find_spec
from pathlib import Path
from unittest import skipUnless

from twisted.trial.unittest import SynchronousTestCase

from tests.environment import CHECKOUT

DROPINS = {"twisted/plugins/heartbeat_endpoints.py", "twisted/plugins/heartbeat_services.py"}


def wheel_of(project: Path, into: Path) -> list[str]:
    """Build a wheel of a project and name its files, without a network: the build backend is called directly."""
    from hatchling.build import build_wheel

    before = Path.cwd()
    os.chdir(project)  # PEP 517: a backend is called in the project's folder
    try:
        name = build_wheel(str(into))
    finally:
        os.chdir(before)
    with zipfile.ZipFile(into / name) as wheel:
        return wheel.namelist()


@skipUnless(find_spec("hatchling"), "hatchling is not installed: pip install 'txheartbeat[test]'")
class WheelTests(SynchronousTestCase):
    """What is in the wheel that this checkout gives."""

    def setUp(self) -> None:
        """Build from a copy, so that a file dropped into it cannot disturb anybody."""
        self.project = Path(self.mktemp())
        for name in ("heartbeat", "twisted"):
            shutil.copytree(CHECKOUT / name, self.project / name)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(CHECKOUT / name, self.project / name)
        # As Twisted leaves it behind. The copy has no .gitignore that would hide it.
        (self.project / "twisted/plugins/dropin.cache").write_bytes(b"")
        into = Path(self.mktemp())
        into.mkdir()
        self.names = wheel_of(self.project.resolve(), into.resolve())

    def test_dropins_and_nothing_else_of_twisted(self) -> None:
        """Of the folder twisted/ it has our two files: no ``__init__.py``, which would destroy Twisted's own."""
        self.assertEqual({name for name in self.names if name.startswith("twisted/")}, DROPINS)

    def test_cache_stays_at_home(self) -> None:
        """What Twisted caches in a checkout is not shipped."""
        self.assertEqual([name for name in self.names if name.endswith("dropin.cache")], [])

    def test_every_module_is_shipped(self) -> None:
        """Each file of the package is there, the marker for type checkers too."""
        package = self.project / "heartbeat"
        files = {
            str(path.relative_to(self.project))
            for path in package.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        self.assertIn("heartbeat/py.typed", files)
        self.assertEqual({name for name in self.names if name.startswith("heartbeat/")}, files)

    def test_nothing_beside_the_packages(self) -> None:
        """No tests, no docs: only our two folders and the metadata land in site-packages."""
        tops = {name.split("/")[0] for name in self.names}
        self.assertEqual({"heartbeat", "twisted"}, {top for top in tops if not top.endswith(".dist-info")})


class CheckoutTests(SynchronousTestCase):
    """What must never be in the checkout."""

    def test_no_init_below_twisted(self) -> None:
        """``twisted/`` is a folder, not a package: with an ``__init__.py`` Twisted itself is lost."""
        self.assertEqual(list((CHECKOUT / "twisted").rglob("__init__.py")), [])
