"""Fixtures of the benchmarks: where the lockspace lies, and measuring against the floor."""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from floor import BUILD, Floor, Measure

import diskpaxos


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--storage", help="directory to measure in (default: bench/build); 48 MB are used there")
    parser.addoption("--rounds", type=int, default=1000, help="operations per measurement")


@pytest.fixture(scope="session")
def lockspace_path(request: pytest.FixtureRequest) -> Iterator[Path]:
    folder = Path(request.config.getoption("--storage") or BUILD)
    folder.mkdir(exist_ok=True)
    path = folder / "diskpaxos-bench.lockspace"
    path.unlink(missing_ok=True)
    diskpaxos.Lockspace.create(path, name="bench", max_hosts=64, max_leases=1300, block_size=512).close()
    yield path
    path.unlink()


@pytest.fixture(scope="session")
def host(lockspace_path: Path) -> Iterator[diskpaxos.Host]:
    with diskpaxos.Lockspace.open(lockspace_path) as space, space.join("bench") as joined:
        yield joined


@pytest.fixture(scope="session")
def floor(lockspace_path: Path) -> Iterator[Floor]:
    with Floor(lockspace_path) as program:
        yield program


@pytest.fixture
def against_floor(benchmark: Any, request: pytest.FixtureRequest) -> Measure:
    def measure(
        operation: Callable[[], object],
        floor_operation: Callable[[], float],
        between: Callable[[], object] = lambda: None,
        rounds: int | None = None,
    ) -> None:
        floors: list[float] = []

        def prepare() -> None:
            between()
            floors.append(floor_operation())

        count = min(rounds or 1_000_000, request.config.getoption("--rounds"))
        gc.collect()
        benchmark.pedantic(operation, setup=prepare, rounds=count, warmup_rounds=min(20, count))
        if benchmark.stats is None:  # --benchmark-disable: it ran once, that is all
            return
        bare, ours = sorted(floors[-count:]), sorted(benchmark.stats.stats.data)
        late = int(count * 0.99)
        benchmark.extra_info.update(
            floor_median_us=round(statistics.median(bare) * 1e6, 1),
            floor_p99_us=round(bare[late] * 1e6, 1),
            median_us=round(statistics.median(ours) * 1e6, 1),
            p99_us=round(ours[late] * 1e6, 1),
            ratio=round(statistics.median(ours) / statistics.median(bare), 3),
        )

    return measure


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line per measurement: what people look for first."""
    session = getattr(config, "_benchmarksession", None)
    rows = [bench for bench in getattr(session, "benchmarks", []) if "ratio" in bench.extra_info]
    if rows:
        terminalreporter.section("against the floor")
    for row in rows:
        info = row.extra_info
        terminalreporter.write_line(
            f"{row.name:28} median {info['median_us']:9.1f} us, floor {info['floor_median_us']:9.1f} us: "
            f"{info['ratio']:.2f} x    p99 {info['p99_us']:9.1f} us, floor {info['floor_p99_us']:9.1f} us"
        )
