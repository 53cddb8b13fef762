"""Leases on shared storage by Disk Paxos.

import diskpaxos

with diskpaxos.Lockspace.open("/shared/lockspace") as space, space.join() as host:
    with host.acquire("vm-17") as lease:
        ...  # nobody else holds "vm-17"; pass lease.token on to whoever checks fencing tokens
        lease.check()
"""

from diskpaxos import errors
from diskpaxos._version import __version__
from diskpaxos.driver import load
from diskpaxos.errors import DiskPaxosError
from diskpaxos.host import Host, HostEvent, HostStatus
from diskpaxos.lease import Lease, Loss, Request, SavedState
from diskpaxos.lockspace import Lockspace
from diskpaxos.views import DiskInfo, Drain, Holder, HostInfo, LeaseInfo, Liveness, LockspaceInfo

__all__ = [
    "DiskInfo",
    "DiskPaxosError",
    "Drain",
    "Holder",
    "Host",
    "HostEvent",
    "HostInfo",
    "HostStatus",
    "Lease",
    "LeaseInfo",
    "Liveness",
    "Lockspace",
    "LockspaceInfo",
    "Loss",
    "Request",
    "SavedState",
    "__version__",
    "errors",
    "load",
]
