"""The faults: which there are, which one comes when (pure, from a seed), and how each is done and undone."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from lab.checker import Terms
from lab.guests import Lab
from lab.holders.cell import LEASES
from lab.storage import SERVER, Storage


@dataclass(frozen=True)
class Plan:
    """One fault of a schedule."""

    number: int
    kind: str
    target: str
    seconds: float
    delay: float  # after all is well, so that it comes at any phase of a heartbeat
    what: str = ""  # holder killed: which
    degree: int = 0  # disk slow: I/Os a second; network slow: milliseconds


@dataclass(frozen=True)
class Kind:
    """What a fault does, by the plan of it."""

    inject: Callable[[Lab, Plan], None]
    heal: Callable[[Lab, Plan], None]
    where: str = "any"  # any; disk: where the shared disk is part of it; served: where NFS or iSCSI is
    reboots: bool = False


def _nothing(_lab: Lab, _plan: Plan) -> None:
    """Heals by itself."""


def _power_on(lab: Lab, plan: Plan) -> None:
    host = lab.host(plan.target)
    host.kill()
    host.start()
    host.wait()


def _slow_network(lab: Lab, plan: Plan) -> None:
    """Packets of the host are late, and every fourth overtakes those before it."""
    netem = ["netem", "delay", f"{plan.degree}ms", "reorder", "25%"]
    lab.host(plan.target).check(["tc", "qdisc", "add", "dev", "eth0", "root", *netem])


def _fast_network(lab: Lab, plan: Plan) -> None:
    lab.host(plan.target).check(["tc", "qdisc", "del", "dev", "eth0", "root"])


def _disk(mode: str) -> Kind:
    return Kind(
        lambda lab, plan: lab.host(plan.target).fail_disk(mode),
        lambda lab, plan: lab.host(plan.target).heal_disk(),
        where="disk",
    )


KINDS = {
    "host killed": Kind(lambda lab, plan: lab.host(plan.target).kill(), _power_on, reboots=True),
    "host reset": Kind(
        lambda lab, plan: lab.host(plan.target).reset(), lambda lab, plan: lab.host(plan.target).wait(), reboots=True
    ),
    "host panicked": Kind(lambda lab, plan: lab.host(plan.target).panic(), _power_on, reboots=True),
    "host paused": Kind(
        lambda lab, plan: lab.host(plan.target).pause(), lambda lab, plan: lab.host(plan.target).cont()
    ),
    "host stopped": Kind(
        lambda lab, plan: lab.host(plan.target).pause(process=True), lambda lab, plan: lab.host(plan.target).cont()
    ),
    "holder killed": Kind(_nothing, _nothing),  # by the suite, which knows the process
    "disk hangs": _disk("hang"),
    "disk fails": _disk("error"),
    "disk fails writes": _disk("write"),
    "disk slow": Kind(
        lambda lab, plan: lab.host(plan.target).throttle(iops=plan.degree),
        lambda lab, plan: lab.host(plan.target).heal_disk(),
        where="disk",
    ),
    "network cut": Kind(
        lambda lab, plan: lab.host(plan.target).link(False), lambda lab, plan: lab.host(plan.target).link(True)
    ),
    "network slow": Kind(_slow_network, _fast_network, where="served"),
    "server paused": Kind(
        lambda lab, plan: lab.host(plan.target).pause(), lambda lab, plan: lab.host(plan.target).cont(), where="served"
    ),
    "server killed": Kind(lambda lab, plan: lab.host(plan.target).kill(), _power_on, where="served", reboots=True),
}
DEGREES = {"disk slow": (2, 4, 8, 16), "network slow": (50, 100, 200, 400)}
OF_SERVER = ("server paused", "server killed")
INSTANT = ("host reset", "holder killed")


def kinds_on(storage: Storage) -> list[str]:
    """The faults that make sense there."""
    there = {"any"} | ({"disk"} if storage.on_disk else set()) | ({"served"} if storage.served else set())
    return [name for name, kind in KINDS.items() if kind.where in there]


def targets(storage: Storage, holders: list[str], kind: str) -> list[str]:
    """The hosts that this fault may be done to: what is said of a host is not to be about the server."""
    if kind in OF_SERVER:
        return [SERVER]
    if not storage.served or kind == "holder killed":
        return holders
    return [name for name in holders if name != SERVER]


def hits(storage: Storage, holders: list[str], plan: Plan) -> tuple[str, ...]:
    """Whose holders it may cost their leases."""
    if plan.kind in OF_SERVER:
        return tuple(holders)
    if plan.kind == "network cut" and not storage.served:
        return ()
    if plan.kind.startswith("disk") and len(storage.paths) > 1:
        return ()  # one of three
    return (plan.target,)


def draw(
    seed: int, number: int, storage: Storage, holders: list[str], terms: Terms, kinds: list[str] | None = None
) -> Plan:
    """Fault ``number`` of a seed's schedule on a storage: each kind once before any comes again."""
    chosen = kinds or kinds_on(storage)
    order = list(chosen)
    random.Random(f"{seed}/{storage.name}/round/{number // len(chosen)}").shuffle(order)
    kind = order[number % len(chosen)]
    dice = random.Random(f"{seed}/{storage.name}/{number}")
    return Plan(
        number=number,
        kind=kind,
        target=dice.choice(targets(storage, holders, kind)),
        seconds=0.0 if kind in INSTANT else round(_length(dice, terms), 1),
        delay=round(dice.uniform(0, terms.heartbeat), 2),
        what=dice.choice(LEASES) if kind == "holder killed" else "",
        degree=dice.choice(DEGREES[kind]) if kind in DEGREES else 0,
    )


def _length(dice: random.Random, terms: Terms) -> float:
    """A third each: what every holder outlasts; what ends holders; what lets others take their leases."""
    low, high = dice.choice(
        (
            (0.5, terms.outage_tolerance / 2),
            (terms.outage_tolerance, terms.dead_time),
            (terms.dead_time + 2, terms.dead_time + 12),
        )
    )
    return dice.uniform(low, high)
