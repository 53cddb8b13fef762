"""`diskpaxos repair` and `diskpaxos rebuild`."""

from __future__ import annotations

import click

from diskpaxos import errors
from diskpaxos.cli.exit_codes import ExitCode
from diskpaxos.cli.options import json_option, lockspace_option, open_lockspace, paths_of
from diskpaxos.cli.output import print_json, printable, progress
from diskpaxos.cli.trouble import Trouble, code_of
from diskpaxos.rebuild import rebuild_disk, rebuild_superblocks


@click.command(short_help="Mend damaged blocks.")
@lockspace_option
@json_option
@click.pass_context
def repair(ctx: click.Context, lockspace: tuple[str, ...], as_json: bool) -> None:
    """Mend what can be mended without a risk to any lease, and say what was done and what is left.

    Blocks of living hosts are mended by these hosts.  What a majority of the disks has lost can be mended
    only while no host is joined.  Exits with 78 if anything is left.

    \b
    Example:
      diskpaxos repair --lockspace /shared/locks
    """
    try:
        space = open_lockspace(ctx, lockspace, read_only=False)
    except errors.DamagedError as error:
        raise Trouble(
            printable(error.what),
            code_of(error),
            error.effect,
            "with all hosts out, `diskpaxos rebuild --superblocks` makes lost superblocks anew",
        ) from None
    with progress() as advance:
        report = space.repair(progress=advance)
    if as_json:
        print_json({"mended": report.mended, "left": report.left})
    else:
        for text in report.mended:
            click.echo(printable(f"mended: {text}"))
        for text in report.left:
            click.echo(printable(f"left: {text}"))
        if not report.mended and not report.left:
            click.echo("nothing to repair")
    if report.left:
        ctx.exit(ExitCode.DAMAGED)


@click.command(short_help="Fill a replaced disk from the others; restore superblocks.")
@click.argument("disk", required=False, metavar="[DISK]")
@lockspace_option
@click.option("--superblocks", is_flag=True, help="Make lost superblocks anew, from the records that repeat them.")
@click.option("--force", is_flag=True, help="Overwrite a DISK that is not empty.")
@click.pass_context
def rebuild(ctx: click.Context, disk: str | None, lockspace: tuple[str, ...], superblocks: bool, force: bool) -> None:
    """Fill DISK, which replaces a failed or outdated one of 3 or 5, from the others, which are given by
    --lockspace.  It counts as a disk of the lockspace afterwards; the one that it replaces never does
    again.  May be done while hosts are joined; they need the new paths at their next start.

    With --superblocks, and --lockspace for all disks: restore lost superblocks.  No host may be joined.

    \b
    Examples:
      diskpaxos rebuild --lockspace /dev/mapper/a --lockspace /dev/mapper/b /dev/mapper/new
      diskpaxos rebuild --lockspace /shared/locks --superblocks
    """
    if superblocks == (disk is not None):
        raise click.UsageError("give either the DISK to fill, or --superblocks.", ctx=ctx)
    paths = paths_of(ctx, lockspace)
    with progress() as advance:
        if disk is not None:
            index = rebuild_disk(paths, disk, force=force, progress=advance)
            done = [f"rebuilt: {disk} is disk {index} of the lockspace"]
        else:
            made = rebuild_superblocks(paths, progress=advance)
            done = [f"superblock restored: {path}" for path in made] or ["no superblock was missing"]
    for line in done:
        click.echo(printable(line))
