"""The laboratory's schedule of faults, and the page of its results: pure, so judged without a laboratory."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from lab import table
from lab.checker import Terms
from lab.faults import INSTANT, KINDS, draw, hits, kinds_on
from lab.storage import SERVER, STORAGES

TERMS = Terms(outage_tolerance=8, kill_grace=4, watchdog=4)
HOSTS = ["h1", "h2"]


@pytest.mark.parametrize("name", STORAGES)
def test_each_kind_comes_once_before_any_comes_again(name: str) -> None:
    storage = STORAGES[name]
    kinds = kinds_on(storage)
    plans = [draw(7, number, storage, HOSTS, TERMS) for number in range(3 * len(kinds))]
    assert Counter(plan.kind for plan in plans) == dict.fromkeys(kinds, 3)
    assert [plan.kind for plan in plans[: len(kinds)]] != [plan.kind for plan in plans[len(kinds) : 2 * len(kinds)]]


def test_a_seed_gives_the_same_faults_again_and_another_one_others() -> None:
    storage = STORAGES["san"]
    first = [draw(1, number, storage, HOSTS, TERMS) for number in range(20)]
    assert first == [draw(1, number, storage, HOSTS, TERMS) for number in range(20)]
    assert first != [draw(2, number, storage, HOSTS, TERMS) for number in range(20)]


def test_faults_of_a_host_are_not_about_the_server() -> None:
    storage = STORAGES["nfs42"]
    for number in range(200):
        plan = draw(3, number, storage, HOSTS, TERMS)
        struck = hits(storage, HOSTS, plan)
        if plan.kind.startswith("server"):
            assert plan.target == SERVER
            assert struck == ("h1", "h2")
        elif plan.kind != "holder killed":
            assert plan.target == "h2"
            assert struck == ("h2",)


def test_a_network_that_nobody_needs_costs_nobody_a_lease() -> None:
    storage = STORAGES["san"]
    plans = [draw(4, number, storage, HOSTS, TERMS) for number in range(60)]
    assert {hits(storage, HOSTS, plan) for plan in plans if plan.kind == "network cut"} == {()}


def test_one_of_three_disks_costs_nobody_a_lease() -> None:
    storage = STORAGES["mixed"]
    plans = [draw(4, number, storage, HOSTS, TERMS) for number in range(3 * len(KINDS))]
    assert {plan.kind for plan in plans} == set(KINDS)
    assert {hits(storage, HOSTS, plan) for plan in plans if plan.kind.startswith("disk")} == {()}
    assert {hits(storage, HOSTS, plan) for plan in plans if plan.kind == "network cut"} == {("h2",)}


def test_lengths_are_what_holders_outlast_what_ends_them_and_what_lets_others_take() -> None:
    plans = [draw(5, number, STORAGES["san"], HOSTS, TERMS) for number in range(300)]
    lasting = [plan.seconds for plan in plans if plan.kind not in INSTANT]
    for low, high in ((0.5, 4), (8, TERMS.dead_time), (TERMS.dead_time + 2, TERMS.dead_time + 12)):
        assert sum(1 for seconds in lasting if low <= seconds <= high) > len(lasting) / 4
    assert all(0 <= plan.delay <= TERMS.heartbeat for plan in plans)
    assert {plan.what for plan in plans if plan.kind == "holder killed"} == {"run", "library"}


def test_local_disks_and_servers_have_faults_of_their_own() -> None:
    assert set(KINDS) == set(kinds_on(STORAGES["san"])) | set(kinds_on(STORAGES["nfs3"]))
    assert "server paused" not in kinds_on(STORAGES["san"])
    assert "disk hangs" not in kinds_on(STORAGES["nfs3"])


def row(**more: Any) -> dict[str, Any]:
    fields = {
        "storage": "san",
        "seed": 1,
        "number": 0,
        "history": "san-1.jsonl",
        "kind": "disk hangs",
        "seconds": 20.0,
        "broken": False,
    }
    fields |= {
        "took": 1800,
        "version": "v",
        "load": 1.5,
        "endings": {"run: 76": 1},
        "writes_seen": 10,
        "writes_unseen": 0,
    }
    fields |= {"violations": [], "late_writes": [], "late_processors": [], "losses": ["…"]}
    fields["takeovers"] = [{"seconds": seconds, "prompt": seconds < 20} for seconds in (19.0, 20.5, 19.5)]
    return fields | more


def test_the_page_adds_up() -> None:
    rows = [row(), row(number=1, violations=["overlap: vm"]), row(number=2, broken=True, violations=["overlap: vm"])]
    text = table.page(rows)
    assert "2 faults in 1.00 hours; overlaps: 1;" in text  # what was broken on purpose does not count
    assert "| san | disk hangs | 2 | 1 | 2 | 0 | 6 | 19.5 | 20.5 |" in text
    assert "- violations: san, seed 1, fault 1 (disk hangs, 20.0 s; san-1.jsonl): overlap: vm" in text
    assert "run: 76 × 2" in text
    assert "4 of 6 takeovers within" in text


def test_no_results_are_no_page() -> None:
    assert "No faults" in table.page([])
