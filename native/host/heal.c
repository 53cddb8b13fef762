/* Own blocks that are damaged: they keep everybody from the lease, and only their owner may write them.
 * One of ours is written anew when it is met; another living host's is asked for. */
#include "engine.h"

#include <stdio.h>

static void tell_healed(dpx_host *host, const dpx_lease *lease)
{
    dpx_event event = {.kind = DPX_EVENT_HEALED};
    snprintf(event.name, sizeof event.name, "%s", lease->header.name);
    dpx_tell(host, &event);
}

/* Whose flag is up watches its block, and writes it anew by itself: now rather than later. */
static void watch_soon(dpx_host *host, dpx_entry *entry)
{
    entry->watch_due = dpx_now();
    host->watch_wanted = true;
    dpx_alarm_sooner(&host->steward_alarm, 0);
}

static void point_at(dpx_host *host, dpx_entry *entry, uint32_t area)
{
    if (entry != host->nameless)
        return;
    dpx_lease_reset(&entry->lease, "", 0);
    entry->lease.located = true;
    entry->lease.header.area = area;
}

static void begin_rewrite(dpx_task *task, dpx_entry *entry)
{
    uint64_t now = dpx_now();
    task->count = 1;
    task->entries[0] = entry;
    task->wishes[0] = (dpx_wish){.lease = &entry->lease};
    dpx_round_begin(task->machine.round, DPX_ROUND_REWRITE, task->wishes, 1, now, now);
}

/* ---- met by a call ---- */

static bool among(const dpx_entry *entry, dpx_entry *const *mine, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (mine[i] == entry)
            return true;
    return false;
}

/* The entry is this thread's.  False: its round goes on without it, or came to nothing. */
static bool rewrite(dpx_host *host, dpx_caller *caller, dpx_entry *entry, uint32_t area)
{
    dpx_task *task = dpx_task_round(host, 1);
    uint64_t deadline = dpx_now() + dpx_patience(host);
    if (!task || host->over) {
        if (task)
            dpx_task_drop(task);
        return false;
    }
    point_at(host, entry, area);
    begin_rewrite(task, entry);
    bool done = dpx_task_await(task, caller, &deadline) && dpx_task_verdict(task) == DPX_DONE;
    if (done)
        tell_healed(host, &entry->lease);
    dpx_task_drop(task);
    return done;
}

/* mine: what this thread has reserved. */
static bool rewrite_ours(dpx_host *host, dpx_caller *caller, uint32_t area, dpx_entry *const *mine, uint32_t count)
{
    dpx_entry *entry = dpx_entry_by_area(host, area);
    bool reserved = entry && among(entry, mine, count);
    if (!entry || (entry->busy != DPX_IDLE && !reserved))
        return false;
    if (entry->lease.hold != 0) {
        watch_soon(host, entry);
        return false;
    }
    dpx_busy before = entry->busy;
    entry->busy = DPX_BUSY_CHANGING;
    bool done = rewrite(host, caller, entry, area);
    if (entry->busy != DPX_BUSY_LOWERING) /* that is the engine's now */
        entry->busy = before;
    if (!reserved)
        dpx_queue_kick(host);
    return done;
}

bool dpx_heal_ask(dpx_host *host, uint32_t slot, uint32_t area)
{
    const dpx_peer *peer = &host->world.peers->slots[slot];
    bool lives = peer->seen && peer->record.state == DPX_SLOT_ACTIVE &&
                 !dpx_peers_dead(host->world.peers, &peer->record.who);
    if (!lives || slot == host->world.self.slot || host->over || host->leaving)
        return false;
    uint64_t now = dpx_now(), tolerance = host->geometry.outage_tolerance;
    if (host->asked_until != 0 && now > host->asked_until - tolerance / 4 * 3)
        dpx_heart_unask(host->heart->machine.heart); /* it was heard: should there be damage, it is new */
    if (dpx_heart_ask(host->heart->machine.heart, &peer->record.who, area)) {
        host->asked_until = now + tolerance;
        dpx_task_drive(host->heart);
    }
    return true;
}

dpx_heal dpx_heal_met(dpx_host *host, dpx_caller *caller, const dpx_cause *cause, dpx_entry *const *mine,
                      uint32_t count)
{
    dpx_place place = dpx_place_of(&host->geometry, cause->block);
    if (place.kind != DPX_KIND_OWN)
        return DPX_HEAL_NOT;
    if (place.slot == host->world.self.slot)
        return rewrite_ours(host, caller, place.area, mine, count) ? DPX_HEALED : DPX_HEAL_NOT;
    return dpx_heal_ask(host, place.slot, place.area) ? DPX_HEAL_ASKED : DPX_HEAL_NOT;
}

dpx_status dpx_host_ask(dpx_host *host, uint32_t slot, uint32_t area, dpx_failure *failure)
{
    dpx_caller *caller;
    dpx_failure_clear(failure);
    if (slot >= host->geometry.max_hosts || area >= host->geometry.max_leases)
        return dpx_fail(failure, DPX_E_INVALID);
    dpx_status status = dpx_enter(host, &caller, failure);
    if (status != DPX_OK)
        return status;
    if (!dpx_heal_ask(host, slot, area))
        status = dpx_fail(failure, DPX_E_NOT_FOUND);
    dpx_exit(host, caller);
    return status;
}

/* ---- asked by others ---- */

static void rewritten(dpx_task *task)
{
    if (dpx_task_verdict(task) == DPX_DONE)
        tell_healed(task->host, &task->entries[0]->lease);
}

/* False: not now. */
static bool answer(dpx_host *host, uint32_t area)
{
    dpx_entry *entry = dpx_entry_by_area(host, area);
    if (entry && entry->holders > 0 && entry->lease.hold != 0) {
        watch_soon(host, entry);
        return true;
    }
    if (!entry || entry->busy != DPX_IDLE || entry->lease.hold != 0)
        return false;
    entry->busy = DPX_BUSY_LOWERING; /* nobody's while it is written */
    dpx_task *task = dpx_task_round(host, 1);
    if (!task || host->over || host->leaving) { /* the lock was let go of meanwhile */
        if (task)
            dpx_task_drop(task);
        entry->busy = DPX_IDLE;
        dpx_queue_kick(host);
        return false;
    }
    point_at(host, entry, area);
    task->keeps = true;
    task->owned = false;
    task->ended = rewritten;
    begin_rewrite(task, entry);
    dpx_task_start(task);
    return true;
}

void dpx_heal_run(dpx_host *host, uint64_t now)
{
    dpx_heart *heart = host->heart->machine.heart;
    if (host->leaving) /* not one more write */
        return;
    if (host->asked_until != 0 && host->asked_until <= now) { /* heard by now, or never */
        dpx_heart_unask(heart);
        host->asked_until = 0;
    }
    if (!host->asked)
        host->asked = dpx_heart_asked(heart, &host->asked_area);
    while (host->asked && answer(host, host->asked_area))
        host->asked = dpx_heart_asked(heart, &host->asked_area);
}
