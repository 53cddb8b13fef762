"""Batches on storage that takes its time for each I/O: one after the other they may take as long as they take."""

from __future__ import annotations

from pathlib import Path

import pytest
from fix_slow import SlowDisks
from fix_spaces import Maker
from speaker import Speaker

pytestmark = pytest.mark.timing

S = 4.0  #: seconds; an I/O may take one
LEASES = 256


@pytest.mark.parametrize("timeout", [0, 60])
def test_the_limit_of_an_io_is_not_that_of_a_batch(slow_disks: SlowDisks, make_space: Maker, timeout: int) -> None:
    """8 ms each: all reads of a batch take 2 s, twice the limit."""
    shape = {"outage_tolerance": S, "claim_time": 0.5, "max_leases": 2 * LEASES, "max_hosts": 8}
    space = make_space(**shape)
    names = [f"vm{number}" for number in range(LEASES)]
    with space.join("maker") as maker:
        maker.release_many(maker.acquire_many(names, timeout=30))
    speaker = Speaker(slow_disks, space.paths)
    disk = Path(space.paths[0])
    try:
        assert "slot" in speaker.ask()
        slow_disks.queue(disk, 8)
        answer = speaker.acquire_many(names, timeout=timeout)
        assert "error" not in answer, answer
        assert answer["taken"] > 3 * LEASES * 0.008, "it was slow indeed: find, raise, judge"
        # A heartbeat is four I/Os: each behind what the batch has in flight, not behind all of it.
        assert answer["worst"] < 0.8, answer
        assert answer["missed"] == 0
    finally:
        slow_disks.slow(disk, 0)
        speaker.end()
