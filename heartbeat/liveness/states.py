"""The only place where a peer changes state: one table for the gate and for the judge, as data.

Theory of operation. A connection begins CONNECTING: its gate (``wire.md`` §4) is closed and nobody is judged.
When the gate opens it is ALIVE. Silence until half time makes it SUSPECT, which is the moment of one more
question and no alarm; a sign of life takes it back, to STUCK if its last SYNC said that its work stands still
while its loop answers. DEAD (a verdict, or an end without BYE), LEFT (a BYE that is no failure) and REFUSED
(it ended before the gate) are final: whatever happens to a final state changes nothing.

``tests/liveness/test_states.py`` walks every state × input; the picture in the docs is drawn from this table.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

__all__ = ["FINAL", "TRANSITIONS", "Input", "State", "step"]


class State(Enum):
    """What is known of a peer. The values are the ones of ``/api/peers``."""

    CONNECTING = "connecting"
    ALIVE = "alive"
    SUSPECT = "suspect"
    STUCK = "stuck"
    DEAD = "dead"
    LEFT = "left"
    REFUSED = "refused"


class Input(Enum):
    """What can happen to a peer."""

    OPENED = "the gate opened"
    HEARD = "a sign of life, and its last SYNC said that work goes on"
    HEARD_STUCK = "a sign of life, and its last SYNC said that work stands still"
    SILENT = "silence until half time"
    CONDEMNED = "a verdict, a protocol violation, or an end without BYE"
    LEAVING = "a BYE that is no failure"


FINAL: Final = frozenset({State.DEAD, State.LEFT, State.REFUSED})

TRANSITIONS: Final[dict[State, dict[Input, State]]] = {
    State.CONNECTING: {
        Input.OPENED: State.ALIVE,
        Input.HEARD: State.CONNECTING,
        Input.HEARD_STUCK: State.CONNECTING,
        Input.SILENT: State.CONNECTING,
        Input.CONDEMNED: State.REFUSED,
        Input.LEAVING: State.REFUSED,
    },
    State.ALIVE: {
        Input.OPENED: State.ALIVE,
        Input.HEARD: State.ALIVE,
        Input.HEARD_STUCK: State.STUCK,
        Input.SILENT: State.SUSPECT,
        Input.CONDEMNED: State.DEAD,
        Input.LEAVING: State.LEFT,
    },
    State.SUSPECT: {
        Input.OPENED: State.SUSPECT,
        Input.HEARD: State.ALIVE,
        Input.HEARD_STUCK: State.STUCK,
        Input.SILENT: State.SUSPECT,
        Input.CONDEMNED: State.DEAD,
        Input.LEAVING: State.LEFT,
    },
    State.STUCK: {
        Input.OPENED: State.STUCK,
        Input.HEARD: State.ALIVE,
        Input.HEARD_STUCK: State.STUCK,
        Input.SILENT: State.SUSPECT,
        Input.CONDEMNED: State.DEAD,
        Input.LEAVING: State.LEFT,
    },
    **{final: dict.fromkeys(Input, final) for final in (State.DEAD, State.LEFT, State.REFUSED)},
}


def step(state: State, happened: Input) -> State:
    """The state after ``happened``. Every pair is defined; a final state stays what it is."""
    return TRANSITIONS[state][happened]
