"""What the pages say is true: their code is the code that is checked and run, and every option has its line."""

from __future__ import annotations

import importlib.util
import re
import unittest
from pathlib import Path

from twisted.python.usage import Options
from twisted.trial.unittest import SynchronousTestCase

from tests.environment import CHECKOUT

_QUOTED = re.compile(r"<!-- (\S+\.py) -->\n```python\n(.*?)```", re.DOTALL)
#: What a newcomer needs, each a file that some test runs and some page shows.
_SNIPPETS = (
    "server", "client", "wrap", "endpoint_string", "timeout_mixin", "amp_worker", "redis_ping", "follow",
    "test_gateway", "observe",
)  # fmt: skip
_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")


def pages() -> list[Path]:
    """All Markdown pages."""
    return [CHECKOUT / "README.md", *sorted((CHECKOUT / "docs").rglob("*.md"))]


def quotable(path: Path) -> str:
    """A file without the docstring and the import that only the file needs."""
    return path.read_text().partition("from __future__ import annotations\n")[2].strip() + "\n"


def options_of(options: type[Options]) -> set[str]:
    """The long names of the options of a command."""
    names = {name.removesuffix("=") for name in options().longOpt}
    return names - {"help", "version"}


class PageTests(SynchronousTestCase):
    """README and docs/."""

    def test_quoted_code_is_the_file(self) -> None:
        """Code that a page quotes from a file is that file's, so it is type-checked and run with it."""
        quotes = [(page, *quote) for page in pages() for quote in _QUOTED.findall(page.read_text())]
        self.assertGreaterEqual(len(quotes), 4)
        for page, name, code in quotes:
            self.assertEqual(code, quotable(CHECKOUT / name), f"{page.name} quotes {name}")

    def test_snippets_are_shown(self) -> None:
        """Each of the first steps stands in a page, as it is in its file."""
        quoted = {name for page in pages() for name, _ in _QUOTED.findall(page.read_text())}
        self.assertEqual({f"docs/howto/{name}.py" for name in _SNIPPETS} - quoted, set())

    def test_links_lead_somewhere(self) -> None:
        """A link between the pages has a page at its end."""
        lost = [
            f"{page.relative_to(CHECKOUT)}: {link}"
            for page in pages()
            for link in _LINK.findall(page.read_text())
            if not (page.parent / link).exists()
        ]
        self.assertEqual(lost, [])

    def test_every_page_is_in_the_list_once(self) -> None:
        """The list of docs/index.md has every page once, and README has the same list."""
        index = (CHECKOUT / "docs/index.md").read_text()
        listed = index[index.index("| | |") :]
        docs = CHECKOUT / "docs"
        written = {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - {"index.md"}
        self.assertEqual(
            sorted(_LINK.findall(listed)), sorted(one for one in written if not one.startswith("newsfragments/"))
        )
        self.assertIn(listed.replace("](", "](docs/"), (CHECKOUT / "README.md").read_text())

    def test_where_to_look(self) -> None:
        """Each file that the page on the code names is there; a name without a folder is in that of the one before."""
        page = (CHECKOUT / "docs/topics/architecture.md").read_text()
        rows = page.partition("## Where to look")[2].partition("## Rules")[0].splitlines()
        lost = []
        for row in rows:
            before = CHECKOUT / "heartbeat"
            for name in re.findall(r"`([a-z/]+(?:\.py|/))`", row):
                before = next(
                    (one for one in (CHECKOUT / "heartbeat" / name, before.parent / name) if one.exists()), before
                )
                if not str(before).endswith(name.rstrip("/")):
                    lost.append(name)
        self.assertEqual(lost, [])
        self.assertGreater(len(rows), 10)

    def test_every_option_has_its_line(self) -> None:
        """The reference of the commands lists the options that there are, and no others."""
        from heartbeat.apps import agent, probe
        from heartbeat.apps.server import service

        page = (CHECKOUT / "docs/reference/commands.md").read_text()
        listed = set(re.findall(r"^\| `--([a-z-]+)", page, re.MULTILINE))
        listed |= {f"no-{name}" for name in re.findall(r"^\| `--[a-z-]+/--no-([a-z-]+)", page, re.MULTILINE)}
        self.assertEqual(listed, options_of(service.Options) | options_of(agent.Options) | options_of(probe.Options))


class ExampleTests(SynchronousTestCase):
    """The files that the pages quote."""

    def test_the_example_of_a_test_passes(self) -> None:
        """The tests that we show to newcomers pass, as they stand."""
        path = CHECKOUT / "docs/howto/test_gateway.py"
        spec = importlib.util.spec_from_file_location("test_gateway", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        suite = unittest.defaultTestLoader.loadTestsFromTestCase(module.GatewayTests)
        result = unittest.TestResult()
        suite.run(result)
        self.assertEqual([text for _, text in result.errors + result.failures], [])
        self.assertEqual(result.testsRun, 2)
