"""Ways to reach leases, so that every benchmark can be run through each: embedded in the process now;
through a host agent once there is one (a class here, and its name in ``CLIENTS``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import diskpaxos


class Client(Protocol):
    """One process's way to its leases.  ``held`` is whatever take returned."""

    def take(self, names: Sequence[str], *, shared: bool = False, timeout: float | None = 0) -> Any: ...
    def release(self, held: Any) -> None: ...
    def create(self, names: Sequence[str]) -> None: ...
    def leave(self) -> None: ...


class Embedded:
    """The engine runs in this process, which is a host of its own."""

    def __init__(self, paths: Sequence[Path], name: str = "bench") -> None:
        self.space = diskpaxos.Lockspace.open(paths)
        try:
            self.host = self.space.join(name)
        except BaseException:
            self.space.close()
            raise

    def take(self, names: Sequence[str], *, shared: bool = False, timeout: float | None = 0) -> Any:
        if len(names) == 1 and not shared:
            return [self.host.acquire(names[0], timeout=timeout)]  # as most people would write it
        mode: Any = "shared" if shared else "exclusive"
        return self.host.acquire_many([diskpaxos.Request(name, mode) for name in names], timeout)

    def release(self, held: Any) -> None:
        if len(held) == 1:
            held[0].release()
        else:
            self.host.release_many(held)

    def create(self, names: Sequence[str]) -> None:
        for name in names:
            self.host.create(name)

    def leave(self) -> None:
        try:
            self.host.leave(release=True)
        finally:
            self.space.close()


CLIENTS: dict[str, Callable[..., Client]] = {"embedded": Embedded}
