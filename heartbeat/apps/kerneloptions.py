"""The options of both commands that go to the kernel, for each connection."""

from __future__ import annotations

from typing import Final, Literal

from heartbeat.apps.kinds import Keepalive, SecondsOr
from heartbeat.apps.options import Setting, When
from heartbeat.config import KernelOptions

__all__ = ["FIELDS", "Probes", "UserTimeout", "kernel_options", "kernel_settings"]

#: What ``--keepalive`` gives: idle, interval, count; None for those that the kernel knows best.
Probes = tuple[int, int | None, int | None] | None
#: What ``--user-timeout`` gives.
UserTimeout = float | Literal["auto"] | None

#: From a field of :class:`~heartbeat.config.KernelOptions` to that of the setting that it comes from, for complaints.
FIELDS: Final = dict.fromkeys(("keepalive_idle", "keepalive_interval", "keepalive_count"), "keepalive")
# A day; KernelOptions says the same.
DAY: Final = 86_400.0


def kernel_settings(when: When) -> tuple[Setting, ...]:
    """The settings; ``when``: from when on a change counts."""
    return (
        Setting(
            name="keepalive",
            kind=Keepalive(),
            when=when,
            doc="TCP keepalive: seconds of idleness, between probes, and how many; for links that are idle by design; "
            "default: none",
        ),
        Setting(
            name="user-timeout",
            kind=SecondsOr(0.001, DAY, {"auto": "auto", "none": None}),
            default="auto",
            when=when,
            doc="TCP_USER_TIMEOUT: the kernel gives up data that is not acknowledged for so long; auto: three times "
            "the detection time; never before the verdict",
        ),
        Setting(
            name="rto-max",
            kind=SecondsOr(1.0, 120.0, {"none": None}),
            when=when,
            doc="TCP_RTO_MAX_MS: the longest pause between two retransmissions (Linux 6.15); default: none",
        ),
    )


def kernel_options(keepalive: Probes, user_timeout: UserTimeout, rto_max: float | None) -> KernelOptions:
    """What they come to. Raises ConfigError that names a field of KernelOptions; see :data:`FIELDS`."""
    idle, interval, count = (None, None, None) if keepalive is None else keepalive
    return KernelOptions(
        keepalive=keepalive is not None,
        keepalive_idle=idle,
        keepalive_interval=interval,
        keepalive_count=count,
        user_timeout=user_timeout,
        rto_max=rto_max,
    )
