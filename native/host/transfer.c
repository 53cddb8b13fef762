/* Plain reads and writes that somebody waits for, with a deadline.
 *
 * The I/O uses memory of its own, shared between the waiter and the I/O thread: whoever
 * lets go last frees it.  So a waiter may leave at its deadline while the kernel still
 * holds the buffer. */
#include "members.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SLICE UINT64_C(100000000) /* 100 ms: how soon a waiter notices that it should stop */

void dpx_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint64_t timeout)
{
    struct timespec slice = {.tv_sec = (time_t)(timeout / DPX_SECOND)};
    slice.tv_nsec = (long)(timeout % DPX_SECOND);
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, &slice, NULL, 0);
}

void dpx_futex_wake(const _Atomic uint32_t *word)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

struct transfer {
    dpx_request request;
    dpx_extent extent;
    void *buffer;
    size_t bytes;
    _Atomic uint32_t done;
    _Atomic uint32_t users;
};

static void let_go(struct transfer *transfer)
{
    if (atomic_fetch_sub(&transfer->users, 1) != 1)
        return;
    dpx_buffer_free(transfer->buffer, transfer->bytes);
    free(transfer);
}

static void transferred(void *context, dpx_request *request)
{
    struct transfer *transfer = context;
    (void)request;
    atomic_store(&transfer->done, 1);
    dpx_futex_wake(&transfer->done);
    let_go(transfer);
}

static struct transfer *transfer_new(size_t bytes)
{
    struct transfer *fresh = calloc(1, sizeof *fresh);
    if (!fresh)
        return NULL;
    fresh->buffer = dpx_buffer_new(bytes);
    if (!fresh->buffer) {
        free(fresh);
        return NULL;
    }
    fresh->bytes = bytes;
    atomic_init(&fresh->users, 2);
    return fresh;
}

int dpx_transfer(dpx_disk *disk, bool write, uint64_t block, uint32_t count, uint32_t block_size, void *data,
                 uint64_t deadline, const _Atomic bool *stop)
{
    size_t bytes = (size_t)count * block_size;
    struct transfer *transfer = transfer_new(bytes);
    if (!transfer)
        return -ENOMEM;
    transfer->extent = (dpx_extent){.block = block, .count = count, .data = transfer->buffer};
    if (write) {
        memcpy(transfer->buffer, data, bytes);
        transfer->request.writes = &transfer->extent;
        transfer->request.write_count = 1;
    } else {
        transfer->request.reads = &transfer->extent;
        transfer->request.read_count = 1;
    }
    dpx_disk_submit(disk, DPX_LANE_WORK, &transfer->request, NULL, transferred, transfer);
    int error = -ETIMEDOUT;
    for (;;) {
        if (atomic_load(&transfer->done)) {
            error = transfer->request.error;
            break;
        }
        uint64_t now = dpx_now();
        if (now >= deadline || (stop && atomic_load(stop)))
            break;
        dpx_futex_wait(&transfer->done, 0, deadline - now < SLICE ? deadline - now : SLICE);
    }
    if (error == 0 && !write)
        memcpy(data, transfer->buffer, bytes);
    let_go(transfer);
    return error;
}
