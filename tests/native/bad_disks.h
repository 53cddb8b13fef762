/* The I/O room once more (io/disk.h), over memory, with faults to order: linked instead of
 * the real one where a test wants errors at every I/O.
 *
 * Per disk: errors in so many of a thousand requests (a failed write has landed or not, by
 * chance), delays, hanging before or after the I/O took place, being gone altogether.
 * And a clock that jumps, as a machine that was stopped finds it. */
#ifndef DPX_TEST_BAD_DISKS_H
#define DPX_TEST_BAD_DISKS_H

#include "hosts.h"

#include <pthread.h>

enum { BAD_DISKS = 3, BAD_WORKERS = 4 };

static struct bad_disk {
    pthread_mutex_t lock; /* of the data: blocks are atomic, reads of many are not */
    uint8_t *data;
    size_t bytes;
    atomic_uint errors;   /* of a thousand requests */
    atomic_uint delay;    /* at most, microseconds */
    atomic_uint lag;      /* of every write, microseconds, once it took place */
    atomic_bool holds;    /* writes, before they are issued … */
    atomic_uint held;     /* … so many of them */
    atomic_bool holds_reads;
    atomic_uint held_reads;
    atomic_bool hangs;
    atomic_bool gone;
    atomic_uint writes, failed;
} bad_disks[BAD_DISKS] = {{.lock = PTHREAD_MUTEX_INITIALIZER},
                          {.lock = PTHREAD_MUTEX_INITIALIZER},
                          {.lock = PTHREAD_MUTEX_INITIALIZER}};

typedef struct bad_worker {
    pthread_t id;
    dpx_disk *disk;
    dpx_lane lane;
    _Atomic uint64_t busy_since;
    uint64_t random;
} bad_worker;

struct dpx_disk {
    struct bad_disk *bad;
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    dpx_request *head[2];
    bool quit;
    atomic_bool opened;
    atomic_uint outstanding;
    _Atomic uint32_t block_size;
    bad_worker workers[BAD_WORKERS];
};

static _Atomic uint64_t bad_clock_ahead;
static _Thread_local unsigned bad_clock_asked, bad_clock_jumps; /* at which question of this thread; 0: never */

/* What sleeps in the kernel sleeps on: a jump is noticed by whoever asks. */
uint64_t dpx_now(void)
{
    struct timespec now;
    if (++bad_clock_asked == bad_clock_jumps)
        bad_clock_ahead += 60 * SECOND;
    clock_gettime(CLOCK_BOOTTIME, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec + bad_clock_ahead;
}

void *dpx_buffer_new(size_t bytes)
{
    void *buffer = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
    return buffer ? memset(buffer, 0, bytes) : NULL;
}

void dpx_buffer_free(void *buffer, size_t bytes)
{
    (void)bytes;
    free(buffer);
}

static inline uint64_t bad_roll(bad_worker *worker)
{
    worker->random = worker->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return worker->random >> 33;
}

static inline int bad_luck(bad_worker *worker)
{
    static const int errors[] = {-EIO, -ENOSPC, -ENXIO};
    struct bad_disk *bad = worker->disk->bad;
    if (bad->gone)
        return -ENXIO;
    return bad_roll(worker) % 1000 < bad->errors ? errors[bad_roll(worker) % 3] : 0;
}

static inline void bad_wait(bad_worker *worker)
{
    struct bad_disk *bad = worker->disk->bad;
    if (bad->delay > 0)
        usleep((useconds_t)(bad_roll(worker) % bad->delay));
    while (bad->hangs && !worker->disk->quit)
        usleep(1000);
}

static inline void bad_hold(bad_worker *worker, const atomic_bool *holds, atomic_uint *held)
{
    ++*held;
    while (*holds && !worker->disk->quit)
        usleep(500);
    --*held;
}

static inline int bad_extents(bad_worker *worker, dpx_extent *extents, uint32_t count, bool write)
{
    dpx_disk *disk = worker->disk;
    int error = 0;
    for (uint32_t i = 0; i < count; i++) {
        size_t at = extents[i].block * disk->block_size, bytes = (size_t)extents[i].count * disk->block_size;
        extents[i].error = at + bytes > disk->bad->bytes ? -EIO : bad_luck(worker);
        bool lands = extents[i].error == 0 || (write && bad_roll(worker) % 2 && !disk->bad->gone);
        if (lands && at + bytes <= disk->bad->bytes) {
            pthread_mutex_lock(&disk->bad->lock);
            if (write)
                memcpy(disk->bad->data + at, extents[i].data, bytes);
            else
                memcpy(extents[i].data, disk->bad->data + at, bytes);
            pthread_mutex_unlock(&disk->bad->lock);
        }
        disk->bad->failed += extents[i].error != 0;
        disk->bad->writes += write;
        if (error == 0)
            error = extents[i].error;
    }
    return error;
}

static inline void bad_carry_out(bad_worker *worker, dpx_request *request)
{
    const _Atomic uint64_t *gate = request->queue.gate;
    request->error = 0;
    request->writes_issued = false;
    request->write_issued_at = request->write_completed_at = 0;
    request->read_issued_at = request->read_completed_at = 0;
    if (request->write_count > 0) {
        if (bad_roll(worker) % 2)
            bad_wait(worker);
        bad_hold(worker, &worker->disk->bad->holds, &worker->disk->bad->held);
        request->write_issued_at = dpx_now();
        if (gate && request->write_issued_at >= *gate) {
            request->error = -ETIME;
        } else {
            request->writes_issued = true;
            request->error = bad_extents(worker, request->writes, request->write_count, true);
            bad_wait(worker); /* it took place, but that is not known yet */
            if (worker->disk->bad->lag > 0)
                usleep((useconds_t)worker->disk->bad->lag);
            request->write_completed_at = dpx_now();
        }
    }
    for (uint32_t i = 0; request->error != 0 && i < request->read_count; i++)
        request->reads[i].error = -ECANCELED;
    if (request->error != 0 || request->read_count == 0)
        return;
    request->read_issued_at = dpx_now();
    bad_hold(worker, &worker->disk->bad->holds_reads, &worker->disk->bad->held_reads);
    request->error = bad_extents(worker, request->reads, request->read_count, false);
    bad_wait(worker);
    request->read_completed_at = dpx_now();
}

static inline void *bad_main(void *argument)
{
    bad_worker *worker = argument;
    dpx_disk *disk = worker->disk;
    pthread_mutex_lock(&disk->lock);
    while (!disk->quit) {
        dpx_request *request = disk->head[worker->lane];
        if (!request) {
            pthread_cond_wait(&disk->wanted, &disk->lock);
            continue;
        }
        disk->head[worker->lane] = request->queue.next;
        worker->busy_since = dpx_now();
        pthread_mutex_unlock(&disk->lock);
        bad_carry_out(worker, request);
        worker->busy_since = 0;
        disk->outstanding--;
        request->queue.done(request->queue.context, request);
        pthread_mutex_lock(&disk->lock);
    }
    pthread_mutex_unlock(&disk->lock);
    return NULL;
}

/* ---- the interface ---- */

int dpx_disk_start(const char *path, bool read_only, uint32_t workers, dpx_disk **out)
{
    dpx_disk *disk = calloc(1, sizeof *disk);
    (void)read_only;
    (void)workers;
    disk->bad = &bad_disks[(unsigned)(path[strlen(path) - 1] - '0') % BAD_DISKS];
    disk->block_size = 512;
    pthread_mutex_init(&disk->lock, NULL);
    pthread_cond_init(&disk->wanted, NULL);
    for (unsigned i = 0; i < BAD_WORKERS; i++) {
        disk->workers[i] = (bad_worker){.disk = disk, .lane = i == 0 ? DPX_LANE_HEART : DPX_LANE_WORK};
        disk->workers[i].random = dpx_now() + i;
        pthread_create(&disk->workers[i].id, NULL, bad_main, &disk->workers[i]);
    }
    *out = disk;
    return 0;
}

int dpx_disk_open(dpx_disk *disk, uint64_t deadline, dpx_disk_facts *facts)
{
    if (disk->bad->gone)
        return -ENOENT;
    while (disk->bad->hangs && dpx_now() < deadline)
        usleep(1000);
    if (disk->bad->hangs)
        return -ETIMEDOUT;
    *facts = (dpx_disk_facts){.bytes = disk->bad->bytes, .logical_block = 512,
                              .inode = (uint64_t)(disk->bad - bad_disks) + 1};
    disk->opened = true;
    return 0;
}

int dpx_disk_leads(dpx_disk *disk, uint64_t deadline, dpx_disk_facts *facts)
{
    (void)deadline;
    *facts = (dpx_disk_facts){.inode = (uint64_t)(disk->bad - bad_disks) + 1};
    return disk->bad->gone ? -ENOENT : disk->bad->hangs ? -ETIMEDOUT : 0;
}

bool dpx_disk_is_open(const dpx_disk *disk)
{
    return disk->opened;
}

void dpx_disk_block_size(dpx_disk *disk, uint32_t bytes)
{
    disk->block_size = bytes;
}

void dpx_disk_queueing(dpx_disk *disk, uint64_t time)
{
    (void)disk, (void)time;
}

void dpx_disk_submit(dpx_disk *disk, dpx_lane lane, dpx_request *request, const _Atomic uint64_t *gate,
                     dpx_disk_done *done, void *context)
{
    request->queue.next = NULL;
    request->queue.since = dpx_now();
    request->queue.gate = gate;
    request->queue.done = done;
    request->queue.context = context;
    disk->outstanding++;
    pthread_mutex_lock(&disk->lock);
    dpx_request **at = &disk->head[lane];
    while (*at)
        at = &(*at)->queue.next;
    *at = request;
    pthread_cond_broadcast(&disk->wanted);
    pthread_mutex_unlock(&disk->lock);
}

void dpx_disk_submit_near(dpx_disk *disk, dpx_lane lane, dpx_request *request, const _Atomic uint64_t *gate,
                          dpx_disk_done *done, void *context)
{
    dpx_disk_submit(disk, lane, request, gate, done, context);
}

void dpx_disk_expire(dpx_disk *disk, uint64_t since)
{
    dpx_request *expired = NULL;
    pthread_mutex_lock(&disk->lock);
    for (unsigned lane = 0; lane < 2; lane++) {
        for (dpx_request **at = &disk->head[lane]; *at;) {
            dpx_request *request = *at;
            if (request->queue.since >= since) {
                at = &request->queue.next;
                continue;
            }
            *at = request->queue.next;
            request->queue.next = expired;
            expired = request;
        }
    }
    pthread_mutex_unlock(&disk->lock);
    while (expired) {
        dpx_request *request = expired;
        expired = request->queue.next;
        request->error = -ETIMEDOUT;
        request->writes_issued = false;
        for (uint32_t i = 0; i < request->write_count; i++)
            request->writes[i].error = -ETIMEDOUT;
        for (uint32_t i = 0; i < request->read_count; i++)
            request->reads[i].error = -ETIMEDOUT;
        disk->outstanding--;
        request->queue.done(request->queue.context, request);
    }
}

uint64_t dpx_disk_oldest(const dpx_disk *disk)
{
    uint64_t oldest = 0;
    for (unsigned i = 0; i < BAD_WORKERS; i++) {
        uint64_t since = disk->workers[i].busy_since;
        if (since != 0 && (oldest == 0 || since < oldest))
            oldest = since;
    }
    return oldest;
}

uint32_t dpx_disk_outstanding(const dpx_disk *disk)
{
    return disk->outstanding;
}

int dpx_disk_harden(dpx_disk *disk, int realtime_priority)
{
    (void)disk;
    (void)realtime_priority;
    return 0;
}

bool dpx_disk_stop(dpx_disk *disk, uint64_t deadline)
{
    while (disk->outstanding > 0 && dpx_now() < deadline)
        usleep(1000);
    if (disk->outstanding > 0)
        return false;
    pthread_mutex_lock(&disk->lock);
    disk->quit = true;
    pthread_cond_broadcast(&disk->wanted);
    pthread_mutex_unlock(&disk->lock);
    for (unsigned i = 0; i < BAD_WORKERS; i++)
        pthread_join(disk->workers[i].id, NULL);
    pthread_mutex_destroy(&disk->lock);
    pthread_cond_destroy(&disk->wanted);
    free(disk);
    return true;
}

/* ---- formatting ---- */

static inline void make_bad_lockspace(lockspace *made, const dpx_geometry *geometry)
{
    made->geometry = *geometry;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        struct bad_disk *bad = &bad_disks[d];
        bad->bytes = geometry->total_blocks * geometry->block_size;
        free(bad->data);
        bad->data = calloc(1, bad->bytes);
        for (uint64_t block = 1; block < geometry->total_blocks; block++)
            dpx_empty_encode(bad->data + block * geometry->block_size, geometry, d, block, 1);
        dpx_superblock_encode(bad->data, geometry, d, 1, 1);
        bad->errors = bad->delay = bad->lag = bad->writes = bad->failed = 0;
        bad->hangs = bad->gone = bad->holds = bad->holds_reads = false;
        snprintf(made->paths[d], sizeof made->paths[d], "bad:%u", d);
        made->list[d] = made->paths[d];
    }
}

#endif
