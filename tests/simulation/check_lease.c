/* What hosts were told about leases, against what is true. */
#include "checker.h"

#include <stdlib.h>
#include <string.h>

#define MANY(x) ((unsigned long long)(x))

void excuse(world *w, enum outcome why)
{
    outcome_note(w, why);
    TRACE(w, "excused: %s", outcome_names[why]);
    w->truth->beyond = true;
    w->over = true;
}

void excuse_pause(world *w, uint16_t number)
{
    enum outcome why = w->truth->lives[number].reverted ? OUT_EXCUSED_REVERT : OUT_EXCUSED_PAUSE;
    outcome_note(w, why);
    TRACE(w, "excused: %s", outcome_names[why]);
}

static void drop_hold(truth *t, uint32_t index)
{
    t->holds[index] = t->holds[--t->hold_count];
}

/* Old content on a single disk hit this lease: its tokens are not promised any more. */
static bool replayed(const world *w, uint32_t area)
{
    return w->truth->replayed_at[area] != 0;
}

/* … and it hit the own block of one of these two: until the holder has looked again, nobody can know. */
static bool struck_lately(const world *w, uint16_t holder, uint32_t held, uint16_t taker, uint32_t area)
{
    bool lately = !w->truth->lives[holder].paused; /* a stopped clock prolongs it */
    return struck_alone(w, holder, held, lately) || struck_alone(w, taker, area, lately);
}

/* Its later self had left its slot, and nothing that its looks at its slot and leases showed tells it so: others go
 * past its flag as that of the dead, and only a look at the lease afterwards shows it that. */
static bool gone_unawares(const life *l)
{
    return l->left_before && l->blind && (!l->told || l->ended);
}

/* Two holders, until the first one looks at the lease: within S / 2 (‡L12), by its own clock. */
static void excuse_revert(world *w, const hold *other)
{
    truth *t = w->truth;
    const life *l = &t->lives[other->life];
    hold *overtaken = &t->holds[other - t->holds];
    outcome_note(w, OUT_EXCUSED_REVERT);
    TRACE(w, "excused: %s", outcome_names[OUT_EXCUSED_REVERT]);
    t->grants[other->grant].excused = true;
    overtaken->overtaken = true;
    if (gone_unawares(l))
        overtaken->known_by = clock_local(&w->boxes[l->box], w->now) + w->geometry->outage_tolerance / 2;
}

/* Another hold of the same name that cannot be true at the same time as this one. */
static bool check_conflict(world *w, const host *h, const hold *other, uint32_t area, uint64_t token)
{
    truth *t = w->truth;
    const life *l = &t->lives[other->life];
    if (other->overtaken)
        return false; /* that is known */
    bool acts = w->now < life_acts_until(w, other->life);
    if (!acts && w->now >= life_stops_until(w, other->life)) {
        outcome_note(w, OUT_TAKEOVER);
        return true; /* over: forget it */
    }
    if (w->geometry->disks > 1 && other->area == area && met_where_struck(w, other->life, h->life, area)) {
        outcome_note(w, OUT_EXCUSED_MEETING);
        t->replayed_at[area] = t->own[area][l->who.slot].struck_at = w->now;
    }
    if (struck_lately(w, other->life, other->area, h->life, area)) {
        if (t->overlap_count < MAX_OVERLAPS)
            t->overlaps[t->overlap_count++] =
                (overlap){.first = other->grant, .second = NONE16, .until = w->now + 2 * w->geometry->outage_tolerance,
                          .area = area, .replayed_at = t->replayed_at[area]};
        outcome_note(w, OUT_EXCUSED_REPLAY);
        return false;
    }
    if (w->plan.clock_beyond) {
        excuse(w, OUT_EXCUSED_CLOCK);
    } else if ((l->reverted && life_excused(w, other->life)) || gone_unawares(l)) {
        excuse_revert(w, other);
    } else if (life_excused(w, other->life) && !(life_excused(w, h->life) && token < other->token)) {
        excuse_pause(w, other->life);
        t->grants[other->grant].excused = true;
        t->lives[other->life].overtaken = true;
        stretch_incident(w, &w->hosts[h->index]);
        return true; /* counted; its holder learns of it at its first heartbeat */
    } else if (life_excused(w, h->life)) {
        excuse_pause(w, h->life);
        t->lives[h->life].overtaken |= !t->lives[h->life].reverted;
    } else {
        violate(w, acts ? VIOLATION_EXCLUSION : VIOLATION_TAKEOVER,
                "h%u takes vm-%u while h%u (slot %u) holds it and %s", h->index, other->name, l->host,
                l->who.slot, acts ? "may act" : "its processes may still run");
    }
    return false;
}

static void check_token(world *w, const host *h, const lease_truth *lease, const dpx_wish *wish)
{
    uint64_t token = wish->token;
    bool exclusive = wish->mode == DPX_MODE_EXCLUSIVE;
    if (exclusive ? token <= lease->max_any : token < lease->max_exclusive)
        violate(w, VIOLATION_TOKEN, "h%u takes vm-%u with token %llu after %llu", h->index, lease->name,
                MANY(token), MANY(exclusive ? lease->max_any : lease->max_exclusive));
    if (wish->resume && (!dpx_uuid_equal(&wish->resume_lease, &lease->uuid) ||
                         lease->max_exclusive > wish->resume_token))
        violate(w, VIOLATION_STALE_TAKEN, "h%u resumes vm-%u at %llu, taken since at %llu", h->index,
                lease->name, MANY(wish->resume_token), MANY(lease->max_exclusive));
}

static uint16_t log_grant(world *w, const host *h, const task *task, const dpx_wish *wish, uint16_t uuid,
                          bool excused)
{
    truth *t = w->truth;
    uint32_t at = t->grant_count < MAX_LOG ? t->grant_count++ : MAX_LOG - 1;
    if (t->grant_count == MAX_LOG) /* … and the order at the end is not judged */
        outcome_note(w, OUT_UNCHECKED);
    t->grants[at] = (grant){.uuid = uuid, .life = h->life, .exclusive = wish->mode == DPX_MODE_EXCLUSIVE,
                            .excused = excused, .token = wish->token, .begun = task->began, .taken = w->now,
                            .ended = DPX_NEVER};
    return (uint16_t)at;
}

void check_taken(world *w, host *h, const task *task, uint32_t item)
{
    truth *t = w->truth;
    const dpx_wish *wish = &task->wishes[item];
    uint8_t name = task->names[item];
    uint32_t area = wish->lease->header.area;
    uint16_t uuid = uuid_index(w, &wish->lease->header.lease, name);
    bool exclusive = wish->mode == DPX_MODE_EXCLUSIVE;
    if (uuid == NONE16 || t->hold_count == MAX_HOLDS) {
        outcome_note(w, OUT_UNCHECKED);
        return;
    }
    lease_truth *lease = &t->leases[uuid];
    lease->name = name;
    if (!t->lives[h->life].beaten)
        violate(w, VIOLATION_LIFETIME, "h%u took vm-%u before its first heartbeat", h->index, name);
    if (h->world.finished || local_now(w, h) >= h->world.lifetime_end)
        violate(w, VIOLATION_LIFETIME, "h%u is told that it took vm-%u after the end of its life", h->index, name);
    for (uint32_t i = 0; i < t->hold_count; i++) {
        const hold *other = &t->holds[i];
        if (other->name != name || other->life == h->life || (!exclusive && !other->exclusive))
            continue;
        if (check_conflict(w, h, other, area, wish->token))
            drop_hold(t, i--);
    }
    bool stale = life_excused(w, h->life);
    if (!stale && !replayed(w, area))
        check_token(w, h, lease, wish);
    /* Once is enough: a late copy of an older header may lie on some disk since, and is outranked. */
    lease->shown = lease->shown || shown_header(w, area, &lease->uuid);
    if (!stale && !t->replayed_at[area] && !lease->shown)
        violate(w, VIOLATION_NOT_SHOWN, "h%u took vm-%u, which no majority shows to exist", h->index, name);
    if (!t->lives[h->life].reverted && !shown_flag(w, h, area, wish->lease->hold))
        violate(w, VIOLATION_NOT_SHOWN, "h%u took vm-%u, and no majority shows it", h->index, name);
    if (wish->token > lease->max_any)
        lease->max_any = wish->token;
    if (exclusive && wish->token > lease->max_exclusive)
        lease->max_exclusive = wish->token;
    own_truth *own = &t->own[area][h->world.self.slot];
    own->took_on = own->looked_on;
    uint16_t logged = log_grant(w, h, task, wish, uuid, stale || replayed(w, area));
    for (uint32_t i = 0; i < t->overlap_count; i++)
        if (t->overlaps[i].second == NONE16)
            t->overlaps[i].second = logged;
    t->holds[t->hold_count++] = (hold){.life = h->life, .uuid = uuid, .grant = logged, .area = area, .name = name,
                                       .exclusive = exclusive, .token = wish->token};
    outcome_note(w, wish->resume ? OUT_RESUMED : exclusive ? OUT_TAKEN : OUT_TAKEN_SHARED);
}

/* ---- refusals ---- */

/* A crashed attempt above this token leaves "maybe it was taken". */
static bool crashed_above(const world *w, uint32_t area, const lease_truth *lease, uint64_t token)
{
    const truth *t = w->truth;
    if (lease->crashed > token)
        return true;
    for (uint32_t slot = 0; slot < w->geometry->max_hosts; slot++) {
        const own_truth *own = &t->own[area][slot];
        if (own->rewritten > token)
            return true;
        if (own->life == 0 || own->last_exclusive <= token)
            continue;
        uint16_t owner = (uint16_t)(own->life - 1);
        if (t->lives[owner].ended || w->now >= life_acts_until(w, owner) || life_excused(w, owner))
            return true;
    }
    return false;
}

static bool stale_justified(const world *w, const dpx_wish *wish, const lease_truth *lease)
{
    return !dpx_uuid_equal(&wish->resume_lease, &wish->lease->header.lease) ||
           lease->max_exclusive > wish->resume_token ||
           crashed_above(w, wish->lease->header.area, lease, wish->resume_token);
}

/* … and so does an attempt of somebody whom this host holds dead: too early, if its clock is beyond ±5 %. */
static bool buried_above(const world *w, const host *h, uint32_t area, uint64_t token)
{
    for (uint32_t slot = 0; slot < w->geometry->max_hosts; slot++) {
        const own_truth *own = &w->truth->own[area][slot];
        if (own->life != 0 && own->last_exclusive > token &&
            dpx_peers_dead(h->world.peers, &w->truth->lives[own->life - 1].who))
            return true;
    }
    return false;
}

static void check_stale(world *w, const host *h, uint8_t name, const dpx_wish *wish)
{
    const lease_truth *lease = &w->truth->leases[uuid_index(w, &wish->lease->header.lease, name)];
    uint32_t area = wish->lease->header.area;
    outcome_note(w, OUT_STALE);
    if (replayed(w, area) || stale_justified(w, wish, lease))
        return;
    if (w->plan.clock_beyond && buried_above(w, h, area, wish->resume_token))
        excuse(w, OUT_EXCUSED_CLOCK);
    else
        violate(w, VIOLATION_STALE_REFUSED, "h%u may not resume vm-%u at %llu, though the last taking was %llu",
                h->index, name, MANY(wish->resume_token), MANY(lease->max_exclusive));
}

static void check_refused(world *w, const host *h, const task *task, const dpx_flag *flag, const dpx_wish *wish)
{
    const own_truth *own = &w->truth->own[wish->lease->header.area][flag->who.slot];
    if (w->truth->replayed_at[wish->lease->header.area] || flag->hold == 0 ||
        task->began <= w->truth->blind_until[h->index])
        return;
    if (own->life != 0 && w->truth->lives[own->life - 1].reverted_ever)
        return; /* it wrote with a memory of before */
    for (uint32_t d = 0; d < w->geometry->disks; d++)
        if (w->truth->rolled[d])
            return;
    if (flag->who.slot == h->world.self.slot)
        violate(w, VIOLATION_REFUSED, "h%u is refused by its own slot", h->index);
    for (uint32_t i = 0; i < 4; i++)
        if (own->lowered[i] == flag->hold && own->generation == flag->who.generation &&
            own->lowered_at[i] < task->began && own->durable_hold != flag->hold)
            violate(w, VIOLATION_REFUSED,
                    "h%u is refused area %u by flag %llu of slot %u, which was down before it began", h->index,
                    wish->lease->header.area, MANY(flag->hold), flag->who.slot);
}

static void check_not_there(world *w, const host *h, uint8_t name, uint64_t began)
{
    const truth *t = w->truth;
    if (t->area_of[name] < 0 || t->changed_at[name] >= began || began <= t->blind_until[h->index])
        return;
    if (cut_off(w, name))
        outcome_note(w, OUT_EXCUSED_PAUSE);
    else
        violate(w, VIOLATION_EXISTENCE, "h%u is told that there is no vm-%u, which is in area %d", h->index, name,
                t->area_of[name]);
}

/* The flag of this host stands in an area, and none of its leases there accounts for it; 0: not so. */
static uint64_t flag_left_up(const world *w, const host *h, uint32_t area)
{
    const own_truth *own = &w->truth->own[area][h->world.self.slot];
    if (own->life != h->life + 1 || w->truth->lives[h->life].reverted_ever)
        return 0;
    for (uint32_t i = 0; i < MAX_NAMES; i++)
        if (h->leases[i].located && h->leases[i].header.area == area &&
            (h->busy[i] || h->must_lower[i] || h->leases[i].hold != 0))
            return 0;
    return own->hold;
}

/* An attempt that failed has taken its flags down (unless others of this host stand there). */
static void check_lowered(world *w, const host *h, const task *task)
{
    for (uint32_t i = 0; i < task->count; i++) {
        const dpx_lease *lease = task->wishes[i].lease;
        uint64_t flag = lease->located && !h->changing ? flag_left_up(w, h, lease->header.area) : 0;
        if (flag != 0)
            violate(w, VIOLATION_NOT_SHOWN, "h%u did not take vm-%u, and its flag %llu stays up", h->index,
                    task->names[i], MANY(flag));
    }
}

void check_take_failed(world *w, host *h, const task *task, dpx_verdict verdict)
{
    const dpx_cause *cause = dpx_round_cause(task->round);
    uint32_t item = cause->item < task->count ? cause->item : 0;
    const dpx_wish *wish = &task->wishes[item];
    check_lowered(w, h, task);
    if (life_excused(w, h->life))
        return;
    if (verdict == DPX_STALE) {
        check_stale(w, h, task->names[item], wish);
    } else if (verdict == DPX_REFUSED) {
        outcome_note(w, OUT_REFUSED);
        check_refused(w, h, task, &cause->flag, wish);
    } else {
        outcome_note(w, OUT_TAKE_OTHER);
        if (verdict == DPX_DAMAGED)
            check_damaged(w, h, cause);
        if (verdict == DPX_NOT_FOUND)
            check_not_there(w, h, task->names[item], task->began);
    }
}

/* ---- the end of a hold ---- */

static void end_holds(world *w, const host *h, uint8_t name)
{
    truth *t = w->truth;
    for (uint32_t i = 0; i < t->hold_count; i++) {
        if (t->holds[i].life != h->life || t->holds[i].name != name)
            continue;
        t->grants[t->holds[i].grant].ended = w->now;
        drop_hold(t, i--);
    }
}

void check_release_begun(world *w, host *h, uint8_t name)
{
    w->truth->lives[h->life].overtaken &= !w->lenient;
    end_holds(w, h, name);
}

void check_released(world *w, host *h, uint8_t name)
{
    uint32_t area = h->leases[name].header.area;
    outcome_note(w, OUT_RELEASED);
    if (!life_excused(w, h->life) && !shown_flag(w, h, area, 0))
        violate(w, VIOLATION_NOT_SHOWN, "h%u released vm-%u, and a majority still shows its flag", h->index, name);
}

void check_lost(world *w, host *h, uint8_t name)
{
    truth *t = w->truth;
    outcome_note(w, OUT_LOST);
    t->lives[h->life].overtaken &= !w->lenient; /* by its watch */
    for (uint32_t i = 0; i < t->hold_count; i++) {
        const hold *own = &t->holds[i];
        if (own->life != h->life || own->name != name)
            continue;
        uint32_t area = h->leases[name].header.area;
        bool blurred = w->plan.replays || t->lives[h->life].reverted_ever || life_excused(w, h->life) ||
                       t->lives[h->life].paused ||
                       (t->blind_until[h->index] && w->now - w->geometry->outage_tolerance < t->blind_until[h->index]);
        if (t->covered[area]) { /* the holder's flag was gone for a while: its rival's taking and its own both count */
            outcome_note(w, OUT_EXCUSED_REVERT);
            blurred = true;
        }
        for (uint32_t d = 0; d < w->geometry->disks; d++)
            blurred |= t->rolled[d];
        for (uint32_t j = 0; j < t->hold_count; j++)
            blurred |= t->holds[j].life != h->life && t->holds[j].name == name;
        if (!blurred && shown_flag(w, h, area, h->leases[name].hold))
            violate(w, VIOLATION_REFUSED, "h%u is told that it lost vm-%u, which nobody took", h->index, name);
    }
    end_holds(w, h, name);
}

static uint64_t ends(const world *w, const grant *g)
{
    uint64_t acts = life_acts_until(w, g->life);
    uint64_t end = g->ended < acts ? g->ended : acts;
    return end < w->now ? end : w->now;
}

/* Overlaps that a replay excuses must end by themselves: one of the two is told. */
void check_overlaps(world *w)
{
    truth *t = w->truth;
    for (uint32_t i = 0; i < t->overlap_count; i++) {
        const overlap *o = &t->overlaps[i];
        if (o->second == NONE16)
            continue;
        const grant *first = &t->grants[o->first], *second = &t->grants[o->second];
        bool paused = t->lives[first->life].paused || t->lives[second->life].paused;
        /* A taking leaves its token behind: the first one is told, though the second one is gone by then. */
        bool told = ends(w, second) <= o->until &&
                    (!second->exclusive || t->replayed_at[o->area] != o->replayed_at);
        if (ends(w, first) > o->until && !told && !paused)
            violate(w, VIOLATION_EXCLUSION, "h%u and h%u hold a lease for more than 2 S after a replay",
                    t->lives[first->life].host, t->lives[second->life].host);
    }
    t->overlap_count = 0;
}

/* ---- header changes ---- */

/* By a majority: at one moment, or disk after disk (a late copy of an older header may have come over the first
 * one before the last one had it; blocks of the area that name a higher directory token outrank that). */
static bool shown_since(const world *w, uint32_t area, bool there, uint64_t since)
{
    const truth *t = w->truth;
    uint32_t landed = 0;
    for (uint32_t d = 0; d < w->geometry->disks; d++)
        landed += t->landed_at[area][d][there] >= since;
    return landed >= w->majority || (there ? t->filled_at : t->vacated_at)[area] >= since;
}

void check_changed(world *w, host *h, dpx_verdict verdict)
{
    truth *t = w->truth;
    uint8_t name = h->change_name;
    if (life_excused(w, h->life))
        return;
    for (uint32_t i = 0; i < w->geometry->max_leases; i++) { /* done or not, its flags are down */
        uint64_t flag = flag_left_up(w, h, i);
        if (flag != 0)
            violate(w, VIOLATION_NOT_SHOWN, "h%u has ended a change, and its flag %llu in area %u stays up", h->index,
                    MANY(flag), i);
    }
    bool steady = name < MAX_NAMES && t->changed_at[name] < h->change_began &&
                  h->change_began > t->blind_until[h->index];
    if (h->change_kind == DPX_CHANGE_RESOLVE) {
        outcome_note(w, verdict == DPX_DONE ? OUT_RESOLVED : OUT_CHANGE_OTHER);
        return;
    }
    bool create = h->change_kind == DPX_CHANGE_CREATE;
    if (verdict == DPX_DONE)
        outcome_note(w, create ? OUT_CREATED : OUT_DELETED);
    else
        outcome_note(w, OUT_CHANGE_OTHER);
    if (verdict == DPX_FULL && create)
        fault_note(w, FAULT_SPACE_FULL);
    bool gone = t->area_of[name] == -1;
    uint32_t area = t->changed_area[h->index];
    if (verdict == DPX_EXISTS && steady && gone)
        violate(w, VIOLATION_EXISTENCE, "h%u is told that vm-%u exists", h->index, name);
    else if (verdict == DPX_NOT_FOUND)
        check_not_there(w, h, name, h->change_began);
    else if (verdict == DPX_DONE && !t->replayed_at[area] && !shown_since(w, area, create, h->change_began))
        violate(w, VIOLATION_NOT_SHOWN, "h%u %s vm-%u, and no majority shows it", h->index,
                create ? "created" : "deleted", name);
}
