"""What a connection has proved of who it is (``wire.md`` §4, "Identity").

The answer is one text, that of :attr:`.Peer.identity`: an id, ``*`` for a member of which no more is proved (a key that
is listed under ``*``), or None. No id that can be proved is ``*``: names in certificates with a wildcard do not count,
and a key for that id cannot be listed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from heartbeat.errors import PeerViolation
from heartbeat.keys import ANYONE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["IDENTITY_REFUSED", "MEMBER", "PROVED", "identified", "strength"]

IDENTITY_REFUSED: Final = 5  # the BYE code
#: The identity of a connection that proved to have a key, and no id.
MEMBER: Final = ANYONE
#: The :func:`strength` of an identity that is an id.
PROVED: Final = 2


def strength(identity: str | None) -> int:
    """How much an identity is worth, to compare: an id is more than membership, and that more than nothing."""
    return 0 if identity is None else 1 if identity == MEMBER else PROVED


def identified(
    id: str | None, names: Sequence[str], proves: Collection[str] | None, listed: Collection[str]
) -> str | None:
    """The identity of a connection that claims this id.

    :param id: of its HELLO; None: it is anonymous
    :param names: of its verified client certificate
    :param proves: the ids that the key which it confirmed is listed under, ``*`` for membership; None: no key
    :param listed: the ids that have a key of their own
    :raises PeerViolation: code 5, for an id that it has not proved although it should have, or other than the proved
    """
    if id is None:
        if names:
            return names[0]
        return None if proves is None else MEMBER if MEMBER in proves else min(proves)
    by_key = proves is not None and id != MEMBER and id in proves
    if id in listed and not by_key:
        raise PeerViolation("this id is only given with its key", IDENTITY_REFUSED)
    if names and id not in names:
        raise PeerViolation("the certificate is for another id", IDENTITY_REFUSED)
    if proves is not None and not by_key and MEMBER not in proves:
        raise PeerViolation("the key is for another id", IDENTITY_REFUSED)
    return id if by_key or names else None if proves is None else MEMBER
