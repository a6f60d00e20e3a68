"""How a transport ended, from what was seen of its socket before the descriptor closed.

Twisted drops the errno and closes the descriptor before a protocol hears of it (facts R6). What is left to tell a FIN
from a RST and from a timeout of the kernel's own is a look that a hook took just before, and the errno of a write of
our own, if it was that which met the error.
"""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from heartbeat.liveness.evidence import Ending, Evidence
from heartbeat.liveness.table import CLOSED

if TYPE_CHECKING:
    from typing import Literal

__all__ = ["told"]

# A write that failed so says nothing of an end: the buffer was full, or the peer's FIN had come before.
HARMLESS: Final = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR, errno.ENOBUFS, errno.EPIPE})


def told(
    how: Literal["eof", "reset", "error", "aborted"], seen: Evidence | None, failed: int | None, now: float
) -> Ending:
    """What is known of an end.

    :param how: what Twisted says
    :param seen: the look before the descriptor closed, None if there was none
    :param failed: the errno of our own last write that failed, None if none did
    :param now: monotonic seconds
    """
    evidence = None if seen is None else replace(seen, at=now)
    if how == "aborted":
        return Ending(how, evidence)
    if failed is not None and failed not in HARMLESS:
        # The kernel tells an error once. Whoever reads after that finds an end of stream that nobody has sent.
        name = errno.errorcode.get(failed, str(failed))
        evidence = Evidence(now, error=name) if evidence is None else replace(evidence, error=name)
        return Ending("reset" if failed == errno.ECONNRESET else "error", evidence)
    tcp = None if evidence is None else evidence.tcp
    if how == "error" and tcp is not None and tcp.state == CLOSED and not tcp.retransmits and not tcp.probes:
        # After a RST nothing was repeated; after a timeout the counters of the attempts are still there (facts K2e).
        return Ending("reset", evidence)
    return Ending(how, evidence)
