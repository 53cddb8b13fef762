/* --sightings: processes are short-lived, and those of one machine leave to each other what they have seen of the slots
 * (‡D11).  What is a file of the machine there is memory of its box here; it is written some time after what it tells
 * was seen, and stays when the machine boots again, with the boot that it belongs to. */
#include "simulate.h"

#include <stdlib.h>
#include <string.h>

#if __has_include("protocol/sightings.h")
#include "protocol/sightings.h"

enum { SIGHTINGS = DPX_MAX_DISKS * MAX_SLOTS };

struct sightings {
    bool there;
    dpx_uuid boot;
    dpx_sighting seen[SIGHTINGS];
};

static struct sightings *memory(struct sightings **at)
{
    if (!*at && !(*at = calloc(1, sizeof **at)))
        abort();
    return *at;
}

void sightings_reset(world *w)
{
    for (uint32_t i = 0; i < MAX_HOSTS; i++) {
        if (w->boxes[i].kept)
            w->boxes[i].kept->there = false;
        if (w->hosts[i].noted)
            w->hosts[i].noted->there = false;
    }
}

void sightings_recall(world *w, host *h)
{
    const box *b = &w->boxes[h->box];
    if (h->noted)
        h->noted->there = false;
    if (!w->sightings || !b->kept || !b->kept->there || !dpx_uuid_equal(&b->kept->boot, &b->boot))
        return;
    for (uint32_t i = 0; i < dpx_sightings_count(w->geometry); i++)
        dpx_peers_recall(h->world.peers, &b->kept->seen[i], local_now(w, h));
}

/* What was noted reaches the file. */
static void write_noted(world *w, host *h)
{
    box *b = &w->boxes[h->box];
    struct sightings *file = memory(&b->kept), *noted = memory(&h->noted);
    if (!noted->there)
        return;
    noted->there = false;
    if (!file->there || !dpx_uuid_equal(&file->boot, &b->boot))
        memset(file, 0, sizeof *file);
    file->there = true;
    file->boot = b->boot;
    for (uint32_t i = 0; i < dpx_sightings_count(w->geometry); i++)
        dpx_sighting_merge(&file->seen[i], &noted->seen[i]);
}

static void note(host *h)
{
    struct sightings *noted = memory(&h->noted);
    dpx_peers_sightings(h->world.peers, noted->seen);
    noted->there = true;
}

/* Did it take another process's word for how long some slot stands still? */
static void count_use(world *w, host *h)
{
    for (uint32_t slot = 0; slot < w->geometry->max_hosts; slot++) {
        const dpx_peer *peer = &h->world.peers->slots[slot];
        bool others = false;
        for (uint32_t d = 0; d < w->geometry->disks; d++)
            others |= peer->sights[d].seen && peer->sights[d].recalled && peer->sights[d].from == peer->still_from;
        if (others && dpx_peers_silent(h->world.peers, slot))
            outcome_note(w, OUT_SIGHTED);
    }
}

void sightings_run(world *w, host *h)
{
    uint64_t quiet = w->geometry->outage_tolerance / 4;
    if (!w->sightings || w->quiet)
        return;
    write_noted(w, h);
    if (dpx_peers_worth_keeping(h->world.peers, local_now(w, h), quiet))
        note(h);
    count_use(w, h);
    h->leave_soon |= rng_below(&w->chance, 4) == 0;
}

/* Killed, what it had noted is written, or not; else the last that it saw is, too. */
void sightings_end(world *w, host *h, bool itself)
{
    if (!w->sightings || w->boxes[h->box].off)
        return;
    if (itself || rng_below(&w->chance, 2))
        write_noted(w, h);
    if (!itself)
        return;
    note(h);
    write_noted(w, h);
}

#else /* a core without the rule: cores.h */

void sightings_reset(world *w) { (void)w; }
void sightings_recall(world *w, host *h) { (void)w; (void)h; }
void sightings_run(world *w, host *h) { (void)w; (void)h; }
void sightings_end(world *w, host *h, bool itself) { (void)w; (void)h; (void)itself; }

#endif
