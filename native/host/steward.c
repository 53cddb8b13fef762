/* The steward: timers of all machines but the heart, and everything that is done now and
 * then: stalled disks, watching, orphaned flags, gone processes, dead slots. */
#include "engine.h"

#include <errno.h>

#define TICK_MOST DPX_SECOND

static uint64_t tick(const dpx_host *host)
{
    uint64_t tick = host->geometry.outage_tolerance / 16;
    return tick < TICK_MOST ? tick : TICK_MOST;
}

bool dpx_stalled(const dpx_host *host, uint32_t index, uint64_t now)
{
    dpx_disk *disk = dpx_space_disk_of(host->space, index);
    uint64_t oldest = disk ? dpx_disk_oldest(disk) : 0;
    return oldest != 0 && now > oldest + dpx_io_limit(&host->geometry);
}

bool dpx_majority_well(const dpx_host *host)
{
    uint32_t well = 0;
    for (uint32_t d = 0; d < host->geometry.disks; d++)
        well += dpx_space_disk_of(host->space, d) != NULL && !host->stalled[d];
    return host->geometry.disks > 1 && well >= dpx_majority(&host->geometry);
}

void dpx_tell_disk(dpx_host *host, uint32_t disk, bool up, int error)
{
    dpx_event event = {.kind = up ? DPX_EVENT_DISK_UP : DPX_EVENT_DISK_DOWN, .disk = disk, .error = error};
    if (disk >= host->geometry.disks || host->disk_down[disk] == !up)
        return;
    host->disk_down[disk] = !up;
    dpx_tell(host, &event);
}

/* A disk whose I/O does not come back gets no more of it until it does: nothing piles up. */
static void judge_disks(dpx_host *host, uint64_t now)
{
    for (uint32_t d = 0; d < host->geometry.disks; d++) {
        bool there = dpx_space_disk_of(host->space, d) != NULL;
        host->stalled[d] = there && dpx_stalled(host, d, now);
        if (host->stalled[d])
            dpx_tell_disk(host, d, false, ETIMEDOUT);
        else
            dpx_tell_disk(host, d, there, there ? 0 : ENODEV);
    }
}

static void expire(dpx_host *host, uint64_t now)
{
    uint64_t limit = dpx_io_limit(&host->geometry);
    for (uint32_t d = 0; d < host->geometry.disks; d++) {
        dpx_disk *disk = dpx_space_disk_of(host->space, d);
        if (disk && now > limit)
            dpx_disk_expire(disk, now - limit);
    }
}

/* Somebody needs to know whether a silent host is dead, and one more look would tell, or tell earlier
 * when its silence began: beat now, not at the next period. */
static void hurry(dpx_host *host, uint64_t now)
{
    uint64_t next = dpx_peers_next_look(host->world.peers, now);
    if (next <= now && now >= host->next_hurry) {
        host->next_hurry = now + host->geometry.outage_tolerance / 32;
        dpx_heart_hurry(host->heart->machine.heart);
        dpx_task_drive(host->heart);
    }
    if (next < host->next_hurry)
        next = host->next_hurry;
    if (next < host->next_chores)
        host->next_chores = next;
}

static void empty_trash(dpx_host *host)
{
    dpx_task *trash = host->trash;
    host->trash = NULL;
    dpx_unlock(host);
    while (trash) {
        dpx_task *task = trash;
        trash = task->next;
        dpx_task_free(task);
    }
    dpx_lock(host);
}

static void chores(dpx_host *host, uint64_t now)
{
    host->next_chores = now + tick(host);
    judge_disks(host, now);
    dpx_unlock(host); /* what follows needs no lock, or takes it where it does */
    expire(host, now);
    dpx_check_processes(host);
    dpx_lock(host);
    dpx_recall_run(host, now);
    if (!host->joined || host->over)
        return;
    dpx_task_tidy(host, now);
    host->watch_wanted = true;
    hurry(host, now);
    dpx_orphans_run(host);
    dpx_heal_run(host, now);
    dpx_reclaim_run(host, now);
}

static void run_due(dpx_host *host)
{
    uint64_t now = dpx_now();
    for (dpx_task *task = host->active; task;) {
        dpx_task *next = task->next;
        if (task->alarm == &host->steward_alarm && task->wake <= now)
            dpx_task_drive(task);
        task = next;
    }
}

static uint64_t next_wake(const dpx_host *host)
{
    uint64_t soonest = host->next_chores;
    for (const dpx_task *task = host->active; task; task = task->next)
        if (task->alarm == &host->steward_alarm && task->wake < soonest)
            soonest = task->wake;
    uint64_t floor = dpx_now() + DPX_MS / 2; /* whatever a machine says, this thread is no spinner */
    return soonest > floor ? soonest : floor;
}

static void *steward_main(void *argument)
{
    dpx_host *host = argument;
    dpx_lock(host);
    while (!host->stopping) {
        dpx_life(host);
        run_due(host);
        uint64_t now = dpx_now();
        if (host->trash)
            empty_trash(host);
        if (now >= host->next_chores)
            chores(host, now);
        if (host->joined)
            dpx_watch_run(host, now);
        if (host->stopping)
            break;
        dpx_alarm_set(&host->steward_alarm, next_wake(host));
        dpx_unlock(host);
        dpx_alarm_sleep(&host->steward_alarm);
        dpx_lock(host);
    }
    dpx_unlock(host);
    return NULL;
}

int dpx_steward_start(dpx_host *host)
{
    int error = dpx_host_thread(&host->steward_thread, steward_main, host, NULL, 0);
    host->steward_started = error == 0;
    return error;
}
