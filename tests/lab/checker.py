"""Judges a history: pure functions of what was seen from outside.

Proved, or refuted, from the writes on the guarded disk and the holders' logs:

* no two holders overlapped: on a lease's cell, nobody writes below a token that was written before;
* tokens only grew, from taking to taking;
* no live holder lost a lease without cause;
* every lease whose holder was taken away was taken over, neither before its life was over nor later than T_dead plus
  a bound.

Whoever was stopped, with or without its clock, wakes up and may finish what it was about to do: writes of one whose
host was stopped while it was replaced count apart as *late* for a moment after the host goes on (fencing tokens are
for these, see docs/operations.md), and as overlap beyond it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from lab.history import Beat, Event, Fault, Healed, Told, Write, of

#: Faults after which a host goes on where it stood: its clock stood still, or jumped.
CLOCK_STOPPED = ("host paused", "server paused")
STOPPED = (*CLOCK_STOPPED, "host stopped")
#: Faults that end holders on their target, whatever their length.
DEADLY = ("host killed", "host reset", "host panicked", "holder killed", "server killed")
#: Faults that are over for a holder when they are healed; all others may last as long again, in retries.
TRAILING = ("network cut", "network slow", "server paused", "server killed", "disk slow")


@dataclass(frozen=True)
class Terms:
    """What is to be kept, in seconds."""

    outage_tolerance: float  # S
    kill_grace: float  # K
    watchdog: float  # W
    bound: float = 5.0  # a takeover after T_dead, also on emulated processors that are busy …
    goal: float = 2.0  # … and as it should be, nearly always
    start_up: float = 10.0  # of `run` on an emulated processor, until it watches

    @property
    def dead_time(self) -> float:
        return (self.outage_tolerance + self.kill_grace + self.watchdog) * 1.11 + self.heartbeat

    @property
    def heartbeat(self) -> float:
        return self.outage_tolerance / 8


@dataclass(frozen=True)
class Takeover:
    """A lease went to another session after a fault had taken its holder away."""

    fault: int
    lease: str
    seconds: float  # from the last heartbeat on disk; from the fault, where the disk is not seen
    from_beat: bool
    waited: bool  # the taker was watching before the holder fell silent
    prompt: bool  # within the goal


@dataclass
class Verdict:
    """What a history shows."""

    violations: list[str] = field(default_factory=list)
    late_writes: list[str] = field(default_factory=list)  # after a stop, for a moment
    late_processors: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)  # with cause
    endings: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # how `run` and memberships ended
    takeovers: list[Takeover] = field(default_factory=list)
    sessions: int = 0
    writes_seen: int = 0
    writes_unseen: int = 0  # between two that were seen, by their numbers

    @property
    def sound(self) -> bool:
        return not self.violations


def judge(events: Iterable[Event], terms: Terms, since: float = float("-inf")) -> Verdict:
    """All of it; of what came to light before ``since`` nothing is reported again."""
    known = sorted(events, key=lambda event: event.at)
    times = Times(known, terms, since)
    verdict = Verdict()
    _count([event for event in known if event.at >= since], verdict)
    _overlaps(of(known, Write), times, verdict)
    _tokens(of(known, Told), times, verdict)
    _losses(of(known, Told), times, verdict)
    _takeovers(known, times, verdict)
    return verdict


class Times:
    """When which fault had a hold on which host."""

    def __init__(self, events: list[Event], terms: Terms, since: float) -> None:
        self.terms = terms
        self.since = since
        self.end = events[-1].at if events else 0.0
        self.faults: list[Fault] = of(events, Fault)
        self._healed: dict[int, float] = {event.number: event.at for event in of(events, Healed)}

    def healed(self, fault: Fault) -> float:
        """When it was over, or the end of the history."""
        return self._healed.get(fault.number, self.end)

    def after_stop(self, host: str, since: float, at: float) -> float | None:
        """Seconds since the host went on, if it stood still at the moment ``since`` and what is conceded to it
        afterwards is not over; else None."""
        for fault in self.faults:
            if fault.kind in STOPPED and host == fault.target and fault.at <= since <= self.healed(fault):
                moment = 1.0 + (self.terms.heartbeat + 1.0 if fault.kind in CLOCK_STOPPED else 0.0)
                lag = at - self.healed(fault)
                if lag <= moment:
                    return max(lag, 0.0)
        return None

    def cause(self, host: str, holder: str, at: float) -> Fault | None:
        """A fault because of which this holder on this host may have lost its lease at this time."""
        terms = self.terms
        # A heartbeat may just have been due when it began, and may not be through at once when it is over.
        silence = terms.outage_tolerance * 7 / 8 - 1.0
        for fault in self.faults:
            if host not in fault.hits or fault.at > at or fault.what not in ("", holder):
                continue
            trail = terms.outage_tolerance if fault.kind in TRAILING else 0.0
            until = self.healed(fault) + trail + terms.outage_tolerance
            lasted = min(at, self.healed(fault) + trail) - fault.at
            deadly = fault.kind in DEADLY and host == fault.target
            if at <= until and (deadly or lasted >= silence):
                return fault
        return None


def _count(events: list[Event], verdict: Verdict) -> None:
    last: dict[str, int] = {}
    for write in of(events, Write):
        verdict.writes_seen += 1
        verdict.writes_unseen += max(write.n - last.get(write.session, write.n - 1) - 1, 0)
        last[write.session] = write.n
    verdict.sessions = len(last)
    for told in of(events, Told):
        if told.event == "ended":
            verdict.endings[f"run: {told.more.get('code')}"] += 1
        elif told.event == "member-ended":
            verdict.endings[f"member: {told.more.get('error')}"] += 1
        elif told.event == "late":
            verdict.late_processors.append(f"{told.host} {told.holder}: {told.more.get('by')} s")


@dataclass
class _Late:
    """Writes of one session below the token of a later one."""

    write: Write
    over: int  # the higher token
    since: float  # when that was first seen
    count: int = 0
    last: float = 0.0


def _overlaps(writes: list[Write], times: Times, verdict: Verdict) -> None:
    """By the order of what was seen on the disk, and by what the writers themselves read before they wrote."""
    late: dict[tuple[str, str], _Late] = {}
    top: dict[str, Write] = {}  # the first write of the session with the highest token
    for write in writes:
        highest = top.get(write.lease)
        if highest is None or write.token > highest.token:
            top[write.lease] = highest = write
        if write.token == highest.token and write.session != highest.session and write.at >= times.since:
            verdict.violations.append(f"{write.lease}: token {write.token} used by {highest.session}, {write.session}")
        over = max(highest.token, write.saw)
        if write.token < over:
            since = highest.at if over == highest.token else write.at
            _add(late, write, write.lease, write.session, over, since)
        elif write.n > 1 and write.saw_session not in ("", write.session):
            # Between two writes of this session somebody with a lower token wrote, whether that was seen or not.
            mate = Write(write.at, write.lease, write.saw, write.saw_session.split("/")[0], write.saw_session, 0)
            _add(late, mate, write.lease, write.saw_session, write.token, highest.at)
    for case in late.values():
        if case.last >= times.since:
            _judge_late(case, times, verdict)


def _add(late: dict[tuple[str, str], _Late], write: Write, lease: str, session: str, over: int, since: float) -> None:
    case = late.setdefault((lease, session), _Late(write, over, since))
    case.count += 1
    case.last = write.at


def _judge_late(case: _Late, times: Times, verdict: Verdict) -> None:
    write = case.write
    text = (
        f"{write.lease}: {write.session} wrote {case.count} times under {write.token} after {case.over} had been used"
    )
    text += f", until {case.last - case.since:.2f} s after that"
    lag = times.after_stop(write.host, case.since, case.last)
    if lag is None:
        verdict.violations.append(f"overlap: {text}")
    else:
        verdict.late_writes.append(f"{text}; its host had been stopped, and went on {lag:.2f} s before")


def _tokens(told: list[Told], times: Times, verdict: Verdict) -> None:
    top: dict[str, Told] = {}
    for taken in told:
        if taken.event != "taken":
            continue
        before = top.get(taken.lease)
        if before is None or taken.token > before.token:
            top[taken.lease] = taken
        elif taken.at >= times.since and times.after_stop(taken.host, before.at, taken.at) is None:
            text = f"{taken.lease}: {taken.host} took it under {taken.token}, after {before.host} under {before.token}"
            verdict.violations.append(f"token: {text}")


def _losses(told: list[Told], times: Times, verdict: Verdict) -> None:
    holding: dict[tuple[str, str], bool] = {}
    for line in told:
        who = (line.host, line.holder)
        held = holding.get(who, False)
        if line.event in ("taken", "waits", "released", "lost", "ended"):
            holding[who] = line.event == "taken"
        code = line.more.get("code")
        if line.at < times.since:
            continue
        if line.event == "lost" or (line.event == "ended" and (code == 76 or (held and code != 0))):
            _loss(line, told, times, verdict)


def _loss(line: Told, told: list[Told], times: Times, verdict: Verdict) -> None:
    text = f"{line.host} lost {line.lease}: {str(line.more.get('said', ''))[:200]}"
    cause = times.cause(line.host, line.holder, line.at)
    late = [
        other.more["by"]
        for other in told
        if other.event == "late" and other.host == line.host and 0 <= line.at - other.at <= times.terms.dead_time
    ]
    if cause is not None:
        verdict.losses.append(f"{text}; cause: {cause.kind} (fault {cause.number})")
    elif late and max(late) > times.terms.outage_tolerance / 2:
        verdict.late_processors.append(f"{text}; its processor had been late by {max(late)} s")
    else:
        verdict.violations.append(f"loss without cause: {text}")


def _takeovers(events: list[Event], times: Times, verdict: Verdict) -> None:
    taken: dict[str, list[Told]] = defaultdict(list)
    for line in of(events, Told):
        if line.event == "taken":
            taken[line.lease].append(line)
    for fault in times.faults:
        for lines in taken.values():
            held = [line for line in lines if line.at <= fault.at]
            if held and _hit(fault, held[-1]):
                _takeover(events, times, fault, held[-1], lines, verdict)


def _hit(fault: Fault, held: Told) -> bool:
    return held.host in fault.hits and fault.what in ("", held.holder)


def _takeover(events: list[Event], times: Times, fault: Fault, held: Told, lines: list[Told], verdict: Verdict) -> None:
    terms, lease = times.terms, held.lease
    after = next((line for line in lines if line.at > held.at), None)
    until = after.at if after else times.end
    if until < times.since:
        return
    if _let_go(events, held, until) or _wrote_on(events, fault, times, held, until):
        return  # released in good order, before or after: nobody was taken away
    if after is None:
        if until - fault.at > 2 * terms.dead_time + terms.bound + terms.start_up:
            verdict.violations.append(f"never taken over: {lease}, {until - fault.at:.1f} s after fault {fault.number}")
        return
    beat = _last_beat(of(events, Beat), f"{held.host}-{held.holder}", fault.at, after.at)
    start = fault.at if beat is None else beat
    ready = _ready(events, after, terms)
    waited = ready <= start - terms.heartbeat
    late = 0.0 if waited else terms.heartbeat + max(ready - start, 0.0)
    if after.host in fault.hits:  # nobody could take while the storage was away
        late += times.healed(fault) - fault.at + terms.outage_tolerance + terms.start_up
    seconds, prompt = after.at - start, terms.dead_time + terms.goal + late
    takeover = Takeover(fault.number, lease, seconds, beat is not None, waited, seconds <= prompt)
    verdict.takeovers.append(takeover)
    since = "the fault" if beat is None else "the last heartbeat"
    where = f"{lease} by {after.host}, {takeover.seconds:.1f} s after {since} (fault {fault.number}, {fault.kind})"
    if takeover.seconds < terms.dead_time - 2 * terms.heartbeat:
        verdict.violations.append(f"taken over early: {where}")
    latest = terms.dead_time + terms.bound + late
    if takeover.seconds > latest:
        verdict.violations.append(f"taken over late: {where}, allowed {latest:.1f}")


def _last_beat(beats: list[Beat], name: str, fault: float, until: float) -> float | None:
    """Of the member that had this label when the fault came; a later one may have it, too."""
    named = [beat for beat in beats if beat.name == name and beat.at < until]
    before = [beat for beat in named if beat.at <= fault]
    if not before:
        return None
    member = (before[-1].slot, before[-1].generation)
    return max(beat.at for beat in named if (beat.slot, beat.generation) == member)


def _ready(events: list[Event], taken: Told, terms: Terms) -> float:
    """When the taker began to watch the other hosts: a process that uses the library when it waits; `run` once it has
    joined, which the disk shows, and which is taken to last ``start_up`` where that is not seen."""
    mine = [line for line in of(events, Told) if (line.host, line.holder) == (taken.host, taken.holder)]
    waits = [line.at for line in mine if line.event == "waits" and line.at <= taken.at]
    began = waits[-1] if waits else taken.at
    if taken.holder != "run":
        return began
    name = f"{taken.host}-{taken.holder}"
    beats = [beat.at for beat in of(events, Beat) if beat.name == name and began <= beat.at <= taken.at]
    return beats[0] if beats else began + terms.start_up


def _let_go(events: list[Event], held: Told, until: float) -> bool:
    """Whether the holder said that it released this very taking."""
    return any(
        line.event == "released" and line.lease == held.lease and line.token == held.token
        for line in of(events, Told)
        if held.at <= line.at <= until + 1.0
    )


def _wrote_on(events: list[Event], fault: Fault, times: Times, held: Told, until: float) -> bool:
    """Whether the holder, not taken away by this fault, still wrote after it was healed."""
    return any(
        write.lease == held.lease and write.token == held.token and times.healed(fault) + 1.0 < write.at < until
        for write in of(events, Write)
    )
