"""Fixtures of the benchmarks: where the lockspace lies, who measures beside us, and the measuring itself."""

from __future__ import annotations

import gc
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from child import BUILD
from clients import CLIENTS
from floor import Floor
from measure import OURS, Record, Timed
from peers import sanlock as peer
from room import Compare, Room
from storage import Storage

import diskpaxos

BURST = 25  # operations of a peer in a row: after each of its own, ours would be timed with the caches it left


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("diskpaxos benchmarks")
    group.addoption("--storage", help="directory, block device or file to measure on (default: bench/build)")
    group.addoption("--force", action="store_true", help="overwrite a device that holds something")
    group.addoption("--rounds", type=int, default=1000, help="operations per measurement (default: 1000)")
    group.addoption("--quick", action="store_true", help="only what the table of goals needs")
    group.addoption("--seconds", type=float, default=2.0, help="of a turn where throughput is measured (default: 2)")
    group.addoption(
        "--long", action="store_true", help="also what takes minutes: failover with default times, 64 daemons"
    )
    group.addoption("--clients", default="embedded", help=f"how leases are reached, by comma: {', '.join(CLIENTS)}")
    group.addoption("--no-peers", action="store_true", help="do not measure sanlock even if it is installed")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "long: takes minutes; needs --long")
    config.addinivalue_line("markers", "full: no goal speaks of it; left out with --quick")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("long") and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="takes minutes: needs --long"))
        if item.get_closest_marker("full") and config.getoption("--quick"):
            item.add_marker(pytest.mark.skip(reason="--quick"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "client_kind" in metafunc.fixturenames:
        metafunc.parametrize("client_kind", metafunc.config.getoption("--clients").split(","), scope="module")


def _storage_path(config: pytest.Config) -> Path:
    return Path(config.getoption("--storage") or BUILD).absolute()  # peers run in folders of their own


def only_once(config: pytest.Config) -> bool:
    """With --benchmark-disable: everything is run to see that it runs."""
    return bool(config.getoption("--benchmark-disable"))


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Beside what pytest-benchmark tells of the machine."""
    machine_info["diskpaxos"] = {
        "version": diskpaxos.__version__,
        "storage": Storage(_storage_path(config), force=True).describe(),
        "kernel": platform.release(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "sanlock": peer.absent() or peer.version(),
        "command": _command(config),
    }


def _command(config: pytest.Config) -> str:
    """What was typed, without anybody's paths."""
    words = [word.split("=")[0] if word.startswith("-") else word for word in config.invocation_params.args]
    return " ".join(["pytest", *(word if word.startswith("-") else Path(word).name for word in words)])


@pytest.fixture(scope="session")
def once(request: pytest.FixtureRequest) -> bool:
    """Whether everything is only run to see that it runs."""
    return only_once(request.config)


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    """Operations per measurement, where nothing else limits them."""
    return int(request.config.getoption("--rounds"))


@pytest.fixture(scope="session")
def seconds(request: pytest.FixtureRequest, once: bool) -> float:
    """How long each turn of a system lasts where throughput is measured."""
    return 0.3 if once else float(request.config.getoption("--seconds"))


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether minutes may be spent on one figure."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def storage(request: pytest.FixtureRequest) -> Storage:
    path = _storage_path(request.config)
    if path == BUILD:
        path.mkdir(exist_ok=True)
    return Storage(path, force=request.config.getoption("--force"))


@pytest.fixture(scope="session")
def no_sanlock(request: pytest.FixtureRequest) -> str:
    """Why sanlock is not measured; "" when it is."""
    return "--no-peers" if request.config.getoption("--no-peers") else peer.absent()


@pytest.fixture(scope="session")
def sanlock(storage: Storage, no_sanlock: str, once: bool) -> Iterator[peer.Sanlock | None]:
    """Two hosts that have joined, or None."""
    if no_sanlock:
        yield None
        return
    with storage.peer("sanlock") as place, peer.Sanlock(place, 2, 1 if once else peer.DEFAULT_TIMEOUT) as hosts:
        yield hosts


@pytest.fixture(scope="module")
def room(storage: Storage, client_kind: str, request: pytest.FixtureRequest) -> Iterator[Room]:
    """64 slots (or what the module's SHAPE says), 4,096 areas, all times as they are by default."""
    shape = {"max_hosts": 64, "max_leases": 4096, **getattr(request.module, "SHAPE", {})}
    with ExitStack() as stack:
        path = stack.enter_context(storage.lockspace(**shape))
        client = CLIENTS[client_kind]((path,))
        stack.callback(client.leave)
        yield Room((path,), client, stack.enter_context(Floor(path)))


@pytest.fixture
def record(benchmark: Any, request: pytest.FixtureRequest, no_sanlock: str) -> Record:
    kind = request.getfixturevalue("client_kind") if "client_kind" in request.fixturenames else "embedded"
    return Record(benchmark.extra_info, kind, {"sanlock": no_sanlock} if no_sanlock else {})


@pytest.fixture
def compare(benchmark: Any, record: Record, once: bool, rounds: int) -> Compare:
    def measure(
        row: str,
        operation: Callable[[], object],
        *,
        before: Callable[[], object] = lambda: None,
        floor: Timed | None = None,
        sanlock: Timed | None = None,
        sparse: int = 1,
        most: int = 1_000_000,
        note: str = "",
    ) -> None:
        bare: list[float] = []
        theirs: list[float] = []
        done = 0

        def prepare() -> None:
            nonlocal done
            if sanlock is not None and done % BURST == 0:
                theirs.extend(sanlock() for _ in range(-(-BURST // sparse)))
            before()
            if floor is not None:
                bare.append(floor())
            done += 1

        count = min(most, rounds)
        warm = min(20, count)
        gc.collect()
        benchmark.pedantic(operation, setup=prepare, rounds=count, warmup_rounds=warm)
        record.row(row, note)
        if not once:
            record.times(diskpaxos=benchmark.stats.stats.data, floor=bare[warm:], sanlock=theirs[1:])

    return measure


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line per measurement: what people look for first."""
    session = getattr(config, "_benchmarksession", None)
    infos = [bench.extra_info for bench in getattr(session, "benchmarks", []) if "row" in bench.extra_info]
    timed = [info for info in infos if OURS in info["series"]]
    if timed:
        terminalreporter.section("medians and 99th percentiles, microseconds")
    for info in timed:
        cells = [
            f"{system} {kept['median_us']:9.1f} {kept['p99_us']:9.1f}"
            + (f" ({info['ratios'][system]:.2f} x)" if system in info["ratios"] else "")
            for system, kept in info["series"].items()
        ]
        terminalreporter.write_line(f"{info['row']:18} " + "   ".join(cells))
    for info in infos:
        for system, figures in info["values"].items():
            texts = [f"{name} {value}" for name, value in figures.items() if not isinstance(value, list | dict)]
            terminalreporter.write_line(f"{info['row']:18} {system}: {', '.join(texts)}")
    for reason in {reason for info in infos for reason in info["absent"].values()}:
        terminalreporter.write_line(f"without sanlock: {reason}")
