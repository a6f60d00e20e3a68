"""The kernel options of each connection: set in two steps, reported to whoever asks, complained of once.

Theory of operation. Most options are set when the transport is there (:meth:`KernelReports.connected`). The two times
after which the kernel itself gives a connection up wait until the gate opens (:meth:`KernelReports.opened`), because
only then is it agreed after which silence we give the peer up: the kernel is the backstop behind that verdict and must
never come before it. There are as many reports as there are fates, not as there are connections.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.interfaces import ITCPTransport
from twisted.logger import Logger

from heartbeat.liveness.detectors import MOST
from heartbeat.net import kernel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.config import KernelOptions
    from heartbeat.liveness.liveness import Liveness
    from heartbeat.net.link import Link

__all__ = ["KernelReports", "user_timeout"]

log = Logger()
# Unacknowledged data is given up by the kernel after this many detection times. Below that it kills peers that live
# and keep their window closed for a while (facts K0.7).
BACKSTOP: Final = 3.0


class KernelReports:
    """Sets the options of the connections of one factory. Equal reports are one object."""

    def __init__(self) -> None:
        self._shared: dict[tuple[tuple[str, str], ...], Mapping[str, str]] = {}
        self._told: set[tuple[str, str]] = set()

    def connected(self, link: Link, options: KernelOptions) -> Mapping[str, str]:
        """A transport is there. Returns what became of each option; next: :meth:`opened`, when its gate opens."""
        sock: Any = getattr(link, "socket", None)
        if sock is not None:
            return self._report(kernel.apply_options(sock, options))
        if ITCPTransport.providedBy(link.transport):  # behind a wrapper, haproxy's for one
            report: dict[str, str] = dict.fromkeys(kernel.wanted(options), kernel.NOT_AVAILABLE)
            if options.nodelay and kernel.ENABLED:
                link.transport.setTcpNoDelay(True)
                report["nodelay"] = "applied"
            return self._report(report)
        return self._report({})

    def opened(
        self, link: Link, options: KernelOptions, judge: Liveness, so_far: Mapping[str, str]
    ) -> Mapping[str, str]:
        """A gate opened, so the detection time is agreed.

        :param so_far: what :meth:`connected` said
        """
        seconds = user_timeout(options, judge)
        if seconds is None:
            return so_far
        sock: Any = getattr(link, "socket", None)
        if sock is not None:
            return self._report({**so_far, **kernel.apply_timeouts(sock, seconds, options.rto_max)})
        if ITCPTransport.providedBy(link.transport):
            return self._report({**so_far, **dict.fromkeys(kernel.timeouts(options), kernel.NOT_AVAILABLE)})
        return so_far

    def _report(self, report: Mapping[str, str]) -> Mapping[str, str]:
        key = tuple(report.items())
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = MappingProxyType(dict(report))
            self._complain(report)
        return shared

    def _complain(self, report: Mapping[str, str]) -> None:
        """Say what did not work, once for each option: a refusal is a fault of the settings, a lack is none."""
        for name, became in report.items():
            if became == "applied" or (name, became) in self._told:
                continue
            self._told.add((name, became))
            if became == "refused":
                log.warn("the kernel refuses the option {option}", option=name)
            else:
                log.debug("the option {option} is not available here", option=name)


def user_timeout(options: KernelOptions, judge: Liveness) -> float | None:
    """TCP_USER_TIMEOUT in seconds for a peer that ``judge`` judges; None: none is wanted.

    It is never below the time of a verdict: a detector may be more patient than the agreed time, and nobody is
    condemned before a round trip was possible.
    """
    if options.user_timeout is None:
        return None
    verdict = judge.terms.detect * (1.0 if judge.detector is None else MOST)
    if judge.rtt is not None:
        verdict = max(verdict, judge.rtt.answer_term)
    return BACKSTOP * verdict if options.user_timeout == "auto" else max(options.user_timeout, verdict)
