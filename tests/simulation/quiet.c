/* The last phase: all faults stop, and everybody must be able to join and to take every
 * lease, one host after the other, within a bounded time. */
#include "checker.h"

void quiet_begin(world *w)
{
    uint32_t turns = w->plan.hosts * w->plan.names;
    w->quiet = true;
    TRACE(w, "all faults stop");
    for (uint16_t i = 0; i < w->plan.outages; i++) {
        event e = {.kind = EVENT_OUTAGE, .index = i};
        damage_event(w, &e);
    }
    damage_fresh(w);
    damage_heal(w);
    check_overlaps(w);
    disk_hurry(w);
    process_quiet(w);
    /* Slots may have to be waited for twice, silent owners once more each time. */
    w->deadline = w->now + 10 * (w->dead_time + w->geometry->outage_tolerance) + turns * DPX_SECOND +
                  (uint64_t)turns * 200 * w->plan.latency;
    event_push(w, w->deadline, EVENT_DEADLINE, 0, 0, 0);
    for (uint32_t i = 0; i < w->plan.hosts; i++) {
        host *h = &w->hosts[i];
        h->served = 0;
        h->serving = h->done = h->leave_soon = false;
        for (uint32_t n = 0; n < TASKS; n++)
            h->tasks[n].cancel_at = h->state >= HOST_JOINED && h->tasks[n].kind == TASK_TAKE ? 0 : DPX_NEVER;
        if (h->state == HOST_OFF)
            event_push(w, w->now + rng_time(&w->chance, w->geometry->outage_tolerance / 4), EVENT_START,
                       (uint8_t)i, 0, 0);
        else if (h->next_act > local_now(w, h) + w->plan.latency)
            h->next_act = local_now(w, h) + w->plan.latency;
        host_settle(w, h);
    }
}

/* What is held or busy from before is let go first.  True: nothing is left. */
static bool clear(world *w, host *h)
{
    uint8_t names[MAX_NAMES];
    uint32_t count = 0;
    bool busy = h->changing;
    for (uint8_t name = 0; name < w->plan.names; name++) {
        if ((h->held[name] || h->must_lower[name]) && !h->busy[name])
            names[count++] = name;
        busy |= h->busy[name];
    }
    if (count > 0)
        (void)actor_release(w, h, count, names);
    return count == 0 && !busy;
}

static bool all_quiet(const host *h)
{
    for (uint32_t i = 0; i < TASKS; i++)
        if (h->tasks[i].kind != TASK_FREE)
            return false;
    return !h->changing && !h->reclaiming;
}

void quiet_act(world *w, host *h)
{
    h->next_act = local_now(w, h) + 4 * w->plan.latency;
    if (h->state != HOST_JOINED || dpx_heart_count(h->heart).beats == 0)
        return;
    if (h->refused) { /* somebody is in the way, or dead and not buried yet */
        h->refused = false;
        h->next_act = local_now(w, h) + rng_time(&w->chance, w->geometry->outage_tolerance / 8);
        return;
    }
    if (!clear(w, h))
        return;
    if (h->served >= w->plan.names) {
        if (!h->done)
            TRACE(w, "h%u has had every lease", h->index);
        h->done = true;
        if (!all_quiet(h) || w->geometry->max_hosts >= 2 * w->plan.hosts)
            return; /* it stays, and judges the dead */
        h->state = HOST_LEAVING; /* others may wait for its slot */
        dpx_heart_leave(h->heart);
        host_step(w, h, UNIT_HEART);
        return;
    }
    uint8_t name = (uint8_t)((h->served + h->index) % w->plan.names);
    h->serving = true;
    int damaged = h->rewrite_area;
    h->rewrite_area = -1;
    if (damaged >= 0 && actor_rewrite(w, h, (uint32_t)damaged))
        return;
    if (h->resolve_area >= 0)
        (void)actor_change(w, h, DPX_CHANGE_RESOLVE, MAX_NAMES, DPX_NEVER);
    else if (h->create_next)
        h->create_next = !actor_change(w, h, DPX_CHANGE_CREATE, name, DPX_NEVER);
    else
        (void)actor_take(w, h, 1, &name, DPX_MODE_EXCLUSIVE, h->index % 2 ? DPX_NEVER : 0, -1); /* some wait in line */
}

bool quiet_served(const world *w)
{
    for (uint32_t i = 0; i < w->plan.hosts; i++)
        if (!w->hosts[i].done)
            return false;
    return true;
}
