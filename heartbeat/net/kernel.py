"""What the kernel can say about a connection and be told. Everything here exists only on some platforms.

With ``HEARTBEAT_NO_KERNEL=1`` in the environment nothing of it exists: so the tests see what other platforms see.
"""

from __future__ import annotations

import os
import socket
import struct
from typing import Final, Literal

from heartbeat.config import KernelOptions
from heartbeat.liveness.evidence import Evidence, TcpInfo

try:
    import fcntl
    import termios
except ImportError:  # Windows
    FIONREAD = TIOCOUTQ = None
else:
    FIONREAD = getattr(termios, "FIONREAD", None)  # SIOCINQ on Linux
    TIOCOUTQ = getattr(termios, "TIOCOUTQ", None)  # SIOCOUTQ on Linux

__all__ = ["Applied", "apply_options", "limit_unsent", "look", "tcp_info"]

ENABLED: Final = os.environ.get("HEARTBEAT_NO_KERNEL", "") in ("", "0")
# Newer kernels fill more of the structure; we read 232 bytes of it.
INFO_SIZE: Final = 256
_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None) if ENABLED else None
_INT: Final = struct.Struct("i")
# On a connection that carries DATA a beat waits behind this much in the kernel (wire.md §7).
MOST_UNSENT: Final = 16 * 1024
_NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None) if ENABLED else None

#: What became of an option.
Applied = Literal["applied", "refused", "not available"]


def tcp_info(sock: socket.socket) -> TcpInfo | None:
    """The kernel's view of a TCP connection; None where there is none."""
    if _TCP_INFO is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return None
    try:
        return TcpInfo.parse(sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, INFO_SIZE))
    except OSError:
        return None


def look(sock: socket.socket, now: float, *, waiting: int | None = None, reading: bool = True) -> Evidence:
    """What can be observed of a socket now. Closed, foreign or unsupported: the fields stay None."""
    return Evidence(
        now,
        unread=_count(sock, FIONREAD),
        waiting=waiting,
        outq=_count(sock, TIOCOUTQ),
        reading=reading,
        tcp=tcp_info(sock),
    )


def _count(sock: socket.socket, request: int | None) -> int | None:
    if not ENABLED or request is None:
        return None
    try:
        return int(_INT.unpack(fcntl.ioctl(sock.fileno(), request, bytes(_INT.size)))[0])
    except (OSError, ValueError):  # closed meanwhile
        return None


def apply_options(sock: socket.socket, options: KernelOptions) -> dict[str, Applied]:
    """Set the options on a TCP socket; says for each that was asked for what became of it."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return {}
    tcp = socket.IPPROTO_TCP
    wanted: list[tuple[str, int, str, int | None]] = [
        ("nodelay", tcp, "TCP_NODELAY", 1 if options.nodelay else None),
        ("keepalive", socket.SOL_SOCKET, "SO_KEEPALIVE", 1 if options.keepalive else None),
        ("keepalive_idle", tcp, "TCP_KEEPIDLE", options.keepalive_idle),
        ("keepalive_interval", tcp, "TCP_KEEPINTVL", options.keepalive_interval),
        ("keepalive_count", tcp, "TCP_KEEPCNT", options.keepalive_count),
    ]
    report: dict[str, Applied] = {}
    for name, level, constant, value in wanted:
        if value is None:
            continue
        number = getattr(socket, constant, None)
        if number is None:
            report[name] = "not available"
            continue
        try:
            sock.setsockopt(level, number, value)
        except OSError:
            report[name] = "refused"
        else:
            report[name] = "applied"
    return report


def limit_unsent(sock: socket.socket) -> Applied:
    """Let the kernel of a TCP connection refuse more while 16 KiB are unsent: beats do not wait behind megabytes."""
    if _NOTSENT_LOWAT is None or sock.family not in (socket.AF_INET, socket.AF_INET6):
        return "not available"
    try:
        sock.setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, MOST_UNSENT)
    except OSError:
        return "refused"
    return "applied"
