"""One page, HTML and Markdown, about one or more runs of the benchmarks.

    python bench/report.py RUN.json …            # what pytest wrote with --benchmark-json
    python bench/report.py --run --quick         # measure first: the table of goals, three times
    python bench/report.py --run --storage PATH  # everything, on the storage that matters

The page, its pictures and figures.json (all that the page is made of, without the single timings;
it can be given to this program again) go to the folder named by --out.
"""

from __future__ import annotations

import argparse
import html
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from goals import combined, judge, limits_of
from measure import OURS
from plots import PLOTS, Run

HERE = Path(__file__).parent
COLUMNS = ["what", "against", "target", "reached (median of runs, range)", "reached"]


def load(paths: list[Path], note: str = "") -> list[dict[str, Any]]:
    """Runs: {"date", "machine", "command", "rows"}, from either kind of file; ``note``: of those that are new."""
    runs: list[dict[str, Any]] = []
    for path in paths:
        content = json.loads(path.read_text())
        runs.extend(content["runs"] if "runs" in content else [_slim(content, note)])
    return sorted(runs, key=lambda run: str(run["date"]))


def _slim(content: dict[str, Any], note: str) -> dict[str, Any]:
    machine = content["machine_info"]
    infos = [bench["extra_info"] for bench in content["benchmarks"]]
    ours = machine.get("diskpaxos", {})
    return {
        "date": content["datetime"][:16],
        "commit": content.get("commit_info", {}).get("id", "")[:12],
        "command": ours.pop("command", "pytest bench"),
        "machine": {"cpu": machine.get("cpu", {}).get("brand_raw", "?"), "python": machine["python_version"], **ours},
        **({"note": note} if note else {}),
        "rows": {info["row"]: info for info in infos if "row" in info},
    }


@dataclass
class Section:
    title: str
    text: list[str] = field(default_factory=list)
    table: list[list[str]] = field(default_factory=list)  # the first row is the heading
    picture: str = ""


def sections(runs: list[dict[str, Any]], pictures: dict[str, str]) -> list[Section]:
    rows: list[Run] = [run["rows"] for run in runs]
    made = [
        Section(
            "Goals",
            ["Ratios of medians within one run on the same storage; × sanlock: times faster."],
            [COLUMNS, *judge(rows)],
        ),
        Section("Where a goal is not reached, and why", limits_of(rows)),
        Section(
            "Medians; 99th percentiles, µs", ["Of several runs, the median of each figure."], _latencies(combined(rows))
        ),
        Section("Other figures", [], _values(combined(rows))),
    ]
    made += [Section(title, picture=name) for name, (title, _) in PLOTS.items() if name in pictures]
    made.append(Section("Runs", _absent(rows), _machines(runs)))
    return [section for section in made if len(section.table) > 1 or section.picture or section.text]


def _latencies(rows: Run) -> list[list[str]]:
    table = [["operation", "diskpaxos", "floor", "sanlock", "/ floor", "× sanlock", "of what"]]
    for name, info in rows.items():
        if OURS in info["series"]:
            cells = [
                f"{kept['median_us']:,.0f}; {kept['p99_us']:,.0f}" if (kept := info["series"].get(system)) else ""
                for system in (OURS, "floor", "sanlock")
            ]
            ratios = [f"{info['ratios'][key]:.2f}" if key in info["ratios"] else "" for key in ("floor", "sanlock")]
            table.append([name, *cells, *ratios, info["note"]])
    return table


def _values(rows: Run) -> list[list[str]]:
    table = [["what", "system", "figures"]]
    for name, info in rows.items():
        for system, figures in info["values"].items():
            plain = {key: value for key, value in figures.items() if not isinstance(value, list | dict)}
            if OURS in info["series"]:  # its times are in the other table
                plain = {key: value for key, value in plain.items() if re.search("bytes|lose|in_flight", key)}
            if plain:
                text = ", ".join(f"{key.replace('_', ' ')} {_number(value)}" for key, value in plain.items())
                table.append([name, system, text])
    return table


def _number(value: object) -> str:
    return f"{value:,.6g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def _absent(runs: list[Run]) -> list[str]:
    reasons = {reason for run in runs for info in run.values() for reason in info["absent"].values()}
    return [f"Without sanlock: {reason}." for reason in sorted(reasons)]


def _machines(runs: list[dict[str, Any]]) -> list[list[str]]:
    table = [["date (UTC)", "commit", "command", "machine"]]
    for run in runs:
        machine = ", ".join(f"{key} {value}" for key, value in run["machine"].items())
        machine += f"; {run['note']}" if "note" in run else ""
        table.append([run["date"], run["commit"], run["command"], machine])
    return table


def markdown(made: list[Section]) -> str:
    lines = [
        "# Benchmarks",
        "",
        "Written by `bench/report.py`; how to read it, and what not to compare: `bench/README.md`.",
        "",
    ]
    for section in made:
        lines += [f"## {section.title}", ""]
        for text in section.text:
            lines += [text, ""]
        for number, row in enumerate(section.table):
            lines.append("| " + " | ".join(row) + " |")
            if number == 0:
                lines.append("| " + " | ".join("---" for _ in row) + " |")
        lines += [""] if section.table else []
        if section.picture:
            lines += [f"![{section.title}]({section.picture}.svg)", ""]
    return "\n".join(lines).rstrip() + "\n"


STYLE = """body { font: 15px/1.45 sans-serif; max-width: 62em; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; font-size: 13px } td, th { padding: .25em .7em; border-bottom: 1px solid #ddd;
text-align: left; vertical-align: top } .no { color: #b00; font-weight: bold } svg { max-width: 100%; height: auto }"""


def page(made: list[Section], pictures: dict[str, str]) -> str:
    """The same as one HTML file, pictures inside."""
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>diskpaxos benchmarks</title><style>{STYLE}</style>"
    ]
    parts.append("<h1>diskpaxos: benchmarks</h1>")
    for section in made:
        parts.append(f"<h2>{html.escape(section.title)}</h2>")
        parts += [f"<p>{html.escape(text)}</p>" for text in section.text]
        if section.table:
            parts.append(
                "<table>" + "".join(_row(row, "td" if i else "th") for i, row in enumerate(section.table)) + "</table>"
            )
        if section.picture:
            svg = pictures[section.picture]
            parts.append(svg[svg.index("<svg") :])
    return "\n".join(parts) + "\n"


def _row(cells: list[str], tag: str) -> str:
    texts = ["<span class=no>no</span>" if cell == "**no**" else html.escape(cell) for cell in cells]
    return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in texts) + "</tr>"


def write(runs: list[dict[str, Any]], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "figures.json").write_text(json.dumps({"runs": runs}, ensure_ascii=False, separators=(",", ":")) + "\n")
    pictures: dict[str, str] = {}
    for name, (_, draw) in PLOTS.items():
        if (figure := draw([run["rows"] for run in runs])) is not None:
            path = out / f"{name}.svg"
            figure.savefig(path, metadata={"Date": None})
            text = re.sub(r"(\.\d\d)\d+", r"\1", path.read_text())  # a hundredth of a point is fine enough
            text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
            path.write_text(text)
            pictures[name] = text
    made = sections(runs, pictures)
    (out / "benchmarks.md").write_text(markdown(made))
    (out / "benchmarks.html").write_text(page(made, pictures))


def measure(out: Path, count: int, quick: bool, more: list[str]) -> list[Path]:
    """Run the benchmarks so many times; the files that they wrote."""
    out.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(1, count + 1):
        path = out / f"run-{number}.json"
        options = ["--benchmark-only", f"--benchmark-json={path}", "--benchmark-columns=median", "-q"]
        command = [sys.executable, "-m", "pytest", str(HERE), *options, *(["--quick"] if quick else []), *more]
        # What fails is missing on the page; the rest is worth having.
        subprocess.run(command, cwd=HERE.parent, check=False)
        if path.exists() and path.stat().st_size:
            made.append(path)
    return made


def main() -> int:
    parser = argparse.ArgumentParser(
        description="A page about runs of the benchmarks.", epilog="What follows -- is pytest's."
    )
    parser.add_argument("files", nargs="*", type=Path, help="written with --benchmark-json, or an earlier figures.json")
    parser.add_argument(
        "--out", type=Path, default=HERE / "build" / "report", help="folder (default: bench/build/report)"
    )
    parser.add_argument("--run", action="store_true", help="measure first")
    parser.add_argument("--quick", action="store_true", help="with --run: only the table of goals")
    parser.add_argument("--runs", type=int, default=3, help="with --run: how often (default: 3)")
    parser.add_argument("--storage", help="with --run: where")
    parser.add_argument("--note", default="", help="what else to say of the machine or the storage")
    words = sys.argv[1:]
    cut = words.index("--") if "--" in words else len(words)
    known, more = parser.parse_args(words[:cut]), words[cut + 1 :]
    files = list(known.files)
    if known.run:
        options = [*([f"--storage={known.storage}"] if known.storage else []), *more]
        files += measure(known.out, known.runs, known.quick, options)
    elif more:
        parser.error("what follows -- is pytest's: it needs --run")
    if not files:
        parser.error("nothing to report on: give files, or --run")
    write(load(files, known.note), known.out)
    sys.stdout.write(f"{known.out / 'benchmarks.html'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
