"""Sessions that outlive their connections, and the tokens by which a peer comes back to its own (``wire.md`` §4)."""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from heartbeat.session.identity import strength

if TYPE_CHECKING:
    from heartbeat.liveness.peer import Peer
    from heartbeat.liveness.report import Report
    from heartbeat.net.clocks import Clocks
    from heartbeat.session.session import Session

__all__ = ["Claim", "Sessions"]

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
    """What is remembered of a session whose connection is gone; ``worth`` is that of the proof which it had."""

    epoch: int
    worth: int
    report: Report
    svc_hash: bytes
    held: bytes | None
    until: float


class Claim(NamedTuple):
    """What a token that was taken says: the session, and how many tokens of it were given out before this one."""

    session: str
    epoch: int


class Sessions:
    """The sessions of one acceptor, or of all that share its keys.

    Four calls: :meth:`claim` (what does this token give?), :meth:`admit`, :meth:`ended`, and :meth:`renew` of the keys.

    :param clocks: tokens expire by the wall clock, which other acceptors share
    :param keys: of Fernet, the newest first; new tokens use the first, all are taken. None: a random one
    """

    def __init__(self, clocks: Clocks, keys: Sequence[bytes] | None = None) -> None:
        self._clocks = clocks
        self._living: dict[str, Session] = {}
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self.renew(keys or (Fernet.generate_key(),))

    def renew(self, keys: Sequence[bytes]) -> None:
        """From now on these keys: tokens that no key of theirs has sealed are taken no more."""
        self._box = MultiFernet([Fernet(key) for key in keys])

    def claim(self, token: str | None, peer: Peer) -> Claim | None:
        """What a token gives this peer, whose id and identity are known by now; None: nothing, as if there were none.

        It is taken until it expires or two newer ones were given out, for the same id, and with no weaker proof than
        the session has, or had when the token was given out.
        """
        if token is None:
            return None
        try:
            told = json.loads(self._box.decrypt(token.encode()))
            name, owner, worth, epoch, expires = told
        except (InvalidToken, ValueError, TypeError):
            return None
        numbers = all(type(one) is int for one in (worth, epoch, expires))
        if not isinstance(name, str) or not numbers:  # sealed by another version that shares our keys
            return None
        kept, living = self._kept.get(name), self._living.get(name)
        newest = living.epoch if living is not None else kept.epoch if kept is not None else 0
        needed = strength(living.peer.identity) if living is not None else kept.worth if kept is not None else 0
        fresh = newest - epoch < NEWER and self._clocks.wall() < expires
        return (
            Claim(name, epoch) if fresh and owner == peer.id and strength(peer.identity) >= max(worth, needed) else None
        )

    def admit(self, session: Session, claim: Claim | None, now: float, older: Session | None = None) -> None:
        """Let an applicant with an id in: to the session that it may claim or has taken over, else to a new one.

        :param older: the connection that gives way to this one, which has proved the id
        """
        peer = session.peer
        if claim is None and older is not None and strength(peer.identity) >= strength(older.peer.identity):
            claim = Claim(older.peer.session, older.epoch)
        name, epoch = claim if claim is not None else (secrets.token_hex(SESSION_BYTES), 0)
        living = self._living.get(name)  # the connection that this one takes the session over from
        kept = self._kept.pop(name, None) if living is None else _kept(living, now)
        if kept is not None:
            epoch = max(epoch, kept.epoch)
            peer.report, peer.svc_hash, session.syncs.held = kept.report, kept.svc_hash, kept.held
        session.epoch = epoch + 1
        self._living[name] = session
        session.admit(now, name, claim is not None, self._token(name, peer, session.epoch))

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

    def _token(self, name: str, peer: Peer, epoch: int) -> str:
        # In UTF-8 the longest id makes some 850 characters; escaped it would make more than a HELLO may hold (1024).
        wall = int(self._clocks.wall())
        told = [name, peer.id, strength(peer.identity), epoch, wall + TOKEN_LASTS]
        text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
        return self._box.encrypt_at_time(text, wall).decode()


def _kept(session: Session, now: float) -> Kept:
    peer = session.peer
    return Kept(session.epoch, strength(peer.identity), peer.report, peer.svc_hash, session.syncs.held, now + KEPT)
