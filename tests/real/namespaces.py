"""A client, a router and a server, each in a network namespace of its own, on one machine.

Linux, root, and the programs ``ip``, ``iptables`` and ``conntrack``; :func:`missing` says what is not there. Nothing of
the machine's own network is touched. The names hold the pid of who made them: what a process left behind that was
killed is removed by the next one.
"""

from __future__ import annotations

import functools
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal

__all__ = ["CLIENT", "PUBLIC", "SERVER", "Place", "Topology", "Unmakable", "missing"]

Place = Literal["client", "router", "server"]

#: The address of the client, of the router as the server sees it, and of the server.
CLIENT: Final = "10.77.1.2"
PUBLIC: Final = "10.77.2.1"
SERVER: Final = "10.77.2.2"

PROGRAMS: Final = ("ip", "iptables", "conntrack")
_NAME: Final = re.compile(r"^heartbeat-(\d+)-\d+-(?:client|router|server)\b")
#: Seconds for one of these programs: they take some milliseconds, and wait for each other's locks.
_PATIENCE: Final = 20.0
_numbers = itertools.count(1)


class Unmakable(Exception):
    """This machine cannot make what is asked for; the text says what it answered."""


class Topology:
    """Three namespaces: ``client`` - ``router`` - ``server``. A context manager: they are gone afterwards.

    :param nat: the router hides the client behind its own address, and the server knows no other way to it
    :raises Unmakable: from ``__enter__``
    """

    def __init__(self, *, nat: bool = False) -> None:
        self.nat = nat
        stem = f"heartbeat-{os.getpid()}-{next(_numbers)}"
        self.names: dict[Place, str] = {place: f"{stem}-{place}" for place in ("client", "router", "server")}

    def __enter__(self) -> Topology:
        _sweep()
        try:
            self._make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()

    def run(self, place: Place, *command: str) -> str:
        """Run a command in one of the namespaces, and return what it printed. Raises Unmakable when it fails."""
        return _run("ip", "netns", "exec", self.names[place], *command)

    def ip(self, place: Place, *lines: str) -> None:
        """Commands of ``ip`` for one of the namespaces, in one go. Raises Unmakable."""
        _run("ip", "-n", self.names[place], "-batch", "-", text="\n".join(lines))

    def write(self, place: Place, setting: str, value: str) -> None:
        """Write a setting of ``/proc/sys/net``. Raises Unmakable."""
        self.run(place, "sh", "-c", f"echo '{value}' > /proc/sys/net/{setting}")

    def start(self, place: Place, command: list[str], **options: Any) -> subprocess.Popen[str]:
        """Start a process in one of the namespaces. ``ip`` becomes it: the pid is its own."""
        return subprocess.Popen(["ip", "netns", "exec", self.names[place], *command], text=True, **options)

    def remove(self) -> None:
        """Take everything away. The processes in it must have ended; twice is once."""
        for name in self.names.values():
            _delete(name)

    def _make(self) -> None:
        client, router, server = self.names.values()
        _run(
            "ip", "-batch", "-",
            text=f"""
                netns add {client}
                netns add {router}
                netns add {server}
                link add eth0 netns {client} type veth peer name inside netns {router}
                link add eth0 netns {server} type veth peer name outside netns {router}
            """,
        )  # fmt: skip
        up = ("link set lo up", "link set eth0 up")
        self.ip("client", f"addr add {CLIENT}/24 dev eth0", *up, "route add default via 10.77.1.1")
        self.ip("server", f"addr add {SERVER}/24 dev eth0", *up)
        self.ip(
            "router",
            "addr add 10.77.1.1/24 dev inside",
            f"addr add {PUBLIC}/24 dev outside",
            "link set inside up",
            "link set outside up",
        )
        self.write("router", "ipv4/ip_forward", "1")
        if self.nat:
            self.run("router", "iptables", "-t", "nat", "-A", "POSTROUTING", "-o", "outside", "-j", "MASQUERADE")
        else:
            self.ip("server", f"route add default via {PUBLIC}")


@functools.cache
def missing() -> str | None:
    """Why no topology can be made here; None when one can, which is tried once."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    lost = [name for name in PROGRAMS if shutil.which(name) is None]
    if lost:
        return f"not installed: {', '.join(lost)}"
    try:
        with Topology(nat=True) as topology:
            topology.run("router", "conntrack", "-F")
    except Unmakable as why:  # a container without the right to it, a kernel without the modules
        return str(why)
    return None


def _run(*command: str, text: str | None = None) -> str:
    options: dict[str, Any] = {"stdin": subprocess.DEVNULL} if text is None else {"input": text}
    try:
        done: subprocess.CompletedProcess[str] = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE, check=False, **options
        )
    except subprocess.TimeoutExpired as late:
        raise Unmakable(f"{' '.join(command)}: no end within {_PATIENCE:g} s") from late
    if done.returncode != 0:
        raise Unmakable(f"{' '.join(command)}: {' '.join((done.stderr or done.stdout).split())}")
    return done.stdout


def _sweep() -> None:
    """Remove the namespaces of processes that are gone."""
    for line in _run("ip", "netns", "list").splitlines():
        found = _NAME.match(line)
        if found and not Path(f"/proc/{found[1]}").exists():
            _delete(line.split()[0])


def _delete(name: str) -> None:
    subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=_PATIENCE, check=False)
