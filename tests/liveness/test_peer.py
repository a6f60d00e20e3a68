"""The live view of a peer that pages, metrics and listeners have."""

from __future__ import annotations

import gc
import json
import math
import weakref

from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.attention import Attention
from heartbeat.liveness.beats import Beats
from heartbeat.liveness.peer import Peer
from heartbeat.liveness.report import Report
from heartbeat.liveness.states import State
from tests.liveness.loops import START

WALL = 1_700_000_000.0
#: As ``surface.md`` publishes it; fields are only added.
PUBLISHED = """
    id node session address transport identity state since last_heard_ms rtt_ms loss_ratio interval_ms detect_ms phi
    services svc_hash load uptime_s meta cert_expires_s bare layers
"""


class TwoClocks:
    """Clocks that stand where they are put."""

    def __init__(self) -> None:
        self.now = START

    def seconds(self) -> float:
        """Monotonic."""
        return self.now

    def wall(self) -> float:
        """Since the epoch."""
        return WALL + self.now - START


class Sure(Beats):
    """One whose detector has no doubt left."""

    def phi(self, now: float) -> float:
        """Beyond any number."""
        return math.inf


class PeerTests(SynchronousTestCase):
    """A peer with its judge."""

    def setUp(self) -> None:
        """One that just came."""
        self.clocks = TwoClocks()
        self.attention = Attention(START)
        self.beats = self.make("fixed")
        self.peer = Peer(self.beats, self.clocks, id="db-1", address="192.0.2.1:99", node="n1")

    def make(self, detector: str) -> Beats:
        """A judge with that detector."""
        return Beats(1.5, self.attention, START, interval=0.5, draw=lambda: 0.5, detector=detector)

    def beat(self, times: int, rtt: float = 0.02) -> None:
        """So many questions, each answered."""
        for _ in range(times):
            number = self.beats.number
            self.beats.asked(self.clocks.now)
            self.beats.handed_over(self.clocks.now)
            self.clocks.now += rtt
            self.attention.expect(self.clocks.now)
            self.beats.answered(number, self.clocks.now)
            self.clocks.now += 0.5 - rtt
            self.attention.expect(self.clocks.now)

    def test_attributes_are_read_when_asked(self) -> None:
        """They follow the judge, without any call."""
        peer = self.peer
        self.assertIs(peer.state, State.ALIVE)
        self.assertEqual((peer.since, peer.heard_at), (START, START))
        self.assertIsNone(peer.rtt.last)
        self.beat(3)
        self.assertAlmostEqual(peer.heard_at, self.clocks.now - 0.48)
        self.assertAlmostEqual(peer.rtt.last or 0.0, 0.02)
        self.assertEqual((peer.interval, peer.detect, peer.loss, peer.phi), (0.5, 1.5, 0.0, None))
        self.assertEqual((peer.tally.pings_out, peer.tally.acks_in), (3, 3))
        self.beats.liveness.condemn("path_dead", self.clocks.now)
        self.assertEqual((peer.state, peer.cause), (State.DEAD, "path_dead"))
        self.assertEqual(peer.since, self.clocks.now)

    def test_its_report(self) -> None:
        """What it said of itself last, in one step."""
        peer = self.peer
        self.assertEqual((peer.services, peer.load, peer.uptime, dict(peer.meta)), ((), 0.0, 0, {}))
        peer.report = Report(load=1.5, uptime=77, services=("auth", "db"), meta={"zone": "b"})
        self.assertEqual(
            (peer.services, peer.load, peer.uptime, dict(peer.meta)), (("auth", "db"), 1.5, 77, {"zone": "b"})
        )

    def test_layers(self) -> None:
        """What is known of host, loop and work follows the judge; the work only of who counts it."""
        self.assertEqual(self.peer.layers, ("alive", "alive", "unknown"))
        self.peer.report = Report(progress=0)
        self.assertEqual(self.peer.layers, ("alive", "alive", "alive"))
        self.beats.liveness.works(True, self.clocks.now)
        self.assertEqual(self.peer.as_json()["layers"], {"host": "alive", "loop": "alive", "work": "dead"})
        self.beats.liveness.condemn("peer_stalled", self.clocks.now)
        self.assertEqual(self.peer.layers, ("alive", "dead", "unknown"))

    def test_details(self) -> None:
        """One peer alone is told with its kernel options and its last events, too."""
        self.peer.options = {"nodelay": "applied"}
        self.beat(3)
        self.beats.asked(self.clocks.now)
        told = json.loads(json.dumps(self.peer.details(), allow_nan=False))
        self.assertEqual({name: told[name] for name in PUBLISHED.split()}, self.peer.as_json())
        self.assertEqual(told["kernel"], {"nodelay": "applied"})
        wall = round(WALL, 3)
        self.assertEqual(
            told["events"],
            [
                {"at": wall, "event": "opened", "value": None},
                {"at": round(wall + 1.02, 3), "event": "heard", "value": None},
                {"at": round(wall + 1.5, 3), "event": "asked", "value": 3.0},
            ],
        )

    def test_the_events_of_who_was_always_well(self) -> None:
        """In each state that is reached without any trouble the record begins with what is known."""
        beats = Beats(1.5, self.attention, START, interval=0.5, draw=lambda: 0.5, gated=True)
        peer = Peer(beats, self.clocks, id="x")
        names = []
        for happens in (
            lambda: None,
            lambda: beats.opened(START + 1.0),
            lambda: beats.liveness.leave("age", START + 9),
        ):
            happens()
            names.append([event["event"] for event in peer.details()["events"]])
        self.assertIsNone(beats.liveness.recorder)
        self.assertEqual(names, [["connected", "heard"], ["opened", "heard"], ["heard", "left"]])

    def test_json_has_the_published_shape(self) -> None:
        """All fields, none more, plain values, whatever is unknown is null."""
        shown = json.loads(json.dumps(self.peer.as_json(), allow_nan=False))
        self.assertEqual(set(shown), set(PUBLISHED.split()))
        self.assertEqual((shown["id"], shown["address"], shown["node"]), ("db-1", "192.0.2.1:99", "n1"))
        self.assertEqual((shown["session"], shown["transport"], shown["identity"]), ("", "tcp", None))
        self.assertEqual((shown["state"], shown["bare"]), ("alive", False))
        self.assertEqual((shown["rtt_ms"], shown["phi"], shown["cert_expires_s"]), (None, None, None))
        self.assertEqual((shown["svc_hash"], shown["services"], shown["meta"]), ("", [], {}))

    def test_json_tells_times_as_of_now(self) -> None:
        """``since`` on the wall clock, ``last_heard_ms`` ago, round trips in milliseconds."""
        self.beat(4)
        self.clocks.now += 7.0
        shown = self.peer.as_json()
        self.assertEqual(shown["since"], WALL)
        self.assertEqual(shown["last_heard_ms"], 7480)
        self.assertEqual(shown["rtt_ms"]["last"], 20.0)
        self.assertEqual(shown["rtt_ms"]["smoothed"], 20.0)
        self.assertIsNotNone(shown["rtt_ms"]["p95"])
        self.assertEqual(shown["detect_ms"], 1500)

    def test_json_of_a_full_report(self) -> None:
        """Services, digest, meta and the rest as they were told."""
        self.peer.report = Report(load=0.25, uptime=9, services=("a",), meta={"k": "v"}, cert_expires=60)
        self.peer.svc_hash = bytes(range(16))
        shown = self.peer.as_json()
        self.assertEqual((shown["load"], shown["uptime_s"], shown["services"]), (0.25, 9, ["a"]))
        self.assertEqual((shown["meta"], shown["cert_expires_s"]), ({"k": "v"}, 60))
        self.assertEqual(shown["svc_hash"], "000102030405060708090a0b0c0d0e0f")

    def test_a_certificate_runs_out(self) -> None:
        """The time that it has left goes down while nobody says anything, and below 0; a renewal is believed."""
        self.peer.report = Report(cert_expires=60)
        self.clocks.now += 45.5
        self.assertEqual(self.peer.as_json()["cert_expires_s"], 15)
        for _ in range(100):  # a report that is put together anew says the same moment
            self.peer.report = self.peer.report._replace(stuck=True)
        self.clocks.now += 20.0
        self.assertEqual((self.peer.cert_expires, self.peer.report.cert_expires), (-5, -5))
        self.peer.report = Report(cert_expires=86_400)
        self.assertEqual(self.peer.cert_expires, 86_400)
        self.peer.report = Report()  # who says nothing of it takes nothing back: TLS has seen it
        self.assertEqual(self.peer.cert_expires, 86_400)

    def test_a_loss_is_a_ratio(self) -> None:
        """Of the last minute's settled questions."""
        self.beats.asked(START)
        self.beats.handed_over(START)
        self.beat(3)
        self.assertEqual(self.peer.loss, 0.25)
        self.assertEqual(self.peer.as_json()["loss_ratio"], 0.25)

    def test_phi_is_shown_only_if_it_is_a_number(self) -> None:
        """JSON has no infinity."""
        beats = self.make("phi")
        peer = Peer(beats, self.clocks, id="x")
        for _ in range(30):
            beats.heard(self.clocks.now)
            self.clocks.now += 0.5
            self.attention.expect(self.clocks.now)
        shown = peer.as_json()["phi"]
        assert isinstance(shown, float)
        self.assertGreater(shown, 0.0)
        sure = Peer(Sure(1.5, self.attention, START, interval=0.5, draw=float), self.clocks, id="x")
        self.assertIsNone(sure.as_json()["phi"])

    def test_keeps_no_connection_alive(self) -> None:
        """A page may hold it for as long as it likes; it can be watched for being gone."""
        reference = weakref.ref(self.peer)
        del self.peer
        gc.collect()
        self.assertIsNone(reference())
