/* Lanes: a queue of requests and its workers.
 *
 * The queue is the truth, a ring of a worker's bell only a hint: one idle worker is woken
 * per request, the one that went to sleep last, and whoever is awake first takes the
 * oldest request.  A request that a callback queues in its own lane wakes nobody: the
 * worker that calls back takes it as soon as it returns. */
#include "inside.h"

#include <errno.h>
#include <string.h>

static _Thread_local dpx_worker *this_worker;

static int first_error(const dpx_extent *extents, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (extents[i].error)
            return extents[i].error;
    return 0;
}

/* ---- carrying one request out ---- */

typedef struct permit_context {
    dpx_queue *lane;
    const _Atomic uint64_t *gate;
} permit_context;

static int permit(void *context, bool write, uint64_t *now)
{
    const permit_context *asked = context;
    uint64_t limit = UINT64_MAX;
    /* Once abandoned, the gate may be freed memory: looked at under the lock only. */
    pthread_mutex_lock(&asked->lane->lock);
    bool abandoned = asked->lane->abandoned;
    if (!abandoned && write && asked->gate)
        limit = atomic_load(asked->gate);
    pthread_mutex_unlock(&asked->lane->lock);
    *now = dpx_now(); /* last of all: what follows it is the system call */
    if (abandoned)
        return -ECANCELED;
    return *now >= limit ? -ETIME : 0;
}

static void carry(dpx_worker *worker, dpx_request *request, const dpx_handle *handle)
{
    permit_context asked = {worker->lane, (const _Atomic uint64_t *)request->queue.gate};
    dpx_batch batch = {
        .fd = handle->fd,
        .plain = handle->plain,
        .write = true,
        .block_size = atomic_load(&worker->disk->block_size),
        .extents = request->writes,
        .count = request->write_count,
        .permit = permit,
        .context = &asked,
        .depth = &worker->lane->now,
        .queueing = atomic_load(&worker->disk->queueing),
        .moved_at = &request->moved_at,
    };
    int error = dpx_aio_run(&worker->aio, &batch);
    request->writes_issued = batch.issued;
    request->write_issued_at = batch.issued_at;
    request->write_completed_at = batch.completed_at;
    if (error) {
        for (uint32_t i = 0; i < request->read_count; i++)
            request->reads[i].error = -ECANCELED;
        request->error = error;
        return;
    }
    batch.write = false;
    batch.extents = request->reads;
    batch.count = request->read_count;
    batch.issued = false;
    batch.issued_at = batch.completed_at = 0;
    dpx_aio_run(&worker->aio, &batch);
    request->read_issued_at = batch.issued_at;
    request->read_completed_at = batch.completed_at;
    request->error = first_error(request->reads, request->read_count);
}

/* ---- workers ---- */

static dpx_request *take_head(dpx_queue *lane)
{
    dpx_request *request = lane->abandoned ? NULL : lane->head; /* then the clerk gets them all */
    if (request) {
        lane->head = request->queue.next;
        if (!lane->head)
            lane->tail = NULL;
    }
    return request;
}

/* Sleeps until there is a request; NULL: the end.  The worker counts as busy from here on. */
static dpx_request *next_request(dpx_worker *worker, dpx_handle **handle)
{
    dpx_queue *lane = worker->lane;
    pthread_mutex_lock(&lane->lock);
    dpx_request *request;
    while (!(request = take_head(lane)) && !lane->quit) {
        atomic_store(&worker->bell, 0);
        worker->next_idle = lane->idle;
        lane->idle = worker; /* whoever takes it from there rings */
        pthread_mutex_unlock(&lane->lock);
        while (!atomic_load(&worker->bell))
            dpx_sleep(&worker->bell, 0, UINT64_MAX);
        dpx_bond_end(&worker->bond);
        pthread_mutex_lock(&lane->lock);
    }
    if (request) {
        lane->busy++;
        *handle = lane->handle;
        atomic_fetch_add(&lane->handle->users, 1);
    }
    pthread_mutex_unlock(&lane->lock);
    return request;
}

static void call_back(dpx_worker *worker, dpx_request *request)
{
    dpx_queue *lane = worker->lane;
    pthread_mutex_lock(&lane->lock);
    bool abandoned = lane->abandoned;
    if (!abandoned)
        lane->calling++;
    pthread_mutex_unlock(&lane->lock);
    if (abandoned)
        return;
    atomic_fetch_sub(&worker->disk->outstanding, 1);
    worker->calling = true;
    worker->kept = false;
    request->queue.done(request->queue.context, request); /* the request may be gone after this */
    worker->calling = false;
    pthread_mutex_lock(&lane->lock);
    lane->calling--;
    pthread_mutex_unlock(&lane->lock);
}

static void work(void *argument)
{
    dpx_worker *worker = argument;
    dpx_request *request;
    dpx_handle *handle;
    this_worker = worker;
    dpx_bond_self(&worker->bond);
    while ((request = next_request(worker, &handle)) != NULL) {
        carry(worker, request, handle);
        dpx_handle_drop(worker->disk, handle);
        call_back(worker, request);
        pthread_mutex_lock(&worker->lane->lock);
        worker->lane->busy--;
        pthread_mutex_unlock(&worker->lane->lock);
        dpx_disk_event(worker->disk);
    }
    if (worker->lane->abandoned)
        dpx_aio_end(&worker->aio); /* nobody joins this thread */
}

/* ---- the lane ---- */

int dpx_lane_init(dpx_disk *disk, dpx_queue *lane, const char *name, uint32_t depth, uint32_t wanted)
{
    lane->name = name;
    lane->depth = depth;
    dpx_depth_start(&lane->now);
    lane->wanted = wanted;
    int error = dpx_lock_init(&lane->lock);
    for (uint32_t i = 0; i < wanted && error == 0; i++)
        error = dpx_lane_add_worker(disk, lane);
    return error;
}

int dpx_lane_add_worker(dpx_disk *disk, dpx_queue *lane)
{
    uint32_t count = atomic_load(&lane->worker_count);
    if (count == DPX_MAX_WORKERS)
        return -EAGAIN;
    dpx_worker *worker = dpx_buffer_new(sizeof *worker);
    if (!worker)
        return -ENOMEM;
    worker->disk = disk;
    worker->lane = lane;
    int error = dpx_aio_start(&worker->aio, lane->depth);
    if (error == 0)
        error = dpx_thread_start(&worker->thread, lane->name, work, worker);
    if (error != 0) {
        dpx_aio_end(&worker->aio);
        dpx_buffer_free(worker, sizeof *worker);
        return error;
    }
    int priority = atomic_load(&disk->realtime_priority);
    if (lane == &disk->lanes[DPX_LANE_HEART] && priority > 0)
        dpx_thread_harden(&worker->thread, priority); /* a replacement; refused before, if at all */
    lane->workers[count] = worker;
    atomic_store(&lane->worker_count, count + 1);
    return 0;
}

/* Why a request is not even queued; under the lock. */
static int refusal(const dpx_disk *disk, const dpx_queue *lane, const dpx_request *request)
{
    if (lane->closed)
        return -ECANCELED;
    if (!lane->handle)
        return -ENODEV;
    return disk->read_only && request->write_count > 0 ? -EROFS : 0;
}

void dpx_lane_submit(dpx_disk *disk, dpx_queue *lane, dpx_request *request, bool near)
{
    dpx_worker *woken = NULL;
    pthread_mutex_lock(&lane->lock);
    int error = refusal(disk, lane, request);
    if (error == 0) {
        if (lane->tail)
            lane->tail->queue.next = request;
        else
            lane->head = request;
        lane->tail = request;
        if (this_worker && this_worker->lane == lane && this_worker->calling && !this_worker->kept) {
            this_worker->kept = true;
        } else if (lane->idle) {
            woken = lane->idle;
            lane->idle = woken->next_idle;
        }
    }
    pthread_mutex_unlock(&lane->lock);
    if (woken) {
        if (near)
            dpx_bond_here(&woken->bond);
        atomic_store(&woken->bell, 1);
        dpx_wake(&woken->bell, 1);
    }
    if (error != 0)
        dpx_clerk_give(disk, request, error);
}

dpx_request *dpx_lane_take_older(dpx_queue *lane, uint64_t since)
{
    dpx_request *taken = NULL;
    dpx_request **last = &taken;
    pthread_mutex_lock(&lane->lock);
    /* Not in strict order of time: submitters read their clocks before they get the lock. */
    dpx_request *kept = NULL;
    for (dpx_request *request = lane->head, *next; request; request = next) {
        next = request->queue.next;
        if (request->queue.since < since) {
            request->queue.next = NULL;
            *last = request;
            last = &request->queue.next;
            continue;
        }
        if (kept)
            kept->queue.next = request;
        else
            lane->head = request;
        kept = request;
    }
    if (kept)
        kept->queue.next = NULL;
    else
        lane->head = NULL;
    lane->tail = kept;
    pthread_mutex_unlock(&lane->lock);
    return taken;
}

dpx_handle *dpx_lane_change(dpx_disk *disk, dpx_queue *lane, dpx_handle *handle)
{
    if (handle)
        atomic_fetch_add(&handle->users, 1);
    pthread_mutex_lock(&lane->lock);
    dpx_handle *old = lane->handle;
    dpx_request *meant_for_old = lane->head;
    bool all_busy = !lane->idle;
    lane->handle = handle;
    lane->head = lane->tail = NULL;
    pthread_mutex_unlock(&lane->lock);
    dpx_clerk_give(disk, meant_for_old, -ENODEV);
    /* All workers may be hanging in the old device for ever: the new one gets others. */
    uint32_t limit = 4 * lane->wanted < DPX_MAX_WORKERS ? 4 * lane->wanted : DPX_MAX_WORKERS;
    for (uint32_t i = 0; handle && old && all_busy && i < lane->wanted; i++)
        if (atomic_load(&lane->worker_count) >= limit || dpx_lane_add_worker(disk, lane) != 0)
            break;
    return old;
}

bool dpx_lane_idle(dpx_queue *lane)
{
    pthread_mutex_lock(&lane->lock);
    bool idle = !lane->head && lane->busy == 0;
    pthread_mutex_unlock(&lane->lock);
    return idle;
}

void dpx_lane_close(dpx_queue *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->closed = true;
    pthread_mutex_unlock(&lane->lock);
}

void dpx_lane_abandon(dpx_disk *disk, dpx_queue *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->abandoned = true;
    pthread_mutex_unlock(&lane->lock);
    for (;;) {
        uint32_t seen = atomic_load(&disk->event);
        pthread_mutex_lock(&lane->lock);
        bool calling = lane->calling > 0;
        pthread_mutex_unlock(&lane->lock);
        if (!calling)
            return;
        dpx_disk_await(disk, seen, UINT64_MAX);
    }
}

void dpx_lane_quit(dpx_queue *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->quit = true;
    for (dpx_worker *worker = lane->idle, *next; worker; worker = next) {
        next = worker->next_idle;
        atomic_store(&worker->bell, 1);
        dpx_wake(&worker->bell, 1);
    }
    lane->idle = NULL;
    pthread_mutex_unlock(&lane->lock);
}

void dpx_lane_end(dpx_queue *lane)
{
    for (uint32_t i = 0; i < lane->worker_count; i++) {
        dpx_thread_join(&lane->workers[i]->thread);
        dpx_aio_end(&lane->workers[i]->aio);
        dpx_buffer_free(lane->workers[i], sizeof *lane->workers[i]);
    }
    pthread_mutex_destroy(&lane->lock);
}
