/* What hosts do: take, hold, release, create, delete, watch, leave, in random order. */
#include "checker.h"
#include "cores.h"

#include <errno.h>
#include <string.h>

/* ---- rounds ---- */

static task *free_task(host *h)
{
    for (uint32_t i = 0; i < TASKS; i++)
        if (h->tasks[i].kind == TASK_FREE)
            return &h->tasks[i];
    return NULL;
}

static enum unit unit_of(const host *h, const task *t)
{
    return (enum unit)(UNIT_ROUND + (t - h->tasks));
}

static void begin(world *w, host *h, task *t, dpx_round_kind kind, uint64_t wait_until)
{
    t->judged = false;
    if (t->kind == TASK_FREE)
        t->kind = TASK_TAKE;
    for (uint32_t i = 0; i < t->count; i++)
        h->busy[t->names[i]] = true;
    dpx_round_begin(t->round, kind, t->wishes, t->count, wait_until, local_now(w, h));
    host_step(w, h, unit_of(h, t));
}

static task *new_task(world *w, host *h, enum task_kind kind, uint32_t count, const uint8_t *names)
{
    task *t = free_task(h);
    if (!t || count == 0)
        return NULL;
    t->kind = kind;
    t->count = count;
    t->finding = false;
    t->began = w->now;
    t->cancel_at = DPX_NEVER;
    for (uint32_t i = 0; i < count; i++) {
        t->names[i] = names[i];
        t->wishes[i] = (dpx_wish){.lease = &h->leases[names[i]]};
    }
    return t;
}

bool actor_take(world *w, host *h, uint32_t count, const uint8_t *names, enum dpx_mode mode, uint64_t wait,
                int resume)
{
    bool unknown = false;
    task *t = new_task(w, h, TASK_TAKE, count, names);
    if (!t)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        dpx_wish *wish = &t->wishes[i];
        wish->mode = mode;
        wish->label_length = 2;
        memcpy(wish->label, h->me.host_name, 2);
        unknown |= !wish->lease->located;
        if (resume >= 0) {
            wish->resume = true;
            wish->resume_lease = w->states[names[i]][resume].uuid;
            wish->resume_token = w->states[names[i]][resume].token;
        }
    }
    t->wait = wait;
    t->finding = unknown;
    TRACE(w, "h%u wants vm-%u%s %s%s", h->index, names[0], count > 1 ? " and more" : "",
          mode == DPX_MODE_SHARED ? "shared" : "exclusive", resume >= 0 ? ", resumed" : "");
    uint64_t now = local_now(w, h);
    begin(w, h, t, unknown ? DPX_ROUND_FIND : DPX_ROUND_TAKE, wait > DPX_NEVER - now ? DPX_NEVER : now + wait);
    return true;
}

bool actor_release(world *w, host *h, uint32_t count, const uint8_t *names)
{
    task *t = new_task(w, h, TASK_RELEASE, count, names);
    if (!t)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        if (h->held[names[i]])
            check_release_begun(w, h, names[i]);
        h->held[names[i]] = h->must_lower[names[i]] = false;
        TRACE(w, "h%u releases vm-%u", h->index, names[i]);
    }
    begin(w, h, t, DPX_ROUND_RELEASE, 0);
    return true;
}

bool actor_change(world *w, host *h, dpx_change_kind kind, uint8_t name, uint64_t wait)
{
    if (h->changing || (kind != DPX_CHANGE_RESOLVE && h->busy[name]))
        return false;
    uint64_t now = local_now(w, h);
    h->changing = true;
    h->change_judged = false;
    h->resolved_area = UINT32_MAX;
    h->change_kind = kind;
    h->change_name = name;
    h->change_began = w->now;
    h->fresh = uuid_draw(w);
    dpx_lease *lease = kind == DPX_CHANGE_RESOLVE ? &h->resolve : &h->leases[name];
    if (kind == DPX_CHANGE_RESOLVE) {
        dpx_lease_reset(lease, "", 0);
        lease->located = true;
        lease->header.area = (uint32_t)h->resolve_area;
    } else {
        h->busy[name] = true;
    }
    TRACE(w, "h%u %s", h->index, kind == DPX_CHANGE_CREATE ? "creates" : kind == DPX_CHANGE_DELETE ? "deletes"
                                                                                                   : "resolves");
    dpx_change_begin(h->change, kind, lease, &h->fresh, wait > DPX_NEVER - now ? DPX_NEVER : now + wait, now);
    host_step(w, h, UNIT_CHANGE);
    return true;
}

/* ---- verdicts ---- */

static void remember_state(world *w, uint8_t name, const dpx_uuid *uuid, uint64_t token)
{
    uint32_t at = w->state_count[name]++ % STATES;
    w->states[name][at].uuid = *uuid;
    w->states[name][at].token = token;
}

static void take_done(world *w, host *h, task *t)
{
    for (uint32_t i = 0; i < t->count && !w->over; i++) {
        uint8_t name = t->names[i];
        TRACE(w, "h%u holds vm-%u with token %llu", h->index, name, (unsigned long long)t->wishes[i].token);
        check_taken(w, h, t, i);
        h->held[name] = true;
        h->exclusive[name] = t->wishes[i].mode == DPX_MODE_EXCLUSIVE;
        if (dpx_lease_must_tell(t->wishes[i].lease)) /* native/host/watch.c does so, too */
            h->next_watch = local_now(w, h);
        remember_state(w, name, &t->wishes[i].lease->header.lease, t->wishes[i].token);
    }
}

/* The find's verdict is there, but perhaps a read of it still hangs: then its memory stays in
 * use, and another round takes. */
static task *successor(host *h, task *t)
{
    if (dpx_round_quiet(t->round))
        return t;
    task *next = free_task(h);
    if (!next)
        return NULL;
    dpx_round *round = next->round;
    *next = *t;
    next->round = round;
    next->kind = TASK_FREE; /* until it begins */
    return next;
}

static bool all_found(world *w, host *h, task *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        if (t->wishes[i].outcome == DPX_NOT_FOUND) {
            check_take_failed(w, h, t, DPX_NOT_FOUND);
            h->create_next = true;
            return false;
        }
        if (!t->wishes[i].lease->located)
            return false;
    }
    return true;
}

/* Found: now take. */
static void found(world *w, host *h, task *t)
{
    uint64_t now = local_now(w, h);
    t->finding = false;
    task *taking = successor(h, t);
    if (taking && all_found(w, h, t))
        begin(w, h, taking, DPX_ROUND_TAKE, t->wait > DPX_NEVER - now ? DPX_NEVER : now + t->wait);
}

static void watch_done(world *w, host *h, task *t)
{
    for (uint32_t i = 0; i < t->count; i++) {
        uint8_t name = t->names[i];
        if (t->wishes[i].healed)
            outcome_note(w, OUT_HEALED);
        if (t->wishes[i].outcome != DPX_LOST || !h->held[name])
            continue;
        TRACE(w, "h%u lost vm-%u", h->index, name);
        check_lost(w, h, name);
        h->held[name] = false;
        h->must_lower[name] = true;
    }
}

/* As native/host/heal.c: another living host's block is asked for. */
static void ask_its_owner(world *w, host *h, const dpx_place *place)
{
    const dpx_peer *peer = &h->world.peers->slots[place->slot];
    bool other = place->kind == DPX_KIND_OWN && place->slot != h->world.self.slot;
    if (!other || !peer->seen || peer->record.state != DPX_SLOT_ACTIVE || h->state != HOST_JOINED)
        return;
    if (dpx_heart_ask(h->heart, &peer->record.who, place->area))
        TRACE(w, "h%u asks slot %u to rewrite its block in area %u", h->index, place->slot, place->area);
}

static void take_failed(world *w, host *h, task *t, dpx_verdict verdict)
{
    const dpx_cause *cause = dpx_round_cause(t->round);
    check_take_failed(w, h, t, verdict);
    h->refused = true;
    if (verdict == DPX_CHANGED || (verdict == DPX_STORAGE && cause->error == -EBUSY))
        dpx_lease_unlocate(t->wishes[cause->item < t->count ? cause->item : 0].lease);
    if (verdict == DPX_CHANGE_OPEN && h->resolve_area == -1)
        h->resolve_area = (int)cause->area;
    dpx_place place = dpx_place_of(w->geometry, cause->block);
    bool own = place.kind == DPX_KIND_OWN && place.slot == h->world.self.slot;
    if (verdict == DPX_DAMAGED)
        ask_its_owner(w, h, &place);
    if (verdict == DPX_DAMAGED && own && (w->quiet || rng_below(&w->chance, 2)))
        h->rewrite_area = (int)place.area;
}

void actor_round_done(world *w, host *h, task *t)
{
    dpx_verdict verdict = dpx_round_verdict(t->round);
    t->judged = true;
    for (uint32_t i = 0; i < t->count; i++)
        h->busy[t->names[i]] = false;
    if (verdict == DPX_FINISHED)
        return;
    TRACE(w, "h%u round %u (vm-%u): %s", h->index, (uint32_t)(t - h->tasks), t->names[0], dpx_verdict_text(verdict));
    switch (t->kind) {
    case TASK_TAKE:
        if (verdict != DPX_DONE)
            take_failed(w, h, t, verdict);
        if (verdict != DPX_DONE)
            break;
        if (t->finding)
            found(w, h, t);
        else
            take_done(w, h, t);
        break;
    case TASK_RELEASE:
        for (uint32_t i = 0; i < t->count && verdict == DPX_DONE; i++)
            check_released(w, h, t->names[i]);
        if (w->quiet && h->serving && verdict == DPX_DONE) {
            h->serving = false;
            h->served++;
        }
        break;
    case TASK_WATCH:
        watch_done(w, h, t);
        break;
    default:
        outcome_note(w, OUT_REWRITTEN);
        dpx_lease_unlocate(t->wishes[0].lease);
        break;
    }
}

void actor_change_done(world *w, host *h)
{
    dpx_verdict verdict = dpx_change_verdict(h->change);
    const dpx_cause *cause = dpx_change_cause(h->change);
    if (h->change_kind != DPX_CHANGE_RESOLVE)
        h->busy[h->change_name] = false;
    if (verdict == DPX_FINISHED)
        return;
    TRACE(w, "h%u change: %s", h->index, dpx_verdict_text(verdict));
    check_changed(w, h, verdict);
    h->refused = verdict != DPX_DONE;
    h->resolve_area = -1;
    if (verdict == DPX_CHANGE_OPEN)
        h->resolve_area = (int)cause->area;
    if (h->change_kind == DPX_CHANGE_RESOLVE) { /* the area was the resolver's for a while */
        dpx_lease_unlocate(&h->resolve);
        return;
    }
    if (verdict == DPX_FULL && w->quiet && h->serving) { /* more names than areas: nothing to be had */
        h->serving = false;
        h->served++;
    }
}

/* ---- watching ---- */

void actor_watch(world *w, host *h)
{
    uint8_t names[MAX_NAMES];
    uint32_t count = 0;
    uint64_t S = w->geometry->outage_tolerance;
    for (uint8_t name = 0; name < w->plan.names; name++)
        if (h->held[name] && !h->busy[name])
            names[count++] = name;
    h->next_watch = local_now(w, h) + S * 3 / 8;
    if (count == 0)
        return;
    task *t = new_task(w, h, TASK_WATCH, count, names);
    if (t)
        begin(w, h, t, DPX_ROUND_WATCH, 0);
    else
        h->next_watch = local_now(w, h) + S / 32;
}

/* ---- choosing ---- */

static uint32_t pick_free(world *w, const host *h, uint32_t most, uint8_t *names)
{
    uint32_t count = 0;
    uint32_t start = rng_below(&w->chance, w->plan.names);
    for (uint32_t i = 0; i < w->plan.names && count < most; i++) {
        uint8_t name = (uint8_t)((start + i) % w->plan.names);
        if (!h->busy[name] && !h->held[name] && !h->must_lower[name])
            names[count++] = name;
    }
    return count;
}

static void act_take(world *w, host *h)
{
    plan *p = &w->plan;
    uint8_t names[MAX_NAMES];
    uint32_t most = chance(&w->chance, p->batch) ? 2 + rng_below(&w->chance, 3) : 1;
    uint32_t count = pick_free(w, h, most, names);
    uint64_t wait = 0;
    int resume = -1;
    if (count == 0)
        return;
    if (chance(&w->chance, p->wait)) {
        uint32_t patience = rng_below(&w->chance, 16); /* mostly short: waiting is polling */
        wait = patience == 0 ? DPX_NEVER : rng_time(&w->chance, patience < 4 ? 2 * w->dead_time
                                                                            : w->geometry->outage_tolerance / 4);
    }
    if (count == 1 && w->state_count[names[0]] > 0 && chance(&w->chance, p->resume)) {
        uint32_t known = w->state_count[names[0]] < STATES ? w->state_count[names[0]] : STATES;
        resume = (int)rng_below(&w->chance, known);
    }
    enum dpx_mode mode = chance(&w->chance, p->shared) ? DPX_MODE_SHARED : DPX_MODE_EXCLUSIVE;
    if (!actor_take(w, h, count, names, mode, wait, resume))
        return;
    if (wait == DPX_NEVER || rng_below(&w->chance, 8) == 0)
        for (uint32_t i = 0; i < TASKS; i++)
            if (h->tasks[i].kind == TASK_TAKE && h->tasks[i].cancel_at == DPX_NEVER)
                h->tasks[i].cancel_at = local_now(w, h) + rng_time(&w->chance, 2 * w->dead_time);
}

static bool act_release(world *w, host *h, bool all)
{
    uint8_t names[MAX_NAMES];
    uint32_t count = 0;
    bool left = false;
    for (uint8_t name = 0; name < w->plan.names; name++) {
        bool mine = h->held[name] || h->must_lower[name];
        if (mine && !h->busy[name] && (all || h->must_lower[name] || rng_below(&w->chance, 2)))
            names[count++] = name;
        else
            left |= mine || h->busy[name];
    }
    if (count > 0)
        (void)actor_release(w, h, count, names);
    return count > 0 || left;
}

static void act_leave(world *w, host *h)
{
    bool busy = h->changing || h->reclaiming || act_release(w, h, true);
    for (uint32_t i = 0; i < TASKS; i++) {
        busy |= h->tasks[i].kind != TASK_FREE;
        if (h->tasks[i].kind == TASK_TAKE)
            h->tasks[i].cancel_at = 0;
    }
    h->leave_soon = true;
    if (busy)
        return;
    TRACE(w, "h%u leaves", h->index);
    h->state = HOST_LEAVING;
    dpx_heart_leave(h->heart);
    host_step(w, h, UNIT_HEART);
}

/* An own block that is damaged or has regressed is made good by its owner. */
bool actor_rewrite(world *w, host *h, uint32_t area)
{
    uint8_t name = 0;
    while (name < MAX_NAMES && !(h->leases[name].located && h->leases[name].header.area == area))
        name++;
    if (h->busy[name] || h->held[name] || h->must_lower[name])
        return false;
    task *t = new_task(w, h, TASK_REWRITE, 1, &name);
    if (!t)
        return false;
    if (name == MAX_NAMES) { /* no name of ours is there */
        dpx_lease_reset(&h->leases[name], "", 0);
        h->leases[name].located = true;
        h->leases[name].header.area = area;
    }
    TRACE(w, "h%u rewrites its block in area %u", h->index, area);
    begin(w, h, t, DPX_ROUND_REWRITE, 0);
    return true;
}

static void act_rewrite(world *w, host *h)
{
    (void)actor_rewrite(w, h, 1 + rng_below(&w->chance, w->geometry->max_leases - 1));
}

static void act_directory(world *w, host *h, bool create)
{
    uint8_t name;
    uint64_t wait = chance(&w->chance, w->plan.wait) ? rng_time(&w->chance, w->dead_time) : 0;
    if (pick_free(w, h, 1, &name) == 1)
        (void)actor_change(w, h, create ? DPX_CHANGE_CREATE : DPX_CHANGE_DELETE, name, wait);
}

void actor_act(world *w, host *h)
{
    plan *p = &w->plan;
    if (w->quiet) {
        quiet_act(w, h);
        return;
    }
    h->next_act = local_now(w, h) + p->tempo / 8 + rng_time(&w->chance, 2 * p->tempo);
    if (h->state != HOST_JOINED || dpx_heart_count(h->heart).beats == 0)
        return; /* rule S17 */
    if (h->leave_soon) {
        act_leave(w, h);
        return;
    }
    if (h->rewrite_area >= 0) {
        uint32_t area = (uint32_t)h->rewrite_area;
        h->rewrite_area = -1;
        if (actor_rewrite(w, h, area))
            return;
    }
    if (h->resolve_area >= 0 && rng_below(&w->chance, 2) &&
        actor_change(w, h, DPX_CHANGE_RESOLVE, MAX_NAMES, p->tempo))
        return;
    uint32_t dice = rng_below(&w->chance, (uint32_t)p->weight_take + p->weight_release + p->weight_create +
                                              p->weight_delete + p->weight_leave + p->weight_rewrite + 2u);
    if (dice < p->weight_take)
        act_take(w, h);
    else if ((dice -= p->weight_take) < p->weight_release)
        (void)act_release(w, h, false);
    else if ((dice -= p->weight_release) < p->weight_create)
        act_directory(w, h, true);
    else if ((dice -= p->weight_create) < p->weight_delete)
        act_directory(w, h, false);
    else if ((dice -= p->weight_delete) < p->weight_leave)
        act_leave(w, h);
    else if ((dice -= p->weight_leave) < p->weight_rewrite)
        act_rewrite(w, h);
    else
        dpx_heart_hurry(h->heart);
}
