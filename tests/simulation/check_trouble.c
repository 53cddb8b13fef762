/* Who loses what it has, or gets nothing, must have had trouble that the protocol does not promise to overcome.
 *
 * Trouble is what keeps a host from its disks: errors, delays, outages, stops, a late claim or damage over its own
 * record.  Damage that some owner who lives can make good is none. */
#include "checker.h"

void trouble(world *w, uint8_t host, uint64_t at)
{
    if (at > w->truth->trouble_at[host])
        w->truth->trouble_at[host] = at;
}

static bool untroubled_since(const world *w, const host *h, uint64_t since)
{
    if (w->truth->trouble_at[h->index] > since || h->stopped || w->stale_host == h->index)
        return false;
    for (uint32_t d = 0; d < w->geometry->disks; d++)
        if (w->blocked[h->index][d] || w->missing[h->index][d])
            return false;
    for (uint32_t i = 0; i < w->flight_top; i++) {
        const flight *f = &w->flights[i];
        if (f->used && f->write && f->life == h->life && f->issued_at < since)
            return false;
    }
    return true;
}

/* The process that owns this slot, if it is there and has had no trouble since. */
static const host *healthy_owner(const world *w, uint32_t slot, uint64_t since)
{
    for (uint32_t i = 0; i < w->plan.hosts; i++) {
        const host *h = &w->hosts[i];
        const life *l = &w->truth->lives[h->life];
        if (h->state == HOST_JOINED && l->beaten && l->who.slot == slot && dpx_heart_end(h->heart) == DPX_ALIVE)
            return untroubled_since(w, h, since) ? h : NULL;
    }
    return NULL;
}

/* A block that tells of death is damaged, and nobody is there to write it anew; or it was, until the administrator did,
 * and no heartbeat was due since. */
static bool orphaned_damage(const world *w, uint64_t since)
{
    for (uint32_t slot = 0; slot < w->geometry->max_hosts; slot++) {
        uint64_t restored = w->truth->restored_at[slot];
        bool just = restored > since && w->now < restored + w->geometry->outage_tolerance / 4;
        if (just && !healthy_owner(w, slot, since))
            return true;
    }
    for (uint32_t i = 0; i < MAX_DAMAGE; i++) {
        const damage *d = &w->damages[i];
        dpx_place place = dpx_place_of(w->geometry, d->block);
        if (d->used && place.kind == DPX_KIND_NOTICE && !healthy_owner(w, place.slot, since))
            return true;
    }
    return false;
}

/* Notices of another slot changed while this host claimed, and what lies beside them need not name their author: it is
 * to see them stand for S / 2 before its first heartbeat counts.  A claim that took so long leaves it no time for that.
 * It never held anything. */
static bool joined_too_slowly(const world *w, const life *l)
{
    uint64_t S = w->geometry->outage_tolerance;
    if (l->beaten || l->lifetime_end >= l->joined_local + S / 2 + S / 8)
        return false;
    for (uint32_t slot = 0; slot < w->geometry->max_hosts; slot++)
        if (slot != l->who.slot && w->truth->noted_at[slot] >= l->beat_real)
            return true;
    return false;
}

/* On the only disk notices of another slot changed twice in this lifetime.  The second ones are to stand for S / 2
 * again, since a late claim fell over the one that would have named their author (‡S21): that began too late. */
static bool notices_unnamed(const world *w, const life *l, uint64_t since)
{
    const dpx_geometry *g = w->geometry;
    if (g->disks > 1)
        return false;
    for (uint32_t slot = 0; slot < g->max_hosts; slot++) {
        const uint8_t *row = disk_block(w, 0, dpx_slot_block(g, slot));
        const uint8_t *data = disk_block(w, 0, dpx_notice_block(g, slot, 0));
        dpx_slot_record record;
        if (slot == l->who.slot || w->truth->noted_before[slot] < since ||
            w->now > w->truth->noted_at[slot] + g->outage_tolerance * 3 / 4 || !dpx_record_sound(g, 0, slot, row))
            continue;
        dpx_slot_decode(row, &record);
        if (record.state == DPX_SLOT_CLAIMING && record.who.generation < dpx_notice_writer(data, slot).generation &&
            !healthy_owner(w, slot, since))
            return true;
    }
    return false;
}

/* A claimer's late note lies over the notices of a slot, beside the active record of an owner that is gone. */
static bool shows_late_note(const world *w, uint32_t disk, uint32_t slot)
{
    uint64_t block = dpx_slot_block(w->geometry, slot), notice = dpx_notice_block(w->geometry, slot, 0);
    dpx_slot_record record;
    dpx_slot_decode(disk_block(w, disk, block), &record);
    dpx_incarnation writer = dpx_notice_writer(disk_block(w, disk, notice), slot);
    return !damage_at(w, disk, block) && !damage_at(w, disk, notice) && record.state == DPX_SLOT_ACTIVE &&
           !dpx_incarnation_equal(&record.who, &writer);
}

/* … since this host's last heartbeat: nobody believes it there, and nobody is left to mend it (‡S21). */
static bool unbelieved_note(const world *w, uint64_t since)
{
    for (uint32_t slot = 0; slot < w->geometry->max_hosts; slot++) {
        uint32_t believed = w->geometry->disks;
        for (uint32_t d = 0; d < w->geometry->disks; d++)
            believed -= shows_late_note(w, d, slot);
        if (believed < w->majority && w->truth->noted_at[slot] >= since && !healthy_owner(w, slot, since))
            return true;
    }
    return false;
}

void check_untroubled(world *w, const host *h)
{
    const life *l = &w->truth->lives[h->life];
    if (!w->stretched || w->geometry->block_size > 512 || h->state != HOST_JOINED || l->paused)
        return;
    uint64_t since = l->beat_real; /* its last heartbeat was issued */
    if (!untroubled_since(w, h, since))
        return;
    if (orphaned_damage(w, since) || notices_unnamed(w, l, since))
        outcome_note(w, OUT_EXCUSED_NOTICE);
    else if (joined_too_slowly(w, l))
        outcome_note(w, OUT_EXCUSED_JOINER);
    else if (unbelieved_note(w, since))
        outcome_note(w, OUT_EXCUSED_NOTE);
    else
        violate(w, VIOLATION_LIFETIME, "h%u's lifetime ran out, though its disks answered all the time", h->index);
}

void check_damaged(world *w, const host *h, const dpx_cause *cause)
{
    uint64_t S = w->geometry->outage_tolerance;
    dpx_place place = dpx_place_of(w->geometry, cause->block);
    damage *d = damage_find(w, cause->disk, cause->block);
    if (!w->stretched || w->quiet || !d || place.kind != DPX_KIND_OWN || place.slot == h->world.self.slot)
        return;
    const host *owner = healthy_owner(w, place.slot, d->met_at);
    if (!owner || owner->life != d->met_life) {
        d->met_at = w->now;
        d->met_life = owner ? owner->life : NONE16;
    }
    if (owner && w->now > d->met_at + 2 * S && w->truth->lives[owner->life].beat_real > d->met_at)
        violate(w, VIOLATION_LIVENESS,
                "h%u cannot take area %u: the block of h%u there is damaged, who lives and does not write it",
                h->index, place.area, owner->index);
}
