"""Arguments of the public calls: checked here, before anything is done."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, TypeAlias

from diskpaxos import _core
from diskpaxos.errors import InvalidArgumentError, InvalidNameError

Mode: TypeAlias = Literal["exclusive", "shared"]
StrPath: TypeAlias = str | os.PathLike[str]
Paths: TypeAlias = StrPath | Sequence[StrPath]

MODES: dict[str, int] = {"shared": _core.MODE_SHARED, "exclusive": _core.MODE_EXCLUSIVE}
MODE_NAMES: dict[int, Mode] = {_core.MODE_SHARED: "shared", _core.MODE_EXCLUSIVE: "exclusive"}

_LIMITS = {
    "lease": _core.LEASE_NAME_MAX,
    "lockspace": _core.SPACE_NAME_MAX,
    "host": _core.HOST_NAME_MAX,
    "label": _core.LABEL_MAX,
}
_LONGEST = 10 * 365 * 86400  # seconds; what is longer is as good as for ever


def name_bytes(name: str, kind: str) -> bytes:
    """UTF-8 of a valid name; ``kind``: "lease" (1 to 200 bytes), "lockspace" or "host" (1 to 63),
    "label" (1 to 64).

    :raises InvalidNameError: empty, too long, not UTF-8, or with control characters
    """
    if not isinstance(name, str):
        raise InvalidNameError(repr(name), kind, "not a str")
    return _checked(name, kind)


@lru_cache(maxsize=4096)  # the same names come again and again
def _checked(name: str, kind: str) -> bytes:
    limit = _LIMITS[kind]
    if not name:
        raise InvalidNameError(name, kind, "it is empty")
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidNameError(name, kind, "it has no UTF-8 form") from None
    if len(encoded) > limit:
        raise InvalidNameError(name, kind, f"it takes {len(encoded)} bytes, at most {limit} are allowed")
    if not _core.name_valid(encoded, limit):
        raise InvalidNameError(name, kind, "NUL, newline and other control characters are not allowed")
    if kind == "lease" and encoded == _core.DIRECTORY_NAME:
        raise InvalidNameError(name, kind, "it is the lockspace's own")
    return encoded


def label_bytes(label: str) -> bytes:
    """UTF-8 of a holder's label; empty is fine, the rest as for names.

    :raises InvalidNameError: too long, not UTF-8, or with control characters
    """
    return name_bytes(label, "label") if label else b""


def mode_number(mode: str) -> int:
    """:raises InvalidArgumentError: neither "exclusive" nor "shared\""""
    try:
        return MODES[mode]
    except (KeyError, TypeError):
        raise InvalidArgumentError(f"mode must be 'exclusive' or 'shared', not {mode!r}") from None


def nanoseconds(seconds: float | None) -> int | None:
    """A timeout in seconds; None and infinity: for ever (None).

    :raises InvalidArgumentError: negative or not a number
    """
    if seconds is None:
        return None
    if seconds == 0:  # the usual one
        return 0
    try:
        value = float(seconds)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"a timeout must be a number of seconds or None, not {seconds!r}") from None
    except OverflowError:  # an integer beyond every float
        value = math.inf if seconds > 0 else -math.inf
    if math.isnan(value) or value < 0:
        raise InvalidArgumentError(f"a timeout must not be negative: {seconds!r}")
    return None if value > _LONGEST else round(value * 1e9)


def path_list(paths: Paths) -> tuple[str, ...]:
    """One path or several, as text.

    :raises InvalidArgumentError: none, or more than a lockspace can have
    """
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    listed = tuple(os.fspath(path) for path in given)
    if not 1 <= len(listed) <= _core.MAX_DISKS:
        raise InvalidArgumentError(f"give 1 to {_core.MAX_DISKS} paths, not {len(listed)}")
    for path in listed:
        if not isinstance(path, str):
            raise InvalidArgumentError(f"a path must be text, not {path!r}")
        if not path or "\0" in path or len(os.fsencode(path)) > 500:
            raise InvalidArgumentError(f"{path!r} is not a usable path")
    return listed
