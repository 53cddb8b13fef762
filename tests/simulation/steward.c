/* What a joined host does about dead ones: sees processes of its own machine gone, wants
 * silent slots judged, claims and leaves drained ones.  And the administrator, who in the
 * last phase declares gone what nobody else can. */
#include "checker.h"
#include "cores.h"

#include <string.h>

/* The process that wrote this record ran here, in this boot; which was it? */
static bool local_process(const world *w, const host *h, const dpx_slot_record *record, uint16_t *number)
{
    const box *b = &w->boxes[h->box];
    if (!dpx_uuid_equal(&record->host, &b->host) || !dpx_uuid_equal(&record->boot, &b->boot))
        return false;
    if (record->pid < 100 || record->pid - 100 >= w->truth->life_count)
        return false;
    *number = (uint16_t)(record->pid - 100);
    return true;
}

/* An earlier, failed claim by this process: its writes there have returned. */
static bool writes_returned(const world *w, uint16_t number, uint32_t slot)
{
    for (uint32_t i = 0; i < w->flight_top; i++) {
        const flight *f = &w->flights[i];
        if (f->used && f->write && f->life == number && f->block == dpx_slot_block(w->geometry, slot))
            return false;
    }
    return true;
}

/* What this very process wrote of this slot, in whichever of its memberships and claims, has returned; and it is not
 * at one of them now. */
static bool own_writes_returned(const world *w, const host *h, uint32_t slot)
{
    const life *now = &w->truth->lives[h->life];
    for (uint16_t i = 0; i < w->truth->life_count; i++) {
        const life *l = &w->truth->lives[i];
        if (l->process != now->process || !(l->claimed >> slot & 1))
            continue;
        bool owner = l->joined && l->who.slot == slot;
        if (owner ? !life_gone(w, i) : !writes_returned(w, i, slot))
            return false;
    }
    return true;
}

/* All memberships of a process are over, it is gone itself, and its writes with it. */
static bool process_gone(const world *w, uint16_t process)
{
    for (uint32_t i = 0; i < w->plan.hosts; i++) {
        const host *h = &w->hosts[i];
        if ((h->state != HOST_OFF || h->stays) && w->truth->lives[h->life].process == process)
            return false;
    }
    for (uint16_t i = process; i < w->truth->life_count; i++)
        if (w->truth->lives[i].process == process && !life_gone(w, i))
            return false;
    return true;
}

static void check_process(world *w, host *h, uint32_t slot, const dpx_slot_record *record)
{
    uint16_t number;
    if (!local_process(w, h, record, &number))
        return;
    bool gone = number == w->truth->lives[h->life].process
                    ? own_writes_returned(w, h, slot)
                    : (record->flags & DPX_SLOT_DRAINS_ON_EXIT) && process_gone(w, number);
    if (gone && w->plan.more.slow_words && h->gone_seen[slot] != record->who.generation)
        h->gone_seen[slot] = record->who.generation; /* said at the next look */
    else if (gone)
        dpx_peers_drained(h->world.peers, slot, record->who.generation, DPX_DRAINED_EXITED);
}

/* Nobody who ever claimed this slot can act or write any more.  (The record alone does not
 * tell: a late claim by one may lie over the record of another.) */
static bool all_gone(const world *w, uint32_t slot)
{
    for (uint16_t i = 0; i < w->truth->life_count; i++) {
        const life *l = &w->truth->lives[i];
        if (!(l->claimed >> slot & 1) || l->left)
            continue;
        bool owned = l->joined && l->who.slot == slot;
        if (!l->joined && !l->ended)
            return false; /* it may be at it right now */
        if (owned ? !life_gone(w, i) || w->now < life_stops_until(w, i) : !writes_returned(w, i, slot))
            return false;
    }
    return true;
}

static void administrate(world *w, host *h, uint32_t slot, const dpx_slot_record *record)
{
    if (!w->quiet || !dpx_peers_dead(h->world.peers, &record->who))
        return;
    bool lately = w->now < h->retire_asked_at[slot] + w->dead_time;
    if ((h->retire_asked[slot] == record->who.generation && lately) || !all_gone(w, slot))
        return;
    h->retire_asked[slot] = record->who.generation;
    h->retire_asked_at[slot] = w->now;
    TRACE(w, "administrator: h%u retires slot %u", h->index, slot);
    dpx_heart_retire(h->heart, slot, record->who.generation);
    outcome_note(w, OUT_RETIRED);
    host_step(w, h, UNIT_HEART);
}

static bool record_readable(const world *w, uint32_t slot)
{
    uint64_t block = dpx_slot_block(w->geometry, slot);
    uint32_t sound = 0;
    for (uint32_t d = 0; d < w->geometry->disks; d++)
        sound += dpx_block_check(disk_block(w, d, block), w->geometry, DPX_KIND_SLOT, d, block) == DPX_SOUND;
    return sound >= w->majority;
}

/* Nobody is joined, nobody can: slots whose claimers died half-way are nobody's, but only a joined host could
 * declare that.  So the administrator has somebody join in such a slot, on his word. */
uint32_t process_lost_slot(world *w)
{
    for (uint32_t slot = 0; slot < w->geometry->max_hosts; slot++)
        if (all_gone(w, slot) && record_readable(w, slot))
            return slot;
    return DPX_ANY_SLOT;
}

#if DPX_FORMAT_VERSION > 1
static uint32_t disks_believed(const world *w, uint32_t slot, uint32_t part)
{
    const dpx_geometry *g = w->geometry;
    uint32_t believed = 0;
    for (uint32_t d = 0; d < g->disks; d++)
        believed += dpx_notices_believed(g, d, slot, part, disk_block(w, d, dpx_slot_block(g, slot)),
                                         disk_block(w, d, dpx_notice_block(g, slot, part)));
    return believed;
}

/* What a slot's notices said is lost: that all who do not live are dead is true by now. */
static void mend_notices(world *w, uint32_t slot)
{
    const dpx_geometry *g = w->geometry;
    for (uint32_t part = 0; part < g->notice_blocks; part++) {
        dpx_notice entries[DPX_BLOCK_MAX / 8] = {0};
        uint32_t first = part * g->notice_entries;
        if (!record_readable(w, slot) || !all_gone(w, slot) || disks_believed(w, slot, part) >= w->majority)
            continue;
        for (uint32_t i = 0; i < g->notice_entries && first + i < g->max_hosts; i++)
            if (first + i != slot && all_gone(w, first + i))
                entries[i].about = (uint32_t)w->truth->slot_generation[first + i] & DPX_NOTICE_GENERATION;
        TRACE(w, "administrator: the notices of slot %u are made anew", slot);
        for (uint32_t d = 0; d < g->disks; d++) {
            dpx_slot_record record;
            dpx_slot_decode(disk_block(w, d, dpx_slot_block(g, slot)), &record);
            uint8_t *block = disk_block(w, d, dpx_notice_block(g, slot, part));
            dpx_notice_encode(block, g, d, part, &record.who, 1, 0, entries);
        }
    }
}
#else /* cores.h */
static void mend_notices(world *w, uint32_t slot) { (void)w; (void)slot; }
#endif

/* … and has damaged records and notices made anew (`diskpaxos repair`, with all hosts out). */
void process_mend_records(world *w)
{
    for (uint32_t slot = 0; slot < w->geometry->max_hosts; slot++)
        mend_notices(w, slot);
    for (uint32_t slot = 0; slot < w->geometry->max_hosts; slot++) {
        dpx_slot_record fresh = {.who = {.slot = slot, .generation = w->truth->slot_generation[slot]}, .sequence = 1};
        if (record_readable(w, slot) || !all_gone(w, slot))
            continue;
        TRACE(w, "administrator: the record of slot %u is made anew", slot);
        for (uint32_t d = 0; d < w->geometry->disks; d++)
            dpx_slot_encode(disk_block(w, d, dpx_slot_block(w->geometry, slot)), w->geometry, d, &fresh);
    }
}

static void reclaim(world *w, host *h, uint32_t slot)
{
    uint64_t now = local_now(w, h);
    dpx_uuid nonce = uuid_draw(w);
    memset(h->reclaim_in_flight, 0, sizeof h->reclaim_in_flight);
    h->reclaim_world = (dpx_world){.geometry = w->geometry, .peers = h->world.peers, .wall = w->now,
                                   .random = rng_next(&w->chance), .in_flight = h->reclaim_in_flight};
    h->reclaim = dpx_claim_place(h->memory[UNIT_RECLAIM], &h->reclaim_world);
    h->reclaiming = true;
    h->reclaim_judged = false;
    TRACE(w, "h%u begins to reclaim slot %u", h->index, slot);
    dpx_claim_begin(h->reclaim, &h->me, &nonce, slot, true, now, now);
    host_step(w, h, UNIT_RECLAIM);
}

/* Requests to write own blocks anew; our own ones stand for a while (native/host/heal.c). */
static void answer_mail(world *w, host *h)
{
    uint32_t area;
    if (h->rewrite_area < 0 && dpx_heart_asked(h->heart, &area)) {
        outcome_note(w, OUT_ASKED);
        h->rewrite_area = (int)area;
        h->next_watch = local_now(w, h); /* should it be held, a watch mends it */
    }
    if (++h->stewarded % 8 == 0)
        dpx_heart_unask(h->heart);
}

void process_steward(world *w, host *h)
{
    uint64_t now = local_now(w, h);
    const dpx_peers *peers = h->world.peers;
    h->next_steward = now + w->geometry->outage_tolerance / 8;
    if (h->state != HOST_JOINED || dpx_heart_count(h->heart).beats == 0)
        return;
    answer_mail(w, h);
    sightings_run(w, h);
    for (uint32_t slot = 0; slot < w->geometry->max_hosts && !w->over; slot++) {
        const dpx_peer *peer = &peers->slots[slot];
        if (slot == h->world.self.slot || !peer->seen || dpx_peer_free(peer))
            continue;
        check_process(w, h, slot, &peer->record);
        if (dpx_peers_silent(peers, slot))
            dpx_peers_want_slot(h->world.peers, slot);
        bool drained = dpx_peers_drain(peers, slot) != DPX_NOT_DRAINED;
        if (!drained)
            administrate(w, h, slot, &peer->record);
        /* Now and then it asks too early, and must be refused. */
        bool asks = drained ? rng_below(&w->chance, 2) == 0
                            : !w->quiet && dpx_peers_dead(peers, &peer->record.who) && rng_below(&w->chance, 4) == 0;
        bool blind = w->stale_host == h->index;
        if (!asks || h->reclaiming || (blind && !w->plan.more.blind_reclaims))
            continue;
        if (blind)
            fault_note(w, FAULT_RECLAIMER_BLIND);
        reclaim(w, h, slot);
    }
}
