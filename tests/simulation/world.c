/* The simulated world of disks, machines and hosts.
 *
 * STORAGE FAULT MODEL
 *
 * Method.  A history is drawn from one 64-bit seed: geometry, hosts, clocks, what hosts do,
 * and a fault plan in which every kind of fault is either off or has a rate of its own.  One
 * thread runs it: a heap of events owns time, and every I/O of every host passes through it.
 * The protocol machines are those that ship, driven as native/host drives them.  The checker
 * knows real time and the content of every disk; no host does.  In the end all faults stop,
 * and everybody must be served within a bound.
 *
 * Device characteristics.  A block of 512 bytes is written and read whole.  A block of 4096
 * bytes is written in pieces, in order: a reader may meet the first ones new and the last
 * ones old (pieces of 64 bytes: all but a few fields of a block lie in its first sector).  A
 * read of several blocks (a slot table, a lease area) may be made in
 * pieces, from either end, with writes of others landing in between.  Extents that are in
 * flight together land in any order.  An I/O takes effect at some moment between its issue
 * and its return; what was returned without error is durable at once (O_DIRECT | O_DSYNC)
 * and is seen by every later read, from wherever.
 *
 * Outcomes of a write in flight:
 *     landed, returned well             (usual; in time, late, or after the time limit)
 *     landed, returned with an error
 *     not landed, returned with an error
 *     landed or not, not returned       (until the path works again, or for good)
 *     of a process that is gone         lands within its time, or much later (a ghost)
 *     of a machine that lost power      lands, is lost, or stays torn in the middle
 * A request can also expire in the queue of its host, never issued.
 *
 * Of disks: hanging, failing every I/O (missing), for everybody or for one host, for a while
 * or for good; a blackout of all.  With 3 or 5 disks a minority may come back with older
 * content, and completed writes may be replayed there: block by block, wherever the other
 * disks all have that block's present content (else more than that minority would have
 * failed).  With one disk, replays hit lease blocks only, and only the promise that their
 * holder learns of a loss within 2 S is held against the protocol; so it is where the faulty
 * disk is the only one where two attempts could have met (meet.c).
 *
 * One joined host may be shown one disk as it was when that began (its writes go through): a
 * path with a cache of its own.  Not while it claims a slot: it has no block of its own there
 * yet that could give the old content away.  (In some stretched histories while it reclaims one: it has.)
 *
 * In stretched histories (stretch.c) moreover: a machine goes back to a snapshot of its memory and clock; one process
 * has several memberships; a process stops between the lifetime test and the issue of an I/O.
 *
 * Of content: a flipped bit or a block of zeros anywhere but in the superblock, on any disk.
 * The administrator restores such blocks when the faults stop.  A block never lies: what
 * carries a right checksum was once written there.
 *
 * Of hosts: processes are killed at any step, stopped for less or more than their lifetime,
 * and restarted; machines lose power, are fenced, or are paused together with their clock.
 * When a machine boots or was fenced, none of its earlier writes is still under way; when a
 * process with DPX_SLOT_DRAINS_ON_EXIT is gone, so are its writes.  Clocks run at constant
 * rates within ±5 % of real time (in marked histories beyond it: a violation there, or one
 * that a long pause of the clock explains, is counted as excused, not as a failure).
 *
 * Not modelled: a disk that acknowledges what it has not written, reads of several paths that
 * are old at the same time, of a claimer, or of another block, one read that is old in part (ordinary history
 * 700321588: its own block was new there, which else gives the old content away), and superblocks.
 */
#include "checker.h"

#include <stdlib.h>
#include <string.h>

enum { DISK_BYTES = 640 * 1024 };

world *world_new(void)
{
    world *w = aligned_alloc(64, (sizeof *w + 63) & ~(size_t)63);
    truth *t = calloc(1, sizeof *t);
    if (!w || !t)
        abort();
    memset(w, 0, sizeof *w);
    w->truth = t;
    for (uint32_t d = 0; d < DPX_MAX_DISKS; d++)
        w->disks[d] = aligned_alloc(4096, DISK_BYTES);
    w->snapshot = aligned_alloc(4096, DISK_BYTES);
    w->stale = aligned_alloc(4096, DISK_BYTES);
    w->orphans = aligned_alloc(4096, 1 << 20);
    if (!w->disks[DPX_MAX_DISKS - 1] || !w->snapshot || !w->stale || !w->orphans)
        abort();
    for (uint32_t i = 0; i < PRESETS; i++)
        if (preset_geometry(i)->total_blocks * preset_geometry(i)->block_size > DISK_BYTES)
            abort();
    return w;
}

dpx_uuid uuid_draw(world *w)
{
    dpx_uuid uuid;
    uint64_t a = rng_next(&w->chance), b = rng_next(&w->chance);
    memcpy(uuid.bytes, &a, 8);
    memcpy(uuid.bytes + 8, &b, 8);
    return uuid;
}

static void reset_pools(world *w)
{
    w->flight_free = NONE16;
    w->flight_top = 0;
    w->call_free = 0;
    for (uint16_t i = 0; i < MAX_CALLS; i++) {
        w->calls[i].used = false;
        w->calls[i].next = i + 1 < MAX_CALLS ? (uint16_t)(i + 1) : NONE16;
    }
    w->event_count = w->event_order = 0;
    w->orphan_used = 0;
    w->issue_order = 0;
    memset(w->top_landed, 0, sizeof w->top_landed);
    memset(w->blocked, 0, sizeof w->blocked);
    memset(w->missing, 0, sizeof w->missing);
    memset(w->state_count, 0, sizeof w->state_count);
    for (uint32_t i = 0; i < MAX_DAMAGE; i++)
        w->damages[i].used = false;
    for (uint32_t i = 0; i < REPLAY_RING; i++)
        w->ring[i].used = false;
    for (uint32_t i = 0; i < MAX_OUTAGES; i++)
        w->outages[i].on = false;
    w->snapshot_disk = w->stale_host = w->stale_disk = -1;
    snapshot_reset(w);
    sightings_reset(w);
    w->ring_at = 0;
}

static void plan_faults(world *w, uint32_t count, enum host_fault fault)
{
    for (uint32_t i = 0; i < count; i++) {
        uint8_t victim = (uint8_t)rng_below(&w->chance, w->plan.hosts);
        uint32_t armed = rng_below(&w->chance, 2);
        event_push(w, w->now + rng_time(&w->chance, w->plan.duration), EVENT_FAULT, victim, (uint16_t)fault, armed);
    }
}

static void begin(world *w, uint64_t seed)
{
    w->seed = seed;
    w->chance.state = seed * UINT64_C(0xd1342543de82ef95) + 1;
    if (w->stretched)
        w->chance.state ^= UINT64_C(0x7374726574636865);
    w->now = DPX_SECOND;
    w->quiet = w->over = false;
    w->violation = VIOLATION_NONE;
    reset_pools(w);
    w->theme = w->stretched ? rng_below(&w->chance, THEMES) : 0;
    uint32_t preset;
    do {
        preset = rng_below(&w->chance, PRESETS);
        w->geometry = preset_geometry(preset);
    } while (w->stretched && !stretch_fits(w, w->geometry));
    w->io_limit = dpx_io_limit(w->geometry);
    w->majority = dpx_majority(w->geometry);
    w->dead_time = dpx_dead_time(w->geometry->outage_tolerance, w->geometry->kill_grace,
                                 w->geometry->watchdog_timeout);
    plan_draw(w);
    check_reset(w);
    template_load(w, preset);
    check_headers(w);
    for (uint32_t m = 0; m < w->plan.machines; m++) {
        box *b = &w->boxes[m];
        b->real_base = w->now;
        b->local_base = (1 + rng_below(&w->chance, 100)) * DPX_SECOND;
        b->frozen = b->off = false;
        b->host = uuid_draw(w);
        b->boot = uuid_draw(w);
        b->boots = 1;
        b->stops = 0;
    }
    for (uint8_t i = 0; i < w->plan.hosts; i++) {
        host *h = &w->hosts[i];
        h->state = HOST_OFF;
        h->index = i;
        h->box = w->plan.machine_of[i];
        h->served = 0;
        h->done = false;
        h->stopped = h->paused = h->stays = h->untold = false;
        bool at_once = rng_below(&w->chance, 3) > 0; /* claims race */
        uint64_t delay = rng_time(&w->chance, at_once ? 4 * w->plan.latency : w->geometry->outage_tolerance);
        event_push(w, w->now + delay, EVENT_START, i, 0, 0);
    }
    damage_schedule(w);
    plan_faults(w, w->plan.kills, HOST_KILL);
    plan_faults(w, w->plan.powers, HOST_POWER);
    plan_faults(w, w->plan.stops, HOST_STOP);
    plan_faults(w, w->plan.stops, HOST_BRIEF);
    plan_faults(w, w->plan.pauses, HOST_PAUSE);
    plan_faults(w, w->plan.fences, HOST_FENCE);
    if (w->stretched)
        stretch_schedule(w);
    w->quiet_at = w->now + w->plan.duration;
    event_push(w, w->quiet_at, EVENT_QUIET, 0, 0, 0);
}

static void describe(world *w)
{
    const dpx_geometry *g = w->geometry;
    TRACE(w, "seed %llu: %u hosts on %u machines, %u disks, %u slots, %u areas, %u names, blocks of %u",
          (unsigned long long)w->seed, w->plan.hosts, w->plan.machines, g->disks, g->max_hosts, g->max_leases,
          w->plan.names, g->block_size);
    TRACE(w, "S %.3f s, K %.3f s, W %.3f s, T_claim %.4f s, T_dead %.3f s, usual I/O %.6f s, faults until %.3f s",
          (double)g->outage_tolerance / 1e9, (double)g->kill_grace / 1e9, (double)g->watchdog_timeout / 1e9,
          (double)g->claim_time / 1e9, (double)w->dead_time / 1e9, (double)w->plan.latency / 1e9,
          (double)w->quiet_at / 1e9);
    for (uint32_t m = 0; m < w->plan.machines; m++)
        TRACE(w, "machine %u: clock at %.4f of real time", m, (double)w->boxes[m].rate / 1e6);
}

static void complain_deadline(world *w)
{
    for (uint32_t i = 0; i < w->plan.hosts; i++) {
        const host *h = &w->hosts[i];
        if (!h->done)
            violate(w, VIOLATION_LIVENESS, "h%u (%s) has had %u of %u leases", i,
                    h->state == HOST_JOINED ? "joined" : h->state == HOST_CLAIMING ? "claiming" : "off", h->served,
                    w->plan.names);
    }
}

static void handle(world *w, const event *e)
{
    host *h = &w->hosts[e->host];
    switch (e->kind) {
    case EVENT_TIMER:
        host_timer(w, h, e);
        break;
    case EVENT_ISSUE:
    case EVENT_LAND:
    case EVENT_RETURN:
    case EVENT_DELIVER:
    case EVENT_LAUNCH:
        disk_event(w, e);
        break;
    case EVENT_FAULT:
    case EVENT_WAKE:
    case EVENT_START:
        process_event(w, e);
        break;
    case EVENT_SETTLE:
        host_told(w, h, e);
        break;
    case EVENT_SAVE:
    case EVENT_REVERT:
        snapshot_event(w, e);
        break;
    case EVENT_QUIET:
        quiet_begin(w);
        break;
    case EVENT_DEADLINE:
        complain_deadline(w);
        break;
    default:
        damage_event(w, e);
        break;
    }
}

void ranking_note(ranking *r, uint64_t value, uint64_t seed)
{
    uint32_t at = RANKS;
    while (at > 0 && value > r->rank[at - 1].value)
        at--;
    if (at == RANKS)
        return;
    memmove(&r->rank[at + 1], &r->rank[at], (RANKS - 1 - at) * sizeof r->rank[0]);
    r->rank[at].value = value;
    r->rank[at].seed = seed;
}

enum violation world_run(world *w, uint64_t seed, tally *count, FILE *trace)
{
    event e;
    w->tally = count;
    w->trace = trace;
    uint64_t ios = count->ios;
    uint64_t digest = UINT64_C(0xcbf29ce484222325) ^ seed;
    begin(w, seed);
    if (w->stretched && !(w->themes >> w->theme & 1))
        return VIOLATION_NONE; /* not asked for */
    describe(w);
    while (!w->over && event_pop(w, &e)) {
        w->now = e.at;
        count->events++;
        digest = (digest ^ (e.at << 8 ^ (uint64_t)e.kind << 4 ^ e.host)) * UINT64_C(0x100000001b3);
        handle(w, &e);
        if (w->quiet && quiet_served(w))
            break;
    }
    if (w->violation == VIOLATION_NONE)
        check_history(w);
    count->histories++;
    count->digest += digest; /* in whatever order histories are run */
    ranking_note(&count->longest, count->ios - ios, seed);
    if (w->quiet && !w->over)
        ranking_note(&count->slowest, (w->now - w->quiet_at) * 1000 / (w->deadline - w->quiet_at), seed);
    if (w->violation != VIOLATION_NONE)
        count->violations[w->violation]++;
    return w->violation;
}
