/* The heart thread: beats, and the end of the lifetime, on time whatever else goes on.
 *
 * It never waits for storage, memory or Python: its stack and all that it reads are locked
 * in memory, and it runs with real-time priority where that is permitted. */
#include "engine.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>

#define HEART_PRIORITY 10 /* SCHED_RR: above all ordinary threads, below what keeps the kernel going */

static void *heart_main(void *argument)
{
    dpx_host *host = argument;
    dpx_lock(host);
    while (!host->stopping) {
        dpx_life(host);
        if (!host->over && host->heart->wake <= dpx_now())
            dpx_task_drive(host->heart);
        uint64_t floor = dpx_now() + DPX_MS / 4; /* whatever the machine says, this thread is no spinner */
        uint64_t next = host->over ? DPX_NEVER : host->heart->wake;
        if (next < floor)
            next = floor;
        if (next > host->world.lifetime_end && !host->over)
            next = host->world.lifetime_end;
        dpx_alarm_set(&host->heart_alarm, next);
        dpx_unlock(host);
        dpx_alarm_sleep(&host->heart_alarm);
        dpx_lock(host);
    }
    dpx_unlock(host);
    return NULL;
}

static void note_refusal(dpx_host *host, int error)
{
    if (error != 0 && host->harden_error == 0)
        host->harden_error = error < 0 ? -error : error;
}

static void lock_memory(dpx_host *host, void *memory, size_t bytes)
{
    if (mlock(memory, bytes) != 0)
        note_refusal(host, errno);
}

/* What is refused is reported once; the heart beats all the same. */
static void harden(dpx_host *host)
{
    struct sched_param priority = {.sched_priority = HEART_PRIORITY};
    lock_memory(host, host, sizeof *host);
    lock_memory(host, host->peers_memory, dpx_peers_memory(&host->geometry));
    lock_memory(host, host->heart->memory, host->heart->bytes);
    lock_memory(host, host->heart_stack, host->heart_stack_bytes);
    note_refusal(host, pthread_setschedparam(host->heart_thread, SCHED_RR, &priority));
    for (uint32_t i = 0; i < host->space->count; i++)
        note_refusal(host, dpx_disk_harden(host->space->members[i].disk, HEART_PRIORITY));
    host->realtime = host->harden_error == 0;
}

static int start_on_stack(dpx_host *host, size_t bytes)
{
    host->heart_stack = dpx_buffer_new(bytes);
    if (!host->heart_stack)
        return -ENOMEM;
    host->heart_stack_bytes = bytes;
    int error = dpx_host_thread(&host->heart_thread, heart_main, host, host->heart_stack, bytes);
    if (error != 0) {
        dpx_buffer_free(host->heart_stack, bytes);
        host->heart_stack = NULL;
    }
    return error;
}

int dpx_heart_start(dpx_host *host)
{
    int error = start_on_stack(host, DPX_STACK);
    if (error == -EINVAL) /* the thread-local data of all libraries of the process goes there, too */
        error = start_on_stack(host, 8 * DPX_STACK);
    if (error != 0)
        return error;
    host->heart_started = true;
    if (host->options.realtime)
        harden(host);
    return 0;
}
