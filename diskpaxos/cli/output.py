"""What commands print: tables and facts for people, JSON for programs, progress on stderr.

With `rich` (the extra `cli`) tables are drawn and progress is shown by it; without, and whenever
the output is not a terminal, all is plain text.  Into a log goes a line about what takes long, and
another from time to time: nobody should wonder what a command waits for.
"""

from __future__ import annotations

import enum
import json
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

import click

Progress = Callable[[str, int, int], object]

_LONG = 2.0  # seconds after which something that is not over yet is worth a line in a log …
_AGAIN = 10.0  # … and how soon the next one


def plain(value: object) -> Any:
    """A value as JSON can hold it: dataclasses as objects, UUIDs and enums as text, bytes as hexadecimal."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return plain(value.item()) if hasattr(value, "item") else str(value)


_SURROGATE = re.compile("[\ud800-\udfff]")


def print_json(value: object) -> None:
    """One JSON document on stdout.  A byte of a path that is not UTF-8 is a lone surrogate, ``\\udcff``, from which a
    program gets it back (PEP 383)."""
    text = json.dumps(plain(value), indent=2, ensure_ascii=False)
    click.echo(_SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text))


def printable(text: str) -> str:
    """Text from a disk or a path, with nothing in it that steers a terminal; bytes that are no text as ``\\xff``."""
    return "".join(c if c.isprintable() else _escaped(ord(c)) for c in text)


def _escaped(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # how Python keeps a byte of a path that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def moment(seconds: float) -> str:
    """A wall-clock time; "-" when unknown."""
    if seconds <= 0:
        return "-"
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def size(count: int) -> str:
    """Bytes in the unit that people use."""
    if count < 1024:
        return f"{count} B"
    value, unit = float(count), ""
    for unit in ("KiB", "MiB", "GiB", "TiB"):  # noqa: B007 - the last one is used
        value /= 1024
        if value < 1023.95:
            break
    return f"{value:.1f}".removesuffix(".0") + f" {unit}"


def facts(pairs: Sequence[tuple[str, object]]) -> None:
    """Names and values, one a line."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        click.echo(f"{name + ':':<{width + 1}}  {printable(str(value))}")


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Rows under headings; numbers to the right."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    right = [all(isinstance(row[i], int | float) for row in rows) and bool(rows) for i in range(len(headings))]
    if sys.stdout.isatty() and _rich_table(headings, cells, right):
        return
    widths = [max(len(cell) for cell in column) for column in zip(headings, *cells, strict=True)]
    for row in (headings, *cells):
        parts = [
            f"{cell:>{width}}" if number else f"{cell:<{width}}"
            for cell, width, number in zip(row, widths, right, strict=True)
        ]
        click.echo("  ".join(parts).rstrip())


def _rich_table(headings: Sequence[str], cells: list[list[str]], right: list[bool]) -> bool:
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading, number in zip(headings, right, strict=True):
        drawn.add_column(heading, justify="right" if number else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(cell) for cell in row))
    Console(highlight=False).print(drawn)
    return True


@contextmanager
def progress(shown: bool = True) -> Iterator[Progress | None]:
    """A function to tell how far something is; None when it is not to be shown."""
    if not shown:
        yield None
        return
    if not sys.stderr.isatty():
        yield _LogProgress()
        return
    try:
        from rich.console import Console
        from rich.progress import Progress as Bars
    except ImportError:
        try:
            yield _plain_progress
        finally:
            click.echo("\r\x1b[K", nl=False, err=True)
        return
    with Bars(console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def advance(action: str, done: int, total: int) -> None:
            if action not in tasks:
                tasks[action] = bars.add_task(action, total=total)
            bars.update(tasks[action], completed=done, total=total)

        yield advance


class _LogProgress:
    """Lines for who cannot see a bar move."""

    def __init__(self) -> None:
        self.action = ""
        self.next = 0.0

    def __call__(self, action: str, done: int, total: int) -> None:
        now = time.monotonic()
        if action != self.action:
            self.action, self.next = action, now + _LONG
        if now >= self.next and done < total:
            self.next = now + _AGAIN
            hint(f"{action}: {done:,} of {total:,}")


def _plain_progress(action: str, done: int, total: int) -> None:
    click.echo(f"\r{action}: {100 * done // max(total, 1)} %\x1b[K", nl=False, err=True)


def hint(text: str) -> None:
    """A remark for people, on stderr, so that it is never taken for output."""
    click.echo(f"diskpaxos: {printable(text)}", err=True)
