/* Becoming a host, and ceasing to be one. */
#include "engine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define JOINS 3u /* with a slot that somebody declared dead while it was claimed */

/* ---- the host's memory ---- */

static int init_lock(dpx_host *host)
{
    pthread_mutexattr_t attributes;
    if (pthread_mutexattr_init(&attributes) != 0)
        return -ENOMEM;
    /* The heart must not wait for a thread that does not get to run. */
    if (host->options.realtime)
        pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    int error = pthread_mutex_init(&host->lock, &attributes);
    pthread_mutexattr_destroy(&attributes);
    return -error;
}

static int describe_self(dpx_host *host)
{
    dpx_slot_record *me = &host->me;
    const dpx_geometry *geometry = &host->geometry;
    me->host = host->options.machine;
    me->boot = host->options.boot;
    me->pid = (uint64_t)host->pid;
    me->software = host->options.software;
    me->flags = DPX_SLOT_DRAINS_ON_EXIT; /* Linux AIO, or plain where exit waits, too */
    me->joined_at = dpx_wall();
    me->outage_tolerance = geometry->outage_tolerance;
    me->kill_grace = geometry->kill_grace;
    me->watchdog_timeout = geometry->watchdog_timeout;
    snprintf(me->host_name, sizeof me->host_name, "%s", host->options.host_name);
    return dpx_process_self(&me->start_time, &me->pid_namespace);
}

static int open_parts(dpx_host *host)
{
    int error = init_lock(host);
    if (error != 0)
        return error;
    host->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (host->event_fd < 0)
        return -errno;
    if ((error = dpx_alarm_open(&host->heart_alarm)) != 0)
        return error;
    if ((error = dpx_alarm_open(&host->steward_alarm)) != 0)
        return error;
    if ((error = describe_self(host)) != 0)
        return error;
    if ((error = dpx_random_bytes(&host->world.random, sizeof host->world.random)) != 0)
        return error;
    host->peers_memory = dpx_buffer_new(dpx_peers_memory(&host->geometry));
    if (!host->peers_memory)
        return -ENOMEM;
    host->world.geometry = &host->geometry;
    host->world.peers = dpx_peers_place(host->peers_memory, &host->geometry, &host->me.host, &host->me.boot);
    if ((error = dpx_table_open(host)) != 0)
        return error;
    dpx_arena_open(&host->arena, dpx_round_memory(&host->geometry, 1));
    host->claim = dpx_task_new(host, DPX_TASK_CLAIM, 1);
    host->heart = dpx_task_new(host, DPX_TASK_HEART, 1);
    return host->claim && host->heart ? 0 : -ENOMEM;
}

static dpx_host *host_new(dpx_space *space, const dpx_join_options *options, int *error)
{
    dpx_host *host = dpx_buffer_new(sizeof *host);
    if (!host) {
        *error = -ENOMEM;
        return NULL;
    }
    host->space = space;
    host->geometry = *dpx_space_geometry(space);
    host->options = *options;
    host->pid = getpid();
    host->event_fd = host->heart_alarm.fd = host->steward_alarm.fd = -1;
    *error = open_parts(host);
    if (*error == 0)
        return host;
    dpx_host_free(host);
    return NULL;
}

static void free_tasks(dpx_task *task)
{
    while (task) {
        dpx_task *next = task->next;
        dpx_task_free(task);
        task = next;
    }
}

/* No thread and no I/O knows the host any more. */
void dpx_host_free(dpx_host *host)
{
    dpx_writer_leave(&host->writer);
    if (host->heart && !host->heart->active)
        dpx_task_free(host->heart);
    if (host->claim && !host->claim->active)
        dpx_task_free(host->claim);
    free_tasks(host->active);
    free_tasks(host->pool);
    free_tasks(host->trash);
    if (host->spare_batch)
        dpx_task_free(host->spare_batch);
    if (host->spare_change)
        dpx_task_free(host->spare_change);
    dpx_arena_close(&host->arena);
    while (host->callers_free) {
        dpx_caller *caller = host->callers_free;
        host->callers_free = caller->next;
        free(caller);
    }
    dpx_table_close(host);
    if (host->peers_memory)
        dpx_buffer_free(host->peers_memory, dpx_peers_memory(&host->geometry));
    if (host->heart_stack)
        dpx_buffer_free(host->heart_stack, host->heart_stack_bytes);
    dpx_alarm_close(&host->heart_alarm);
    dpx_alarm_close(&host->steward_alarm);
    if (host->event_fd >= 0)
        close(host->event_fd);
    pthread_mutex_destroy(&host->lock);
    dpx_buffer_free(host, sizeof *host);
}

/* ---- joining ---- */

static dpx_status claim_failed(const dpx_host *host, dpx_verdict verdict, dpx_failure *failure)
{
    dpx_fail_verdict(host, failure, verdict, dpx_task_cause(host->claim));
    failure->value = dpx_claim_slow(host->claim->machine.claim);
    if (verdict == DPX_STORAGE && failure->value > 0 && failure->error == ETIMEDOUT) {
        dpx_claim_pace pace = dpx_claim_paced(host->claim->machine.claim);
        failure->claim_time = host->geometry.claim_time;
        failure->took[0] = pace.table;
        failure->took[1] = pace.notices;
        failure->took[2] = pace.write;
        return dpx_fail(failure, DPX_E_TIMING);
    }
    if (verdict == DPX_FULL)
        return dpx_fail(failure, host->options.slot == DPX_ANY_SLOT ? DPX_E_NO_SLOT : DPX_E_NOT_DRAINED);
    if (verdict == DPX_BUSY)
        return dpx_fail(failure, DPX_E_COLLIDED);
    return failure->status;
}

/* One claim: up to a number of attempts, for as long as there are slots to wait for. */
static dpx_status claim_once(dpx_host *host, dpx_caller *caller, uint64_t deadline, dpx_verdict *verdict,
                             dpx_failure *failure)
{
    dpx_uuid nonce;
    uint64_t now = dpx_now();
    uint64_t slack = dpx_io_limit(&host->geometry) + 4 * host->geometry.claim_time; /* of an attempt under way */
    uint64_t bound = dpx_deadline(deadline > now ? deadline : now, slack);
    int error = dpx_random_bytes(&nonce, sizeof nonce);
    if (error != 0)
        return dpx_fail_errno(failure, -error);
    dpx_task *task = host->claim;
    dpx_writer_enter(&host->writer, &nonce);
    task->machine.claim = dpx_claim_place(task->memory, &host->world);
    dpx_claim_begin(task->machine.claim, &host->me, &nonce, host->options.slot, false, deadline, now);
    if (host->options.retire)
        dpx_claim_retire(task->machine.claim);
    bool answered = dpx_task_await(task, caller, &bound);
    *verdict = answered ? dpx_task_verdict(task) : DPX_RUNNING;
    if (answered)
        return DPX_OK;
    if (bound == 0)
        return dpx_fail(failure, DPX_E_TIMEOUT);
    return dpx_fail_unanswered(host, true, failure);
}

static dpx_status claim(dpx_host *host, dpx_caller *caller, uint64_t timeout, dpx_failure *failure)
{
    uint64_t deadline = dpx_deadline(dpx_now(), timeout);
    for (;;) {
        dpx_verdict verdict = DPX_RUNNING;
        dpx_status status = claim_once(host, caller, deadline, &verdict, failure);
        if (status != DPX_OK || verdict == DPX_DONE)
            return status;
        bool slow = dpx_claim_slow(host->claim->machine.claim) > 0; /* and as slow to whoever tries again */
        /* A read that hangs is not waited for, but its memory must not be used anew either. */
        bool again = verdict == DPX_BUSY || (verdict == DPX_STORAGE && !slow);
        again &= dpx_task_quiet(host->claim);
        if (!again || dpx_now() >= deadline)
            return claim_failed(host, verdict, failure);
    }
}

static dpx_status start_living(dpx_host *host, dpx_failure *failure)
{
    dpx_task *claim = host->claim;
    uint64_t now = dpx_now();
    if (dpx_world_over(&host->world, now)) { /* stopped between the claim and here */
        host->end = DPX_END_LIFETIME;
        return dpx_fail_finished(host, failure);
    }
    host->me = *dpx_claim_record(claim->machine.claim);
    dpx_task *heart = host->heart;
    heart->machine.heart = dpx_heart_place(heart->memory, &host->world, claim->machine.claim, now);
    for (uint32_t d = 0; d < host->geometry.disks; d++)
        dpx_heart_suspect(heart->machine.heart, d, dpx_claim_busy(claim->machine.claim, d));
    atomic_store(&host->gate, host->world.lifetime_end);
    host->joined = true;
    dpx_task_start(heart);
    dpx_task_drop(claim);
    int error = dpx_heart_start(host);
    return error == 0 ? DPX_OK : dpx_fail_errno(failure, -error);
}

/* No flag is raised before a heartbeat has shown that nobody holds us dead (docs/protocol.md,
 * rule S17): a notice about our generation may have been written while we claimed. */
static dpx_status await_first_beat(dpx_host *host, dpx_caller *caller, dpx_failure *failure)
{
    uint64_t deadline = dpx_deadline(dpx_now(), host->geometry.outage_tolerance);
    host->waiter = caller;
    while (!host->over && dpx_heart_count(host->heart->machine.heart).beats == 0 && dpx_wait(host, caller, &deadline))
        continue;
    host->waiter = NULL;
    if (host->over)
        return dpx_fail_finished(host, failure);
    if (dpx_heart_count(host->heart->machine.heart).beats > 0)
        return DPX_OK;
    return deadline == 0 ? dpx_fail(failure, DPX_E_TIMEOUT) : dpx_fail_unanswered(host, true, failure);
}

/* A disk that was not to be used may be another one when it is back: nothing but the heartbeat, which looks first, is
 * written there before that. */
static void disk_news(void *context, uint32_t disk, bool up, int error)
{
    dpx_host *host = context;
    dpx_lock(host);
    dpx_tell_disk(host, disk, up, error);
    if (!up && disk < host->geometry.disks) {
        host->downs[disk]++;
        host->unlooked[disk] = true;
    }
    if (up && !host->over) {
        dpx_heart_hurry(host->heart->machine.heart);
        dpx_task_drive(host->heart);
    }
    dpx_unlock(host);
}

static dpx_status join_once(dpx_space *space, const dpx_join_options *options, uint64_t timeout, dpx_host **out,
                            dpx_failure *failure)
{
    int error;
    *out = NULL;
    dpx_failure_clear(failure);
    if (space->pid != getpid())
        return dpx_fail(failure, DPX_E_FORKED);
    if (space->read_only)
        return dpx_fail(failure, DPX_E_READ_ONLY);
    dpx_host *host = host_new(space, options, &error);
    if (!host)
        return dpx_fail_errno(failure, -error);
    dpx_recall_open(host);
    if ((error = dpx_steward_start(host)) != 0) {
        dpx_recall_close(host);
        dpx_host_free(host);
        return dpx_fail_errno(failure, -error);
    }
    dpx_lock(host);
    dpx_status status = DPX_OK;
    dpx_caller *caller = dpx_caller_new(host);
    if (!caller) {
        status = dpx_fail_errno(failure, ENOMEM);
        dpx_unlock(host);
    } else {
        status = claim(host, caller, timeout, failure);
        if (status == DPX_OK)
            status = start_living(host, failure);
        if (status == DPX_OK)
            status = await_first_beat(host, caller, failure);
        dpx_exit(host, caller);
    }
    if (status != DPX_OK) {
        dpx_host_destroy(host);
        return status;
    }
    host->listener = (dpx_listener){.news = disk_news, .vet = dpx_vet_copy, .context = host};
    dpx_space_listen(space, &host->listener);
    *out = host;
    return DPX_OK;
}

/* A notice may concern somebody else's claim of our generation, which came to nothing: another
 * slot, or another generation, is free of it.  And an outage may have ended what had just begun: who has time joins
 * again. */
dpx_status dpx_host_join(dpx_space *space, const dpx_join_options *options, uint64_t timeout, dpx_host **out,
                         dpx_failure *failure)
{
    uint64_t deadline = dpx_deadline(dpx_now(), timeout);
    for (uint32_t i = 1;; i++) {
        uint64_t now = dpx_now();
        uint64_t left = deadline == DPX_NEVER ? DPX_NEVER : deadline > now ? deadline - now : 0;
        dpx_status status = join_once(space, options, left, out, failure);
        bool named = failure->end == (int)DPX_END_NOTICE && i < JOINS;
        bool outage = failure->end == (int)DPX_END_LIFETIME && dpx_now() < deadline;
        if (status != DPX_E_FINISHED || !(named || outage))
            return status;
    }
}

/* ---- leaving ---- */

static bool holds_any(const dpx_host *host)
{
    for (const dpx_entry *entry = host->entries; entry; entry = entry->next)
        for (const dpx_hold *hold = entry->holds; hold; hold = hold->next)
            if (hold->state == DPX_HOLD_HELD)
                return true;
    return false;
}

/* Every write of this incarnation on every disk has returned, and no flag is up by us. */
static bool calm(const dpx_host *host)
{
    for (const dpx_task *task = host->active; task; task = task->next)
        if (task != host->heart && !(task->reported && dpx_task_quiet(task)))
            return false;
    for (const dpx_entry *entry = host->entries; entry; entry = entry->next)
        if (entry->lease.hold != 0 && entry->holders == 0)
            return false;
    return true;
}

static dpx_status leave(dpx_host *host, dpx_caller *caller, uint64_t timeout, dpx_failure *failure)
{
    const uint64_t patience = timeout ? timeout : dpx_io_limit(&host->geometry);
    uint64_t deadline = dpx_deadline(dpx_now(), patience);
    if (holds_any(host) || host->inside > 1)
        return dpx_fail(failure, DPX_E_BUSY);
    host->leaving = true;
    host->waiter = caller;
    dpx_orphans_run(host);
    while (!host->over && !calm(host) && dpx_wait(host, caller, &deadline))
        continue;
    if (!host->over && !calm(host)) {
        host->leaving = false;
        host->waiter = NULL;
        failure->lowering = true;
        return dpx_fail(failure, DPX_E_TIMEOUT);
    }
    if (!host->over) {
        dpx_heart_leave(host->heart->machine.heart);
        dpx_task_drive(host->heart);
    }
    if (!timeout)
        deadline = dpx_deadline(dpx_now(), patience);
    while (!host->over && dpx_wait(host, caller, &deadline))
        continue;
    host->waiter = NULL;
    if (host->over && host->end == DPX_END_LEFT)
        return DPX_OK;
    return host->over ? dpx_fail_finished(host, failure) : dpx_fail(failure, DPX_E_TIMEOUT);
}

dpx_status dpx_host_leave(dpx_host *host, uint64_t timeout, dpx_failure *failure)
{
    dpx_caller *caller;
    dpx_status status = dpx_enter(host, &caller, failure);
    if (status != DPX_OK)
        return status;
    status = leave(host, caller, timeout, failure);
    dpx_exit(host, caller);
    return status;
}

/* ---- the end ---- */

void dpx_host_destroy(dpx_host *host)
{
    if (!host || getpid() != host->pid)
        return;
    dpx_space_unlisten(host->space, &host->listener);
    dpx_lock(host);
    dpx_finish(host, DPX_END_LIFETIME); /* no write is issued any more; waiting callers go home */
    host->stopping = true;
    while (host->inside > 0) {
        dpx_unlock(host);
        usleep(1000);
        dpx_lock(host);
    }
    dpx_alarm_set(&host->heart_alarm, 0);
    dpx_alarm_set(&host->steward_alarm, 0);
    dpx_unlock(host);
    if (host->heart_started)
        pthread_join(host->heart_thread, NULL);
    if (host->steward_started)
        pthread_join(host->steward_thread, NULL);
    dpx_recall_close(host);
    dpx_lock(host);
    host->destroyed = true;
    for (dpx_task *task = host->active; task; task = task->next)
        if (task->kind == DPX_TASK_CLAIM)
            atomic_store(&task->gate, 0); /* nobody steps it any more */
    bool last = host->outstanding == 0;
    dpx_unlock(host);
    if (last) /* else whoever brings the last I/O home; what never returns keeps its memory */
        dpx_host_free(host);
}
