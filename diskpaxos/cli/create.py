"""`diskpaxos init`: format a lockspace."""

from __future__ import annotations

import click

from diskpaxos.cli.durations import Duration, format_duration
from diskpaxos.cli.options import json_option
from diskpaxos.cli.output import facts, print_json, progress, size
from diskpaxos.lockspace import Lockspace


@click.command("init", short_help="Format a lockspace.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--name", help="Name of the lockspace, for people.  [default: last part of the first path]")
@click.option("--hosts", type=int, default=64, show_default=True, help="Host slots: twice your machines.")
@click.option("--leases", type=int, default=1024, show_default=True, help="Room for that many named leases.")
@click.option("--block-size", type=click.Choice(["512", "4096"]), help="Bytes.  [default: what the device needs]")
@click.option(
    "--outage-tolerance",
    metavar="DURATION",
    type=Duration(),
    default="40s",
    show_default=True,
    help="S: how long storage may be away before a host gives its leases up.",
)
@click.option(
    "--kill-grace",
    metavar="DURATION",
    type=Duration(),
    default="10s",
    show_default=True,
    help="K: how long holders then have to stop.",
)
@click.option(
    "--watchdog",
    metavar="DURATION",
    type=Duration(),
    default="10s",
    show_default=True,
    help="W: timeout of the hardware watchdog; at most K.",
)
@click.option(
    "--claim-time",
    metavar="DURATION",
    type=Duration(),
    default="1s",
    show_default=True,
    help="How long one write may take while a host joins.",
)
@click.option("--force", is_flag=True, help="Overwrite what lies there, though never what a living host uses.")
@json_option
def init(
    paths: tuple[str, ...],
    name: str | None,
    hosts: int,
    leases: int,
    block_size: str | None,
    outage_tolerance: float,
    kill_grace: float,
    watchdog: float,
    claim_time: float,
    force: bool,
    as_json: bool,
) -> None:
    """Format a lockspace on PATH: a file (made if missing) or a block device; or on 3 or 5 of them,
    of which any 1 or 2 may fail later.

    None of this can be changed afterwards.  Refuses what is not empty, or in use.

    \b
    Examples:
      diskpaxos init /shared/locks
      diskpaxos init /dev/mapper/a /dev/mapper/b /dev/mapper/c --hosts 128
      diskpaxos init test.lease --outage-tolerance 2s --kill-grace 1s --watchdog 1s --claim-time 200ms
    """
    with progress() as advance:
        space = Lockspace.create(
            paths,
            name,
            max_hosts=hosts,
            max_leases=leases,
            block_size=int(block_size) if block_size else None,
            outage_tolerance=outage_tolerance,
            kill_grace=kill_grace,
            watchdog_timeout=watchdog,
            claim_time=claim_time,
            force=force,
            progress=advance,
        )
    with space:
        made = space.info()
    if as_json:
        print_json(made)
        return
    facts(
        [
            ("lockspace", made.name),
            ("uuid", made.uuid),
            ("disks", ", ".join(paths)),
            ("size", f"{size(made.size)}, blocks of {made.block_size} bytes"),
            ("room", f"{made.max_hosts} hosts, {made.max_leases - 1} leases"),
            ("leases of a dead host are free after", format_duration(made.dead_time)),
        ]
    )
