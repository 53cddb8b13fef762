/* Stretched histories: longer ones, in which little goes wrong at once, but at moments that are chosen on purpose.
 *
 * Ordinary histories strike at random.  What takes a claim that lands four T_dead late, over the record of somebody who
 * took a lease over from a machine that stands still, and wakes just then, they meet once in 10^9.  Here each history
 * chooses a theme, a few moments (steps of the machines) at which it strikes, and what happens when somebody is taken
 * over.  None of them knows what the protocol's rules are.
 */
#include "checker.h"

#include <string.h>

static uint32_t below(world *w, uint32_t bound)
{
    return rng_below(&w->chance, bound);
}

/* ---- moments ---- */

static enum moment moment_of_slot(enum unit unit, const dpx_request *r)
{
    dpx_slot_record record;
    dpx_slot_decode(r->writes[0].data, &record);
    if (unit == UNIT_HEART)
        return record.state == DPX_SLOT_FREE ? AT_FREE : AT_BEAT;
    return record.state == DPX_SLOT_CLAIMING ? AT_CLAIM : record.state == DPX_SLOT_ACTIVE ? AT_ACTIVE : AT_FREE;
}

static enum moment moment_of_own(const dpx_request *r)
{
    dpx_own own;
    dpx_own_decode(r->writes[0].data, &own);
    return own.hold != 0 ? AT_RAISE : AT_LOWER;
}

enum moment moment_of(const world *w, enum unit unit, const dpx_request *r)
{
    const dpx_extent *first = r->write_count > 0 ? &r->writes[0] : &r->reads[0];
    uint32_t kind = dpx_place_of(w->geometry, first->block).kind;
    if (r->write_count == 0) {
        if (unit == UNIT_HEART)
            return AT_HEED;
        if (unit >= UNIT_CHANGE)
            return AT_LOOK;
        if (kind != DPX_KIND_SLOT)
            return AT_NOTE; /* it reads notes */
        return first->count > 1 ? AT_TABLE : r->read_count > 1 ? AT_CHECK : AT_AGAIN;
    }
    switch (kind) {
    case DPX_KIND_SLOT:
        return moment_of_slot(unit, r);
    case DPX_KIND_NOTICE:
        return unit == UNIT_HEART ? AT_NOTICES : AT_NOTE;
    case DPX_KIND_OWN:
        return moment_of_own(r);
    case DPX_KIND_HEADER:
        return AT_HEADER;
    default:
        return AT_OTHER;
    }
}

bool stretch_ambush(world *w, call *c)
{
    const stretch *more = &w->plan.more;
    if (w->quiet || c->ambushed || more->ambush == 0)
        return false;
    enum moment moment = moment_of(w, (enum unit)c->unit, c->request);
    if (!(more->moments >> moment & 1) || !chance(&w->chance, more->ambush))
        return false;
    c->ambushed = true;
    fault_note(w, FAULT_AMBUSHED);
    event_push(w, w->now, EVENT_FAULT, c->host, more->blows[below(w, 4)], 0);
    return true;
}

/* ---- somebody was taken over ---- */

static void wake_somebody(world *w)
{
    uint32_t start = below(w, w->plan.hosts);
    for (uint32_t i = 0; i < w->plan.hosts; i++) {
        const host *h = &w->hosts[(start + i) % w->plan.hosts];
        if (!w->boxes[h->box].frozen)
            continue;
        uint64_t most = below(w, 2) ? 4 * w->plan.latency : w->geometry->outage_tolerance;
        fault_note(w, FAULT_WOKEN);
        event_push(w, w->now + 1 + rng_time(&w->chance, most), EVENT_WAKE, h->index, 1, 0);
        return;
    }
}

void stretch_incident(world *w, host *taker)
{
    static const uint8_t falls[] = {HOST_KILL, HOST_KILL, HOST_POWER, HOST_PAUSE};
    const stretch *more = &w->plan.more;
    if (w->quiet)
        return;
    if (chance(&w->chance, more->wake))
        wake_somebody(w);
    if (taker && chance(&w->chance, more->let_go))
        disk_let_go(w);
    if (!taker || !chance(&w->chance, more->fall))
        return;
    uint64_t soon = rng_time(&w->chance, w->geometry->outage_tolerance);
    if (below(w, 2))
        taker->leave_soon = true;
    else
        event_push(w, w->now + soon, EVENT_FAULT, taker->index, falls[below(w, 4)], 0);
}

/* ---- the plan ---- */

static odds one_in(world *w, uint32_t least, uint32_t most)
{
    return UINT32_MAX / (least + below(w, most - least + 1));
}

/* Everything else stays as it is drawn, or goes. */
static void calm(world *w)
{
    plan *p = &w->plan;
    p->fail = p->fail_landed = p->queue_loss = p->over_limit = 0;
    p->delay = p->torn_write = 0;
    p->damages = p->replay_count = p->outages = p->stales = 0;
    p->replays = false;
    p->stops = p->powers = 0;
}

static void few_leases(world *w)
{
    plan *p = &w->plan;
    p->names = p->created = 1 + below(w, 2);
    p->wait = odds_of(0.3 + 0.2 * below(w, 4));
    p->weight_release = (uint8_t)(5 + below(w, 20));
}

static void draw_incidents(world *w)
{
    stretch *more = &w->plan.more;
    more->wake = below(w, 2) ? one_in(w, 1, 4) : 0;
    more->let_go = below(w, 2) ? one_in(w, 1, 4) : 0;
    more->fall = below(w, 2) ? one_in(w, 1, 4) : 0;
}

/* Machines that stand still while others take over, claims that are very late, takers that fall. */
static void theme_sleepers(world *w)
{
    plan *p = &w->plan;
    if (below(w, 4))
        calm(w);
    few_leases(w);
    if (below(w, 2))
        plan_crowd(w, 3 + below(w, 4));
    p->pauses = 2 + below(w, 6);
    p->long_pauses = true;
    p->critical = below(w, 4) ? odds_of(0.1 + 0.1 * below(w, 8)) : 0;
    p->kills = below(w, 6);
    p->weight_leave = (uint8_t)(below(w, 2) ? 0 : 2 + below(w, 20));
    p->drains_on_exit = (uint8_t)(below(w, 2) ? UINT8_MAX : rng_next(&w->chance));
    p->more.hang_claim = below(w, 3) ? one_in(w, 1, 4) : 0;
    draw_incidents(w);
}

/* The same with several disks, of which single hosts do not reach all, for long. */
static void theme_cuts(world *w)
{
    theme_sleepers(w);
    if (w->plan.hosts < w->geometry->max_hosts)
        plan_crowd(w, w->geometry->max_hosts);
    w->plan.more.cuts = 1 + below(w, MAX_OUTAGES);
    w->plan.kills = 2 + below(w, 8);
    w->plan.drains_on_exit = UINT8_MAX;
    if (below(w, 2)) { /* who stands still goes on doing so, and whoever took over falls */
        w->plan.pauses = 4 + below(w, 4);
        w->plan.more.wake = 0;
        w->plan.more.fall = one_in(w, 1, 2);
    }
}

/* Single bits, where death is told. */
static void theme_bits(world *w)
{
    plan *p = &w->plan;
    if (below(w, 2))
        calm(w);
    else
        theme_sleepers(w);
    few_leases(w);
    p->kills = 1 + below(w, 4);
    p->damages = 1 + below(w, 4);
    p->more.pick_dead = below(w, 4) ? odds_of(0.9) : 0;
}

/* Machines that go back to a snapshot. */
static void theme_reverts(world *w)
{
    plan *p = &w->plan;
    if (below(w, 2))
        calm(w);
    few_leases(w);
    p->weight_release = (uint8_t)(20 + below(w, 60));
    p->more.reverts = 1 + below(w, 3);
}

/* Leases created and deleted by hosts that die over it, and whose resolvers die over that. */
static void theme_changers(world *w)
{
    plan *p = &w->plan;
    if (below(w, 2))
        calm(w);
    p->names = 1 + below(w, 2);
    p->created = below(w, p->names + 1);
    p->weight_create = p->weight_delete = (uint8_t)(20 + below(w, 60));
    p->kills = below(w, 4);
    p->critical = odds_of(0.2 + 0.1 * below(w, 6));
    p->drains_on_exit = (uint8_t)rng_next(&w->chance);
    p->more.moments = 1u << AT_HEADER | (below(w, 2) ? 1u << AT_RAISE : 0);
    p->more.ambush = one_in(w, 1, 6);
}

/* Claims and notes that stand still half-way, few slots. */
static void theme_claimers(world *w)
{
    plan *p = &w->plan;
    if (below(w, 4))
        calm(w);
    few_leases(w);
    p->pauses = below(w, 4);
    p->long_pauses = true;
    p->kills = 2 + below(w, 6);
    p->critical = odds_of(0.1 + 0.1 * below(w, 6));
    p->weight_leave = (uint8_t)(2 + below(w, 20));
    p->drains_on_exit = (uint8_t)(below(w, 2) ? UINT8_MAX : rng_next(&w->chance));
    p->more.moments = 1u << (AT_TABLE + below(w, AT_FREE + 1)) | 1u << (AT_TABLE + below(w, AT_FREE + 1));
    p->more.ambush = one_in(w, 1, 8);
    draw_incidents(w);
}

/* Several memberships of one process, and hosts that look at old disks while they reclaim. */
static void theme_lives(world *w)
{
    plan *p = &w->plan;
    p->more.stay = odds_of(0.8);
    p->weight_leave = (uint8_t)(2 + below(w, 20));
    p->more.slow_words = true;
    p->more.blind_reclaims = below(w, 2);
    p->stales = p->more.blind_reclaims ? 2 + below(w, 6) : 0;
    p->kills = 1 + below(w, 6);
    p->over_limit = below(w, 2) ? 0 : odds_of(0.01 + 0.01 * below(w, 8));
}

static void draw_moments(world *w)
{
    static const uint8_t blows[] = {HOST_PAUSE, HOST_PAUSE, HOST_STOP, HOST_BRIEF, HOST_KILL, HOST_POWER};
    stretch *more = &w->plan.more;
    if (below(w, 2)) {
        more->moments |= 1u << below(w, MOMENTS);
        more->moments |= 1u << below(w, MOMENTS);
        more->ambush = one_in(w, 1, 40);
    }
    for (uint32_t i = 0; i < 4; i++)
        more->blows[i] = blows[below(w, 6)];
    more->inside = below(w, 4) ? 0 : one_in(w, 50, 400);
    more->untold = below(w, 4) ? 0 : one_in(w, 50, 400);
}

static void theme_none(world *w)
{
    (void)w;
}

const char *const theme_names[THEMES + 1] = {"sleepers", "cuts",     "bits",  "reverts",
                                             "changers", "claimers", "lives", "none", NULL};

static void (*const themes[THEMES])(world *) = {theme_sleepers, theme_cuts,     theme_bits,  theme_reverts,
                                                theme_changers, theme_claimers, theme_lives, theme_none};

bool stretch_fits(const world *w, const dpx_geometry *g)
{
    if (themes[w->theme] == theme_cuts)
        return g->disks > 1 && g->max_hosts <= 4; /* slots have one owner after the other */
    return true;
}

void stretch_draw(world *w)
{
    stretch *more = &w->plan.more;
    more->late = 1 + below(w, 6);
    more->late_claim = 1 + below(w, 5);
    draw_moments(w);
    themes[w->theme](w);
    TRACE(w, "theme: %s", theme_names[w->theme]);
    if (!w->plan.replays)
        w->plan.replay_count = 0;
}

/* ---- what is scheduled ---- */

/* One host does not reach a minority of the disks, for as long as it takes others to die, and longer. */
static void plan_cut(world *w, uint32_t index)
{
    outage *o = &w->outages[index];
    *o = (outage){.missing = rng_next(&w->chance) >> 63};
    o->hosts = (uint8_t)(1u << below(w, w->plan.hosts));
    for (uint32_t i = 0; i < (w->geometry->disks - 1) / 2; i++)
        o->disks |= (uint8_t)(1u << below(w, w->geometry->disks));
    o->from = w->now + rng_time(&w->chance, w->plan.duration);
    o->to = o->from + rng_time(&w->chance, 4 * w->dead_time);
    fault_note(w, FAULT_CUT_FOR_LONG);
    event_push(w, o->from, EVENT_OUTAGE, 0, (uint16_t)index, 1);
    if (o->to < w->now + w->plan.duration)
        event_push(w, o->to, EVENT_OUTAGE, 0, (uint16_t)index, 0);
}

void stretch_schedule(world *w)
{
    plan *p = &w->plan;
    for (uint32_t i = 0; i < p->more.cuts && p->outages < MAX_OUTAGES; i++)
        plan_cut(w, p->outages++);
    for (uint32_t i = 0; i < p->more.reverts; i++)
        event_push(w, w->now + rng_time(&w->chance, p->duration), EVENT_SAVE, (uint8_t)below(w, p->hosts), 0, 0);
}
