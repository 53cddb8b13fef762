"""`diskpaxos bench`: how fast leases are on this storage, and how long it may be allowed to be away."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click

from diskpaxos.cli.durations import Duration, format_duration
from diskpaxos.cli.options import json_option
from diskpaxos.cli.output import facts, print_json, progress, size, table
from diskpaxos.measure import Leftovers, Measured, Operation, Times, measure

_BAR = 28  # characters of the longest bar
_STEP = 1.25  # each line of the histogram covers durations up to so many times its lowest
_LINES = 16

#: What no measurement of a healthy storage shows.
UNSEEN = (
    "a path failover (multipath: no_path_retry x polling_interval; NFS: timeo and the server's restart)",
    "an array that changes controllers, or loads new firmware",
    "hours of other load than now: backups, resyncs, snapshots",
)


@click.command("bench", short_help="How fast leases are here, against the same I/Os made bare.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "--seconds",
    metavar="DURATION",
    type=Duration(),
    default="45s",
    show_default=True,
    help="How long to repeat the operations.",
)
@click.option("--hosts", type=int, default=64, show_default=True, help="Host slots, where PATH is a directory.")
@click.option(
    "--plot",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Draw the distributions (.png, .svg, .pdf); needs matplotlib, the extra `plot`.",
)
@json_option
def bench(paths: tuple[str, ...], seconds: float, hosts: int, plot: Path | None, as_json: bool) -> None:
    """Measure lease operations on PATH beside the same I/Os made bare, and say what that means for the
    outage tolerance.  Takes about a minute.

    PATH is a directory, in which a temporary lockspace is made and removed again, or a lockspace (all of its
    disks).  One that is in use comes to no harm: this joins as one more host, and works on leases of its own.
    Anything else is refused.

    \b
    Examples:
      diskpaxos bench /shared
      diskpaxos bench /dev/mapper/locks --plot latency.png
    """
    if plot is not None:
        _plotter()  # before a minute has gone by
    with progress(not as_json) as advance:
        seen = measure(paths, seconds=seconds, max_hosts=hosts, progress=advance)
    if plot is not None:
        _draw(seen, plot)
    if as_json:
        print_json(_as_json(seen))
        return
    _show(seen)
    if plot is not None:
        click.echo(f"\ndrawn: {plot}")


# ---- for people


def _micro(seconds: float) -> str:
    return f"{seconds * 1e6:,.0f}"


def _show(seen: Measured) -> None:
    kind = "lockspace" if seen.lockspace else "temporary lockspace in a directory"
    facts(
        [
            ("measured on", f"{seen.path} ({kind}), blocks of {seen.block_size} bytes"),
            (
                "W, R",
                f"write of {size(seen.block_size)}, read of {size(seen.read_bytes)} ({seen.max_hosts} host slots)",
            ),
            ("joining took", format_duration(seen.join)),
        ]
    )
    click.echo("\nMicroseconds:")
    headings = ["OPERATION", "I/O", "COUNT", "MEDIAN", "P90", "P99", "SLOWEST"]
    table(headings, [row for operation in seen.operations for row in _rows(operation)])
    click.echo()
    for operation in seen.operations:
        if operation.ratio is not None:
            click.echo(f"{operation.name}: {operation.ratio:.2f} times the bare I/Os")
    _histogram(seen.operations[0])
    click.echo()
    _advise(seen)
    _leftovers(seen.leftovers)


def _rows(operation: Operation) -> list[list[object]]:
    shown = [_row(operation.name, operation.ios, operation.ours)]
    if operation.floor is not None:
        shown.append(_row("  the same I/Os, bare", operation.ios, operation.floor))
    return shown


def _row(name: str, ios: str, times: Times) -> list[object]:
    figures = (times.median, times.at(0.9), times.at(0.99), times.worst)
    return [name, ios, len(times.seconds), *map(_micro, figures)]


def _histogram(operation: Operation) -> None:
    both = [times for times in (operation.ours, operation.floor) if times is not None]
    low, high = min(times.seconds[0] for times in both), max(times.at(0.999) for times in both)
    step = max(_STEP, (high / low) ** (1 / _LINES) * 1.0001)
    lines = max(1, math.ceil(math.log(high / low, step)) if high > low else 1)
    counts = [_counted(times, low, step, lines) for times in both]
    most = [max(max(column), 1) for column in counts]
    click.echo(f"\n{operation.name}: how often it took how long")
    heads = ("diskpaxos", "bare")[: len(both)]
    click.echo(f"{'microseconds':>16}  " + "  ".join(f"{head:<{_BAR}}" for head in heads).rstrip())
    for line in range(lines):
        bars = [
            ("#" * round(c[line] / m * _BAR) or ("." if c[line] else "")) for c, m in zip(counts, most, strict=True)
        ]
        span = f"{_micro(low * step**line)} - {_micro(low * step ** (line + 1))}"
        click.echo(f"{span:>16}  " + "  ".join(f"{bar:<{_BAR}}" for bar in bars).rstrip())


def _counted(times: Times, low: float, step: float, lines: int) -> list[int]:
    counted = [0] * lines
    for seconds in times.seconds:
        counted[min(lines - 1, int(math.log(max(seconds / low, 1.0), step)))] += 1
    return counted


def _advise(seen: Measured) -> None:
    click.echo(f"Slowest operation seen: {format_duration(seen.slowest)}.  For that, an outage tolerance (S) of")
    click.echo(
        f"{format_duration(seen.needed)} would do: 16 times as long, so that it fits twice between two heartbeats."
    )
    if seen.lockspace and seen.outage_tolerance < seen.needed:
        click.echo(
            f"This lockspace has {format_duration(seen.outage_tolerance)}: too little; hosts may lose their leases."
        )
    elif seen.lockspace:
        click.echo(f"This lockspace has {format_duration(seen.outage_tolerance)}: enough for what was seen.")
    click.echo(
        f"Joining needs three in a row within T_claim: --claim-time {format_duration(seen.needed_to_join)} would do."
    )
    if seen.lockspace:
        short = seen.claim_time < seen.needed_to_join
        click.echo(
            f"This lockspace has {format_duration(seen.claim_time)}: "
            + ("too little; hosts may fail to join." if short else "enough for what was seen.")
        )
    click.echo("S must also be above what nobody can see in a minute:")
    for item in UNSEEN:
        click.echo(f"  - {item}")


def _leftovers(others: Leftovers) -> None:
    if others.removed:
        click.echo(f"\nRemoved, of runs that were killed: {', '.join(others.removed)}")
    if others.remaining:
        click.echo("\nOf other runs, going on now or killed:")
        for name in others.remaining:
            click.echo(f"  - {name}")
        click.echo("Such a lease is removed by the next run that sees its host dead; a file of that name is yours to")
        click.echo("remove, when nobody measures there.")


# ---- for programs


def _times_json(times: Times | None) -> dict[str, object] | None:
    if times is None:
        return None
    return {
        "count": len(times.seconds),
        "median": times.median,
        "p90": times.at(0.9),
        "p99": times.at(0.99),
        "slowest": times.worst,
    }


def _as_json(seen: Measured) -> dict[str, Any]:
    return {
        "path": seen.path,
        "lockspace": seen.lockspace,
        "block_size": seen.block_size,
        "max_hosts": seen.max_hosts,
        "read_bytes": seen.read_bytes,
        "join": seen.join,
        "slowest_heartbeat": seen.heartbeat,
        "operations": [
            {
                "name": operation.name,
                "ios": operation.ios,
                "diskpaxos": _times_json(operation.ours),
                "bare": _times_json(operation.floor),
                "ratio": operation.ratio,
            }
            for operation in seen.operations
        ],
        "outage_tolerance": {
            "slowest_seen": seen.slowest,
            "needed_for_that": seen.needed,
            "configured": seen.outage_tolerance if seen.lockspace else None,
            "enough": seen.outage_tolerance >= seen.needed if seen.lockspace else None,
            "not_seen": list(UNSEEN),
        },
        "claim_time": {
            "needed_for_that": seen.needed_to_join,
            "configured": seen.claim_time if seen.lockspace else None,
            "enough": seen.claim_time >= seen.needed_to_join if seen.lockspace else None,
        },
        "leftovers": {"removed": list(seen.leftovers.removed), "remaining": list(seen.leftovers.remaining)},
    }


# ---- the plot


def _plotter() -> Any:
    try:
        import matplotlib as mpl
        from matplotlib import pyplot as plt
    except ImportError:
        raise click.UsageError("--plot needs matplotlib: pip install 'diskpaxos[plot]'") from None
    mpl.use("Agg")
    return plt


def _draw(seen: Measured, path: Path) -> None:
    pyplot = _plotter()
    shown = [operation for operation in seen.operations if operation.floor is not None] or list(seen.operations)
    figure, axes = pyplot.subplots(1, len(shown), figsize=(5 * len(shown), 4), squeeze=False, layout="tight")
    for axis, operation in zip(axes[0], shown, strict=True):
        for label, times in (("diskpaxos", operation.ours), ("the same I/Os, bare", operation.floor)):
            if times is not None:
                count = len(times.seconds)
                shares = [(i + 1) / count for i in range(count)]
                axis.step([s * 1e6 for s in times.seconds], shares, where="post", label=label)
        axis.set_xscale("log")
        axis.set_xlabel("microseconds")
        axis.set_ylabel("share of operations done")
        axis.set_title(f"{operation.name} ({operation.ios})")
        axis.grid(True, which="both", alpha=0.3)
        axis.legend(loc="lower right")
    figure.suptitle(seen.path)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:
        raise click.UsageError(f"cannot draw to {path}: {error}") from None
    finally:
        pyplot.close(figure)
