"""heartbeat.watch.registry: who is listed, in which order, and for how long."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.states import FINAL, State
from heartbeat.watch.registry import LISTED, Registry
from tests.watch.crowd import Hands, Somebody


class RegistryCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.hands = Hands()
        self.registry = Registry(self.hands)

    def join(self, id: str, **told: Any) -> Somebody:
        """A peer that is listed."""
        return Somebody(self.hands, id, self.registry, **told).join()

    def ids(self, **wanted: Any) -> list[str]:
        """The ids that are listed."""
        return [peer.id for peer in self.registry.peers(**wanted)]

    def count(self) -> dict[str, int]:
        """The states that anybody is in."""
        return {state.value: number for state, number in self.registry.counts().items() if number}


class ListingTests(RegistryCase):
    """Who is listed."""

    def test_an_empty_registry(self) -> None:
        """Nobody is listed, and every state that a listed peer can have is counted as 0."""
        self.assertEqual(self.registry.peers(), [])
        self.assertEqual(self.registry.counts(), dict.fromkeys(LISTED, 0))
        self.assertIsNone(self.registry.get("a"))
        self.assertEqual(len(self.registry), 0)

    def test_the_life_of_a_peer(self) -> None:
        """A peer is counted in the state that it is in, from the gate to the end and after."""
        one = self.join("a")
        self.assertEqual(self.count(), {"alive": 1})
        one.fall_silent()
        self.assertEqual(self.count(), {"suspect": 1})
        one.speak()
        self.assertEqual(self.count(), {"alive": 1})
        one.stick()
        self.assertEqual(self.count(), {"stuck": 1})
        one.fall_silent()
        self.assertEqual(self.count(), {"suspect": 1})
        self.assertEqual(self.registry.living, 1)
        one.die()
        self.assertEqual(self.count(), {"dead": 1})
        self.assertEqual(self.registry.living, 0)
        self.assertIs(self.registry.get("a"), one.peer)

    def test_one_that_left(self) -> None:
        """Who said goodbye is listed as left."""
        self.join("a").leave()
        self.assertEqual(self.count(), {"left": 1})

    def test_who_was_refused_is_not_listed(self) -> None:
        """Before its gate a peer is nobody."""
        Somebody(self.hands, "a", self.registry).die("hello_timeout")
        self.assertEqual(len(self.registry), 0)

    def test_a_returning_id_replaces_its_remembered_record(self) -> None:
        """Ids are not unique over time: the dead record gives way to the living peer."""
        self.join("a").die()
        again = self.join("a")
        self.assertEqual(self.registry.peers(), [again.peer])
        self.assertEqual(self.count(), {"alive": 1})

    def test_the_replaced_record_is_not_forgotten_twice(self) -> None:
        """What would have forgotten the old record does not touch the new one."""
        self.join("a").die()
        self.hands.now += 1800.0
        again = self.join("a")
        self.hands.now += 1801.0
        self.assertEqual(self.registry.peers(), [again.peer])
        again.die()
        self.hands.now += 3599.0
        self.assertEqual(self.count(), {"dead": 1})

    def test_a_takeover(self) -> None:
        """Where a newer connection has the id already, the end of the older one changes nothing."""
        older = self.join("a")
        older.fall_silent()
        newer = self.join("a")
        self.assertEqual(self.count(), {"alive": 1})
        older.leave()
        self.assertEqual(self.registry.peers(), [newer.peer])
        self.assertEqual(self.count(), {"alive": 1})
        newer.die()
        self.assertEqual(self.count(), {"dead": 1})

    def test_two_anonymous_peers(self) -> None:
        """Peers without a name are told apart by their addresses."""
        self.join("~192.0.2.1:1", bare=True)
        self.join("~192.0.2.1:2", bare=True)
        self.assertEqual(self.ids(), ["~192.0.2.1:1", "~192.0.2.1:2"])


class ReadingTests(RegistryCase):
    """Order, pages and filters."""

    def test_the_order_is_that_of_the_ids(self) -> None:
        """Whoever came first, pages are by id, so that a page can begin behind any id."""
        for id in ("b", "é", "a", "~x", "B", "aa"):
            self.join(id)
        self.assertEqual(self.ids(), ["B", "a", "aa", "b", "~x", "é"])

    def test_pages(self) -> None:
        """``after`` and ``limit`` give each peer once."""
        for number in range(10):
            self.join(f"p{number}")
        seen: list[str] = []
        while page := self.ids(after=seen[-1] if seen else None, limit=3):
            self.assertLessEqual(len(page), 3)
            seen += page
        self.assertEqual(seen, [f"p{number}" for number in range(10)])

    def test_after_an_id_that_is_not_listed(self) -> None:
        """A page can begin behind a peer that is forgotten by now."""
        self.join("a")
        self.join("c")
        self.assertEqual(self.ids(after="b"), ["c"])
        self.assertEqual(self.ids(after="c"), [])

    def test_by_state(self) -> None:
        """Only those in one state."""
        self.join("a")
        self.join("b").die()
        self.join("c").stick()
        self.assertEqual(self.ids(state=State.DEAD), ["b"])
        self.assertEqual(self.ids(state=State.STUCK), ["c"])
        self.assertEqual(self.ids(state=State.SUSPECT), [])

    def test_by_reason(self) -> None:
        """Only those that died of one cause."""
        self.join("a").die("peer_closed")
        self.join("b").die("path_dead")
        self.join("c")
        self.assertEqual(self.ids(reason="path_dead"), ["b"])

    def test_by_text(self) -> None:
        """Text is found in id, address, node, identity and services, in any case of letters."""
        self.join("Gateway-7")
        self.join("b", services=("AUTH", "billing"))
        self.join("c", node="north")
        self.join("d").peer.identity = "straße.example"
        for q, found in {
            "gate": ["Gateway-7"],
            "auth": ["b"],
            "NORTH": ["c"],
            "STRASSE": ["d"],
            "4711": ["Gateway-7", "b", "c", "d"],
            "nobody": [],
        }.items():
            self.assertEqual(self.ids(q=q), found, q)

    def test_the_limit_counts_what_is_found(self) -> None:
        """A limited page of a filter is full where there are enough."""
        for number in range(9):
            one = self.join(f"p{number}")
            if number % 3 == 2:
                one.die()
        self.assertEqual(self.ids(state=State.DEAD, limit=2), ["p2", "p5"])
        self.assertEqual(self.ids(limit=0), [])

    def test_slices_are_bounded_by_what_is_looked_at(self) -> None:
        """A filter that fits nobody does not make a slice any longer: 5,000 peers are 20 of them."""
        for number in range(5000):
            self.join(f"p{number:04}")
        slices = list(self.registry.slices(state=State.DEAD))
        self.assertEqual(slices, [[]] * 20)
        slices = list(self.registry.slices())
        self.assertEqual({len(part) for part in slices}, {250})
        self.assertEqual([peer.id for part in slices for peer in part], [f"p{number:04}" for number in range(5000)])

    def test_a_limit_ends_the_slices(self) -> None:
        """Nobody is looked at when enough were found."""
        for number in range(20):
            self.join(f"p{number:02}")
        self.assertEqual([len(part) for part in self.registry.slices(limit=7, size=5)], [5, 2])

    def test_peers_come_and_go_between_slices(self) -> None:
        """Who is listed all the while is given exactly once, whatever happens to others meanwhile."""
        self.registry.keep = 10.0
        staying = [f"s{number:03}" for number in range(0, 100, 2)]
        for id in staying:
            self.join(id)
        for number in range(1, 100, 2):
            self.join(f"s{number:03}").die()
        seen: list[str] = []
        for step, part in enumerate(self.registry.slices(size=7)):
            seen += [peer.id for peer in part]
            self.hands.now += 3.0
            self.join(f"a{step}")
            self.join(f"s{step:03}x").die()
            len(self.registry)  # forgets
        self.assertEqual([id for id in seen if id in staying], staying)
        self.assertEqual(len(seen), len(set(seen)))


class ForgettingTests(RegistryCase):
    """The dead are not remembered for ever."""

    def test_after_keep_seconds(self) -> None:
        """A dead or left peer is listed for ``keep`` seconds, without a timer."""
        self.join("a").die()
        self.join("b").leave()
        self.hands.now += 3599.9
        self.assertEqual(self.ids(), ["a", "b"])
        self.hands.now += 0.2
        self.assertEqual(self.ids(), [])
        self.assertEqual(self.count(), {})
        self.assertIsNone(self.registry.get("a"))

    def test_those_without_a_name_go_soon(self) -> None:
        """Bare and anonymous peers never return under their id: 60 s are enough, also on UNIX sockets."""
        self.join("~192.0.2.1:1", bare=True).die()
        self.join("~192.0.2.1:2").die()
        self.join("unix#3", bare=True).leave()
        self.join("named", bare=False).die()
        self.hands.now += 59.9
        self.assertEqual(len(self.registry), 4)
        self.hands.now += 0.2
        self.assertEqual(self.ids(), ["named"])

    def test_the_oldest_gives_way(self) -> None:
        """Over ``keep_peers`` the one that went first goes first, named or not; the living do not count."""
        self.registry.keep_peers = 3
        self.join("living")
        for id in ("d", "~c:1", "b", "a", "~a:1"):
            self.join(id, bare=id.startswith("~")).die()
            self.hands.now += 1.0
        self.assertEqual(self.ids(), ["a", "b", "living", "~a:1"])

    def test_smaller_limits_hold_at_once(self) -> None:
        """A reload may shrink what is remembered."""
        for number in range(10):
            self.join(f"p{number}").die()
            self.hands.now += 1.0
        self.registry.keep_peers = 4
        self.assertEqual(self.ids(), ["p6", "p7", "p8", "p9"])
        self.registry.keep = 1.5
        self.assertEqual(self.ids(), ["p9"])
        self.registry.keep_peers = 0
        self.assertEqual(self.ids(), [])

    def test_no_reference_is_left(self) -> None:
        """Who is forgotten is free: no peer is kept alive by an order, a count or a queue."""
        one = self.join("a")
        one.stick()
        one.die()
        ref = weakref.ref(one.peer)
        del one
        self.hands.now += 3601.0
        self.assertEqual(len(self.registry), 0)
        gc.collect()
        self.assertIsNone(ref())

    def test_a_flood_of_strangers_is_no_leak(self) -> None:
        """Ten thousand bare peers that come and go leave as many records as there are seconds in a minute."""
        for number in range(10_000):
            self.join(f"~198.51.100.1:{number}", bare=True).die()
            self.hands.now += 1.0
        self.assertEqual(len(self.registry), 59)
        self.assertEqual(self.ids()[-1], "~198.51.100.1:9999")

    def test_an_id_that_was_forgotten_may_return(self) -> None:
        """It takes its old place in the order, once."""
        for id in ("a", "b", "c"):
            self.join(id).die()
        self.hands.now += 4000.0
        self.assertEqual(self.ids(), [])
        for id in ("c", "b"):
            self.join(id)
        self.assertEqual(self.ids(), ["b", "c"])


class RegistryMachine(RuleBasedStateMachine):
    """Any order of joins, changes, ends and waits, against a model that does everything the slow way."""

    names = st.sampled_from(["a", "b", "ä", "~1", "~2", "z"])

    def __init__(self) -> None:
        super().__init__()
        self.hands = Hands()
        self.registry = Registry(self.hands, keep=100.0, keep_peers=4, keep_bare=10.0)
        self.living: dict[str, Somebody] = {}
        self.ended: list[tuple[float, Somebody]] = []  # oldest first

    @rule(id=names)
    def join(self, id: str) -> None:
        """A peer comes; one of its id that lives is superseded before or after."""
        older = self.living.pop(id, None)
        self.ended = [(at, one) for at, one in self.ended if one.peer.id != id]
        self.living[id] = Somebody(self.hands, id, self.registry, bare=id.startswith("~")).join()
        if older is not None:
            older.leave()

    @rule(id=names, how=st.sampled_from(["die", "leave"]))
    def end(self, id: str, how: str) -> None:
        """A peer goes."""
        one = self.living.pop(id, None)
        if one is not None:
            getattr(one, how)()
            self.ended.append((self.hands.now, one))
            self.hands.now += 0.001  # two never end at the very same time

    @rule(id=names, what=st.sampled_from(["stick", "speak", "spare", "fall_silent"]))
    def change(self, id: str, what: str) -> None:
        """Something happens to a peer."""
        one = self.living.get(id)
        if one is not None and not (what == "fall_silent" and one.beats.state is State.SUSPECT):
            getattr(one, what)()

    @rule(seconds=st.sampled_from([0.5, 9.0, 50.0]))
    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.hands.now += seconds

    @invariant()
    def as_the_model(self) -> None:
        """The list and the counts are those of the model."""
        self.ended = [(at, one) for at, one in self.ended if self.hands.now - at < (10.0 if one.peer.bare else 100.0)][
            -4:
        ]
        expected = sorted(self.living | {one.peer.id: one for _, one in self.ended})
        listed = self.registry.peers()
        assert [peer.id for peer in listed] == expected
        counted = Counter(peer.state for peer in listed)
        assert self.registry.counts() == {state: counted[state] for state in LISTED}
        assert self.registry.living == sum(peer.state not in FINAL for peer in listed) == len(self.living)


class RegistryModelTests(SynchronousTestCase):
    def test_any_history(self) -> None:
        """After any history the registry lists and counts what a naive model does."""
        run_state_machine_as_test(RegistryMachine, settings=settings(deadline=None, max_examples=60))
