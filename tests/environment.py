"""A virtual environment in the checkout, made with nothing but Python itself.

Used by the two commands of the README; runs on a bare Python, so it may import the standard library only.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

__all__ = ["CHECKOUT", "VENV", "Impossible", "debian", "install", "program"]

CHECKOUT = Path(__file__).resolve().parent.parent
VENV = CHECKOUT / ".venv"
_BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
_OLDEST = (3, 11)
#: apt-get never asks; there is nobody to answer.
_APT_ENVIRONMENT = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}


class Impossible(Exception):
    """Something is missing that we may not or cannot install; the text says what to type."""


def program(name: str) -> str:
    """The path of a program of the environment."""
    return str(_BIN / name)


def debian(*packages: str) -> None:
    """Install those of these packages that are missing, when root on a Debian; else leave things as they are."""
    if not _may_apt():
        return
    missing = [name for name in packages if not _has_package(name)]
    if missing:
        print(f"installing {' '.join(missing)}", flush=True)
        command = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
        if _quietly(command) != 0:  # a fresh machine or image may have no lists yet
            _quietly(["apt-get", "update", "--quiet"])
            _quietly(command)


def install(extras: str) -> str:
    """Make the environment if need be and install this checkout into it as a wheel, with its extras.

    The path of the environment's Python. Raises Impossible.
    """
    if sys.version_info < _OLDEST:
        raise Impossible(f"Python {'.'.join(map(str, _OLDEST))} or newer is needed, this is {sys.version.split()[0]}")
    python = program("python")
    if not _works(python):
        print(f"making {VENV}", flush=True)
        _make()
    print(f"installing txheartbeat[{extras}] into {VENV}", flush=True)
    command = [*_pip(python), "install", "--quiet", "--disable-pip-version-check", f".[{extras}]"]
    if subprocess.run(command, cwd=CHECKOUT, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        raise Impossible("pip could not install it: its message is above")
    return python


def _make() -> None:
    """A virtual environment, also on a Debian whose Python came without python3-venv. Raises Impossible."""
    arguments = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    if not _has_module("ensurepip"):
        debian("python3-venv")
    if not _has_module("ensurepip"):
        if not _has_module("pip"):
            raise Impossible("this Python cannot make virtual environments; type: sudo apt install python3-venv")
        arguments.insert(3, "--without-pip")  # the system's own pip serves, with --python
    if subprocess.run(arguments, stdin=subprocess.DEVNULL, check=False).returncode != 0:
        raise Impossible(f"{' '.join(arguments)} failed: its message is above")


def _works(python: str) -> bool:
    """The environment is there and its Python still runs (an upgrade of the system may have taken it away)."""
    question = f"import sys; sys.exit(sys.version_info < {_OLDEST})"
    return os.access(python, os.X_OK) and _quietly([python, "-c", question]) == 0


def _pip(python: str) -> list[str]:
    if _quietly([python, "-m", "pip", "--version"]) == 0:
        return [python, "-m", "pip"]
    return [sys.executable, "-m", "pip", "--python", python]


def _has_module(name: str) -> bool:
    importlib.invalidate_caches()  # apt-get may just have brought it
    return importlib.util.find_spec(name) is not None


def _has_package(name: str) -> bool:
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", name]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout == "installed"


def _may_apt() -> bool:
    return hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get") is not None


def _quietly(command: list[str]) -> int:
    """The exit code alone: a question, or an attempt that has an answer of its own when it fails."""
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, env=_APT_ENVIRONMENT, check=False
    ).returncode
