"""What must be true of a world: nobody died in the chaos; after it the dead are found in time, and the living live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from heartbeat import Dead, Left, State
from heartbeat.liveness.rtt import UNKNOWN_TERM
from heartbeat.testing.endpoints import CLOSED
from tests.scenarios.plans import SERIES

if TYPE_CHECKING:
    from heartbeat.liveness.rtt import RoundTrips
    from tests.scenarios.world import Outcome, World

__all__ = ["Verdicts"]

#: What the bound of ``architecture.md`` allows beyond everything that is named in it.
ALLOWANCE: Final = 0.1
#: Both ends of such a path, or of such a server, find it dead.
BOTH: Final = frozenset(("drop", "one_way_in", "one_way_out", "nat_lost", "all_drop"))
#: What the evidence proves of a silence. A lost mapping is told from a dead path only by the next connection, and the
#: one that asks for the same id may be quicker than D: then the old one just did not answer.
PATH_DEAD: Final = frozenset(("path_dead",))
CAUSES: Final = {
    **dict.fromkeys(("vanish", "drop", "one_way_in", "one_way_out", "server_vanish", "all_drop"), PATH_DEAD),
    **dict.fromkeys(("stop", "server_stop"), frozenset(("peer_stalled",))),
    **dict.fromkeys(("kill", "server_kill"), frozenset(("peer_closed", "peer_reset"))),
    "nat_lost": frozenset(("path_dead", "nat_expired", "unattributed")),
}
#: The connection may end with a segment: the other end found it first, or came again and replaced it.
TOLD: Final = frozenset(("peer_reset", "peer_closed"))


class Verdicts:
    """Compares what the judges of a world said with its plan."""

    def __init__(self, world: World, outcome: Outcome) -> None:
        self.world = world
        self.plan = world.plan
        self.outcome = outcome
        self.net = world.net
        self.began = world.net.now
        self._last_stalls: dict[str, float] = {}
        for name, _, seconds in self.plan.last_stalls:
            self._last_stalls[name] = self._last_stalls.get(name, 0.0) + seconds

    def problem(self, text: str) -> None:
        """Something is wrong."""
        self.outcome.problems.append(f"{self.net.now:.3f} s: {text}")

    # -- chaos

    def nobody_died(self) -> None:
        """0 false deaths, 0 lost connections."""
        for judge, notes in self.world.notes.items():
            for at, peer, event in notes.ends:
                self.outcome.false_deaths += isinstance(event, Dead) and event.cause not in TOLD
                self.problem(f"{judge} lost {peer.id} at {at:.3f} s: {event}")
            if len(notes.joins) != (len(self.plan.clients) if judge == "server" else 1):
                self.problem(f"{judge}: {len(notes.joins)} connections")
        for client, handle in self.world.handles.items():
            if handle.state is not State.ALIVE:
                self.problem(f"{client} thinks that the server is {handle.state.name}")
        for peer in self.world.notes["server"].joins:
            if peer.state is not State.ALIVE:
                self.problem(f"the server thinks that {peer.id} is {peer.state.name}")
        if self.world.judge.beats.state is not State.ALIVE:
            self.outcome.false_deaths += 1
            self.problem(f"the watcher lost its peer: {self.world.judge.verdict}")

    # -- the end

    @property
    def least(self) -> float:
        """Seconds after the end for which the living must live on, at least."""
        return 1.5 * self.plan.detect

    @property
    def most(self) -> float:
        """Seconds after which everything must be decided: twice D for what STALLED may grant, and the rest."""
        plan = self.plan
        detect = max(plan.detect_of("server"), plan.detect_of(plan.clients[0]))
        return 3.0 * detect + 8.0 * plan.one_way + sum(self._last_stalls.values()) + 2.0

    def waiting(self) -> bool:
        """Somebody who ended was not found yet by all who have to."""
        ends, notes = self.plan.ends, self.world.notes
        if ends["watcher"] != "live" and self.world.judge.verdict is None:
            return True
        if "server" in ends:
            return not all(notes[client].ends for client in self.plan.clients)
        found = {peer.id for _, peer, _ in notes["server"].ends}
        dead = [client for client in self.plan.clients if ends[client] != "live"]
        return not found.issuperset(dead) or not all(notes[one].ends for one in dead if ends[one] in BOTH)

    def everything_is_decided(self) -> None:
        """Whoever ended was found in time, by all who had to; whoever lives is alive."""
        plan = self.plan
        server = plan.ends.get("server")
        for client in plan.clients:
            how = server or plan.ends[client]
            if how == "live":
                self._lives(client)
            if how != "live" and server is None:
                self._found_by_server(client, how)
            if server is not None or how in BOTH:
                self._found_by_client(client, how)
        self._foreign(plan.ends["watcher"])

    def _lives(self, client: str) -> None:
        ends = [end for end in self.world.notes["server"].ends if end[1].id == client]
        ends += self.world.notes[client].ends
        for at, peer, event in ends:
            self.problem(f"{client} lives, and {peer.id} ended at {at:.3f} s: {event}")
        if self.world.handles[client].state is not State.ALIVE:
            self.problem(f"{client} lives, and thinks that the server is {self.world.handles[client].state.name}")

    def _found_by_server(self, client: str, how: str) -> None:
        peer = next(one for one in self.world.notes["server"].joins if one.id == client)
        ends = [(at, event) for at, one, event in self.world.notes["server"].ends if one is peer]
        self._found("server", client, how, peer.rtt, ends)

    def _found_by_client(self, client: str, how: str) -> None:
        ends = [(at, event) for at, _, event in self.world.notes[client].ends]
        self._found(client, "server", how, self.world.handles[client].rtt, ends)

    def _foreign(self, how: str) -> None:
        judge = self.world.judge
        if how != "live":
            self._found("watcher", "echo", how, judge.beats.rtt, [judge.verdict] if judge.verdict else [])
        elif judge.beats.state is not State.ALIVE:
            self.problem(f"the watcher's peer lives, and is {judge.beats.state.name}: {judge.verdict}")

    def _found(
        self,
        judge: str,
        peer: str,
        how: str,
        rtt: RoundTrips,
        ends: list[tuple[float, Dead | Left]] | list[tuple[float, Dead]],
    ) -> None:
        """The first end is the verdict: compare when it fell with the bound."""
        who = f"{judge} about {peer} ({how})"
        if not ends:
            self.problem(f"{who}: missed")
            return
        at, event = ends[0]
        if isinstance(event, Left):
            if (how, event.detail) != ("nat_lost", "superseded"):
                self.problem(f"{who}: {event}")
            return
        tcp = None if event.evidence is None else event.evidence.tcp
        told = event.cause in TOLD or (tcp is not None and tcp.state == CLOSED)
        heard = at - event.silent
        begun = self.began if how.endswith("kill") else max(heard, self.began)
        bound = ALLOWANCE + self._last_stalls.get(judge, 0.0)
        bound += self.plan.one_way if how.endswith("kill") else self._silence(peer, how, rtt)
        self.outcome.found.append((how, event.cause, at - begun, bound))
        if at - begun > bound:
            self.problem(f"{who}: late, {at - begun:.3f} s instead of {bound:.3f}: {event}")
        if heard - self.began > self._last_sign(how) + self._last_stalls.get(judge, 0.0):
            self.problem(f"{who}: heard {heard - self.began:.3f} s after the end")
        # With an RTO longer than the whole silence nothing was sent again yet, and so nothing is proved (facts K3, 20).
        early = tcp is not None and bool(tcp.unacked) and not tcp.retransmits and event.cause == "unattributed"
        if not (told or early) and event.cause not in CAUSES[how]:
            self.problem(f"{who}: {event.cause} is not what happened, {event}")
        asked = how == "nat_lost"  # it came again, and the old connection was asked for its answer at once
        if not (told or asked) and event.silent < self.plan.detect_of(peer) - 1e-6:
            self.problem(f"{who}: impatient, {event}")

    def _silence(self, peer: str, how: str, rtt: RoundTrips) -> float:
        """D, longer by what STALLED granted, or until an answer should have come; once more for a crowd."""
        plan = self.plan
        detect = plan.detect_of(peer)
        detect += min(detect, self._granted(peer))
        term = max((detect - plan.interval) / 2, rtt.answer_term if rtt.smoothed is not None else UNKNOWN_TERM)
        silence = max(detect, (detect + plan.interval) / 2 + term)
        return silence + term if how == "all_drop" else silence

    def _granted(self, peer: str) -> float:
        """The longest stall of this host: it has told its judges of it (``wire.md`` §6)."""
        longest = 0.0
        for one in self.plan.injections:
            if one.kind == "stall_series" and one.where == peer:
                longest = max(longest, one.seconds / SERIES)
            elif one.kind.startswith("stall_") and one.where == peer:
                longest = max(longest, one.seconds)
            elif one.kind in ("common_stall", "late_stall", "peer_stall") and one.where != "watcher":
                longest = max(longest, one.seconds + (one.amount if one.kind != "peer_stall" else 0.0))
        for name, _, seconds in self.plan.last_stalls:
            longest = max(longest, seconds if name == peer else 0.0)
        return 0.0 if peer == "echo" else longest

    def _last_sign(self, how: str) -> float:
        """How long after its end something may still be heard."""
        plan = self.plan
        sign = plan.one_way + ALLOWANCE
        if how in ("one_way_in", "one_way_out"):  # one direction still works for a while, until its answers are missed
            return sign + 2 * plan.interval + 1.0 + 4 * plan.one_way
        # A mapping is lost in the first gap that is long enough, which the two ends' own beats leave sooner or later.
        return sign + (4.0 * plan.interval if how == "nat_lost" else 0.0)
