/* What a history is made of.  "Swarm": each history switches every kind of fault off with
 * probability one half and otherwise draws its rate over orders of magnitude, so that rare
 * combinations occur undisturbed by the usual noise. */
#include "simulate.h"

#include <string.h>

static bool half(world *w)
{
    return rng_next(&w->chance) >> 63;
}

/* 0, or 2^-high … 2^-low. */
static odds swarm_odds(world *w, uint32_t low, uint32_t high)
{
    if (half(w))
        return 0;
    uint32_t shift = low + rng_below(&w->chance, high - low + 1);
    return UINT32_MAX >> shift;
}

static uint32_t swarm_count(world *w, uint32_t most)
{
    return half(w) ? 0 : 1 + rng_below(&w->chance, most);
}

static void draw_hosts(world *w)
{
    plan *p = &w->plan;
    uint32_t dice = rng_below(&w->chance, 20);
    p->hosts = dice < 9 ? 2 : dice < 15 ? 3 : dice < 18 ? 4 : 5 + rng_below(&w->chance, 4);
    p->machines = half(w) ? p->hosts : 1 + rng_below(&w->chance, p->hosts);
    for (uint32_t i = 0; i < MAX_HOSTS; i++)
        p->machine_of[i] = (uint8_t)(i < p->machines ? i : rng_below(&w->chance, p->machines));
    for (uint32_t m = 0; m < p->machines; m++) {
        static const uint32_t edges[] = {950000, 1050000, 1000000};
        box *b = &w->boxes[m];
        uint32_t kind = rng_below(&w->chance, 4);
        b->rate = kind < 3 ? edges[kind] : 950000 + rng_below(&w->chance, 100001);
        if (b->rate == 950000 || b->rate == 1050000)
            fault_note(w, FAULT_CLOCK_EDGE);
    }
}

void plan_crowd(world *w, uint32_t hosts)
{
    plan *p = &w->plan;
    for (uint32_t m = p->machines; m < hosts; m++)
        w->boxes[m].rate = 950000 + rng_below(&w->chance, 100001);
    p->hosts = p->machines = hosts;
    for (uint32_t i = 0; i < hosts; i++)
        p->machine_of[i] = (uint8_t)i;
}

static void draw_io(world *w)
{
    plan *p = &w->plan;
    uint64_t part = w->geometry->claim_time / 20;
    static const uint32_t quick[] = {1, 2, 5, 20};
    p->latency = part / quick[rng_below(&w->chance, 4)];
    p->delay = swarm_odds(w, 2, 8);
    p->over_limit = swarm_odds(w, 5, 10);
    p->fail = swarm_odds(w, 4, 10);
    p->fail_landed = swarm_odds(w, 4, 10);
    p->queue_loss = swarm_odds(w, 6, 11);
    p->split_read = swarm_odds(w, 1, 5);
    p->torn_write = w->geometry->block_size > 512 ? swarm_odds(w, 1, 4) : 0;
    p->land_early = swarm_odds(w, 1, 4);
    p->wait_queue = swarm_odds(w, 2, 6);
    p->deliver_late = swarm_odds(w, 2, 6);
    p->critical = swarm_odds(w, 1, 4);
}

static void draw_faults(world *w)
{
    plan *p = &w->plan;
    uint32_t disks = w->geometry->disks;
    if (disks > 1 && half(w)) {
        uint32_t faulty = 1 + rng_below(&w->chance, (disks - 1) / 2);
        for (uint32_t i = 0; i < faulty; i++)
            p->disk_faulty |= (uint8_t)(1u << rng_below(&w->chance, disks));
    }
    uint32_t engines = rng_below(&w->chance, 4);
    p->drains_on_exit = engines == 0 ? 0 : engines == 1 ? (uint8_t)rng_next(&w->chance) : UINT8_MAX;
    p->replays = rng_below(&w->chance, 10) == 0;
    p->replay_count = p->replays ? 2 + rng_below(&w->chance, 12) : 0;
    if (p->replays && disks > 1 && !p->disk_faulty)
        p->disk_faulty = (uint8_t)(1u << rng_below(&w->chance, disks));
    p->kills = swarm_count(w, 4);
    p->powers = swarm_count(w, 2);
    p->stops = swarm_count(w, 4);
    p->pauses = rng_below(&w->chance, 4) == 0 ? 1 + rng_below(&w->chance, 3) : 0;
    p->long_pauses = half(w);
    p->outages = swarm_count(w, 3);
    p->damages = swarm_count(w, 4);
    p->fences = rng_below(&w->chance, 4) == 0;
    p->stales = rng_below(&w->chance, 6) == 0 ? 1 + rng_below(&w->chance, 3) : 0;
    p->clock_beyond = rng_below(&w->chance, 64) == 0;
    if (p->clock_beyond) {
        fault_note(w, FAULT_CLOCK_BEYOND);
        for (uint32_t m = 0; m < p->machines; m++)
            w->boxes[m].rate = 700000 + rng_below(&w->chance, 600001);
    }
}

static void draw_work(world *w)
{
    plan *p = &w->plan;
    uint32_t areas = w->geometry->max_leases - 1;
    p->names = 1 + rng_below(&w->chance, areas);
    if (rng_below(&w->chance, 8) == 0)
        p->names = areas + 1 > MAX_NAMES ? MAX_NAMES : areas + 1; /* more than there is room for */
    p->created = p->names > areas ? areas : p->names;
    if (rng_below(&w->chance, 3) == 0)
        p->created = rng_below(&w->chance, p->created + 1);
    p->weight_take = (uint8_t)(20 + rng_below(&w->chance, 80));
    p->weight_release = (uint8_t)(10 + rng_below(&w->chance, 60));
    bool changes = half(w);
    p->weight_create = (uint8_t)(changes ? rng_below(&w->chance, 30) : 3);
    p->weight_delete = (uint8_t)(changes ? rng_below(&w->chance, 20) : 0);
    p->weight_leave = (uint8_t)(half(w) ? 0 : rng_below(&w->chance, 10));
    p->weight_rewrite = (uint8_t)(half(w) ? 0 : rng_below(&w->chance, 6));
    p->batch = swarm_odds(w, 1, 4);
    p->shared = half(w) ? 0 : odds_of(0.1 + 0.1 * rng_below(&w->chance, 7));
    p->resume = half(w) ? 0 : odds_of(0.1 + 0.1 * rng_below(&w->chance, 6));
    p->wait = half(w) ? 0 : odds_of(0.05 * (1 + rng_below(&w->chance, 8)));
    /* Contended histories act within a few I/Os, quiet ones within heartbeats. */
    p->tempo = half(w) ? p->latency * (3 + rng_below(&w->chance, 30))
                       : w->geometry->outage_tolerance / (2 + rng_below(&w->chance, 30));
    if (p->tempo < w->geometry->outage_tolerance / 100)
        p->tempo = w->geometry->outage_tolerance / 100;
}

/* ---- themes: what only meets in crowds of its own kind ---- */

/* Few leases, much in the way, disks that answer one by one or not at all: rounds that see different majorities. */
static void theme_flaky_disks(world *w)
{
    plan *p = &w->plan;
    p->names = p->created = 1 + rng_below(&w->chance, 2);
    p->fail = odds_of(0.02 + 0.02 * rng_below(&w->chance, 10));
    p->delay = odds_of(0.1 + 0.1 * rng_below(&w->chance, 5));
    p->queue_loss = half(w) ? 0 : odds_of(0.05);
    p->damages = p->replay_count = p->outages = 0;
    p->replays = false;
    p->shared = half(w) ? 0 : odds_of(0.3);
    p->tempo = p->latency * (2 + rng_below(&w->chance, 10));
}

/* Processes that come and go, and claims that land late, over the record of whoever won. */
static void theme_claims(world *w)
{
    plan *p = &w->plan;
    p->critical = odds_of(0.2 + 0.1 * rng_below(&w->chance, 6));
    p->kills = 2 + rng_below(&w->chance, 8);
    p->stops = 1 + rng_below(&w->chance, 4);
    p->over_limit = half(w) ? 0 : odds_of(0.01 + 0.01 * rng_below(&w->chance, 8));
    p->weight_leave = (uint8_t)(2 + rng_below(&w->chance, 20));
    p->drains_on_exit = (uint8_t)rng_next(&w->chance);
    p->replays = false;
    p->damages = p->replay_count = 0;
}

/* Machines that stand still until others have judged them, with somebody waiting for what they hold. */
static void theme_pauses(world *w)
{
    plan *p = &w->plan;
    p->pauses = 2 + rng_below(&w->chance, 5);
    p->long_pauses = true;
    p->critical = half(w) ? 0 : odds_of(0.2 + 0.2 * rng_below(&w->chance, 4));
    p->wait = odds_of(0.5);
    p->weight_leave = (uint8_t)(half(w) ? 0 : 5 + rng_below(&w->chance, 20));
    p->names = p->created = 1 + rng_below(&w->chance, 2);
    p->damages = p->replay_count = 0;
    p->replays = false;
}

/* Leases created and deleted, by hosts that die over it. */
static void theme_headers(world *w)
{
    plan *p = &w->plan;
    p->weight_create = p->weight_delete = (uint8_t)(20 + rng_below(&w->chance, 60));
    p->critical = odds_of(0.2 + 0.1 * rng_below(&w->chance, 6));
    p->fail = odds_of(0.02 + 0.02 * rng_below(&w->chance, 10));
    p->kills = 2 + rng_below(&w->chance, 6);
}

static void draw_theme(world *w)
{
    switch (rng_below(&w->chance, 16)) {
    case 0:
        theme_flaky_disks(w);
        break;
    case 1:
        theme_claims(w);
        break;
    case 2:
        theme_pauses(w);
        break;
    case 3:
        theme_headers(w);
        break;
    default:
        break;
    }
}

void plan_draw(world *w)
{
    memset(&w->plan, 0, sizeof w->plan);
    draw_hosts(w);
    draw_io(w);
    draw_faults(w);
    draw_work(w);
    draw_theme(w);
    uint64_t lives = w->dead_time + w->geometry->outage_tolerance;
    if (w->stretched)
        stretch_draw(w);
    w->plan.duration = lives / 3 + rng_time(&w->chance, rng_below(&w->chance, 4) ? lives : 3 * lives);
    if (w->stretched)
        w->plan.duration += 2 * lives + rng_time(&w->chance, 10 * lives);
    if (w->stretched && w->plan.tempo < w->plan.duration / 300) /* long, not busy */
        w->plan.tempo = w->plan.duration / 300;
}
