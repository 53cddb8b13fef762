"""Loading the driver: refused early and with names, idempotent, safe from many threads at once."""

from __future__ import annotations

import importlib
import os
import pickle
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import diskpaxos
from diskpaxos.driver import (
    API_VERSION,
    FEATURES,
    AlreadyLoadedError,
    ConfigError,
    Driver,
    DriverConfig,
    IncompatibleDriver,
    UnusableStateError,
    load,
    load_nop,
    loading,
    read_config,
)
from diskpaxos.driver.embedded import EmbeddedDriver
from diskpaxos.errors import DiskPaxosError, InvalidArgumentError, NotFormattedError, PathError

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = {"shared", "state", "hotplug", "migration", "readonly-deny", "coherence", "wait-for-dead"}


@pytest.fixture
def lockspace(tmp_path: Path) -> Path:
    path = tmp_path / "lockspace"
    made = diskpaxos.Lockspace.create(
        path,
        max_hosts=4,
        max_leases=8,
        outage_tolerance=4.0,
        kill_grace=1.0,
        watchdog_timeout=0.5,
        claim_time=0.05,
    )
    made.close()
    return path


@pytest.fixture(autouse=True)
def _unloaded() -> Iterator[None]:
    """Each test finds a process that has loaded nothing, and leaves one."""
    assert not loading._loaded
    yield
    loading._end()
    loading._loaded.clear()


# ---- versions and features


@pytest.mark.parametrize("api", [(1, 0)])
def test_versions_that_fit(api: tuple[int, int]) -> None:
    assert load_nop(api).api == API_VERSION


@pytest.mark.parametrize("api", [(1, 1), (2, 0), (1, 99)])
def test_a_newer_manager_is_told_what_the_driver_lacks(api: tuple[int, int]) -> None:
    with pytest.raises(IncompatibleDriver) as caught:
        load(api, config={"lockspace": "/never/opened"})
    wanted = f"version {api[0]}.{api[1]} of the API"
    assert caught.value.missing_in_driver[0].startswith(wanted)
    assert caught.value.missing_in_manager == ()
    assert wanted in str(caught.value)


def test_an_older_manager_is_told_what_it_lacks() -> None:
    with pytest.raises(IncompatibleDriver, match=r"the VM manager lacks version 1\.0") as caught:
        load((0, 9), config={"lockspace": "/never/opened"})
    assert caught.value.missing_in_driver == ()


@pytest.mark.parametrize("api", ["1.0", (1,), (1, 0, 0), None, (1, "0"), (-1, 0)])
def test_what_is_no_version(api: Any) -> None:
    with pytest.raises(InvalidArgumentError, match="api must be"):
        load(api)


def test_missing_features_are_named_before_anything_is_opened() -> None:
    with pytest.raises(IncompatibleDriver) as caught:
        load(features={"state", "fenced", "process-bound", "telepathy"}, config={"lockspace": "/never/opened"})
    error = caught.value
    assert error.features == {"fenced", "process-bound", "telepathy"}
    assert "feature 'fenced' (absent in embedded mode" in str(error)
    assert "feature 'telepathy' (unknown" in str(error)
    assert "'state'" not in str(error)


def test_a_feature_configured_away_is_missing() -> None:
    with pytest.raises(IncompatibleDriver, match="coherence = false"):
        load(features={"coherence"}, config={"lockspace": "/never/opened", "coherence": False})


def test_one_text_is_no_set_of_features() -> None:
    with pytest.raises(InvalidArgumentError, match="set of names"):
        load(features="state", config={"lockspace": "/never/opened"})


def test_features_of_the_embedded_driver(lockspace: Path) -> None:
    driver = load(features=EMBEDDED, config={"lockspace": lockspace})
    assert driver.features == EMBEDDED
    assert driver.features < set(FEATURES)
    assert driver.stays_loaded
    assert isinstance(driver, Driver)


def test_features_are_checked_at_every_load(lockspace: Path) -> None:
    load(config={"lockspace": lockspace})
    with pytest.raises(IncompatibleDriver):
        load(features={"fenced"}, config={"lockspace": lockspace})


def test_what_is_offered_is_what_the_driver_says(lockspace: Path) -> None:
    for coherence in (True, False):
        config = DriverConfig(lockspace=(str(lockspace),), coherence=coherence)
        driver = EmbeddedDriver(config)
        assert driver.features == loading.offered(config)
        driver.end()


# ---- once


def test_loading_again_returns_the_same_object(lockspace: Path) -> None:
    first = load(config={"lockspace": lockspace})
    assert load(config={"lockspace": str(lockspace)}) is first
    assert load(config=DriverConfig(lockspace=(str(lockspace),))) is first
    assert diskpaxos.load(config={"lockspace": [lockspace]}) is first


def test_many_threads_load_one_driver(lockspace: Path) -> None:
    joined = []
    barrier = threading.Barrier(16)

    def loads() -> None:
        barrier.wait()
        joined.append(load(config={"lockspace": lockspace}))

    threads = [threading.Thread(target=loads) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(joined) == 16
    assert len(set(map(id, joined))) == 1
    with diskpaxos.Lockspace.open(lockspace, read_only=True) as space:
        assert sum(host.liveness != "free" for host in space.hosts()) == 1, "one joined, not sixteen"


def test_another_configuration_is_refused(lockspace: Path) -> None:
    first = load(config={"lockspace": lockspace})
    with pytest.raises(AlreadyLoadedError, match="readonly, timeout") as caught:
        load(config={"lockspace": lockspace, "readonly": "deny", "timeout": 3})
    assert caught.value.differences == ("readonly", "timeout")
    assert load(config={"lockspace": lockspace}) is first


def test_a_load_that_failed_can_be_tried_again(lockspace: Path, tmp_path: Path) -> None:
    absent = tmp_path / "later"
    with pytest.raises(PathError):
        load(config={"lockspace": absent})
    lockspace.rename(absent)
    assert load(config={"lockspace": absent}).features == EMBEDDED


def test_what_is_no_lockspace_fails_at_load(tmp_path: Path) -> None:
    """Not at the start of the first guest."""
    path = tmp_path / "other"
    path.write_bytes(b"something else" * 1000)
    with pytest.raises(NotFormattedError):
        load(config={"lockspace": path})


def test_a_forked_child_starts_with_nothing_loaded(lockspace: Path) -> None:
    parents = load(config={"lockspace": lockspace})
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = b"failed"
        try:
            fresh = not loading._loaded and not loading._lock.locked()
            try:
                parents.manager("3f84bb1f-222d-469c-91f9-d36ca8f71fe4", "vm")
                answer = b"the parent's driver works"
            except DiskPaxosError as error:
                answer = f"{fresh} {type(error).__name__}".encode()
        finally:
            os.write(theirs, answer)
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        assert pipe.read() == b"True ForkedError"
    os.waitpid(pid, 0)


# ---- by name


def test_nop_is_there_by_name() -> None:
    driver = load(name="nop")
    assert driver.name == "nop"
    assert load_nop() is driver
    assert driver.features == frozenset()


def test_nop_promises_nothing() -> None:
    with pytest.raises(IncompatibleDriver, match="nop protects nothing"):
        load(features={"state"}, name="nop")


def test_nop_serves_the_core_of_the_api() -> None:
    with load_nop().manager("3f84bb1f-222d-469c-91f9-d36ca8f71fe4", "vm", pid=1) as vm:
        vm.add("/a", mode="shared", readonly=True)
        assert vm.held == ()
        vm.acquire()
        assert vm.held == vm.resources == ("/a",)
        assert vm.inquire() == vm.release() == vm.release() == ""
        vm.acquire("")


def test_nop_refuses_a_protected_vm() -> None:
    """A VM that migrates from a host with leases must not go on without them in silence."""
    vm = load_nop().manager("3f84bb1f-222d-469c-91f9-d36ca8f71fe4", "vm")
    vm.add("/a")
    with pytest.raises(UnusableStateError, match="protects nothing"):
        vm.acquire("diskpaxos/1;vm=0;sum=0")
    assert vm.held == ()


def test_an_unknown_name() -> None:
    with pytest.raises(InvalidArgumentError, match="there is no driver 'lockd'"):
        load(name="lockd")


def test_entry_points_lead_to_the_drivers() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    points = project["entry-points"]["vm_lock_driver"]
    found = {}
    for name, target in points.items():
        module, _, attribute = target.partition(":")
        found[name] = getattr(importlib.import_module(module), attribute)
    assert found == {"diskpaxos": load, "nop": load_nop}


# ---- configuration


def test_a_toml_file(lockspace: Path, tmp_path: Path) -> None:
    file = tmp_path / "driver.toml"
    file.write_text(f'lockspace = "{lockspace}"\nhost-name = "a"\nreadonly = "ignore"\ntimeout = 5\n')
    config = read_config(file)
    assert config == DriverConfig((str(lockspace),), "a", "ignore", timeout=5.0)
    assert read_config(str(file)) == config
    assert load(config=file) is load(config=config)


def test_without_a_configuration_the_variable_counts(
    lockspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "driver.toml"
    file.write_text(f'lockspace = ["{lockspace}"]\n')
    monkeypatch.setenv("DISKPAXOS_DRIVER_CONFIG", str(file))
    assert load() is load(config={"lockspace": lockspace})
    monkeypatch.delenv("DISKPAXOS_DRIVER_CONFIG")
    monkeypatch.setattr("diskpaxos.driver.config.CONFIG_FILE", str(tmp_path / "absent.toml"))
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot read it"):
        load()


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"lockspaces": "/a"}, "lockspaces"),
        ({"lockspace": "/a", "readonly": "sharde"}, "readonly"),
        ({"lockspace": "/a", "coherence": "yes"}, "coherence"),
        ({"lockspace": "/a", "create": 1}, "create"),
        ({"lockspace": "/a", "timeout": -1}, "timeout"),
        ({"lockspace": "/a", "timeout": float("nan")}, "timeout"),
        ({"lockspace": "/a", "timeout": "5s"}, "timeout"),
        ({"lockspace": "/a", "join_timeout": True}, "join_timeout"),
        ({"lockspace": 5}, "lockspace"),
        ({"lockspace": [""]}, "lockspace"),
        ({"lockspace": [5]}, "lockspace"),
        ({"lockspace": "/a", "host_name": 5}, "host_name"),
        ({"lockspace": "/a", "host_name": "a", "host-name": "b"}, "host-name"),
        ({}, "lockspace"),
    ],
)
def test_what_cannot_work_is_an_error_that_names_the_setting(values: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=f"setting '{key}'") as caught:
        load(config=values)
    assert caught.value.key == key
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.key, str(again)) == (key, str(caught.value))


def test_an_error_in_a_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "driver.toml"
    file.write_text('lockspace = "/a"\nwatchdog = 5\n')
    with pytest.raises(ConfigError, match=f"setting 'watchdog' in {file}: unknown; known are coherence, "):
        load(config=file)
    file.write_text('lockspace = "/a"\nreadonly = "never"\n')
    with pytest.raises(ConfigError, match=f"setting 'readonly' in {file}: must be one of"):
        load(config=file)
    file.write_text("lockspace = \n")
    with pytest.raises(ConfigError, match=f"in {file}: it is not TOML"):
        load(config=file)


def test_a_relative_path_means_one_lockspace(lockspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = load(config={"lockspace": "lockspace"})
    monkeypatch.chdir("/")
    assert load(config={"lockspace": lockspace}) is first


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs" / "driver.md").read_text()
    for field in DriverConfig.__dataclass_fields__:
        assert f"| `{field}` |" in text, field
    for feature in FEATURES:
        assert f"| `{feature}` |" in text, feature
