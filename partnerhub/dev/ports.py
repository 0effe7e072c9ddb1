"""Ports of the local processes: near the usual ones, the same at every start, never one that is taken.

A port is claimed for as long as the claiming process lives, so that two checkouts that start in the same
second do not choose the same one before either listens.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
PREFERRED = {"web": 8000, "collector": 8001, "sandbox": 8002, "smtp": 8003}

# A checkout whose ports are taken moves all of them up by the same step as a rule: 8010, 8011, 8012, 8013.
STEP = 10
STEPS = 100

MEMORY = "ports.json"


class PortsError(Exception):
    """No port is free near the usual one; the text is a sentence."""


@dataclass(frozen=True, slots=True)
class Ports:
    """A port for each name of PREFERRED, claimed until `release()` or the end of this process."""

    numbers: Mapping[str, int]
    _claims: tuple[socket.socket, ...] = field(default=(), repr=False)

    def __getitem__(self, name: str) -> int:
        return self.numbers[name]

    def url(self, name: str) -> str:
        """The base address, without a slash at its end."""
        return f"http://{HOST}:{self.numbers[name]}"

    def release(self) -> None:
        """Lets others take the ports. A second call does nothing."""
        for claim in self._claims:
            claim.close()


def claim_ports(state: Path, preferred: Mapping[str, int] = PREFERRED) -> Ports:
    """The ports that this checkout had the last time where they are free, else the next free ones.

    Remembers them in `ports.json`. Raises PortsError.
    """
    remembered = _remembered(state)
    numbers: dict[str, int] = {}
    claims: list[socket.socket] = []
    for name, usual in preferred.items():
        candidates = [remembered.get(name, usual), *range(usual, usual + STEP * STEPS, STEP)]
        for number in candidates:
            if (claim := _claim(number)) is not None:
                numbers[name] = number
                claims.append(claim)
                break
        else:
            raise PortsError(f"No port for {name} is free between {candidates[0]} and {candidates[-1]}.")
    state.mkdir(parents=True, exist_ok=True)
    (state / MEMORY).write_text(json.dumps(numbers, indent=2) + "\n")
    return Ports(numbers, tuple(claims))


def last_ports(state: Path) -> Ports:
    """The ports of this checkout's latest start, or the usual ones; claims none."""
    return Ports({**PREFERRED, **_remembered(state)})


def _remembered(state: Path) -> dict[str, int]:
    try:
        found = json.loads((state / MEMORY).read_text())
    except (OSError, ValueError):
        return {}
    return {name: number for name, number in found.items() if isinstance(number, int)}


def _claim(number: int) -> socket.socket | None:
    """A socket that claims the port among PartnerHub's checkouts; None where the port is taken.

    The claim is an abstract Unix socket: like the port it belongs to the network namespace, and it leaves
    nothing behind when its process is killed. A TCP socket of our own would not do: one that does not listen
    keeps nobody out who sets SO_REUSEADDR, and without that option a port that served a minute ago looks
    taken.
    """
    claim = socket.socket(socket.AF_UNIX)
    try:
        claim.bind(f"\0partnerhub-port-{number}")
        with socket.socket(socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((HOST, number))
    except (OSError, OverflowError):
        claim.close()
        return None
    return claim
