"""Tests of heartbeats: no socket, no sleep."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from heartbeat import HeartbeatConfig, State
from heartbeat.net import HeartbeatClientService, HeartbeatFactory
from heartbeat.testing import SilentDrop, SimulatedNetwork


class GatewayTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.net = SimulatedNetwork(seed=7)  # a failing test prints its seed
        self.addCleanup(self.net.assert_nothing_left)  # no timer, connection, session or reference
        self.server, self.client = self.net.host("server"), self.net.host("client")
        config = HeartbeatConfig(interval=0.5)
        self.server.listen(7600, HeartbeatFactory(config, reactor=self.server.reactor))
        patient = HeartbeatConfig(id="a", interval=0.5, multiplier=8)  # asks the server for 4 s of patience with us
        service = HeartbeatClientService(["tcp:server:7600"], patient, reactor=self.client.reactor)
        service.startService()
        self.addCleanup(service.stopService)
        self.heartbeat = self.net.result(service.when_alive())

    def test_our_own_stall_kills_nobody(self) -> None:
        """Three seconds in which our loop does not run are our fault, not the server's, whom we give 1.5."""
        self.client.stall(3.0)  # then timers first, sockets second: Twisted's order
        self.net.run(5.0)
        self.assertIs(self.heartbeat.state, State.ALIVE)

    def test_a_silent_drop_is_found(self) -> None:
        """A path that swallows packets is found in the agreed time."""
        self.net.between(self.client, self.server).add(SilentDrop())
        self.net.run(1.6)
        self.assertIs(self.heartbeat.state, State.DEAD)
