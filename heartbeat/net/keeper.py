"""What an acceptor knows of sessions beyond its own memory. The base knows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from twisted.internet.defer import Deferred

    from heartbeat.liveness.report import Report
    from heartbeat.session.session import Session

__all__ = ["NOBODY", "Keeper", "Kept"]


class Kept(NamedTuple):
    """What is remembered of a session whose connection is gone.

    :ivar epoch: how many tokens were given out for it
    :ivar worth: :func:`~heartbeat.session.identity.strength` of what its peer had proved
    :ivar report: the last account of the peer
    :ivar svc_hash: of its services, as it last sent it
    :ivar held: the ``svc_hash`` under which its STATE is kept, None if it is not
    :ivar until: when it may be forgotten, monotonic seconds
    """

    epoch: int
    worth: int
    report: Report
    svc_hash: bytes
    held: bytes | None
    until: float


class Keeper:
    """Remembers sessions for longer than a process, or for other acceptors. Override what you can answer.

    Nothing here is called for a beat. :meth:`recall` and :meth:`newest` answer at once, from memory;
    :meth:`fetch` may ask somebody.
    """

    def keys(self) -> Sequence[bytes]:
        """The keys of Fernet under which tokens are sealed, the newest first; none: those of the factory."""
        return ()

    def recall(self, session: str, peer: str) -> Kept | None:
        """What is known of this session of this peer."""
        return None

    def newest(self, peer: str) -> str:
        """The newest session of this peer that is known, ``""`` if none is. Ids of sessions sort by their age."""
        return ""

    def fetch(self, peer: str, session: str, patience: float) -> Deferred[object] | None:
        """Ask for what is known of this peer, so that :meth:`recall` and :meth:`keys` know it, too.

        :param session: that its token names; ``""``: it was sealed under none of our keys, or is not good any more
        :param patience: seconds after which the Deferred fires in any case; it never fails
        :return: None: there is nobody to ask
        """
        return None

    def admitted(self, session: Session) -> None:
        """A peer with an id is let in: its ``epoch`` is set, and its gate may open now."""

    def ended(self, session: Session) -> None:
        """A connection is gone, whether it was let in or not."""


NOBODY = Keeper()
