"""`diskpaxos delete` and `diskpaxos check`."""

from __future__ import annotations

import click

from diskpaxos import errors
from diskpaxos.cli.durations import Duration
from diskpaxos.cli.exit_codes import ExitCode
from diskpaxos.cli.options import json_option, lockspace_option, open_lockspace
from diskpaxos.cli.output import print_json, printable
from diskpaxos.cli.trouble import Trouble
from diskpaxos.cli.waiting import Waiting, held_advice


@click.command(short_help="Delete leases that nobody holds.")
@lockspace_option
@click.option(
    "-w",
    "--wait",
    metavar="DURATION",
    type=Duration(forever=True),
    default="0s",
    help="How long to wait while somebody holds it: 30s, 2m, forever.  [default: not at all]",
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.pass_context
def delete(ctx: click.Context, lockspace: tuple[str, ...], wait: float, names: tuple[str, ...]) -> None:
    """Delete the leases NAME.  One that is held is refused; those before it in the list are gone then.

    A lease whose holder has died is free once that host was silent for T_dead, and this command has to
    see it: give --wait that long.

    \b
    Examples:
      diskpaxos delete --lockspace /shared/locks vm1 vm2
      diskpaxos delete --lockspace /shared/locks --wait 2m vm3
    """
    space = open_lockspace(ctx, lockspace, read_only=False)
    info = space.info()
    with space.member(timeout=Waiting(wait).for_slot(info.claim_time)) as host:
        for name in names:
            try:
                host.delete(name, None if wait == float("inf") else wait)
            except errors.HeldError as error:
                advice = held_advice(error, info, wait)
                raise Trouble(error.what, ExitCode.HELD, "it was not deleted", advice) from None
            click.echo(f"deleted: {printable(name)}")


@click.command(short_help="List everything that is damaged or inconsistent.")
@lockspace_option
@json_option
@click.pass_context
def check(ctx: click.Context, lockspace: tuple[str, ...], as_json: bool) -> None:
    """Read the whole lockspace and list what is wrong with it.  Changes nothing; may run at any time.

    Exits with 78 if there is anything but notes.

    \b
    Examples:
      diskpaxos check --lockspace /shared/locks
      diskpaxos check -L /dev/mapper/a -L /dev/mapper/b -L /dev/mapper/c --json
    """
    space = open_lockspace(ctx, lockspace, read_only=True)
    findings = space.check()
    if as_json:
        print_json(findings)
    else:
        for finding in findings:
            remedy = f"  ({finding.remedy})" if finding.remedy else ""
            click.echo(printable(f"{finding.severity}: {finding.text}{remedy}"))
        if not findings:
            click.echo("nothing found")
    if any(finding.severity != "note" for finding in findings):
        ctx.exit(ExitCode.DAMAGED)
