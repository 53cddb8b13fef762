"""The report's pictures, each from the rows of one or more runs; None where there is nothing to show."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
from goals import Info, combined
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from measure import OURS

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "diskpaxos",  # the same data give the same file
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.alpha": 0.3,
        "figure.constrained_layout.use": True,
    }
)
COLOURS = {"floor": "#8a8a8a", OURS: "#1763a6", "sanlock": "#c2571a"}
Run = dict[str, Info]


def latency(runs: list[Run]) -> Figure | None:
    """Cumulative distributions of each operation."""
    rows = combined(runs)
    shown = [
        name
        for name in ("take-cached", "take-unseen", "take-shared", "release", "take-refused", "take-8")
        if name in rows
    ]
    if not shown:
        return None
    figure = Figure(figsize=(9, 5))
    for place, name in enumerate(shown, start=1):
        axes = figure.add_subplot(2, 3, place)
        for system, colour in COLOURS.items():
            if kept := rows[name]["series"].get(system):
                axes.plot(kept["quantiles_us"][:100], range(100), color=colour, label=system)
        axes.set(title=name, xscale="log", ylim=(0, 100))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlabel("µs")
        if place in (1, 4):
            axes.set_ylabel("% done by then")
        if place == 1:
            axes.legend(frameon=False)
    return figure


def requests(runs: list[Run]) -> Figure | None:
    """I/Os and bytes of one operation."""
    values = combined(runs).get("requests", {}).get("values", {})
    if OURS not in values:
        return None
    names = ["take-cached", "take-unseen", "release", "take-8"]
    figure = Figure(figsize=(9, 3))
    for place, (title, keys, scale) in enumerate(
        [("I/Os", ("reads", "writes"), 1), ("KiB moved", ("read_bytes", "written_bytes"), 1024)], start=1
    ):
        axes = figure.add_subplot(1, 2, place)
        for shift, system in enumerate(system for system in (OURS, "sanlock") if system in values):
            heights = [sum(values[system][name][key] for key in keys) / scale for name in names]
            bars = axes.bar(
                [i + 0.4 * shift for i in range(len(names))], heights, 0.38, color=COLOURS[system], label=system
            )
            axes.bar_label(bars, fmt="%.4g", fontsize=7)
        axes.set(title=title, yscale="log")
        axes.set_xticks([i + 0.2 for i in range(len(names))], names)
    axes.legend(frameon=False)
    return figure


def _lines(rows: Run, prefix: str, value: Callable[[Info, str], Any]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for name, info in rows.items():
        if name.startswith(prefix):
            for system in COLOURS:
                if (y := value(info, system)) is not None:
                    found.setdefault(system, []).append((int(name.removeprefix(prefix)), y))
    return {system: sorted(points) for system, points in found.items()}


def throughput(runs: list[Run]) -> Figure | None:
    """Takes and releases per second against processes."""
    lines = _lines(combined(runs), "throughput-", lambda info, system: info["values"].get(system, {}).get("per_second"))
    if not lines:
        return None
    figure = Figure(figsize=(6, 3.5))
    axes = figure.add_subplot()
    for system, points in lines.items():
        axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[system], label=system)
    axes.set(xscale="log", yscale="log", title="take and release, each process its own lease")
    axes.set_xticks(ticks := sorted({x for points in lines.values() for x, _ in points}), [str(x) for x in ticks])
    axes.set_xlabel("processes")
    axes.set_ylabel("per second, all together")
    axes.legend(frameon=False)
    return figure


def scale(runs: list[Run]) -> Figure | None:
    """A cached take against slots and areas."""
    rows = combined(runs)
    figure = Figure(figsize=(9, 3.2))
    drawn = False
    for place, (prefix, label) in enumerate([("hosts-", "host slots"), ("leases-", "lease areas (8 slots)")], start=1):
        lines = _lines(rows, prefix, lambda info, system: info["series"].get(system, {}).get("median_us"))
        axes = figure.add_subplot(1, 2, place)
        for system, points in lines.items():
            axes.plot(*zip(*points, strict=True), "o-", color=COLOURS[system], label=system)
            drawn = True
        axes.set(xscale="log", title=f"take, cached, against {label}")
        axes.set_ylim(0)
        axes.set_xlabel(label)
        axes.set_ylabel("median, µs")
        if lines:
            axes.legend(frameon=False)
    return figure if drawn else None


def _phases(system: str, figures: dict[str, Any]) -> list[tuple[str, float]]:
    """What a crashed host's lease waits for, by the rules of each."""
    if system == "sanlock":
        return [("8 io_timeouts", 8.0 * figures["io_timeout"]), ("watchdog: 60 s", 60.0)]
    named = [("S", "outage_tolerance"), ("K", "kill_grace"), ("W", "watchdog")]
    return [(name, figures[key]) for name, key in named]


def failover(runs: list[Run]) -> Figure | None:
    """From the crash until another host has the lease, and what that time is made of."""
    rows = {name: info for name, info in combined(runs).items() if name.startswith("failover-")}
    bars = [(name, system) for name, info in rows.items() for system in reversed(info["values"])]
    if not bars:
        return None
    bars.sort(key=lambda bar: -rows[bar[0]]["values"][OURS]["nominal"])
    figure = Figure(figsize=(9, 0.8 + 0.4 * len(bars)))
    axes = figure.add_subplot()
    longest = max(rows[name]["values"][system]["seconds"] for name, system in bars)
    for y, (name, system) in enumerate(bars):
        figures = rows[name]["values"][system]
        left = 0.0
        for shade, (phase, seconds) in zip((1.0, 0.75, 0.55), _phases(system, figures), strict=False):
            axes.barh(y, seconds, left=left, color=COLOURS[system], alpha=shade, height=0.7)
            if seconds > longest / 20:
                axes.text(left + seconds / 2, y, phase, ha="center", va="center", fontsize=7, color="white")
            left += seconds
        axes.barh(y, max(0.0, figures["seconds"] - left), left=left, color=COLOURS[system], alpha=0.3, height=0.7)
        measured = sorted(
            run[name]["values"][system]["seconds"] for run in runs if system in run.get(name, {"values": {}})["values"]
        )
        axes.plot(measured, [y] * len(measured), "|", color="black", ms=12)
        axes.text(measured[-1] + longest / 80, y, f"{figures['seconds']:.1f} s", va="center", fontsize=7)
    axes.set_yticks(range(len(bars)), [f"{system} ({name.removeprefix('failover-')})" for name, system in bars])
    axes.set_xlim(0, longest * 1.1)
    axes.set_xlabel("seconds from the crash until another host has the lease (strokes: each run)")
    return figure


def fairness(runs: list[Run]) -> Figure | None:
    """What part of the takings each host got."""
    rows = combined(runs)
    shown = sorted((name for name in rows if name.startswith("fight-")), key=lambda name: int(name.split("-")[1]))
    if not shown:
        return None
    figure = Figure(figsize=(9, 3))
    for place, name in enumerate(shown, start=1):
        axes = figure.add_subplot(1, len(shown), place)
        hosts = int(name.split("-")[1])
        for shift, (system, values) in enumerate(rows[name]["values"].items()):
            shares = values["shares"]
            at = [host + 0.4 * shift for host in range(len(shares))]
            axes.bar(
                at, [100 * share / (sum(shares) or 1) for share in shares], 0.38, color=COLOURS[system], label=system
            )
        axes.axhline(100 / hosts, color="black", linewidth=0.7, linestyle=":")
        axes.set(title=f"{hosts} hosts", xlabel="hosts, luckiest first")
        axes.set_xticks([])
        if place == 1:
            axes.set_ylabel("% of all takings")
            axes.legend(frameon=False)
    return figure


PLOTS: dict[str, tuple[str, Callable[[list[Run]], Figure | None]]] = {
    "latency": ("Latency distributions", latency),
    "requests": ("I/Os and bytes of one operation", requests),
    "throughput": ("Throughput against client processes", throughput),
    "scale": ("Cost against hosts and leases", scale),
    "failover": ("Failover", failover),
    "fairness": ("Fairness", fairness),
}
