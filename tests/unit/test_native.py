"""The tests of the native rooms that are written in C: built and run, plain and under sanitizers."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "native"
SANITIZERS = {"1": "-fsanitize=address,undefined", "thread": "-fsanitize=thread"}


def left_out(why: str) -> None:
    """Skip, and say why; in CI nothing of this may be missing."""
    if os.environ.get("CI"):
        pytest.fail(f"not in CI: {why}")
    pytest.skip(why)


def sanitizers_work(flags: str, folder: Path) -> bool:
    """Compilers often come without the sanitizers' libraries."""
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    build = ["cc", flags, str(source), "-o", str(folder / "probe")]
    return (
        subprocess.run(build, capture_output=True, check=False).returncode == 0
        and subprocess.run([str(folder / "probe")], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.slow
@pytest.mark.timeout(620)
@pytest.mark.parametrize(
    "sanitize",
    ["", pytest.param("1", marks=pytest.mark.long), pytest.param("thread", marks=pytest.mark.long)],
    ids=["plain", "sanitized", "threads"],
)
def test_native_rooms(sanitize: str, tmp_path: Path) -> None:
    """Three at once: some compute, most wait.  `threads`: those that have some, under ThreadSanitizer, where a race in
    any of their processes fails it."""
    if not shutil.which("make") or not shutil.which("cc"):
        left_out("needs make and a C compiler")
    if sanitize and not sanitizers_work(SANITIZERS[sanitize], tmp_path):
        left_out(f"this compiler cannot link {SANITIZERS[sanitize]}")
    command = ["make", "-s", "-j3", "-O", "-C", str(FOLDER), "check", f"OUT={tmp_path / 'build'}"]
    if sanitize:
        command.append(f"SANITIZE={sanitize}")
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
    print(result.stdout)
    ran = dict(re.findall(r"^(test_\w+): (\d+) checks", result.stdout, re.MULTILINE))
    skipped = dict(re.findall(r"^(test_\w+): skipped: (.*)", result.stdout, re.MULTILINE))
    assert set(ran) | set(skipped) == programs(sanitize)
    assert all(int(checks) > 0 for checks in ran.values()), ran
    if skipped:
        left_out(f"{len(ran)} programs passed, {len(skipped)} did nothing: {skipped}")


def programs(sanitize: str) -> set[str]:
    """What the Makefile calls tests."""
    name = "THREADED" if sanitize == "thread" else "TESTS"
    (names,) = re.findall(rf"^{name} := (.*)", (FOLDER / "Makefile").read_text(), re.MULTILINE)
    return set(names.split())
