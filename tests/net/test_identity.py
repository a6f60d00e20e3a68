"""What a connection has proved, and who takes over whom (``wire.md`` §4): with keys, on TLS, and on a plain path."""

from __future__ import annotations

import json
from typing import Any

from cryptography.fernet import Fernet

from heartbeat import Explained, HeartbeatConfig, State
from heartbeat.keys import SharedKey
from heartbeat.liveness.evidence import Ending
from heartbeat.net import HeartbeatFactory
from heartbeat.net.gate import Connectors, GatedEndpoint
from heartbeat.net.sessions import NEWER, TOKEN_LASTS
from heartbeat.session.channel import Channel
from heartbeat.session.parting import Parting
from heartbeat.wire.frames import Bye, Confirm, Hello
from tests.net.cases import HandCase
from tests.net.hand import HandTransport, hello, ping
from tests.net.test_protocol import TlsTransport
from tests.session.ends import End, Source

MEMBER, MINE, OTHERS = (SharedKey(bytes([number]) * 32) for number in range(1, 4))
EXPORTER = b"\xee" * 32
LATE = 0.05
LONGEST = 2.0
IN_USE = 6
SUPERSEDED = 7
SERVICES = ("auth",)


class Keyed:
    """A peer with a key, at the other end of a HandTransport: a session of the product, whose bytes the test moves.

    :ivar welcome: the JSON of the acceptor's CONFIRM
    """

    def __init__(self, transport: HandTransport, nonce: int, key: SharedKey, name: str | None, **members: Any) -> None:
        self.transport = transport
        self.end = End(
            connector=True, id=name, keys=(key,), nonce=f"{nonce:032x}", interval=30.0, min_interval=0.0, **members
        )

    def start(self, resume: str | None = None, last: dict[str, Any] | None = None) -> None:
        """Say HELLO, and CONFIRM when it is time."""
        self.end.session.start(self.end.now, resume, last)
        self.move()

    def move(self) -> None:
        """Bytes go to and fro until both are silent."""
        while True:
            out = self.end.out()
            if out and not self.transport.gone:
                self.transport.say(out)
            came, self.transport.sent = self.transport.sent, b""
            if not came and not out:
                return
            self.end.session.receive_data(came, self.end.now)

    @property
    def is_open(self) -> bool:
        """Its gate is, and nobody said BYE."""
        return self.end.session.gate is None and self.end.session.parting is Parting.STAY

    @property
    def heard(self) -> int | None:
        """The code of the BYE that it was told."""
        farewell = self.end.session.farewell
        return None if farewell is None else farewell.code


class IdentityCase(HandCase):
    """An acceptor with a key for members, and one for each of two ids."""

    def setUp(self) -> None:
        """A patient factory."""
        super().setUp()
        self.nonce = 0
        keys = {"*": MEMBER, "a": [MINE], "b": OTHERS}
        self.factory = self.make_factory(interval=30.0, id="server", keys=keys)

    def knock(
        self,
        key: SharedKey = MEMBER,
        name: str | None = "m",
        resume: str | None = None,
        last: dict[str, Any] | None = None,
        **members: Any,
    ) -> Keyed:
        """A newcomer with this key."""
        transport = HandTransport(self.clock, "192.0.2.1", 40000 + len(self.transports))
        self.attach(transport, self.factory)
        self.nonce += 1
        peer = Keyed(transport, self.nonce, key, name, **members)
        peer.start(resume, last)
        return peer

    def peer(self, keyed: Keyed) -> Any:
        """The acceptor's view of it."""
        return keyed.transport.protocol.heartbeat.peer


class TakeoverTests(IdentityCase):
    """One live connection per id."""

    def test_by_proof(self) -> None:
        """A newcomer that proved the id takes the session over at once, without a token; the older hears BYE 7, and
        what still comes on it is discarded."""
        older = self.knock(MINE, "a")
        self.assertTrue(older.is_open)
        session = self.peer(older).session
        newer = self.knock(MINE, "a")
        self.assertTrue(newer.is_open)
        older.move()
        self.assertEqual(older.heard, SUPERSEDED)
        self.assertEqual((self.peer(newer).session, newer.end.session.peer.session), (session, session))
        self.assertEqual(self.peer(newer).identity, "a")
        before = older.transport.protocol.driver.session.tally.pings_in
        older.transport.say(ping(7))
        self.assertEqual(older.transport.protocol.driver.session.tally.pings_in, before)
        self.assertEqual(self.notes.departures(), [("a", "superseded")])
        self.assertEqual([line for line in self.notes.lines if line[0] in ("joined", "gone")],
                         [("joined", "a"), ("gone", "a"), ("joined", "a")])  # fmt: skip
        older.transport.lose()
        self.assertTrue(newer.is_open)
        self.assertIs(self.knock(MINE, "a").end.session.gate, None)

    def test_by_token(self) -> None:
        """A member with the session's token takes it over at once, since its key is confirmed."""
        older = self.knock()
        session, token = self.peer(older).session, older.end.session.token
        newer = self.knock(resume=token)
        self.assertTrue(newer.is_open)
        older.move()
        self.assertEqual(older.heard, SUPERSEDED)
        self.assertEqual(self.peer(newer).session, session)

    def test_a_star_is_no_proof(self) -> None:
        """Who is called ``*`` has proved membership, as anybody, and takes nothing over."""
        older = self.knock(name="*")
        newer = self.knock(name="*")
        self.assertFalse(newer.is_open)
        self.assertTrue(older.is_open)
        self.assertEqual(self.peer(older).identity, "*")

    def test_those_who_wait_came_first(self) -> None:
        """Another newcomer does not overtake them when the older connection ends for another reason meanwhile: one
        connection lives in the end."""
        older = self.knock()
        first = self.knock()
        older.transport.protocol.driver.session.bye(0, "", self.clock.seconds())
        second = self.knock()
        self.assertEqual((first.is_open, second.is_open), (False, False))
        older.transport.lose()
        self.clock.advance(LATE)
        for peer in (first, second):
            peer.move()
        self.assertEqual((first.is_open, second.is_open), (True, False))

    def test_a_member_without(self) -> None:
        """Waits; an older one that answers keeps the id, and one that does not is dead."""
        older = self.knock()
        newer = self.knock()
        self.assertFalse(newer.is_open)
        self.clock.advance(LATE)
        older.move()  # it was asked, and answers
        self.clock.pump([LATE] * 3)
        newer.move()
        self.assertEqual(newer.heard, IN_USE)
        self.assertTrue(older.is_open)
        newer = self.knock()
        self.advance(LONGEST + LATE)
        newer.move()
        self.assertTrue(newer.is_open)
        self.assertEqual([name for name, _ in self.notes.deaths()], ["m"])
        self.assertNotEqual(self.peer(newer).session, self.peer(older).session)

    def test_a_foreign_token(self) -> None:
        """The token of another session, or of another id, takes nothing over."""
        token = self.knock(name="n").end.session.token
        self.knock()
        self.assertFalse(self.knock(resume=token).is_open)
        self.assertFalse(self.knock(resume="no token at all").is_open)

    def test_another_id(self) -> None:
        """With the key of ``a`` nobody is ``b``, nor takes its session over, not even with its token."""
        live = self.knock(OTHERS, "b")
        for key in (MINE, MEMBER):
            thief = self.knock(key, "b", resume=live.end.session.token)
            self.assertEqual((thief.heard, thief.is_open), (5, False))
        live.move()
        self.assertTrue(live.is_open)
        self.assertIs(self.peer(live).state, State.ALIVE)

    def test_two_newcomers_at_once(self) -> None:
        """Each that proves the id takes over from the one before, in the order in which gates would open."""
        older = self.knock(MINE, "a")
        one, two = (self.knock(MINE, "a") for _ in range(2))
        for peer in (older, one, two):
            peer.move()
        self.assertEqual((older.heard, one.heard, two.heard), (SUPERSEDED, SUPERSEDED, None))
        self.assertTrue(two.is_open)
        self.assertEqual(len({self.peer(peer).session for peer in (older, one, two)}), 1)

    def test_proof_among_those_who_wait(self) -> None:
        """Whoever shows the token while others wait comes in, and they hear that the id lives."""
        older = self.knock()
        token = older.end.session.token
        waiting = [self.knock() for _ in range(3)]
        newer = self.knock(resume=token)
        self.assertTrue(newer.is_open)
        for one in waiting:
            one.move()
            self.assertEqual(one.heard, IN_USE)
        older.move()
        self.assertEqual(older.heard, SUPERSEDED)

    def test_nothing_before_the_proof(self) -> None:
        """A HELLO that is never confirmed asks nobody, supersedes nobody and takes no token."""
        older = self.knock(MINE, "a")
        older.move()
        transport = self.connect(hello("a", nonce="12" * 16, kids=[MINE.kid], resume=older.end.session.token))
        self.assertEqual([type(frame) for frame in transport.said()], [Hello])
        self.advance(LATE)
        self.assertEqual(older.transport.sent, b"")
        transport.say(Confirm(bytes(16), b"").encode())
        self.assertEqual([frame.code for frame in transport.said() if isinstance(frame, Bye)], [8])
        older.move()
        self.assertTrue(older.is_open)


class PlainTests(HandCase):
    """Where nothing is proved."""

    def test_a_stolen_token(self) -> None:
        """On a plain path a token takes nothing over: its owner, who is alive, is not sent away by it."""
        older = self.connect(hello("a"))
        (answer,) = [json.loads(frame.body) for frame in older.said() if isinstance(frame, Hello)]
        thief = self.connect(hello("a", resume=answer["resume"]))
        self.advance(LATE, older)
        older.say(ping())
        self.advance(2 * LATE, older)
        self.assertEqual([frame.code for frame in thief.said() if isinstance(frame, Bye)], [IN_USE])
        self.assertIs(older.protocol.heartbeat.state, State.ALIVE)

    def test_not_locked_out(self) -> None:
        """His own ghost, which says nothing any more, keeps nobody out for longer than the wait."""
        ghost = self.connect(hello("a"))
        (answer,) = [json.loads(frame.body) for frame in ghost.said() if isinstance(frame, Hello)]
        owner = self.connect(hello("a", resume=answer["resume"]))
        self.advance(LONGEST + LATE)
        (told,) = [json.loads(frame.body) for frame in owner.said() if isinstance(frame, Hello)]
        self.assertEqual((told["session"], told["resumed"]), (answer["session"], True))


class TlsTests(HandCase):
    """On TLS: a token is enough, and a certificate is a proof."""

    def arrive(self, name: str | None = "a", names: tuple[str, ...] = (), **members: Any) -> TlsTransport:
        """A peer on TLS, with a certificate for these names."""
        transport = TlsTransport(self.clock, "192.0.2.1", 40000 + len(self.transports))
        protocol = self.attach(transport, self.factory)
        transport.complete()
        assert protocol.driver is not None
        protocol.driver.session.secured(Channel(True, EXPORTER, names))
        transport.say(hello(name, **members))
        return transport

    def told(self, transport: HandTransport) -> Any:
        """What its HELLO was answered: members, or the code of a BYE, or None."""
        for frame in transport.said():
            if isinstance(frame, Hello):
                return json.loads(frame.body)
            if isinstance(frame, Bye):
                return frame.code
        return None

    def test_by_token(self) -> None:
        """The session's token takes it over at once."""
        older = self.arrive()
        first = self.told(older)
        newer = self.told(self.arrive(resume=first["resume"]))
        self.assertEqual((newer["session"], newer["resumed"]), (first["session"], True))
        self.assertEqual(self.told(older), SUPERSEDED)

    def test_without(self) -> None:
        """A newcomer waits."""
        self.told(self.arrive())
        self.assertIsNone(self.told(self.arrive()))

    def test_certificates(self) -> None:
        """A certificate for ``a`` takes ``a`` over, keeps its session, and never is ``b``."""
        older = self.arrive(names=("a", "c"))
        first = self.told(older)
        newer = self.told(self.arrive(names=("a",)))
        self.assertEqual((newer["session"], newer["resumed"]), (first["session"], True))
        self.assertEqual(self.told(older), SUPERSEDED)
        self.told(self.arrive("b", names=("b",)))
        self.assertEqual(self.told(self.arrive("b", names=("a",))), 5)

    def test_no_weaker_proof(self) -> None:
        """The token of a session that was proved is nothing to whoever proves nothing: he waits like anybody."""
        first = self.told(self.arrive(names=("a",)))
        self.assertIsNone(self.told(self.arrive(resume=first["resume"])))

    def test_nor_when_it_became_stronger(self) -> None:
        """A token from before the proof does not take what was proved since."""
        weak = self.arrive()
        first = self.told(weak)
        strong = self.told(self.arrive(names=("a",)))
        self.assertEqual(strong["session"], first["session"])
        self.assertIsNone(self.told(self.arrive(resume=first["resume"])))

    def test_a_stronger_proof(self) -> None:
        """Takes a token that was given to a weaker one."""
        older = self.arrive()
        first = self.told(older)
        older.lose()
        self.assertTrue(self.told(self.arrive(names=("a",), resume=first["resume"]))["resumed"])

    def test_after_the_end(self) -> None:
        """What a session had proved counts when its connection is gone, too."""
        older = self.arrive(names=("a",))
        first = self.told(older)
        older.lose()
        self.assertFalse(self.told(self.arrive(resume=first["resume"]))["resumed"])

    def test_bare(self) -> None:
        """A bare peer is known by the first name in its certificate."""
        transport = TlsTransport(self.clock)
        protocol = self.attach(transport, self.factory)
        transport.complete()
        assert protocol.driver is not None
        protocol.driver.session.secured(Channel(True, EXPORTER, ("first", "second")))
        transport.say(ping())
        self.assertEqual((self.notes.peers[0].id, self.notes.peers[0].identity), ("first", "first"))


class TokenTests(IdentityCase):
    """A session goes on with its id, its history, its last STATE."""

    def test_it_goes_on(self) -> None:
        """Taken over by proof or by token, gone meanwhile or not."""
        older = self.knock(MINE, "a", source=Source(services=SERVICES))
        older.end.session.ping(older.end.now)
        older.move()
        self.assertEqual(self.peer(older).services, SERVICES)
        session, token = self.peer(older).session, older.end.session.token
        newer = self.knock(MINE, "a")
        self.assertEqual((self.peer(newer).session, self.peer(newer).services), (session, SERVICES))
        newer.transport.lose()
        again = self.knock(MINE, "a", resume=newer.end.session.token)
        self.assertEqual((self.peer(again).session, self.peer(again).services), (session, SERVICES))
        self.assertNotEqual(token, again.end.session.token)

    def test_a_lost_answer(self) -> None:
        """The answer with the new token may be lost, once."""
        first = self.knock()
        token, session = first.end.session.token, self.peer(first).session
        first.transport.lose()
        for times in range(NEWER + 1):
            lost = self.knock(resume=token)  # its answer never arrives, so that it shows the old token again
            self.assertEqual(self.peer(lost).session == session, times < NEWER)
            lost.transport.lose()

    def test_expired(self) -> None:
        """It is as if absent, and never a BYE."""
        first = self.knock()
        first.transport.lose()
        self.clock.advance(TOKEN_LASTS + 1)
        again = self.knock(resume=first.end.session.token)
        self.assertTrue(again.is_open)
        self.assertNotEqual(self.peer(again).session, self.peer(first).session)

    def test_a_thief_with_the_key(self) -> None:
        """Even he banishes nobody: his token is worn out when two newer ones were given out, and the owner, whose
        token he took, comes in without."""
        owner = self.knock()
        stolen = owner.end.session.token
        owner.transport.lose()
        for _ in range(NEWER):
            thief = self.knock(resume=stolen)
            thief.transport.lose()
        self.assertTrue(self.knock(resume=stolen).is_open)

    def test_new_keys(self) -> None:
        """Tokens under keys that were taken away are as if absent; connections live on."""
        first = self.knock()
        self.factory.renew_token_keys([Fernet.generate_key()])
        self.assertTrue(first.is_open)
        first.transport.lose()
        again = self.knock(resume=first.end.session.token)
        self.assertNotEqual(self.peer(again).session, self.peer(first).session)


class LastTests(IdentityCase):
    """``last`` is a claim: it touches only the record of a session of the same id with the same proof."""

    def returns(self, *, proved: bool) -> list[Any]:
        """``m`` dies, and comes back with a claim, as a member or with a key of its own; the events that tell more."""
        first = self.knock(instance="one")
        session = self.peer(first).session
        first.transport.unread = 0
        driver: Any = first.transport.protocol.driver
        driver.session.ended(Ending("reset"), self.clock.seconds())
        first.transport.lose()
        if proved:
            self.factory.config = HeartbeatConfig(
                interval=30.0, min_interval=0.0, keys={"m": MINE, "*": MEMBER}, id="server"
            )
        claim = {"session": session, "cause": "path_dead"}
        self.knock(MINE if proved else MEMBER, last=claim, instance="two")
        return self.notes.of(Explained)

    def test_the_same(self) -> None:
        """It is believed."""
        self.assertEqual(len(self.returns(proved=False)), 1)

    def test_another(self) -> None:
        """It is not."""
        self.assertEqual(self.returns(proved=True), [])


class FleetTests(IdentityCase):
    """Acceptors that share the keys of their tokens."""

    def test_the_proof_travels(self) -> None:
        """An acceptor that never saw the session still asks for the proof that its token names."""
        key = [Fernet.generate_key()]
        config = HeartbeatConfig(interval=30.0, min_interval=0.0)
        one, two = (HeartbeatFactory(config, self.notes, reactor=self.clock, token_keys=key) for _ in range(2))
        transport = TlsTransport(self.clock)
        protocol = self.attach(transport, one)
        transport.complete()
        assert protocol.driver is not None
        protocol.driver.session.secured(Channel(True, EXPORTER, ("a",)))
        transport.say(hello("a"))
        (first,) = [json.loads(frame.body) for frame in transport.said() if isinstance(frame, Hello)]
        weak = self.connect(hello("a", resume=first["resume"]), factory=two)
        (told,) = [json.loads(frame.body) for frame in weak.said() if isinstance(frame, Hello)]
        self.assertFalse(told["resumed"])


class ClientTests(HandCase):
    """What a connector with a key believes before its gate."""

    def test_superseded_before_the_gate(self) -> None:
        """BYE 7 is the one that keeps a peer away for good; unproved it does not."""
        for keys, kept in (((), True), ((MEMBER,), False)):
            connectors = Connectors(HeartbeatConfig(keys=keys), reactor=self.clock)
            endpoint = GatedEndpoint([], connectors)
            connectors.farewell = Bye(SUPERSEDED, "")
            self.assertEqual(endpoint._refusal() is not None, kept)
            connectors.farewell = Bye(2, "")
            self.assertIsNotNone(endpoint._refusal())
