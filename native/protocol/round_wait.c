/* Waiting for a lease: how often one looks, who comes first, when one has waited enough.
 *
 * Marks are advice.  They make a host look again where it might have taken; nothing is ever
 * taken, kept or refused because of one. */
#include "round_state.h"

#define POLL_MAX (50 * DPX_MS)       /* of the first in line, while the holder is likely to let go … */
#define POLL_SLOW (250 * DPX_MS)     /* … and later */
#define POLL_SLOW_AFTER (10 * DPX_SECOND)
#define POLL_LAST (1000 * DPX_MS)    /* of the last in a long line */
#define COURTESY (2 * POLL_SLOW)     /* how long a lease that is free is left to whoever comes first */

/* What has lasted for a while is likely to last as long again: the first in line looks at a flag
 * that it has seen for 3 ms after 3 more, and so on up to 50.  Those behind it need to look
 * only about when their turn comes. */
static uint64_t poll_time(const dpx_round *round, uint64_t age, uint32_t ahead)
{
    uint64_t settle = dpx_round_settle(round);
    uint64_t poll = age < settle ? settle : age < POLL_MAX ? age : age < POLL_SLOW_AFTER ? POLL_MAX : POLL_SLOW;
    uint64_t turn = poll / 2 * (2 + (ahead < 1000 ? ahead : 1000));
    uint64_t most = poll > POLL_LAST ? poll : POLL_LAST;
    return turn < most ? turn : most;
}

void dpx_round_draw(dpx_round *round)
{
    uint64_t top = 0;
    if (round->ticket != 0)
        return;
    for (uint32_t i = 0; i < round->count; i++) {
        const dpx_lease *lease = round->wishes[i].lease;
        if (lease->top_ticket > top)
            top = lease->top_ticket;
        if (lease->own_ticket > top)
            top = lease->own_ticket;
    }
    round->ticket = top < UINT64_MAX ? top + 1 : top;
    for (uint32_t i = 0; i < round->count; i++)
        round->wishes[i].lease->own_ticket = round->ticket;
}

/* The first in line did not come for a lease that it could have had: it is stopped, or dead.  The
 * next such one in a row gets half the time. */
static uint64_t patience(const dpx_round *round)
{
    uint64_t most = COURTESY >> (round->passes < 8 ? round->passes : 8);
    return most > POLL_MAX ? most : POLL_MAX;
}

static bool passes_over(dpx_round *round, dpx_lease *lease, const dpx_mark *first, uint64_t now)
{
    if (!dpx_mark_equal(first, &lease->deferred)) {
        lease->deferred = *first;
        lease->deferred_for = lease->deferred_from = 0;
    }
    if (lease->deferred_from != 0) { /* who was stopped in between has seen nothing of that time */
        uint64_t seen = now - lease->deferred_from;
        lease->deferred_for += seen < POLL_SLOW ? seen : POLL_SLOW;
    }
    lease->deferred_from = now;
    if (lease->deferred_for < patience(round))
        return false;
    lease->passed = *first;
    lease->deferred_from = 0;
    round->passes++;
    return true;
}

bool dpx_round_defers(dpx_round *round, uint32_t i, const dpx_view *view, uint64_t now)
{
    dpx_lease *lease = round->wishes[i].lease;
    if (!round->queues)
        return false;
    if (view->higher.hold != 0 || view->lower.hold != 0) {
        lease->deferred_from = 0;
        round->passes = 0;
        return false;
    }
    dpx_view next = {.line = view->line};
    while (next.line.ahead > 0 && passes_over(round, lease, &next.line.first, now))
        dpx_round_scan(round, i, dpx_judge_attempt(round, i, round->items[i].ballot), now, &next);
    lease->waiters = next.line.waiters;
    lease->ahead = next.line.ahead;
    return next.line.ahead > 0;
}

/* Flags that the round has met: the newest of them, and whether one was certainly a holder's. */
struct met {
    bool any, confirmed, silent, unmarked;
    uint64_t age;
    uint32_t ahead;
};

static void meet(dpx_round *round, uint64_t now, struct met *met)
{
    *met = (struct met){.silent = true, .age = DPX_NEVER};
    for (uint32_t i = 0; i < round->count; i++) {
        const dpx_lease *lease = round->wishes[i].lease;
        const dpx_flag *flag = &lease->flag;
        if (!round->items[i].looks)
            continue;
        if (lease->ahead > met->ahead)
            met->ahead = lease->ahead;
        met->unmarked |= !round->items[i].marked;
        if (flag->hold == 0)
            continue;
        uint64_t age = now - flag->seen_at;
        bool seen_twice = age >= dpx_round_settle(round);
        bool dying = dpx_peers_silent(round->world->peers, flag->who.slot);
        if (seen_twice && (!met->confirmed || !dying))
            dpx_cause_flag(round, i, flag);
        met->any = true;
        met->confirmed |= seen_twice;
        met->silent &= dying;
        met->age = age < met->age ? age : met->age;
    }
}

/* Every lease that is looked at gets the mark; where another name of this host wrote since, none. */
static bool begin_mark(dpx_round *round, uint64_t now)
{
    bool any = false;
    dpx_round_draw(round);
    for (uint32_t i = 0; i < round->count; i++) {
        struct round_item *item = &round->items[i];
        const dpx_wish *wish = &round->wishes[i];
        item->in_sweep = item->looks && !item->marked && dpx_lease_current(round->world, wish->lease);
        any |= item->in_sweep;
        if (!item->in_sweep)
            continue;
        dpx_content_mark(round, item, wish);
        item->marked = true;
    }
    if (!any)
        return false;
    round->phase = ROUND_MARK;
    dpx_sweep_begin(round, SWEEP_WRITE, dpx_round_deadline(round, now), now);
    return true;
}

static void pause(dpx_round *round, uint64_t duration, uint64_t now)
{
    if (now < round->wait_until && duration > round->wait_until - now)
        duration = round->wait_until - now; /* the last look is at the end of the waiting */
    dpx_round_pause(round, ROUND_LOOK_PAUSE, duration, now);
}

void dpx_round_wait(dpx_round *round, uint64_t now)
{
    bool patient = now < round->wait_until;
    struct met met;
    meet(round, now, &met);
    if (!met.any && !patient) { /* courtesy has an end */
        dpx_round_raise(round, now);
        return;
    }
    if (met.confirmed && !(met.silent && now < round->grace) && !patient) {
        dpx_round_unmark(round, DPX_REFUSED, now);
        return;
    }
    if (round->queues && patient && met.unmarked && begin_mark(round, now))
        return;
    uint64_t settle = dpx_round_settle(round);
    uint64_t poll = dpx_round_jittered(round, poll_time(round, met.any ? met.age : 0, met.ahead));
    pause(round, met.confirmed || (patient && poll > settle) ? poll : settle, now);
}

/* Whether the mark is there or not: it is advice. */
void dpx_after_mark(dpx_round *round, uint64_t now)
{
    pause(round, dpx_round_jittered(round, dpx_round_settle(round)), now);
}
