/* Writes that outlive their process, and paths that work again. */
#include "checker.h"

#include <errno.h>
#include <string.h>

enum { ORPHAN_BYTES = 1 << 20 };

static void reschedule(world *w, flight *f, uint64_t at)
{
    f->parked = false;
    f->stamp = ++w->stamp;
    f->return_at = at;
    trouble(w, f->host, at);
    event_push(w, at, EVENT_RETURN, f->host, (uint16_t)(f - w->flights), f->stamp);
}

static void keep_data(world *w, flight *f)
{
    size_t bytes = (size_t)f->count * w->geometry->block_size;
    if (w->orphan_used + bytes > ORPHAN_BYTES) {
        f->lands = false;
        return;
    }
    memcpy(w->orphans + w->orphan_used, f->data, bytes);
    f->data = w->orphans + w->orphan_used;
    w->orphan_used += bytes;
}

void disk_orphan(world *w, host *h, bool power_lost)
{
    for (uint16_t i = 0; i < MAX_CALLS; i++)
        if (w->calls[i].used && w->calls[i].host == h->index)
            call_free(w, &w->calls[i]);
    for (uint16_t i = 0; i < w->flight_top; i++) {
        flight *f = &w->flights[i];
        if (!f->used || f->host != h->index || !f->extent)
            continue;
        if (!f->write) {
            flight_free(w, f);
            continue;
        }
        f->extent = NULL;
        if (power_lost && !f->landed && rng_below(&w->chance, 2) == 0) {
            fault_note(w, FAULT_LOST_WRITE);
            if (f->done > 0)
                damage_tear(w, f);
            flight_free(w, f);
        } else if (!f->landed) {
            keep_data(w, f);
        }
    }
    /* Returns that waited for a stopped process: there is nobody to take them any more. */
    for (uint32_t i = 0; i < h->deferred_count && i < MAX_DEFERRED; i++) {
        event *e = &h->deferred[i];
        if (e->kind != EVENT_RETURN && e->kind != EVENT_LAND)
            continue;
        flight *f = &w->flights[e->index];
        if (f->used && f->stamp == e->stamp && !f->extent)
            flight_free(w, f);
    }
    h->deferred_count = 0;
}

bool disk_idle(const world *w, const host *h)
{
    for (uint16_t i = 0; i < MAX_CALLS; i++)
        if (w->calls[i].used && w->calls[i].host == h->index)
            return false;
    return true;
}

/* Of the writes that outlived their process one lands soon. */
void disk_let_go(world *w)
{
    uint16_t start = (uint16_t)rng_below(&w->chance, (uint32_t)w->flight_top + 1);
    for (uint16_t i = 0; i < w->flight_top; i++) {
        flight *f = &w->flights[(start + i) % w->flight_top];
        if (!f->used || f->extent || f->landed || !f->lands || f->parked)
            continue;
        fault_note(w, FAULT_GHOST_LET_GO);
        reschedule(w, f, w->now + 1 + rng_time(&w->chance, w->geometry->outage_tolerance / 4));
        return;
    }
}

void disk_settle_box(world *w, uint8_t number)
{
    for (uint16_t i = 0; i < w->flight_top; i++) {
        flight *f = &w->flights[i];
        if (!f->used || f->extent || life_box(w, f->life) != number)
            continue;
        if (f->done > 0 || rng_below(&w->chance, 2) == 0) {
            reschedule(w, f, w->now);
            event e = {.kind = EVENT_RETURN, .index = i, .stamp = f->stamp, .host = f->host};
            disk_event(w, &e);
        } else {
            fault_note(w, FAULT_LOST_WRITE);
            flight_free(w, f);
        }
    }
}

/* A path works again: what hung there returns, in any order, well or ill. */
void disk_unblock(world *w)
{
    for (uint16_t i = 0; i < w->flight_top; i++) {
        flight *f = &w->flights[i];
        if (!f->used || !f->parked || w->blocked[f->host][f->disk] > 0)
            continue;
        uint32_t fate = rng_below(&w->chance, 4);
        if (fate >= 2 && !f->error)
            f->error = -EIO;
        if (fate == 3 && f->done == 0)
            f->lands = false;
        uint64_t most = rng_below(&w->chance, 8) == 0 && !w->quiet ? w->dead_time : 4 * w->plan.latency;
        reschedule(w, f, w->now + 1 + rng_time(&w->chance, most));
    }
}

void disk_hurry(world *w)
{
    uint64_t soon = w->now + 8 * w->plan.latency;
    for (uint16_t i = 0; i < w->flight_top; i++) {
        flight *f = &w->flights[i];
        if (f->used && !f->parked && f->return_at > soon)
            reschedule(w, f, w->now + 1 + rng_time(&w->chance, 8 * w->plan.latency));
    }
}

/* Some write of this process may still reach a disk, or at least has not returned. */
bool disk_writes_out(const world *w, uint16_t life)
{
    for (uint16_t i = 0; i < w->flight_top; i++)
        if (w->flights[i].used && w->flights[i].write && w->flights[i].life == life)
            return true;
    return false;
}
