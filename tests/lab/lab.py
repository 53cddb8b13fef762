#!/usr/bin/env python3
"""The laboratory's one command: ``tests/lab/lab.py --help``.  What it does is in command.py."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[1])  # where the package `lab` lies
    runpy.run_module("lab.command", run_name="__main__")
