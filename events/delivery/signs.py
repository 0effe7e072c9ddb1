"""What an answer says of the pace and of Graph's health, told from its type."""

from __future__ import annotations

from events.pace import Sign, Word
from partnerhub.lib.graph import GraphAnswer
from partnerhub.lib.graph.errors import GraphError, InDoubt, RateLimited, Transient, Unsent


def sign_of(outcome: GraphAnswer | GraphError, seconds: float) -> Sign:
    """The sign that an outcome is, which came after so many seconds."""
    percent = outcome.usage.percent if outcome.usage else 0.0
    match outcome:
        case RateLimited():
            return Sign(Word.LIMITED, seconds, percent, app_wide=outcome.scope == "app")
        case InDoubt():
            return Sign(Word.SILENCE, seconds, percent)
        case Transient() | Unsent():
            return Sign(Word.FAULT, seconds, percent)
        case _:
            return Sign(Word.TAKEN, seconds, percent)
