/* Rounds over blocks that are held, or damaged: watching, healing, rewriting. */
#include <string.h>

#include "round_state.h"

#define JUDGINGS 4u /* judging reads after healing, before a flag in the way is taken for a holder */

/* ---- watching ---- */

/* Which disks lack the own flag though it was durable there, or never got it; `behind`: those
 * of them that merely wait for a write.  A damaged block lacks nothing: no reader counts it. */
static uint8_t lacking(const dpx_round *round, uint32_t i, uint8_t *behind)
{
    const struct round_item *item = &round->items[i];
    const dpx_lease *lease = round->wishes[i].lease;
    *behind = 0;
    for (uint32_t d = 0; d < round->world->geometry->disks; d++) {
        bool suspect = round->world->in_flight[lease->header.area] >> d & 1;
        if ((item->counted >> d & 1) && !suspect && lease->done[d] < lease->sequence)
            *behind |= (uint8_t)(1u << d);
    }
    return item->regressed | *behind;
}

/* A held lease after a look: DPX_DONE, DPX_LOST, or DPX_RUNNING: the flag must be raised again. */
static dpx_verdict watch_one(dpx_round *round, uint32_t i, uint64_t now)
{
    struct round_item *item = &round->items[i];
    dpx_lease *lease = round->wishes[i].lease;
    uint8_t all = (uint8_t)((1u << round->world->geometry->disks) - 1);
    uint8_t behind;
    uint8_t missing = lacking(round, i, &behind);
    dpx_view view;
    bool readable = dpx_sweep_majority(round, item->counted);
    /* Without any regress what is out of reach is as it was written. */
    item->exposed = item->regressed && dpx_sweep_majority(round, missing | (all & (uint8_t)~item->returned));
    item->vanished = item->regressed && dpx_sweep_majority(round, missing);
    if (item->regressed || item->own_flawed || (readable && behind))
        item->heals = true;
    if (!readable)
        return item->heals ? DPX_RUNNING : item->flawed ? DPX_DAMAGED : DPX_STORAGE;
    dpx_round_scan(round, i, (dpx_attempt){.ballot = lease->hold, .mode = lease->mode}, now, &view);
    if (view.header_stale)
        return DPX_DAMAGED;
    if (!dpx_judge_kept(&view, lease, false))
        return DPX_LOST;
    lease->header = view.header;
    /* Of two flags one is an attempt that gives way.  Should it be a holder instead (either of us overlooked the
     * other), both say so, and the lower one learns of it at its next look. */
    bool met = view.higher.hold != 0 || view.lower.hold != 0;
    item->tells = dpx_lease_must_tell(lease) || (met && lease->told != lease->hold);
    if (item->heals || item->tells)
        return DPX_RUNNING;
    /* The flag stood: nobody can have taken it.  But an attempt that is under way will, if the flag vanishes now. */
    if (!met)
        lease->others_exclusive = view.last_exclusive;
    return DPX_DONE;
}

static void end_watch(dpx_round *round)
{
    dpx_verdict verdict = DPX_DONE;
    for (uint32_t i = 0; i < round->count; i++)
        if (round->wishes[i].outcome != DPX_DONE && verdict != DPX_LOST)
            verdict = round->wishes[i].outcome;
    dpx_round_finish(round, verdict);
}

void dpx_after_watch_look(dpx_round *round, uint64_t now)
{
    bool heal = false;
    for (uint32_t i = 0; i < round->count; i++) {
        struct round_item *item = &round->items[i];
        dpx_verdict outcome = watch_one(round, i, now);
        item->in_sweep = outcome == DPX_RUNNING;
        heal |= item->in_sweep;
        round->wishes[i].outcome = outcome;
        if (item->in_sweep)
            dpx_content_held(round, item, &round->wishes[i]);
    }
    if (!heal) {
        end_watch(round);
        return;
    }
    round->phase = ROUND_RAISE;
    round->judgings = 0;
    dpx_sweep_begin(round, SWEEP_PAIR, dpx_round_deadline(round, now), now);
}

/* The own flag stands again.  Who came in between has taken the lease, or gives way now. */
void dpx_after_heal(dpx_round *round, enum sweep_state state, uint64_t now)
{
    bool again = false;
    for (uint32_t i = 0; i < round->count; i++) {
        struct round_item *item = &round->items[i];
        dpx_wish *wish = &round->wishes[i];
        dpx_view view;
        if (!item->in_sweep)
            continue;
        if (dpx_sweep_majority(round, item->written))
            wish->lease->told = wish->lease->hold;
        if (state != SWEEP_GOOD) { /* lost only if the flag is certainly gone from a majority */
            wish->outcome = item->vanished ? DPX_LOST : DPX_STORAGE;
            continue;
        }
        dpx_round_scan(round, i, (dpx_attempt){.ballot = wish->lease->hold, .mode = wish->lease->mode}, now, &view);
        /* A flag that came while ours was gone may be a holder's. */
        bool clear = !item->exposed || (view.higher.hold == 0 && view.lower.hold == 0);
        if (clear && dpx_judge_kept(&view, wish->lease, item->exposed)) {
            wish->outcome = view.header_stale ? DPX_DAMAGED : DPX_DONE;
            wish->healed = item->heals;
        } else {
            wish->outcome = DPX_LOST;
            again = true;
        }
    }
    if (again && ++round->judgings < JUDGINGS)
        dpx_round_pause(round, ROUND_JUDGE_PAUSE, dpx_round_settle(round), now);
    else
        end_watch(round);
}

/* ---- rewriting a damaged own block ---- */

/* The own block on this disk is what we wrote last there, if ever we did. */
static bool up_to_date(const dpx_round *round, uint32_t disk, const uint8_t *block)
{
    const dpx_incarnation *self = &round->world->self;
    uint64_t written = round->channels[disk].floors[0];
    dpx_key key = dpx_block_key(block);
    return written == 0 || (key.generation == self->generation && key.sequence >= written);
}

/* Blocks that are damaged say nothing, and what is left of old content says too little.  Returns
 * the disks (bits) that show a sound own block. */
static uint8_t drop_damaged(dpx_round *round, const uint8_t *const images[DPX_MAX_DISKS])
{
    const dpx_geometry *geometry = round->world->geometry;
    uint64_t first = dpx_header_block(geometry, round->items[0].probe);
    uint8_t sound = 0;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        for (uint32_t n = 0; images[d] && n < 1 + geometry->max_hosts; n++) {
            uint8_t *block = round->channels[d].images + (size_t)n * geometry->block_size;
            enum dpx_kind kind = n == 0 ? DPX_KIND_HEADER : DPX_KIND_OWN;
            if (dpx_block_check(block, geometry, kind, d, first + n) != DPX_SOUND)
                memset(block, 0, geometry->block_size);
            else if (n == 1 + round->world->self.slot && up_to_date(round, d, block))
                sound |= (uint8_t)(1u << d);
        }
    }
    return sound;
}

/* What the own block is to say: what this incarnation last wrote; if it never did, what a
 * majority still shows; else far above all that can be read, since what the damaged block
 * held is not known.  That is "perhaps taken": it ends no holder, dead or alive, whose flag stands, and
 * so nobody's flag is a reason not to write.  False: no such ballot. */
static bool restore_own(dpx_round *round, const dpx_view *view, bool trusted)
{
    dpx_lease *lease = round->wishes[0].lease;
    dpx_lease_ballot(round->world, lease, lease->ballot);
    uint64_t top = lease->ballot > view->top ? lease->ballot : view->top;
    uint64_t above = dpx_ballot_above(round->world, top, DPX_BALLOT_SLOTS);
    if (!trusted && above == 0)
        return false;
    lease->header = view->header;
    lease->header.area = round->items[0].probe;
    lease->undecided = view->change_pending;
    if (!lease->known && view->own_seen) {
        dpx_lease_ballot(round->world, lease, view->own.ballot);
        lease->last_exclusive = view->own.last_exclusive;
        lease->certainly_taken = view->own.certainly_taken;
        lease->directory_token = view->own.directory_token;
        dpx_lease_inherit(round->world, lease, &view->own);
        if (view->own.who.generation == round->world->self.generation)
            lease->sequence = view->own.sequence;
    }
    lease->known = true;
    if (!trusted)
        lease->ballot = lease->last_exclusive = above;
    return true;
}

static bool overtaken(const dpx_round *round)
{
    const struct round_item *item = &round->items[0];
    return item->drawn == DPX_NEVER ||
           (round->world->sequences && round->world->sequences[item->probe] != item->drawn);
}

bool dpx_rewrite_again(dpx_round *round, uint64_t now)
{
    dpx_lease *lease = round->wishes[0].lease;
    if (round->kind != DPX_ROUND_REWRITE || !overtaken(round))
        return false;
    /* A write that hangs may take its time: no reason to read the area at full speed meanwhile. */
    bool hangs = round->items[0].drawn == DPX_NEVER;
    lease->known = lease->cached = false;
    memset(lease->done, 0, sizeof lease->done);
    dpx_round_pause(round, ROUND_LOOK_PAUSE, hangs ? 50 * DPX_MS : dpx_round_settle(round), now);
    return true;
}

void dpx_after_rewrite_look(dpx_round *round, uint64_t now)
{
    struct round_item *item = &round->items[0];
    const uint8_t *images[DPX_MAX_DISKS];
    dpx_view view;
    if (dpx_rewrite_again(round, now))
        return;
    if (!dpx_sweep_majority(round, item->returned)) {
        dpx_sweep_blame(round);
        dpx_round_finish(round, DPX_STORAGE);
        return;
    }
    item->counted = item->returned;
    dpx_sweep_images(round, item, images);
    uint8_t sound = drop_damaged(round, images);
    dpx_view_scan(round->world, item->probe, images, (dpx_attempt){.mode = DPX_MODE_NONE}, now, &view);
    bool trusted = round->wishes[0].lease->known || dpx_sweep_majority(round, sound);
    if (!restore_own(round, &view, trusted)) {
        dpx_round_finish(round, DPX_CEILING);
    } else {
        dpx_content_held(round, item, &round->wishes[0]);
        dpx_round_lower(round, DPX_DONE, now);
    }
}
