"""What was seen from outside of the guests, in one order, by one clock: the evidence that the checker judges.

Times are seconds of this machine's CLOCK_BOOTTIME, taken when the observer saw the thing.  A history is kept as lines
of JSON, one event each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias


@dataclass(frozen=True)
class Write:
    """A cell of the guarded disk has a new content, by some session of a holder."""

    at: float
    lease: str
    token: int
    host: str
    session: str
    n: int  # of that session's writes
    saw: int = 0  # the token that the writer had read there just before
    saw_session: str = ""


@dataclass(frozen=True)
class Told:
    """A line of a holder's log: waits, taken, writes, released, lost, ended, joined, member-ended, late."""

    at: float
    host: str
    holder: str  # run, library
    event: str
    lease: str = ""
    token: int = 0
    pid: int = 0
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Beat:
    """A host record of the lockspace moved on the disk (only where the disk can be read from outside)."""

    at: float
    name: str  # the label of the member: h1-run, h2-library
    slot: int
    generation: int
    counter: int


@dataclass(frozen=True)
class Fault:
    """Something was done to a host, or to its storage."""

    at: float
    number: int
    kind: str
    target: str
    hits: tuple[str, ...]  # whose holders it may cost their leases
    seconds: float  # how long it is meant to last
    what: str = ""  # the holder that is killed


@dataclass(frozen=True)
class Healed:
    """What a fault did is undone: power is on, the disk answers."""

    at: float
    number: int


Event: TypeAlias = Write | Told | Beat | Fault | Healed
_KINDS = {kind.__name__.lower(): kind for kind in (Write, Told, Beat, Fault, Healed)}


def encode(event: Event) -> str:
    """One line."""
    return json.dumps({"is": type(event).__name__.lower(), **asdict(event)})


def decode(line: str) -> Event:
    """The event of a line."""
    fields = json.loads(line)
    kind = _KINDS[fields.pop("is")]
    if kind is Fault:
        fields["hits"] = tuple(fields["hits"])
    event: Event = kind(**fields)
    return event


def read(path: Path) -> Iterator[Event]:
    """A history from its file; half a line at the end, of an observer that was killed, is left out."""
    with path.open() as file:
        for line in file:
            if line.endswith("\n"):
                yield decode(line)


def of(events: Iterable[Event], kind: type[Any]) -> list[Any]:
    """The events of one kind, in their order."""
    return [event for event in events if type(event) is kind]
