"""Documentation that can be checked is checked: the format's tables, links, the rules' numbers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from diskpaxos import _core

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "bench").glob("*.md")])

KINDS = {"common": 0, "superblock": 1, "slot": 2, "notice": 3, "header": 4, "own": 5, "group": 6}
TYPES = {"u": "integer", "b": "bytes", "s": "text", "i": "UUID"}


def documented(kind: str) -> list[tuple[int, str, str, str]]:
    """(offset, bytes, field, type) of every row of one table in docs/format.md."""
    text = (DOCS / "format.md").read_text()
    table = text.split(f"<!-- fields: {kind} -->")[1].split("<!-- end -->")[0]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in table.strip().splitlines()[2:]]
    assert all(meaning for *_, meaning in rows), "every field says what it means"
    return [(int(offset), size, name.strip("`"), kind_) for offset, size, name, kind_, _ in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_format_tables_are_those_of_the_code(kind: str) -> None:
    expected = [
        (f.offset, str(f.size) if f.elements == 1 else f"{f.elements} × {f.size}", f.name, TYPES[f.type])
        for f in _core.fields()
        if f.kind == KINDS[kind]
    ]
    assert documented(kind) == expected


def test_format_tables_leave_no_byte_out() -> None:
    """Offsets and sizes join without gap or overlap, from 0 to 512."""
    common = [f for f in _core.fields() if f.kind == 0]
    for name, kind in KINDS.items():
        at = 0
        for f in sorted((*common, *(f for f in _core.fields() if f.kind == kind != 0)), key=lambda f: f.offset):
            assert f.offset == at, f"{name}.{f.name}"
            at += f.size * f.elements
        assert at == (64 if kind == 0 else 512), name


def anchor(heading: str) -> str:
    """The fragment that a heading gets: lower case, punctuation dropped, blanks to hyphens."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    wrong = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, fragment = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            wrong.append(target)
        elif fragment and file.suffix == ".md":
            headings = re.findall(r"^#+ (.+)$", file.read_text(), flags=re.MULTILINE)
            if fragment not in map(anchor, headings):
                wrong.append(target)
    assert not wrong


def test_every_rule_has_its_place_in_the_code() -> None:
    """Each ‡ rule of protocol.md is in its table of places, and each place is there."""
    text = (DOCS / "protocol.md").read_text()
    rules, table = text.split("## 10. ")
    numbered = set(re.findall(r"‡([A-Z]\d+)", rules))
    assert len(numbered) > 25
    rows = re.findall(r"^\| ‡(\w+) \| ([^|]+) \| ([^|]+) \|$", table, flags=re.MULTILINE)
    assert {rule for rule, _, _ in rows} == numbered
    for rule, _, places in rows:
        for file, function in re.findall(r"`(\S+?):(\w+)`", places):
            source = (ROOT / file).read_text()
            assert re.search(rf"\b{function}\b", source), f"‡{rule}: no {function} in {file}"


def test_every_rule_has_a_negative_model_or_a_reason() -> None:
    """Each ‡ rule of protocol.md is left out in some row of the models, or docs/model.md says why in none."""
    numbered = set(re.findall(r"‡([A-Z]\d+)", (DOCS / "protocol.md").read_text()))
    rows = re.findall(r'Row\("\w+", "[^"]*", "([A-Z]\d+)\b', (ROOT / "tests/model/run.py").read_text())
    section = (DOCS / "model.md").read_text().split("## Each rule and its negative")[1].split("\n## ")[0]
    table, reasons = section.split("What has none:")
    assert numbered == set(re.findall(r"‡([A-Z]\d+)", table))
    assert numbered == set(rows) | set(re.findall(r"^- \*\*‡([A-Z]\d+)\*\*:", reasons, flags=re.MULTILINE))


def test_readme_shows_the_tests_command_that_ci_runs() -> None:
    text = (ROOT / "README.md").read_text()
    for name in ("lease", "tests"):
        block = text.split(f"<!-- command: {name} -->")[1].split("```")[1]
        lines = [line for line in block.splitlines()[1:] if line]
        assert len(lines) == 1, "one line, all set-up included"
        assert lines[0].startswith("python3 -m venv "), "in an environment of its own"


def test_the_format_is_frozen() -> None:
    """Version 2 keeps its bytes: what comes later takes a reserved place, under a feature bit.  A reserved
    place that is taken gets its new rows in this file, and nothing else of it ever changes."""
    assert _core.FORMAT_VERSION == 2
    lines = (Path(__file__).parent / "layout-2.txt").read_text().splitlines()[1:]
    names = {number: kind for kind, number in KINDS.items()}
    assert lines == [f"{names[f.kind]} {f.offset} {f.size} {f.elements} {f.type} {f.name}" for f in _core.fields()]
