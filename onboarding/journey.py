"""How connecting a pixel goes: its states, what leads from one to another, and nothing else. Pure.

docs/connect-a-pixel.md draws TRANSITIONS (`python -m onboarding.journey --write-docs`; a test holds it to them). A
move that is not in the table does not exist: whoever asks for it is told so, and nothing changes.
"""

from __future__ import annotations

import argparse
from enum import StrEnum
from pathlib import Path


class State(StrEnum):
    """Where a session is."""

    CHOOSING = "choosing"  # a question or two in plain words
    AT_META = "at_meta"  # Meta's log-in dialog is open, or was closed
    EXCHANGING = "exchanging"  # a worker turns the code into a token, and reads what it reaches
    PICKING = "picking"  # several businesses or pixels: a person picks
    TAKING = "taking"  # a worker takes what the pixel needs, and looks at what was pasted
    ENTERING = "entering"  # a person pastes a token
    WITH_COLLEAGUE = "with_colleague"  # a forwarded link waits for the token
    SHARING = "sharing"  # a worker looks whether the pixel is shared by now
    PROVING = "proving"  # the ladder of checks runs with the new token
    STUCK = "stuck"  # it cannot go on by itself: a sentence, and the one next action
    CONNECTED = "connected"
    ABANDONED = "abandoned"


class Move(StrEnum):
    """What happened: by a person, by Meta's answer, or by the clock."""

    LOG_IN = "log_in"  # the dialog is opened, for the first time or again
    PASTE = "paste"  # the form for a token is opened
    SHARE = "share"  # the advertiser is told how to share the pixel
    RETURN = "return"  # Meta sent the browser back with a code
    FIND_MANY = "find_many"
    FIND_ONE = "find_one"
    PICK = "pick"
    GO_ON = "go_on"  # a part of the worker's step is done and kept: the rest follows
    TAKE = "take"  # the token is there, the system user is assigned
    FORWARD = "forward"
    RECALL = "recall"
    SUBMIT = "submit"  # a token was pasted, here or by the colleague
    PROVE = "prove"
    WAIT = "wait"  # Meta is away or asks for patience, or nothing is shared yet: the same again, later
    REFUSE = "refuse"  # it cannot go on by itself
    LEAVE = "leave"  # another option is wanted; what was found stays
    ABANDON = "abandon"


ENDS = frozenset({State.CONNECTED, State.ABANDONED})
# A worker has the next move.
WORKING = frozenset({State.EXCHANGING, State.TAKING, State.SHARING, State.PROVING})

_OPENINGS = {Move.LOG_IN: State.AT_META, Move.PASTE: State.ENTERING, Move.SHARE: State.SHARING}
_ANYWHERE = {Move.LEAVE: State.CHOOSING, Move.ABANDON: State.ABANDONED}

TRANSITIONS: dict[State, dict[Move, State]] = {
    State.CHOOSING: {**_OPENINGS, Move.ABANDON: State.ABANDONED},
    State.AT_META: {
        Move.LOG_IN: State.AT_META,
        Move.RETURN: State.EXCHANGING,
        Move.REFUSE: State.STUCK,
        **_ANYWHERE,
    },
    State.EXCHANGING: {
        Move.GO_ON: State.EXCHANGING,
        Move.FIND_MANY: State.PICKING,
        Move.FIND_ONE: State.TAKING,
        Move.WAIT: State.EXCHANGING,
        Move.REFUSE: State.STUCK,
        **_ANYWHERE,
    },
    State.PICKING: {
        Move.PICK: State.TAKING,
        Move.LOG_IN: State.AT_META,
        **_ANYWHERE,
    },
    State.TAKING: {
        Move.GO_ON: State.TAKING,
        Move.TAKE: State.PROVING,
        # The sharing that was asked for waits for the partner's yes.
        Move.SHARE: State.SHARING,
        Move.WAIT: State.TAKING,
        Move.REFUSE: State.STUCK,
        **_ANYWHERE,
    },
    State.ENTERING: {
        Move.SUBMIT: State.TAKING,
        Move.FORWARD: State.WITH_COLLEAGUE,
        **_ANYWHERE,
    },
    State.WITH_COLLEAGUE: {
        Move.SUBMIT: State.TAKING,
        Move.RECALL: State.ENTERING,
        Move.REFUSE: State.STUCK,
        **_ANYWHERE,
    },
    State.SHARING: {
        Move.LOG_IN: State.AT_META,
        Move.FIND_ONE: State.TAKING,
        Move.WAIT: State.SHARING,
        Move.REFUSE: State.STUCK,
        **_ANYWHERE,
    },
    State.PROVING: {
        Move.PROVE: State.CONNECTED,
        Move.WAIT: State.PROVING,
        Move.REFUSE: State.STUCK,
        **_ANYWHERE,
    },
    State.STUCK: {**_OPENINGS, Move.PICK: State.TAKING, **_ANYWHERE},
    State.CONNECTED: {},
    State.ABANDONED: {},
}


class NoSuchMove(Exception):
    """The session is where this cannot happen: it was done already, or elsewhere."""


def after(state: State, move: Move) -> State:
    """Where the move leads. Raises NoSuchMove."""
    try:
        return TRANSITIONS[state][move]
    except KeyError:
        raise NoSuchMove(f"{move} does not lead on from {state}.") from None


# The drawing in docs/connect-a-pixel.md.

PAGE = Path(__file__).parents[1] / "docs" / "connect-a-pixel.md"
BEGINS, ENDS_HERE = "<!-- journey: made from onboarding/journey.py -->", "<!-- /journey -->"


def drawing() -> str:
    """The states and their moves as a Mermaid diagram. What may be done from everywhere is said, and not drawn."""
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {State.CHOOSING}"]
    for state, moves in TRANSITIONS.items():
        by_end: dict[State, list[str]] = {}
        for how, end in moves.items():
            if how not in _ANYWHERE:
                by_end.setdefault(end, []).append(how.replace("_", " "))
        lines += [f"    {state} --> {end}: {', '.join(names)}" for end, names in by_end.items()]
    lines += [f"    {state} --> [*]" for state in State if state in ENDS]
    return "\n".join([*lines, "```"])


def with_drawing(page: str) -> str:
    """The page with the drawing between its two marks. Raises ValueError where they are missing."""
    before, begins, rest = page.partition(BEGINS)
    _, ends, after_it = rest.partition(ENDS_HERE)
    if not begins or not ends:
        raise ValueError(f"docs/connect-a-pixel.md has no {BEGINS} … {ENDS_HERE}.")
    return f"{before}{begins}\n\n{drawing()}\n\n{ends}{after_it}"


def main() -> None:
    """Draw the page's diagram anew."""
    parser = argparse.ArgumentParser(description="How connecting a pixel goes.")
    parser.add_argument(
        "--write-docs", action="store_true", required=True, help="draw docs/connect-a-pixel.md anew"
    )
    parser.parse_args()
    PAGE.write_text(with_drawing(PAGE.read_text()))


if __name__ == "__main__":
    main()
