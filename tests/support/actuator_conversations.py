"""Read `conformance.txt`: the device's rules as conversations that any device can be held to."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from sorter.actuator.protocol import seal

TABLE = Path(__file__).parent / "conformance.txt"


@dataclass
class Step:
    """One thing done to the device (`verb`, `argument`) and all that must follow from it."""

    number: int
    verb: str
    data: bytes = b""
    wait_ms: int = 0
    replies: list[str] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


def conversations() -> Iterator[tuple[str, list[Step]]]:
    """(name, steps) of each conversation."""
    name, steps = "", list[Step]()
    for number, line in enumerate(TABLE.read_text(encoding="utf-8").splitlines(), 1):
        verb, _, rest = line.partition(" ")
        if verb == "#":
            if name:
                yield name, steps
            name, steps = rest, []
        elif not name or not line:
            continue
        elif verb == "<":
            steps[-1].replies.append(rest)
        elif verb == "=":
            steps[-1].events.append(rest)
        elif verb == ">":
            steps.append(Step(number, "say", data=seal(rest)))
        elif verb == ">>":
            steps.append(Step(number, "say", data=_raw(rest)))
        elif verb == "wait":
            steps.append(Step(number, "wait", wait_ms=int(rest)))
        else:
            steps.append(Step(number, verb))
    yield name, steps


def _raw(text: str) -> bytes:
    whole = re.sub(r"\{(.*?)\}", lambda found: seal(found[1]).decode().rstrip("\n"), text)
    return whole.encode().decode("unicode_escape").encode("latin-1")
