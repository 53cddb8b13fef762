"""Loading a driver: once per process, checked before anything depends on it."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from diskpaxos.driver.api import API_VERSION, FEATURES, Driver
from diskpaxos.driver.config import Config, DriverConfig, read_config
from diskpaxos.driver.embedded import EmbeddedDriver
from diskpaxos.driver.errors import AlreadyLoadedError, IncompatibleDriver
from diskpaxos.driver.nop import NopDriver
from diskpaxos.errors import InvalidArgumentError

_AGENT_ONLY = frozenset({"process-bound", "fenced"})


@dataclass(frozen=True, slots=True)
class _Loaded:
    driver: Driver
    config: DriverConfig


_loaded: dict[str, _Loaded] = {}
_lock = threading.Lock()


def load(
    api: tuple[int, int] = API_VERSION,
    features: Collection[str] = frozenset(),
    config: Config = None,
    *,
    name: str = "diskpaxos",
) -> Driver:
    """Load the driver, or return the one that is loaded.

    Everything that can be known is checked here: version, features, configuration, storage,
    membership.  What a manager asked for at load does not fail at guest start, hot-plug or migration.
    Any number of calls, from any number of threads at once, return the same object.  It is never
    unloaded.

    :param api: (major, minor) of the API that the manager was written for
    :param features: the optional ones that it depends on
    :param config: see :func:`diskpaxos.driver.config.read_config`; ignored by `nop`
    :param name: "diskpaxos", or "nop", which protects nothing
    :raises IncompatibleDriver: what is missing, and on which side
    :raises AlreadyLoadedError: it is loaded with another configuration
    :raises ConfigError: the configuration cannot be used
    :raises DiskPaxosError: the lockspace cannot be opened or joined
    """
    _check_version(name, api)
    if name == "nop":
        _check_features(name, NopDriver.features, features, None)
        return _once(name, DriverConfig(), lambda _: NopDriver())
    if name != "diskpaxos":
        raise InvalidArgumentError(f"there is no driver {name!r}", "nothing was loaded", "known: diskpaxos, nop")
    settings = read_config(config)
    _check_features(name, offered(settings), features, settings)
    return _once(name, settings, EmbeddedDriver)


def load_nop(
    api: tuple[int, int] = API_VERSION, features: Collection[str] = frozenset(), config: Config = None
) -> Driver:
    """:func:`load` of the driver `nop`: the entry point of that name."""
    return load(api, features, config, name="nop")


def offered(config: DriverConfig) -> frozenset[str]:
    """The features that the driver has under this configuration."""
    absent = _AGENT_ONLY if config.coherence else _AGENT_ONLY | {"coherence"}
    return frozenset(FEATURES) - absent


def _once(name: str, config: DriverConfig, make: Callable[[DriverConfig], Driver]) -> Driver:
    # Held while the driver joins: whoever else loads at this moment waits for that one.
    with _lock:
        known = _loaded.get(name)
        if known is None:
            known = _Loaded(make(config), config)
            _loaded[name] = known
        elif known.config != config:
            raise AlreadyLoadedError(name, known.config.differences(config))
        return known.driver


def _check_version(name: str, api: Any) -> None:
    try:
        major, minor = api
        valid = isinstance(major, int) and isinstance(minor, int) and major >= 0 and minor >= 0
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise InvalidArgumentError(f"api must be (major, minor), not {api!r}", "nothing was loaded")
    here = ".".join(map(str, API_VERSION))
    if major > API_VERSION[0] or (major == API_VERSION[0] and minor > API_VERSION[1]):
        raise IncompatibleDriver(
            name, (f"version {major}.{minor} of the API (it has {here})",), advice="install a newer diskpaxos"
        )
    if major < API_VERSION[0]:
        raise IncompatibleDriver(
            name,
            missing_in_manager=(f"version {here} of the API (it was written for {major}.{minor})",),
            advice="install a newer VM manager, or an older diskpaxos",
        )


def _check_features(name: str, have: frozenset[str], wanted: Collection[str], config: DriverConfig | None) -> None:
    if isinstance(wanted, str):
        raise InvalidArgumentError(f"features must be a set of names, not {wanted!r}", "nothing was loaded")
    missing = frozenset(wanted) - have
    if not missing:
        return
    raise IncompatibleDriver(
        name,
        tuple(f"feature {feature!r} ({_why(name, feature, config)})" for feature in sorted(missing)),
        features=missing,
        advice="configure what provides it, or load without it",
    )


def _why(name: str, feature: str, config: DriverConfig | None) -> str:
    if feature not in FEATURES:
        return "unknown to this release"
    if name == "nop":
        return "nop protects nothing"
    if feature == "coherence" and config is not None and not config.coherence:
        return "configured away: coherence = false"
    return "absent in embedded mode: it needs the host agent"


def _end() -> None:
    for known in list(_loaded.values()):
        if isinstance(known.driver, EmbeddedDriver):
            known.driver.end()


def _after_fork_in_child() -> None:
    # The parent's driver is of no use here; the child may load its own.
    global _lock
    _lock = threading.Lock()
    _loaded.clear()


atexit.register(_end)
os.register_at_fork(after_in_child=_after_fork_in_child)
