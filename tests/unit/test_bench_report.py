"""The page about benchmark runs: goals are judged by the median, and nothing that was measured gets lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from goals import GOALS, combined, judge, limits_of
from measure import Record, series


def run(ours: float, floor: float = 100e-6, theirs: float = 4e-3) -> dict[str, Any]:
    """What one run says of cached takes and of a fight."""
    take: dict[str, Any] = {}
    record = Record(take, "embedded", {})
    record.row("take-cached", "floor: w512r33280")
    record.times(diskpaxos=[ours] * 100, floor=[floor] * 100, sanlock=[theirs] * 100)
    fight: dict[str, Any] = {}
    record = Record(fight, "embedded", {"sanlock": "not installed"})
    record.row("fight-2")
    record.values("diskpaxos", unfairness=1.2, takings_per_second=1000.0, shares=[6, 5])
    return {"take-cached": take, "fight-2": fight}


def test_a_series_keeps_its_median_and_tail() -> None:
    kept = series([i / 1e6 for i in range(1, 1001)])
    assert kept["count"] == 1000
    assert kept["median_us"] == 500.5
    assert kept["p99_us"] == 991.0
    assert (kept["quantiles_us"][0], kept["quantiles_us"][100]) == (1.0, 1000.0)


def test_ratios_say_slower_than_the_floor_and_faster_than_the_peer() -> None:
    assert run(150e-6)["take-cached"]["ratios"] == {"floor": 1.5, "sanlock": 26.667}


@pytest.mark.parametrize(("runs", "verdict"), [((120, 124, 900), "yes"), ((120, 126, 127), "**no**")])
def test_a_goal_is_judged_by_the_median_of_the_runs(runs: tuple[int, ...], verdict: str) -> None:
    table = judge([run(us / 1e6) for us in runs])
    assert len(table) == len(GOALS)
    row = table[0]
    assert row[0] == "take, cached"
    assert row[2] == "≤ 1.25 ×"
    assert row[3] == f"{runs[1] / 100:.3g} × ({runs[0] / 100:.3g} … {runs[2] / 100:.3g})"
    assert row[4] == verdict


def test_what_was_not_measured_is_not_called_reached() -> None:
    for row in judge([{}]):
        assert row[3:] == ["not measured", ""]


def test_where_a_goal_is_not_reached_the_figures_say_why() -> None:
    """A take of 200 µs beside I/Os of 100 µs and a sanlock of 4 ms: 20 times, of at most 40."""
    (why,) = limits_of([run(200e-6)])
    assert why.startswith("*take, cached*, ≥ 25 × against sanlock: ")
    assert "40.0 times as fast as sanlock" in why
    assert "60%" in why
    assert limits_of([run(110e-6)]) == []  # reached: nothing to explain
    assert limits_of([run(200e-6), run(110e-6), run(110e-6)]) == []  # judged by the median
    assert "are out of reach" in limits_of([run(200e-6, theirs=2e-3)])[0]


def test_what_the_factor_for_clock_rates_costs_a_failover() -> None:
    info: dict[str, Any] = {}
    record = Record(info, "embedded", {})
    record.row("failover-equal-1")
    record.values("diskpaxos", seconds=76.5, nominal=76.48, outage_tolerance=8, kill_grace=50, watchdog=10)
    record.values("sanlock", seconds=70.0, nominal=68)
    (why,) = limits_of([{"failover-equal-1": info}])
    assert "(S + K + W) × 1.11 + S / 8 = 76.48 s" in why
    assert "costs 7.5 s" in why
    assert "T_dead would be 69 s, and sanlock's 70 s are 1.01 times that" in why


def test_several_runs_are_combined_figure_by_figure() -> None:
    rows = combined([run(100e-6), run(200e-6), run(600e-6)])
    assert rows["take-cached"]["series"]["diskpaxos"]["median_us"] == 200.0
    assert rows["take-cached"]["ratios"]["floor"] == 2.0
    assert rows["fight-2"]["values"]["diskpaxos"]["shares"] == [6, 5]


def test_the_page_has_all_of_it_and_can_be_made_again(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from report import load, write

    raw = {
        "machine_info": {"node": "secret", "python_version": "3.11", "cpu": {"brand_raw": "a CPU"}},
        "datetime": "2026-01-02T03:04:05",
        "benchmarks": [{"extra_info": info, "stats": {"data": [1.0]}} for info in run(180e-6).values()],
    }
    (tmp_path / "raw.json").write_text(json.dumps(raw))
    write(load([tmp_path / "raw.json"], "storage by pigeon"), tmp_path / "page")
    text = (tmp_path / "page/benchmarks.md").read_text()
    for part in (
        "| take, cached | floor (W R) | ≤ 1.25 × | 1.8 × | **no** |",
        "takings per second 1,000",
        "a CPU",
        "not installed",
        "40.0 times as fast",
        "storage by pigeon",
    ):
        assert part in text
    assert "![Latency distributions](latency.svg)" in text
    assert (tmp_path / "page/benchmarks.html").read_text().count("<svg") == 2  # latency and fairness
    assert "secret" not in (tmp_path / "page/figures.json").read_text()
    write(load([tmp_path / "page/figures.json"]), tmp_path / "again")
    for made in (tmp_path / "page").iterdir():
        assert made.read_bytes() == (tmp_path / "again" / made.name).read_bytes(), made.name
