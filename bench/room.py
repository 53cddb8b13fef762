"""A lockspace that is being measured, and the type of the measuring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from clients import Client
from floor import Floor
from limits import queue_depth
from measure import Timed

import diskpaxos

_FLOOR_AREAS = 1024  # areas 1 … of every lockspace have no lease: the floor works there


class Room:
    """A lockspace that is being measured: names without collisions, and a place for the floor."""

    def __init__(self, paths: Sequence[Path], client: Client, floor: Floor) -> None:
        self.paths = tuple(paths)
        self.client = client
        self.floor = floor
        with diskpaxos.Lockspace.open(self.paths, read_only=True) as space:
            self.shape = space.geometry
        self._names = 0
        most = min(_FLOOR_AREAS, self.shape.max_leases // 2)
        self._used = set(range(most + 1))
        self.area = self.shape.area_blocks * self.shape.block_size
        # An own block, like those that diskpaxos writes, of areas in which no lease ever is.
        self.at = self.shape.own_block(1, self.shape.max_hosts // 2) * self.shape.block_size

    def fresh(self, count: int = 1) -> list[str]:
        """Leases made now; each lies where its name says, so that no probing is measured."""
        made: list[str] = []
        while len(made) < count:
            name = f"lease-{self._names}"
            self._names += 1
            if (home := self.shape.home_area(name.encode())) not in self._used:
                self._used.add(home)
                made.append(name)
        self.client.create(made)
        return made

    def bare(self, steps: str, count: int = 1, depth: int | None = None) -> float:
        """Seconds for the same I/Os made bare, as many in flight together as diskpaxos has (or ``depth``)."""
        apart = self.area if count > 1 else 0
        return self.floor.run(steps, self.at, count=count, depth=depth or queue_depth(), apart=apart)


class Compare(Protocol):
    """Alternates the floor and ours, operation by operation, and every so many of them sanlock.

    ``before`` prepares ours, untimed; ``floor`` and ``sanlock`` time themselves; of sanlock only one
    in ``sparse`` rounds is made where it is so slow that nothing else would be done.
    """

    def __call__(
        self,
        row: str,
        operation: Callable[[], object],
        *,
        before: Callable[[], object] = lambda: None,
        floor: Timed | None = None,
        sanlock: Timed | None = None,
        sparse: int = 1,
        most: int = 1_000_000,
        note: str = "",
    ) -> None: ...
