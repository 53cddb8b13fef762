/* Linux AIO by raw system calls: a batch of reads or writes put in flight and waited for; a single
 * one by a plain call where that is as good.
 *
 * io_submit may hang (a frozen file system), and so may what was submitted (a dead device).
 * Both hang this thread only; others see since when in `issued`. */
#include "inside.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOOK_AGAIN 100000000L /* ns: how late it may be noticed that only some of what is waited for has returned */

/* ---- contexts ----
 *
 * io_destroy waits for a grace period of the kernel, up to a second here, although nothing is
 * in flight.  So contexts of ended workers are kept for the next ones; the exit of the process
 * destroys them all at once.  They do not survive a fork: the child starts with none. */

#define KEPT_CONTEXTS 256u

typedef _Atomic aio_context_t kept_context; /* 0: none */

static kept_context kept[2][KEPT_CONTEXTS]; /* of the heart's depth, of the workers' */
static _Atomic pid_t kept_by;

static kept_context *kept_of_depth(uint32_t depth)
{
    if (atomic_load(&kept_by) != getpid()) {
        for (unsigned i = 0; i < 2; i++)
            for (unsigned k = 0; k < KEPT_CONTEXTS; k++)
                atomic_store(&kept[i][k], 0);
        atomic_store(&kept_by, getpid());
    }
    return kept[depth == DPX_HEART_DEPTH ? 0 : 1];
}

int dpx_aio_start(dpx_aio *aio, uint32_t depth)
{
    kept_context *row = kept_of_depth(depth);
    aio->context = 0;
    aio->depth = depth;
    aio->free_count = depth;
    for (uint32_t i = 0; i < depth; i++)
        aio->free[i] = depth - 1 - i;
    for (unsigned k = 0; k < KEPT_CONTEXTS && !aio->context; k++)
        if (atomic_load_explicit(&row[k], memory_order_relaxed))
            aio->context = atomic_exchange(&row[k], 0);
    if (aio->context)
        return 0;
    return syscall(SYS_io_setup, depth, &aio->context) == 0 ? 0 : -errno;
}

void dpx_aio_end(dpx_aio *aio)
{
    kept_context *row = kept_of_depth(aio->depth);
    for (unsigned k = 0; k < KEPT_CONTEXTS && aio->context; k++) {
        aio_context_t none = 0;
        if (atomic_compare_exchange_strong(&row[k], &none, aio->context))
            aio->context = 0;
    }
    if (aio->context)
        syscall(SYS_io_destroy, aio->context);
    aio->context = 0;
}

/* ---- batches ---- */

uint64_t dpx_aio_oldest(const dpx_aio *aio)
{
    uint64_t oldest = 0;
    for (uint32_t i = 0; i < aio->depth; i++) {
        uint64_t issued = atomic_load_explicit(&aio->issued[i], memory_order_relaxed);
        if (issued && (!oldest || issued < oldest))
            oldest = issued;
    }
    return oldest;
}

static void release_slot(dpx_aio *aio, uint32_t slot)
{
    atomic_store_explicit(&aio->issued[slot], 0, memory_order_relaxed);
    aio->free[aio->free_count++] = slot;
}

/* Fills one slot for each extent from `next` on, as many as may be in flight at a time. */
static uint32_t prepare(dpx_aio *aio, const dpx_batch *batch, uint32_t next)
{
    uint32_t count = 0;
    uint32_t window = dpx_depth_now(batch->depth);
    for (; next < batch->count && aio->free_count > 0 && aio->depth - aio->free_count < window; next++) {
        uint32_t slot = aio->free[--aio->free_count];
        dpx_extent *extent = &batch->extents[next];
        struct iocb *control = &aio->control[slot];
        memset(control, 0, sizeof *control);
        control->aio_data = slot;
        control->aio_lio_opcode = batch->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
        control->aio_fildes = (uint32_t)batch->fd;
        control->aio_buf = (uint64_t)(uintptr_t)extent->data;
        control->aio_nbytes = (uint64_t)extent->count * batch->block_size;
        control->aio_offset = (int64_t)(extent->block * batch->block_size);
        aio->extent[slot] = extent;
        aio->list[count++] = control;
    }
    return count;
}

/* Returns how many of the first `count` listed slots were dealt with (in flight, or failed
 * for good); the rest is to be tried again after something has returned.  *stop: nothing
 * more may be issued. */
static uint32_t submit(dpx_aio *aio, dpx_batch *batch, uint32_t count, uint32_t in_flight, int *stop)
{
    uint32_t done = 0;
    while (done < count) {
        uint64_t now = 0;
        *stop = batch->permit(batch->context, batch->write, &now);
        if (*stop)
            return done;
        for (uint32_t i = done; i < count; i++)
            atomic_store_explicit(&aio->issued[aio->list[i]->aio_data], now, memory_order_relaxed);
        long taken = syscall(SYS_io_submit, aio->context, (long)(count - done), &aio->list[done]);
        int error = taken < 0 ? -errno : taken == 0 ? -EIO : 0;
        if (error == 0) {
            if (!batch->issued)
                batch->issued_at = now;
            batch->issued = true;
            in_flight += (uint32_t)taken;
            done += (uint32_t)taken;
        } else if (error == -EAGAIN && in_flight > 0) {
            return done; /* the kernel's share of slots is used up for the moment */
        } else if (error != -EINTR) {
            uint32_t slot = (uint32_t)aio->list[done]->aio_data; /* the first one is refused */
            aio->extent[slot]->error = error;
            release_slot(aio, slot);
            done++;
        }
    }
    return done;
}

/* Waits until at least `least` have returned, or some and a while has gone by; how many did. */
static uint32_t reap(dpx_aio *aio, const dpx_batch *batch, uint32_t least, uint32_t in_flight)
{
    struct timespec a_while = {.tv_nsec = LOOK_AGAIN};
    long got = syscall(SYS_io_getevents, aio->context, (long)least, (long)in_flight, aio->events,
                       in_flight > 1 ? &a_while : NULL);
    if (got <= 0)
        return 0; /* EINTR: a stop and continue of the process, a tracer */
    dpx_return returned = {
        .now = dpx_now(), .count = (uint32_t)got, .in_flight = in_flight, .quickest = UINT64_MAX, .oldest = UINT64_MAX};
    for (long i = 0; i < got; i++) {
        const struct io_event *event = &aio->events[i];
        uint32_t slot = (uint32_t)event->data;
        uint64_t wanted = aio->control[slot].aio_nbytes;
        uint64_t issued = atomic_load_explicit(&aio->issued[slot], memory_order_relaxed);
        returned.oldest = issued < returned.oldest ? issued : returned.oldest;
        returned.quickest = returned.now - issued < returned.quickest ? returned.now - issued : returned.quickest;
        if (event->res < 0)
            aio->extent[slot]->error = (int32_t)event->res;
        else
            aio->extent[slot]->error = (uint64_t)event->res == wanted ? 0 : -EIO; /* short, or past the end */
        release_slot(aio, slot);
    }
    dpx_depth_learn(batch->depth, &returned, batch->queueing);
    atomic_store(batch->moved_at, returned.now);
    return (uint32_t)got;
}

/* An O_DSYNC write by AIO is made durable by a kernel thread of ordinary priority, and only then is
 * the worker woken; a plain one by the worker itself.  On a busy machine the difference is a factor
 * of four.  Hung, it sleeps in the kernel, as an io_submit may. */
static int run_plain(dpx_aio *aio, dpx_batch *batch)
{
    dpx_extent *extent = &batch->extents[0];
    size_t wanted = (size_t)extent->count * batch->block_size;
    off_t at = (off_t)(extent->block * batch->block_size);
    uint32_t slot = aio->free[aio->free_count - 1];
    ssize_t got;
    do {
        uint64_t now = 0;
        extent->error = batch->permit(batch->context, batch->write, &now);
        if (extent->error)
            return extent->error;
        if (!batch->issued)
            batch->issued_at = now;
        batch->issued = true;
        atomic_store_explicit(&aio->issued[slot], now, memory_order_relaxed);
        got = batch->write ? pwrite(batch->fd, extent->data, wanted, at) : pread(batch->fd, extent->data, wanted, at);
        if (got < 0)
            extent->error = -errno;
        else if ((size_t)got != wanted)
            extent->error = -EIO; /* short, or past the end */
        atomic_store_explicit(&aio->issued[slot], 0, memory_order_relaxed);
    } while (extent->error == -EINTR);
    batch->completed_at = dpx_now();
    atomic_store(batch->moved_at, batch->completed_at);
    return extent->error;
}

int dpx_aio_run(dpx_aio *aio, dpx_batch *batch)
{
    if (batch->plain && batch->count == 1)
        return run_plain(aio, batch);
    uint32_t next = 0;
    uint32_t in_flight = 0;
    int stop = 0;
    while (next < batch->count || in_flight > 0) {
        if (next < batch->count && !stop) {
            uint32_t count = prepare(aio, batch, next);
            uint32_t done = submit(aio, batch, count, in_flight, &stop);
            for (uint32_t i = done; i < count; i++)
                release_slot(aio, (uint32_t)aio->list[i]->aio_data);
            next += done;
            in_flight = aio->depth - aio->free_count;
        }
        if (stop)
            for (; next < batch->count; next++)
                batch->extents[next].error = stop;
        if (in_flight > 0) {
            /* With more to issue, refill early enough to keep the device busy; else one
             * wake-up for the whole rest. */
            uint32_t least = next < batch->count ? (in_flight + 3) / 4 : in_flight;
            in_flight -= reap(aio, batch, least, in_flight);
        }
    }
    if (batch->issued)
        batch->completed_at = dpx_now();
    for (uint32_t i = 0; i < batch->count; i++)
        if (batch->extents[i].error)
            return batch->extents[i].error;
    return 0;
}
