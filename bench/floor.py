"""The floor program (floor.c): bare I/Os on one file, timed by the program itself."""

from __future__ import annotations

from pathlib import Path

from child import HERE, Child, compiled


class Floor(Child):
    """``steps`` is a sequence like "r36864w512r36864": floor.c tells the details."""

    def __init__(self, path: str | Path) -> None:
        super().__init__([compiled(HERE / "floor.c"), path])

    def run(self, steps: str, at: int, *, count: int = 1, depth: int = 1, apart: int = 0) -> float:
        """Seconds for the sequence, done once; of ``count`` I/Os a step, ``depth`` in flight together."""
        return int(self.ask(f"{count} {depth} {at} {apart} 0 {steps}").split()[0]) / 1e9

    def begin(self, steps: str, at: int, until: int) -> None:
        """Repeat the sequence until then (nanoseconds of CLOCK_BOOTTIME); :meth:`ended` gives the result."""
        self.send(f"1 1 {at} 0 {until} {steps}")

    def ended(self) -> tuple[float, int]:
        """Seconds, and how often the sequence was done."""
        took, times = self.answer().split()
        return int(took) / 1e9, int(times)
