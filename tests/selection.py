"""Which tests the plain `pytest` runs, and how its summary tells what it did not: hooks for conftest.py.

What takes minutes is marked `long` and left out, with one line about it, unless it is named (a path, -k, -m); `--long`
runs that and nothing else.  Tests that were skipped for want of a package are one line, with the command that installs
them.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

LEFT_OUT = pytest.StashKey[Counter[str]]()
COMMAND = ".venv/bin/pytest -n 2 --dist loadfile --long"

#: What a reason to skip may name, and the Debian package that has it, or the extra of ours.
DEBIAN = {
    "make": "make",
    "C compiler": "gcc libc6-dev",
    "cc": "gcc libc6-dev",
    "nm": "binutils",
    "strace": "strace",
    "spin": "spin",
    "qemu-system-x86_64": "qemu-system-x86",
    "clang": "clang",
    "libFuzzer": "libclang-rt-dev",
    "mkfs.ext4": "e2fsprogs",
    "losetup": "mount",
    "mount": "mount",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setpriv": "util-linux",
}
EXTRAS = {"matplotlib": "plot", "pytest_benchmark": "bench", "rich": "cli"}
WANTING = re.compile(r"^(Skipped: )?(needs |not installed: |could not import |no C compiler|this (clang|compiler) )")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="only what takes minutes, which is left out otherwise")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    by_hand = config.args_source is not pytest.Config.ArgsSource.TESTPATHS
    if config.getoption("long"):
        left = [item for item in items if not item.get_closest_marker("long")]
    elif by_hand or config.getoption("keyword") or config.getoption("markexpr") or config.getoption("lf"):
        return
    else:
        left = [item for item in items if item.get_closest_marker("long")]
        folders = (item.path.relative_to(config.rootpath).parts for item in left)
        config.stash[LEFT_OUT] = Counter("/".join(parts[:2]) for parts in folders)
    if left:
        gone = set(left)
        items[:] = [item for item in items if item not in gone]
        config.hook.pytest_deselected(items=left)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With several workers each of them collects, and whoever writes the summary does not."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = dict(session.config.stash.get(LEFT_OUT, {}))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """All workers left out the same."""
    if left := getattr(node, "workeroutput", {}).get("left_out"):
        node.config.stash[LEFT_OUT] = Counter(left)


def packages_for(reason: str) -> tuple[set[str], set[str]]:
    """What has to be installed for it: packages of Debian, extras of this one."""
    if not WANTING.search(reason):
        return set(), set()
    debian = {
        package for word, package in DEBIAN.items() if re.search(rf"(?<![\w.]){re.escape(word)}(?![\w.])", reason)
    }
    return debian, {extra for word, extra in EXTRAS.items() if word in reason}


def in_words(debian: set[str], extras: set[str]) -> str:
    """One line, to be pasted."""
    commands = []
    if debian:
        commands.append(f"apt-get install {' '.join(sorted(debian))}")
    if extras:
        commands.append(f".venv/bin/pip install -e '.[{','.join(sorted({*extras, 'cli', 'test'}))}]'")
    return f"for want of packages: {' && '.join(commands)}"


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Before the short summary, which then has one line for all of them."""
    wanting, debian, extras = [], set[str](), set[str]()
    for report in terminalreporter.stats.get("skipped", []):
        packages = packages_for(report.longrepr[2]) if isinstance(report.longrepr, tuple) else (set(), set())
        if any(packages):
            wanting.append(report)
            debian |= packages[0]
            extras |= packages[1]
    for report in wanting:
        report.longrepr = (str(config.rootpath / "tests"), 0, f"Skipped: {in_words(debian, extras)}")
        report.when = "call"  # all alike
    if left := config.stash.get(LEFT_OUT, None):
        where = ", ".join(f"{count} of {folder}" for folder, count in sorted(left.items()))
        terminalreporter.write_line(f"left out, they take minutes: {where}; they run with: {COMMAND}")
