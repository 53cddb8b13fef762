"""The house rules, kept by a machine so that reviews can be about other things.

Sizes keep every function on one screen; the arrows between the rooms of `native/` point
down only; and the rooms that decide who holds a lease call nothing of the system, which
is what lets a simulator run them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NATIVE = ROOT / "native"

FUNCTION_LINES = 70
FILE_LINES = 500
LINE_LENGTH = 120

# What a room may include, besides itself and the C library.
ARROWS = {
    "format": (),
    "protocol": ("format/",),
    "io": ("format/request.h",),
    "host": ("format/", "protocol/", "io/"),
}

# Pure rooms may also not reach for these headers of the C library.
PURE_HEADERS = {
    "assert.h",
    "endian.h",
    "limits.h",
    "nmmintrin.h",  # the CRC-32C instruction, x86 …
    "arm_acle.h",  # … and ARM
    "stdatomic.h",
    "stdbool.h",
    "stddef.h",
    "stdint.h",
    "string.h",
    "errno.h",  # the numbers only: errno itself would show up as __errno_location
}

# What the objects of the pure rooms may import.  The compiler makes calls of its own to
# the first four; the rest are string functions, assertions and CPU detection.
PURE_IMPORTS = {
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "memchr",
    "strlen",
    "strnlen",
    "strcmp",
    "strncmp",
    "__assert_fail",
    "__stack_chk_fail",
    "__cpu_model",
    "__cpu_indicator_init",
    "getauxval",
    "_GLOBAL_OFFSET_TABLE_",
}

BANNED = {
    r"\bTODO\b": "finish it, or file an issue",
    r"\bFIXME\b": "mend it, or file an issue",
    r"\bXXX\b": "say what you mean",
    r"\bstrcpy\s*\(": "no bound",
    r"\bstrcat\s*\(": "no bound",
    r"\bsprintf\s*\(": "no bound: snprintf",
    r"\bgets\s*\(": "no bound",
    r"\balloca\s*\(": "stack without a bound",
    r"\bstrtok\s*\(": "hidden state",
    r"\batoi\s*\(": "no errors: strtol",
    r"\bCLOCK_MONOTONIC\b": "stands still while the machine sleeps: CLOCK_BOOTTIME",
    r"\bsystem\s*\(": "no shell",
}


def native_files(*suffixes: str) -> list[Path]:
    return sorted(path for path in NATIVE.rglob("*") if path.suffix in suffixes)


def source_files() -> list[Path]:
    """Every text that people write here."""
    folders = (NATIVE, ROOT / "diskpaxos", ROOT / "tests", ROOT / "bench")
    suffixes = {".c", ".h", ".py", ".pyi", ".pyx", ".pxd"}
    found = [path for folder in folders for path in folder.rglob("*") if path.suffix in suffixes]
    return sorted(path for path in found if "build" not in path.relative_to(ROOT).parts)


def without_comments(text: str) -> str:
    """C text with comments blanked, line numbers kept."""
    return re.sub(r"/\*.*?\*/|//[^\n]*", lambda match: re.sub(r"[^\n]", " ", match.group()), text, flags=re.DOTALL)


def functions(text: str) -> Iterator[tuple[int, int]]:
    """(first line, lines) of every function body: braces in the first column open and close it."""
    opened = None
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("{"):
            opened = number
        elif line.startswith("}") and opened is not None:
            yield opened, number - opened + 1
            opened = None


def place(path: Path, line: int | None = None) -> str:
    return str(path.relative_to(ROOT)) + (f":{line}" if line else "")


def test_the_rules_have_something_to_judge() -> None:
    assert {path.parent.name for path in native_files(".c")} >= set(ARROWS)
    assert sum(1 for path in native_files(".c") for _ in functions(path.read_text())) > 100


def test_functions_fit_on_a_screen() -> None:
    long = [
        f"{place(path, first)}: {lines} lines"
        for path in native_files(".c", ".h")
        for first, lines in functions(path.read_text())
        if lines > FUNCTION_LINES
    ]
    assert not long, f"functions over {FUNCTION_LINES} lines: {long}"


def test_files_have_one_job() -> None:
    long = {
        place(path): lines
        for path in native_files(".c", ".h", ".pyx", ".pxd")
        if (lines := len(path.read_text().splitlines())) > FILE_LINES
    }
    assert not long, f"files over {FILE_LINES} lines: {long}"


def test_lines_are_short_and_clean() -> None:
    wrong = []
    for path in source_files():
        text = path.read_text()
        if not text.endswith("\n") and text:
            wrong.append(f"{place(path)}: no newline at the end")
        for number, line in enumerate(text.splitlines(), start=1):
            if len(line) > LINE_LENGTH:
                wrong.append(f"{place(path, number)}: {len(line)} characters")
            if line != line.rstrip():
                wrong.append(f"{place(path, number)}: space at the end")
            if "\t" in line:
                wrong.append(f"{place(path, number)}: tab")
    assert not wrong, "\n".join(wrong)


def test_no_banned_words() -> None:
    wrong = []
    for path in source_files():
        if path == Path(__file__).resolve():
            continue  # the list itself
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            for pattern, reason in BANNED.items():
                if path.suffix in (".py", ".pyi") and pattern.endswith(r"\("):
                    continue  # names of C functions
                if re.search(pattern, line):
                    wrong.append(f"{place(path, number)}: {pattern}: {reason}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("room", ARROWS)
def test_arrows_point_down(room: str) -> None:
    wrong = []
    for path in sorted((NATIVE / room).iterdir()):
        for number, line in enumerate(without_comments(path.read_text()).splitlines(), start=1):
            match = re.match(r'\s*#\s*include\s+"([^"]+)"', line)
            if not match:
                continue
            target = (path.parent / match.group(1)).resolve()
            assert target.is_file(), f"{place(path, number)} includes {match.group(1)}, which is not there"
            inside = target.relative_to(NATIVE).as_posix()
            if not inside.startswith((f"{room}/", *ARROWS[room])):
                wrong.append(f"{place(path, number)} includes {inside}")
    assert not wrong, f"{room} may include only {ARROWS[room]}: {wrong}"


@pytest.mark.parametrize("room", ["format", "protocol"])
def test_pure_rooms_include_no_system_headers(room: str) -> None:
    wrong = []
    for path in sorted((NATIVE / room).iterdir()):
        for header in re.findall(r"^\s*#\s*include\s+<([^>]+)>", path.read_text(), flags=re.MULTILINE):
            if header not in PURE_HEADERS:
                wrong.append(f"{place(path)} includes <{header}>")
    assert not wrong, wrong


@pytest.mark.parametrize("room", ["format", "protocol"])
def test_pure_rooms_call_nothing_of_the_system(room: str, tmp_path: Path) -> None:
    """The linker's view: no clock, no allocation, no I/O, no locks in these objects."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    nm = shutil.which("nm")
    if not compiler or not nm:
        pytest.skip("needs a C compiler and nm")
    wrong = []
    for path in sorted((NATIVE / room).glob("*.c")):
        target = tmp_path / (path.stem + ".o")
        subprocess.run(
            [compiler, "-std=c11", "-O2", "-UNDEBUG", "-I", str(NATIVE), "-c", str(path), "-o", str(target)],
            check=True,
        )
        listing = subprocess.run([nm, "-u", str(target)], check=True, capture_output=True, text=True).stdout
        for symbol in listing.split():
            name = symbol.split("@")[0]
            if name in PURE_IMPORTS or name.startswith("dpx_") or name in ("U", "w"):
                continue
            wrong.append(f"{place(path)}: {name}")
    assert not wrong, wrong
