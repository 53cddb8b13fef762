/* The opener: opens and closes, one at a time, so that what hangs in either hangs nobody else. */
#include "inside.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static void ring(dpx_opener *opener)
{
    atomic_store(&opener->bell, 1);
    dpx_wake(&opener->bell, 1);
}

static void close_handle(dpx_handle *handle)
{
    close(handle->fd);
    free(handle);
}

/* Under the lock.  A user less; true: it was the last one. */
static bool drop(dpx_opener *opener, dpx_handle *handle)
{
    if (atomic_fetch_sub(&handle->users, 1) != 1)
        return false;
    handle->next = opener->closing;
    opener->closing = handle;
    return true;
}

void dpx_handle_drop(dpx_disk *disk, dpx_handle *handle)
{
    /* Nearly always others use it still: then the lock is not worth taking. */
    uint32_t users = atomic_load(&handle->users);
    while (users > 1)
        if (atomic_compare_exchange_weak(&handle->users, &users, users - 1))
            return;
    pthread_mutex_lock(&disk->opener.lock);
    bool gone = disk->opener.gone;
    bool last = !gone && drop(&disk->opener, handle);
    pthread_mutex_unlock(&disk->opener.lock);
    if (last)
        ring(&disk->opener);
    /* A worker that returned after its disk was given up: nobody else is left to do it. */
    if (gone && atomic_fetch_sub(&handle->users, 1) == 1)
        close_handle(handle);
}

/* Opens into a new handle, of which the opener is the one user. */
static int open_handle(dpx_disk *disk, dpx_handle **out, dpx_disk_facts *facts)
{
    dpx_handle *handle = calloc(1, sizeof *handle);
    if (!handle)
        return -ENOMEM;
    int error = dpx_path_open(disk->path, disk->read_only, &handle->fd, facts);
    if (error != 0) {
        free(handle);
        return error;
    }
    handle->plain = facts->plain_drains;
    handle->users = 1;
    *out = handle;
    return 0;
}

/* All requests go to the new handle from now on. */
static void install(dpx_disk *disk, dpx_handle *handle)
{
    for (unsigned lane = 0; lane < DPX_LANES; lane++) {
        dpx_handle *old = dpx_lane_change(disk, &disk->lanes[lane], handle);
        if (old)
            drop(&disk->opener, old);
    }
    atomic_store(&disk->opened, true);
}

/* One attempt; the lock is held before and after, not while it may hang. */
static void attempt(dpx_disk *disk, dpx_errand *errand)
{
    dpx_opener *opener = &disk->opener;
    dpx_handle *handle = NULL;
    dpx_disk_facts facts;
    bool opens = errand == &opener->open;
    errand->wanted = false;
    errand->begun++;
    pthread_mutex_unlock(&opener->lock);
    int error = opens ? open_handle(disk, &handle, &facts) : dpx_path_leads(disk->path, &facts);
    pthread_mutex_lock(&opener->lock);
    errand->error = error;
    errand->finished = errand->begun;
    if (error == 0)
        errand->facts = facts;
    if (handle) {
        opener->open_handles++;
        /* When nobody waits for it any more, nobody would check what the path led to. */
        if (errand->waiting > 0 && !opener->quit)
            install(disk, handle);
        drop(opener, handle);
    }
    dpx_disk_event(disk);
}

static void close_one(dpx_disk *disk)
{
    dpx_opener *opener = &disk->opener;
    dpx_handle *handle = opener->closing;
    opener->closing = handle->next;
    pthread_mutex_unlock(&opener->lock);
    close_handle(handle);
    pthread_mutex_lock(&opener->lock);
    opener->open_handles--;
    dpx_disk_event(disk);
}

static void serve(void *argument)
{
    dpx_disk *disk = argument;
    dpx_opener *opener = &disk->opener;
    pthread_mutex_lock(&opener->lock);
    for (;;) {
        if (opener->open.wanted && !opener->quit) {
            attempt(disk, &opener->open);
        } else if (opener->look.wanted && !opener->quit) {
            attempt(disk, &opener->look);
        } else if (opener->closing) {
            close_one(disk);
        } else if (opener->quit) {
            break;
        } else {
            atomic_store(&opener->bell, 0);
            pthread_mutex_unlock(&opener->lock);
            dpx_sleep(&opener->bell, 0, UINT64_MAX);
            pthread_mutex_lock(&opener->lock);
        }
    }
    opener->gone = true;
    pthread_mutex_unlock(&opener->lock);
}

int dpx_opener_start(dpx_disk *disk)
{
    int error = dpx_lock_init(&disk->opener.lock);
    return error ? error : dpx_thread_start(&disk->opener.thread, "dpx-open", serve, disk);
}

static int run_errand(dpx_disk *disk, dpx_errand *errand, uint64_t deadline, dpx_disk_facts *facts)
{
    dpx_opener *opener = &disk->opener;
    atomic_fetch_add(&disk->watchers, 1);
    pthread_mutex_lock(&opener->lock);
    errand->waiting++;
    /* An attempt that hangs is joined, not queued behind: it ends when the storage is back. */
    bool running = errand->begun > errand->finished;
    uint64_t mine = running ? errand->begun : errand->begun + 1;
    errand->wanted |= !running;
    bool in_time = true;
    ring(opener);
    while (errand->finished < mine && in_time) {
        uint32_t seen = atomic_load(&disk->event);
        pthread_mutex_unlock(&opener->lock);
        in_time = dpx_disk_await(disk, seen, deadline);
        pthread_mutex_lock(&opener->lock);
    }
    errand->waiting--;
    int error = errand->finished >= mine ? errand->error : -ETIMEDOUT;
    if (error == 0)
        *facts = errand->facts;
    if (errand->waiting == 0)
        errand->wanted = false;
    pthread_mutex_unlock(&opener->lock);
    atomic_fetch_sub(&disk->watchers, 1);
    return error;
}

int dpx_disk_open(dpx_disk *disk, uint64_t deadline, dpx_disk_facts *facts)
{
    return run_errand(disk, &disk->opener.open, deadline, facts);
}

int dpx_disk_leads(dpx_disk *disk, uint64_t deadline, dpx_disk_facts *facts)
{
    return run_errand(disk, &disk->opener.look, deadline, facts);
}

bool dpx_opener_idle(dpx_disk *disk)
{
    dpx_opener *opener = &disk->opener;
    pthread_mutex_lock(&opener->lock);
    bool idle = opener->open.begun == opener->open.finished && opener->look.begun == opener->look.finished &&
                opener->open_handles == 0;
    pthread_mutex_unlock(&opener->lock);
    return idle;
}

void dpx_opener_quit(dpx_disk *disk)
{
    pthread_mutex_lock(&disk->opener.lock);
    disk->opener.quit = true;
    disk->opener.open.wanted = disk->opener.look.wanted = false;
    pthread_mutex_unlock(&disk->opener.lock);
    ring(&disk->opener);
}
