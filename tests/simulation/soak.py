#!/usr/bin/env python3
"""A long run of the simulator, and one page about it.

    tests/simulation/soak.py --minutes 30 > report.md
    tests/simulation/soak.py --minutes 30 --seed 1000000 --jobs 2
    tests/simulation/soak.py --minutes 30 --stretched        # those that strike at moments of their own

Builds the simulator as the tests do, runs it for that long over consecutive seeds, and prints a page in
Markdown: machine, seeds, histories, I/Os, faults and outcomes by kind, violations, slowest seeds.  Exit
status 1: there were violations (the page has the commands that replay them), or some fault never occurred.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import re
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "build/simulate"
_ROW = re.compile(r"^  (\S.*?)\s{2,}(\d+)$")


def capture(*command: str) -> str:
    """The first line of what a program says; empty: it is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE)
    except FileNotFoundError:
        return ""
    return done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""


def machine() -> str:
    """Processor, system and compiler."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    return ", ".join(
        filter(None, [model, f"{os.cpu_count()} cores", f"Linux {platform.release()}", capture("cc", "--version")])
    )


def tables(report: str) -> dict[str, dict[str, int]]:
    """`faults`, `outcomes`, `violations`: how often each kind."""
    found: dict[str, dict[str, int]] = {}
    title = ""
    for line in report.splitlines():
        if line in ("faults", "outcomes", "violations"):
            title = line
            found[title] = {}
        elif title and (row := _ROW.match(line)):
            found[title][row[1]] = int(row[2])
        elif line:
            title = ""
    return found


def columns(counts: dict[str, int]) -> list[str]:
    """Two kinds side by side: it is to fit on a page."""
    cells = [f"{kind} | {count:,}" for kind, count in counts.items()]
    half = (len(cells) + 1) // 2
    right = [*cells[half:], *[" | "] * (2 * half - len(cells))]
    rows = [f"| {a} | {b} |" for a, b in zip(cells[:half], right, strict=True)]
    return ["| kind | times | kind | times |", "| --- | ---: | --- | ---: |", *rows]


def page(command: str, began: dt.datetime, report: str) -> list[str]:
    """The report, as Markdown."""
    lines = report.splitlines()
    found = tables(report)
    violations = sum(found["violations"].values())
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in found["violations"].items() if count)
    kinds = kinds or f"of {len(found['violations'])} kinds"
    shown = report[report.index("VIOLATION") :].rstrip() if violations else ""
    return [
        f"# Simulated histories, {began:%Y-%m-%d %H:%M} UTC",
        "",
        f"    {command}",
        "",
        f"- Machine: {machine()}",
        f"- Sources: {capture('git', 'describe', '--always', '--dirty') or 'not a repository'}",
        *(f"- {line[0].upper()}{line[1:]}" for line in lines[:4]),
        f"- **Violations: {violations}**, {kinds}",
        *(["", "```", shown, "```"] if shown else []),
        "",
        "## Faults",
        "",
        *columns(found["faults"]),
        "",
        "## What hosts were told, and what was excused",
        "",
        *columns(found["outcomes"]),
        "",
    ]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=10_000_000, help="of the first history (tests run those from 1)")
    parser.add_argument("--stretched", action="store_true", help="longer and nastier histories (README.md)")
    parser.add_argument("--jobs", type=int, default=min(os.cpu_count() or 1, 64))
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit status 0: no violations, and every kind of fault occurred."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))  # not without ending the simulator
    subprocess.run(["make", "-s", "-C", str(HERE), f"-j{os.cpu_count()}"], check=True, stdout=sys.stderr)
    began = dt.datetime.now(dt.UTC)
    limits = ["--seconds", str(options.minutes * 60), "--seed", str(options.seed), "--jobs", str(options.jobs)]
    limits += ["--stretched"] if options.stretched else []
    done = subprocess.run(
        [PROGRAM, *limits, "--report", "--coverage", "--keep-going"], capture_output=True, text=True, check=False
    )
    if done.returncode == 2 or "violations\n" not in done.stdout:
        sys.stderr.write(done.stdout + done.stderr)
        return 2
    command = f"tests/simulation/soak.py --minutes {options.minutes:g} --seed {options.seed} --jobs {options.jobs}"
    command += " --stretched" if options.stretched else ""
    print("\n".join(page(command, began, done.stdout)))
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
