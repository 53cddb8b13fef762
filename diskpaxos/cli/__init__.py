"""The command line, ``diskpaxos``: one module per family of commands.

docs/cli.md describes it with real output; exit codes are in :mod:`diskpaxos.cli.exit_codes`.
"""

from diskpaxos.cli.main import cli, main

__all__ = ["cli", "main"]
