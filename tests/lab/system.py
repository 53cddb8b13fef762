"""What the laboratory needs of this machine: commands, the identity of processes, the accelerator."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
from pathlib import Path
from typing import Any


class LabError(Exception):
    """Something that the user can act on; its text says what."""


def run(*argv: str, **options: Any) -> str:
    """Run a command on this machine; LabError with its output when it fails."""
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options)
    said: str = done.stdout
    if done.returncode:
        raise LabError(f"{' '.join(argv)}\nfailed with status {done.returncode}:\n{said[-3000:]}")
    return said


def start_time(pid: int) -> str:
    """When a process was started, "" when it is gone or a zombie: with the pid, its identity."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        if fields[0] not in "ZX":
            return fields[19]
    return ""


def accelerator() -> str:
    """kvm where the processor shows its virtualization, else tcg (QEMU's own emulation).

    That /dev/kvm opens is not enough: where it is itself emulated (kvm_pvm), Debian's kernel does not boot in minutes.
    """
    flags = re.search(r"^flags\s*:.*\b(svm|vmx)\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return "kvm" if flags and os.access("/dev/kvm", os.R_OK | os.W_OK) else "tcg"
