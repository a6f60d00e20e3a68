"""Small parts: the house stays readable because no module, class or function grows without end."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.environment import CHECKOUT

MOST_MODULE_LINES = 350
MOST_CLASS_LINES = 250
MOST_METHODS = 22
MOST_FUNCTION_LINES = 60

#: What may be larger, as ``path`` or ``path:Class`` or ``path:Class.method``, and why.
EXCEPTIONS: dict[str, str] = {
    "heartbeat/liveness/liveness.py:Liveness": "the face that every shell drives is 16 methods with their docstrings",
    "heartbeat/liveness/beats.py:Beats": "the same face once more, and the numbered questions behind it",
    "heartbeat/liveness/peer.py:Peer": "the live view: a property for each name that a reader may ask for",
    "heartbeat/session/session.py": "that class, and the hot path must not leave it",
    "heartbeat/session/session.py:Session": "the same face a third time; what a frame means is in dispatch.py",
}

#: What waits for a clock on the wall. (The ``sleep`` of a simulated host is another thing.)
REAL_SLEEPS = ("time.sleep", "sleep", "asyncio.sleep")

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def python_files(folder: str) -> list[Path]:
    """All Python files of the checkout below a folder."""
    return sorted((CHECKOUT / folder).rglob("*.py"))


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Each class and function in a module with its dotted name."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, Definition):
            yield prefix + node.name, node
            yield from definitions(node, f"{prefix}{node.name}.")
        else:
            yield from definitions(node, prefix)


def too_large(path: str, source: str) -> Iterator[tuple[str, str]]:
    """(name, complaint) of everything in a module that is over its limit."""
    lines = len(source.splitlines())
    if lines > MOST_MODULE_LINES:
        yield path, f"{lines} lines, {MOST_MODULE_LINES} at most"
    for name, node in definitions(ast.parse(source)):
        length = (node.end_lineno or node.lineno) - node.lineno + 1
        if isinstance(node, ast.ClassDef):
            methods = sum(isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)) for one in node.body)
            if length > MOST_CLASS_LINES:
                yield f"{path}:{name}", f"a class of {length} lines, {MOST_CLASS_LINES} at most"
            if methods > MOST_METHODS:
                yield f"{path}:{name}", f"{methods} methods, {MOST_METHODS} at most"
        elif length > MOST_FUNCTION_LINES:
            yield f"{path}:{name}", f"a function of {length} lines, {MOST_FUNCTION_LINES} at most"


class SizeTests(SynchronousTestCase):
    """Modules, classes and functions of the package."""

    def test_nothing_grew_too_large(self) -> None:
        """No part is over its limit, but for the listed exceptions."""
        found = [
            f"{name}: {complaint}"
            for path in python_files("heartbeat")
            for name, complaint in too_large(str(path.relative_to(CHECKOUT)), path.read_text())
            if name not in EXCEPTIONS
        ]
        self.assertEqual(found, [])

    def test_every_exception_is_needed(self) -> None:
        """A part that shrank loses its exception."""
        found = {
            name
            for path in python_files("heartbeat")
            for name, _ in too_large(str(path.relative_to(CHECKOUT)), path.read_text())
        }
        self.assertEqual(set(EXCEPTIONS) - found, set())

    def test_each_limit_is_seen(self) -> None:
        """A part that is one line or one method over its limit is found."""
        body = "    x = 1\n" * MOST_FUNCTION_LINES
        methods = "".join(f"    def m{number}(self): ...\n" for number in range(MOST_METHODS + 1))
        attributes = "    a = 1\n" * MOST_CLASS_LINES
        for source, complaint in (
            ("x = 1\n" * (MOST_MODULE_LINES + 1), "lines"),
            (f"def f():\n{body}", "function of"),
            (f"class C:\n    def f(self):\n{body.replace('    ', '        ')}", "function of"),
            (f"class C:\n{methods}", "methods"),
            (f"class C:\n{attributes}", "class of"),
        ):
            complaints = [text for _, text in too_large("m.py", source)]
            self.assertEqual(len(complaints), 1, source[:40])
            self.assertIn(complaint, complaints[0])


class DocstringTests(SynchronousTestCase):
    """Tests say what they require."""

    def test_every_test_states_its_requirement(self) -> None:
        """Each test method of a test case has a docstring."""
        silent = [
            f"{path.relative_to(CHECKOUT)}:{case.name}.{method.name}"
            for path in python_files("tests")
            for case in ast.parse(path.read_text()).body
            if isinstance(case, ast.ClassDef)
            for method in case.body
            if isinstance(method, (ast.FunctionDef, ast.AsyncFunctionDef))
            and method.name.startswith("test_")
            and not ast.get_docstring(method)
        ]
        self.assertEqual(silent, [])

    def test_no_unit_test_sleeps(self) -> None:
        """Real time is for tests/real and tests/benchmarks; everything else runs in virtual time."""
        sleepers = [
            f"{path.relative_to(CHECKOUT)}:{node.lineno}"
            for path in python_files("tests")
            if path.relative_to(CHECKOUT).parts[1] not in ("real", "benchmarks")
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in REAL_SLEEPS
        ]
        self.assertEqual(sleepers, [])

    def test_every_test_is_found(self) -> None:
        """A folder with tests is a package, all the way up: trial passes over others in silence."""
        lost = {
            str(folder)
            for path in python_files("tests")
            if path.name.startswith("test_")
            for folder in path.relative_to(CHECKOUT).parents
            if folder.parts and not (CHECKOUT / folder / "__init__.py").exists()
        }
        self.assertEqual(lost, set())
