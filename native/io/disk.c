/* The disk: its threads started and stopped, requests let in, stalls reported. */
#include "inside.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* However late the caller is, closing a file that has nothing in flight may take this long. */
#define CLOSE_GRACE UINT64_C(50000000)

/* The working directory may change before the disk is opened again.  Symbolic links are
 * left in: where they lead is decided at each opening. */
static char *absolute(const char *path)
{
    if (path[0] == '/')
        return strdup(path);
    char *folder = getcwd(NULL, 0);
    if (!folder)
        return NULL;
    size_t size = strlen(folder) + strlen(path) + 2;
    char *whole = malloc(size);
    if (whole) {
        size_t length = strlen(folder);
        memcpy(whole, folder, length);
        whole[length] = '/';
        memcpy(whole + length + 1, path, strlen(path) + 1);
    }
    free(folder);
    return whole;
}

/* Ends all threads, none of which hangs, and frees everything. */
static void end(dpx_disk *disk)
{
    for (unsigned i = 0; i < DPX_LANES; i++)
        dpx_lane_quit(&disk->lanes[i]);
    dpx_clerk_quit(disk);
    dpx_opener_quit(disk);
    for (unsigned i = 0; i < DPX_LANES; i++)
        dpx_lane_end(&disk->lanes[i]);
    dpx_thread_join(&disk->clerk.thread);
    dpx_thread_join(&disk->opener.thread);
    pthread_mutex_destroy(&disk->clerk.lock);
    pthread_mutex_destroy(&disk->opener.lock);
    free(disk->path);
    dpx_buffer_free(disk, sizeof *disk);
}

int dpx_disk_start(const char *path, bool read_only, uint32_t workers, dpx_disk **out)
{
    if (workers == 0 || workers > DPX_MAX_WORKERS || !path[0])
        return path[0] ? -EINVAL : -ENOENT;
    dpx_disk *disk = dpx_buffer_new(sizeof *disk); /* pages of its own: they may be locked */
    if (!disk)
        return -ENOMEM;
    disk->read_only = read_only;
    disk->block_size = 512;
    disk->queueing = DPX_QUEUEING;
    disk->path = absolute(path);
    int error = disk->path ? 0 : -ENOMEM;
    if (error == 0)
        error = dpx_lane_init(disk, &disk->lanes[DPX_LANE_HEART], "dpx-heart", DPX_HEART_DEPTH, 1);
    if (error == 0)
        error = dpx_lane_init(disk, &disk->lanes[DPX_LANE_WORK], "dpx-io", DPX_WORK_DEPTH, workers);
    if (error == 0)
        error = dpx_clerk_start(disk);
    if (error == 0)
        error = dpx_opener_start(disk);
    if (error != 0) {
        end(disk);
        return error;
    }
    *out = disk;
    return 0;
}

bool dpx_disk_is_open(const dpx_disk *disk)
{
    return atomic_load(&disk->opened);
}

void dpx_disk_block_size(dpx_disk *disk, uint32_t bytes)
{
    atomic_store(&disk->block_size, bytes);
}

void dpx_disk_queueing(dpx_disk *disk, uint64_t time)
{
    atomic_store(&disk->queueing, time);
}

static void prepare(dpx_disk *disk, dpx_request *request, const _Atomic uint64_t *gate, dpx_disk_done *done,
                    void *context)
{
    request->error = 0;
    request->writes_issued = false;
    request->write_issued_at = request->write_completed_at = 0;
    request->read_issued_at = request->read_completed_at = 0;
    atomic_store(&request->moved_at, 0);
    for (uint32_t i = 0; i < request->write_count; i++)
        request->writes[i].error = 0;
    for (uint32_t i = 0; i < request->read_count; i++)
        request->reads[i].error = 0;
    request->queue.next = NULL;
    request->queue.since = dpx_now();
    request->queue.gate = gate;
    request->queue.done = done;
    request->queue.context = context;
    atomic_fetch_add(&disk->outstanding, 1);
}

void dpx_disk_submit(dpx_disk *disk, dpx_lane lane, dpx_request *request, const _Atomic uint64_t *gate,
                     dpx_disk_done *done, void *context)
{
    prepare(disk, request, gate, done, context);
    dpx_lane_submit(disk, &disk->lanes[lane], request, false);
}

void dpx_disk_submit_near(dpx_disk *disk, dpx_lane lane, dpx_request *request, const _Atomic uint64_t *gate,
                          dpx_disk_done *done, void *context)
{
    prepare(disk, request, gate, done, context);
    dpx_lane_submit(disk, &disk->lanes[lane], request, true);
}

void dpx_disk_expire(dpx_disk *disk, uint64_t since)
{
    for (unsigned i = 0; i < DPX_LANES; i++)
        dpx_clerk_give(disk, dpx_lane_take_older(&disk->lanes[i], since), -ETIMEDOUT);
}

uint64_t dpx_disk_oldest(const dpx_disk *disk)
{
    uint64_t oldest = 0;
    for (unsigned i = 0; i < DPX_LANES; i++) {
        const dpx_queue *lane = &disk->lanes[i];
        uint32_t count = atomic_load(&lane->worker_count);
        for (uint32_t w = 0; w < count; w++) {
            uint64_t issued = dpx_aio_oldest(&lane->workers[w]->aio);
            if (issued && (!oldest || issued < oldest))
                oldest = issued;
        }
    }
    return oldest;
}

uint32_t dpx_disk_outstanding(const dpx_disk *disk)
{
    return atomic_load(&disk->outstanding);
}

int dpx_disk_harden(dpx_disk *disk, int realtime_priority)
{
    dpx_queue *heart = &disk->lanes[DPX_LANE_HEART];
    int first = 0;
    atomic_store(&disk->realtime_priority, realtime_priority);
    uint32_t count = atomic_load(&heart->worker_count);
    for (uint32_t w = 0; w < count; w++) {
        dpx_worker *worker = heart->workers[w];
        int error = dpx_thread_harden(&worker->thread, realtime_priority);
        if (error == 0 && mlock(worker, sizeof *worker) != 0)
            error = -errno;
        first = first ? first : error;
    }
    if (mlock(disk, sizeof *disk) != 0 && first == 0)
        first = -errno;
    return first;
}

/* ---- stopping ---- */

static bool quiet(dpx_disk *disk)
{
    return dpx_lane_idle(&disk->lanes[DPX_LANE_HEART]) && dpx_lane_idle(&disk->lanes[DPX_LANE_WORK]) &&
           dpx_clerk_idle(disk);
}

static bool await(dpx_disk *disk, bool (*condition)(dpx_disk *), uint64_t deadline)
{
    for (;;) {
        uint32_t seen = atomic_load(&disk->event);
        if (condition(disk))
            return true;
        if (!dpx_disk_await(disk, seen, deadline))
            return condition(disk);
    }
}

static void retire_handle(dpx_disk *disk)
{
    atomic_store(&disk->opened, false);
    for (unsigned i = 0; i < DPX_LANES; i++) {
        dpx_handle *old = dpx_lane_change(disk, &disk->lanes[i], NULL);
        if (old)
            dpx_handle_drop(disk, old);
    }
}

/* Lets go of everything that may hang for ever: afterwards no callback comes, no gate is
 * looked at, nothing new is issued.  What hangs ends its thread when it returns. */
static void abandon(dpx_disk *disk)
{
    for (unsigned i = 0; i < DPX_LANES; i++)
        dpx_lane_abandon(disk, &disk->lanes[i]);
    for (unsigned i = 0; i < DPX_LANES; i++)
        dpx_clerk_give(disk, dpx_lane_take_older(&disk->lanes[i], UINT64_MAX), -ECANCELED);
    await(disk, dpx_clerk_idle, UINT64_MAX);
    retire_handle(disk);
    for (unsigned i = 0; i < DPX_LANES; i++) {
        dpx_queue *lane = &disk->lanes[i];
        dpx_lane_quit(lane);
        for (uint32_t w = 0; w < lane->worker_count; w++)
            dpx_thread_leave(&lane->workers[w]->thread);
    }
    dpx_clerk_quit(disk);
    dpx_opener_quit(disk);
    dpx_thread_leave(&disk->clerk.thread);
    dpx_thread_leave(&disk->opener.thread);
}

bool dpx_disk_stop(dpx_disk *disk, uint64_t deadline)
{
    atomic_fetch_add(&disk->watchers, 1);
    for (unsigned i = 0; i < DPX_LANES; i++)
        dpx_lane_close(&disk->lanes[i]);
    bool ended = await(disk, quiet, deadline);
    if (ended) {
        uint64_t patient = dpx_now() + CLOSE_GRACE;
        retire_handle(disk);
        ended = await(disk, dpx_opener_idle, deadline > patient ? deadline : patient);
    }
    if (ended)
        end(disk);
    else
        abandon(disk);
    return ended;
}
