"""The independent peer itself, one raw end against the other: a test with a blind peer proves nothing."""

from __future__ import annotations

import struct

from twisted.trial.unittest import SynchronousTestCase

from tests.real.rawpeer import (
    ACK,
    BYE,
    HELLO,
    PING,
    STALLED,
    SYNC_ACK,
    WINDOW,
    Ended,
    RawAcceptor,
    RawPeer,
    Silence,
    connect,
    digest,
    framed,
    hello,
    short,
    strict_object,
    sync,
)


class VectorTests(SynchronousTestCase):
    """The test vectors of wire.md §8 that need no key."""

    def test_frames(self) -> None:
        """The raw peer writes every frame of the table as the table has it."""
        for written, expected in [
            (short(PING, 1, 2), "48454152 0001 0002"),
            (short(ACK, 1, 2), "4841434b 0001 0002"),
            (short(SYNC_ACK, 7, 1), "4853414b 0007 0001"),
            (short(STALLED, 1500), "4853544c 000005dc"),
            (short(WINDOW, 65_536), "4857494e 00010000"),
            (BYE + struct.pack("!HH", 0, 3) + b"bye", "48425945 0000 0003 627965"),
            (
                sync(7, ["billing", "auth"]),
                "4853594e 0007 0000 3513cc171813c8dc046d68b1f2cba999 3e800000 00000e10",
            ),
        ]:
            self.assertEqual(written, bytes.fromhex(expected))
        self.assertEqual(digest([]).hex(), "d41d8cd98f00b204e9800998ecf8427e")


class ReadingTests(SynchronousTestCase):
    """What the raw peer finds in what it reads."""

    def setUp(self) -> None:
        """Two raw ends, connected."""
        acceptor = RawAcceptor()
        self.near = connect(acceptor.port)
        self.far: RawPeer = acceptor.accept()
        acceptor.close()
        self.addCleanup(self.near.close)
        self.addCleanup(self.far.close)

    def test_bytewise(self) -> None:
        """Frames are found however they were cut, each once and in order, with their numbers."""
        self.far.send_bytewise(short(PING, 65_535, 3) + hello(id="x") + sync(4, ["a"]) + short(ACK, 1, 1))
        found = [self.near.frame() for _ in range(4)]
        self.assertEqual([frame.magic for frame in found], [b"HEAR", b"HELO", b"HSYN", b"HACK"])
        self.assertEqual((found[0].seq, found[0].low), (65_535, 3))
        self.assertEqual(strict_object(found[1].body), {"v": 1, "id": "x"})
        self.assertEqual(found[2].raw, sync(4, ["a"]))

    def test_questions_are_answered(self) -> None:
        """While it waits for a frame the raw peer answers PING and SYNC, and keeps them to be looked at."""
        self.far.send(short(PING, 8, 9) + sync(5) + short(ACK, 1, 2))
        self.near.expect(ACK)
        self.assertEqual([frame.magic for frame in self.near.asked], [b"HEAR", b"HSYN"])
        self.assertEqual(self.far.frame().raw, short(ACK, 8, 9))
        self.assertEqual(self.far.frame().raw, short(SYNC_ACK, 5, 0))

    def test_farewell(self) -> None:
        """A BYE is read with its code, its reason and what came before; a frame behind it is an error."""
        bye = BYE + struct.pack("!HH", 4, 3) + b"why"
        self.far.send(short(ACK, 1, 2) + bye)
        self.far.close()
        farewell = self.near.farewell()
        self.assertEqual((farewell.code, farewell.reason), (4, "why"))
        self.assertEqual([frame.raw for frame in farewell.before], [short(ACK, 1, 2)])

    def test_frame_behind_bye(self) -> None:
        """BYE is the last frame of its sender."""
        self.far.send(BYE + struct.pack("!HH", 0, 0) + short(ACK, 1, 2))
        self.far.close()
        self.assertRaises(AssertionError, self.near.farewell)

    def test_ends(self) -> None:
        """FIN and RST are told apart, and silence from both."""
        self.assertRaises(Silence, self.near.frame, 0.05)
        self.far.close()
        self.assertEqual(self.near.until_end()[1], "fin")
        acceptor = RawAcceptor()
        near = connect(acceptor.port)
        acceptor.accept().reset()
        acceptor.close()
        self.assertEqual(self.assertRaises(Ended, near.frame).how, "reset")
        near.close()

    def test_unknown_frames(self) -> None:
        """What is no frame of wire.md, or longer than it allows, is an error of the other end."""
        for wrong in (b"HTTP/1.1 200 OK\r\n", framed(HELLO, b"", 8193), framed(b"HCFM", b"", 4097)):
            self.setUp()
            self.far.send(wrong)
            self.assertRaises(AssertionError, self.near.frame, 1.0)


class ProfileTests(SynchronousTestCase):
    """The JSON profile of wire.md §1, as the raw peer checks it."""

    def test_violations(self) -> None:
        """Everything outside the profile is found."""
        deep = b'{"a":' + b"[" * 8 + b"]" * 8 + b"}"
        for body in [
            b"",
            b"[]",
            b"\xef\xbb\xbf{}",
            b'{"a":1,"a":2}',
            b'{"a":NaN}',
            rb'{"a":"\ud800"}',
            b'{"a":"\xff"}',
            deep,
        ]:
            self.assertRaises((AssertionError, ValueError), strict_object, body)

    def test_fine(self) -> None:
        """Everything inside is taken."""
        deep = b'{"a":' + b"[" * 7 + b"]" * 7 + b"}"
        for body in [b"{}", rb'{"a":"\ud83d\ude00"}', deep, '{"ä":[1,{"b":null}]}'.encode()]:
            self.assertIsInstance(strict_object(body), dict)
