"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from diskpaxos.lockspace import Lockspace

LOCKSPACE_VARIABLE = "DISKPAXOS_LOCKSPACE"

Command = TypeVar("Command", bound=Callable[..., Any])


def lockspace_option(function: Command) -> Command:
    """``--lockspace PATH``, as often as the lockspace has disks; argument ``lockspace``."""
    return click.option(
        "-L",
        "--lockspace",
        "lockspace",
        metavar="PATH",
        multiple=True,
        envvar=LOCKSPACE_VARIABLE,
        show_envvar=True,
        help="File or device of the lockspace; once for each of its 1, 3 or 5 disks.  "
        "In the variable, paths are separated by blanks.",
    )(function)


def json_option(function: Command) -> Command:
    """``--json``; argument ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")(function)


def paths_of(ctx: click.Context, lockspace: tuple[str, ...]) -> tuple[str, ...]:
    """The paths given to this command or to the group that it belongs to.

    :raises click.UsageError: none
    """
    paths = lockspace or tuple((ctx.obj or {}).get("lockspace", ()))
    if not paths:
        raise click.UsageError(f"which lockspace?  Give --lockspace PATH, or set {LOCKSPACE_VARIABLE}.", ctx=ctx)
    return paths


def open_lockspace(ctx: click.Context, lockspace: tuple[str, ...], *, read_only: bool) -> Lockspace:
    """Open what was given; closed by click at the end of the command."""
    space = Lockspace.open(paths_of(ctx, lockspace), read_only=read_only)
    return ctx.with_resource(space)
