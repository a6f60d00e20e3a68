"""After which silence an unmodified peer is given up, and what the kernel is asked to do about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from heartbeat.config import KernelOptions, check_kernel, check_seconds

__all__ = ["DETECT", "ObserveLimits", "is_probing", "probing"]

#: Seconds: nobody who adds an observer to something that exists wants to lose connections over a short outage.
DETECT: Final = 30.0
#: The handshake of TLS, as of every other connection of this library.
HANDSHAKE: Final = 10.0
#: Seconds: keepalive counts whole ones, and asks twice.
LEAST_DETECT: Final = 1.0
_DETECT: Final = (LEAST_DETECT, 3600.0)
_IDLE: Final = (0.001, 30 * 86_400.0)
_HANDSHAKE: Final = (0.001, 3600.0)
# The first keepalive after a third of the time, the next ones after a fifteenth each. These are sent only while none
# was answered, so on a path that is well they cost nothing; on one that loses a tenth of all packets, the ten of them
# that go unanswered before a verdict do not all get lost. The kernel's timers are up to an eighth late.
FIRST_PROBE: Final = 3.0
NEXT_PROBES: Final = 15.0
# The kernel gives up by itself after this many detection times, as with TCP_USER_TIMEOUT.
BACKSTOP: Final = 3.0
TIMER_LATENESS: Final = 1.125
MOST_SECONDS: Final = 32_767
MOST_PROBES: Final = 127


def probing(detect: float) -> KernelOptions:
    """The kernel options by which an idle path is probed often enough to be judged within ``detect`` seconds.

    TCP_NODELAY is left to the application. Change some with :func:`dataclasses.replace`: without ``keepalive`` an idle
    path is not judged, without ``user_timeout`` a peer may refuse to read for as long as it likes.
    """
    first = min(max(1, int(detect / FIRST_PROBE)), MOST_SECONDS)
    following = min(max(1, int(detect / NEXT_PROBES)), MOST_SECONDS)
    count = math.ceil(max(0.0, BACKSTOP * detect - first) / following) + 1
    return KernelOptions(
        nodelay=False,
        keepalive=True,
        keepalive_idle=first,
        keepalive_interval=following,
        keepalive_count=min(count, MOST_PROBES),
    )


def is_probing(options: KernelOptions, detect: float) -> bool:
    """Whether a kernel with these options asks an idle peer so soon that its silence counts from the last answer on.

    Otherwise it counts from the first question on: an hour in which nobody was asked is no silence.
    """
    idle = options.keepalive_idle
    return options.keepalive and idle is not None and TIMER_LATENESS * idle <= max(detect / 2.0, TIMER_LATENESS)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObserveLimits:
    """Seconds are floats.

    :ivar detect: after which silence of its host a peer is dead, 1 to 3600
    :ivar idle: after which silence of its application, 0.001 s to 30 days; None: it may be silent for ever
    :ivar handshake_timeout: until the handshake of TLS is done; None: it may take as long as it likes
    :ivar kernel: options for the kernel
    :raises ConfigError: names the field and the value
    """

    detect: float = DETECT
    idle: float | None = None
    handshake_timeout: float | None = HANDSHAKE
    kernel: KernelOptions | None = None

    def __post_init__(self) -> None:
        check_seconds("detect", self.detect, *_DETECT)
        if self.idle is not None:
            check_seconds("idle", self.idle, *_IDLE)
        if self.handshake_timeout is not None:
            check_seconds("handshake_timeout", self.handshake_timeout, *_HANDSHAKE)
        if self.kernel is not None:
            check_kernel("kernel", self.kernel)

    @property
    def options(self) -> KernelOptions:
        """What the kernel is asked for: what was given, or what suits the detection time."""
        return self.kernel if self.kernel is not None else probing(self.detect)
