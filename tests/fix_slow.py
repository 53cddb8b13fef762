"""Disks that are slow, or hang, for programs that the test starts (slow_disks.c)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


class SlowDisks:
    """Which disks suffer, by the names of their files; ``environment`` goes to the program."""

    def __init__(self, library: Path, control: Path) -> None:
        self._control = control
        self.environment = {"LD_PRELOAD": str(library), "SLOW_DISKS": str(control)}

    def slow(self, disk: Path, milliseconds: int) -> None:
        """Each I/O takes so long from now on; 0: as long as it takes."""
        self._set(disk, str(milliseconds))

    def queue(self, disk: Path, milliseconds: int) -> None:
        """Likewise, and one after the other: what is issued meanwhile waits."""
        self._set(disk, f"queue {milliseconds}")

    def hang(self, disk: Path) -> None:
        """No I/O returns, until :meth:`slow` says otherwise."""
        self._set(disk, "hang")

    def _set(self, disk: Path, text: str) -> None:
        made = self._control / f".{disk.name}"
        made.write_text(text)
        made.rename(self._control / disk.name)


@pytest.fixture(scope="session")
def slow_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    built = tmp_path_factory.mktemp("slow") / "slow_disks.so"
    source = Path(__file__).with_name("slow_disks.c")
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread"]
    subprocess.run(["cc", *flags, "-o", str(built), str(source)], check=True)
    return built


@pytest.fixture
def slow_disks(slow_library: Path, tmp_path: Path) -> SlowDisks:
    control = tmp_path / "slow"
    control.mkdir()
    return SlowDisks(slow_library, control)
