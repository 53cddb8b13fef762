/* The last write of a round: void, release, rewrite; or a waiter's mark taken back. */
#include "round_state.h"

/* Content of a void: what this incarnation held before; if the round waits on, its mark comes
 * with it and costs no write of its own. */
static void void_items(dpx_round *round, bool waits_on)
{
    if (waits_on)
        dpx_round_draw(round);
    for (uint32_t i = 0; i < round->count; i++) {
        struct round_item *item = &round->items[i];
        item->marked = waits_on;
        if (waits_on)
            dpx_content_mark(round, item, &round->wishes[i]);
        else
            dpx_content_held(round, item, &round->wishes[i]);
    }
}

static void begin_write(dpx_round *round, dpx_verdict after, bool unmarking, uint64_t now)
{
    round->after = after;
    round->unmarking = unmarking;
    round->phase = ROUND_LOWER;
    round->lowerings = 0;
    dpx_sweep_begin(round, SWEEP_WRITE, dpx_round_deadline(round, now), now);
}

void dpx_round_lower(dpx_round *round, dpx_verdict after, uint64_t now)
{
    bool raised = round->raised || round->kind != DPX_ROUND_TAKE;
    for (uint32_t d = 0; d < round->world->geometry->disks; d++) {
        const dpx_request *request = &round->channels[d].request;
        raised |= request->outstanding && request->write_count > 0 && dpx_sweep_ours(round, request);
    }
    if (!raised && after != DPX_RUNNING) { /* not one write of the attempt was issued, nor can it be */
        dpx_round_unmark(round, after, now);
        return;
    }
    for (uint32_t i = 0; i < round->count; i++)
        round->items[i].in_sweep = true;
    if (round->kind == DPX_ROUND_TAKE)
        void_items(round, round->queues && after == DPX_RUNNING);
    begin_write(round, after, false, now);
}

/* Who gives up waiting takes its marks back, if that can be done: they are advice. */
void dpx_round_unmark(dpx_round *round, dpx_verdict after, uint64_t now)
{
    bool any = false;
    for (uint32_t i = 0; i < round->count; i++) {
        struct round_item *item = &round->items[i];
        item->in_sweep = item->marked && dpx_lease_current(round->world, round->wishes[i].lease);
        if (item->in_sweep)
            dpx_content_held(round, item, &round->wishes[i]);
        any |= item->in_sweep;
        item->marked = false;
    }
    if (any && after != DPX_STORAGE)
        begin_write(round, after, true, now);
    else
        dpx_round_finish(round, after);
}

void dpx_round_release(dpx_round *round, uint64_t now)
{
    for (uint32_t i = 0; i < round->count; i++) {
        dpx_lease *lease = round->wishes[i].lease;
        lease->hold = lease->token = lease->change_token = 0; /* not held any more, whatever the disk shows */
        lease->mode = DPX_MODE_NONE;
        dpx_content_held(round, &round->items[i], &round->wishes[i]);
    }
    dpx_round_lower(round, DPX_DONE, now);
}

void dpx_after_lower(dpx_round *round, enum sweep_state state, uint64_t now)
{
    if (state == SWEEP_FAILED && !round->unmarking) { /* retried for ever, within the lifetime */
        uint64_t backoff = 10 * DPX_MS << (round->lowerings < 6 ? round->lowerings : 6);
        round->lowerings++;
        dpx_round_pause(round, ROUND_LOWER_PAUSE, backoff, now);
        return;
    }
    round->raised = false;
    if (round->kind == DPX_ROUND_RELEASE)
        for (uint32_t i = 0; i < round->count; i++)
            round->wishes[i].outcome = DPX_DONE;
    if (round->after != DPX_RUNNING)
        dpx_round_finish(round, round->after);
    else if (round->cancelled)
        dpx_round_unmark(round, round->cause.flag.hold ? DPX_REFUSED : DPX_GAVE_UP, now);
    else
        dpx_round_pause(round, ROUND_LOOK_PAUSE, dpx_round_jittered(round, dpx_round_settle(round)), now);
}
