"""DATA and WINDOW between two sessions (``wire.md`` §7): beside beats, within the credit, to the end."""

from __future__ import annotations

from heartbeat.wire import frames as f
from tests.session.ends import ALL_CAPS, End, SessionTestCase, ping
from tests.session.test_stream import LEAST, credit, payload, sent


class OnTheWireTests(SessionTestCase):
    """In a session with ``data`` in force."""

    def wrapped(self, theirs: int = 65_536, **settings: int) -> End:
        """An acceptor behind its gate."""
        return self.acceptor({"caps": list(ALL_CAPS), "max_data": theirs}, caps=ALL_CAPS, **settings)

    def test_the_first_credit(self) -> None:
        """Each end's ``max_data`` is what the other may send first."""
        end = self.wrapped(theirs=70_000, max_data=20_000)
        stream = end.session.stream
        assert stream is not None
        self.assertEqual((stream.credit_in, stream.credit_out), (20_000, 70_000))

    def test_data_and_beats_together(self) -> None:
        """DATA is taken, PINGs between are answered; the account of phase two goes on."""
        end = self.wrapped()
        replies = end.read(f.Data(b"one"), ping(1), f.Data(b"two"), ping(2))
        self.assertEqual([frame for frame in replies if isinstance(frame, f.Ack)], [f.Ack(1, 7), f.Ack(2, 7)])
        stream = end.session.stream
        assert stream is not None
        self.assertEqual(stream.take() + stream.take(), b"onetwo")

    def test_data_beyond_the_credit(self) -> None:
        """Is refused at its header, before its body came."""
        end = self.wrapped(max_data=20_000)
        end.read(f.Data(b"x" * 19_000))
        end.read(b"HDAT" + (1001).to_bytes(4))
        self.assert_said(end, 2, "DATA")

    def test_credit_given_back_counts_at_once(self) -> None:
        """When the application took bytes, the peer may send as many more, in one frame or in several."""
        end = self.wrapped(max_data=20_000)
        end.read(f.Data(b"x" * 20_000))
        stream = end.session.stream
        assert stream is not None
        end.session.reply(stream.ate(20_000))
        self.assertEqual(credit(end.out()), 20_000)
        end.read(f.Data(b"y" * 12_000))
        end.read(f.Data(b"z" * 8000))
        self.assert_stays(end)

    def test_a_window(self) -> None:
        """Gives us credit; one that makes no sense is BYE 2."""
        end = self.wrapped(theirs=LEAST)
        stream = end.session.stream
        assert stream is not None
        end.read(f.Window(100))
        self.assertEqual(stream.credit_out, LEAST + 100)
        end.read(b"HWIN\0\0\0\0")
        self.assert_said(end, 2, "WINDOW")
        end = self.wrapped()
        end.read(f.Window(2**31 - 1))
        self.assert_said(end, 2, "WINDOW")

    def test_the_ends_of_both_streams(self) -> None:
        """Half-close in one direction leaves the other and the beats alone; DATA after it is BYE 2."""
        end = self.wrapped()
        end.read(f.Data(b""), ping(5))
        stream = end.session.stream
        assert stream is not None
        self.assertTrue(stream.ended_in)
        self.assert_stays(end)
        stream.send(b"answer")
        self.assertEqual(payload(sent(stream, 1000)), b"answer")
        end.read(f.Data(b"x"))
        self.assert_said(end, 2, "DATA")
        end = self.wrapped()
        end.read(f.Data(b""), f.Data(b""))
        self.assert_said(end, 2, "DATA")

    def test_data_is_a_sign_of_life_and_no_round_trip(self) -> None:
        """A peer that only sends DATA is heard, whole frames only."""
        end = self.wrapped()
        end.to(end.now + 1.0)
        end.read(f.Data(b"x"))
        self.assertEqual(end.session.liveness.heard_at, end.now)
        heard = end.now
        end.to(end.now + 1.0)
        end.take(f.Data(b"xyz").encode()[:-1])
        self.assertEqual(end.session.liveness.heard_at, heard)

    def test_without_the_capability(self) -> None:
        """Neither DATA nor WINDOW may stand there."""
        for frame in (f.Data(b"x"), f.Window(9)):
            end = self.acceptor()
            self.assertIsNone(end.session.stream)
            end.read(frame)
            self.assert_said(end, 2)
