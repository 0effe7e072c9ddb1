"""Named places at which a fault run ends, stalls or breaks this process; in production each is a no-op.

CRASH_POINTS names what happens where: `after_commit:kill:3` kills the process with SIGKILL at the third pass of
`after_commit`. A comma separates several. Actions: `kill`, `raise`, and `stall:<seconds>`; the number of the pass
comes last and is 1 by default. What the text does not name does nothing, and a name that no code has is refused.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from typing import Final, Literal

NAMES: Final = frozenset(
    {
        # The collector's commit.
        "before_copy",
        "mid_copy",
        "before_commit",
        "after_commit",
        # The worker's delivery.
        "after_claim",
        "after_mark",
        "mid_send",
        "after_send",
        "before_settle",
        "after_settle",
        "mid_split",
        # The worker's mails about tokens.
        "before_mail",
        "after_mail",
        # The worker's step of an onboarding session.
        "session_leased",
        "session_advanced",
        "session_proven",
        "session_connecting",
        # The operator's rotation of master keys.
        "mid_rotate",
        "after_rotate",
    }
)


class CrashPointError(RuntimeError):
    """A fault run asked for an exception here."""


@dataclass(slots=True)
class _Charge:
    action: Literal["kill", "raise", "stall"]
    seconds: float = 0.0
    passes_left: int = 1
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_by(self, name: str) -> None:
        with self.lock:
            self.passes_left -= 1
            if self.passes_left:
                return
        if self.action == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.action == "stall":
            time.sleep(self.seconds)
        else:
            raise CrashPointError(f"crash point {name}")


def _read(text: str) -> dict[str, _Charge]:
    charges: dict[str, _Charge] = {}
    for entry in filter(None, (part.strip() for part in text.split(","))):
        name, *words = entry.split(":")
        match words:
            case [("kill" | "raise") as action, *rest]:
                charge = _Charge(action)
            case ["stall", seconds, *rest]:
                charge = _Charge("stall", seconds=float(seconds))
            case _:
                raise ValueError(
                    f"CRASH_POINTS: {entry} is not name:kill, name:raise or name:stall:<seconds>."
                )
        if name not in NAMES or len(rest) > 1:
            raise ValueError(f"CRASH_POINTS: {entry} names no crash point, or says too much.")
        charge.passes_left = int(rest[0]) if rest else 1
        charges[name] = charge
    return charges


_charges = _read(os.environ.get("CRASH_POINTS", ""))


def crash_point(name: str) -> None:
    """Do what CRASH_POINTS says for this pass of `name`: nothing, unless this is a fault run.

    Raises CrashPointError where it says `raise`. Costs one look at an empty dictionary otherwise.
    """
    if _charges and (charge := _charges.get(name)) is not None:
        charge.pass_by(name)
