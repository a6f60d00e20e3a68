"""The table of states: complete, closed, and true to the theory of operation above it."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from heartbeat.liveness.states import FINAL, TRANSITIONS, Input, State, step

WALKS = st.lists(st.sampled_from(Input), max_size=60)
#: States in which the peer is judged: the gate is open and the end has not come.
JUDGED = frozenset({State.ALIVE, State.SUSPECT, State.STUCK})
ENDS = frozenset({Input.CONDEMNED, Input.LEAVING})

#: The whole table once more, written down from the "States" of the design and not from the code.
EXPECTED = """
                OPENED      HEARD       HEARD_STUCK SILENT      CONDEMNED   LEAVING
    CONNECTING  ALIVE       CONNECTING  CONNECTING  CONNECTING  REFUSED     REFUSED
    ALIVE       ALIVE       ALIVE       STUCK       SUSPECT     DEAD        LEFT
    SUSPECT     SUSPECT     ALIVE       STUCK       SUSPECT     DEAD        LEFT
    STUCK       STUCK       ALIVE       STUCK       SUSPECT     DEAD        LEFT
    DEAD        DEAD        DEAD        DEAD        DEAD        DEAD        DEAD
    LEFT        LEFT        LEFT        LEFT        LEFT        LEFT        LEFT
    REFUSED     REFUSED     REFUSED     REFUSED     REFUSED     REFUSED     REFUSED
"""


def walk(inputs: list[Input], state: State = State.CONNECTING) -> list[State]:
    """All states that a peer goes through, the first one included."""
    states = [state]
    for happened in inputs:
        states.append(step(states[-1], happened))
    return states


class TableTests(SynchronousTestCase):
    """Every state with every input."""

    def test_every_pair_is_defined(self) -> None:
        """No state lacks an input, and none leads out of the table."""
        for state in State:
            for happened in Input:
                self.assertIn(step(state, happened), TRANSITIONS)
        self.assertEqual(set(TRANSITIONS), set(State))
        self.assertTrue(all(set(row) == set(Input) for row in TRANSITIONS.values()))

    def test_every_pair_does_what_the_design_says(self) -> None:
        """All 42 of them."""
        header, *rows = (line.split() for line in EXPECTED.strip().splitlines())
        table = {
            State[state]: {Input[name]: State[after] for name, after in zip(header, cells, strict=True)}
            for state, *cells in rows
        }
        self.assertEqual(TRANSITIONS, table)

    def test_finals_absorb(self) -> None:
        """DEAD, LEFT and REFUSED stay what they are, and no other state does so for every input."""
        absorbing = {state for state in State if all(step(state, happened) is state for happened in Input)}
        self.assertEqual(absorbing, FINAL)
        self.assertEqual(FINAL, {State.DEAD, State.LEFT, State.REFUSED})

    def test_every_state_can_be_reached(self) -> None:
        """From CONNECTING: there is no dead row."""
        reached = {State.CONNECTING}
        while more := {step(state, happened) for state in reached for happened in Input} - reached:
            reached |= more
        self.assertEqual(reached, set(State))

    def test_names_on_the_outside(self) -> None:
        """The values are the words of ``/api/peers``."""
        self.assertEqual([state.value for state in State], [state.name.lower() for state in State])
        self.assertLessEqual({"alive", "suspect", "stuck", "dead", "left"}, {state.value for state in State})


class WalkTests(SynchronousTestCase):
    """Any sequence of inputs."""

    @settings(deadline=None)
    @given(WALKS)
    def test_nobody_is_judged_before_the_gate(self, inputs: list[Input]) -> None:
        """Until the gate opens, the only way out is REFUSED; afterwards REFUSED is never reached."""
        states = walk(inputs)
        opened = inputs.index(Input.OPENED) if Input.OPENED in inputs else len(inputs)
        self.assertLessEqual(set(states[: opened + 1]), {State.CONNECTING, State.REFUSED})
        if states[opened] is State.CONNECTING:
            self.assertNotIn(State.REFUSED, states[opened + 1 :])

    @settings(deadline=None)
    @given(WALKS)
    def test_there_is_one_end(self, inputs: list[Input]) -> None:
        """The first end counts; whatever comes later changes nothing."""
        states = walk(inputs)
        ends = [index for index, happened in enumerate(inputs) if happened in ENDS]
        first = ends[0] if ends else len(inputs)
        self.assertTrue(FINAL.isdisjoint(states[: first + 1]))
        if ends:
            self.assertIn(states[first + 1], FINAL)
            self.assertEqual(set(states[first + 1 :]), {states[first + 1]})

    @settings(deadline=None)
    @given(WALKS)
    def test_a_sign_of_life_ends_a_suspicion(self, inputs: list[Input]) -> None:
        """In each judged state: silence makes SUSPECT, and any sign of life says at once what the last SYNC said."""
        state = walk([Input.OPENED, *inputs])[-1]
        if state in JUDGED:
            self.assertIs(step(state, Input.SILENT), State.SUSPECT)
            self.assertIs(step(state, Input.HEARD), State.ALIVE)
            self.assertIs(step(state, Input.HEARD_STUCK), State.STUCK)

    @settings(deadline=None)
    @given(WALKS)
    def test_dead_takes_a_verdict_and_left_a_goodbye(self, inputs: list[Input]) -> None:
        """After the gate: condemned is DEAD, leaving is LEFT, from wherever it comes."""
        states = walk([Input.OPENED, *inputs])
        for before, happened, after in zip(states, [Input.OPENED, *inputs], states[1:], strict=False):
            if before not in FINAL and after in FINAL:
                self.assertIs(after, {Input.CONDEMNED: State.DEAD, Input.LEAVING: State.LEFT}[happened])
