"""The top of the command line: the group of all commands, and what happens to errors."""

from __future__ import annotations

import io
import logging
import sys
import traceback
from typing import Any

import click

from diskpaxos import __version__
from diskpaxos.cli import bench, create, hosts, maintain, mend, run, show
from diskpaxos.cli.exit_codes import table
from diskpaxos.cli.trouble import broken_output, show_warnings, translate


class Commands(click.Group):
    """A group whose commands end with a clean message, whatever befalls them."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; library errors become messages and exit codes."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as error:
            trouble = broken_output(error) or translate(error)
        trouble.show()
        raise click.exceptions.Exit(trouble.code)


@click.group(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="\b\nExit codes:\n" + table(),
)
@click.version_option(__version__, prog_name="diskpaxos")
@click.option("-v", "--verbose", is_flag=True, help="Show what the library logs, not only its warnings.")
def cli(verbose: bool) -> None:
    """Leases on shared storage by Disk Paxos: one holder per lease, with no server and no network.

    \b
    diskpaxos init /shared/locks
    diskpaxos run --lockspace /shared/locks --lease vm1 -- some-command
    diskpaxos leases --lockspace /shared/locks
    """
    show_warnings(logging.INFO if verbose else logging.WARNING)


for command in (
    create.init,
    show.info,
    hosts.hosts,
    show.leases,
    maintain.delete,
    maintain.check,
    mend.repair,
    mend.rebuild,
    show.dump,
    bench.bench,
    run.run,
):
    cli.add_command(command)


def main() -> None:
    """The program ``diskpaxos``, loaded."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale that has not all letters is no reason to fail
    try:
        cli(prog_name="diskpaxos")
    except OSError as error:  # what click itself shows, help or a wrong command line, could not be written
        trouble = broken_output(error) or translate(error)
        trouble.show()
        showing = (frame.f_locals.get("self") for frame, _ in traceback.walk_tb(error.__traceback__))
        told = next((it for it in showing if isinstance(it, click.ClickException)), None)
        sys.exit(trouble.code if told is None else told.exit_code)
