"""What the kernel can say about a connection and be told. Everything here exists only on some platforms.

With ``HEARTBEAT_NO_KERNEL=1`` in the environment nothing of it exists: so the tests see what other platforms see.
"""

from __future__ import annotations

import errno
import math
import os
import socket
import struct
import sys
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

__all__ = [
    "NOT_AVAILABLE", "Applied", "apply_options", "apply_timeouts", "limit_unsent", "look", "tcp_info", "timeouts",
    "unsent", "wanted",
]  # fmt: skip

ENABLED: Final = os.environ.get("HEARTBEAT_NO_KERNEL", "") in ("", "0")
# Newer kernels fill more of the structure; we read 232 bytes of it.
INFO_SIZE: Final = 256
_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None) if ENABLED else None
_ZERO: Final = bytes(struct.calcsize("i"))
# On a connection that carries DATA a beat waits behind this much in the kernel (wire.md §7).
MOST_UNSENT: Final = 16 * 1024
_NOTSENT_LOWAT: Final[int | None] = getattr(socket, "TCP_NOTSENT_LOWAT", None) if ENABLED else None

# Linux's SIOCOUTQNSD; Python has no name for it.
_NOT_SENT: Final[int | None] = 0x894B if sys.platform == "linux" else None

#: What became of an option.
Applied = Literal["applied", "refused", "not available"]
NOT_AVAILABLE: Final[Applied] = "not available"
# TCP_RTO_MAX_MS of Linux 6.15 and later; Python has no name for it.
RTO_MAX_MS: Final[int | None] = 44 if sys.platform == "linux" else None
# The kernel takes an int.
MOST_MS: Final = 2**31 - 1
# How a kernel says that it has never heard of an option.
_UNKNOWN: Final = (errno.ENOPROTOOPT, errno.EOPNOTSUPP)


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


def unsent(sock: socket.socket) -> int | None:
    """Bytes of a TCP connection that the kernel has taken and not sent; None where it cannot say."""
    return _count(sock, _NOT_SENT)


def _count(sock: socket.socket, request: int | None) -> int | None:
    if not ENABLED or request is None:
        return None
    try:
        return int.from_bytes(fcntl.ioctl(sock.fileno(), request, _ZERO), sys.byteorder)
    except (OSError, ValueError):  # closed meanwhile
        return None


def wanted(options: KernelOptions) -> dict[str, tuple[int, str, int]]:
    """What is asked for at once: level, name of the constant and value, by the name of the option."""
    tcp, sock = socket.IPPROTO_TCP, socket.SOL_SOCKET
    every: dict[str, tuple[int, str, int | None]] = {
        "nodelay": (tcp, "TCP_NODELAY", 1 if options.nodelay else None),
        "keepalive": (sock, "SO_KEEPALIVE", 1 if options.keepalive else None),
        "keepalive_idle": (tcp, "TCP_KEEPIDLE", options.keepalive_idle),
        "keepalive_interval": (tcp, "TCP_KEEPINTVL", options.keepalive_interval),
        "keepalive_count": (tcp, "TCP_KEEPCNT", options.keepalive_count),
    }
    return {name: (level, constant, value) for name, (level, constant, value) in every.items() if value is not None}


def timeouts(options: KernelOptions) -> tuple[str, ...]:
    """What is asked for when the detection time is known."""
    asked = (("user_timeout", options.user_timeout), ("rto_max", options.rto_max))
    return tuple(name for name, value in asked if value is not None)


def apply_options(sock: socket.socket, options: KernelOptions) -> dict[str, Applied]:
    """Set the options on a TCP socket but for the timeouts; says of each that was asked for what became of it."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return {}
    return {
        name: _set(sock, level, getattr(socket, constant, None), value)
        for name, (level, constant, value) in wanted(options).items()
    }


def apply_timeouts(sock: socket.socket, user_timeout: float, rto_max: float | None) -> dict[str, Applied]:
    """Set after which time without acknowledgement the kernel gives a connection up, and how it paces its attempts.

    :param user_timeout: TCP_USER_TIMEOUT, seconds
    :param rto_max: TCP_RTO_MAX_MS, seconds; not set where the user timeout was not: alone it makes the kernel give up
        after 15 attempts of this length, whatever else was agreed (facts K0.8)
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return {}
    tcp = socket.IPPROTO_TCP
    report = {"user_timeout": _set(sock, tcp, getattr(socket, "TCP_USER_TIMEOUT", None), _ms(user_timeout))}
    if rto_max is not None:
        bounded = report["user_timeout"] == "applied"
        report["rto_max"] = _set(sock, tcp, RTO_MAX_MS, _ms(rto_max)) if bounded else NOT_AVAILABLE
    return report


def _set(sock: socket.socket, level: int, option: int | None, value: int) -> Applied:
    if option is None or not ENABLED:
        return NOT_AVAILABLE
    try:
        sock.setsockopt(level, option, value)
    except OSError as error:
        return NOT_AVAILABLE if error.errno in _UNKNOWN else "refused"
    return "applied"


def _ms(seconds: float) -> int:
    return min(math.ceil(seconds * 1000.0), MOST_MS)


def limit_unsent(sock: socket.socket) -> Applied:
    """Let the kernel of a TCP connection refuse more while 16 KiB are unsent: beats do not wait behind megabytes."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return NOT_AVAILABLE
    return _set(sock, socket.IPPROTO_TCP, _NOTSENT_LOWAT, MOST_UNSENT)
