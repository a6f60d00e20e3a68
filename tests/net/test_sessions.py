"""Sessions that outlive their connections: tokens that are taken, and those that are not."""

from __future__ import annotations

import json
from typing import Any

from cryptography.fernet import Fernet

from heartbeat import HeartbeatConfig
from heartbeat.net import HeartbeatFactory
from heartbeat.net.sessions import KEPT, MOST_KEPT, TOKEN_LASTS
from heartbeat.session.sync import service_hash
from heartbeat.wire.frames import WANT_STATE, Bye, Hello, State, Sync, SyncAck
from tests.net.cases import HandCase
from tests.net.hand import HandTransport, bye, hello

SERVICES = ("auth", "billing")
BODY = json.dumps({"services": SERVICES, "meta": {"zone": "b"}}).encode()


class SessionCase(HandCase):
    """Peers that come and go."""

    def acceptor(self, *keys: bytes) -> HeartbeatFactory:
        """One of a fleet, with these token keys."""
        config = HeartbeatConfig(interval=0.5, min_interval=0.0)
        return HeartbeatFactory(config, self.notes, reactor=self.clock, token_keys=keys or None)

    def arrive(self, token: str | None = None, name: str = "a", factory: Any = None) -> tuple[HandTransport, Any]:
        """A peer comes, with this token; gives the answer that it gets."""
        transport = self.connect(hello(name, resume=token), factory=factory)
        answers = [frame for frame in transport.said() if isinstance(frame, Hello)]
        return transport, json.loads(answers[0].body) if answers else None

    def visit(self, token: str | None = None, name: str = "a", factory: Any = None) -> dict[str, Any]:
        """A peer comes and leaves; gives what it was told."""
        transport, answer = self.arrive(token, name, factory)
        transport.say(bye())
        transport.lose()
        told: dict[str, Any] = answer
        return told


class TokenTests(SessionCase):
    """wire.md §4, "Session and token"."""

    def test_a_first_visit(self) -> None:
        """A peer with an id gets a session and a token; it is no return."""
        told = self.visit()
        self.assertEqual(told["resumed"], False)
        self.assertTrue(told["session"])
        self.assertLessEqual(len(told["resume"]), 1024)
        self.assertNotEqual(self.visit()["session"], told["session"])

    def test_without_an_id(self) -> None:
        """A peer without an id has neither."""
        transport = self.connect(hello())
        (answer,) = [json.loads(frame.body) for frame in transport.said() if isinstance(frame, Hello)]
        self.assertEqual({"session", "resume", "resumed"} & set(answer), set())
        self.assertEqual(transport.protocol.heartbeat.peer.session, "")

    def test_a_return(self) -> None:
        """With its token it has its session back, and a new token for next time."""
        first = self.visit()
        again = self.visit(first["resume"])
        self.assertEqual((again["resumed"], again["session"]), (True, first["session"]))
        self.assertNotEqual(again["resume"], first["resume"])
        self.assertEqual(self.visit(again["resume"])["session"], first["session"])

    def test_two_newer(self) -> None:
        """A token is good until two newer ones were given out: the answer with one of them may be lost."""
        first = self.visit()
        self.assertTrue(self.visit(first["resume"])["resumed"])
        self.assertTrue(self.visit(first["resume"])["resumed"])
        refused = self.visit(first["resume"])
        self.assertEqual(refused["resumed"], False)
        self.assertNotEqual(refused["session"], first["session"])

    def test_somebody_elses(self) -> None:
        """A token is for one id: for another it is as if absent, and that is no reason for a BYE."""
        stolen = self.visit()["resume"]
        told = self.visit(stolen, "mallory")
        self.assertEqual(told["resumed"], False)
        self.assertTrue(self.visit(stolen)["resumed"])

    def test_tampered(self) -> None:
        """Whatever is no token of ours is as if absent."""
        token = self.visit()["resume"]
        wrong = [token[:-1], token[1:], token.swapcase(), "x", "~" * 1024, token[:20] + "B" + token[21:]]
        wrong += [Fernet(Fernet.generate_key()).encrypt(b'["s","a",0]').decode()]
        for one in wrong:
            self.assertEqual(self.visit(one)["resumed"], False, one)
        self.assertTrue(self.visit(token)["resumed"])

    def test_not_a_session(self) -> None:
        """Nothing that our own key has sealed and that is no token makes an error."""
        key = Fernet.generate_key()
        factory = self.acceptor(key)
        for text in (
            b"",
            b"5",
            b"[]",
            b'"abc"',
            b'["s","a"]',
            b'["s","a","x"]',
            b"{}",
            b"null",
            b'[["s"],"a",0]',
            b"\xff",
        ):
            token = Fernet(key).encrypt_at_time(text, int(self.clock.seconds())).decode()
            self.assertEqual(self.visit(token, factory=factory)["resumed"], False, text)

    def test_it_expires(self) -> None:
        """A token is good for a day, by the clock on the wall, which the fleet shares."""
        token = self.visit()["resume"]
        self.clock.advance(TOKEN_LASTS - 1)
        self.assertTrue(self.visit(token)["resumed"])
        self.clock.advance(2)
        self.assertEqual(self.visit(token)["resumed"], False)

    def test_the_longest_ids(self) -> None:
        """Whatever the id is made of, its token is one that a HELLO may hold."""
        for name in ("x" * 255, "é" * 127, "→" * 85, "\U0001f600" * 63, '"' * 255, "\\" * 255):
            told = self.visit(name=name)
            self.assertLessEqual(len(told["resume"]), 1024, name[:1])
            self.assertTrue(self.visit(told["resume"], name)["resumed"], name[:1])


class FleetTests(SessionCase):
    """Acceptors that share keys."""

    def setUp(self) -> None:
        """Two keys."""
        super().setUp()
        self.old, self.new = Fernet.generate_key(), Fernet.generate_key()

    def test_any_of_them(self) -> None:
        """A token of one acceptor is taken by another that shares its key, before and after more of them."""
        one, two = self.acceptor(self.old), self.acceptor(self.old)
        first = self.visit(factory=one)
        for factory in (two, one, two):
            again = self.visit(first["resume"], factory=factory)
            self.assertEqual((again["resumed"], again["session"]), (True, first["session"]))
            first = again

    def test_strangers(self) -> None:
        """An acceptor with another key takes none of them, and refuses nobody for it."""
        told = self.visit(self.visit(factory=self.acceptor(self.old))["resume"], factory=self.acceptor(self.new))
        self.assertEqual(told["resumed"], False)
        told = self.visit(self.visit(factory=self.acceptor())["resume"], factory=self.acceptor())
        self.assertEqual(told["resumed"], False)

    def test_rotation(self) -> None:
        """New tokens are made with the first key, and all keys are taken: then the old one may go."""
        before, between, after = self.acceptor(self.old), self.acceptor(self.new, self.old), self.acceptor(self.new)
        first = self.visit(factory=before)
        second = self.visit(first["resume"], factory=between)
        self.assertTrue(second["resumed"])
        third = self.visit(second["resume"], factory=after)
        self.assertEqual((third["resumed"], third["session"]), (True, first["session"]))
        self.assertEqual(self.visit(first["resume"], factory=after)["resumed"], False)


class MemoryTests(SessionCase):
    """What goes on with a session, and for how long it is remembered."""

    def state(self, transport: HandTransport, seq: int = 0) -> bool:
        """The peer syncs, and sends its STATE if it is asked for it; says whether it was."""
        transport.said()
        transport.say(Sync(seq, 0, service_hash(SERVICES), 0.25, 60).encode())
        (answer,) = [frame for frame in transport.said() if isinstance(frame, SyncAck)]
        if answer.flags & WANT_STATE:
            transport.say(State(BODY).encode())
        return bool(answer.flags & WANT_STATE)

    def test_the_last_state_goes_on(self) -> None:
        """A peer that returns is not asked again for what it has said already, and is listed with it at once."""
        transport, told = self.arrive()
        self.assertTrue(self.state(transport))
        transport.lose()
        transport, _ = self.arrive(told["resume"])
        peer = transport.protocol.heartbeat.peer
        self.assertEqual((peer.services, dict(peer.meta), peer.load), (SERVICES, {"zone": "b"}, 0.25))
        self.assertFalse(self.state(transport))

    def test_without_a_token_it_does_not(self) -> None:
        """A new session knows nothing."""
        transport, _ = self.arrive()
        self.state(transport)
        transport.lose()
        transport, _ = self.arrive()
        self.assertEqual(transport.protocol.heartbeat.peer.services, ())
        self.assertTrue(self.state(transport))

    def test_taken_over(self) -> None:
        """A newcomer with the token of a connection that turns out dead goes on where that one was, not behind it."""
        older, told = self.arrive()
        self.state(older)
        newcomer, _ = self.arrive(told["resume"])
        self.advance(3.0)
        (answer,) = [json.loads(frame.body) for frame in newcomer.said() if isinstance(frame, Hello)]
        self.assertEqual((answer["resumed"], answer["session"]), (True, told["session"]))
        self.assertEqual(newcomer.protocol.heartbeat.peer.services, SERVICES)
        older.lose()
        self.assertFalse(self.state(newcomer))
        newcomer.lose()
        self.assertTrue(self.visit(answer["resume"])["resumed"])

    def test_a_bye_is_an_end(self) -> None:
        """A peer that was told BYE and returns at once, while we still listen for its close, is let in at once."""
        older, told = self.arrive()
        older.say(b"rubbish!")
        self.assertEqual([type(frame) for frame in older.said()], [Bye])
        newcomer, answer = self.arrive(told["resume"])
        self.assertEqual((answer["resumed"], answer["session"]), (True, told["session"]))
        self.assertEqual(older.said(), [])
        older.lose()
        self.assertEqual(newcomer.protocol.heartbeat.peer.session, told["session"])

    def test_bounded(self) -> None:
        """However many peers come and go, a limited number is remembered; the oldest are forgotten first."""
        kept = self.factory._roll._sessions._kept
        self.visit(name="somebody")
        somebody = kept.popitem()[1]
        for number in range(MOST_KEPT, 0, -1):
            kept[f"session {number}"] = somebody
        first = self.visit()
        self.assertEqual(len(kept), MOST_KEPT)
        self.assertNotIn(f"session {MOST_KEPT}", kept)
        self.assertIn(first["session"], kept)

    def test_forgotten(self) -> None:
        """After an hour the state of a session is forgotten, as soon as somebody else leaves; its token is good yet."""
        kept = self.factory._roll._sessions._kept
        first = self.visit()
        self.clock.advance(KEPT + 1)
        self.visit(name="b")
        self.assertEqual(len(kept), 1)
        self.assertNotIn(first["session"], kept)
        self.assertTrue(self.visit(first["resume"])["resumed"])

    def test_nothing_of_the_living(self) -> None:
        """When all have gone no connection is referred to any more."""
        sessions = self.factory._roll._sessions
        transports = [self.arrive(name=f"p{number}")[0] for number in range(5)]
        self.assertEqual(len(sessions._living), 5)
        for transport in transports:
            transport.lose()
        self.assertEqual(sessions._living, {})
