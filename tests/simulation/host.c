/* Drives the machines of one host, as the host room does: every machine is stepped at its
 * beginning, after each completion and when its time has come. */
#include "checker.h"

enum { STEPS_AT_ONCE = 1000, SPINS = 3000 };

static dpx_request *step(host *h, enum unit unit, uint64_t now)
{
    switch (unit) {
    case UNIT_CLAIM:
        return dpx_claim_step(h->claim, now);
    case UNIT_RECLAIM:
        return dpx_claim_step(h->reclaim, now);
    case UNIT_HEART:
        return dpx_heart_step(h->heart, now);
    case UNIT_CHANGE:
        return dpx_change_step(h->change, now);
    default:
        return dpx_round_step(h->tasks[unit - UNIT_ROUND].round, now);
    }
}

void host_step(world *w, host *h, enum unit unit)
{
    uint32_t steps = 0;
    uint64_t now = local_now(w, h);
    h->world.wall = h->reclaim_world.wall = w->now;
    for (;;) {
        dpx_request *request = step(h, unit, now);
        if (unit == UNIT_HEART && w->truth->lives[h->life].joined)
            check_lifetime(w, h);
        if (!request || w->over)
            return;
        disk_submit(w, h, unit, request);
        if (++steps == STEPS_AT_ONCE) {
            violate(w, VIOLATION_SPIN, "h%u %s asks for I/O without end", h->index, unit_names[unit]);
            return;
        }
    }
}

static void complete(host *h, enum unit unit, dpx_request *request, uint64_t now)
{
    switch (unit) {
    case UNIT_CLAIM:
        dpx_claim_complete(h->claim, request, now);
        break;
    case UNIT_RECLAIM:
        dpx_claim_complete(h->reclaim, request, now);
        break;
    case UNIT_HEART:
        dpx_heart_complete(h->heart, request, now);
        break;
    case UNIT_CHANGE:
        dpx_change_complete(h->change, request, now);
        break;
    default:
        dpx_round_complete(h->tasks[unit - UNIT_ROUND].round, request, now);
        break;
    }
}

void host_complete(world *w, host *h, enum unit unit, dpx_request *request)
{
    uint32_t disk = request->disk;
    complete(h, unit, request, local_now(w, h));
    if (unit == UNIT_CLAIM && h->claim_done) {
        /* The claim's last write has returned here: the slot's block is the heart's now. */
        if ((h->suspect >> disk & 1) && !dpx_claim_busy(h->claim, disk)) {
            h->suspect &= (uint8_t)~(1u << disk);
            dpx_heart_suspect(h->heart, disk, false);
        }
        host_step(w, h, UNIT_HEART);
    } else {
        host_step(w, h, unit);
    }
    host_settle(w, h);
}

/* ---- verdicts ---- */

static bool over(world *w, host *h)
{
    return dpx_heart_end(h->heart) != DPX_ALIVE || dpx_world_over(&h->world, local_now(w, h));
}

static void end_life(world *w, host *h)
{
    dpx_end end = dpx_heart_end(h->heart);
    TRACE(w, "h%u ends: %s", h->index, end == DPX_ALIVE ? "lifetime over" : dpx_end_text(end));
    if (end == DPX_END_LEFT && !w->truth->lives[h->life].left)
        violate(w, VIOLATION_SLOT, "h%u says that it left, and wrote nothing", h->index);
    if (end == DPX_END_LEFT && !shown_slot(w, &h->world.self, DPX_SLOT_FREE))
        violate(w, VIOLATION_NOT_SHOWN, "h%u left, and no majority shows its slot free", h->index);
    outcome_note(w, end == DPX_END_LEFT ? OUT_LEFT : OUT_FINISHED);
    if (end == DPX_END_LIFETIME || end == DPX_ALIVE)
        check_untroubled(w, h);
    check_ended(w, h, end);
    process_end(w, h, END_ITSELF);
}

static void settle_claim(world *w, host *h)
{
    dpx_verdict verdict = dpx_claim_verdict(h->claim);
    if (verdict == DPX_DONE) {
        process_joined(w, h);
    } else if (verdict != DPX_RUNNING) {
        TRACE(w, "h%u cannot join: %s", h->index, dpx_verdict_text(verdict));
        outcome_note(w, OUT_JOIN_FAILED);
        if (verdict == DPX_FULL)
            fault_note(w, FAULT_SLOTS_FULL);
        process_end(w, h, END_ITSELF);
        process_refused(w, h, verdict);
    }
}

static void settle_reclaim(world *w, host *h)
{
    dpx_verdict verdict = dpx_claim_verdict(h->reclaim);
    if (verdict != DPX_RUNNING && !h->reclaim_judged) {
        h->reclaim_judged = true;
        TRACE(w, "h%u reclaims a slot: %s", h->index, dpx_verdict_text(verdict));
        if (verdict == DPX_DONE)
            outcome_note(w, OUT_RECLAIMED);
    }
    if (h->reclaim_judged && dpx_claim_quiet(h->reclaim))
        h->reclaiming = false;
}

static void settle_rounds(world *w, host *h)
{
    for (uint32_t i = 0; i < TASKS && !w->over; i++) {
        task *t = &h->tasks[i];
        if (t->kind == TASK_FREE)
            continue;
        if (!t->judged && dpx_round_verdict(t->round) != DPX_RUNNING)
            actor_round_done(w, h, t);
        if (t->judged && dpx_round_quiet(t->round))
            t->kind = TASK_FREE;
    }
}

static void settle_change(world *w, host *h)
{
    if (!h->changing)
        return;
    if (!h->change_judged && dpx_change_verdict(h->change) != DPX_RUNNING) {
        h->change_judged = true;
        actor_change_done(w, h);
    }
    if (h->change_judged && dpx_change_quiet(h->change))
        h->changing = false;
}

/* ---- the next timer ---- */

static uint64_t sooner(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t next_wake(const host *h)
{
    uint64_t wake = h->next_act;
    if (!h->claim_done)
        wake = sooner(wake, dpx_claim_wake(h->claim));
    if (h->state == HOST_CLAIMING)
        return wake;
    wake = sooner(wake, dpx_heart_wake(h->heart));
    wake = sooner(wake, sooner(h->next_watch, h->next_steward));
    wake = sooner(wake, h->world.lifetime_end); /* holders are told at once */
    if (h->reclaiming)
        wake = sooner(wake, dpx_claim_wake(h->reclaim));
    if (h->changing)
        wake = sooner(wake, dpx_change_wake(h->change));
    for (uint32_t i = 0; i < TASKS; i++)
        if (h->tasks[i].kind != TASK_FREE)
            wake = sooner(wake, sooner(dpx_round_wake(h->tasks[i].round), h->tasks[i].cancel_at));
    return wake;
}

static void set_timer(world *w, host *h)
{
    uint64_t at = clock_real(&w->boxes[h->box], next_wake(h));
    if (at == DPX_NEVER)
        return;
    if (at <= w->now) {
        at = w->now + 1;
        if (w->now > h->spin_at + DPX_MS / 100) {
            h->spins = 0;
            h->spin_at = w->now;
        } else if (++h->spins > SPINS) {
            violate(w, VIOLATION_SPIN, "h%u keeps waking up without getting anywhere", h->index);
        }
    }
    if (h->timer_at > w->now && h->timer_at <= at)
        return;
    h->timer_at = at;
    event_push(w, at, EVENT_TIMER, h->index, 0, h->life);
}

static void settle(world *w, host *h)
{
    if (h->state == HOST_CLAIMING)
        settle_claim(w, h);
    if (h->state == HOST_JOINED || h->state == HOST_LEAVING) {
        /* What rounds were told before the end still counts; then the end is noticed. */
        settle_rounds(w, h);
        settle_change(w, h);
        if (h->reclaiming)
            settle_reclaim(w, h);
        if (over(w, h))
            end_life(w, h);
    }
    if (h->state != HOST_OFF && !w->over)
        set_timer(w, h);
}

/* The process stands still between what its machines have decided and what it makes of that. */
static bool stops_untold(world *w, host *h)
{
    static const uint8_t blows[] = {HOST_STOP, HOST_BRIEF, HOST_PAUSE, HOST_PAUSE};
    if (h->untold || w->quiet || h->state != HOST_JOINED || !chance(&w->chance, w->plan.more.untold))
        return h->untold;
    h->untold = true;
    fault_note(w, FAULT_UNTOLD);
    event_push(w, w->now, EVENT_FAULT, h->index, blows[rng_below(&w->chance, 4)], 0);
    event_push(w, w->now + 1 + rng_time(&w->chance, w->plan.latency), EVENT_SETTLE, h->index, 0, h->life);
    return true;
}

void host_settle(world *w, host *h)
{
    if (w->over || h->state == HOST_OFF || stops_untold(w, h))
        return;
    settle(w, h);
}

void host_told(world *w, host *h, const event *e)
{
    if (h->state == HOST_OFF || e->stamp != h->life || !h->untold)
        return;
    if (h->stopped) {
        h->deferred[h->deferred_count++ % MAX_DEFERRED] = *e;
        return;
    }
    h->untold = false;
    if (over(w, h)) /* the caller looks at the clock when it wakes up, and is told nothing that was true before */
        end_life(w, h);
    else
        settle(w, h);
}

void host_timer(world *w, host *h, const event *e)
{
    if (e->stamp != h->life || e->at != h->timer_at || h->stopped || h->state == HOST_OFF)
        return; /* superseded by an earlier one, or for somebody else */
    uint64_t now = local_now(w, h);
    h->timer_at = 0;
    if (h->state == HOST_CLAIMING) {
        host_step(w, h, UNIT_CLAIM);
        if (now >= h->next_act)
            actor_act(w, h);
        host_settle(w, h);
        return;
    }
    if (now >= dpx_heart_wake(h->heart))
        host_step(w, h, UNIT_HEART);
    if (h->reclaiming && now >= dpx_claim_wake(h->reclaim))
        host_step(w, h, UNIT_RECLAIM);
    if (h->changing && now >= dpx_change_wake(h->change))
        host_step(w, h, UNIT_CHANGE);
    for (uint32_t i = 0; i < TASKS; i++) {
        task *t = &h->tasks[i];
        if (t->kind == TASK_FREE)
            continue;
        if (now >= t->cancel_at) {
            t->cancel_at = DPX_NEVER;
            dpx_round_cancel(t->round);
            host_step(w, h, (enum unit)(UNIT_ROUND + i));
        } else if (now >= dpx_round_wake(t->round)) {
            host_step(w, h, (enum unit)(UNIT_ROUND + i));
        }
    }
    if (!over(w, h)) {
        if (now >= h->next_steward)
            process_steward(w, h);
        if (now >= h->next_watch)
            actor_watch(w, h);
        if (now >= h->next_act)
            actor_act(w, h);
    }
    host_settle(w, h);
}
