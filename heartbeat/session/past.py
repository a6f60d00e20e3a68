"""What an end remembers of a connection that failed, and what the return of the peer makes of it (``wire.md`` §4).

The name that a failure got when it happened is what could be proved from one side, at that moment. Three things only
the next connection can tell: that the peer's process is another one, that the path had only lost the state of the old
connection (a new one passes at once), and what the other end saw. So each end keeps a :class:`Past`; a connector tells
its own in ``last`` of its next HELLO, and :func:`explain` compares. A claim is only a claim: it is looked at where the
session that it names is the one remembered, under the same id and the same proof, and it never makes a new name.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from heartbeat.liveness.causes import known_reason
from heartbeat.liveness.events import Explained
from heartbeat.liveness.oversleep import OWN_STALL
from heartbeat.liveness.states import State
from heartbeat.session.greeting import milliseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from heartbeat.session.session import Session

__all__ = ["Past", "Pasts", "explain", "explained", "remembered"]

#: Failures remembered, and for how long, as of ended sessions: the oldest go first.
MOST_KEPT: Final = 10_000
KEPT: Final = 3600.0
#: Who is back within this time was not kept away by the path: a first attempt is made within a second, and a SYN that
#: is lost costs another one. An acceptor adds D, by which the verdicts of two ends may differ.
AT_ONCE: Final = 2.0
# Numbers of PINGs are 16 bits wide, and at most so many are open (wire.md §1).
NUMBERS: Final = 1 << 16
MOST_OPEN: Final = 1024

#: What a restart of the peer's process explains; what was proved of its kernel or of our own host it does not.
BY_RESTART: Final = frozenset({"path_dead", "peer_closed", "peer_reset", "middlebox_reset", "unattributed"})
#: What the other end may call the same loss of state on the way.
STATE_LOST: Final = frozenset({"path_dead", "middlebox_reset", "nat_expired"})
#: What leaves open which direction was broken.
EITHER_WAY: Final = frozenset({"path_dead", "peer_stalled", "unattributed"})


@dataclass(frozen=True, slots=True)
class Past:
    """How a connection ended, as this end saw it.

    :ivar peer: the name of the peer
    :ivar session: the id of the session, ``""`` if it had none
    :ivar cause: one of :data:`heartbeat.liveness.causes.FAILURE_REASONS`
    :ivar detail: the finer name in its evidence, or ``""``
    :ivar at: when the verdict fell, monotonic seconds
    :ivar silent: seconds since the last sign of life, then
    :ivar idle: seconds of silence before the question that was never answered; None if all were
    :ivar heard_seq: the number of the last PING read, None: not known
    :ivar acked_seq: the number of the last own PING that was answered, None if none was
    :ivar asked_seq: the number of the last own PING, None if there was none
    :ivar instance: of the peer's process
    :ivar proof: the name that it had proved
    :ivar leeway: seconds that are added to "at once"
    """

    peer: str
    session: str
    cause: str
    detail: str
    at: float
    silent: float
    idle: float | None = None
    heard_seq: int | None = None
    acked_seq: int | None = None
    asked_seq: int | None = None
    instance: str | None = None
    proof: str | None = None
    leeway: float = 0.0

    def as_last(self) -> dict[str, Any]:
        """The member ``last`` of a connector's next HELLO."""
        last = {
            "session": self.session or None,
            "cause": self.cause,
            "heard_ms": milliseconds(self.silent),
            "idle_ms": None if self.idle is None else milliseconds(self.idle),
            "heard_seq": self.heard_seq,
            "acked_seq": self.acked_seq,
        }
        return {name: value for name, value in last.items() if value is not None}


def remembered(session: Session, leeway: float = 0.0) -> Past | None:
    """The past of a connection that has failed; None for one that was left, was refused, or is open."""
    beats, peer = session.beats, session.peer
    liveness = beats.liveness
    if beats.state is not State.DEAD:
        return None
    unanswered = beats.asked_at(beats.first)
    return Past(
        peer=peer.id,
        session=peer.session,
        cause=beats.cause or "unattributed",
        detail=(beats.evidence.detail if beats.evidence is not None else None) or "",
        at=liveness.since,
        silent=max(0.0, liveness.since - liveness.heard_at),
        idle=None if unanswered is None else max(0.0, unanswered - liveness.heard_at),
        # heard_seq is left out: where the peer began to count nobody noted, and the hot path is not to.
        acked_seq=(beats.first - 1) % NUMBERS if beats.tally.acks_in else None,
        asked_seq=(beats.number - 1) % NUMBERS if beats.number else None,
        instance=peer.instance,
        proof=peer.identity,
        leeway=leeway,
    )


def explain(past: Past, instance: str | None, last: Mapping[str, Any] | None, away: float) -> tuple[str, str] | None:
    """A better cause and detail for a failure, now that the peer is back; None if nothing more is proved.

    :param instance: of the process that is back; nothing is proved where it is not known which one it is
    :param last: the peer's own account, None if it gave none
    :param away: seconds from the verdict until it was back
    """
    if instance is None or past.instance is None:
        return None
    if instance != past.instance:
        # Under a made-up name, which is an address, another process is no sign of a restart: a balancer picks any.
        same = not past.peer.startswith("~")
        return (
            ("peer_restarted", "instance") if same and past.cause in BY_RESTART and past.detail != "one_way" else None
        )
    account = last if last is not None and past.session and last.get("session") == past.session else {}
    claim = known_reason(account["cause"]) if "cause" in account else None
    if past.cause in EITHER_WAY and (_contradicts(past.cause, claim) or _lost_one_way(past, account)):
        return "path_dead", "one_way"
    if away > AT_ONCE + past.leeway or past.detail == OWN_STALL:  # it had given us up: the path has lost nothing
        return None
    if past.cause == "middlebox_reset" or (past.cause, past.detail) == ("path_dead", "silent"):
        return ("nat_expired", "returned") if claim is None or claim in STATE_LOST else None
    return ("nat_expired", "returned") if past.cause == "unattributed" and claim in STATE_LOST else None


def _contradicts(cause: str, claim: str | None) -> bool:
    """One end's kernel was heard by the other's, whose own packets were lost: data passed in one direction only."""
    return {cause, claim} == {"path_dead", "peer_stalled"}


def _lost_one_way(past: Past, account: Mapping[str, Any]) -> bool:
    """One end read PINGs whose answers never reached the other, which says that it was asked by a living path."""
    ours = _beyond(past.heard_seq, account.get("acked_seq"))  # we answered, and the peer did not hear it
    theirs = _beyond(account.get("heard_seq"), past.acked_seq)
    return ours != theirs


def _beyond(heard: int | None, acked: int | None) -> bool:
    """Whether one end read a later PING than the other got answers for; the numbers wrap."""
    return heard is not None and acked is not None and 0 < (heard - acked) % NUMBERS <= MOST_OPEN


def explained(past: Past, session: Session, last: Mapping[str, Any] | None, now: float) -> Explained | None:
    """The event, if the return of this peer explains its past. Call it when its gate has opened."""
    found = explain(past, session.peer.instance, last, now - past.at)
    if found is None or found == (past.cause, past.detail):
        return None
    cause, detail = found
    return Explained(now, cause, past.cause, detail, past.session)


class Pasts:
    """The pasts of peers that are away, by name. Bounded.

    :param most: no more than this many
    :param lasts: seconds
    """

    def __init__(self, most: int = MOST_KEPT, lasts: float = KEPT) -> None:
        self._most = most
        self._lasts = lasts
        self._pasts: OrderedDict[str, Past] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pasts)

    def remember(self, past: Past) -> None:
        """Keep it, in the place of an older one of that peer."""
        pasts = self._pasts
        pasts.pop(past.peer, None)
        pasts[past.peer] = past
        while len(pasts) > self._most or next(iter(pasts.values())).at < past.at - self._lasts:
            pasts.popitem(last=False)

    def recall(self, peer: str, now: float) -> Past | None:
        """What is remembered of this peer, once; None if that is nothing, or too old."""
        past = self._pasts.pop(peer, None)
        return None if past is None or past.at < now - self._lasts else past
