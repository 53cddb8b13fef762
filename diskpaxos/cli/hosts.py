"""`diskpaxos hosts`: the host slots, and `hosts retire`."""

from __future__ import annotations

import sys
import time

import click

from diskpaxos import errors
from diskpaxos.cli.durations import Duration, format_duration
from diskpaxos.cli.exit_codes import ExitCode
from diskpaxos.cli.options import json_option, lockspace_option, open_lockspace
from diskpaxos.cli.output import hint, moment, print_json, printable, table
from diskpaxos.cli.trouble import Trouble
from diskpaxos.lockspace import Lockspace
from diskpaxos.views import Drain, HostInfo, Liveness


@click.group(invoke_without_command=True, short_help="The host slots: alive, dead, drained.")
@lockspace_option
@click.option(
    "--watch",
    metavar="DURATION",
    type=Duration(),
    help="How long to watch for heartbeats: S / 4, the default, shows every healthy host alive, T_dead every "
    "dead one dead.",
)
@click.option("--all", "everything", is_flag=True, help="Free slots too.")
@json_option
@click.pass_context
def hosts(ctx: click.Context, lockspace: tuple[str, ...], watch: float | None, everything: bool, as_json: bool) -> None:
    """Show the host slots that are in use, and what is known about the host in each.

    \b
    alive    a heartbeat was seen while watching
    silent   none was seen, but not for long enough to be sure
    dead     none for T_dead, or another host says so; "not drained" until its last write
             certainly cannot come any more

    \b
    Examples:
      diskpaxos hosts --lockspace /shared/locks
      diskpaxos hosts --lockspace /shared/locks --watch 75s --json
      diskpaxos hosts --lockspace /shared/locks retire 3
    """
    if ctx.invoked_subcommand is not None:
        ctx.ensure_object(dict)["lockspace"] = lockspace
        return
    space = open_lockspace(ctx, lockspace, read_only=True)
    seen = space.hosts()
    if any(host.liveness is not Liveness.FREE for host in seen):
        seconds = space.info().outage_tolerance / 4 if watch is None else watch
        if seconds > 2 and not as_json:
            hint(f"watching for heartbeats for {format_duration(seconds)} …")
        seen = space.hosts(watch=seconds)
    shown = [host for host in seen if everything or host.liveness is not Liveness.FREE]
    if as_json:
        print_json(shown)
        return
    if not shown:
        click.echo("no host has joined")
        return
    now = time.time()
    table(
        ["SLOT", "HOST", "STATE", "LAST HEARTBEAT", "JOINED", "PID", "GENERATION"],
        [
            [
                host.slot,
                host.name or "-",
                state_of(host),
                _ago(now, host.last_heartbeat),
                moment(host.joined_at),
                host.pid,
                host.generation,
            ]
            for host in shown
        ],
    )


def state_of(host: HostInfo) -> str:
    """Liveness and drain in words."""
    if host.liveness is Liveness.DEAD:
        return "dead, not drained" if host.drain is Drain.PENDING else f"dead, drained ({host.drain})"
    if host.liveness is Liveness.SILENT:
        return f"silent for {format_duration(host.silent_for)}"
    return str(host.liveness)


def _ago(now: float, then: float) -> str:
    if then <= 0:
        return "-"
    # The clock is that of the host that wrote it.
    return f"{format_duration(max(now - then, 0.0))} ago"


@hosts.command(short_help="Declare that a dead host's machine is off for good.")
@click.argument("slot", type=int)
@lockspace_option
@click.option(
    "--wait",
    metavar="DURATION",
    type=Duration(forever=True),
    default="forever",
    show_default=True,
    help="How long to wait for the slot to have been silent for T_dead.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def retire(ctx: click.Context, slot: int, lockspace: tuple[str, ...], wait: float, yes: bool) -> None:
    """Free SLOT, whose host is dead, by stating that its machine is off or gone, so that no write of it
    can come any more.

    Said of a machine that still runs, and be it with a hung mount, this breaks the protection of leases.

    \b
    Example:
      diskpaxos hosts retire 3 --lockspace /shared/locks
    """
    space = open_lockspace(ctx, lockspace, read_only=False)
    host = _slot(space, slot)
    who = f"slot {slot}, host {printable(host.name)!r}, last heartbeat {moment(host.last_heartbeat)}"
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("add --yes: there is no terminal to ask at.", ctx=ctx)
        click.confirm(f"Retire {who}: is its machine certainly off or gone?", abort=True, err=True)
    hint(f"waiting until the slot has been silent for {format_duration(host.dead_time)} …")
    try:
        space.retire(slot, None if wait == float("inf") else wait)
    except errors.WaitTimeoutError as error:
        raise Trouble(
            f"slot {slot} was not silent for long enough within {format_duration(wait)}",
            ExitCode.IN_USE,
            error.effect or "it is not free yet",
            "wait longer; if its host is alive, stop diskpaxos there instead",
        ) from None
    click.echo(f"retired: {who}")


def _slot(space: Lockspace, slot: int) -> HostInfo:
    seen = space.hosts()
    if not 0 <= slot < len(seen):
        raise Trouble(f"there is no slot {slot}: they are 0 to {len(seen) - 1}", ExitCode.NOT_FOUND)
    if seen[slot].liveness is Liveness.FREE:
        raise Trouble(f"slot {slot} is free already", ExitCode.NOT_FOUND, "nothing was changed")
    return seen[slot]
