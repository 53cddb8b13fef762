/* Letting go: by a caller who waits for it, or in the background. */
#include "engine.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

struct letting {
    dpx_host *host;
    dpx_caller *caller;
    dpx_entry **entries; /* whose last holder goes */
    uint32_t count;
    bool once;
    bool invalid;
    dpx_failure *failure;
};

/* The handles go at once; flags that nobody holds up any more come down next. */
static void give_up_handles(struct letting *letting, const uint64_t *handles, uint32_t count)
{
    dpx_host *host = letting->host;
    for (uint32_t i = 0; i < count; i++) {
        dpx_hold *hold = dpx_hold_find(host, handles[i]);
        if (!hold) {
            letting->invalid = true;
            letting->failure->item = i;
            continue;
        }
        dpx_entry *entry = hold->entry;
        bool lost = hold->state == DPX_HOLD_LOST;
        dpx_hold_drop(host, hold);
        /* After a loss there is nothing to wait for: a flag that still stands goes in the background. */
        if (entry->holders == 0 && entry->lease.hold != 0 && !lost)
            letting->entries[letting->count++] = entry;
    }
}

/* While a release waited for its turn, a sharer may have come in on the flag: it stays up then. */
static void keep_wanted(struct letting *letting)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < letting->count; i++) {
        dpx_entry *entry = letting->entries[i];
        if (entry->holders > 0 || entry->lease.hold == 0)
            entry->busy = DPX_IDLE;
        else
            letting->entries[count++] = entry;
    }
    letting->count = count;
}

static dpx_status lower(struct letting *letting, uint64_t *deadline)
{
    dpx_host *host = letting->host;
    keep_wanted(letting);
    if (letting->count == 0) {
        dpx_queue_kick(host);
        return DPX_OK;
    }
    dpx_task *task = dpx_task_round(host, letting->count);
    if (!task || host->over) {
        if (task)
            dpx_task_drop(task);
        for (uint32_t i = 0; i < letting->count; i++)
            letting->entries[i]->busy = DPX_IDLE; /* the steward tries again */
        return host->over ? dpx_fail_finished(host, letting->failure)
                          : dpx_fail_errno(letting->failure, ENOMEM);
    }
    uint64_t now = dpx_now();
    task->count = letting->count;
    for (uint32_t i = 0; i < letting->count; i++) {
        task->entries[i] = letting->entries[i];
        task->wishes[i] = (dpx_wish){.lease = &letting->entries[i]->lease};
    }
    dpx_round_begin(task->machine.round, DPX_ROUND_RELEASE, task->wishes, task->count, now, now);
    task->patient = letting->once;
    bool answered = dpx_task_await(task, letting->caller, deadline);
    task->patient = false;
    dpx_verdict verdict = dpx_task_verdict(task);
    dpx_status status = DPX_OK;
    if (answered) {
        for (uint32_t i = 0; i < letting->count; i++)
            letting->entries[i]->busy = DPX_IDLE;
        if (verdict != DPX_DONE)
            status = dpx_fail_verdict(host, letting->failure, verdict, dpx_task_cause(task));
    } else if (host->over) {
        status = dpx_fail_finished(host, letting->failure);
    } else {
        status = dpx_fail_unanswered(host, letting->once, letting->failure);
    }
    dpx_task_drop(task);
    dpx_queue_kick(host);
    return status;
}

static dpx_status let_go(struct letting *letting, uint64_t timeout)
{
    dpx_host *host = letting->host;
    uint64_t deadline = dpx_deadline(dpx_now(), timeout ? timeout : dpx_patience(host));
    dpx_queued queued = {.caller = letting->caller,
                         .entries = letting->entries,
                         .count = letting->count,
                         .busy = DPX_BUSY_RELEASING,
                         .lowers = true};
    letting->once = timeout == 0;
    dpx_queue_join(host, &queued);
    if (dpx_queue_await(host, &queued, &deadline))
        return lower(letting, &deadline);
    if (host->over)
        return dpx_fail_finished(host, letting->failure);
    letting->failure->lowering = true; /* the steward sees to it */
    return dpx_fail(letting->failure, DPX_E_TIMEOUT);
}

/* Of a host whose life is over only the memory of a handle is left. */
static dpx_status forget(dpx_host *host, const uint64_t *handles, uint32_t count, dpx_failure *failure)
{
    dpx_lock(host);
    for (uint32_t i = 0; i < count; i++) {
        dpx_hold *hold = dpx_hold_find(host, handles[i]);
        if (hold)
            dpx_hold_drop(host, hold);
    }
    dpx_rest(host);
    dpx_unlock(host);
    return failure->status;
}

dpx_status dpx_host_release(dpx_host *host, const uint64_t *handles, uint32_t count, uint64_t timeout,
                            dpx_failure *failure)
{
    dpx_entry *one;
    struct letting letting = {.host = host, .entries = &one, .failure = failure};
    dpx_status status = dpx_enter(host, &letting.caller, failure);
    if (status == DPX_E_FINISHED)
        return forget(host, handles, count, failure);
    if (status != DPX_OK)
        return status;
    if (count > 1)
        letting.entries = calloc(count, sizeof(dpx_entry *));
    if (!letting.entries) {
        dpx_exit(host, letting.caller);
        return dpx_fail_errno(failure, ENOMEM);
    }
    give_up_handles(&letting, handles, count);
    if (letting.count > 0)
        status = let_go(&letting, timeout);
    else
        dpx_queue_kick(host);
    if (status == DPX_OK && letting.invalid)
        status = dpx_fail(failure, DPX_E_INVALID);
    dpx_exit(host, letting.caller);
    if (letting.entries != &one)
        free(letting.entries);
    return status;
}

/* ---- in the background ---- */

static void burial_ended(dpx_task *task)
{
    task->host->burials--;
}

/* Flags that are up without a holder: a release that found no memory or no time, a lost
 * lease whose last handle went, a taking that was given up in its last moment. */
void dpx_orphans_run(dpx_host *host)
{
    for (dpx_entry *entry = host->entries; entry; entry = entry->next) {
        if (entry->holders > 0 || entry->lease.hold == 0 || entry->busy != DPX_IDLE || host->over)
            continue;
        if (entry == host->directory || host->burials >= DPX_BURIALS)
            continue;
        dpx_task *task = dpx_task_round(host, 1);
        if (!task)
            return;
        if (entry->holders > 0 || entry->lease.hold == 0 || entry->busy != DPX_IDLE || host->over) {
            dpx_task_drop(task); /* the lock was let go of meanwhile */
            continue;
        }
        uint64_t now = dpx_now();
        host->burials++;
        task->count = 1;
        task->entries[0] = entry;
        task->wishes[0] = (dpx_wish){.lease = &entry->lease};
        task->keeps = true;
        task->owned = false;
        task->ended = burial_ended;
        entry->busy = DPX_BUSY_LOWERING;
        dpx_round_begin(task->machine.round, DPX_ROUND_RELEASE, task->wishes, 1, now, now);
        dpx_task_start(task);
    }
}

/* ---- what is held ---- */

static void describe(const dpx_hold *hold, dpx_hold_info *info)
{
    const dpx_lease *lease = &hold->entry->lease;
    info->handle = hold->handle;
    info->state = hold->state;
    info->lease = hold->lease;
    info->token = hold->token;
    info->mode = hold->mode;
    info->name_length = lease->name_length;
    for (uint32_t i = 0; i < lease->name_length; i++)
        info->name[i] = lease->name[i];
}

dpx_hold_info dpx_host_hold(dpx_host *host, uint64_t handle)
{
    dpx_hold_info info = {.handle = handle, .state = DPX_HOLD_UNKNOWN};
    if (getpid() != host->pid)
        return info;
    dpx_lock(host);
    dpx_life(host);
    const dpx_hold *hold = dpx_hold_find(host, handle);
    if (hold)
        describe(hold, &info);
    dpx_unlock(host);
    return info;
}

dpx_hold_state dpx_host_hold_state(dpx_host *host, uint64_t handle)
{
    if (getpid() != host->pid)
        return DPX_HOLD_UNKNOWN;
    dpx_lock(host);
    dpx_life(host);
    const dpx_hold *hold = dpx_hold_find(host, handle);
    dpx_hold_state state = hold ? hold->state : DPX_HOLD_UNKNOWN;
    dpx_unlock(host);
    return state;
}

uint32_t dpx_host_holds(dpx_host *host, dpx_hold_info *holds, uint32_t capacity)
{
    uint32_t count = 0;
    if (getpid() != host->pid)
        return 0;
    dpx_lock(host);
    dpx_life(host);
    for (uint32_t i = 0; i < host->holds_size; i++) {
        const dpx_hold *hold = host->holds[i];
        if (!hold->entry)
            continue;
        if (count < capacity) {
            holds[count] = (dpx_hold_info){.handle = 0};
            describe(hold, &holds[count]);
        }
        count++;
    }
    dpx_unlock(host);
    return count;
}
