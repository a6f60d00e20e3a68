"""A peer that is back says how it was lost: from the next HELLO to the record of the failure (wire.md §4, ``last``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from heartbeat import Explained, State
from heartbeat.net import HeartbeatClientService, HeartbeatFactory
from heartbeat.testing import SilentDrop, Stall
from heartbeat.testing.faults import Effect, PathFault
from heartbeat.testing.segments import Segment
from heartbeat.watch.failures import Failures
from heartbeat.watch.listeners import Listeners
from heartbeat.wire.frames import Hello
from heartbeat.wire.profile import parse_object
from tests.net.cases import DETECT, HandCase, Notes, SimulatedCase
from tests.net.hand import HandTransport, hello, ping

SOON = 0.1
#: A first attempt is made within a second, and the other end may come to its verdict an interval later.
BACK = 2.0
#: To the verdict on a peer whose round trip nobody knows: half time, and 3 s for the answer.
LONGEST = 4.2
#: To the end of a contest with such a peer.
CONTEST = 2.3


@dataclass(frozen=True)
class MappingsLost(PathFault):
    """A translating router forgets all connections, and drops them silently; new ones pass."""

    def effect(self, now: float, draw: Callable[[], float]) -> Effect:
        """Remember the new ones."""
        new: set[frozenset[tuple[str, int]]] = set()

        def translate(segment: Segment, at: float, towards: str) -> float | None:
            mapping = frozenset((segment.source, segment.target))
            if segment.syn and segment.ack is None:
                new.add(mapping)
            return 0.0 if mapping in new else None

        return translate


def told(notes: Notes) -> list[tuple[str, str, str, str]]:
    """Who was explained, and how."""
    return [
        (name, event.was, event.cause, event.detail)
        for name, event in notes.of(Explained)
        if isinstance(event, Explained)
    ]


class SimulatedReturnTests(SimulatedCase):
    """Two ends that really lose each other."""

    def setUp(self) -> None:
        """A server with a board of failures."""
        super().setUp()
        self.factory: HeartbeatFactory = self.listen(id="the-server")
        self.failures = Failures(self.factory.wheel.clocks)
        self.factory.listener = Listeners(self.notes, self.failures)

    def lose(self, **settings: Any) -> HeartbeatClientService:
        """A client, and a moment of calm."""
        service = self.connect(**settings)
        self.net.run(1.0)
        return service

    def test_a_mapping_is_lost(self) -> None:
        """The path forgets the connection and takes a new one: both ends say ``nat_expired`` in the end."""
        service = self.lose()
        assert service.heartbeat is not None
        session = service.heartbeat.peer.session
        self.path.add(MappingsLost())
        self.net.run(DETECT + BACK)
        self.assertEqual([cause for _, cause in self.client_notes.deaths()], ["path_dead"])
        self.assertEqual(told(self.client_notes), [("the-server", "path_dead", "nat_expired", "returned")])
        ((name, was, cause, detail),) = told(self.notes)
        self.assertEqual((name, cause, detail), ("client", "nat_expired", "returned"))
        self.assertIn(was, ("path_dead", "unattributed"))
        (record,) = self.failures.since(peer="client")
        self.assertEqual((record.reason, record.session), ("nat_expired", session))
        self.assertEqual(record.evidence["was"], was)
        self.assertEqual(self.failures.counts(), {(was, "live"): 1})

    def test_after_joined(self) -> None:
        """The listener hears of it when the peer has joined again, and is alive."""
        self.lose()
        self.path.add(MappingsLost())
        self.net.run(DETECT + BACK)
        names = [name for name, _ in self.notes.lines if name in ("joined", "Alive", "Explained")]
        self.assertEqual(names[-3:], ["joined", "Alive", "Explained"])

    def test_a_path_that_heals(self) -> None:
        """Who was away for longer than a first attempt takes was kept away by the path."""
        self.lose()
        self.path.add(SilentDrop())
        self.net.run(10.0)
        self.path.clear()
        self.net.run(40.0)
        self.assertEqual([name for name, _ in self.notes.lines].count("joined"), 2)
        self.assertEqual((told(self.notes), told(self.client_notes)), ([], []))
        (record,) = self.failures.since(peer="client")
        self.assertEqual((record.reason, "was" in record.evidence), ("path_dead", False))

    def test_the_process_is_another(self) -> None:
        """A server that was started again has another instance: its clients know what the silence was."""
        service = self.lose()
        self.server.crash()
        self.net.run(DETECT + SOON)
        self.assertIsNone(service.heartbeat)
        (death,) = self.client_notes.deaths()
        self.server.restart()
        self.listen(id="the-server")
        self.net.run(40.0)
        self.assertEqual(told(self.client_notes), [("the-server", death[1], "peer_restarted", "instance")])

    def test_a_stall_is_none(self) -> None:
        """A peer whose process stood still is back as the same one, and the name stays."""
        self.lose()
        self.client.add(Stall(4.0))
        self.net.run(8.0)
        self.assertEqual(self.notes.deaths(), [("client", "peer_stalled")])
        self.assertEqual(told(self.notes), [])

    def test_it_is_told_once(self) -> None:
        """A second loss is told by its own record only."""
        service = self.lose()
        for _ in range(2):
            self.path.add(MappingsLost())
            self.net.run(DETECT + BACK)
            assert service.heartbeat is not None
        self.assertEqual(len(told(self.client_notes)), 2)
        self.assertEqual([one.reason for one in self.failures.since(peer="client")], ["nat_expired"] * 2)


class ClaimTests(HandCase):
    """What a connector says of its past, as an acceptor takes it."""

    def setUp(self) -> None:
        """A board of failures, too."""
        super().setUp()
        self.failures = Failures(self.factory.wheel.clocks)
        self.factory.listener = Listeners(self.notes, self.failures)

    def join(self, **members: Any) -> tuple[HandTransport, str]:
        """A connection, and the id of its session."""
        transport = self.connect(hello("a", **{"instance": "one", **members}))
        session = next(parse_object(one.body, "HELLO")["session"] for one in transport.said() if isinstance(one, Hello))
        transport.say(ping())
        return transport, session

    def silence(self) -> str:
        """One that goes silent; the id of its session. Its transport shows nothing."""
        _, session = self.join()
        self.advance(LONGEST)
        self.assertEqual(self.notes.deaths(), [("a", "unattributed")])
        return session

    def claims(self, **members: Any) -> list[tuple[str, str, str, str]]:
        """What is explained when it is back with these members."""
        self.join(**members)
        return told(self.notes)

    def test_believed(self) -> None:
        """Under the same id it is believed about the session that it had."""
        session = self.silence()
        found = self.claims(last={"session": session, "cause": "path_dead"})
        self.assertEqual(found, [("a", "unattributed", "nat_expired", "returned")])
        (record,) = self.failures.since()
        self.assertEqual((record.session, record.reason), (session, "nat_expired"))

    def test_another_session(self) -> None:
        """A session that it did not have is not its affair."""
        self.silence()
        self.assertEqual(self.claims(last={"session": "0123456789abcdef", "cause": "path_dead"}), [])

    def test_another_name(self) -> None:
        """... and neither is that of another id."""
        session = self.silence()
        self.connect(hello("b", instance="one", last={"session": session, "cause": "path_dead"}))
        self.assertEqual(told(self.notes), [])
        self.assertEqual([one.reason for one in self.failures.since()], ["unattributed"])

    def test_another_proof(self) -> None:
        """Who proved less, or something else, does not touch it."""
        transport, session = self.join()
        transport.protocol.driver.session.peer.identity = "a"
        self.advance(LONGEST)
        self.assertEqual(self.claims(last={"session": session, "cause": "path_dead"}), [])

    def test_a_cause_of_its_own(self) -> None:
        """A name that is on no list is none."""
        session = self.silence()
        self.assertEqual(self.claims(last={"session": session, "cause": "gremlins"}), [])

    def test_a_restart(self) -> None:
        """Another instance needs no account: a process that was started again has none."""
        self.silence()
        self.assertEqual(self.claims(instance="two"), [("a", "unattributed", "peer_restarted", "instance")])

    def test_the_newcomer_of_a_contest(self) -> None:
        """It comes before the verdict, waits for it, and explains it in the moment that it is let in."""
        _, session = self.join()
        self.advance(SOON)
        newcomer = self.connect(hello("a", instance="one", last={"session": session, "cause": "middlebox_reset"}))
        self.advance(CONTEST)
        self.assertIs(newcomer.protocol.heartbeat.state, State.ALIVE)
        self.assertEqual(told(self.notes), [("a", "unattributed", "nat_expired", "returned")])
        self.assertEqual([one.reason for one in self.failures.since()], ["nat_expired"])
        newcomer.lose()
        self.join()
        self.assertEqual(len(told(self.notes)), 1)

    def test_who_left_has_no_past(self) -> None:
        """A connection that was left, or never opened, is not explained."""
        transport, _ = self.join()
        transport.say(b"HBYE\0\0\0\0")
        self.advance(SOON)
        self.assertEqual(self.claims(instance="two"), [])


class LastTests(SimulatedCase):
    """What our own connector says."""

    def test_last(self) -> None:
        """A HELLO after a failure has ``last``; the first one has none."""
        said: list[Any] = []
        factory = self.listen()
        admit = factory._roll.admit

        def listening(driver: Any, now: float) -> None:
            said.append(driver.session.applicant.last)
            admit(driver, now)

        factory._roll.admit = listening  # type: ignore[method-assign]  # to see what it is given
        service = self.connect()
        assert service.heartbeat is not None
        session = service.heartbeat.peer.session
        self.net.run(1.0)
        self.path.add(SilentDrop())
        self.net.run(DETECT + SOON)
        self.path.clear()
        self.net.run(BACK)
        self.assertEqual([one is None for one in said], [True, False])
        self.assertEqual((said[1]["session"], said[1]["cause"]), (session, "path_dead"))
        self.assertGreaterEqual(said[1]["heard_ms"], DETECT * 1000)
        self.assertIn("acked_seq", said[1])

    def test_after_a_farewell(self) -> None:
        """Who left, or was left, has nothing to tell."""
        self.listen()
        service = self.connect()
        self.assertIsNone(service.connectors._past)
        self.net.result(service.stopService())
        self.assertIsNone(service.connectors._past)
