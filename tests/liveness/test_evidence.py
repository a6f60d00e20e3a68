"""Evidence: frozen values, and the kernel's structure read by its length."""

from __future__ import annotations

import ctypes
import json
import socket
import sys
from dataclasses import FrozenInstanceError, fields

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.evidence import Ending, Evidence, TcpInfo

#: ``struct tcp_info`` up to Linux 6.7, transcribed from ``include/uapi/linux/tcp.h``: type, then fields.
LAYOUT = """
    u8  state ca_state retransmits probes backoff options wscale flags
    u32 rto ato snd_mss rcv_mss unacked sacked lost retrans fackets
    u32 last_data_sent last_ack_sent last_data_recv last_ack_recv
    u32 pmtu rcv_ssthresh rtt rttvar snd_ssthresh snd_cwnd advmss reordering rcv_rtt rcv_space total_retrans
    u64 pacing_rate max_pacing_rate bytes_acked bytes_received
    u32 segs_out segs_in notsent_bytes min_rtt data_segs_in data_segs_out
    u64 delivery_rate busy_time rwnd_limited sndbuf_limited
    u32 delivered delivered_ce
    u64 bytes_sent bytes_retrans
    u32 dsack_dups reord_seen rcv_ooopack snd_wnd rcv_wnd rehash
    u16 total_rto total_rto_recoveries
    u32 total_rto_time
"""
TYPES = {"u8": ctypes.c_uint8, "u16": ctypes.c_uint16, "u32": ctypes.c_uint32, "u64": ctypes.c_uint64}
ROWS = [row.split() for row in LAYOUT.strip().splitlines()]


class KernelTcpInfo(ctypes.Structure):
    """The structure itself, laid out by the C compiler's rules."""

    _fields_ = [(name, TYPES[kind]) for kind, *names in ROWS for name in names]


#: Our name → the kernel's, and by what the kernel's number is divided to give ours.
FIELDS = {
    "state": ("state", 1),
    "retransmits": ("retransmits", 1),
    "probes": ("probes", 1),
    "backoff": ("backoff", 1),
    "rto": ("rto", 1e6),
    "unacked": ("unacked", 1),
    "last_data_recv": ("last_data_recv", 1e3),
    "last_ack_recv": ("last_ack_recv", 1e3),
    "rtt": ("rtt", 1e6),
    "rtt_variation": ("rttvar", 1e6),
    "total_retrans": ("total_retrans", 1),
    "bytes_acked": ("bytes_acked", 1),
    "bytes_received": ("bytes_received", 1),
    "notsent": ("notsent_bytes", 1),
    "snd_wnd": ("snd_wnd", 1),
    "snd_mss": ("snd_mss", 1),
    "retrans": ("retrans", 1),
    "last_data_sent": ("last_data_sent", 1e3),
    "pmtu": ("pmtu", 1),
    "min_rtt": ("min_rtt", 1e6),
    "ato": ("ato", 1e6),
    "delivered": ("delivered", 1),
}


def distinct() -> KernelTcpInfo:
    """A structure in which no two fields have the same number."""
    numbers = {name: 17 * index + 3 for index, name in enumerate(each for _, *names in ROWS for each in names)}
    for index, name in enumerate(("state", "ca_state", "retransmits", "probes", "backoff")):
        numbers[name] = 200 + index  # must fit into a byte
    for name in ("options", "wscale", "flags"):
        numbers[name] = 0
    return KernelTcpInfo(**numbers)


class ParseTests(SynchronousTestCase):
    """:meth:`TcpInfo.parse`."""

    def test_every_field_is_the_kernels(self) -> None:
        """Each of ours is read from where the kernel's structure has it, in seconds where it is a time."""
        kernel = distinct()
        info = TcpInfo.parse(bytes(kernel))
        self.assertEqual({field.name for field in fields(TcpInfo)}, set(FIELDS))
        for ours, (theirs, unit) in FIELDS.items():
            self.assertEqual(getattr(info, ours), getattr(kernel, theirs) / unit, ours)

    def test_every_length(self) -> None:
        """A field is there when the structure is long enough for all of its bytes, and None otherwise."""
        kernel = distinct()
        whole = bytes(kernel) + bytes(16)
        self.assertEqual(ctypes.sizeof(kernel), 248)
        for length in range(257):
            info = TcpInfo.parse(whole[:length])
            if length < 8:
                self.assertIsNone(info)
                continue
            for ours, (theirs, unit) in FIELDS.items():
                place = getattr(KernelTcpInfo, theirs)
                known = place.offset + place.size <= length
                self.assertEqual(getattr(info, ours), getattr(kernel, theirs) / unit if known else None, (ours, length))

    @settings(deadline=None)
    @given(st.binary(max_size=300))
    def test_any_bytes(self, raw: bytes) -> None:
        """What another kernel says never raises, and never gives a negative number."""
        info = TcpInfo.parse(raw)
        if info is None:
            self.assertLess(len(raw), 8)
            return
        for field in fields(info):
            value = getattr(info, field.name)
            self.assertTrue(value is None or value >= 0, field.name)

    def test_the_running_kernel(self) -> None:
        """An established connection over loopback looks like one."""
        with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as end:
            other, _ = server.accept()
            with other:
                end.sendall(b"HEAR\x00\x01\x00\x02")
                self.assertEqual(other.recv(8), b"HEAR\x00\x01\x00\x02")
                info = TcpInfo.parse(other.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256))
        assert info is not None
        self.assertEqual((info.state, info.retransmits, info.backoff, info.total_retrans), (1, 0, 0, 0))
        self.assertTrue(info.rto is not None and 0.0 < info.rto < 10.0, info)
        self.assertTrue(info.rtt is not None and 0.0 <= info.rtt < 5.0, info)
        self.assertTrue(info.last_data_recv is not None and 0.0 <= info.last_data_recv < 60.0, info)
        self.assertIn(info.bytes_received, (8, None))
        self.assertIn(info.notsent, (0, None))

    if sys.platform != "linux":
        test_the_running_kernel.skip = "only Linux has this structure"  # type: ignore[attr-defined]  # trial reads it


class ValueTests(SynchronousTestCase):
    """The values themselves."""

    def test_they_cannot_change(self) -> None:
        """Evidence is kept with the verdict: nobody edits it afterwards."""
        for value, name in (
            (Evidence(1.0), "at"),
            (TcpInfo(state=1, retransmits=0, probes=0, backoff=0), "state"),
            (Ending("eof"), "how"),
        ):
            self.assertRaises(FrozenInstanceError, setattr, value, name, 2)
            self.assertFalse(hasattr(value, "__dict__"))

    def test_what_was_not_seen_is_not_shown(self) -> None:
        """JSON has the observed fields only; zero and False are observations."""
        self.assertEqual(Evidence(1.5).as_json(), {"at": 1.5})
        seen = Evidence(1.5, unread=0, reading=False, lag=0.0, error="ECONNRESET", handed_over="guess").as_json()
        expected = {"at": 1.5, "unread": 0, "reading": False, "error": "ECONNRESET", "lag": 0.0, "handed_over": "guess"}
        self.assertEqual(seen, expected)

    def test_the_kernels_view_in_json(self) -> None:
        """It stands inside, without what this kernel does not have."""
        info = TcpInfo(state=1, retransmits=2, probes=0, backoff=2, unacked=1)
        shown = Evidence(3.0, tcp=info, detail="silent").as_json()
        self.assertEqual(shown["tcp"], {"state": 1, "retransmits": 2, "probes": 0, "backoff": 2, "unacked": 1})
        self.assertEqual(shown["detail"], "silent")

    def test_it_is_plain_json(self) -> None:
        """All fields together survive ``json``."""
        info = TcpInfo.parse(bytes(distinct()))
        full = Evidence(1.0, 2, 3, 4, True, 5, info, "EPIPE", 0.5, "exact", "silent").as_json()
        self.assertEqual(json.loads(json.dumps(full, allow_nan=False)), full)
        self.assertEqual(len(full), len(fields(Evidence)))
