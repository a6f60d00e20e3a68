"""Sessions that outlive their connections, and the tokens by which a peer comes back to its own (``wire.md`` §4)."""

from __future__ import annotations

import json
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from heartbeat.net.keeper import NOBODY, Keeper, Kept
from heartbeat.session.identity import strength

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from heartbeat.liveness.peer import Peer
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
# The id of a session is its age and chance: 48 bits of milliseconds since the epoch, and 48 random bits, so that two
# of the same millisecond never meet. Ids sort as the sessions began: of two sessions of a peer the newer one is known.
AGE_DIGITS: Final = 12
CHANCE_BYTES: Final = 6
#: An applicant waits at most for this share of its handshake timeout until others have been asked for its session.
PATIENCE: Final = 0.25


class Claim(NamedTuple):
    """What a token that was taken says: the session, and how many tokens of it were given out before this one."""

    session: str
    epoch: int


class Sessions:
    """The sessions of one acceptor, or of all that share its keys.

    Four calls: :meth:`claim` (what does this token give?), :meth:`admit`, :meth:`ended`, and :meth:`renew` of the keys.

    :param clocks: tokens expire by the wall clock, which other acceptors share
    :param keys: of Fernet, the newest first; new tokens use the first, all are taken. None: a random one
    :ivar keeper: knows sessions of other processes
    """

    def __init__(self, clocks: Clocks, keys: Sequence[bytes] | None = None) -> None:
        self.keeper: Keeper = NOBODY
        self._clocks = clocks
        self._own_keys: tuple[bytes, ...] = ()
        self._keys: tuple[bytes, ...] = ()  # those that the box has
        self._living: dict[str, Session] = {}
        self._kept: OrderedDict[str, Kept] = OrderedDict()
        self.renew(keys or (Fernet.generate_key(),))

    def renew(self, keys: Sequence[bytes]) -> None:
        """From now on these keys: tokens that no key of theirs has sealed are taken no more."""
        self._own_keys = tuple(keys)
        self._box = self._sealed_under(self._own_keys)

    def fetch(self, session: Session) -> Deferred[object] | None:
        """Ask the keeper for what this applicant's token names. None: there is nothing to wait for."""
        gate, applicant = session.gate, session.applicant
        if applicant is None or applicant.resume is None or self.keeper is NOBODY or gate is None:
            return None
        claim = self.claim(applicant.resume, session.peer)
        name = "" if claim is None else claim.session
        if name in self._living or self._recall(name, session.peer.id) is not None:
            return None
        return self.keeper.fetch(session.peer.id, name, gate.config.handshake_timeout * PATIENCE)

    def claim(self, token: str | None, peer: Peer) -> Claim | None:
        """What a token gives this peer, whose id and identity are known by now; None: nothing, as if there were none.

        It is taken until it expires or two newer ones were given out, for the same id, and with no weaker proof than
        the session has, or had when the token was given out.
        """
        if token is None:
            return None
        try:
            told = json.loads(self._current().decrypt(token.encode()))
            name, owner, worth, epoch, expires = told
        except (InvalidToken, ValueError, TypeError):
            return None
        numbers = all(type(one) is int for one in (worth, epoch, expires))
        if not isinstance(name, str) or not numbers:  # sealed by another version that shares our keys
            return None
        kept, living = self._recall(name, peer.id), self._living.get(name)
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
        name, epoch = claim if claim is not None else (self._name(peer.id), 0)
        living = self._living.get(name)  # the connection that this one takes the session over from
        kept = self._recall(name, peer.id) if living is None else _kept(living, now)
        self._kept.pop(name, None)
        if kept is not None:
            epoch = max(epoch, kept.epoch)
            peer.report, peer.svc_hash, session.syncs.held = kept.report, kept.svc_hash, kept.held
        session.epoch = epoch + 1
        self._living[name] = session
        self.keeper.admitted(session)
        session.admit(now, name, claim is not None, self._token(name, peer, session.epoch))

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

    def _token(self, name: str, peer: Peer, epoch: int) -> str:
        # In UTF-8 the longest id makes some 850 characters; escaped it would make more than a HELLO may hold (1024).
        wall = int(self._clocks.wall())
        told = [name, peer.id, strength(peer.identity), epoch, wall + TOKEN_LASTS]
        text = json.dumps(told, separators=(",", ":"), ensure_ascii=False).encode()
        return self._current().encrypt_at_time(text, wall).decode()

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


def _kept(session: Session, now: float) -> Kept:
    peer = session.peer
    return Kept(session.epoch, strength(peer.identity), peer.report, peer.svc_hash, session.syncs.held, now + KEPT)
