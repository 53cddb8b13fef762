/* Creating, deleting, resolving and rewriting, as calls of their own. */
#include "engine.h"

#include <errno.h>
#include <string.h>

#define CONTEST_PAUSE (UINT64_C(10) * DPX_MS)
#define RETRIES 3u
#define HEALS 8u /* sixteenths of S: by then who was asked has heard of it, or never will */

struct work {
    dpx_host *host;
    dpx_caller *caller;
    dpx_entry *entry;
    bool once;
    uint32_t retries; /* after the storage failed us */
    uint32_t heals;   /* tries after damage of somebody's own block */
    uint64_t deadline;
    dpx_failure *failure;
};

static uint64_t step_deadline(const struct work *work)
{
    return work->once ? dpx_now() + 2 * dpx_patience(work->host) : work->deadline;
}

static dpx_status start(struct work *work, dpx_host *host, uint64_t timeout, dpx_failure *failure)
{
    *work = (struct work){.host = host, .once = timeout == 0, .failure = failure};
    work->deadline = dpx_deadline(dpx_now(), timeout);
    return dpx_enter(host, &work->caller, failure);
}

/* The entry is this thread's alone, and nobody of this host holds the lease. */
static dpx_status reserve(struct work *work)
{
    dpx_host *host = work->host;
    uint64_t deadline = step_deadline(work);
    dpx_queued queued = {
        .caller = work->caller, .entries = &work->entry, .count = 1, .busy = DPX_BUSY_CHANGING};
    if (!work->entry)
        return dpx_fail_errno(work->failure, ENOMEM);
    dpx_queue_join(host, &queued);
    bool held = dpx_entry_bar(work->entry, DPX_MODE_EXCLUSIVE, false) == DPX_BAR_HELD;
    if (!queued.granted && held && work->once)
        deadline = 0;
    if (dpx_queue_await(host, &queued, &deadline))
        return DPX_OK;
    if (host->over)
        return dpx_fail_finished(host, work->failure);
    dpx_bar bar = dpx_entry_bar(work->entry, DPX_MODE_EXCLUSIVE, false);
    work->failure->lowering = bar == DPX_BAR_LOWERING;
    if (bar == DPX_BAR_HELD)
        return dpx_fail(work->failure, DPX_E_HELD_HERE);
    return dpx_fail_timeout(host, &work->entry, 1, work->failure);
}

static void unreserve(struct work *work)
{
    if (work->entry->busy != DPX_BUSY_LOWERING) /* that is the engine's now */
        work->entry->busy = DPX_IDLE;
    dpx_queue_kick(work->host);
}

static dpx_status conclude(struct work *work, dpx_verdict verdict, const dpx_cause *cause)
{
    if (work->host->over)
        return dpx_fail_finished(work->host, work->failure);
    if (verdict == DPX_DONE)
        return DPX_OK;
    if (verdict == DPX_RUNNING) /* failure is filled */
        return work->failure->status;
    return dpx_fail_verdict(work->host, work->failure, verdict, cause);
}

/* Worth another attempt after a while: the dead drain, and names of ours move on. */
static bool try_again(struct work *work, dpx_verdict verdict, const dpx_cause *cause)
{
    dpx_host *host = work->host;
    bool contest = verdict == DPX_STORAGE && cause->error == -EBUSY;
    if (verdict == DPX_STORAGE && !contest) /* no answer to give while a majority is well */
        contest = dpx_majority_well(host) && work->retries++ < RETRIES;
    dpx_heal heal = verdict == DPX_DAMAGED && work->heals++ < HEALS
                        ? dpx_heal_met(host, work->caller, cause, &work->entry, work->entry != NULL)
                        : DPX_HEAL_NOT;
    if (heal == DPX_HEALED)
        return !host->over;
    bool held = verdict == DPX_REFUSED && !work->once; /* waited for here, where no other change waits for us */
    bool outage = verdict == DPX_STORAGE && !work->once; /* which holders outlast */
    if (verdict != DPX_UNDRAINED && !contest && !held && !outage && heal != DPX_HEAL_ASKED)
        return false;
    uint64_t now = dpx_now();
    uint64_t pause = contest ? CONTEST_PAUSE : host->geometry.outage_tolerance / 16;
    if (held) { /* the last try is shortly before the end: what it finds can still be said */
        uint64_t left = work->deadline > now ? work->deadline - now : 0;
        pause = left / 2 < DPX_HELD_PAUSE ? left / 2 : DPX_HELD_PAUSE;
        if (pause < 2 * DPX_MS)
            return false;
    }
    uint64_t until = now + pause;
    if ((work->once && !contest) || until >= step_deadline(work))
        return false;
    while (!host->over && dpx_wait(host, work->caller, &until))
        continue;
    return !host->over && until != 0;
}

static dpx_status run(struct work *work, dpx_change_kind kind, uint32_t area)
{
    dpx_order order;
    dpx_verdict verdict;
    dpx_verdict before = DPX_RUNNING;
    dpx_cause why = DPX_NO_CAUSE;
    do {
        order = (dpx_order){.kind = kind, .entry = work->entry, .area = area, .deadline = step_deadline(work)};
        verdict = dpx_change_run(work->host, work->caller, &order, work->failure);
        if (verdict != DPX_RUNNING) {
            before = verdict;
            why = order.cause;
        }
    } while (try_again(work, verdict, &order.cause));
    /* The time ran out in the middle of the last try: what the one before it found can be said. */
    bool known = before == DPX_REFUSED || before == DPX_STORAGE;
    if (known && verdict == DPX_RUNNING && work->failure->status == DPX_E_TIMEOUT && !work->host->over)
        return conclude(work, before, &why);
    return conclude(work, verdict, &order.cause);
}

static dpx_status change(dpx_host *host, dpx_change_kind kind, const char *name, size_t length,
                         uint64_t timeout, dpx_failure *failure)
{
    struct work work;
    bool directory = length == strlen(DPX_DIRECTORY_NAME) && memcmp(name, DPX_DIRECTORY_NAME, length) == 0;
    dpx_failure_clear(failure);
    if (directory || !dpx_name_valid(name, length, DPX_LEASE_NAME_MAX))
        return dpx_fail(failure, DPX_E_INVALID);
    dpx_status status = start(&work, host, timeout, failure);
    if (status != DPX_OK)
        return status;
    work.entry = dpx_entry_get(host, name, length);
    status = reserve(&work);
    if (status == DPX_OK) {
        status = run(&work, kind, 0);
        if (status == DPX_E_TIMEOUT)
            status = dpx_fail_timeout(host, &work.entry, 1, failure);
        unreserve(&work);
    }
    dpx_exit(host, work.caller);
    return status;
}

dpx_status dpx_host_create(dpx_host *host, const char *name, size_t name_length, uint64_t timeout,
                           dpx_failure *failure)
{
    return change(host, DPX_CHANGE_CREATE, name, name_length, timeout, failure);
}

dpx_status dpx_host_delete(dpx_host *host, const char *name, size_t name_length, uint64_t timeout,
                           dpx_failure *failure)
{
    return change(host, DPX_CHANGE_DELETE, name, name_length, timeout, failure);
}

dpx_status dpx_host_resolve(dpx_host *host, uint32_t area, uint64_t timeout, dpx_failure *failure)
{
    struct work work;
    dpx_status status = start(&work, host, timeout, failure);
    if (status != DPX_OK)
        return status;
    /* Lease 0 does not change, so nothing is half done there; and it would wait for itself to be released. */
    if (area >= host->geometry.max_leases || area == DPX_DIRECTORY_AREA)
        status = dpx_fail(failure, DPX_E_INVALID);
    else
        status = run(&work, DPX_CHANGE_RESOLVE, area);
    dpx_exit(host, work.caller);
    return status;
}

/* ---- rewriting an own block ---- */

static dpx_status rewrite(struct work *work)
{
    dpx_host *host = work->host;
    dpx_task *task = dpx_task_round(host, 1);
    if (!task)
        return dpx_fail_errno(work->failure, ENOMEM);
    uint64_t now = dpx_now();
    uint64_t deadline = step_deadline(work);
    task->count = 1;
    task->entries[0] = work->entry;
    task->wishes[0] = (dpx_wish){.lease = &work->entry->lease};
    dpx_round_begin(task->machine.round, DPX_ROUND_REWRITE, task->wishes, 1, now, now);
    bool answered = dpx_task_await(task, work->caller, &deadline);
    dpx_verdict verdict = answered ? dpx_task_verdict(task) : DPX_RUNNING;
    dpx_cause cause = *dpx_task_cause(task);
    if (!answered) {
        work->failure->lowering = true;
        dpx_fail(work->failure, DPX_E_TIMEOUT);
    }
    dpx_task_drop(task);
    return conclude(work, verdict, &cause);
}

dpx_status dpx_host_rewrite(dpx_host *host, uint32_t area, uint64_t timeout, dpx_failure *failure)
{
    struct work work;
    dpx_status status = start(&work, host, timeout, failure);
    if (status != DPX_OK)
        return status;
    if (area >= host->geometry.max_leases) {
        status = dpx_fail(failure, DPX_E_INVALID);
    } else {
        work.entry = dpx_entry_by_area(host, area);
        status = reserve(&work);
    }
    if (status == DPX_OK) {
        if (work.entry == host->nameless) {
            dpx_lease_reset(&work.entry->lease, "", 0);
            work.entry->lease.located = true;
            work.entry->lease.header.area = area;
        }
        status = rewrite(&work);
        unreserve(&work);
    }
    dpx_exit(host, work.caller);
    return status;
}
