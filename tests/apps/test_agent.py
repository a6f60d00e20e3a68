"""Tests of the agent as a whole, against a factory on the loopback."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any

from twisted.application.service import IService
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogLevel
from twisted.trial.unittest import TestCase

from heartbeat.apps import agent
from heartbeat.apps.logs import LogLevels
from heartbeat.config import HeartbeatConfig
from heartbeat.interfaces import HeartbeatListener
from heartbeat.liveness.events import Event, Left, Synced
from heartbeat.liveness.peer import Peer
from heartbeat.net import HeartbeatFactory


def write(path: str, text: str) -> None:
    """Write a file."""
    Path(path).write_text(text, encoding="utf-8")


class Ear(HeartbeatListener):
    """Waits for the full account of an agent, and for its end."""

    def __init__(self) -> None:
        self.told: Deferred[Peer] = Deferred()
        self.end: Deferred[Event] = Deferred()

    def changed(self, peer: Peer, event: Event) -> None:
        """A Synced with services is the STATE."""
        if isinstance(event, Synced) and peer.services and not self.told.called:
            self.told.callback(peer)

    def gone(self, peer: Peer, event: Event) -> None:
        """It is over."""
        self.end.callback(event)


class AgentTests(TestCase):
    """One agent and one acceptor."""

    timeout = 20

    def make(self, *arguments: str) -> agent.Agent:
        """An agent that connects to the acceptor of the test, not started."""
        self.ear = Ear()
        factory = HeartbeatFactory(HeartbeatConfig(interval=0.5), self.ear, reactor=reactor)
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]  # the installed one
        self.addCleanup(port.stopListening)
        options = agent.Options()
        options.parseOptions(["--connect", f"127.0.0.1:{port.getHost().port}", *arguments])
        self.levels = LogLevels(LogLevel.info)
        return agent.Agent(reactor, options.settings, read=options.read, levels=self.levels)

    async def test_account(self) -> None:
        """The server hears id, services, meta, uptime and load of this host; a stop is a leave, and nothing remains."""
        made = self.make("--id", "a1", "--services", "auth,billing", "--meta", "rack=r1")
        made.startService()
        peer = await self.ear.told
        self.assertEqual((peer.id, peer.services, dict(peer.meta)), ("a1", ("auth", "billing"), {"rack": "r1"}))
        self.assertGreater(peer.uptime, 0)
        self.assertEqual(peer.uptime, made.state.report().uptime)
        self.assertGreaterEqual(peer.load, 0.0)
        await made.stopService()
        event = await self.ear.end
        assert isinstance(event, Left)
        self.assertEqual(event.detail, "leaving")

    async def test_reload(self) -> None:
        """What the agent tells of its host may change while it runs; the progress file is not read anew for nothing."""
        path = self.mktemp()
        write(path, 'services = ["a"]\nprogress-file = "/nonexistent"\n')
        made = self.make("--config", path)
        before = made.state.progress
        (reload,) = [one for one in made if hasattr(one, "reload")]
        write(path, 'services = ["a", "b"]\nprogress-file = "/nonexistent"\n[meta]\nrack = "r1"\n')
        reload.reload()
        self.assertIs(made.state.progress, before)
        report = made.state.report()
        self.assertEqual((report.services, dict(report.meta)), (("a", "b"), {"rack": "r1"}))
        write(path, "")
        reload.reload()
        self.assertIsNone(made.state.progress)

    async def test_superseded(self) -> None:
        """An agent whose client has given up is of no use: the process ends with status 1 and one line."""
        err = io.StringIO()
        self.patch(sys, "__stderr__", err)
        ended: list[int] = []
        self.patch(os, "_exit", ended.append)
        made = self.make("--id", "twice")
        clock = MemoryReactorClock()
        clock.hasStopped = False
        made.client._given_up = lambda: agent.stop_reactor(clock, "heartbeat-agent: superseded")
        made.startService()
        await made.client.when_alive()
        await made.client.stopService()
        await deferLater(reactor, 0)  # ClientService may not be stopped from its own callbacks
        self.assertEqual(err.getvalue(), "heartbeat-agent: superseded\n")
        self.assertTrue(clock.hasStopped)
        await made.stopService()
        self.assertEqual(err.getvalue().count("\n"), 1)

    def test_make_service(self) -> None:
        """twist gets a service, and a reactor whose timers do not follow the wall clock."""
        self.addCleanup(lambda: vars(reactor).pop("seconds", None))
        options = agent.Options()
        options.parseOptions(["--connect", "localhost:1"])
        self.assertTrue(IService.providedBy(agent.makeService(options)))

    def test_a_host_that_tells_nothing(self) -> None:
        """Where this host cannot be measured the agent ends with status 1 or 64 and one line, before it connects."""
        self.addCleanup(lambda: vars(reactor).pop("seconds", None))
        err = io.StringIO()
        self.patch(sys, "__stderr__", err)

        def no_load() -> Any:
            raise OSError(None, "load averages are unobtainable")

        self.patch(agent.HostState, "report", lambda self: no_load())
        options = agent.Options()
        options.parseOptions(["--connect", "localhost:1"])
        error = self.assertRaises(SystemExit, agent.makeService, options)
        self.assertEqual(error.code, 1)  # type: ignore[attr-defined]  # it is a SystemExit
        self.assertEqual(err.getvalue(), "heartbeat-agent: load averages are unobtainable\n")
