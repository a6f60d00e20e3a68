"""The server process against an independent peer with a shared key. wire.md §4, §5."""

from __future__ import annotations

import functools
import os
import shutil
import signal
import socket
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import trustme
from twisted.trial.unittest import SynchronousTestCase

from tests.real.cases import QUIET
from tests.real.processes import Agent, Server, poll
from tests.real.rawkey import KEY, KID, KeyedPeer, TlsSocket
from tests.real.rawpeer import ACK, BYE, PING, SIGNED_ACK, SYNC_ACK, Ended, RawAcceptor, RawPeer, short, sync

OTHER_KEY = bytes(range(100, 132))
USUAL = f"{KEY.hex()}\ngateway-7 {OTHER_KEY.hex()}\n"


class Keyed:
    """A server process with keys, for members and one for ``gateway-7``; it runs until the tests end.

    :ivar keys: its key file
    :ivar port: where it listens
    """

    def __init__(self, tls: bool) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="hb-")
        folder = Path(self._folder.name)
        self.keys = folder / "keys"
        self.write(USUAL)
        listen: tuple[str, ...] = ()
        if tls:
            issued = trustme.CA().issue_cert("localhost")
            issued.cert_chain_pems[0].write_to_path(folder / "certificate")
            issued.private_key_pem.write_to_path(folder / "private")
            files = f"certKey={folder}/certificate:privateKey={folder}/private"
            listen = ("--listen", f"ssl:0:interface=127.0.0.1:{files}")
        self.process = Server(*listen, "--shared-key", str(self.keys), "--ping-interval", "0.3")
        self.port = int(self.process.find(r"listening heartbeat tls \S+:(\d+)")[1]) if tls else self.process.port

    def write(self, text: str) -> None:
        """The key file."""
        self.keys.write_text(text)
        self.keys.chmod(0o600)


@functools.cache
def keyed_server(tls: bool) -> Keyed:
    """One for all tests on TLS, and one for all others."""
    return Keyed(tls)


class KeyedCase(SynchronousTestCase):
    """Tests against such a server; it has printed no traceback when they end."""

    tls: ClassVar[bool] = False

    def setUp(self) -> None:
        """Find it."""
        self.keyed = keyed_server(self.tls)
        self.server = self.keyed.process
        self.addCleanup(lambda: self.assertEqual(self.server.complaints(), []))

    def peer(self, key: bytes = KEY) -> KeyedPeer:
        """A connection, on TLS or not."""
        sock: Any = socket.create_connection(("127.0.0.1", self.keyed.port), 5.0)
        peer = KeyedPeer(TlsSocket(sock) if self.tls else sock, key)
        self.addCleanup(peer.close)
        return peer

    def fresh(self) -> str:
        """An id that no other test uses."""
        return f"raw-{os.urandom(4).hex()}"


class PlainTests(KeyedCase):
    """Without TLS: everything is sealed."""

    def test_a_conversation(self) -> None:
        """CONFIRM both ways, then beats and states in both directions; the server lists what was proved."""
        name = self.fresh()
        peer = self.peer()
        answer, welcome = peer.prove(id=name, min_rx_ms=10)
        self.assertEqual(answer["kid"], KID)
        self.assertTrue(welcome["session"])
        self.assertIs(welcome["resumed"], False)
        self.assertLessEqual(len(welcome["resume"]), 1024)
        for seq in range(5):
            peer.beat(seq)
        peer.say(sync(1, ["auth"]))
        frame = peer.attend_until(SYNC_ACK)
        self.assertEqual(frame.seq, 1)
        for _ in range(2):
            peer.attend_until(PING)
        listed = self.server.in_state(name, "alive")
        self.assertEqual(listed["identity"], "*")

    def test_a_key_of_its_own(self) -> None:
        """Proves the id that it is listed under, and no other; that id is given to no member."""
        peer = self.peer(OTHER_KEY)
        peer.prove(id="gateway-7", **QUIET)
        self.assertEqual(self.server.in_state("gateway-7", "alive")["identity"], "gateway-7")
        for key, name in ((OTHER_KEY, self.fresh()), (KEY, "gateway-7")):
            self.assertRaisesRegex(Ended, "BYE 5", self.peer(key).prove, id=name)
        peer.beat(1)

    def test_takeover(self) -> None:
        """Who proved the id takes its session over at once, and the older connection hears a sealed BYE 7."""
        older, newer = self.peer(OTHER_KEY), self.peer(OTHER_KEY)
        _, first = older.prove(id="gateway-7", **QUIET)
        _, second = newer.prove(id="gateway-7", **QUIET)
        self.assertEqual(second["session"], first["session"])
        frame = older.attend_until(BYE)
        self.assertEqual(frame.seq, 7)
        newer.beat(1)

    def test_who_has_no_key(self) -> None:
        """Is told nothing but BYE 5: neither a bare peer, nor one that names no key of ours."""
        peer = self.peer()
        peer.send(short(PING, 1, 2))
        self.assertRaisesRegex(Ended, "BYE 5", peer.due, ACK)
        for kids in ([], ["0123456789abcdef"], ...):
            self.assertRaisesRegex(Ended, "BYE 5", self.peer().greeting, id=self.fresh(), kids=kids)

    def test_false_tags(self) -> None:
        """A false CONFIRM, a PING without a SEAL, with a false one, or one said twice: BYE 8, and the cause."""
        peer = self.peer()
        said, heard = peer.greeting(id=self.fresh())
        peer.send(peer.confirmation(said + b" ", heard))
        self.assertRaisesRegex(Ended, "BYE 8", peer.due, ACK)
        for kind in ("missing", "false", "repeated", "harvest"):
            name = self.fresh()
            peer = self.peer()
            peer.prove(id=name, **QUIET)
            peer.beat(1)
            sealed = peer.sealed(short(PING, 2, 2))
            if kind == "missing":
                peer.send(sealed[:8] + sealed)
            elif kind == "false":
                peer.send(sealed[:-1] + bytes([sealed[-1] ^ 1]))
            elif kind == "repeated":
                peer.send(sealed + sealed)
                self.assertEqual(peer.attend_until(SIGNED_ACK).seq, 2)
            else:
                peer.send(short(PING, 9, 9) * 3)
            self.assertEqual(peer.attend_until(BYE).seq, 8, kind)
            peer.close()
            self.assertEqual(self.server.failure(name)["failure_reason"], "intercepted", kind)

    def test_a_replay(self) -> None:
        """All bytes of a connection, said once more: BYE 8 at its CONFIRM."""
        peer = self.peer()
        said, heard = peer.greeting(id=self.fresh(), **QUIET)
        whole = said + peer.confirmation(said, heard) + peer.sealed(short(PING, 1, 2))
        again = self.peer()
        again.send(whole[: len(said)])
        again.due(b"HELO")
        again.send(whole[len(said) :])
        self.assertRaisesRegex(Ended, "BYE 8", again.due, ACK)

    def test_reload(self) -> None:
        """SIGHUP reads the keys again: the old connection lives, a peer with the new key comes in, and one with a key
        that was taken away does not; a wrong file changes nothing."""
        server = self.server
        peer = self.peer()
        peer.prove(id=self.fresh(), **QUIET)
        new = os.urandom(32)
        self.addCleanup(self.reloaded, USUAL, "reloaded: shared-key")
        self.reloaded(f"{new.hex()}\n", "reloaded: shared-key")
        self.peer(new).prove(id=self.fresh(), **QUIET)
        self.assertRaisesRegex(Ended, "BYE 5", self.peer(KEY).prove, id=self.fresh())
        peer.beat(1)
        self.keyed.keys.chmod(0o644)
        at = len(server.lines)
        server.signal(signal.SIGHUP)
        poll(lambda: [one for one in server.lines[at:] if "has mode 0644" in one], 5.0, "a line about the file")
        self.keyed.keys.chmod(0o600)
        self.peer(new).prove(id=self.fresh(), **QUIET)
        self.assertFalse([line for line in server.lines if new.hex()[:16] in line or KEY.hex()[:16] in line])

    def reloaded(self, text: str, line: str) -> None:
        """Write the key file, and wait until it was read."""
        server = self.server
        self.keyed.write(text)
        at = len(server.lines)
        server.signal(signal.SIGHUP)
        poll(lambda: [one for one in server.lines[at:] if line in one], 5.0, line)


class TlsTests(KeyedCase):
    """On TLS: tags are bound to the connection, and nothing but answers is signed."""

    tls = True

    def test_a_conversation(self) -> None:
        """CONFIRM and SIGNED ACK both ways, and no SEAL."""
        name = self.fresh()
        peer = self.peer()
        peer.prove(id=name, min_rx_ms=10)
        for seq in range(5):
            peer.beat(seq)
        peer.attend_until(PING)
        listed = self.server.in_state(name, "alive")
        self.assertEqual((listed["identity"], listed["transport"]), ("*", "tls"))

    def test_another_connection(self) -> None:
        """A CONFIRM that is bound to another TLS connection is false."""
        peer = self.peer()
        peer.exporter = os.urandom(32)
        self.assertRaisesRegex(Ended, "BYE 8", peer.prove, id=self.fresh())


class AgentTests(SynchronousTestCase):
    """The agent process against an independent acceptor."""

    def test_an_acceptor_without_the_key(self) -> None:
        """The agent names its key, and opens no gate to who cannot prove it: BYE 5, and no beat."""
        acceptor = RawAcceptor()
        self.addCleanup(acceptor.close)
        folder = Path(tempfile.mkdtemp(prefix="hb-"))
        self.addCleanup(shutil.rmtree, folder)
        keys = folder / "keys"
        keys.write_text(KEY.hex())
        keys.chmod(0o600)
        agent = Agent(acceptor.port, "--id", "a", "--shared-key", str(keys))
        self.addCleanup(agent.kill)
        peer: RawPeer = acceptor.accept()
        self.addCleanup(peer.close)
        frame = peer.frame(10.0)
        self.assertIn(KID.encode(), frame.body)
        peer.send(b"HELO" + (8).to_bytes(4, "big") + b'{"v": 1}')
        farewell = peer.farewell()
        self.assertEqual((farewell.code, farewell.before), (5, []))
        self.assertNotIn(KEY.hex()[:16], "".join(agent.lines))
