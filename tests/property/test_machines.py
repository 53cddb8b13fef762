"""Hypothesis plays storage: it delivers every stage of every lease round in any order.

The machines are the C sources of native/format and native/protocol, compiled for this test;
machines.c hands each I/O to the test.  Whatever the order, the delays and the failures, no two
hosts may hold one lease in conflicting modes, tokens grow, and once storage behaves again
every lease can be taken.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

HERE = Path(__file__).parent
NATIVE = HERE.parent.parent / "native"

TAKE, RELEASE, WATCH = 1, 2, 3  # dpx_round_kind
SHARED, EXCLUSIVE = 1, 2  # dpx_mode
DONE, REFUSED, FINISHED = 1, 2, 13  # dpx_verdict
LEASES = 3

_library: ctypes.CDLL | None = None


def build(target: Path, native: Path = NATIVE) -> ctypes.CDLL:
    """The machines as a shared library."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler")
    sources = [HERE / "machines.c", *sorted(native.glob("format/*.c")), *sorted(native.glob("protocol/*.c"))]
    flags = ["-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-g", "-shared", "-fPIC", "-w"]
    subprocess.run([compiler, *flags, *map(str, sources), "-o", str(target)], check=True)
    loaded = ctypes.CDLL(str(target))
    loaded.scene_new.restype = ctypes.c_void_p
    loaded.scene_token.restype = ctypes.c_uint64
    return loaded


@pytest.fixture(scope="module", autouse=True)
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Built once."""
    global _library
    _library = build(tmp_path_factory.mktemp("machines") / "machines.so")
    yield
    _library = None


class Storage(RuleBasedStateMachine):
    """Three hosts, three leases; one or three disks."""

    hosts = 3

    @initialize(disks=st.sampled_from([1, 3]))
    def build(self, disks: int) -> None:
        assert _library is not None
        self.lib = _library
        self.scene = ctypes.c_void_p(self.lib.scene_new(disks, self.hosts, LEASES))
        self.highest = [0] * LEASES  # token given, in whatever mode
        self.exclusive = [0] * LEASES  # … in exclusive mode
        self.held: set[tuple[int, int]] = set()
        for host in range(self.hosts):  # everybody has a cached image: takes start with the Raise
            for kind in (TAKE, RELEASE):
                self.lib.scene_begin(self.scene, host, kind, 7, EXCLUSIVE, 0)
                self.drain()

    def teardown(self) -> None:
        if hasattr(self, "scene"):
            self.settle()
            self.lib.scene_free(self.scene)

    @rule(host=st.integers(0, 2), mask=st.integers(1, 7), mode=st.sampled_from([SHARED, EXCLUSIVE]))
    def take(self, host: int, mask: int, mode: int) -> None:
        self.lib.scene_begin(self.scene, host, TAKE, mask, mode, 0)

    @rule(host=st.integers(0, 2), mask=st.integers(1, 7), patience=st.integers(1, 2000))
    def take_with_patience(self, host: int, mask: int, patience: int) -> None:
        self.lib.scene_begin(self.scene, host, TAKE, mask, EXCLUSIVE, patience)

    @rule(
        modes=st.lists(st.sampled_from([SHARED, EXCLUSIVE]), min_size=3, max_size=3),
        mask=st.sampled_from([1, 2, 3, 7]),
        order=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=4, max_size=40),
    )
    def race(self, modes: list[int], mask: int, order: list[tuple[int, int]]) -> None:
        """All at once, I/O by I/O."""
        for host, mode in enumerate(modes):
            self.lib.scene_begin(self.scene, host, TAKE, mask, mode, 0)
        for host, which in order:
            self.lib.scene_deliver(self.scene, host, which, 0)
            self.nobody_shares_what_is_exclusive()

    @rule(host=st.integers(0, 2), mask=st.integers(1, 7))
    def release(self, host: int, mask: int) -> None:
        if self.lib.scene_begin(self.scene, host, RELEASE, mask, 0, 0) != 0:
            return  # another round of it is under way: what it holds, it goes on holding
        for lease in range(LEASES):
            if mask >> lease & 1:
                self.held.discard((host, lease))

    @rule(host=st.integers(0, 2))
    def watch(self, host: int) -> None:
        self.lib.scene_begin(self.scene, host, WATCH, 7, 0, 0)

    @rule(host=st.integers(0, 2), which=st.integers(0, 2), count=st.integers(1, 4))
    def deliver(self, host: int, which: int, count: int) -> None:
        for _ in range(count):
            self.lib.scene_deliver(self.scene, host, which, 0)

    @rule(host=st.integers(0, 2), which=st.integers(0, 2), outcome=st.integers(1, 2))
    def fail(self, host: int, which: int, outcome: int) -> None:
        self.lib.scene_deliver(self.scene, host, which, outcome)

    @rule(milliseconds=st.sampled_from([1, 3, 10, 60, 1000, 11_000, 60_000]))
    def pass_time(self, milliseconds: int) -> None:
        self.lib.scene_advance(self.scene, milliseconds)

    @rule(host=st.integers(0, 2), milliseconds=st.sampled_from([100, 30_000, 50_000, 90_000]))
    def freeze(self, host: int, milliseconds: int) -> None:
        """SIGSTOP, for less or more than the lifetime; others go on; then SIGCONT."""
        self.lib.scene_stop(self.scene, host, 1)
        self.lib.scene_advance(self.scene, milliseconds)
        self.lib.scene_stop(self.scene, host, 0)

    @precondition(lambda self: hasattr(self, "scene"))
    @invariant()
    def nobody_shares_what_is_exclusive(self) -> None:
        for lease in range(LEASES):
            modes = [self.lib.scene_holds(self.scene, host, lease) for host in range(self.hosts)]
            holders = [mode for mode in modes if mode]
            assert EXCLUSIVE not in holders or len(holders) == 1, (lease, modes)
            for host, mode in enumerate(modes):
                if not mode or (host, lease) in self.held:
                    continue
                self.held.add((host, lease))
                token = self.lib.scene_token(self.scene, host, lease)
                # Sharers may come in any order among themselves: the one with the lower ballot may judge last.
                floor = self.highest[lease] + 1 if mode == EXCLUSIVE else self.exclusive[lease]
                assert token >= floor, (lease, host, mode, token, self.highest, self.exclusive)
                self.highest[lease] = max(self.highest[lease], token)
                if mode == EXCLUSIVE:
                    self.exclusive[lease] = token

    def settle(self) -> None:
        """Storage behaves from now on: everything that is begun ends, everything can be taken."""
        self.drain()
        for host in range(self.hosts):
            self.lib.scene_begin(self.scene, host, RELEASE, 7, 0, 0)
            self.drain()
        self.lib.scene_advance(self.scene, 200_000)  # dead hosts are found dead
        living = [host for host in range(self.hosts) if self.lib.scene_alive(self.scene, host)]
        for host in living:
            assert self.lib.scene_begin(self.scene, host, TAKE, 7, EXCLUSIVE, 200_000) == 0
            self.drain()
            assert self.lib.scene_verdict(self.scene, host) == DONE
            self.lib.scene_begin(self.scene, host, RELEASE, 7, 0, 0)
            self.drain()

    def drain(self) -> None:
        for _ in range(20_000):
            busy = False
            for host in range(self.hosts):
                while self.lib.scene_pending(self.scene, host):
                    self.lib.scene_deliver(self.scene, host, 0, 0)
                busy |= not self.lib.scene_quiet(self.scene, host)
            if not busy:
                return
            self.lib.scene_advance(self.scene, 20)
        raise AssertionError("a round does not end though storage behaves")


TestStorage = Storage.TestCase


def test_ignored_lower_flags_are_found_in_the_default_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flag below the own ballot, perhaps a holder's, is not waited for (`lower-flag-overlooked` of the ledger)."""
    native = tmp_path / "native"
    for room in ("format", "protocol"):
        shutil.copytree(NATIVE / room, native / room)
    judge = native / "protocol" / "round_judge.c"
    text = judge.read_text()
    assert text.count("if (view->lower.hold != 0)") == 1
    judge.write_text(text.replace("if (view->lower.hold != 0)", "if (view->lower.hold > ballot)"))
    monkeypatch.setattr(sys.modules[__name__], "_library", build(tmp_path / "mutant.so", native))
    once = settings(settings.get_profile("dev"), phases=[Phase.generate], database=None, derandomize=True)
    with pytest.raises(AssertionError):
        run_state_machine_as_test(Storage, settings=once)
