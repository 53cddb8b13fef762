/* Faults of content and of paths: rot, zeros, torn blocks, outages, old content, replays. */
#include "checker.h"

#include <string.h>

/* ---- single blocks ---- */

bool damage_at(const world *w, uint32_t disk, uint64_t block)
{
    for (uint32_t i = 0; i < MAX_DAMAGE; i++)
        if (w->damages[i].used && w->damages[i].disk == disk && w->damages[i].block == block)
            return true;
    return false;
}

damage *damage_find(world *w, uint32_t disk, uint64_t block)
{
    for (uint32_t i = 0; i < MAX_DAMAGE; i++)
        if (w->damages[i].used && w->damages[i].disk == disk && w->damages[i].block == block)
            return &w->damages[i];
    return NULL;
}

static damage *damage_new(world *w, uint32_t disk, uint64_t block)
{
    if (damage_at(w, disk, block))
        return NULL;
    for (uint32_t i = 0; i < MAX_DAMAGE; i++) {
        damage *d = &w->damages[i];
        if (d->used)
            continue;
        d->used = true;
        d->disk = (uint8_t)disk;
        d->block = (uint32_t)block;
        d->met_life = NONE16;
        memcpy(d->saved, disk_block(w, disk, block), w->geometry->block_size);
        return d;
    }
    return NULL;
}

void damage_written(world *w, uint32_t disk, uint64_t block)
{
    for (uint32_t i = 0; i < MAX_DAMAGE; i++)
        if (w->damages[i].used && w->damages[i].disk == disk && w->damages[i].block == block)
            w->damages[i].used = false;
}

/* The power went while this write was half on its way: the block stays torn, until the
 * administrator makes the write good. */
void damage_tear(world *w, flight *f)
{
    damage *d = damage_new(w, f->disk, f->block);
    if (!d)
        return;
    memcpy(d->saved, f->data, w->geometry->block_size);
    fault_note(w, FAULT_TORN_FOREVER);
    check_headers(w);
}

/* A write that is half done there begins anew: with its last piece it could not cover damage, and it would leave a
 * mixture with old content that no administrator knows of. */
static void restart_writes(world *w, uint32_t disk, uint64_t block)
{
    for (uint32_t i = 0; i < w->flight_top; i++) {
        flight *f = &w->flights[i];
        if (f->used && f->write && !f->landed && f->disk == disk && f->block == block)
            f->done = 0;
    }
}

void damage_heal(world *w)
{
    for (uint32_t i = 0; i < MAX_DAMAGE; i++) {
        damage *d = &w->damages[i];
        if (!d->used)
            continue;
        d->used = false;
        memcpy(disk_block(w, d->disk, d->block), d->saved, w->geometry->block_size);
        restart_writes(w, d->disk, d->block);
        dpx_place place = dpx_place_of(w->geometry, d->block);
        if (place.kind == DPX_KIND_NOTICE)
            w->truth->restored_at[place.slot] = w->now;
        TRACE(w, "administrator: block %u of disk %u restored", d->block, d->disk);
    }
    check_headers(w);
}

/* Any block but the superblock, mostly one that somebody uses. */
static uint64_t any_block(world *w)
{
    const dpx_geometry *g = w->geometry;
    uint32_t slot = rng_below(&w->chance, g->max_hosts);
    uint32_t area = rng_below(&w->chance, g->max_leases);
    switch (rng_below(&w->chance, 8)) {
    case 0:
    case 1:
        return dpx_slot_block(g, slot);
    case 2:
        return dpx_notice_block(g, slot, 0);
    case 3:
        return dpx_header_block(g, area);
    default:
        return dpx_own_block(g, area, slot);
    }
}

static void strike(world *w)
{
    uint32_t disk = rng_below(&w->chance, w->geometry->disks);
    uint64_t block = any_block(w);
    bool bit = chance(&w->chance, w->plan.more.pick_dead);
    if (bit) {
        uint32_t slot = rng_below(&w->chance, w->geometry->max_hosts);
        block = rng_below(&w->chance, 3) ? dpx_notice_block(w->geometry, slot, 0) : dpx_slot_block(w->geometry, slot);
    }
    if (!damage_new(w, disk, block))
        return;
    uint8_t *data = disk_block(w, disk, block);
    if (!bit && rng_below(&w->chance, 3) == 0) {
        memset(data, 0, w->geometry->block_size);
        fault_note(w, FAULT_ZEROED);
    } else {
        data[rng_below(&w->chance, w->geometry->block_size)] ^= (uint8_t)(1u << rng_below(&w->chance, 8));
        fault_note(w, FAULT_BIT_ROT);
    }
    restart_writes(w, disk, block);
    dpx_place place = dpx_place_of(w->geometry, block);
    for (uint8_t i = 0; i < w->plan.hosts; i++)
        if (place.kind == DPX_KIND_SLOT && w->hosts[i].world.self.slot == place.slot)
            trouble(w, i, w->now);
    TRACE(w, "damage: block %llu of disk %u", (unsigned long long)block, disk);
}

/* ---- old content ---- */

static const dpx_disk_common *common_at(const uint8_t *data)
{
    return (const dpx_disk_common *)(const void *)data;
}

/* Old content may come back where the protocol claims to survive it: on a disk of the
 * faulty minority, in a block whose present content all other disks have, too. */
static bool others_have(const world *w, uint32_t disk, uint64_t block)
{
    const dpx_geometry *g = w->geometry;
    dpx_place place = dpx_place_of(g, block);
    const dpx_disk_common *here = common_at(disk_block(w, disk, block));
    if (damage_at(w, disk, block))
        return false;
    for (uint32_t d = 0; d < g->disks; d++) {
        const uint8_t *data = disk_block(w, d, block);
        if (w->plan.disk_faulty >> d & 1)
            continue;
        if (dpx_block_check(data, g, (enum dpx_kind)place.kind, d, block) != DPX_SOUND)
            return false;
        if (dpx_copy_order(common_at(data)->generation, common_at(data)->sequence, here->generation,
                           here->sequence) < 0)
            return false;
        if (place.kind != DPX_KIND_SLOT)
            continue;
        dpx_slot_record record, shown;
        dpx_slot_decode(data, &record);
        dpx_slot_decode((const uint8_t *)here, &shown);
        if (record.state == DPX_SLOT_CLAIMING || shown.state == DPX_SLOT_CLAIMING)
            return false;
    }
    return true;
}

static bool may_roll(const world *w, uint32_t disk, uint64_t block, const dpx_place *place)
{
    const dpx_geometry *g = w->geometry;
    if (place->kind != DPX_KIND_SLOT && place->kind != DPX_KIND_NOTICE)
        return others_have(w, disk, block);
    /* A record announces the notices beside it: they go back together or not at all. */
    return others_have(w, disk, dpx_slot_block(g, place->slot)) &&
           others_have(w, disk, dpx_notice_block(g, place->slot, 0));
}

static void roll_back(world *w, uint32_t disk)
{
    const dpx_geometry *g = w->geometry;
    bool may[512] = {false};
    for (uint64_t block = 1; block < g->total_blocks && block < 512; block++) {
        dpx_place place = dpx_place_of(g, block);
        may[block] = place.kind != 0 && place.kind != DPX_KIND_SUPERBLOCK && may_roll(w, disk, block, &place);
    }
    for (uint64_t block = 1; block < g->total_blocks && block < 512; block++)
        if (may[block]) {
            dpx_place place = dpx_place_of(g, block);
            memcpy(disk_block(w, disk, block), w->snapshot + block * g->block_size, g->block_size);
            check_struck(w, disk, &place);
            restart_writes(w, disk, block);
        }
    w->truth->rolled[disk] = true;
    fault_note(w, FAULT_DISK_OLD);
    TRACE(w, "disk %u comes back with old content", disk);
    check_headers(w);
}

void damage_remember(world *w, const flight *f)
{
    if (!w->plan.replays)
        return;
    replay *r = &w->ring[w->ring_at++ % REPLAY_RING];
    r->used = true;
    r->disk = f->disk;
    r->block = f->block;
    memcpy(r->data, f->data, w->geometry->block_size);
}

/* Does it take a flag down? */
static bool lowers(const world *w, const replay *r)
{
    dpx_own old, present;
    if (dpx_place_of(w->geometry, r->block).kind != DPX_KIND_OWN)
        return false;
    dpx_own_decode(r->data, &old);
    dpx_own_decode(disk_block(w, r->disk, r->block), &present);
    return old.hold == 0 && present.hold != 0;
}

/* A flag raised again by nobody stands until its slot's owner happens to look. */
static bool raises(const replay *r)
{
    dpx_own old;
    dpx_own_decode(r->data, &old);
    return old.hold != 0;
}

/* Mostly one that hurts. */
static replay *pick_replay(world *w)
{
    replay *found = NULL;
    for (uint32_t i = 0; i < REPLAY_RING; i++) {
        replay *r = &w->ring[rng_below(&w->chance, REPLAY_RING)];
        if (!r->used || damage_at(w, r->disk, r->block))
            continue;
        found = r;
        if (lowers(w, r) || rng_below(&w->chance, 8) == 0)
            break;
    }
    return found;
}

/* NFSv3: a completed write is sent again.  Survived without condition by a minority of
 * several disks.  On a single disk only the blocks of leases are hit, and the checker
 * knows: what is claimed then is that the loss is noticed within S. */
static void send_again(world *w)
{
    const dpx_geometry *g = w->geometry;
    replay *r = pick_replay(w);
    if (!r)
        return;
    uint8_t *data = disk_block(w, r->disk, r->block);
    dpx_place place = dpx_place_of(g, r->block);
    if (memcmp(data, r->data, g->block_size) == 0)
        return;
    if (g->disks > 1) {
        if (!(w->plan.disk_faulty >> r->disk & 1) || place.kind == DPX_KIND_NOTICE ||
            !may_roll(w, r->disk, r->block, &place))
            return;
        w->truth->rolled[r->disk] = true;
        check_struck(w, r->disk, &place);
    } else if (place.kind != DPX_KIND_OWN || place.area == DPX_DIRECTORY_AREA || raises(r)) {
        return;
    } else {
        check_struck(w, r->disk, &place);
    }
    memcpy(data, r->data, g->block_size);
    restart_writes(w, r->disk, r->block);
    fault_note(w, FAULT_REPLAY);
    TRACE(w, "replay: block %u of disk %u", r->block, r->disk);
    if (place.kind == DPX_KIND_HEADER)
        check_headers(w);
}

/* ---- outages ---- */

static void note_outage(world *w, const outage *o)
{
    uint32_t disks = 0;
    for (uint32_t d = 0; d < w->geometry->disks; d++)
        disks += o->disks >> d & 1;
    if ((o->hosts & (o->hosts - 1)) == 0)
        fault_note(w, FAULT_PATH_LOST);
    else if (disks >= w->majority)
        fault_note(w, FAULT_BLACKOUT);
    else
        fault_note(w, o->missing ? FAULT_DISK_MISSING : FAULT_DISK_HUNG);
}

static void set_outage(world *w, outage *o, bool on)
{
    if (o->on == on)
        return;
    o->on = on;
    TRACE(w, "outage of disks %x for hosts %x %s", o->disks, o->hosts, on ? "begins" : "ends");
    for (uint32_t i = 0; i < MAX_HOSTS; i++) {
        for (uint32_t d = 0; d < w->geometry->disks; d++) {
            if (!(o->hosts >> i & 1) || !(o->disks >> d & 1))
                continue;
            uint8_t *count = o->missing ? &w->missing[i][d] : &w->blocked[i][d];
            *count = (uint8_t)(*count + (on ? 1 : -1));
            trouble(w, (uint8_t)i, w->now);
        }
    }
    if (on) {
        note_outage(w, o);
        return;
    }
    if (o->rollback && w->snapshot_disk >= 0 && (o->disks >> w->snapshot_disk & 1) && !w->quiet)
        roll_back(w, (uint32_t)w->snapshot_disk);
    disk_unblock(w);
}

/* ---- one host is shown an old disk ---- */

const uint8_t *damage_view(const world *w, const flight *f, uint64_t block)
{
    if (f->cached)
        return w->stale + block * w->geometry->block_size;
    return disk_block(w, f->disk, block);
}

void damage_fresh(world *w)
{
    if (w->stale_host < 0)
        return;
    TRACE(w, "h%d sees disk %d as it is", w->stale_host, w->stale_disk);
    w->truth->blind_until[w->stale_host] = w->now;
    trouble(w, (uint8_t)w->stale_host, w->now);
    w->stale_host = w->stale_disk = -1;
}

static bool cache_in_use(const world *w)
{
    for (uint32_t i = 0; i < w->flight_top; i++)
        if (w->flights[i].used && w->flights[i].cached)
            return true;
    return false;
}

static void show_old(world *w, const event *e)
{
    host *h = &w->hosts[e->host];
    if (e->stamp == 0 && w->stale_host == e->host)
        damage_fresh(w);
    if (e->stamp == 0 || w->stale_host >= 0 || h->state != HOST_JOINED || cache_in_use(w) ||
        (h->reclaiming && !w->plan.more.blind_reclaims))
        return;
    memcpy(w->stale, w->disks[e->index], (size_t)w->geometry->total_blocks * w->geometry->block_size);
    w->stale_host = e->host;
    w->stale_disk = e->index;
    w->truth->blind_until[e->host] = DPX_NEVER;
    fault_note(w, FAULT_STALE_READS);
    TRACE(w, "h%u is shown disk %u as it is now, for a while", e->host, e->index);
}

static void plan_stale(world *w)
{
    uint8_t victim = (uint8_t)rng_below(&w->chance, w->plan.hosts);
    uint16_t disk = (uint16_t)rng_below(&w->chance, w->geometry->disks);
    uint64_t from = w->now + rng_time(&w->chance, w->plan.duration);
    event_push(w, from, EVENT_STALE, victim, disk, 1);
    event_push(w, from + rng_time(&w->chance, 2 * w->geometry->outage_tolerance), EVENT_STALE, victim, disk, 0);
}

static void plan_outage(world *w, uint16_t index)
{
    outage *o = &w->outages[index];
    const plan *p = &w->plan;
    uint8_t all_disks = (uint8_t)((1u << w->geometry->disks) - 1);
    uint8_t all_hosts = (uint8_t)((1u << MAX_HOSTS) - 1);
    uint32_t dice = rng_below(&w->chance, 8);
    *o = (outage){.missing = rng_next(&w->chance) >> 63};
    if (p->disk_faulty && dice < 5) {
        o->hosts = all_hosts;
        o->disks = p->disk_faulty;
        o->rollback = o->missing && rng_below(&w->chance, 2) == 0;
    } else if (dice < 7) {
        o->hosts = (uint8_t)(1u << rng_below(&w->chance, p->hosts));
        o->disks = (uint8_t)(1 + rng_below(&w->chance, all_disks));
    } else {
        o->hosts = all_hosts;
        o->disks = all_disks;
    }
    uint64_t S = w->geometry->outage_tolerance;
    o->from = w->now + rng_time(&w->chance, p->duration);
    o->to = o->from + (rng_next(&w->chance) >> 63 ? rng_time(&w->chance, S) : rng_time(&w->chance, 2 * w->dead_time));
    if (o->hosts == all_hosts && o->disks != all_disks && rng_below(&w->chance, 3) == 0)
        o->to = w->now + p->duration + 1; /* for good */
    event_push(w, o->from, EVENT_OUTAGE, 0, index, 1);
    if (o->to < w->now + p->duration)
        event_push(w, o->to, EVENT_OUTAGE, 0, index, 0);
    if (o->rollback)
        event_push(w, w->now + rng_time(&w->chance, p->duration), EVENT_SNAPSHOT, 0,
                   (uint16_t)rng_below(&w->chance, w->geometry->disks), 0);
}

void damage_schedule(world *w)
{
    const plan *p = &w->plan;
    for (uint32_t i = 0; i < p->damages; i++)
        event_push(w, w->now + rng_time(&w->chance, p->duration), EVENT_DAMAGE, 0, 0, 0);
    for (uint32_t i = 0; i < p->replay_count; i++)
        event_push(w, w->now + rng_time(&w->chance, p->duration), EVENT_REPLAY, 0, 0, 0);
    for (uint32_t i = 0; i < p->stales; i++)
        plan_stale(w);
    for (uint32_t i = 0; i < p->outages; i++)
        plan_outage(w, (uint16_t)i);
}

void damage_event(world *w, const event *e)
{
    if (e->kind == EVENT_OUTAGE && e->stamp == 0) {
        set_outage(w, &w->outages[e->index], false);
        return;
    }
    if (w->quiet)
        return;
    switch (e->kind) {
    case EVENT_OUTAGE:
        set_outage(w, &w->outages[e->index], true);
        break;
    case EVENT_DAMAGE:
        strike(w);
        break;
    case EVENT_REPLAY:
        send_again(w);
        break;
    case EVENT_STALE:
        show_old(w, e);
        break;
    default: /* a snapshot, to come back later */
        if (w->plan.disk_faulty >> e->index & 1) {
            memcpy(w->snapshot, w->disks[e->index], (size_t)w->geometry->total_blocks * w->geometry->block_size);
            w->snapshot_disk = e->index;
        }
        break;
    }
}
