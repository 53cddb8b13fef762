/* Creating, deleting and mending leases: header changes, one at a time for this host. */
#include "engine.h"

#include <errno.h>
#include <string.h>

static dpx_task *change_task(dpx_host *host)
{
    dpx_task *task = host->spare_change;
    host->spare_change = NULL;
    if (task)
        return task;
    dpx_unlock(host);
    task = dpx_task_new(host, DPX_TASK_CHANGE, 2);
    dpx_lock(host);
    return task;
}

static void begin(dpx_task *task, const dpx_order *order, const dpx_uuid *uuid)
{
    uint64_t now = dpx_now();
    dpx_lease *lease = &task->scratch;
    task->count = 0;
    if (order->entry) {
        lease = &order->entry->lease;
        task->entries[task->count++] = order->entry;
    } else {
        dpx_lease_reset(lease, "", 0);
        lease->header.area = order->area;
    }
    task->entries[task->count++] = task->host->directory;
    dpx_change_begin(task->machine.change, order->kind, lease, uuid, now, now);
}

/* The directory is this thread's. */
static dpx_verdict run(dpx_host *host, dpx_caller *caller, dpx_order *order, dpx_failure *failure)
{
    dpx_uuid uuid;
    dpx_task *task = change_task(host);
    int error = task ? dpx_random_bytes(&uuid, sizeof uuid) : -ENOMEM;
    if (error != 0 || host->over) {
        if (task)
            dpx_task_drop(task);
        host->directory->busy = DPX_IDLE;
        host->over ? dpx_fail_finished(host, failure) : dpx_fail_errno(failure, -error);
        return DPX_RUNNING;
    }
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40); /* RFC 9562, version 4 */
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    begin(task, order, &uuid);
    bool answered = dpx_task_await(task, caller, &order->deadline);
    dpx_verdict verdict = answered ? dpx_task_verdict(task) : DPX_RUNNING;
    order->cause = *dpx_task_cause(task);
    if (answered) {
        host->directory->busy = DPX_IDLE;
    } else if (host->over) {
        dpx_fail_finished(host, failure);
    } else {
        dpx_fail(failure, DPX_E_TIMEOUT);
        failure->lowering = true;
    }
    dpx_task_drop(task);
    return verdict;
}

dpx_verdict dpx_change_run(dpx_host *host, dpx_caller *caller, dpx_order *order, dpx_failure *failure)
{
    dpx_queued queued = {
        .caller = caller, .entries = &host->directory, .count = 1, .busy = DPX_BUSY_CHANGING};
    order->cause = DPX_NO_CAUSE;
    dpx_queue_join(host, &queued);
    if (!dpx_queue_await(host, &queued, &order->deadline)) {
        host->over ? dpx_fail_finished(host, failure) : dpx_fail(failure, DPX_E_TIMEOUT);
        return DPX_RUNNING;
    }
    dpx_verdict verdict = run(host, caller, order, failure);
    dpx_queue_kick(host);
    return verdict;
}
