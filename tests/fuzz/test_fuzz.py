"""The fuzz targets: their corpora once, then some seconds each.  README.md says how to run long."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SECONDS = os.environ.get("DISKPAXOS_FUZZ_SECONDS", "3")
TARGETS = ("slot", "notice", "header", "own", "superblock", "geometry", "names", "bulk", "crc", "image")


def newest_clang() -> str | None:
    """By the numbers in their names; the one without a number where there is no other."""
    numbered = {
        int(path.name.removeprefix("clang-")): str(path)
        for folder in os.get_exec_path()
        for path in Path(folder).glob("clang-[0-9]*")
        if path.name.removeprefix("clang-").isdigit()
    }
    return numbered[max(numbered)] if numbered else shutil.which("clang")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    clang = newest_clang()
    if not clang or not shutil.which("make"):
        pytest.skip("needs make and clang")
    folder = tmp_path_factory.mktemp("fuzz")
    probe = folder / "probe.c"
    probe.write_text(
        "#include <stddef.h>\n#include <stdint.h>\n"
        "int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);\n"
        "int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) { (void)data; return size > 9; }\n"
    )
    link = [clang, "-fsanitize=fuzzer,address,undefined", str(probe), "-o", str(folder / "probe")]
    if subprocess.run(link, capture_output=True, check=False).returncode != 0:
        pytest.skip(f"this clang has no libFuzzer: {clang}")
    made = subprocess.run(
        ["make", "-s", "-j2", "-C", str(HERE), f"OUT={folder}", f"CLANG={clang}"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_target(target: str, built: Path, tmp_path: Path) -> None:
    grown = tmp_path / "grown"
    grown.mkdir()
    run = subprocess.run(
        [
            str(built / f"fuzz_{target}"),
            *(f"-max_total_time={SECONDS}", "-timeout=20", "-max_len=600", f"-artifact_prefix={tmp_path}/"),
            *("-print_final_stats=1", str(grown), str(HERE / "corpus" / target)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ASAN_OPTIONS": "quarantine_size_mb=8:max_malloc_fill_size=0"},
    )
    assert run.returncode == 0, run.stderr[-6000:]
    executed = re.search(r"number_of_executed_units: (\d+)", run.stderr)
    assert executed and int(executed.group(1)) > len(list((HERE / "corpus" / target).iterdir()))
