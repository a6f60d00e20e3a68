"""Sessions that outlive their connections, and the tokens by which a peer comes back to its own (``wire.md`` §4)."""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

if TYPE_CHECKING:
    from heartbeat.liveness.report import Report
    from heartbeat.net.clocks import Clocks
    from heartbeat.session.greeting import Hello
    from heartbeat.session.session import Session

__all__ = ["Sessions"]

#: A token is good for a day: a peer that stays away longer has another story to tell.
TOKEN_LASTS: Final = 86_400
#: A token is good until this many newer ones were given out: one answer with a new token in it may be lost.
NEWER: Final = 2
#: Ended sessions whose last account is kept, for as long as dead peers are listed; the oldest go first.
MOST_KEPT: Final = 10_000
KEPT: Final = 3600.0
# 64 random bits are enough to never meet twice, and short enough to be read out.
SESSION_BYTES: Final = 8


class Kept(NamedTuple):
    """What is remembered of a session whose connection is gone."""

    epoch: int
    report: Report
    svc_hash: bytes
    held: bytes | None
    until: float


class Sessions:
    """The sessions of one acceptor, or of all that share its keys.

    :param clocks: tokens expire by the wall clock, which other acceptors share
    :param keys: of Fernet, the newest first; new tokens use the first, all are taken. None: a random one
    """

    def __init__(self, clocks: Clocks, keys: Sequence[bytes] | None = None) -> None:
        self._clocks = clocks
        self._box = MultiFernet([Fernet(key) for key in keys or (Fernet.generate_key(),)])
        self._living: dict[str, Session] = {}
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def admit(self, session: Session, hello: Hello, now: float) -> None:
        """Let an applicant with an id in: to its old session if its token is taken, else to a new one."""
        peer = session.peer
        claimed = None if hello.resume is None else self._claim(hello.resume, peer.id)
        name, epoch = claimed if claimed is not None else (secrets.token_hex(SESSION_BYTES), 0)
        living = self._living.get(name)  # the connection that this one takes the session over from
        kept = self._kept.pop(name, None) if living is None else _kept(living, now)
        if kept is not None:
            epoch = max(epoch, kept.epoch)
            peer.report, peer.svc_hash, session.syncs.held = kept.report, kept.svc_hash, kept.held
        session.epoch = epoch + 1
        self._living[name] = session
        session.admit(now, name, claimed is not None, self._token(name, peer.id, session.epoch))

    def ended(self, session: Session, now: float) -> None:
        """The connection is gone: keep what a peer that returns goes on with."""
        peer = session.peer
        if self._living.get(peer.session) is not session:
            return
        del self._living[peer.session]
        kept = self._kept
        kept[peer.session] = _kept(session, now)
        while len(kept) > MOST_KEPT or next(iter(kept.values())).until < now:
            kept.popitem(last=False)

    def _token(self, name: str, peer: str, epoch: int) -> str:
        # In UTF-8 the longest id makes 804 characters; escaped it would make more than a HELLO may hold (1024).
        text = json.dumps([name, peer, epoch], separators=(",", ":"), ensure_ascii=False).encode()
        return self._box.encrypt_at_time(text, int(self._clocks.wall())).decode()

    def _claim(self, token: str, peer: str) -> tuple[str, int] | None:
        """The session and the epoch that a token names; None if it is not (or no longer) this peer's."""
        try:
            text = self._box.decrypt_at_time(token.encode(), TOKEN_LASTS, int(self._clocks.wall()))
            name, owner, epoch = json.loads(text)
        except (InvalidToken, ValueError, TypeError):
            return None
        if not isinstance(name, str) or type(epoch) is not int:  # sealed by another version that shares our keys
            return None
        kept, living = self._kept.get(name), self._living.get(name)
        newest = living.epoch if living is not None else kept.epoch if kept is not None else 0
        return (name, epoch) if owner == peer and newest - epoch < NEWER else None


def _kept(session: Session, now: float) -> Kept:
    peer = session.peer
    return Kept(session.epoch, peer.report, peer.svc_hash, session.syncs.held, now + KEPT)
