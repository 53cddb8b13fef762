"""What the driver raises beyond the library's errors.

::

    DiskPaxosError
    ├── DriverError
    │   ├── IncompatibleDriver     at load: API version or features that one side lacks
    │   ├── AlreadyLoadedError     at load: loaded before, with another configuration
    │   ├── ConfigError            at load: the configuration cannot be used
    │   ├── FeatureMissing         a call needs an optional feature that this driver lacks
    │   ├── ReadonlyDeniedError    at acquire: read-only use is configured to be refused
    │   └── CoherenceError         an image's cached pages could not be dropped or synced
    ├── InvalidStateError
    │   └── UnusableStateError     damaged, of another VM, or of another driver
    └── StaleStateError (StaleState)
        └── OtherLockspaceStateError   saved on a lockspace that is not this one
"""

from __future__ import annotations

import errno as _errno
import os

from diskpaxos.errors import DiskPaxosError, InvalidStateError, StaleStateError

__all__ = [
    "AlreadyLoadedError",
    "CoherenceError",
    "ConfigError",
    "DriverError",
    "FeatureMissing",
    "IncompatibleDriver",
    "OtherLockspaceStateError",
    "ReadonlyDeniedError",
    "StaleState",
    "UnusableStateError",
]

#: The name that the driver's contract uses for it.
StaleState = StaleStateError


class DriverError(DiskPaxosError):
    """Base of the driver's own errors."""


class IncompatibleDriver(DriverError):  # noqa: N818 - the contract with VM managers names it so
    """Driver and VM manager do not fit together.

    ``missing_in_driver`` and ``missing_in_manager``: what each side lacks, as text for people;
    ``features``: names of wanted features that the driver does not have.
    """

    def __init__(
        self,
        driver: str,
        missing_in_driver: tuple[str, ...] = (),
        missing_in_manager: tuple[str, ...] = (),
        features: frozenset[str] = frozenset(),
        advice: str = "",
    ) -> None:
        sides = []
        if missing_in_driver:
            sides.append(f"the driver {driver!r} lacks {', '.join(missing_in_driver)}")
        if missing_in_manager:
            sides.append(f"the VM manager lacks {', '.join(missing_in_manager)}")
        super().__init__("; ".join(sides), "nothing was loaded", advice)
        self.driver = driver
        self.missing_in_driver = missing_in_driver
        self.missing_in_manager = missing_in_manager
        self.features = features


class AlreadyLoadedError(DriverError):
    """``differences``: settings that differ from those that the driver was loaded with."""

    def __init__(self, driver: str, differences: tuple[str, ...]) -> None:
        super().__init__(
            f"the driver {driver!r} is loaded with another configuration ({', '.join(differences)})",
            "the loaded one stays as it is",
            "a process has one driver: load it with one configuration everywhere",
        )
        self.driver = driver
        self.differences = differences


class ConfigError(DriverError):
    """``source``: path of the file, or "" for one given in the program; ``key``: the setting, or ""."""

    def __init__(self, what: str, source: str = "", key: str = "", advice: str = "") -> None:
        where = f" in {source}" if source else ""
        about = f"setting {key!r}{where}: " if key else f"configuration{where}: "
        super().__init__(about + what, "nothing was loaded", advice or "docs/driver.md lists the settings")
        self.source = source
        self.key = key


class FeatureMissing(DriverError):  # noqa: N818 - the contract with VM managers names it so
    """``feature``: its name."""

    def __init__(self, driver: str, feature: str, why: str, advice: str = "") -> None:
        super().__init__(f"the driver {driver!r} has no feature {feature!r}: {why}", "nothing was changed", advice)
        self.driver = driver
        self.feature = feature


class ReadonlyDeniedError(DriverError):
    """``resource``: what was to be used read-only."""

    def __init__(self, resource: str) -> None:
        super().__init__(
            f"read-only use of {resource!r} is refused by configuration (readonly = 'deny')",
            "nothing was taken",
            "remove that resource, or configure readonly = 'shared' or 'ignore'",
        )
        self.resource = resource


class CoherenceError(DriverError):
    """``path``: of the image; ``errno``: what the system said; ``action``: "revalidate" or "sync"."""

    def __init__(self, path: str, action: str, number: int) -> None:
        text = f"{os.strerror(number)} ({_errno.errorcode.get(number, number)})"
        if action == "sync":
            effect = "nothing was released; data of this image may be lost"
            advice = "check the storage, then release again"
        else:
            effect = "nothing was taken"
            advice = "check the image's path, permissions and storage"
        super().__init__(f"cannot {action} {path!r}: {text}", effect, advice)
        self.path = path
        self.action = action
        self.errno = number


class UnusableStateError(InvalidStateError):
    """A state string that says nothing about this VM; ``reason``: why."""

    def __init__(self, state: str, reason: str) -> None:
        DiskPaxosError.__init__(
            self,
            f"{state!r} cannot be used: {reason}",
            "nothing was taken",
            "pass what release() or inquire() returned for this VM, or start the VM anew, without a state",
        )
        self.state = state
        self.reason = reason


class OtherLockspaceStateError(StaleStateError):
    """The state was saved on another lockspace (or on this one before it was created anew)."""

    def __init__(self, state: str, saved: str, here: str) -> None:
        DiskPaxosError.__init__(
            self,
            f"the state was saved on lockspace {saved}, this host uses {here}: nobody can tell who ran since",
            "nothing was taken",
            "do not go on from the saved state; start anew, without it",
        )
        self.lease = ""
        self.state = state
