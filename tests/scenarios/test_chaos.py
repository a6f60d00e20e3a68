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
#: The clients' patience with the server, which is stalled up to three times for up to 6 s, perhaps in a row.
SERVER_MULTIPLIER = 30
ALLOWANCE = 0.1
#: A client is stalled for less than the server's patience.
CLIENT_STALL = 1.5
#: What was on its way is heard after the end of its sender; what was lost is sent again by a kernel that still lives.
LAST_SIGN = 2.0


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
    """Stalls of both ends, delay, jitter, loss and clock steps, all drawn from the seed."""

    def test_chaos(self) -> None:
        """For each seed: 0 false deaths in half a minute of trouble, then a real one, found within its bound."""
        for seed in range(SEEDS):
            self.live_and_die(SimulatedNetwork(seed))

    def test_one_seed_is_one_run(self) -> None:
        """The same seed: the same segments at the same times, heartbeats, verdicts, reconnects and all."""
        traces: list[list[str]] = []
        for seed in (5, 5, 6):
            lines: list[str] = []
            traces.append(lines)
            net = SimulatedNetwork(seed)
            net.watch(lambda now, line, lines=lines: lines.append(f"{now:.9f} {line}"))
            self.live_and_die(net)
            net.run(10.0)
        self.assertGreater(len(traces[0]), 200)
        self.assertEqual(traces[0], traces[1])
        self.assertNotEqual(traces[0], traces[2])

    def live_and_die(self, net: SimulatedNetwork) -> None:
        """One seed."""
        draw = net.random.random
        server = net.host("server", monotonic_timers=True)
        deaths = Deaths(net)
        config = HeartbeatConfig(interval=INTERVAL, multiplier=SERVER_MULTIPLIER)
        server.listen(7600, HeartbeatFactory(config, deaths, reactor=server.reactor))
        clients = [net.host(f"client{number}", monotonic_timers=True) for number in range(2)]
        services = []
        stalled = dict.fromkeys((client.name for client in clients), 0.0)
        for client in clients:
            net.between(client, server).add(Delay(0.15 * draw(), jitter=0.1 * draw()))
            config = HeartbeatConfig(id=client.name, interval=INTERVAL, multiplier=MULTIPLIER)
            service = HeartbeatClientService(["server:7600"], config, reactor=client.reactor)
            service.startService()
            services.append(service)
            net.result(service.when_alive())
            net.between(client, server).add(Loss(0.03 * draw()))
        for _ in range(3):
            net.run(1.0 + 6.0 * draw())
            server.stall(0.3 + 5.7 * draw())
            client, seconds = clients[int(draw() * 2)], CLIENT_STALL * draw()
            client.stall(seconds)
            stalled[client.name] += seconds
            for host in (server, *clients):
                host.step_clock(7200.0 * draw() - 3600.0)
        net.run(10.0)
        self.assertEqual(deaths.died, {}, f"seed {net.seed}: false deaths")
        self.assertEqual(len(deaths.peers), 2, f"seed {net.seed}")
        victim = clients[int(draw() * 2)]
        peer, began = deaths.peers[victim.name], net.now
        self.kill(net, victim, server)
        net.run_until(lambda: bool(deaths.died))
        died = deaths.died[victim.name]
        heard = net.now - (server.monotonic() - peer.heard_at)  # in the time of the network
        self.assertLess(heard - began, LAST_SIGN, f"seed {net.seed}")
        bound = self.bound(peer) + stalled[victim.name]  # STALLED makes the server more patient (wire.md §6)
        self.assertLessEqual(died - max(began, heard), bound, f"seed {net.seed}")
        self.assertGreaterEqual(died - heard, DETECT, f"seed {net.seed}: impatient")
        self.assertEqual(list(deaths.died), [victim.name], f"seed {net.seed}")
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

    def bound(self, peer: Peer) -> float:
        """From the last sign of life: the detection time, or until an answer to the confirm question should have come
        if that is longer (wire.md §2)."""
        half_time = (DETECT + INTERVAL) / 2
        answer = max((DETECT - INTERVAL) / 2, peer.rtt.answer_term)
        return max(DETECT, half_time + answer) + ALLOWANCE
