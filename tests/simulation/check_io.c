/* Every write is looked at when it is issued and when it lands. */
#include "checker.h"

#include <string.h>

#define MANY(x) ((unsigned long long)(x))

uint16_t uuid_index(world *w, const dpx_uuid *uuid, uint8_t name)
{
    truth *t = w->truth;
    for (uint32_t i = t->lease_count; i > 0; i--)
        if (dpx_uuid_equal(&t->leases[i - 1].uuid, uuid))
            return (uint16_t)(i - 1);
    if (t->lease_count == MAX_UUIDS)
        return NONE16;
    t->leases[t->lease_count] = (lease_truth){.uuid = *uuid, .name = name};
    return (uint16_t)t->lease_count++;
}

/* ---- who may write what ---- */

static void check_second(world *w, const flight *f)
{
    for (uint32_t i = 0; i < w->flight_top; i++) {
        const flight *other = &w->flights[i];
        if (other != f && other->used && other->write && other->block == f->block && other->disk == f->disk &&
            other->life == f->life)
            violate(w, VIOLATION_SECOND_WRITE, "h%u has two writes to block %u of disk %u in flight", f->host,
                    f->block, f->disk);
    }
}

/* Nothing of an earlier, joined owner of the slot may still be on its way. */
static void check_drained(world *w, const flight *f, uint32_t slot)
{
    for (uint32_t i = 0; i < w->flight_top; i++) {
        const flight *other = &w->flights[i];
        if (!other->used || !other->write || other->life == f->life || other->landed || !other->lands)
            continue;
        const life *l = &w->truth->lives[other->life];
        dpx_place place = dpx_place_of(w->geometry, other->block);
        if (!l->joined || l->left || l->who.slot != slot || (place.kind == DPX_KIND_SLOT && place.slot != slot))
            continue;
        if (other->unaware) { /* it was dead to others, and its memory went back since */
            outcome_note(w, OUT_EXCUSED_REVERT);
            continue;
        }
        violate(w, VIOLATION_SLOT, "h%u takes slot %u over while a write of its last owner (block %u) is out",
                    f->host, slot, other->block);
    }
}

static void check_slot_write(world *w, const flight *f, enum unit unit, const dpx_place *place)
{
    truth *t = w->truth;
    life *l = &t->lives[f->life];
    dpx_slot_record record;
    dpx_slot_decode(f->data, &record);
    l->claimed |= (uint8_t)(1u << place->slot);
    if (unit == UNIT_CLAIM || unit == UNIT_RECLAIM) {
        if (record.state == DPX_SLOT_CLAIMING) {
            if (t->claim_written[place->slot] != 0 && t->claim_life[place->slot] != f->life &&
                w->now < t->claim_written[place->slot] + w->geometry->claim_time)
                fault_note(w, FAULT_CLAIM_RACE);
            if (t->claim_life[place->slot] != f->life && t->claim_generation[place->slot] >= record.who.generation)
                t->contested[place->slot] = record.who.generation;
            if (record.who.generation > t->claim_generation[place->slot])
                t->claim_generation[place->slot] = record.who.generation;
            t->claim_written[place->slot] = w->now;
            t->claim_life[place->slot] = f->life;
        } else if (record.state == DPX_SLOT_ACTIVE) {
            check_drained(w, f, place->slot);
        } else if (record.who.generation != l->reclaimed) { /* its first disk */
            l->reclaimed = record.who.generation;
            check_reclaimed(w, &w->hosts[f->host], &record); /* others may claim it from here on */
        }
        return;
    }
    if (unit != UNIT_HEART || !l->joined || place->slot != l->who.slot ||
        !dpx_incarnation_equal(&record.who, &l->who))
        violate(w, VIOLATION_FOREIGN_WRITE, "h%u (%s) writes the record of slot %u", f->host, unit_names[unit],
                place->slot);
    l->record = record.sequence > l->record ? record.sequence : l->record;
    l->beaten_on |= (uint8_t)(1u << f->disk);
    uint16_t owner = t->slot_owner[place->slot];
    bool leaves = record.state == DPX_SLOT_FREE; /* … on other disks already, perhaps: rules S16 and S19 */
    if (!leaves && owner != f->life + 1 && owner != 0 && !life_excused(w, f->life))
        violate(w, VIOLATION_FOREIGN_WRITE, "h%u writes the record of slot %u, which is h%u's since", f->host,
                place->slot, t->lives[owner - 1].host);
    if (record.state != DPX_SLOT_FREE || l->left)
        return;
    l->left = true; /* from here on others may take the slot */
    for (uint32_t i = 0; i < w->flight_top; i++) {
        const flight *other = &w->flights[i];
        if (other != f && other->used && other->write && other->life == f->life)
            violate(w, VIOLATION_SLOT, "h%u leaves while its write to block %u is out", f->host, other->block);
    }
}

/* The slot has a new owner: what the last one may have taken is a "maybe" from now on. */
static void new_owner(world *w, own_truth *own, uint16_t number, uint64_t generation)
{
    if (own->life && own->uuid != NONE16) {
        lease_truth *lease = &w->truth->leases[own->uuid];
        if (own->last_exclusive > lease->crashed)
            lease->crashed = own->last_exclusive;
    }
    *own = (own_truth){.life = (uint16_t)(number + 1), .generation = generation, .rewritten = own->rewritten,
                       .struck_at = own->struck_at};
}

/* A waiter's mark is advice, and nobody waits for what it holds. */
static void check_mark(world *w, const flight *f, const dpx_own *block)
{
    const truth *t = w->truth;
    outcome_note(w, OUT_MARKED);
    bool holds = block->hold != 0;
    for (uint32_t i = 0; i < t->hold_count; i++)
        holds |= t->holds[i].life == f->life && t->holds[i].area == block->area;
    if (holds)
        violate(w, VIOLATION_MARK, "h%u waits in line in area %u, where it holds the lease", f->host, block->area);
}

/* The own block of a slot as issued: one writer, a growing sequence. */
static void check_own_write(world *w, const flight *f, enum unit unit, const dpx_place *place)
{
    truth *t = w->truth;
    const life *l = &t->lives[f->life];
    own_truth *own = &t->own[place->area][place->slot];
    dpx_own block;
    dpx_own_decode(f->data, &block);
    if (unit < UNIT_CHANGE || !l->joined || place->slot != l->who.slot ||
        !dpx_incarnation_equal(&block.who, &l->who)) {
        violate(w, VIOLATION_FOREIGN_WRITE, "h%u (%s) writes the own block of slot %u in area %u", f->host,
                unit_names[unit], place->slot, place->area);
        return;
    }
    if (own->generation > block.who.generation) { /* its memory went back, and the slot is another's */
        if (!l->reverted)
            violate(w, VIOLATION_FOREIGN_WRITE, "h%u writes the own block of slot %u in area %u, which is another's",
                    f->host, place->slot, place->area);
        for (uint32_t d = 0; d < w->geometry->disks; d++)
            check_struck(w, d, place);
        own->struck_at = t->replayed_at[place->area] = w->now;
        t->covered[place->area] = true;
        return;
    }
    if (own->life != f->life + 1)
        new_owner(w, own, f->life, block.who.generation);
    if ((l->reverted || l->blind) && block.sequence <= own->forgotten) { /* with a memory of before */
        outcome_note(w, OUT_EXCUSED_REVERT);
        t->replayed_at[place->area] = w->now; /* the ballots of its later self are gone */
        return;
    }
    bool same = own->hold == block.hold && own->ballot == block.ballot;
    bool again = block.sequence <= own->issued[f->disk] || (block.sequence == own->sequence && !same);
    if (again && !w->truth->replayed_at[place->area])
        violate(w, VIOLATION_SEQUENCE, "h%u writes sequence %llu after %llu in area %u", f->host,
                MANY(block.sequence), MANY(own->issued[f->disk]), place->area);
    own->issued[f->disk] = block.sequence;
    own->uuid = uuid_index(w, &block.lease, UINT8_MAX);
    if (block.ticket != 0)
        check_mark(w, f, &block);
    if (block.last_exclusive > own->last_exclusive) {
        own->last_exclusive = block.last_exclusive;
        /* Not an attempt: a damaged block rewritten, which may have said that much; or a header change
         * that is completed or undone. */
        if (block.hold == 0 || block.change_token != 0)
            own->rewritten = block.last_exclusive;
        /* The second one may not know how far the first one went (batches carry its ballot elsewhere). */
        if (block.hold == 0 && ++t->rewritten > 1)
            t->replayed_at[place->area] = w->now;
    }
    if (block.sequence < own->sequence)
        return; /* issued late: a newer one is on its way to other disks */
    if (block.ballot < own->ballot && block.hold == 0 && t->rewritten > 0)
        t->replayed_at[place->area] = w->now; /* a second time, with nothing left that tells of the first */
    if (block.ballot < own->ballot && !w->plan.replays && !t->replayed_at[place->area])
        violate(w, VIOLATION_SEQUENCE, "h%u: the ballot of its own block in area %u falls", f->host, place->area);
    if (own->hold == 0)
        own->looked_on = own->took_on = own->struck_on = 0;
    own->sequence = block.sequence;
    own->hold = block.hold;
    own->ballot = block.ballot;
}

/* How many disks show a flag of this incarnation in the area (damaged ones cannot tell). */
static uint32_t flags_shown(const world *w, const dpx_incarnation *who, uint32_t area, bool raised, uint64_t hold)
{
    uint32_t shown = 0;
    uint64_t block = dpx_own_block(w->geometry, area, who->slot);
    for (uint32_t d = 0; d < w->geometry->disks; d++) {
        dpx_own own;
        if (damage_at(w, d, block) || w->truth->rolled[d]) {
            shown++;
            continue;
        }
        dpx_own_decode(disk_block(w, d, block), &own);
        if (!dpx_uuid_equal(&own.who.nonce, &who->nonce) || own.who.generation != who->generation)
            continue;
        shown += raised ? own.hold != 0 && (hold == 0 || own.hold == hold) : own.hold == 0;
    }
    return shown;
}

bool shown_flag(const world *w, const host *h, uint32_t area, uint64_t hold)
{
    if (w->truth->replayed_at[area])
        return true;
    return flags_shown(w, &h->world.self, area, hold != 0, hold) >= w->majority;
}

/* Somebody else's write is half done there. */
static bool half_written(const world *w, uint32_t disk, uint64_t block)
{
    for (uint32_t i = 0; i < w->flight_top; i++) {
        const flight *f = &w->flights[i];
        if (f->used && f->write && !f->landed && f->done > 0 && f->disk == disk && f->block == block)
            return true;
    }
    return false;
}

/* An active record of it has landed there, and none since but claims. */
static bool beat_on(const world *w, const dpx_incarnation *who, uint32_t disk)
{
    uint16_t life = w->truth->beat_life[who->slot][disk];
    return life != 0 && dpx_incarnation_equal(&w->truth->lives[life - 1].who, who);
}

/* A slot left may be another's by now, and a late claim may lie over the record until the next
 * heartbeat (of a later generation, too, where its claimer jumped, ‡S21). */
bool shown_slot(const world *w, const dpx_incarnation *who, enum dpx_slot_state state)
{
    uint32_t shown = 0;
    uint64_t block = dpx_slot_block(w->geometry, who->slot);
    for (uint32_t d = 0; d < w->geometry->disks; d++) {
        dpx_slot_record record;
        dpx_slot_decode(disk_block(w, d, block), &record);
        shown += damage_at(w, d, block) || w->truth->rolled[d] || half_written(w, d, block) ||
                 (record.state == state && dpx_incarnation_equal(&record.who, who)) ||
                 (state == DPX_SLOT_FREE && record.state == DPX_SLOT_FREE) || /* a ghost of an earlier leaving */
                 (state == DPX_SLOT_FREE && record.who.generation > who->generation) ||
                 (record.state == DPX_SLOT_CLAIMING &&
                  (record.who.generation <= who->generation || beat_on(w, who, d))) ||
                 (record.state == DPX_SLOT_FREE && record.who.generation < who->generation); /* ghosts */
    }
    return shown >= w->majority;
}

/* ---- headers ---- */

/* The header of an area that every majority of disks would show; false: it depends. */
static bool settled_header(const world *w, uint32_t area, dpx_header *newest)
{
    const dpx_geometry *g = w->geometry;
    uint64_t block = dpx_header_block(g, area);
    uint32_t agree = 0;
    bool any = false;
    for (uint32_t d = 0; d < g->disks; d++) {
        dpx_header header;
        const uint8_t *data = disk_block(w, d, block);
        if (dpx_block_check(data, g, DPX_KIND_HEADER, d, block) != DPX_SOUND)
            continue;
        dpx_header_decode(data, &header);
        int order = any ? dpx_copy_order(header.directory_token, header.sequence, newest->directory_token,
                                         newest->sequence) : 1;
        if (order > 0) {
            *newest = header;
            agree = 0;
        }
        agree += order >= 0;
        any = true;
    }
    return any && agree >= w->majority;
}

/* A creator whose clock had stood still wrote the header of this name, in an area that others had cut off from probing
 * meanwhile: they find a free one before it. */
bool cut_off(const world *w, uint8_t name)
{
    const dpx_geometry *g = w->geometry;
    int8_t area = w->truth->area_of[name];
    dpx_header header, before;
    if (area < 0 || !w->truth->stray[area] || !settled_header(w, (uint32_t)area, &header))
        return false;
    uint32_t home = dpx_home_area(g, header.name, header.name_length);
    for (uint32_t i = home; i != (uint32_t)area; i = (i + 1) % g->max_leases)
        if (settled_header(w, i, &before) && before.state == DPX_LEASE_FREE)
            return true;
    return false;
}

/* A slow disk gets its copy late: a majority has this header, or a newer one, already. */
static bool already_settled(const world *w, const flight *f, uint32_t area)
{
    dpx_header settled, late;
    if (!settled_header(w, area, &settled))
        return false;
    dpx_header_decode(f->data, &late);
    return dpx_copy_order(settled.directory_token, settled.sequence, late.directory_token, late.sequence) >= 0;
}

static void check_header_write(world *w, const flight *f, enum unit unit, const dpx_place *place)
{
    const life *l = &w->truth->lives[f->life];
    w->truth->changed_area[f->host] = (uint8_t)place->area;
    if (unit != UNIT_CHANGE) {
        violate(w, VIOLATION_FOREIGN_WRITE, "h%u (%s) writes the header of area %u", f->host, unit_names[unit],
                place->area);
        return;
    }
    if (life_excused(w, f->life)) {
        if (l->reverted)
            excuse(w, OUT_EXCUSED_REVERT); /* on a single disk nothing is left of a newer one */
        else
            excuse_pause(w, f->life);
        w->truth->stray[place->area] = !l->reverted;
        return;
    }
    w->truth->stray[place->area] = false;
    if (w->truth->replayed_at[place->area] || already_settled(w, f, place->area))
        return;
    if (flags_shown(w, &l->who, DPX_DIRECTORY_AREA, true, 0) < w->majority ||
        flags_shown(w, &l->who, place->area, true, 0) < w->majority)
        violate(w, VIOLATION_HEADER, "h%u writes the header of area %u without both flags up", f->host,
                place->area);
}

void check_write(world *w, flight *f, enum unit unit)
{
    dpx_place place = dpx_place_of(w->geometry, f->block);
    f->unaware = life_unaware(w, f->life);
    check_second(w, f);
    switch (place.kind) {
    case DPX_KIND_SLOT:
        check_slot_write(w, f, unit, &place);
        break;
    case DPX_KIND_OWN:
        check_own_write(w, f, unit, &place);
        break;
    case DPX_KIND_HEADER:
        check_header_write(w, f, unit, &place);
        break;
    case DPX_KIND_NOTICE:
        if (unit == UNIT_HEART && place.slot == w->truth->lives[f->life].who.slot)
            break;
        if ((unit == UNIT_CLAIM || unit == UNIT_RECLAIM) && w->truth->lives[f->life].claimed >> place.slot & 1) {
            /* Who stood still in between is judged when it has looked, and takes over. */
            if (!w->truth->lives[f->life].claimed_paused && !w->truth->lives[f->life].claimed_stopped)
                check_drained(w, f, place.slot);
            break;
        }
        /* fall through */
    default:
        violate(w, VIOLATION_FOREIGN_WRITE, "h%u (%s) writes block %u", f->host, unit_names[unit], f->block);
        break;
    }
}

/* ---- landing ---- */

/* Which hold is durable, and since when an earlier one is down. */
static void own_landed(world *w, const flight *f, const dpx_place *place)
{
    own_truth *own = &w->truth->own[place->area][place->slot];
    dpx_own block;
    dpx_own_decode(f->data, &block);
    if (own->life != f->life + 1 || block.sequence < own->landed_sequence)
        return;
    own->struck_on &= (uint8_t)~(1u << f->disk);
    if (block.sequence > own->landed_sequence) {
        own->landed_sequence = block.sequence;
        own->landed_hold = block.hold;
        own->landed_on = 0;
    }
    own->landed_on |= (uint8_t)(1u << f->disk);
    uint32_t on = 0;
    for (uint32_t d = 0; d < w->geometry->disks; d++)
        on += own->landed_on >> d & 1;
    if (on != w->majority || own->durable_hold == own->landed_hold)
        return;
    uint32_t at = own->lowered_next++ % 4;
    own->lowered[at] = own->durable_hold;
    own->lowered_at[at] = w->now;
    own->durable_hold = own->landed_hold;
    for (uint32_t i = 0; i < 4; i++)
        if (own->lowered[i] == own->durable_hold)
            own->lowered[i] = 0;
}

/* A majority of disks shows this lease in the area, or that there is none; damaged ones cannot tell. */
bool shown_header(const world *w, uint32_t area, const dpx_uuid *lease)
{
    uint32_t shown = 0;
    uint64_t block = dpx_header_block(w->geometry, area);
    for (uint32_t d = 0; d < w->geometry->disks; d++) {
        dpx_header header;
        dpx_header_decode(disk_block(w, d, block), &header);
        bool there = header.state == DPX_LEASE_IN_USE;
        shown += damage_at(w, d, block) || w->truth->rolled[d] || half_written(w, d, block) ||
                 (lease ? there && dpx_uuid_equal(&header.lease, lease) : !there);
    }
    return shown >= w->majority;
}

static void header_landed(world *w, const flight *f, uint32_t area)
{
    dpx_header header;
    dpx_header_decode(f->data, &header);
    bool there = header.state == DPX_LEASE_IN_USE;
    w->truth->landed_at[area][f->disk][there] = w->now;
    bool shown = shown_header(w, area, there ? &header.lease : NULL);
    uint16_t uuid = there ? uuid_index(w, &header.lease, UINT8_MAX) : NONE16;
    if (uuid != NONE16) {
        lease_truth *lease = &w->truth->leases[uuid];
        lease->landed_on |= (uint8_t)(1u << f->disk);
        lease->shown |= shown || (uint32_t)__builtin_popcount(lease->landed_on) >= w->majority;
    }
    if (shown)
        *(there ? &w->truth->filled_at[area] : &w->truth->vacated_at[area]) = w->now;
    check_headers(w);
}

void check_landed(world *w, flight *f)
{
    truth *t = w->truth;
    dpx_place place = dpx_place_of(w->geometry, f->block);
    if (place.kind == DPX_KIND_HEADER) {
        header_landed(w, f, place.area);
    } else if (place.kind == DPX_KIND_OWN) {
        own_landed(w, f, &place);
    } else if (place.kind == DPX_KIND_NOTICE) {
        t->noted_before[place.slot] = t->noted_at[place.slot];
        t->noted_at[place.slot] = w->now;
    } else if (place.kind == DPX_KIND_SLOT) {
        dpx_slot_record record;
        dpx_slot_decode(f->data, &record);
        bool over_another = t->slot_generation[place.slot] > record.who.generation; /* its memory went back */
        if (record.state != DPX_SLOT_ACTIVE || over_another)
            return;
        t->beat_life[place.slot][f->disk] = (uint16_t)(f->life + 1);
        t->beat_issued[place.slot][f->disk] = f->issued_local;
    }
}

/* Some header changed: which names are there now, for certain? */
void check_headers(world *w)
{
    truth *t = w->truth;
    int8_t found[MAX_NAMES];
    bool unsettled = false;
    memset(found, -1, sizeof found);
    for (uint32_t area = 1; area < w->geometry->max_leases; area++) {
        dpx_header header;
        if (!settled_header(w, area, &header)) {
            unsettled = true;
            continue;
        }
        if (header.state != DPX_LEASE_IN_USE || header.name_length != 4)
            continue;
        uint32_t name = (uint32_t)(header.name[3] - '0');
        if (name >= MAX_NAMES)
            continue;
        if (found[name] >= 0 && t->stray[area]) /* behind the one that all others find */
            outcome_note(w, OUT_EXCUSED_PAUSE);
        else if (found[name] >= 0)
            violate(w, VIOLATION_EXISTENCE, "vm-%u exists in areas %d and %u", name, found[name], area);
        found[name] = (int8_t)area;
    }
    for (uint32_t name = 0; name < MAX_NAMES; name++) {
        if (found[name] < 0 && unsettled)
            found[name] = -2;
        if (found[name] != t->area_of[name])
            t->changed_at[name] = w->now;
        t->area_of[name] = found[name];
    }
}
