"""What the files of docs/deploy say, as plain values, for the tests that hold it against the code."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from tests.environment import CHECKOUT

__all__ = [
    "DEPLOY", "METRIC", "command_of", "containers", "documents", "expressions", "known_metrics", "options_in",
    "options_of", "units",
]  # fmt: skip

DEPLOY = CHECKOUT / "docs" / "deploy"
#: A name of ours in an expression of PromQL, but for recorded ones, which have a colon.
METRIC = re.compile(r"(?<![:\w])heartbeat_[a-z_]+(?![:\w])")
PROGRAMS = ("heartbeat-server", "heartbeat-agent", "heartbeat-probe")


def documents(folder: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """(file, document) of all YAML below a folder."""
    import yaml

    for path in sorted((DEPLOY / folder).rglob("*.y*ml")):
        for one in yaml.safe_load_all(path.read_text()):
            yield str(path.relative_to(DEPLOY)), one


def known_metrics() -> set[str]:
    """The names of all series that our registry has, with their suffixes."""
    from heartbeat.watch.export.families import described

    kinds = {
        "counter": ("_total",),
        "histogram": ("_bucket", "_count", "_sum"),
        "info": ("_info",),
        "gauge": ("",),
    }
    return {family.name + suffix for family in described() for suffix in kinds[family.type]}


def expressions(rules: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """(name, PromQL) of each rule of a rules file."""
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]


def options_of(program: str) -> Any:
    """The options of one of our commands."""
    from heartbeat.apps import agent, probe
    from heartbeat.apps.server import service

    return {"heartbeat-server": service, "heartbeat-agent": agent, "heartbeat-probe": probe}[program].Options()


def options_in(words: list[str]) -> tuple[str, dict[str, str]]:
    """The program of ours in a command line, and its options; an option that does not exist is an AssertionError."""
    start = next(index for index, word in enumerate(words) if word in PROGRAMS)
    program, rest = words[start], words[start + 1 :]
    known = set(options_of(program).longOpt)
    given: dict[str, str] = {}
    while rest:
        name, equals, value = rest.pop(0).removeprefix("--").partition("=")
        if name + "=" in known:
            given[name] = value if equals else rest.pop(0)
        else:
            assert name in known and not equals, f"{program} has no option --{name}"
            given[name] = ""
    return program, given


def containers() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """(workload, container) of all that runs in the Kubernetes set."""
    for _, one in documents("kubernetes"):
        if one["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
            for container in one["spec"]["template"]["spec"]["containers"]:
                yield one, container


def units() -> Iterator[tuple[str, dict[str, dict[str, str]]]]:
    """(file, section → key → last value) of all units of systemd."""
    for path in sorted((DEPLOY / "systemd").iterdir()):
        if path.suffix not in (".service", ".socket"):
            continue
        sections: dict[str, dict[str, str]] = {}
        section: dict[str, str] = {}
        for line in path.read_text().splitlines():
            if line.startswith("["):
                section = sections.setdefault(line.strip("[]"), {})
            elif line and not line.startswith("#"):
                key, equals, value = line.partition("=")
                assert equals, f"{path.name}: {line}"
                section[key] = value
        yield path.name, sections


def command_of(unit: dict[str, dict[str, str]]) -> list[str]:
    """The words of ExecStart."""
    return shlex.split(unit["Service"]["ExecStart"])
