"""Unmodified peers between namespaces: what their kernels say, what is found, and what is not."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import tests
from heartbeat.net.kernel import ENABLED
from tests.real.namespaces import Topology, missing
from tests.real.processes import environment, poll

#: Keepalives after a second and then each second.
DETECT = 4.0
IDLE = 2.0
#: What a verdict may take above that: the slots of the wheel, two turns, the ticks of the kernel.
ALLOWANCE = 0.25
#: How long those are watched who must not be found.
WATCHED = DETECT + 3.0
#: All are well for so long first, answered keepalives included.
CALM = 2.5
START = 60.0
FORWARD = ("iptables", "-I", "FORWARD", "-p", "tcp")


@dataclass
class Scene:
    """One connection, one fault.

    :ivar watches: which end observes; the other has never heard of us
    :ivar fault: what happens
    :ivar right: cause and detail of the verdict; None: there must be none
    """

    name: str
    fault: Callable[[Scene], object]
    right: tuple[str, str] | None
    watches: str = "server"
    writes: bool = False
    idle: float | None = None
    says: float | None = None
    bound: float = DETECT
    lines: list[dict[str, Any]] = field(default_factory=list)
    begun: float = 0.0
    topology: Any = None
    watcher: Any = None
    plain: Any = None
    errors: Any = None

    def start(self, stack: ExitStack) -> None:
        """The three hosts and the two processes; the accepting one first."""
        self.topology = stack.enter_context(Topology())
        self.errors = stack.enter_context(tempfile.TemporaryFile(mode="w+"))  # noqa: SIM115  the stack closes it
        order = {"role": self.watches, "detect": DETECT, "idle": self.idle, "writes": self.writes}
        watcher = ["-m", "tests.real.watcher", json.dumps(order)]
        other = "client" if self.watches == "server" else "server"
        plain = ["-m", "tests.real.watcher", "plain", other, *([] if self.says is None else [str(self.says)])]
        if self.watches == "server":
            self.watcher = self._run(stack, "server", watcher)
            self._read()
            poll(lambda: self.told("listening"), START, f"{self.name}: it listens")
            self.plain = self._run(stack, "client", plain)
        else:
            self.plain = self._run(stack, "server", plain)
            self.plain.stdout.readline()
            self.watcher = self._run(stack, "client", watcher)
            self._read()
        poll(lambda: self.told("joined"), START, f"{self.name}: they meet; {self.output()}")

    def _run(self, stack: ExitStack, place: Any, arguments: list[str]) -> Any:
        known = environment()
        folder = str(Path(tests.__file__).absolute().parent.parent)
        paths = os.pathsep.join([*filter(None, [known.get("PYTHONPATH")]), folder])
        process = self.topology.start(
            place, [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=self.errors,
            env={**known, "PYTHONPATH": paths},
        )  # fmt: skip
        stack.callback(self._end, process)
        return process

    @staticmethod
    def _end(process: Any) -> None:
        process.kill()
        process.wait()
        with contextlib.suppress(ValueError):
            process.stdout.close()

    def _read(self) -> None:
        def read() -> None:
            with contextlib.suppress(ValueError):
                self.lines.extend(json.loads(line) for line in iter(self.watcher.stdout.readline, ""))

        threading.Thread(target=read, daemon=True).start()

    def output(self) -> str:
        """What they wrote to their error output."""
        return os.pread(self.errors.fileno(), 2**16, 0).decode(errors="replace")

    def told(self, what: str) -> list[dict[str, Any]]:
        """What the observer told of that kind."""
        return [line for line in list(self.lines) if line["what"] == what]

    def begin(self) -> None:
        """Let it happen."""
        self.fault(self)
        self.begun = time.monotonic()

    def complaint(self) -> str | None:
        """What is wrong with what was said; None: nothing."""
        dead = self.told("Dead")
        if self.right is None:
            return f"{self.name}: {self.lines}" if dead or self.told("lost") else None
        if not dead:
            return f"{self.name}: never found; {self.lines} {self.output()}"
        (line,) = dead
        said = (line["cause"], line["evidence"].get("detail"))
        if said != self.right:
            return f"{self.name}: {said}, not {self.right}; {line['evidence']}"
        late = sum(seconds for at, seconds in line["late"] if at >= self.begun)
        after, limit = line["now"] - self.begun, self.bound + ALLOWANCE + late
        print(f"{self.name}: {said}, after {after:.3f} s of {limit:.3f}")
        return f"{self.name}: after {after:.3f} s, {limit:.3f} s at most" if after > limit else None


def stop_both_ways(scene: Scene) -> None:
    """The observer itself stands still for longer than the detection time, and goes on."""
    scene.watcher.send_signal(signal.SIGSTOP)
    threading.Timer(DETECT + 1.0, scene.watcher.send_signal, (signal.SIGCONT,)).start()


SCENES = (
    ("idle, dropped", {}, lambda s: s.topology.run("router", *FORWARD, "-j", "DROP"), ("path_dead", "keepalive")),
    ("in flight, dropped", {"writes": True}, lambda s: s.topology.run("router", *FORWARD, "-j", "DROP"),
     ("path_dead", "silent")),
    ("in flight, own egress blocked", {"watches": "client", "writes": True},
     lambda s: s.topology.run("client", "iptables", "-I", "OUTPUT", "-p", "tcp", "-j", "DROP"),
     ("local_egress", "not_sent")),
    ("in flight, own link down", {"watches": "client", "writes": True},
     lambda s: s.topology.ip("router", "link set inside down"), ("local_link", "not_sent")),
    ("idle, reset by a middlebox", {},
     lambda s: s.topology.run("router", *FORWARD, "-j", "REJECT", "--reject-with", "tcp-reset"),
     ("middlebox_reset", "provoked")),
    ("stopped", {"writes": True}, lambda s: s.plain.send_signal(signal.SIGSTOP), None),
    ("stopped, idle limited", {"idle": IDLE, "says": 0.3, "bound": IDLE},
     lambda s: s.plain.send_signal(signal.SIGSTOP), ("unattributed", "idle")),
    ("the observer is stopped", {"says": 0.3, "idle": IDLE}, stop_both_ways, None),
    ("nothing happens", {}, lambda s: None, None),
)  # fmt: skip


@functools.cache
def scenes() -> dict[str, Scene]:
    """What came of each: all happen at once, when the first is asked for."""
    found = [Scene(name, fault, right, **more) for name, more, fault, right in SCENES]  # type: ignore[arg-type]  # a table
    with ExitStack() as stack:
        for scene in found:
            scene.start(stack)
        time.sleep(CALM)
        for scene in found:
            scene.begin()
        end = time.monotonic() + WATCHED
        while time.monotonic() < end:
            time.sleep(0.1)
        for scene in found:
            scene.lines = list(scene.lines)  # what is told while all of them end is of no interest
    return {scene.name: scene for scene in found}


class ObserveTests(SynchronousTestCase):
    """The detection time is 4 s. Each fault is found within that and a quarter of a second, and not before it."""

    def setUp(self) -> None:
        """Hosts and what stands between them are needed, and a kernel that is asked."""
        why = missing()
        if why is not None:
            raise SkipTest(why)
        if not ENABLED:
            raise SkipTest("an unmodified peer is judged by the kernel, which HEARTBEAT_NO_KERNEL hides")

    def right(self, name: str) -> Scene:
        """It was called by its name, in time."""
        scene = scenes()[name]
        complaint = scene.complaint()
        self.assertIsNone(complaint, complaint)
        return scene

    def test_an_idle_path_is_dropped(self) -> None:
        """Nobody says a word; the keepalives of our kernel are not answered: path_dead, as a ConnectionLost of ours."""
        scene = self.right("idle, dropped")
        self.assertEqual(scene.told("lost")[0]["reason"], "UnresponsiveConnection")
        self.assertEqual(scene.told("joined")[0]["options"]["keepalive_idle"], "applied")

    def test_with_bytes_in_flight(self) -> None:
        """The application writes all the time: keepalive is silent, acknowledgements do not come: path_dead."""
        self.right("in flight, dropped")

    def test_own_egress_blocked(self) -> None:
        """Our own packet filter: local_egress."""
        self.right("in flight, own egress blocked")

    def test_own_link_down(self) -> None:
        """Our own cable is pulled: local_link."""
        self.right("in flight, own link down")

    def test_a_reset_in_answer_to_a_keepalive(self) -> None:
        """As of a host that was rebooted, or a box that has lost its state."""
        self.right("idle, reset by a middlebox")

    def test_a_stopped_process_is_alive(self) -> None:
        """SIGSTOP: its kernel acknowledges all that is written, so to this it lives. That is said in the docs."""
        scene = self.right("stopped")
        self.assertEqual([line["what"] for line in scene.lines], ["listening", "joined", "Alive"])

    def test_a_stopped_process_and_a_limit_of_silence(self) -> None:
        """SIGSTOP: its application says nothing any more, and ``idle`` ends it."""
        self.right("stopped, idle limited")

    def test_a_stopped_observer_kills_nobody(self) -> None:
        """SIGSTOP of our own process for longer than any limit: the living peer is there afterwards."""
        self.right("the observer is stopped")

    def test_an_idle_path_that_works(self) -> None:
        """Nothing happens, and nothing is said."""
        scene = self.right("nothing happens")
        self.assertEqual([line["what"] for line in scene.lines], ["listening", "joined", "Alive"])
