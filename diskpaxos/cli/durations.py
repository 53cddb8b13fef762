"""Durations on the command line: ``30s``, ``500ms``, ``2m``, ``1h``; a bare number means seconds."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import click

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)\s*(ms|s|m|h|)", re.ASCII)
_SECONDS = {"ms": 1e-3, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}
LONGEST = 10 * 365 * 86400.0  # seconds; who waits longer means for ever
_WORDS_FOR_EVER = ("forever", "infinite")

if TYPE_CHECKING:  # generic since click 8.4, and only for type checkers
    _ParamType = click.ParamType[float]
else:
    _ParamType = click.ParamType


def parse_duration(text: str) -> float:
    """Seconds.

    :raises ValueError: not a duration
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration like 30s, 500ms, 2m or 1h")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > LONGEST:
        shown = text if len(text) <= 20 else f"{text[:20]}…"
        raise ValueError(f"{shown!r} is not a duration of at most ten years like 30s, 500ms, 2m or 1h")
    return seconds


def format_duration(seconds: float) -> str:
    """The shortest text that people grasp: 450ms, 2.5s, 40s, 1m 12s, 3h 5m, 2d 4h."""
    if math.isinf(seconds):
        return "for ever"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + "s"
    whole = round(seconds)
    for unit, name, smaller, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "m"), (60, "m", 1, "s")):
        if whole >= unit:
            rest = whole % unit // smaller
            return f"{whole // unit}{name}" + (f" {rest}{small}" if rest else "")
    return f"{whole}s"


class Duration(_ParamType):
    """A click type: seconds as a float; with ``forever`` allowed, that is infinity."""

    name = "duration"

    def __init__(self, forever: bool = False) -> None:
        self.forever = forever

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse, or fail with a usage error."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value)
        if self.forever and text in _WORDS_FOR_EVER:
            return math.inf
        try:
            return parse_duration(text)
        except ValueError as error:
            also = ", or forever" if self.forever else ""
            self.fail(f"{error}{also}", param, ctx)
