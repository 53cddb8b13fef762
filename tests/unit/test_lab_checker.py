"""The laboratory's checker notices what it is there for: each history here is made by hand, sound or with one wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab.checker import Terms, Verdict, judge
from lab.history import Beat, Event, Fault, Healed, Told, Write, decode, encode, read

TERMS = Terms(outage_tolerance=8, kill_grace=4, watchdog=4)
T_DEAD = TERMS.dead_time


def taken(at: float, host: str, token: int) -> list[Event]:
    return [Told(at, host, "library", "taken", "library", token)]


def waits(at: float, host: str) -> list[Event]:
    return [Told(at, host, "library", "waits", "library")]


def released(at: float, host: str, token: int) -> list[Event]:
    return [Told(at, host, "library", "released", "library", token)]


def lost(at: float, host: str, token: int) -> list[Event]:
    return [Told(at, host, "library", "lost", "library", token, more={"said": "storage"})]


def writes(
    start: float, end: float, host: str, token: int, *, first: int = 1, saw: tuple[int, str] = (0, "")
) -> list[Event]:
    """Ten a second; the first one saw what it is told, each other one the one before."""
    found: list[Event] = []
    session = f"{host}/{token}"
    for i in range(round((end - start) * 10)):
        saw_token, saw_session = saw if i == 0 else (token, session)
        found.append(Write(start + i / 10, "library", token, host, session, first + i, saw_token, saw_session))
    return found


def beats(start: float, end: float, host: str, slot: int) -> list[Event]:
    return [Beat(start + i, f"{host}-library", slot, 1, i) for i in range(round(end - start) + 1)]


def fault(at: float, kind: str, target: str, seconds: float, hits: tuple[str, ...] | None = None) -> list[Event]:
    return [Fault(at, 7, kind, target, (target,) if hits is None else hits, seconds), Healed(at + seconds, 7)]


def handover() -> list[Event]:
    """h1 releases, h2 takes."""
    return [
        *waits(0, "h1"), *taken(1, "h1", 10), *writes(1, 5, "h1", 10), *released(5, "h1", 10),
        *waits(2, "h2"), *taken(5.1, "h2", 20), *writes(5.2, 9, "h2", 20, saw=(10, "h1/10")), *released(9, "h2", 20),
    ]  # fmt: skip


def failover(kind: str = "host killed", after: float = T_DEAD + 0.5, seconds: float = 25) -> list[Event]:
    """h1 goes at 10; its last heartbeat was at 10, too."""
    return [
        *waits(0, "h1"), *taken(1, "h1", 10), *beats(0, 10, "h1", 1), *writes(1, 10, "h1", 10),
        *waits(2, "h2"), *fault(10, kind, "h1", seconds), *beats(0, 60, "h2", 2),
        *taken(10 + after, "h2", 20), *writes(10.5 + after, 50, "h2", 20, saw=(10, "h1/10")),
        *released(50, "h2", 20),
    ]  # fmt: skip


def only(verdict: Verdict, word: str) -> bool:
    """Exactly one violation, of this kind."""
    return len(verdict.violations) == 1 and word in verdict.violations[0]


def test_good_order_is_sound() -> None:
    verdict = judge(handover(), TERMS)
    assert verdict.sound, verdict.violations
    assert verdict.sessions == 2
    assert verdict.writes_seen == 78
    assert verdict.writes_unseen == 0


def test_a_takeover_is_measured_from_the_last_heartbeat() -> None:
    verdict = judge(failover(), TERMS)
    assert verdict.sound, verdict.violations
    (takeover,) = verdict.takeovers
    assert takeover.from_beat
    assert takeover.waited
    assert takeover.seconds == pytest.approx(T_DEAD + 0.5)


def test_a_write_below_a_higher_token_is_an_overlap() -> None:
    late = writes(6, 6.2, "h1", 10, first=41, saw=(10, "h1/10"))
    assert only(judge([*handover(), *late], TERMS), "overlap")


def test_a_write_that_nobody_saw_shows_in_what_the_next_writer_read() -> None:
    """The observer looks every few milliseconds; the writers' own reads leave no gap."""
    seen_by_h2 = Write(9.1, "library", 20, "h2", "h2/20", 39, 10, "h1/10")
    assert only(judge([*handover(), seen_by_h2], TERMS), "overlap")


def test_a_writer_that_read_a_higher_token_is_an_overlap_though_that_was_never_seen() -> None:
    blind = Write(4.95, "library", 10, "h1", "h1/10", 41, 15, "h3/15")
    assert only(judge([*handover(), blind], TERMS), "overlap: library: h1/10")
    first = Write(9.5, "library", 30, "h1", "h1/30", 1, 35, "h3/35")
    assert only(judge([*handover(), first], TERMS), "overlap: library: h1/30")


def test_two_sessions_with_one_token() -> None:
    twin = Write(8.95, "library", 20, "h1", "h1/other", 1, 20, "h2/20")
    assert "used by" in judge([*handover(), twin], TERMS).violations[0]


def test_a_token_that_goes_back() -> None:
    assert only(judge([*handover(), *waits(9.2, "h1"), *taken(9.5, "h1", 15)], TERMS), "token")


def test_whoever_was_stopped_has_a_moment_after_it_wakes() -> None:
    """Its clock jumped: one second; then it is an overlap like any other."""
    history = failover("host stopped", seconds=25)  # until 35
    in_time = writes(35.2, 35.5, "h1", 10, first=91, saw=(20, "h2/20"))
    verdict = judge([*history, *in_time, *lost(35.6, "h1", 10)], TERMS)
    assert verdict.sound, verdict.violations
    assert len(verdict.late_writes) == 1
    too_late = writes(36.5, 37, "h1", 10, first=91, saw=(20, "h2/20"))
    assert only(judge([*history, *too_late, *lost(37.1, "h1", 10)], TERMS), "overlap")


def test_a_stopped_clock_has_until_the_next_heartbeat() -> None:
    history = failover("host paused", seconds=25)
    until_its_beat = writes(35.2, 37.5, "h1", 10, first=91, saw=(20, "h2/20"))
    assert judge([*history, *until_its_beat, *lost(37.6, "h1", 10)], TERMS).sound
    too_late = writes(35.2, 39, "h1", 10, first=91, saw=(20, "h2/20"))
    assert only(judge([*history, *too_late, *lost(39.1, "h1", 10)], TERMS), "overlap")


def test_a_stop_excuses_nobody_who_overlapped_before_it() -> None:
    history = [*handover(), *writes(6, 6.2, "h1", 10, first=41, saw=(10, "h1/10")), *fault(7, "host stopped", "h1", 1)]
    assert only(judge(history, TERMS), "overlap")


def test_a_stop_that_was_over_before_the_takeover_excuses_nobody() -> None:
    late = writes(5.6, 5.8, "h1", 10, first=41, saw=(20, "h2/20"))
    assert only(judge([*handover(), *late, *fault(4, "host stopped", "h1", 1)], TERMS), "overlap")


def test_a_taking_that_is_told_late_because_its_host_was_stopped_is_no_regression() -> None:
    history = failover("host stopped", seconds=25)  # until 35
    told = [*waits(9, "h1"), *taken(35.1, "h1", 11)]
    assert judge([*history, *told], TERMS).sound
    assert only(judge([*history, *waits(9, "h1"), *taken(45, "h1", 11)], TERMS), "token")


def test_a_cause_does_not_last_for_ever() -> None:
    history = [*waits(0, "h1"), *taken(1, "h1", 10), *writes(1, 5, "h1", 10), *lost(5, "h1", 10)]
    assert only(judge([*history, *fault(-40, "disk hangs", "h1", 20)], TERMS), "without cause")


@pytest.mark.parametrize(("victim", "sound"), [("run", True), ("library", False)])
def test_a_killed_holder_is_a_cause_for_itself_only(victim: str, sound: bool) -> None:
    history: list[Event] = [
        Told(0, "h1", "run", "waits", "run"),
        Told(1, "h1", "run", "taken", "run", 10),
        Fault(2, 7, "holder killed", "h1", ("h1",), 0, victim),
        Healed(2, 7),
        Told(2.1, "h1", "run", "ended", "run", more={"code": -9, "said": ""}),
    ]
    assert judge(history, TERMS).sound is sound


def test_a_killed_server_is_a_cause_at_once_only_where_holders_died_with_it() -> None:
    history = [*waits(0, "h1"), *taken(1, "h1", 10), *writes(1, 5, "h1", 10), *lost(5, "h1", 10)]
    killed = [Fault(4, 7, "server killed", "h1", ("h1", "h2"), 3), Healed(7, 7)]
    assert judge([*history, *killed], TERMS).sound
    elsewhere = [Fault(4, 7, "server killed", "h2", ("h1", "h2"), 3), Healed(7, 7)]
    assert only(judge([*history, *elsewhere], TERMS), "without cause")


def test_a_loss_needs_a_cause() -> None:
    alive = [*waits(0, "h1"), *taken(1, "h1", 10), *writes(1, 5, "h1", 10), *lost(5, "h1", 10)]
    assert only(judge(alive, TERMS), "without cause")
    hung = [*alive, *fault(-5, "disk hangs", "h1", 12)]
    verdict = judge(hung, TERMS)
    assert verdict.sound, verdict.violations
    assert len(verdict.losses) == 1
    assert only(judge([*alive, *fault(-5, "disk hangs", "h2", 12)], TERMS), "without cause")


def test_a_short_fault_costs_no_lease() -> None:
    history = [*waits(0, "h1"), *taken(1, "h1", 10), *writes(1, 5, "h1", 10), *lost(5, "h1", 10)]
    assert only(judge([*history, *fault(2, "disk hangs", "h1", 2)], TERMS), "without cause")


def test_a_late_processor_is_reported_apart() -> None:
    late = Told(4.9, "h1", "run", "late", more={"by": 6.0})
    history = [*waits(0, "h1"), *taken(1, "h1", 10), *writes(1, 5, "h1", 10), late, *lost(5, "h1", 10)]
    verdict = judge(history, TERMS)
    assert verdict.sound, verdict.violations
    assert any("lost library" in text for text in verdict.late_processors)


@pytest.mark.parametrize(("code", "counts"), [(76, True), (137, True), (0, False)])
def test_a_run_that_ends_while_it_holds_has_lost_its_lease(code: int, counts: bool) -> None:
    history: list[Event] = [
        Told(0, "h1", "run", "waits", "run"),
        Told(1, "h1", "run", "taken", "run", 10),
        Told(5, "h1", "run", "ended", "run", more={"code": code, "said": "…"}),
    ]
    verdict = judge(history, TERMS)
    assert bool(verdict.violations) is counts
    assert verdict.endings == {f"run: {code}": 1}


def test_a_waiter_that_ends_has_lost_nothing() -> None:
    history: list[Event] = [
        Told(0, "h1", "run", "waits", "run"),
        Told(5, "h1", "run", "ended", "run", more={"code": 74, "said": "storage"}),
    ]
    verdict = judge(history, TERMS)
    assert verdict.sound
    assert verdict.endings == {"run: 74": 1}


@pytest.mark.parametrize(("after", "word"), [(T_DEAD - 3, "early"), (T_DEAD + 5.5, "late")])
def test_a_takeover_at_the_wrong_time(after: float, word: str) -> None:
    assert only(judge(failover(after=after), TERMS), word)


@pytest.mark.parametrize(("after", "prompt"), [(T_DEAD + 1.9, True), (T_DEAD + 2.1, False)])
def test_a_takeover_within_the_bound_may_miss_the_goal(after: float, prompt: bool) -> None:
    verdict = judge(failover(after=after), TERMS)
    assert verdict.sound, verdict.violations
    assert verdict.takeovers[0].prompt is prompt


def test_a_late_comer_has_more_time() -> None:
    history = [event for event in failover(after=T_DEAD + 15.5) if event not in waits(2, "h2")]
    verdict = judge([*history, *waits(20, "h2")], TERMS)
    assert verdict.sound, verdict.violations
    assert not verdict.takeovers[0].waited


@pytest.mark.parametrize(("seen", "joined"), [(True, 9.5), (True, 5), (False, 9.5)])
def test_a_run_watches_once_it_has_joined(seen: bool, joined: float) -> None:
    """An emulated processor needs seconds to start it: found in the first real run, where it had joined just then."""
    history: list[Event] = [
        Told(0, "h1", "run", "waits", "run"), Told(1, "h1", "run", "taken", "run", 10),
        *fault(10, "host killed", "h1", 9),
        Told(1, "h2", "run", "waits", "run"), Told(10 + T_DEAD + 5.5, "h2", "run", "taken", "run", 20),
        *(Beat(at, "h1-run", 1, 1, at) for at in range(1, 11)),
    ]  # fmt: skip
    if seen:
        history += [Beat(joined + i, "h2-run", 2, 1, i) for i in range(10)]
    verdict = judge(history, TERMS)
    assert verdict.sound is (joined > 9 or not seen), verdict.violations
    assert verdict.takeovers[0].waited is (joined <= 9 and seen)


def test_a_lease_that_nobody_takes() -> None:
    dead: list[Event] = [
        *waits(0, "h1"), *taken(1, "h1", 10), *beats(0, 10, "h1", 1), *writes(1, 10, "h1", 10),
        *fault(10, "host killed", "h1", 20), *beats(0, 90, "h2", 2),
    ]  # fmt: skip
    assert only(judge(dead, TERMS), "never taken over")


def test_a_pause_that_the_holder_outlasts_is_no_takeover() -> None:
    history: list[Event] = [
        *waits(0, "h1"), *taken(1, "h1", 10), *writes(1, 5, "h1", 10), *fault(5, "host paused", "h1", 4),
        *writes(9, 14, "h1", 10, first=41, saw=(10, "h1/10")), *released(14, "h1", 10),
        *waits(0, "h2"), *taken(14.1, "h2", 20),
    ]  # fmt: skip
    verdict = judge(history, TERMS)
    assert verdict.sound, verdict.violations
    assert not verdict.takeovers


def test_who_outlasted_one_fault_is_taken_over_after_the_next() -> None:
    history: list[Event] = [
        *waits(0, "h1"), *taken(1, "h1", 10), *writes(1, 5, "h1", 10), *fault(5, "host paused", "h1", 4),
        *writes(9, 14, "h1", 10, first=41, saw=(10, "h1/10")), *waits(0, "h2"),
        Fault(14, 8, "host killed", "h1", ("h1",), 30), *taken(14 + T_DEAD + 0.5, "h2", 20),
    ]  # fmt: skip
    verdict = judge(history, TERMS)
    assert verdict.sound, verdict.violations
    assert [takeover.fault for takeover in verdict.takeovers] == [8]


def test_a_release_soon_after_a_fault_is_no_takeover() -> None:
    history: list[Event] = [
        *waits(0, "h1"), *taken(1, "h1", 10), *writes(1, 7.5, "h1", 10), *fault(5, "disk hangs", "h1", 2),
        *released(7.6, "h1", 10), *waits(0, "h2"), *taken(7.7, "h2", 20),
    ]  # fmt: skip
    verdict = judge(history, TERMS)
    assert verdict.sound, verdict.violations
    assert not verdict.takeovers


def test_the_other_holder_on_a_host_is_not_taken_over_when_one_is_killed() -> None:
    history: list[Event] = [
        *waits(0, "h1"), *taken(1, "h1", 10), *writes(1, 2.5, "h1", 10), *waits(0, "h2"),
        Fault(2, 6, "holder killed", "h1", ("h1",), 0, "run"), Healed(2, 6),
        *fault(5, "host killed", "h1", 30), *taken(5 + T_DEAD + 0.5, "h2", 20),
    ]  # fmt: skip
    assert [takeover.fault for takeover in judge(history, TERMS).takeovers] == [7]


def test_nobody_takes_a_lease_while_the_storage_is_away_for_all() -> None:
    history: list[Event] = [
        *waits(0, "h1"), *taken(1, "h1", 10), *writes(1, 10, "h1", 10), *waits(0, "h2"),
        *fault(10, "server paused", "h1", 30, ("h1", "h2")), *lost(20, "h1", 10), *taken(45, "h2", 20),
    ]  # fmt: skip
    verdict = judge(history, TERMS)
    assert verdict.sound, verdict.violations
    assert verdict.takeovers[0].seconds == pytest.approx(35)


def test_a_later_member_with_the_same_label_is_not_taken_for_the_dead_one() -> None:
    """The killed holder's loop starts another at once, which beats in another slot: seen in a run with short times."""
    history = failover("holder killed", seconds=0)
    history = [
        Fault(e.at, e.number, e.kind, e.target, e.hits, e.seconds, "library") if isinstance(e, Fault) else e
        for e in history
    ]
    verdict = judge([*history, *beats(10.1, 60, "h1", 5)], TERMS)
    assert verdict.sound, verdict.violations
    assert verdict.takeovers[0].seconds == pytest.approx(T_DEAD + 0.5)


def test_what_was_reported_is_not_reported_again() -> None:
    history = [
        *failover(after=T_DEAD + 5.5),
        *writes(40, 40.2, "h1", 10, first=91, saw=(20, "h2/20")),
        *lost(40.3, "h1", 10),
        *waits(40.4, "h1"),
        *taken(40.5, "h1", 15),
        Write(40.6, "library", 20, "h2", "h2/twin", 1),
        Told(40.7, "h2", "run", "ended", "run", more={"code": 74}),
    ]
    # The same token twice, late, below a used one; a token that goes back; an overlap; a loss that the fault explains.
    assert len(judge(history, TERMS).violations) == 4
    again = judge(history, TERMS, since=51)
    assert again.sound, again.violations
    assert not again.takeovers
    assert not again.endings
    assert not again.writes_seen


def test_writes_that_the_observer_missed_are_counted() -> None:
    history = [event for event in handover() if not (isinstance(event, Write) and event.n in (5, 6, 30))]
    verdict = judge(history, TERMS)
    assert verdict.sound
    assert verdict.writes_unseen == 6


def test_a_history_survives_its_file(tmp_path: Path) -> None:
    history = failover()
    path = tmp_path / "history.jsonl"
    path.write_text("".join(encode(event) + "\n" for event in history) + '{"is": "wri')
    assert list(read(path)) == history
    assert decode(encode(history[0])) == history[0]
