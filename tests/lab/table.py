"""Results as a page of Markdown: counts by fault and storage, takeovers, and every violation with its seed."""

from __future__ import annotations

import statistics
from collections import defaultdict
from typing import Any

Row = dict[str, Any]


def page(rows: list[Row]) -> str:
    """All of it."""
    rows = [row for row in rows if not row["broken"]]
    if not rows:
        return "No faults were injected yet.\n"
    return "\n".join([*_summary(rows), "", *_table(rows), "", *_endings(rows), "", *_found(rows)]) + "\n"


def _summary(rows: list[Row]) -> list[str]:
    texts = [text for row in rows for text in row["violations"]]
    seeds = sorted({(row["storage"], row["seed"]) for row in rows})
    hours = sum(row["took"] for row in rows) / 3600
    unseen = sum(row["writes_unseen"] for row in rows)
    seen = sum(row["writes_seen"] for row in rows)
    takeovers = [takeover for row in rows for takeover in row["takeovers"]]
    prompt = sum(1 for takeover in takeovers if takeover["prompt"])
    return [
        f"{len(rows)} faults in {hours:.2f} hours; overlaps: {_count(texts, 'overlap', 'used by')}; "
        f"token regressions: {_count(texts, 'token:')}; losses without cause: {_count(texts, 'loss without cause')}; "
        f"takeovers at a wrong time: {_count(texts, 'taken over')}; other: "
        f"{sum(1 for text in texts if not any(word in text for word in _WORDS))}.",
        f"{prompt} of {len(takeovers)} takeovers within T_dead + 2 s (S / 8 more for late comers).",
        f"Seeds: {', '.join(f'{storage} {seed}' for storage, seed in seeds)}. "
        f"Versions: {', '.join(sorted({row['version'] for row in rows}))}.",
        f"Load of this machine: {min(row['load'] for row in rows)} to {max(row['load'] for row in rows)}.",
        f"The observer saw {seen} writes, and {unseen} more only by the numbers of later ones.",
    ]


_WORDS = ("overlap", "used by", "token:", "loss without cause", "taken over")


def _count(texts: list[str], *words: str) -> int:
    return sum(1 for text in texts if any(word in text for word in words))


def _table(rows: list[Row]) -> list[str]:
    groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row["storage"], row["kind"]].append(row)
    lines = [
        "| storage | fault | count | violations | lost, with cause | late writes | takeovers | median, s | worst, s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for (storage, kind), group in sorted(groups.items()):
        times = [takeover["seconds"] for row in group for takeover in row["takeovers"]]
        middle = f"{statistics.median(times):.1f}" if times else ""
        worst = f"{max(times):.1f}" if times else ""
        counts = [sum(len(row[what]) for row in group) for what in ("violations", "losses", "late_writes")]
        cells = [storage, kind, len(group), *counts, len(times), middle, worst]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


def _endings(rows: list[Row]) -> list[str]:
    total: dict[str, int] = defaultdict(int)
    for row in rows:
        for ending, count in row["endings"].items():
            total[ending] += count
    return ["How `run` ended, and memberships: " + ", ".join(f"{name} × {total[name]}" for name in sorted(total)) + "."]


def _found(rows: list[Row]) -> list[str]:
    lines = []
    for row in rows:
        for kind in ("violations", "late_writes", "late_processors"):
            place = f"{row['storage']}, seed {row['seed']}, fault {row['number']} ({row['kind']}, {row['seconds']} s; "
            place += f"{row.get('history', 'no history')})"
            lines += [f"- {kind.replace('_', ' ')}: {place}: {text}" for text in row[kind]]
    return lines or ["No violations, no late writes."]
