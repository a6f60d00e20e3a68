"""The server process against the independent peer: frames out of their place, and what a STATE may hold.

wire.md §1, §3, §4.
"""

from __future__ import annotations

import json
import struct
from typing import Any

from tests.real.cases import ServerTestCase
from tests.real.processes import poll
from tests.real.rawpeer import (
    ACK,
    BYE,
    DATA,
    PING,
    STALLED,
    STATE,
    SYNC,
    SYNC_ACK,
    framed,
    hello,
    short,
    state,
    sync,
)

_LEAVING = BYE + struct.pack("!HH", 0, 3) + b"bye"
_WANT_STATE = 1


class OutOfPlaceTests(ServerTestCase):
    """Frames that may not stand where they stand, wire.md §1 and §4."""

    def test_data_not_agreed(self) -> None:
        """DATA, which was not agreed, gets BYE 2, at its header already; so it does when one end alone lists it."""
        for caps in ([], ["data"], ["state", "stalled", "data"]):
            self.refused(framed(DATA, b"hello"), 2, f"DATA with caps {caps}", {"caps": caps})
        self.refused(framed(DATA, b"", 1_048_576), 2, "the header of a DATA", {})
        self.refused(short(PING, 1, 1) + framed(DATA, b"hello"), 2, "DATA of a bare peer")

    def test_not_agreed(self) -> None:
        """Every other frame without its capability or key, or a second greeting, gets BYE 2."""
        for what, data in [
            ("WINDOW", short(b"HWIN", 65_536)),
            ("STATE", state(services=[])),
            ("STALLED", short(STALLED, 100)),
            ("SIGNED ACK", short(b"HACS", 1, 1) + bytes(16)),
            ("SEAL", short(b"HSEA", 0) + bytes(16)),
            ("CONFIRM", framed(b"HCFM", bytes(16))),
            ("HELLO", hello()),
        ]:
            self.refused(data, 2, f"{what} behind HELLO", {})
            self.refused(short(PING, 1, 1) + data, 2, f"{what} of a bare peer")

    def test_first_frame(self) -> None:
        """The connector's first frame is HELLO or PING: any other but BYE gets BYE 2."""
        for data in (short(ACK, 1, 1), sync(1), short(SYNC_ACK, 1, 0), state(), short(STALLED, 1), framed(DATA, b"")):
            self.assertEqual(self.refused(data, 2, f"{data!r} first").before, [])

    def test_bye_first(self) -> None:
        """A connector that leaves before it spoke is closed, and nobody is told of it."""
        before = len(self.server.failures())
        peer = self.connect()
        peer.send(_LEAVING)
        self.assertEqual(peer.until_end(), ([], "fin"))
        self.assertEqual(len(self.server.failures()), before)
        self.assertIsNone(self.server.peer(f"~{peer.address}"))

    def test_state_not_asked_for(self) -> None:
        """A STATE that was not asked for is a violation, as is a second one for the same question."""
        services = [self.fresh()]
        self.refused(state(services=services), 2, "STATE before SYNC", {"caps": ["state"]})
        self.refused(framed(STATE, b"", 9), 2, "the header of a STATE before SYNC", {"caps": ["state"]})
        twice = sync(1, services) + state(services=services) * 2
        farewell = self.refused(twice, 2, "STATE twice", {"caps": ["state"]})
        self.assertIn(short(SYNC_ACK, 1, _WANT_STATE), [frame.raw for frame in farewell.before])

    def test_unknown_magic(self) -> None:
        """Another protocol gets a BYE 2 that a person can read, before and after the gate."""
        greeted: dict[str, Any] = {}
        for members, data in [
            (None, b"GET / HTTP/1.1\r\n\r\n"),
            (None, b"HEAX" + bytes(4)),
            (greeted, b"hear" + bytes(4)),
        ]:
            farewell = self.refused(data, 2, f"{data!r}", members)
            self.assertEqual(farewell.reason, "this port speaks txheartbeat frames")

    def test_nothing_behind_bye(self) -> None:
        """What stands behind a BYE is not acted on: the peer left, and no PING is answered."""
        name = self.fresh()
        peer, _ = self.greeted(id=name)
        peer.send(_LEAVING + short(PING, 1, 1))
        frames, _ = peer.until_end()
        self.assertEqual([frame for frame in frames if frame.magic not in (PING, SYNC)], [])
        self.server.in_state(name, "left")

    def test_protocol_error_is_recorded(self) -> None:
        """A violation is one failure of that peer, protocol_error, and every other peer goes on."""
        name = self.fresh()
        other, _ = self.greeted(id=self.fresh())
        self.refused(b"HEAX" + bytes(4), 2, "unknown magic", {"id": name})
        failure = self.server.failure(name)
        self.assertEqual((failure["failure_reason"], failure["phase"]), ("protocol_error", "live"))
        self.assertEqual(len(self.server.failures(name)), 1)
        poll(lambda: (self.server.peer(name) or {}).get("state") == "dead", 2.0, f"{name} dead")
        other.ping()


class StateShapeTests(ServerTestCase):
    """What a STATE may hold, wire.md §3."""

    def test_violations(self) -> None:
        """Every member of a wrong type or over its limit gets BYE 2."""
        for what, body in [
            ("no object", b"[]"),
            ("no JSON", b"{"),
            ("a member twice", b'{"services":[],"services":[]}'),
            ("services of text", b'{"services":"a"}'),
            ("a service that is a number", b'{"services":[1]}'),
            ("an empty service", b'{"services":[""]}'),
            ("a service of 256 bytes", json.dumps({"services": ["a" * 256]}).encode()),
            ("a service with a control character", b'{"services":["a\\u0000"]}'),
            ("4097 services", json.dumps({"services": [f"{n:x}" for n in range(4097)]}).encode()),
            ("meta as a list", b'{"meta":[]}'),
            ("meta of numbers", b'{"meta":{"a":1}}'),
            ("65 meta", json.dumps({"meta": {str(n): "" for n in range(65)}}).encode()),
            ("meta of 1025 bytes", json.dumps({"meta": {"a": "b" * 1025}}).encode()),
            ("a name of 65 bytes", json.dumps({"meta": {"a" * 65: "b"}}).encode()),
            ("meta with a control character", b'{"meta":{"a":"\\u009f"}}'),
            ("progress as text", b'{"progress":"1"}'),
            ("progress true", b'{"progress":true}'),
            ("progress with a fraction", b'{"progress":1.5}'),
            ("cert_expires_s as text", b'{"cert_expires_s":"1"}'),
            ("lag_p99_ms as text", b'{"lag_p99_ms":"1"}'),
            ("lag_p99_ms NaN", b'{"lag_p99_ms":NaN}'),
            ("traceparent as a number", b'{"traceparent":1}'),
        ]:
            farewell = self.refused(sync(1, [self.fresh()]) + framed(STATE, body), 2, what, {"caps": ["state"]})
            asked = [frame for frame in farewell.before if frame.magic == SYNC_ACK]
            self.assertEqual([frame.low for frame in asked], [_WANT_STATE], what)

    def test_largest(self) -> None:
        """4096 services in one STATE, and 64 long meta, are taken."""
        for told in (
            {"services": [f"{n:x}" for n in range(4096)]},
            {"meta": {f"{n:064}": "b" * 512 for n in range(64)}},
        ):
            name = self.fresh()
            peer, _ = self.greeted(id=name, caps=["state"])
            peer.send(sync(1, [*told.get("services", []), name]))
            self.assertEqual(peer.expect(SYNC_ACK).low, _WANT_STATE)
            peer.send(framed(STATE, json.dumps(told).encode()))
            peer.ping()
            listed = self.server.peer(name)
            assert listed is not None
            self.assertEqual(len(listed["services"]), len(told.get("services", [])))
            self.assertEqual(len(listed["meta"]), len(told.get("meta", {})))
