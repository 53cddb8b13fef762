"""Leases for VM managers: load a driver once, then acquire and release the resources of each VM.

    driver = diskpaxos.load(api=(1, 0), features={"state", "hotplug"}, config="/etc/vmd/leases.toml")

    vm = driver.manager(uuid, "web-1", on_lost=stop_at_once)
    vm.add("/shared/images/web-1.qcow2")
    vm.add("/shared/iso/install.iso", readonly=True)
    vm.acquire()                # before the guest runs: all of it or nothing
    ...
    state = vm.release()        # the guest is paused, saved or gone
    vm.acquire(state)           # resumed: refused if it ran elsewhere in between
    vm.close()

docs/driver.md is the manual.
"""

from diskpaxos.driver.api import API_VERSION, FEATURES, Driver, Manager, OnLost, Resource
from diskpaxos.driver.config import Config, DriverConfig, read_config
from diskpaxos.driver.errors import (
    AlreadyLoadedError,
    CoherenceError,
    ConfigError,
    DriverError,
    FeatureMissing,
    IncompatibleDriver,
    OtherLockspaceStateError,
    ReadonlyDeniedError,
    StaleState,
    UnusableStateError,
)
from diskpaxos.driver.loading import load, load_nop
from diskpaxos.driver.names import lease_name

__all__ = [
    "API_VERSION",
    "FEATURES",
    "AlreadyLoadedError",
    "CoherenceError",
    "Config",
    "ConfigError",
    "Driver",
    "DriverConfig",
    "DriverError",
    "FeatureMissing",
    "IncompatibleDriver",
    "Manager",
    "OnLost",
    "OtherLockspaceStateError",
    "ReadonlyDeniedError",
    "Resource",
    "StaleState",
    "UnusableStateError",
    "lease_name",
    "load",
    "load_nop",
    "read_config",
]
