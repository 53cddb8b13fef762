/* Entering the engine, waiting in it, and the end of its life. */
#include "engine.h"

#include <errno.h>
#include <string.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define SLICE (UINT64_C(100) * DPX_MS) /* how often a waiting caller is asked whether it still wants to */

uint64_t dpx_wall(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (uint64_t)now.tv_sec * DPX_SECOND + (uint64_t)now.tv_nsec;
}

uint64_t dpx_deadline(uint64_t now, uint64_t timeout)
{
    return timeout > DPX_NEVER - now ? DPX_NEVER : now + timeout;
}

uint64_t dpx_patience(const dpx_host *host)
{
    return 3 * dpx_io_limit(&host->geometry);
}

int dpx_random_bytes(void *data, size_t bytes)
{
    uint8_t *at = data;
    while (bytes > 0) {
        ssize_t got = getrandom(at, bytes, 0);
        if (got < 0) {
            if (errno == EINTR)
                continue;
            return -errno;
        }
        at += got;
        bytes -= (size_t)got;
    }
    return 0;
}

/* ---- the lock ---- */

void dpx_lock(dpx_host *host)
{
    pthread_mutex_lock(&host->lock);
}

/* Callers are woken after the lock is free, so that they do not wake only to wait for it.
 * Their futex words are only addresses here: one that left meanwhile costs a vain wake. */
void dpx_unlock(dpx_host *host)
{
    const _Atomic uint32_t *wakes[DPX_WAKES_DEFERRED];
    uint32_t count = host->wake_count;
    memcpy(wakes, host->wakes, count * sizeof wakes[0]);
    host->wake_count = 0;
    pthread_mutex_unlock(&host->lock);
    for (uint32_t i = 0; i < count; i++)
        dpx_futex_wake(wakes[i]);
}

void dpx_wake_caller(dpx_host *host, dpx_caller *caller)
{
    if (atomic_exchange(&caller->word, 1) == 1)
        return; /* it knows already */
    if (host->wake_count == DPX_WAKES_DEFERRED)
        dpx_futex_wake(&caller->word);
    else
        host->wakes[host->wake_count++] = &caller->word;
}

/* ---- callers ---- */

dpx_caller *dpx_caller_new(dpx_host *host)
{
    dpx_caller *caller = host->callers_free;
    if (caller)
        host->callers_free = caller->next;
    else
        caller = calloc(1, sizeof *caller);
    if (!caller)
        return NULL;
    atomic_store(&caller->word, 0);
    caller->previous = NULL;
    caller->next = host->callers;
    if (host->callers)
        host->callers->previous = caller;
    host->callers = caller;
    host->inside++;
    return caller;
}

dpx_status dpx_enter(dpx_host *host, dpx_caller **caller, dpx_failure *failure)
{
    dpx_failure_clear(failure);
    if (getpid() != host->pid)
        return dpx_fail(failure, DPX_E_FORKED);
    dpx_lock(host);
    dpx_life(host);
    dpx_status status = DPX_OK;
    if (host->over || host->leaving) {
        status = dpx_fail_finished(host, failure);
        failure->end = host->over ? (int)host->end : (int)DPX_END_LEFT;
    }
    if (status == DPX_OK && (*caller = dpx_caller_new(host)) == NULL)
        status = dpx_fail_errno(failure, ENOMEM);
    if (status != DPX_OK)
        dpx_unlock(host);
    return status;
}

void dpx_exit(dpx_host *host, dpx_caller *caller)
{
    if (caller->previous)
        caller->previous->next = caller->next;
    else
        host->callers = caller->next;
    if (caller->next)
        caller->next->previous = caller->previous;
    caller->next = host->callers_free;
    host->callers_free = caller;
    host->inside--;
    dpx_unlock(host);
}

bool dpx_wait(dpx_host *host, dpx_caller *caller, uint64_t *deadline)
{
    uint64_t now = dpx_now();
    if (now >= *deadline)
        return false;
    uint64_t left = *deadline - now;
    dpx_unlock(host);
    if (atomic_load(&caller->word) == 0)
        dpx_futex_wait(&caller->word, 0, left < SLICE ? left : SLICE);
    bool woken = atomic_load(&caller->word) != 0;
    bool impatient = !woken && host->options.impatient && host->options.impatient(host->options.context);
    dpx_lock(host);
    atomic_store(&caller->word, 0);
    dpx_life(host);
    if (impatient)
        *deadline = 0;
    return !impatient;
}

/* Who tries once has no time of his own: he waits for storage that is at work. */
bool dpx_task_moves(const dpx_task *task, uint64_t *deadline)
{
    if (!task->patient || *deadline == 0)
        return false;
    uint64_t later = dpx_round_moved(task->machine.round) + dpx_patience(task->host);
    if (later <= dpx_now())
        return false;
    *deadline = later;
    return true;
}

/* ---- life and its end ---- */

void dpx_finish(dpx_host *host, dpx_end end)
{
    if (host->over)
        return;
    host->over = true;
    host->end = end;
    host->world.finished = true;
    atomic_store(&host->gate, 0);
    for (dpx_entry *entry = host->entries; entry; entry = entry->next)
        dpx_entry_lose(host, entry);
    dpx_tell_end(host);
    for (dpx_caller *caller = host->callers; caller; caller = caller->next)
        dpx_wake_caller(host, caller);
    /* Rounds under way learn of it at their next step. */
    for (dpx_task *task = host->active; task; task = task->next) {
        task->wake = 0;
        if (task == host->claim)
            atomic_store(&task->gate, 0); /* its last write may still wait to be issued */
    }
    if (host->active)
        dpx_alarm_sooner(&host->steward_alarm, 0);
    dpx_rest(host);
}

void dpx_rest(dpx_host *host)
{
    bool held = host->held > 0 && !host->destroyed;
    if (host->over && (host->joined || host->destroyed) && !held && host->outstanding == 0)
        dpx_writer_leave(&host->writer);
}

void dpx_life(dpx_host *host)
{
    if (!host->joined || host->over)
        return;
    uint64_t now = dpx_now();
    bool over = dpx_world_over(&host->world, now);
    dpx_end end = dpx_heart_end(host->heart->machine.heart);
    if (end != DPX_ALIVE)
        dpx_finish(host, end);
    else if (over)
        dpx_finish(host, dpx_world_end(&host->world, now));
    else
        atomic_store(&host->gate, host->world.lifetime_end);
}
