"""An acceptor that asks others for what it does not know of a session, and lets everybody in all the same."""

from __future__ import annotations

import json
from typing import Any

from cryptography.fernet import Fernet
from twisted.internet.defer import Deferred

from heartbeat.liveness.report import Report
from heartbeat.net.keeper import Keeper, Kept
from heartbeat.net.sessions import AGE_DIGITS, PATIENCE
from heartbeat.session.sync import service_hash
from heartbeat.wire.frames import Hello, Sync, SyncAck
from tests.net.hand import HandTransport, bye
from tests.net.test_sessions import SERVICES, SessionCase


class Notes(Keeper):
    """Knows what it is told, and answers when it is told to.

    :ivar known: by session
    :ivar asked: (peer, session, patience, what it waits for) of each question
    """

    def __init__(self) -> None:
        self.key = Fernet.generate_key()
        self.known: dict[str, Kept] = {}
        self.stamp = ""
        self.asked: list[tuple[str, str, float, Deferred[object]]] = []
        self.cancelled = 0
        self.there = True
        self.told: list[tuple[str, str, int]] = []

    def keys(self) -> tuple[bytes, ...]:
        return (self.key,)

    def recall(self, session: str, peer: str) -> Kept | None:
        return self.known.get(session)

    def newest(self, peer: str) -> str:
        return self.stamp

    def fetch(self, peer: str, session: str, patience: float) -> Deferred[object] | None:
        if not self.there:
            return None

        def gone(_: object) -> None:
            self.cancelled += 1

        answer: Deferred[object] = Deferred(gone)
        answer.addErrback(lambda _: None)
        self.asked.append((peer, session, patience, answer))
        return answer

    def admitted(self, session: Any) -> None:
        self.told.append(("admitted", session.peer.id, session.epoch))

    def ended(self, session: Any) -> None:
        self.told.append(("ended", session.peer.id, session.epoch))


class KeeperTests(SessionCase):
    """One acceptor, and a keeper that stands for the others."""

    def setUp(self) -> None:
        """Two acceptors that share a key, and a token that the other one gave."""
        super().setUp()
        self.keeper = Notes()
        self.factory.keeper = self.keeper
        other = self.acceptor(self.keeper.key)
        self.first = self.visit(factory=other)

    def answer_of(self, transport: HandTransport) -> Any:
        """The HELLO that was said, None if none was."""
        answers = [frame for frame in transport.said() if isinstance(frame, Hello)]
        return json.loads(answers[0].body) if answers else None

    def kept(self, epoch: int = 1) -> Kept:
        """What the other acceptor knows."""
        digest = service_hash(SERVICES)
        report = Report(services=SERVICES, meta={"zone": "b"})
        return Kept(epoch=epoch, worth=0, report=report, svc_hash=digest, held=digest, until=0.0)

    def test_resumed(self) -> None:
        """A session of another acceptor goes on here: same id, services and meta before its first SYNC, no STATE asked
        for."""
        self.keeper.known[self.first["session"]] = self.kept()
        transport, answer = self.arrive(self.first["resume"])
        self.assertEqual((answer["resumed"], answer["session"]), (True, self.first["session"]))
        self.assertEqual(self.keeper.asked, [])
        peer = transport.protocol.heartbeat.peer
        self.assertEqual((peer.services, peer.meta), (SERVICES, {"zone": "b"}))
        transport.say(Sync(1, 0, service_hash(SERVICES), 0.5, 9).encode())
        (ack,) = [frame for frame in transport.said() if isinstance(frame, SyncAck)]
        self.assertEqual(ack.flags, 0)
        self.assertEqual(self.keeper.told, [("admitted", "a", 2)])
        transport.say(bye())
        transport.lose()
        self.assertEqual(self.keeper.told[1:], [("ended", "a", 2)])

    def test_asked(self) -> None:
        """What it does not know it asks for, with a bound; until the answer comes the applicant waits, and then goes
        on."""
        transport, answer = self.arrive(self.first["resume"])
        self.assertIsNone(answer)
        ((peer, session, patience, waits),) = self.keeper.asked
        self.assertEqual((peer, session), ("a", self.first["session"]))
        self.assertEqual(patience, self.factory.config.handshake_timeout * PATIENCE)
        self.keeper.known[self.first["session"]] = self.kept()
        waits.callback(None)
        told = self.answer_of(transport)
        self.assertEqual((told["resumed"], told["session"]), (True, self.first["session"]))
        self.assertEqual(transport.protocol.heartbeat.peer.services, SERVICES)
        self.assertEqual(len(self.keeper.asked), 1)

    def test_no_answer(self) -> None:
        """A keeper that finds nothing keeps nobody out: the token itself says which session it is."""
        transport, _ = self.arrive(self.first["resume"])
        self.keeper.asked[0][3].callback(None)
        told = self.answer_of(transport)
        self.assertEqual((told["resumed"], told["session"]), (True, self.first["session"]))
        self.assertEqual(transport.protocol.heartbeat.peer.services, ())

    def test_nobody_to_ask(self) -> None:
        """With the store away nobody waits."""
        self.keeper.there = False
        _, told = self.arrive(self.first["resume"])
        self.assertEqual((told["resumed"], told["session"]), (True, self.first["session"]))

    def test_without_a_token(self) -> None:
        """Whoever shows no token has nothing that could be asked for."""
        _, told = self.arrive(None, "b")
        self.assertFalse(told["resumed"])
        self.assertEqual(self.keeper.asked, [])

    def test_gone_meanwhile(self) -> None:
        """An applicant that leaves while it waits takes its question back, and is not let in afterwards."""
        transport, _ = self.arrive(self.first["resume"])
        transport.lose()
        self.assertEqual(self.keeper.cancelled, 1)
        self.assertEqual([one[0] for one in self.keeper.told], ["ended"])

    def test_two_at_once(self) -> None:
        """Two that come with the same token while it is asked for: the first gets in, the other one contends."""
        one, _ = self.arrive(self.first["resume"])
        other, _ = self.arrive(self.first["resume"])
        self.assertEqual(len(self.keeper.asked), 2)
        self.keeper.asked[0][3].callback(None)
        self.keeper.asked[1][3].callback(None)
        self.assertEqual(self.answer_of(one)["session"], self.first["session"])
        self.assertIsNone(self.answer_of(other))

    def test_two_newer(self) -> None:
        """That two newer tokens were given out elsewhere counts, too: then this one is as if absent."""
        self.keeper.known[self.first["session"]] = self.kept(3)
        transport, _ = self.arrive(self.first["resume"])
        self.assertEqual(self.keeper.asked[0][:2], ("a", ""))
        self.keeper.asked[0][3].callback(None)
        self.assertFalse(self.answer_of(transport)["resumed"])

    def test_age(self) -> None:
        """A new session is newer than any that is known of its peer, even one of a clock ahead of ours."""
        ahead = f"{int((self.clock.seconds() + 60.0) * 1000.0):0{AGE_DIGITS}x}ffffffffffff"
        self.keeper.stamp = ahead
        _, told = self.arrive(None, "b")
        self.assertGreater(told["session"], ahead)
        self.assertEqual(len(told["session"]), len(ahead))
        self.keeper.stamp = ""
        _, other = self.arrive(None, "c")
        self.assertLess(other["session"], told["session"])
        self.clock.advance(1.0)
        self.assertGreater(self.visit(None, "d")["session"], other["session"])

    def test_a_key_that_comes_later(self) -> None:
        """A token that cannot be opened is a reason to ask; tokens that were given out before the keeper knew a key
        are good afterwards."""
        factory = self.acceptor()
        before = self.visit(None, "b", factory)
        key, self.keeper.key = self.keeper.key, Fernet.generate_key()
        factory.keeper = self.keeper
        transport, answer = self.arrive(self.first["resume"], "a", factory)
        self.assertIsNone(answer)
        self.assertEqual(self.keeper.asked[0][:2], ("a", ""))
        self.keeper.key = key
        self.keeper.asked[0][3].callback(None)
        self.assertTrue(self.answer_of(transport)["resumed"])
        self.assertTrue(self.visit(before["resume"], "b", factory)["resumed"])

    def test_bytes_behind(self) -> None:
        """What stands behind the HELLO is taken once the gate is open, and asks nobody again."""
        transport, _ = self.arrive(self.first["resume"])
        transport.say(Sync(1, 0, service_hash(SERVICES), 0.5, 9).encode())
        self.assertEqual(len(self.keeper.asked), 1)
        self.keeper.asked[0][3].callback(None)
        self.assertTrue([frame for frame in transport.said() if isinstance(frame, SyncAck)])
