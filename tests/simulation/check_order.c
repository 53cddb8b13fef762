/* The whole history of each lease, once more and independently of checks made on the way:
 * grants in the order of their tokens must be a sequential history of a mutex (with shared
 * holders) whose operations lie within the real intervals in which they were made. */
#include "checker.h"

#include <stdlib.h>
#include <string.h>

#define MANY(x) ((unsigned long long)(x))

static int by_token(const void *a, const void *b)
{
    const grant *x = a, *y = b;
    if (x->uuid != y->uuid)
        return x->uuid < y->uuid ? -1 : 1;
    if (x->token != y->token)
        return x->token < y->token ? -1 : 1;
    if (x->exclusive != y->exclusive) /* a shared token may be that of the exclusive hold before it */
        return x->exclusive ? -1 : 1;
    return x->taken < y->taken ? -1 : x->taken > y->taken;
}

static uint64_t end_of(const world *w, const grant *g)
{
    uint64_t acts = life_acts_until(w, g->life);
    uint64_t end = g->ended < acts ? g->ended : acts;
    return end < w->now ? end : w->now;
}

/* An operation takes effect at some moment between `begun` and `taken`, and lasts until its
 * end.  What follows in the order of tokens must be able to take effect after that. */
static void check_pair(world *w, const grant *before, const grant *after)
{
    if (before->excused || after->excused || (!before->exclusive && !after->exclusive))
        return;
    if (after->taken < end_of(w, before) || after->taken < before->begun)
        violate(w, VIOLATION_ORDER, "vm-%u: token %llu (h%u) and then %llu (h%u) is no history of a mutex",
                w->truth->leases[after->uuid].name, MANY(before->token), w->truth->lives[before->life].host,
                MANY(after->token), w->truth->lives[after->life].host);
    if (after->exclusive && after->token == before->token)
        violate(w, VIOLATION_ORDER, "vm-%u: token %llu was given twice", w->truth->leases[after->uuid].name,
                MANY(after->token));
}

void check_history(world *w)
{
    truth *t = w->truth;
    check_overlaps(w);
    if (t->beyond || t->grant_count == MAX_LOG)
        return;
    qsort(t->grants, t->grant_count, sizeof t->grants[0], by_token);
    const grant *exclusive = NULL; /* the last one of this lease … */
    uint32_t group = 0;            /* … and where the shared ones after it begin */
    for (uint32_t i = 0; i < t->grant_count && w->violation == VIOLATION_NONE; i++) {
        const grant *g = &t->grants[i];
        if (i == 0 || g->uuid != t->grants[i - 1].uuid) {
            exclusive = NULL;
            group = i;
        }
        if (exclusive)
            check_pair(w, exclusive, g);
        if (!g->exclusive)
            continue;
        for (uint32_t j = group; j < i; j++)
            if (&t->grants[j] != exclusive)
                check_pair(w, &t->grants[j], g);
        exclusive = g;
        group = i;
    }
}

void check_reset(world *w)
{
    truth *t = w->truth;
    t->life_count = t->hold_count = t->lease_count = t->grant_count = t->overlap_count = 0;
    memset(t->own, 0, sizeof t->own);
    memset(t->slot_owner, 0, sizeof t->slot_owner);
    memset(t->slot_generation, 0, sizeof t->slot_generation);
    memset(t->beat_life, 0, sizeof t->beat_life);
    memset(t->beat_issued, 0, sizeof t->beat_issued);
    memset(t->noted_at, 0, sizeof t->noted_at);
    memset(t->noted_before, 0, sizeof t->noted_before);
    memset(t->restored_at, 0, sizeof t->restored_at);
    memset(t->claim_written, 0, sizeof t->claim_written);
    memset(t->claim_life, 0, sizeof t->claim_life);
    memset(t->claim_generation, 0, sizeof t->claim_generation);
    memset(t->contested, 0, sizeof t->contested);
    memset(t->blind_until, 0, sizeof t->blind_until);
    memset(t->trouble_at, 0, sizeof t->trouble_at);
    memset(t->replayed_at, 0, sizeof t->replayed_at);
    memset(t->stray, 0, sizeof t->stray);
    memset(t->covered, 0, sizeof t->covered);
    t->rewritten = 0;
    memset(t->rolled, 0, sizeof t->rolled);
    memset(t->area_of, -1, sizeof t->area_of);
    memset(t->changed_at, 0, sizeof t->changed_at);
    memset(t->filled_at, 0, sizeof t->filled_at);
    memset(t->vacated_at, 0, sizeof t->vacated_at);
    memset(t->landed_at, 0, sizeof t->landed_at);
    t->beyond = false;
}
