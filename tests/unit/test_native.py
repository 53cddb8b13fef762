"""The tests of the native rooms that are written in C: built and run, plain and sanitised."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "native"
SANITIZERS = "-fsanitize=address,undefined"


def sanitizers_work(folder: Path) -> bool:
    """Compilers often come without the sanitizers' libraries."""
    source = folder / "probe.c"
    source.write_text("int main(void) { return 0; }\n")
    build = ["cc", SANITIZERS, str(source), "-o", str(folder / "probe")]
    return (
        subprocess.run(build, capture_output=True, check=False).returncode == 0
        and subprocess.run([str(folder / "probe")], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.slow
@pytest.mark.timeout(620)
@pytest.mark.parametrize("sanitized", [False, True], ids=["plain", "sanitized"])
def test_native_rooms(sanitized: bool, tmp_path: Path) -> None:
    if not shutil.which("make") or not shutil.which("cc"):
        pytest.skip("needs make and a C compiler")
    if sanitized and not sanitizers_work(tmp_path):
        pytest.skip(f"this compiler cannot link {SANITIZERS}")
    command = ["make", "-s", "-j2", "-C", str(FOLDER), "check", f"OUT={tmp_path / 'build'}"]
    if sanitized:
        command.append("SANITIZE=1")
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout}\n{result.stderr}"
    assert "test_format: " in result.stdout
