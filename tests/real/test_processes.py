"""Server and agent, two real processes over the loopback."""

from __future__ import annotations

import signal
import time
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from tests.real.processes import Agent, Server, poll

#: The exit status after SIGTERM: Twisted ends the process by the signal that stopped its reactor.
_STOPPED = (0, -signal.SIGTERM)
_BEATS = ("--ping-interval", "0.5")


class PairTestCase(SynchronousTestCase):
    """A server of its own for each test, and agents of it."""

    options: ClassVar[tuple[str, ...]] = _BEATS

    def setUp(self) -> None:
        """Start the server."""
        self.server = Server(*self.options)
        self.addCleanup(self.server.kill)
        self.addCleanup(lambda: self.assertEqual(self.server.complaints(), []))

    def agent(self, name: str, *options: str) -> Agent:
        """An agent with that id; killed after the test."""
        agent = Agent(self.server.port, "--id", name, *_BEATS, *options)
        self.addCleanup(lambda: self.assertEqual(agent.complaints(), []))
        self.addCleanup(agent.kill)
        return agent

    def alive(self, name: str, timeout: float = 20.0) -> dict[str, Any]:
        """The peer, once it is alive and told its load."""

        def look() -> dict[str, Any] | None:
            peer = self.server.peer(name)
            return peer if peer is not None and peer["state"] == "alive" and peer["load"] is not None else None

        return poll(look, timeout, f"{name} alive")


class ListedTests(PairTestCase):
    """An agent that comes is listed."""

    def test_listed_and_left(self) -> None:
        """Within 2 s of its connection the peer is listed with services, meta, load, uptime, and then with an RTT.

        When the agent is told to stop it has left, which is no failure, and it ends by that signal.
        """
        agent = self.agent("agent-1", "--services", "auth,billing", "--meta", "zone=a")
        poll(lambda: self.server.peer("agent-1"), 20.0, "agent-1 connects")
        connected = time.monotonic()
        peer = self.alive("agent-1", 2.0)
        peer = poll(lambda: (one := self.server.peer("agent-1")) and one["services"] and one, 2.0, "its services")
        self.assertLess(time.monotonic() - connected, 2.0)
        self.assertEqual(sorted(peer["services"]), ["auth", "billing"])
        self.assertEqual(peer["meta"], {"zone": "a"})
        self.assertGreaterEqual(peer["load"], 0.0)
        self.assertGreater(peer["uptime_s"], 0)
        self.assertEqual((peer["interval_ms"], peer["detect_ms"], peer["bare"]), (500, 1500, False))
        self.assertEqual((peer["transport"], peer["identity"]), ("tcp", None))
        self.assertTrue(peer["address"].startswith("127.0.0.1:"), peer["address"])
        self.assertLess(abs(time.time() - peer["since"]), 5.0)
        self.assertEqual([one["id"] for one in self.server.peers()], ["agent-1"])
        heard = poll(lambda: (one := self.server.peer("agent-1")) and one["rtt_ms"] and one, 2.0, "its RTT")
        self.assertLess(heard["rtt_ms"]["smoothed"], 200.0)
        self.assertEqual(self.server.metric("heartbeat_peers", state="alive"), 1.0)
        self.assertIn(agent.stop(), _STOPPED)
        self.server.in_state("agent-1", "left", 1.0)
        self.assertEqual(self.server.failures(), [])

    def test_server_drains(self) -> None:
        """A server that is told to stop says so to its agents, and ends by that signal."""
        agent = self.agent("agent-1")
        self.alive("agent-1")
        begun = time.monotonic()
        self.assertIn(self.server.stop(), _STOPPED)
        self.assertLess(time.monotonic() - begun, 5.0, "an agent that goes at once needs no drain timeout")
        agent.stop()


class KilledTests(PairTestCase):
    """Ends that nobody announced."""

    def test_killed_and_frozen(self) -> None:
        """kill -9: dead with peer_closed within 0.1 s. -STOP: suspect, then dead within D + 0.1 s; then alive again."""
        killed, frozen = self.agent("killed"), self.agent("frozen")
        for name in ("killed", "frozen"):
            self.alive(name)
        poll(lambda: self.rests("killed"), 5.0, "nothing is on its way")
        at = killed.kill()
        failure = self.server.failure("killed")
        self.assertEqual((failure["failure_reason"], failure["phase"]), ("peer_closed", "live"))
        self.assertTrue(0.0 <= failure["at"] - at < 0.1, failure["at"] - at)
        self.assertEqual(self.server.in_state("killed", "dead")["state"], "dead")
        self.check_frozen(frozen)

    def rests(self, name: str) -> bool:
        """Whether nothing was exchanged for a while: a kernel resets what ends with input that nobody read."""
        peer = self.server.peer(name)
        return peer is not None and 100 < peer["last_heard_ms"] < 250

    def check_frozen(self, agent: Agent) -> None:
        """Measured by the API's own account: last_heard_ms while it lived, and the failure's own time."""
        agent.signal(signal.SIGSTOP)
        time.sleep(0.05)  # what was on its way has come
        seen: list[str] = []
        heard = 0.0
        deadline = time.monotonic() + 5.0
        while time.monotonic() < deadline:
            before = time.time()
            peer = self.server.peer("frozen")
            assert peer is not None
            if peer["state"] not in seen:
                seen.append(peer["state"])
            if peer["state"] == "dead":
                break
            heard = max(heard, before - peer["last_heard_ms"] / 1000.0)
            time.sleep(0.02)
        self.assertEqual(seen, ["alive", "suspect", "dead"])
        lived = self.server.failure("frozen")["at"] - heard
        self.assertTrue(1.5 - 0.03 < lived < 1.5 + 0.1, lived)
        self.assertEqual(len(self.server.failures("frozen")), 1)
        agent.signal(signal.SIGCONT)
        self.alive("frozen", 15.0)

    def test_stopped_server(self) -> None:
        """A server that is stopped for longer than its agents wait: they give it up and come back, and nobody was dead;
        but the one that was killed meanwhile is, and that is recorded."""
        for name in ("one", "other"):
            self.agent(name)
        killed = self.agent("killed")
        for name in ("one", "other", "killed"):
            self.alive(name)
        self.server.signal(signal.SIGSTOP)
        time.sleep(4.0)
        killed.kill()
        time.sleep(0.2)
        self.server.signal(signal.SIGCONT)
        for name in ("one", "other"):
            self.alive(name)
        failure = self.server.failure("killed", 15.0)
        self.assertIn(failure["failure_reason"], {"peer_reset", "peer_closed"})
        self.assertEqual(failure["evidence"]["detail"], "own_stall")
        self.assertGreater(failure["evidence"]["lag"], 3.0)
        self.assertEqual([one["peer"] for one in self.server.failures()], ["killed"])
        counted = [self.server.metric("heartbeat_failures_total", phase="live", reason=reason)
                   for reason in ("peer_reset", "peer_closed", "middlebox_reset")]  # fmt: skip
        self.assertEqual(sum(counted), len(self.server.failures()))
        self.assertEqual(self.server.metric("heartbeat_spared_total", reason="local_stall"), 3.0)

    def test_restarted_server(self) -> None:
        """A server that was killed and started again on its port is found by the agent without help, within 10 s."""
        self.agent("agent-1", "--services", "auth")
        self.alive("agent-1")
        port = self.server.port
        self.server.kill()
        time.sleep(1.0)  # so that the agent finds nobody at least once
        self.server = Server(*self.options, port=port)
        self.addCleanup(self.server.kill)
        self.alive("agent-1", 10.0)
        peer = poll(lambda: (one := self.server.peer("agent-1")) and one["services"] and one, 2.0, "its services")
        self.assertEqual(peer["services"], ["auth"])
