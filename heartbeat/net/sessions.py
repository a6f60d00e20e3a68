"""Sessions that outlive their connections, and the tokens by which a peer comes back to its own (``wire.md`` §4)."""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from heartbeat.net.keeper import NOBODY, Keeper, Kept

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

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
# The id of a session is its age and chance: 48 bits of milliseconds since the epoch, and 48 random bits, so that two
# of the same millisecond never meet. Ids sort as the sessions began: of two sessions of a peer the newer one is known.
AGE_DIGITS: Final = 12
CHANCE_BYTES: Final = 6
#: An applicant waits at most for this share of its handshake timeout until others have been asked for its session.
PATIENCE: Final = 0.25


class Sessions:
    """The sessions of one acceptor, or of all that share its keys.

    :param clocks: tokens expire by the wall clock, which other acceptors share
    :param keys: of Fernet, the newest first; new tokens use the first, all are taken. None: a random one
    :ivar keeper: knows sessions of other processes
    """

    def __init__(self, clocks: Clocks, keys: Sequence[bytes] | None = None) -> None:
        self.keeper: Keeper = NOBODY
        self._clocks = clocks
        self._own_keys = tuple(keys or (Fernet.generate_key(),))
        self._keys: tuple[bytes, ...] = ()
        self._box = self._sealed_under(self._own_keys)
        self._living: dict[str, Session] = {}
        self._kept: OrderedDict[str, Kept] = OrderedDict()

    def fetch(self, session: Session, hello: Hello) -> Deferred[object] | None:
        """Ask the keeper for what this applicant's token names. None: admit it now, there is nothing to wait for."""
        gate = session.gate
        if hello.resume is None or self.keeper is NOBODY or gate is None:
            return None
        peer = session.peer.id
        claimed = self._claim(hello.resume, peer)
        name = "" if claimed is None else claimed[0]
        if name in self._living or self._recall(name, peer) is not None:
            return None
        return self.keeper.fetch(peer, name, gate.config.handshake_timeout * PATIENCE)

    def admit(self, session: Session, hello: Hello, now: float) -> None:
        """Let an applicant with an id in: to its old session if its token is taken, else to a new one."""
        peer = session.peer
        claimed = None if hello.resume is None else self._claim(hello.resume, peer.id)
        name, epoch = claimed if claimed is not None else (self._name(peer.id), 0)
        living = self._living.get(name)  # the connection that this one takes the session over from
        kept = self._recall(name, peer.id) if living is None else _kept(living, now)
        self._kept.pop(name, None)
        if kept is not None:
            epoch = max(epoch, kept.epoch)
            peer.report, peer.svc_hash, session.syncs.held = kept.report, kept.svc_hash, kept.held
        session.epoch = epoch + 1
        self._living[name] = session
        self.keeper.admitted(session)
        session.admit(now, name, claimed is not None, self._token(name, peer.id, session.epoch))

    def ended(self, session: Session, now: float) -> None:
        """The connection is gone: keep what a peer that returns goes on with."""
        peer = session.peer
        self.keeper.ended(session)
        if self._living.get(peer.session) is not session:
            return
        del self._living[peer.session]
        kept = self._kept
        kept[peer.session] = _kept(session, now)
        while len(kept) > MOST_KEPT or next(iter(kept.values())).until < now:
            kept.popitem(last=False)

    def _name(self, peer: str) -> str:
        """A new session: newer than whatever is known of this peer, even by a server whose clock is ahead of ours."""
        age = int(self._clocks.wall() * 1000.0)
        newest = self.keeper.newest(peer)[:AGE_DIGITS]
        if newest:
            age = max(age, int(newest, 16) + 1)
        return f"{age:0{AGE_DIGITS}x}{secrets.token_hex(CHANCE_BYTES)}"

    def _recall(self, name: str, peer: str) -> Kept | None:
        """What is known of a session that is not connected here, by whoever saw more of it."""
        here, elsewhere = self._kept.get(name), self.keeper.recall(name, peer)
        if here is None or (elsewhere is not None and elsewhere.epoch > here.epoch):
            return elsewhere
        return here

    def _sealed_under(self, keys: Sequence[bytes]) -> MultiFernet:
        self._keys = tuple(keys)
        return MultiFernet([Fernet(key) for key in keys])

    def _current(self) -> MultiFernet:
        """The keys of the keeper, if it has some by now, before our own."""
        keys = (*self.keeper.keys(), *self._own_keys)
        if keys != self._keys:
            self._box = self._sealed_under(keys)
        return self._box

    def _token(self, name: str, peer: str, epoch: int) -> str:
        # In UTF-8 the longest id makes 804 characters; escaped it would make more than a HELLO may hold (1024).
        text = json.dumps([name, peer, epoch], separators=(",", ":"), ensure_ascii=False).encode()
        return self._current().encrypt_at_time(text, int(self._clocks.wall())).decode()

    def _claim(self, token: str, peer: str) -> tuple[str, int] | None:
        """The session and the epoch that a token names; None if it is not (or no longer) this peer's."""
        try:
            text = self._current().decrypt_at_time(token.encode(), TOKEN_LASTS, int(self._clocks.wall()))
            name, owner, epoch = json.loads(text)
        except (InvalidToken, ValueError, TypeError):
            return None
        if not isinstance(name, str) or type(epoch) is not int:  # sealed by another version that shares our keys
            return None
        kept, living = self._recall(name, peer), self._living.get(name)
        newest = living.epoch if living is not None else kept.epoch if kept is not None else 0
        return (name, epoch) if owner == peer and newest - epoch < NEWER else None


def _kept(session: Session, now: float) -> Kept:
    peer = session.peer
    return Kept(session.epoch, peer.report, peer.svc_hash, session.syncs.held, now + KEPT)
