/* Looking and judging: what a take (or find) does with what it has read. */
#include <string.h>

#include "round_state.h"

#define JUDGINGS 4u /* judging reads that meet lower flags, before they are taken for holders */

/* ---- looking ---- */

/* Follows the probing of one lease that is not located yet.  True: settled (located, or
 * certainly not there); false: look at the next area. */
static bool follow_probe(dpx_round *round, uint32_t i, const dpx_view *view)
{
    const dpx_geometry *geometry = round->world->geometry;
    struct round_item *item = &round->items[i];
    dpx_wish *wish = &round->wishes[i];
    dpx_lease *lease = wish->lease;
    const dpx_header *header = &view->header;
    if (header->state == DPX_LEASE_IN_USE && header->name_length == lease->name_length &&
        memcmp(header->name, lease->name, lease->name_length) == 0) {
        lease->located = true;
        lease->header = *header;
        return true;
    }
    if (header->state != DPX_LEASE_IN_USE && !wish->vacant) {
        wish->vacant = true;
        wish->vacancy = *header;
    }
    if (header->state == DPX_LEASE_FREE || ++item->probes >= geometry->max_leases) {
        wish->outcome = DPX_NOT_FOUND;
        return true;
    }
    item->probe = (item->probe + 1) % geometry->max_leases;
    return false;
}

/* One lease after a good look.  Returns DPX_RUNNING to go on, or how the round ends. */
static dpx_verdict look_at(dpx_round *round, uint32_t i, uint64_t now)
{
    struct round_item *item = &round->items[i];
    dpx_wish *wish = &round->wishes[i];
    dpx_view view;
    uint32_t area = item->probe; /* the one that was read: the probing may go on */
    dpx_round_scan(round, i, dpx_judge_attempt(round, i, 0), now, &view);
    if (view.header_stale) {
        round->cause = (dpx_cause){.item = i, .flaw = DPX_FLAW_FIELD, .disk = DPX_NO_DISK,
                                   .block = dpx_header_block(round->world->geometry, item->probe)};
        return DPX_DAMAGED;
    }
    if (!wish->lease->located) {
        bool settled = follow_probe(round, i, &view);
        bool open = view.change_open || (wish->under_directory && view.change_unmade);
        if (open && !wish->lease->located) { /* whose name stands here is not decided yet */
            dpx_cause_open(round, i, area, &view);
            return DPX_CHANGE_OPEN;
        }
        if (!settled)
            return DPX_RUNNING; /* still looks */
        if (wish->outcome == DPX_NOT_FOUND) {
            item->looks = false;
            round->cause.item = i;
            return round->kind == DPX_ROUND_FIND ? DPX_RUNNING : DPX_NOT_FOUND;
        }
    } else if (wish->resolving) {
        if (view.change_undrained) { /* somebody's header write may still come */
            dpx_cause_open(round, i, area, &view);
            return DPX_UNDRAINED;
        }
        wish->lease->header = view.header; /* whatever a majority shows is what will be completed */
        wish->lease->undecided = true;
    } else if (!dpx_judge_header(&view, wish)) {
        round->cause.item = i;
        return DPX_CHANGED;
    }
    if (view.change_open && !wish->resolving) {
        dpx_cause_open(round, i, area, &view);
        return DPX_CHANGE_OPEN;
    }
    dpx_judge_learn(round->world, wish, &view, &view.lower, item->drawn);
    item->looks = wish->lease->flag.hold != 0 || dpx_round_defers(round, i, &view, now);
    if (round->kind == DPX_ROUND_FIND)
        wish->outcome = DPX_DONE;
    return DPX_RUNNING;
}

void dpx_after_look(dpx_round *round, uint64_t now)
{
    bool waiting = false;
    bool probing = false;
    for (uint32_t i = 0; i < round->count; i++) {
        if (!round->items[i].in_sweep)
            continue;
        dpx_verdict verdict = look_at(round, i, now);
        if (verdict != DPX_RUNNING) {
            dpx_round_finish(round, verdict);
            return;
        }
        bool located = round->wishes[i].lease->located;
        probing |= round->items[i].looks && !located;
        waiting |= round->items[i].looks && located && round->kind == DPX_ROUND_TAKE;
    }
    if (probing)
        dpx_round_look(round, now);
    else if (waiting)
        dpx_round_wait(round, now);
    else if (round->kind == DPX_ROUND_FIND)
        dpx_round_finish(round, DPX_DONE);
    else
        dpx_round_raise(round, now);
}

/* ---- judging ---- */

static void take(dpx_round *round, uint64_t now)
{
    if (dpx_world_over(round->world, now)) { /* the lifetime test after the last read */
        dpx_round_finish(round, DPX_FINISHED);
        return;
    }
    for (uint32_t i = 0; i < round->count; i++) {
        struct round_item *item = &round->items[i];
        dpx_wish *wish = &round->wishes[i];
        dpx_lease *lease = wish->lease;
        lease->hold = item->content.hold;
        lease->token = item->token;
        lease->mode = item->content.mode;
        lease->last_exclusive = item->content.last_exclusive;
        lease->others_exclusive = item->others;
        lease->overrides = item->overrides;
        if (lease->mode == DPX_MODE_EXCLUSIVE)
            lease->certainly_taken = lease->hold;
        lease->directory_token = item->content.directory_token;
        lease->change_token = item->content.change_token;
        lease->target = item->content.target;
        lease->held_since = item->content.held_since;
        lease->label_length = item->content.label_length;
        memcpy(lease->label, item->content.label, sizeof lease->label);
        wish->token = lease->token;
        wish->outcome = DPX_DONE;
    }
    dpx_round_finish(round, DPX_DONE);
}

/* What one lease's judging read says; learns from it on the way. */
static enum judgement judge_one(dpx_round *round, uint32_t i, bool *defers, uint64_t now)
{
    struct round_item *item = &round->items[i];
    dpx_wish *wish = &round->wishes[i];
    dpx_lease *lease = wish->lease;
    dpx_view view;
    dpx_round_scan(round, i, dpx_judge_attempt(round, i, item->ballot), now, &view);
    enum judgement judgement = dpx_judge(&view, wish, item->ballot);
    if (judgement == JUDGE_OPEN)
        dpx_cause_open(round, i, lease->header.area, &view);
    if (judgement == JUDGE_DAMAGED)
        round->cause = (dpx_cause){.item = i, .flaw = DPX_FLAW_FIELD, .disk = DPX_NO_DISK,
                                   .block = dpx_header_block(round->world->geometry, lease->header.area)};
    if (judgement >= JUDGE_OPEN)
        return judgement;
    dpx_judge_learn(round->world, wish, &view, view.higher.hold ? &view.higher : &view.lower, item->drawn);
    *defers |= dpx_round_defers(round, i, &view, now);
    if (judgement == JUDGE_LOWER)
        dpx_cause_flag(round, i, &lease->flag);
    if (judgement == JUDGE_STALE)
        round->cause.item = i;
    item->others = view.last_exclusive;
    item->overrides = view.overridden > view.certainly_taken && view.overridden > lease->certainly_taken;
    item->token = item->ballot;
    if (wish->mode == DPX_MODE_SHARED && view.last_exclusive > item->ballot)
        item->token = view.last_exclusive;
    return judgement;
}

static void look_again(dpx_round *round)
{
    for (uint32_t i = 0; i < round->count; i++)
        round->items[i].looks = true;
}

/* Over all leases of the round, the gravest judgement counts. */
void dpx_after_raise(dpx_round *round, uint64_t now)
{
    enum judgement worst = JUDGE_TAKEN;
    uint32_t culprit = 0;
    bool defers = false;
    for (uint32_t i = 0; i < round->count; i++) {
        enum judgement judgement = judge_one(round, i, &defers, now);
        if (judgement > worst) {
            worst = judgement;
            culprit = i;
        }
        if (worst >= JUDGE_OPEN)
            break;
    }
    switch (worst) {
    case JUDGE_TAKEN:
        if (!defers || now >= round->wait_until || round->cancelled) {
            take(round, now);
            break;
        }
        look_again(round); /* it is ours to take, but others were here before */
        dpx_round_lower(round, DPX_RUNNING, now);
        break;
    case JUDGE_STALE:
        dpx_round_lower(round, DPX_STALE, now);
        break;
    case JUDGE_HIGHER:
        dpx_round_raise(round, now);
        break;
    case JUDGE_LOWER:
        if (++round->judgings < JUDGINGS) {
            dpx_round_pause(round, ROUND_JUDGE_PAUSE, dpx_round_settle(round), now);
            break;
        }
        look_again(round);
        dpx_round_lower(round, now >= round->wait_until || round->cancelled ? DPX_REFUSED : DPX_RUNNING, now);
        break;
    case JUDGE_GIVE_WAY:
        look_again(round);
        dpx_round_lower(round, round->cancelled ? DPX_GAVE_UP : DPX_RUNNING, now);
        break;
    case JUDGE_OPEN:
        dpx_round_lower(round, DPX_CHANGE_OPEN, now);
        break;
    case JUDGE_DAMAGED:
        dpx_round_lower(round, DPX_DAMAGED, now);
        break;
    case JUDGE_CHANGED:
        round->cause.item = culprit;
        dpx_round_lower(round, DPX_CHANGED, now);
        break;
    }
}
