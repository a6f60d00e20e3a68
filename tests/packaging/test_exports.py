"""The public names, and what importing them costs others."""

from __future__ import annotations

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.environment import CHECKOUT


def modules() -> list[str]:
    """Every module of the package by its dotted name."""
    paths = (path.relative_to(CHECKOUT).with_suffix("") for path in (CHECKOUT / "heartbeat").rglob("*.py"))
    return sorted(".".join(path.parts).removesuffix(".__init__") for path in paths)


def source_of(module: str) -> str:
    """The text of a module of the checkout."""
    path = Path(CHECKOUT, *module.split("."))
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


def complaints(name: str) -> list[str]:
    """What is wrong with the ``__all__`` of a module."""
    module = importlib.import_module(name)
    body = ast.parse(source_of(name)).body
    defined = [one.name for one in body if isinstance(one, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))]
    if not hasattr(module, "__all__"):
        return [f"{name} has no __all__"] if any(not one.startswith("_") for one in defined) else []
    exported = list(module.__all__)
    found = [f"{name}.{one} is exported and does not exist" for one in exported if not hasattr(module, one)]
    if len(exported) != len(set(exported)):
        found.append(f"{name}.__all__ has a name twice")
    return found


class ExportTests(SynchronousTestCase):
    """``__all__`` says what a module is for."""

    def test_declared_and_true(self) -> None:
        """Each module that defines a public name has an ``__all__``, and every name in it exists (ruff sorts it)."""
        self.assertEqual([one for name in modules() for one in complaints(name)], [])

    def test_nothing_is_exported_twice_over(self) -> None:
        """The door ``heartbeat`` hands out each thing under the name that its own module gives it."""
        door = importlib.import_module("heartbeat")
        for name in door.__all__:
            thing = getattr(door, name)
            self.assertEqual(getattr(thing, "__name__", name), name)


class ImportTests(SynchronousTestCase):
    """Importing us changes nothing for anybody else. Each in a process of its own, where nothing is loaded yet."""

    def loaded(self, statements: str) -> set[str]:
        """The modules that are loaded after some statements."""
        code = f"{statements}\nimport sys\nprint(' '.join(sys.modules))"
        where = Path(str(importlib.import_module("heartbeat").__file__)).parent.parent  # the wheel, or the checkout
        environment = {**os.environ, "PYTHONPATH": str(where)}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return set(run.stdout.split())

    def test_the_pure_door_imports_no_twisted(self) -> None:
        """Whoever drives a session with a loop of his own does not load Twisted."""
        loaded = self.loaded("import heartbeat")
        self.assertIn("heartbeat", loaded)
        self.assertEqual({one for one in loaded if one.split(".")[0] in ("twisted", "asyncio")}, set())

    def test_no_module_installs_a_reactor(self) -> None:
        """``twist --reactor=…`` works whatever of ours is imported before."""
        loaded = self.loaded("\n".join(f"import {name}" for name in modules()))
        self.assertIn("heartbeat.net", loaded)
        self.assertNotIn("twisted.internet.reactor", loaded)
