"""A hundred seeds of random trouble: nobody dies who lives, and whoever dies is found in time."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from heartbeat import Dead, Event, HeartbeatConfig, HeartbeatListener, Peer
from heartbeat.net import HeartbeatClientService, HeartbeatFactory
from heartbeat.testing import Delay, Loss, SilentDrop, SimulatedHost, SimulatedNetwork

SEEDS = 100
#: The server's patience with a client: long enough for a few retransmissions (0.2, 0.4, 0.8, 1.6 s) in a row.
INTERVAL, MULTIPLIER = 1.0, 4
DETECT = INTERVAL * MULTIPLIER
#: The clients' patience with the server, which is stalled for up to 6 s.
SERVER_MULTIPLIER = 15
ALLOWANCE = 0.1


class Deaths(HeartbeatListener):
    """Who died, and when."""

    def __init__(self, net: SimulatedNetwork) -> None:
        self.net = net
        self.died: dict[str, float] = {}
        self.peers: dict[str, Peer] = {}

    def joined(self, peer: Peer) -> None:
        """A client."""
        self.peers[peer.id] = peer

    def changed(self, peer: Peer, event: Event) -> None:
        """Look for deaths."""
        if isinstance(event, Dead):
            self.died[peer.id] = self.net.now


class ChaosTests(SynchronousTestCase):
    """Stalls of the server, delay, jitter and loss, all drawn from the seed."""

    def test_chaos(self) -> None:
        """For each seed: 0 false deaths in half a minute of trouble, then a real one, found within its bound."""
        for seed in range(SEEDS):
            self.live_and_die(SimulatedNetwork(seed))

    def live_and_die(self, net: SimulatedNetwork) -> None:
        """One seed."""
        draw = net.random.random
        server = net.host("server")
        deaths = Deaths(net)
        config = HeartbeatConfig(interval=INTERVAL, multiplier=SERVER_MULTIPLIER)
        server.listen(7600, HeartbeatFactory(config, deaths, reactor=server.reactor))
        clients = [net.host(f"client{number}") for number in range(2)]
        services = []
        delays: dict[str, float] = {}
        for client in clients:
            delay, jitter = 0.15 * draw(), 0.1 * draw()
            delays[client.name] = delay + jitter
            net.between(client, server).add(Delay(delay, jitter=jitter))
            config = HeartbeatConfig(id=client.name, interval=INTERVAL, multiplier=MULTIPLIER)
            service = HeartbeatClientService(["server:7600"], config, reactor=client.reactor)
            service.startService()
            services.append(service)
            net.result(service.when_alive())
            net.between(client, server).add(Loss(0.05 * draw()))
        for _ in range(3):
            net.run(1.0 + 6.0 * draw())
            server.stall(0.3 + 5.7 * draw())
        net.run(10.0)
        self.assertEqual(deaths.died, {}, f"seed {net.seed}: false deaths")
        self.assertEqual(len(deaths.peers), 2, f"seed {net.seed}")
        victim = clients[int(draw() * 2)]
        began = net.now
        self.kill(net, victim, server)
        bound = self.bound(deaths.peers[victim.name], delays[victim.name])
        net.run(bound)
        self.assertEqual(list(deaths.died), [victim.name], f"seed {net.seed}: not found within {bound:.2f} s")
        self.assertGreater(deaths.died[victim.name] - began, INTERVAL, f"seed {net.seed}")
        self.assertIn("seed=", repr(net))
        for service in services:
            service.stopService()

    def kill(self, net: SimulatedNetwork, victim: SimulatedHost, server: SimulatedHost) -> None:
        """The host vanishes, the path swallows all, or the process hangs for good."""
        way = int(net.random.random() * 3)
        if way == 0:
            victim.vanish()
        elif way == 1:
            net.between(victim, server).add(SilentDrop())
        else:
            victim.stall(1_000_000.0)

    def bound(self, peer: Peer, delay: float) -> float:
        """The verdict's bound from the fault: the detection time, or the time for an answer if that is longer
        (wire.md §2); what is on its way when it dies is a last sign of life, a retransmission of it a later one."""
        half_time = (DETECT + INTERVAL) / 2
        answer = max((DETECT - INTERVAL) / 2, peer.rtt.answer_term)
        return max(DETECT, half_time + answer) + delay + ALLOWANCE
