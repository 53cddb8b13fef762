/* What this process has seen of the slots outlives it (‡D11): recalled when it joins, kept now and then, and when it
 * ends.  Files may hang: they are read by the caller who joins, and written by a thread of their own for which nobody
 * waits for long. */
#include "engine.h"
#include "sightings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define END_PATIENCE (250 * DPX_MS) /* of a host that ends */

/* The thread may outlive the host: what it needs is its own. */
struct dpx_keeping {
    _Atomic uint32_t users;   /* the host, and the thread while there is one */
    _Atomic uint32_t written; /* futex: counts what was written, or could not be */
    uint32_t begun;
    uint64_t next;
    dpx_sightings_place place;
    dpx_sighting sightings[];
};

static void drop(dpx_keeping *keeping)
{
    if (atomic_fetch_sub(&keeping->users, 1) == 1)
        free(keeping);
}

/* Before the first look at the slots. */
void dpx_recall_open(dpx_host *host)
{
    static const dpx_uuid unknown;
    uint32_t count = dpx_sightings_count(&host->geometry);
    bool nowhere = host->options.runtime_directory[0] == 0 || dpx_uuid_equal(&host->options.boot, &unknown);
    if (nowhere || !dpx_sightings_clock())
        return;
    dpx_keeping *keeping = calloc(1, sizeof *keeping + count * sizeof keeping->sightings[0]);
    if (!keeping)
        return; /* it only saves time */
    atomic_store(&keeping->users, 1);
    keeping->place.geometry = host->geometry;
    keeping->place.boot = host->options.boot;
    snprintf(keeping->place.directory, sizeof keeping->place.directory, "%s", host->options.runtime_directory);
    bool known = dpx_sightings_load(&keeping->place, keeping->sightings);
    uint64_t now = dpx_now();
    for (uint32_t i = 0; known && i < count; i++)
        dpx_peers_recall(host->world.peers, &keeping->sightings[i], now);
    host->keeping = keeping;
}

static void through(dpx_keeping *keeping)
{
    atomic_fetch_add(&keeping->written, 1);
    dpx_futex_wake(&keeping->written);
    drop(keeping);
}

static void *keep_main(void *argument)
{
    dpx_keeping *keeping = argument;
    (void)dpx_sightings_save(&keeping->place, keeping->sightings);
    through(keeping);
    return NULL;
}

/* Lets go of the lock. */
static void keep(dpx_host *host)
{
    dpx_keeping *keeping = host->keeping;
    pthread_t thread;
    if (atomic_load(&keeping->written) != keeping->begun)
        return; /* the last one hangs */
    dpx_peers_sightings(host->world.peers, keeping->sightings);
    keeping->begun++;
    atomic_fetch_add(&keeping->users, 1);
    dpx_unlock(host);
    if (dpx_host_thread(&thread, keep_main, keeping, NULL, 0) == 0)
        pthread_detach(thread);
    else
        through(keeping);
    dpx_lock(host);
}

/* While a slot stands still that somebody may come to want. */
void dpx_recall_run(dpx_host *host, uint64_t now)
{
    uint64_t period = host->geometry.outage_tolerance / 8;
    if (!host->keeping || now < host->keeping->next || !dpx_peers_worth_keeping(host->world.peers, now, 2 * period))
        return;
    host->keeping->next = now + period;
    keep(host);
}

static bool await_written(dpx_keeping *keeping, uint64_t deadline)
{
    for (;;) {
        uint32_t written = atomic_load(&keeping->written);
        uint64_t now = dpx_now();
        if (written == keeping->begun || now >= deadline)
            return written == keeping->begun;
        dpx_futex_wait(&keeping->written, written, deadline - now);
    }
}

/* A life may have been too short to tell who stands still: whoever comes next may. */
void dpx_recall_close(dpx_host *host)
{
    uint64_t now = dpx_now();
    dpx_keeping *keeping = host->keeping;
    if (!keeping)
        return;
    uint64_t deadline = now + END_PATIENCE;
    bool free_to = await_written(keeping, deadline);
    dpx_lock(host);
    if (free_to && dpx_peers_worth_keeping(host->world.peers, now, 0))
        keep(host);
    host->keeping = NULL;
    dpx_unlock(host);
    await_written(keeping, deadline);
    drop(keeping);
}
