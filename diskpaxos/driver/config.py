"""Settings of the driver: given in the program, or read from a TOML file."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

from diskpaxos.driver.errors import ConfigError

#: Where `load()` without a configuration looks: this variable, then this file.
CONFIG_VARIABLE = "DISKPAXOS_DRIVER_CONFIG"
CONFIG_FILE = "/etc/diskpaxos/driver.toml"

ReadonlyPolicy: TypeAlias = Literal["deny", "shared", "ignore"]
_POLICIES = ("deny", "shared", "ignore")


@dataclass(frozen=True, slots=True)
class DriverConfig:
    """What the driver needs to know.  Two equal configurations are one driver.

    :raises ConfigError: from the constructor, when a value cannot work
    """

    #: Paths of the lockspace's disks: 1, 3 or 5, in any order.  One path may be given as text.
    lockspace: tuple[str, ...] = ()
    #: Label of this host in the lockspace; None: the machine's host name.
    host_name: str | None = None
    #: What a read-only resource means at acquire: "shared" takes its lease in mode shared, so that
    #: it waits for writers and keeps them out; "ignore" takes none; "deny" refuses.
    readonly: ReadonlyPolicy = "shared"
    #: Drop cached pages of images at acquire and sync them at release.
    coherence: bool = True
    #: Make the lease of a resource at its first use; else leases are made by an administrator.
    create: bool = True
    #: Seconds that acquire waits for a lease held elsewhere, unless told otherwise.
    timeout: float = 0.0
    #: Seconds that load goes on trying to join while host slots are contended or all taken.
    join_timeout: float = 10.0
    #: Try to give the heartbeat real-time priority and locked memory.
    realtime: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "lockspace", _paths(self.lockspace))
        if self.host_name is not None and not isinstance(self.host_name, str):
            raise ConfigError(f"must be text, not {self.host_name!r}", key="host_name")
        if self.readonly not in _POLICIES:
            raise ConfigError(f"must be one of {', '.join(_POLICIES)}, not {self.readonly!r}", key="readonly")
        for key in ("coherence", "create", "realtime"):
            if not isinstance(getattr(self, key), bool):
                raise ConfigError(f"must be true or false, not {getattr(self, key)!r}", key=key)
        for key in ("timeout", "join_timeout"):
            object.__setattr__(self, key, _seconds(key, getattr(self, key)))

    def differences(self, other: DriverConfig) -> tuple[str, ...]:
        """Names of the settings in which the two differ."""
        return tuple(f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name))


Config: TypeAlias = DriverConfig | Mapping[str, Any] | str | os.PathLike[str] | None


def read_config(config: Config) -> DriverConfig:
    """The configuration that ``config`` means.

    :param config: a DriverConfig; a mapping of its fields; the path of a TOML file with them; None:
        the file named by the environment variable DISKPAXOS_DRIVER_CONFIG, else
        /etc/diskpaxos/driver.toml
    :raises ConfigError: unreadable, not TOML, an unknown setting, a value that cannot work
    """
    if isinstance(config, DriverConfig):
        return config
    if isinstance(config, Mapping):
        return _from_mapping(config, "")
    if config is None:
        config = os.environ.get(CONFIG_VARIABLE) or CONFIG_FILE
    if not isinstance(config, str | os.PathLike):
        raise ConfigError(f"must be a DriverConfig, a mapping, a path or None, not {config!r}")
    path = Path(config)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"cannot read it: {error.strerror or error}", str(path), advice=f"create it, or set {CONFIG_VARIABLE}"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"it is not TOML: {error}", str(path)) from error
    return _from_mapping(values, str(path))


def _from_mapping(values: Mapping[str, Any], source: str) -> DriverConfig:
    known = {f.name for f in fields(DriverConfig)}
    settings: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in known:
            raise ConfigError(f"unknown; known are {', '.join(sorted(known))}", source, str(key))
        if name in settings:
            raise ConfigError("given twice, with - and with _", source, str(key))
        settings[name] = value
    try:
        return DriverConfig(**settings)
    except ConfigError as error:
        if not source:
            raise
        raise ConfigError(error.what.partition(": ")[2], source, error.key) from None


def _paths(given: object) -> tuple[str, ...]:
    listed = [given] if isinstance(given, str | os.PathLike) else given
    if not isinstance(listed, list | tuple):
        raise ConfigError(f"must be a path or a list of paths, not {given!r}", key="lockspace")
    paths = []
    for item in cast("list[object]", listed):
        path = os.fspath(item) if isinstance(item, os.PathLike) else item
        if not isinstance(path, str) or not path:
            raise ConfigError(f"must be a path or a list of paths, not {given!r}", key="lockspace")
        # Another working directory must not mean another lockspace.
        paths.append(str(Path(path).absolute()))
    return tuple(paths)


def _seconds(key: str, value: object) -> float:
    try:
        number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:  # an integer beyond every float
        number = math.inf if isinstance(value, int) and value > 0 else -math.inf
    if math.isnan(number) or number < 0:
        raise ConfigError(f"must be a number of seconds, 0 or more, not {value!r}", key=key)
    return number
