"""The server process against the independent peer: tokens, and one live connection per id. wire.md §4."""

from __future__ import annotations

import struct
import time
from typing import Any

from twisted.trial.unittest import SkipTest

from tests.real.cases import QUIET, ServerTestCase
from tests.real.rawpeer import (
    ACK,
    BYE,
    HELLO,
    PING,
    SYNC_ACK,
    RawPeer,
    Silence,
    hello,
    short,
    state,
    strict_object,
    sync,
)

_LEAVING = BYE + struct.pack("!HH", 0, 3) + b"bye"


def _token(answer: dict[str, Any]) -> dict[str, str]:
    """The token of an acceptor's HELLO as a member of the next connection's; nothing where none are given out."""
    return {"resume": answer["resume"]} if "resume" in answer else {}


class TokenTests(ServerTestCase):
    """A session goes on with a token that is taken, and starts anew without."""

    def named(self, name: str) -> tuple[RawPeer, dict[str, Any]]:
        """A connection of that id, and the answer to its HELLO with the token."""
        peer, answer = self.greeted(id=name, caps=["state"])
        if "resume" not in answer:
            raise SkipTest("this server gives no resume tokens out")
        return peer, answer

    def leave(self, peer: RawPeer) -> None:
        """Say BYE 0 and wait for the end."""
        peer.send(_LEAVING)
        peer.until_end()

    def test_resumed(self) -> None:
        """With its token a peer comes back to its session, and the last STATE goes on; a new token comes with it."""
        name = self.fresh()
        peer, first = self.named(name)
        peer.send(sync(1, [name]) + state(services=[name]))
        peer.expect(SYNC_ACK)
        self.leave(peer)
        self.server.in_state(name, "left")
        peer, second = self.greeted(id=name, caps=["state"], resume=first["resume"])
        self.assertEqual((second["resumed"], second["session"]), (True, first["session"]))
        self.assertNotEqual(second["resume"], first["resume"])
        listed = self.server.in_state(name, "alive")
        self.assertEqual((listed["services"], listed["session"]), ([name], first["session"]))
        peer.send(sync(1, [name]))
        self.assertEqual(peer.expect(SYNC_ACK).low, 0, "the STATE of this svc_hash is held")

    def test_not_resumed(self) -> None:
        """Without a token, with one that is nonsense, or with another peer's, the session is a new one; never a BYE."""
        name = self.fresh()
        peer, first = self.named(name)
        self.leave(peer)
        for what, whose, token in [
            ("none", name, {}),
            ("nonsense", name, {"resume": "nonsense"}),
            ("one of the length of a token", name, {"resume": "A" * len(first["resume"])}),
            ("one with its end cut off", name, {"resume": first["resume"][:-1]}),
            ("another peer's", self.fresh(), {"resume": first["resume"]}),
        ]:
            peer, answer = self.greeted(id=whose, **token)
            self.assertIs(answer["resumed"], False, what)
            self.assertNotEqual(answer["session"], first["session"], what)
            self.leave(peer)

    def test_two_newer_tokens(self) -> None:
        """A token is taken until two newer ones were given out."""
        name = self.fresh()
        peer, first = self.named(name)
        tokens = [first["resume"]]
        for _ in range(2):
            self.leave(peer)
            peer, answer = self.greeted(id=name, resume=tokens[0])
            self.assertIs(answer["resumed"], True)
            tokens.append(answer["resume"])
        self.leave(peer)
        peer, answer = self.greeted(id=name, resume=tokens[0])
        self.assertIs(answer["resumed"], False)


class RivalTests(ServerTestCase):
    """One live connection per id."""

    def older(self, name: str, **members: Any) -> tuple[RawPeer, dict[str, str]]:
        """A connection of that id with nothing unanswered, and its token as a member of HELLO, if it has one."""
        peer, answer = self.greeted(id=name, **members)
        peer.ping()
        peer.attend(0.1)
        peer.asked.clear()
        return peer, _token(answer)

    def test_the_older_one_lives(self) -> None:
        """Newcomers wait while the older connection is sent one PING; it answers, they get BYE 6, and it goes on.

        A token takes no session over in clear.
        """
        name = self.fresh()
        older, token = self.older(name)
        newcomers = [self.connect() for _ in range(3)]
        for newcomer in newcomers:
            newcomer.send(hello(id=name, **token, **QUIET))
        question = older.expect(PING, 1.0)
        self.assertRaises(Silence, older.frame, 0.1)
        for newcomer in newcomers:
            self.assertRaises(Silence, newcomer.frame, 0.01)
        older.send(short(ACK, question.word))
        for newcomer in newcomers:
            farewell = newcomer.farewell(2.3)  # at the end of the wait at the latest
            self.assertEqual((farewell.code, farewell.before), (6, []))
        older.ping(9, 9)
        listed = self.server.peer(name)
        assert listed is not None
        self.assertEqual((listed["state"], listed["address"]), ("alive", older.address))

    def test_any_sign_of_life(self) -> None:
        """A PING of the older connection is as good a sign of life as its ACK; where it may be asked soon, it is."""
        name = self.fresh()
        older, _ = self.older(name, min_rx_ms=100)
        newcomer = self.connect()
        newcomer.send(hello(id=name, **QUIET))
        older.expect(PING, 0.3)
        older.send(short(PING, 5, 5))
        self.assertEqual(newcomer.farewell(0.5).code, 6)

    def test_the_older_one_is_silent(self) -> None:
        """An older connection that gives no sign of life within the wait (here 2 s) is dead, the newcomer admitted.

        The older one was asked by a PING, is closed, and is one failure of that id.
        """
        name, resumer = self.fresh(), self.fresh()
        older, first = self.greeted(id=name)
        _, second = self.greeted(id=resumer)
        begun = time.monotonic()
        newcomers = [self.connect(), self.connect()]
        newcomers[0].send(hello(id=name, **QUIET))
        newcomers[1].send(hello(id=resumer, **_token(second), **QUIET))
        answers = [newcomer.frame(3.5) for newcomer in newcomers]
        for frame in answers:
            self.assertEqual(frame.magic, HELLO)
            self.assertTrue(1.8 < frame.at - begun < 2.6, frame.at - begun)
        told = [strict_object(frame.body) for frame in answers]
        self.assertEqual([one["resumed"] for one in told], [False, "resume" in second])
        self.assertNotEqual(told[0]["session"], first["session"])
        self.assertEqual(told[1]["session"] == second["session"], "resume" in second)
        newcomers[0].ping()
        self.assertEqual(self.server.in_state(name, "alive")["address"], newcomers[0].address)
        frames, _ = older.until_end(1.0)
        self.assertIn(PING, [frame.magic for frame in frames])
        self.assertEqual(len(self.server.failures(name)), 1)

    def test_ids_are_bytes(self) -> None:
        """Ids are compared byte by byte: another case or another normal form is another peer."""
        name = self.fresh()
        ids = [name, name.upper(), name + "\u00e9", name + "e\u0301"]
        for one in ids:
            peer, _ = self.greeted(id=one)
            peer.ping()
        for one in ids:
            self.server.in_state(one, "alive")
