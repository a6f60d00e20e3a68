"""Three servers on one Redis, and their agents: what happens when something dies. ``python -m tests.real.fleet``.

The agents run in one process, each with a connection of its own and a list of all servers that begins elsewhere; they
are those of :class:`~heartbeat.net.HeartbeatClientService`, driven from here by a few words over a pipe.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from tests.real.processes import Server, environment, poll
from tests.real.redisserver import WITHOUT_REDIS, RedisServer, free_port

__all__ = ["Crowd", "Fleet", "Told"]

NODES = 3
#: Seconds between two PINGs, and intervals until the verdict: D is 1.5 s.
INTERVAL, MULTIPLIER = 0.5, 3
#: What is compared of a peer between servers: what does not move from beat to beat.
ALIKE = ("id", "node", "session", "address", "state", "services", "svc_hash", "meta", "bare")

Told = dict[str, Any]


class Crowd:
    """Agents in one process.

    :param count: how many
    :param ports: of the servers
    """

    def __init__(self, count: int, ports: list[int]) -> None:
        command = [sys.executable, "-m", "tests.real.crowd", str(count), *map(str, ports)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(with_tests=True)
        )
        self.count = count
        self.log: list[str] = []

    def ask(self) -> dict[str, list[str]]:
        """Of each agent: its session, the server that it is connected to (its port, ``""`` if to none), and how often
        it has been given another session."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("tell\n")
        self._process.stdin.flush()
        answer: dict[str, list[str]] = json.loads(self._process.stdout.readline())
        return answer

    def kill_some(self, names: list[str]) -> None:
        """Let these vanish with everything they know."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"end {json.dumps(names)}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "done\n"

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


class Fleet:
    """Servers that share a Redis.

    :param agents: how many
    :param spread: of a drain, seconds
    """

    def __init__(self, agents: int, spread: float = 2.0) -> None:
        self.redis = RedisServer()
        self.ports = [free_port() for _ in range(NODES)]
        self.spread = spread
        self.servers = [self.start(number) for number in range(NODES)]
        self.crowd = Crowd(agents, self.ports)
        self.sessions: dict[str, str] = {}

    def start(self, number: int) -> Server:
        """One of the servers, on its port."""
        server = Server(
            *("--store", f"redis://127.0.0.1:{self.redis.port}/0", "--node", f"n{number}"),
            *("--ping-interval", str(INTERVAL), "--multiplier", str(MULTIPLIER)),
            *("--drain-spread", str(self.spread)),
            port=self.ports[number],
        )
        server.node = f"n{number}"
        return server

    def close(self) -> None:
        """End everything."""
        self.crowd.close()
        for server in self.servers:
            server.kill()
        self.redis.close()

    def connected(self, timeout: float, but: int | None = None) -> float:
        """Wait until every agent is connected, none of them to that server. Seconds that it took."""
        begun = time.monotonic()
        lost = str(self.ports[but]) if but is not None else ""

        def look() -> bool:
            return all(port not in ("", lost) for _, port, _ in self.crowd.ask().values())

        poll(look, timeout, "every agent connected")
        return time.monotonic() - begun

    def views(self, timeout: float = 3.0) -> list[Told]:
        """Wait until all servers tell the same, and every agent is alive: what they tell of each."""
        living = self.crowd.ask()

        def look() -> list[Told] | None:
            views = [_alike(server.peers()) for server in self.servers]
            whole = views[0]
            right = len(whole) == len(living) and all(
                one["state"] == "alive" and one["session"] == living[one["id"]][0] for one in whole
            )
            return whole if right and all(view == whole for view in views) else None

        try:
            return poll(look, timeout, "all servers tell the same")
        except AssertionError:
            raise AssertionError(self.differences()) from None

    def differences(self) -> str:
        """What the servers tell differently, for whoever has to find out why."""
        views = [{one["id"]: one for one in _alike(server.peers())} for server in self.servers]
        told = self.crowd.ask()
        wrong = []
        for name, (session, port, _) in told.items():
            each = [view.get(name) for view in views]
            fine = all(one is not None and one["state"] == "alive" and one["session"] == session for one in each)
            if not fine or any(one != each[0] for one in each):
                shown = [one and (one["node"], one["session"][-4:], one["state"]) for one in each]
                wrong.append(f"{name} session {session[-4:]} at {port}: {shown}")
        return f"{len(wrong)} of {len(told)} peers are told differently: {wrong[:5]}; {[len(view) for view in views]}"

    def failures(self) -> list[Told]:
        """All that any server tells, each once."""
        every = {(one["id"], one["node"]): one for server in self.servers for one in server.failures()}
        return list(every.values())

    def remember(self) -> None:
        """The sessions as they are."""
        self.sessions = {name: session for name, (session, _, _) in self.crowd.ask().items()}

    def lost_sessions(self) -> list[str]:
        """Agents whose session is another one by now."""
        return [name for name, (session, _, _) in self.crowd.ask().items() if session != self.sessions[name]]

    def complaints(self) -> list[str]:
        """Of all servers."""
        return [line for server in self.servers for line in server.complaints()]


def _alike(peers: list[Told]) -> list[Told]:
    return sorted(({name: one[name] for name in ALIKE} for one in peers), key=lambda one: one["id"])


# -- the scenes; each begins and ends with a fleet that is well


def begin(fleet: Fleet) -> str:
    """Every agent finds a server, and all servers tell of all of them."""
    seconds = fleet.connected(20.0)
    fleet.views(5.0)
    assert fleet.failures() == []
    fleet.remember()
    return f"all connected in {seconds:.1f} s"


def kill_a_server(fleet: Fleet, within: float = 5.0) -> str:
    """``kill -9`` in the middle of the beats: every agent is elsewhere within 5 s with its session, nobody is dead."""
    fleet.servers[0].kill()
    seconds = fleet.connected(within, but=0)
    assert fleet.lost_sessions() == [], "sessions were lost"
    fleet.servers[0] = fleet.start(0)
    began = time.monotonic()
    fleet.views()
    equal = time.monotonic() - began
    assert fleet.failures() == [], fleet.failures()
    return f"all elsewhere after {seconds:.1f} s, sessions intact; restarted, all views equal after {equal:.1f} s"


def stop_a_server(fleet: Fleet) -> str:
    """SIGSTOP for a while, as when a machine is moved: its agents go elsewhere; when it wakes up it finds that they
    have closed their connections, and nobody is dead for that."""
    server = fleet.servers[1]
    server.signal(signal.SIGSTOP)
    try:
        seconds = fleet.connected(8.0, but=1)
        time.sleep(1.0)
    finally:
        server.signal(signal.SIGCONT)
    time.sleep(5.0)  # what it saw has been recorded by now, if it is at all
    fleet.views(5.0)
    assert fleet.failures() == [], [(one["peer"], one["failure_reason"]) for one in fleet.failures()]
    assert fleet.lost_sessions() == []
    return f"all elsewhere after {seconds:.1f} s, nobody dead"


def roll(fleet: Fleet) -> str:
    """A rolling restart of all servers: no failure is recorded, no session is lost."""
    began = time.monotonic()
    for number in range(NODES):
        status = fleet.servers[number].stop()
        assert status in (0, -signal.SIGTERM), status
        fleet.servers[number].kill()
        fleet.servers[number] = fleet.start(number)
        fleet.connected(15.0)
        fleet.views(5.0)
    assert fleet.failures() == [], fleet.failures()
    assert fleet.lost_sessions() == [], fleet.lost_sessions()
    return f"three restarts in {time.monotonic() - began:.1f} s"


def freeze_the_store(fleet: Fleet, seconds: float = 5.0) -> str:
    """The Redis does not answer for a while: peers stay alive, servers say that they are degraded; an agent that dies
    meanwhile is recorded, and all of them know it afterwards."""
    victim = next(iter(fleet.crowd.ask()))
    fleet.redis.freeze()
    frozen = time.monotonic()
    try:
        for server in fleet.servers:
            status, text = poll(lambda server=server: _degraded(server), 5.0, "degraded")  # type: ignore[misc]
            assert (status, text[:9]) == (200, "degraded:"), (status, text)
        fleet.crowd.kill_some([victim])
        del fleet.sessions[victim]
        holder = poll(lambda: next((one for one in fleet.servers if one.failures(victim)), None), 5.0, "its failure")
        for server in fleet.servers:
            states = {one["state"] for one in server.peers() if one["id"] != victim}
            assert states == {"alive"}, states
        for server in fleet.servers:  # what others told is marked; what a server sees itself is as fresh as ever
            marks = {(one["node"] == server.node, one.get("stale")) for one in server.peers() if one["id"] != victim}
            assert marks <= {(True, None), (False, True)}, marks
        while time.monotonic() - frozen < seconds:
            time.sleep(0.1)
    finally:
        fleet.redis.thaw()
    began = time.monotonic()
    for server in fleet.servers:
        poll(lambda server=server: server.get("/readyz") == (200, "ok\n"), 8.0, "ready again")  # type: ignore[misc]
        server.failure(victim, 8.0)
        server.in_state(victim, "dead", 8.0)
    assert [one["peer"] for one in fleet.failures()] == [victim], fleet.failures()
    (ended,) = holder.failures(victim)
    assert (ended["phase"], ended["node"]) == ("live", holder.node), ended
    assert fleet.lost_sessions() == []
    return f"away for {time.monotonic() - frozen:.0f} s; {time.monotonic() - began:.1f} s later all know what happened"


def lose_the_store(fleet: Fleet) -> str:
    """The Redis is killed and comes back empty: the register is rebuilt from what lives."""
    before = fleet.failures()
    fleet.redis.kill()
    time.sleep(1.0)
    fleet.redis.start()
    began = time.monotonic()
    newcomer = fleet.servers[2]
    for server in fleet.servers:
        poll(lambda server=server: server.get("/readyz") == (200, "ok\n"), 8.0, "ready again")  # type: ignore[misc]
    rebuilt = time.monotonic() - began
    newcomer.kill()  # one that knows nothing finds everything in the new register
    fleet.connected(5.0, but=2)
    fleet.servers[2] = fleet.start(2)
    living = len(fleet.crowd.ask())
    poll(lambda: sum(one["state"] == "alive" for one in fleet.servers[2].peers()) == living, 5.0, "a whole register")
    assert {one["id"] for one in fleet.failures()} == {one["id"] for one in before}
    assert len(fleet.servers[2].failures()) == len(before), "failures came back, too"
    assert fleet.lost_sessions() == []
    return f"answers again after {rebuilt:.1f} s; a server that starts then finds all {living} peers"


def _degraded(server: Server) -> tuple[int, str] | None:
    status, text = server.get("/readyz")
    return None if text == "ok\n" else (status, text)


SCENES: tuple[Callable[[Fleet], str], ...] = (
    begin,
    kill_a_server,
    stop_a_server,
    roll,
    freeze_the_store,
    lose_the_store,
)


def main() -> int:
    """Play all scenes, and say how each went."""
    parser = argparse.ArgumentParser(prog="python -m tests.real.fleet", description=__doc__)
    parser.add_argument("--agents", type=int, default=300)
    parser.add_argument("--frozen", type=float, default=20.0, help="seconds for which the Redis is stopped")
    asked = parser.parse_args()
    if WITHOUT_REDIS:
        print(WITHOUT_REDIS)
        return 2
    fleet = Fleet(asked.agents)
    try:
        for scene in SCENES:
            told = freeze_the_store(fleet, asked.frozen) if scene is freeze_the_store else scene(fleet)
            print(f"{scene.__name__}: {told}", flush=True)
        complaints = fleet.complaints()
        print(f"complaints: {complaints}")
        return 1 if complaints else 0
    finally:
        fleet.close()


if __name__ == "__main__":
    sys.exit(main())
