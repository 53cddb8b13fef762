"""Commands that only look: `info`, `leases`, `dump`."""

from __future__ import annotations

from typing import Any

import click

from diskpaxos.cli.durations import Duration, format_duration
from diskpaxos.cli.exit_codes import ExitCode
from diskpaxos.cli.options import json_option, lockspace_option, open_lockspace
from diskpaxos.cli.output import facts, moment, plain, print_json, printable, size, table
from diskpaxos.cli.trouble import Trouble
from diskpaxos.views import Holder, LeaseInfo, LockspaceInfo


@click.command(short_help="What the lockspace is, and how its disks are.")
@lockspace_option
@json_option
@click.pass_context
def info(ctx: click.Context, lockspace: tuple[str, ...], as_json: bool) -> None:
    """Show the lockspace's shape and timings, how much of it is used, and the state of its disks.

    \b
    Example:
      diskpaxos info --lockspace /shared/locks
    """
    space = open_lockspace(ctx, lockspace, read_only=True)
    seen = space.info()
    leases_used = len(space.leases())
    hosts_used = sum(host.liveness != "free" for host in space.hosts())
    if as_json:
        print_json({**plain(seen), "hosts_used": hosts_used, "leases_used": leases_used})
        return
    facts(_info_facts(seen, hosts_used, leases_used))
    click.echo()
    table(
        ["DISK", "STATE", "PATH"],
        [
            [disk.index if disk.index >= 0 else "-", "online" if disk.online else disk.trouble, disk.path]
            for disk in seen.disks
        ],
    )


def _info_facts(seen: LockspaceInfo, hosts_used: int, leases_used: int) -> list[tuple[str, object]]:
    return [
        ("lockspace", seen.name),
        ("uuid", seen.uuid),
        ("created", moment(seen.created_at)),
        ("format", f"version {seen.format_version}, blocks of {seen.block_size} bytes, {size(seen.size)} a disk"),
        ("host slots", f"{hosts_used} of {seen.max_hosts} used"),
        # Lease 0 is the lockspace's own.
        ("leases", f"{leases_used} of {seen.max_leases - 1} made"),
        ("outage tolerance (S)", format_duration(seen.outage_tolerance)),
        ("kill grace (K)", format_duration(seen.kill_grace)),
        ("watchdog (W)", format_duration(seen.watchdog_timeout)),
        ("claim time", format_duration(seen.claim_time)),
        ("a heartbeat every", format_duration(seen.heartbeat)),
        ("a dead host's leases are free after", format_duration(seen.dead_time)),
    ]


@click.command(short_help="Who holds what.")
@lockspace_option
@click.option(
    "--watch",
    metavar="DURATION",
    type=Duration(),
    default="0s",
    help="Watch the holders' heartbeats for so long, to tell the living from the dead.",
)
@click.option("--held", is_flag=True, help="Only those that somebody holds.")
@json_option
@click.pass_context
def leases(ctx: click.Context, lockspace: tuple[str, ...], watch: float, held: bool, as_json: bool) -> None:
    """List the named leases: who holds each, for what, since when, and under which token.

    \b
    Examples:
      diskpaxos leases --lockspace /shared/locks --held
      diskpaxos leases --lockspace /shared/locks --json | jq -r '.[] | select(.state == "held") | .name'
    """
    space = open_lockspace(ctx, lockspace, read_only=True)
    seen = [lease for lease in space.leases(watch=watch) if lease.holders or not held]
    if as_json:
        print_json(seen)
        return
    if not seen:
        click.echo("no lease is held" if held else "no leases")
        return
    rows = [row for lease in seen for row in _lease_rows(lease)]
    table(["LEASE", "STATE", "HOST", "SLOT", "MODE", "TOKEN", "SINCE", "FOR"], rows)


def _lease_rows(lease: LeaseInfo) -> list[list[object]]:
    if not lease.holders:
        return [[lease.name, lease.state, "-", "-", "-", lease.last_token or "-", "-", ""]]
    return [
        [
            lease.name,
            _state(lease, holder),
            holder.host or "?",
            holder.slot,
            holder.mode,
            holder.token,
            moment(holder.since),
            holder.label,
        ]
        for holder in lease.holders
    ]


def _state(lease: LeaseInfo, holder: Holder) -> str:
    known = holder.liveness in ("alive", "dead", "silent")
    return f"{lease.state}, host {holder.liveness}" if known and lease.state == "held" else lease.state


@click.command(short_help="One block, decoded.")
@lockspace_option
@click.option("--block", type=int, help="By its number.")
@click.option("--slot", type=int, help="The record of a host slot; with --area or --lease: its own block there.")
@click.option("--area", type=int, help="The header of a lease area.")
@click.option("--lease", help="The header of a lease, by its name.")
@click.option("--disk", type=int, default=0, show_default=True, help="Index of the disk to read.")
@json_option
@click.pass_context
def dump(
    ctx: click.Context,
    lockspace: tuple[str, ...],
    block: int | None,
    slot: int | None,
    area: int | None,
    lease: str | None,
    disk: int,
    as_json: bool,
) -> None:
    """Show every field of one block of one disk, and whether the block is sound.

    Without an option it is the superblock.  docs/format.md explains the fields.

    \b
    Examples:
      diskpaxos dump --lockspace /shared/locks --slot 3
      diskpaxos dump --lockspace /shared/locks --lease vm1 --slot 3
    """
    if lease is not None and area is not None:
        raise click.UsageError("give --lease or --area, not both.", ctx=ctx)
    space = open_lockspace(ctx, lockspace, read_only=True)
    if lease is not None:
        found = [known.area for known in space.leases() if known.name == lease]
        if not found:
            raise Trouble(f"there is no lease {lease!r}", ExitCode.NOT_FOUND, advice="`diskpaxos leases` lists them")
        area = found[0]
    fields: dict[str, Any] = space.dump(block=block, slot=slot, area=area, disk=disk)
    if as_json:
        print_json(fields)
        return
    facts([(name, _field(value)) for name, value in fields.items()])


def _field(value: object) -> str:
    shown = plain(value)
    if isinstance(shown, list):
        return " ".join(map(str, shown))
    return printable(str(shown)) or "-"
