#include "area.h"

#include <string.h>

static const uint8_t *block_at(const dpx_geometry *geometry, const uint8_t *image, uint32_t number)
{
    return image + (size_t)number * geometry->block_size;
}

/* ‡L13: what this incarnation wrote and does not know of was written by a later state of the memory that it has. */
static bool never_issued(const dpx_world *world, uint32_t area, uint64_t sequence)
{
    return world->sequences && sequence > world->sequences[area];
}

static dpx_image check_own(const dpx_world *world, uint64_t written, uint32_t area, const uint8_t *block)
{
    dpx_own own;
    dpx_own_decode(block, &own);
    if (own.who.generation > world->self.generation)
        return DPX_IMAGE_SUPERSEDED;
    if (own.who.generation < world->self.generation)
        return written > 0 ? DPX_IMAGE_REGRESSED : DPX_IMAGE_COUNTS;
    if (!dpx_uuid_equal(&own.who.nonce, &world->self.nonce))
        return DPX_IMAGE_SUPERSEDED;
    if (never_issued(world, area, own.sequence))
        return DPX_IMAGE_REVERTED;
    return own.sequence < written ? DPX_IMAGE_REGRESSED : DPX_IMAGE_COUNTS;
}

dpx_image dpx_image_check(const dpx_world *world, uint64_t written, uint32_t disk, uint32_t area,
                          const uint8_t *image, dpx_cause *cause)
{
    const dpx_geometry *geometry = world->geometry;
    uint64_t first = dpx_header_block(geometry, area);
    uint32_t own = 1 + world->self.slot;
    dpx_image verdict = DPX_IMAGE_COUNTS;
    for (uint32_t i = 0; i < 1 + geometry->max_hosts; i++) {
        enum dpx_kind kind = i == 0 ? DPX_KIND_HEADER : DPX_KIND_OWN;
        dpx_flaw flaw = dpx_block_check(block_at(geometry, image, i), geometry, kind, disk, first + i);
        if (flaw == DPX_SOUND)
            continue;
        cause->flaw = flaw;
        cause->disk = disk;
        cause->block = first + i;
        if (i != own)
            return DPX_IMAGE_FLAWED;
        verdict = DPX_IMAGE_OWN_FLAWED;
    }
    if (verdict == DPX_IMAGE_OWN_FLAWED)
        return verdict;
    return check_own(world, written, area, block_at(geometry, image, own));
}

/* The newest sound copy of one block; NULL: none. */
static const uint8_t *newest_copy(const dpx_geometry *geometry, const uint8_t *const images[], uint64_t first,
                                  uint32_t number)
{
    const uint8_t *newest = NULL;
    dpx_key key = {0};
    enum dpx_kind kind = number == 0 ? DPX_KIND_HEADER : DPX_KIND_OWN;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        if (!images[d])
            continue;
        const uint8_t *block = block_at(geometry, images[d], number);
        dpx_key copy = dpx_block_key(block);
        if (copy.kind != kind || copy.index != first + number)
            continue; /* dropped as damaged */
        if (newest && dpx_copy_order(copy.generation, copy.sequence, key.generation, key.sequence) <= 0)
            continue;
        newest = block;
        key = copy;
    }
    return newest;
}

/* Is it a majority that shows the header in its newest version? */
static bool agreed(const dpx_geometry *geometry, const uint8_t *const images[], const dpx_header *header)
{
    uint32_t votes = 0;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        if (!images[d])
            continue;
        dpx_key key = dpx_block_key(images[d]);
        votes += dpx_copy_order(key.generation, key.sequence, header->directory_token, header->sequence) == 0;
    }
    return votes >= dpx_majority(geometry);
}

static void scan_flag(const dpx_world *world, const dpx_own *own, dpx_attempt attempt, uint64_t now, dpx_view *view)
{
    bool conflicts = own->mode == DPX_MODE_EXCLUSIVE || attempt.mode == DPX_MODE_EXCLUSIVE;
    if (own->hold == 0 || attempt.mode == DPX_MODE_NONE || !conflicts)
        return;
    if (dpx_peers_dead(world->peers, &own->who)) {
        if (own->hold > view->overridden)
            view->overridden = own->hold;
        return;
    }
    /* Only of a higher one: a lower flag may be an old copy of one that a minority shows taken down. */
    view->certain_sharer |= own->mode == DPX_MODE_SHARED && own->taken && own->hold > attempt.ballot;
    dpx_peers_want(world->peers, &own->who, now);
    dpx_flag *flag = attempt.ballot != 0 && own->hold > attempt.ballot ? &view->higher : &view->lower;
    if (flag->hold >= own->hold)
        return; /* the highest one is told about */
    flag->who = own->who;
    flag->hold = own->hold;
    flag->mode = own->mode;
    flag->seen_at = flag->last_seen = now;
    flag->held_since = own->held_since;
    flag->label_length = own->label_length;
    memcpy(flag->label, own->label, sizeof flag->label);
}

/* A header change is open while its dead author's flag is there and the header was not
 * written since under a higher directory token.  Without a flag it is one that an earlier owner
 * of the slot left behind, and that the present one could not resolve.  Of several the one is told
 * about that must be waited for: the area is nobody's to change until the last write that may
 * still come has drained. */
static void scan_change(const dpx_world *world, const dpx_own *own, bool dead_self, dpx_view *view)
{
    bool inherited = own->hold == 0;
    if (own->change_token == 0 || view->header.directory_token > own->change_token)
        return;
    bool made = view->header.directory_token == own->change_token && view->header_agreed;
    bool open = inherited || dead_self || dpx_peers_dead(world->peers, &own->who); /* else its flag is in the way */
    dpx_incarnation changer = own->who;
    changer.generation -= inherited;
    /* Our own slot was drained when we claimed it. */
    bool undrained = open && changer.slot != world->self.slot && !dpx_peers_incarnation_drained(world->peers, &changer);
    view->change_pending = true;
    view->change_unmade |= !made;
    bool first = !made && !view->change_open && view->changer.generation == 0;
    bool graver = undrained ? !view->change_undrained : open ? !view->change_open : first;
    view->change_open |= open;
    view->change_undrained |= undrained;
    if (graver)
        view->changer = changer;
}

bool dpx_mark_before(const dpx_mark *mark, const dpx_mark *other)
{
    return mark->ticket != other->ticket ? mark->ticket < other->ticket : mark->slot < other->slot;
}

bool dpx_mark_equal(const dpx_mark *a, const dpx_mark *b)
{
    return a->ticket == b->ticket && a->slot == b->slot && a->generation == b->generation;
}

/* old: those up to the mark that was passed over, which count again once that one is gone. */
static void scan_mark(const dpx_world *world, const dpx_own *own, dpx_attempt attempt, dpx_line *line, dpx_line *old)
{
    const dpx_mark mark = {.ticket = own->ticket, .generation = own->who.generation, .slot = own->who.slot};
    const dpx_mark mine = {.ticket = attempt.ticket, .slot = world->self.slot};
    if (own->ticket > line->top)
        line->top = own->ticket;
    if (dpx_mark_equal(&mark, &attempt.passed))
        line->passed_stands = true;
    bool together = own->mode == DPX_MODE_SHARED && attempt.mode == DPX_MODE_SHARED;
    if (own->hold != 0 || attempt.mode == DPX_MODE_NONE || together || dpx_peers_dead(world->peers, &own->who))
        return;
    dpx_line *part = dpx_mark_before(&attempt.passed, &mark) ? line : old;
    part->waiters++;
    if (attempt.ticket != 0 && !dpx_mark_before(&mark, &mine))
        return;
    part->ahead++;
    if (part->first.ticket == 0 || dpx_mark_before(&mark, &part->first))
        part->first = mark;
}

static void join_line(dpx_line *line, const dpx_line *old)
{
    if (line->passed_stands)
        return;
    line->waiters += old->waiters;
    line->ahead += old->ahead;
    if (old->first.ticket != 0)
        line->first = old->first;
}

static void scan_other(const dpx_world *world, const dpx_own *own, dpx_attempt attempt, uint64_t now, dpx_view *view)
{
    if (own->ballot > view->top_others)
        view->top_others = own->ballot;
    if (own->last_exclusive > view->last_exclusive)
        view->last_exclusive = own->last_exclusive;
    if (own->certainly_taken > view->certainly_taken)
        view->certainly_taken = own->certainly_taken;
    scan_flag(world, own, attempt, now, view);
    scan_change(world, own, false, view);
}

void dpx_view_scan(const dpx_world *world, uint32_t area, const uint8_t *const images[DPX_MAX_DISKS],
                   dpx_attempt attempt, uint64_t now, dpx_view *view)
{
    const dpx_geometry *geometry = world->geometry;
    uint64_t first = dpx_header_block(geometry, area);
    dpx_line old = {0};
    memset(view, 0, sizeof *view);
    const uint8_t *block = newest_copy(geometry, images, first, 0);
    if (block)
        dpx_header_decode(block, &view->header);
    view->header_agreed = block && agreed(geometry, images, &view->header);
    view->top = view->header.first_ballot;
    for (uint32_t slot = 0; slot < geometry->max_hosts; slot++) {
        dpx_own own;
        block = newest_copy(geometry, images, first, 1 + slot);
        if (!block || dpx_block_key(block).generation == 0)
            continue; /* never written by anybody */
        dpx_own_decode(block, &own);
        if (area == DPX_DIRECTORY_AREA)
            own.change_token = 0; /* the header of lease 0 does not change: nothing to resolve, whatever is claimed */
        uint64_t highest = own.ballot > own.hold ? own.ballot : own.hold;
        if (highest > view->top)
            view->top = highest;
        if (own.directory_token > view->header.directory_token)
            view->header_stale = true;
        if (slot != world->self.slot) {
            scan_other(world, &own, attempt, now, view);
            if (own.ticket != 0 && dpx_uuid_equal(&own.lease, &view->header.lease))
                scan_mark(world, &own, attempt, &view->line, &old);
            continue;
        }
        view->own_seen = true;
        view->own = own;
        if (own.who.generation < world->self.generation || own.hold == 0)
            scan_change(world, &own, true, view);
    }
    join_line(&view->line, &old);
}

bool dpx_area_settled_free(const dpx_world *world, uint32_t area, const uint8_t *const images[DPX_MAX_DISKS])
{
    dpx_view view;
    dpx_view_scan(world, area, images, (dpx_attempt){.mode = DPX_MODE_NONE}, 0, &view);
    return view.header_agreed && view.header.state == DPX_LEASE_FREE && !view.change_pending && !view.header_stale;
}
