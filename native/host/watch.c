/* Watching what is held: every area is read again at least every S / 2, spread out, so
 * that a flag that vanished is raised again and a loss is noticed. */
#include "engine.h"

#include <stdio.h>

/* Begun after three eighths of S, a look is back before half of S has passed. */
uint64_t dpx_watch_period(const dpx_host *host)
{
    return host->geometry.outage_tolerance / 8 * 3;
}

void dpx_watch_plan(dpx_host *host, dpx_entry *entry, uint64_t now)
{
    uint64_t half = dpx_watch_period(host) / 2;
    if (dpx_lease_must_tell(&entry->lease)) { /* whoever was held dead for it may wake up any moment */
        entry->watch_due = now;
        host->watch_wanted = true;
        dpx_alarm_sooner(&host->steward_alarm, now);
        return;
    }
    entry->watch_due = now + half + dpx_random(&host->world) % (half + 1);
}

static bool due(const dpx_entry *entry, uint64_t now)
{
    return entry->watch_due <= now && entry->holders > 0 && !entry->lost && entry->busy == DPX_IDLE &&
           entry->lease.hold != 0;
}

static uint32_t batch(const dpx_host *host)
{
    uint64_t area = (uint64_t)host->geometry.area_blocks * host->geometry.block_size;
    uint64_t fit = DPX_WATCH_BYTES / area;
    return fit < 1 ? 1 : fit > DPX_WATCH_LEASES ? DPX_WATCH_LEASES : (uint32_t)fit;
}

static void tell_about(dpx_host *host, dpx_event_kind kind, const dpx_entry *entry, const dpx_cause *cause)
{
    dpx_event event = {.kind = kind};
    if (cause) {
        event.disk = cause->disk;
        event.block = cause->block;
    }
    snprintf(event.name, sizeof event.name, "%s", entry->lease.name);
    dpx_tell(host, &event);
}

/* What is damaged there may be a block of somebody who does not hold the lease, and does not look at it. */
static void ask_its_owner(dpx_host *host, const dpx_cause *cause)
{
    dpx_place place = dpx_place_of(&host->geometry, cause->block);
    if (place.kind == DPX_KIND_OWN)
        (void)dpx_heal_ask(host, place.slot, place.area);
}

static void watched(dpx_task *task)
{
    dpx_host *host = task->host;
    uint64_t soon = dpx_now() + host->geometry.outage_tolerance / 32;
    host->watches--;
    if (host->watch_wanted) /* more are due than fitted in */
        dpx_alarm_sooner(&host->steward_alarm, 0);
    for (uint32_t i = 0; i < task->count; i++) {
        dpx_entry *entry = task->entries[i];
        const dpx_wish *wish = &task->wishes[i];
        if (wish->healed)
            tell_about(host, DPX_EVENT_HEALED, entry, NULL);
        switch (wish->outcome) {
        case DPX_DONE:
            entry->damage_told = false;
            break;
        case DPX_LOST:
            dpx_entry_lose(host, entry);
            break;
        case DPX_DAMAGED:
            if (!entry->damage_told)
                tell_about(host, DPX_EVENT_DAMAGED, entry, dpx_task_cause(task));
            ask_its_owner(host, dpx_task_cause(task));
            entry->damage_told = true;
            entry->watch_due = soon;
            break;
        default:
            entry->watch_due = soon;
            break;
        }
    }
}

static void watch_some(dpx_host *host, dpx_task *task, uint64_t now)
{
    for (dpx_entry *entry = host->entries; entry && task->count < task->capacity; entry = entry->next) {
        if (!due(entry, now))
            continue;
        entry->busy = DPX_BUSY_WATCHING;
        entry->watch_due = now + dpx_watch_period(host);
        task->entries[task->count] = entry;
        task->wishes[task->count++] = (dpx_wish){.lease = &entry->lease};
    }
    if (task->count == 0) {
        dpx_task_drop(task);
        return;
    }
    host->watches++;
    task->owned = false;
    task->keeps = true;
    task->ended = watched;
    dpx_round_begin(task->machine.round, DPX_ROUND_WATCH, task->wishes, task->count, now, now);
    dpx_task_start(task);
}

void dpx_watch_run(dpx_host *host, uint64_t now)
{
    while (host->watch_wanted && host->watches < DPX_WATCHES && !host->over && !host->leaving) {
        uint32_t count = 0;
        for (const dpx_entry *entry = host->entries; entry; entry = entry->next)
            count += due(entry, now);
        host->watch_wanted = count > 0;
        if (count == 0)
            return;
        dpx_task *task = dpx_task_round(host, count < batch(host) ? count : batch(host));
        if (!task)
            return;
        task->count = 0;
        watch_some(host, task, now);
    }
}
