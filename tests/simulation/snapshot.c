/* A machine is saved with its memory and clock, and goes back to that later on; the disks do not.
 *
 * Guests that run hosts are saved and reverted by people who think of the guest alone.  Saved is a machine that has no
 * I/O under way (a hypervisor waits for that, or drains it).  What its processes wrote afterwards has landed or is lost
 * when they go back, and they know nothing of it.
 */
#include "checker.h"

#include <stdlib.h>
#include <string.h>

enum { TRIES = 200, SAVED_HOLDS = 32 };

typedef struct snapshot {
    bool used;
    uint8_t number; /* of the machine */
    uint64_t at;    /* real */
    box box;
    host hosts[MAX_HOSTS];
    life lives[MAX_HOSTS];
    uint8_t *memory[MAX_HOSTS][UNIT_COUNT], *peers[MAX_HOSTS];
    size_t room[MAX_HOSTS][UNIT_COUNT], peers_room[MAX_HOSTS];
    hold holds[SAVED_HOLDS];
    uint32_t hold_count;
} snapshot;

void snapshot_reset(world *w)
{
    if (w->stretched && !w->saved)
        w->saved = calloc(1, sizeof *w->saved);
    if (w->stretched && !w->saved)
        abort();
    if (w->saved)
        w->saved->used = false;
}

static void copy_in(uint8_t **to, size_t *room, const void *from, size_t bytes)
{
    if (*room < bytes) {
        free(*to);
        *to = malloc(bytes);
        *room = bytes;
    }
    if (!*to)
        abort();
    memcpy(*to, from, bytes);
}

static bool on(const world *w, uint32_t index, uint8_t number)
{
    return index < w->plan.hosts && w->hosts[index].box == number;
}

/* Every process of the machine is joined and between two I/Os, or not there; at least one of them holds something. */
static bool may_save(const world *w, uint8_t number)
{
    bool holds = false;
    const box *b = &w->boxes[number];
    if (b->frozen || b->off || b->stops + 2 >= MAX_PAUSES)
        return false;
    for (uint32_t i = 0; i < MAX_HOSTS; i++) {
        const host *h = &w->hosts[i];
        if (!on(w, i, number) || h->state == HOST_OFF)
            continue;
        if (h->state != HOST_JOINED || h->stopped || h->untold || h->leave_soon || !h->claim_done ||
            h->deferred_count > 0 || dpx_heart_count(h->heart).beats == 0 || !disk_idle(w, h))
            return false;
        for (uint32_t name = 0; name < MAX_NAMES; name++)
            holds |= h->held[name];
    }
    return holds;
}

static void save_host(world *w, snapshot *s, uint32_t index)
{
    const host *h = &w->hosts[index];
    const truth *t = w->truth;
    s->hosts[index] = *h;
    if (h->state == HOST_OFF)
        return;
    s->lives[index] = t->lives[h->life];
    for (enum unit unit = UNIT_CLAIM; unit < UNIT_COUNT; unit++)
        copy_in(&s->memory[index][unit], &s->room[index][unit], h->memory[unit], host_memory(w, unit));
    copy_in(&s->peers[index], &s->peers_room[index], h->peers_memory, dpx_peers_memory(w->geometry));
    for (uint32_t i = 0; i < t->hold_count && s->hold_count < SAVED_HOLDS; i++)
        if (t->holds[i].life == h->life)
            s->holds[s->hold_count++] = t->holds[i];
}

static void save(world *w, const event *e)
{
    snapshot *s = w->saved;
    uint8_t number = w->hosts[e->host].box;
    if (s->used)
        return;
    if (!may_save(w, number)) {
        if (e->stamp < TRIES)
            event_push(w, w->now + 1 + rng_time(&w->chance, 4 * w->plan.latency), EVENT_SAVE, e->host, 0, e->stamp + 1);
        return;
    }
    s->used = true;
    s->number = number;
    s->at = w->now;
    s->box = w->boxes[number];
    s->hold_count = 0;
    for (uint32_t i = 0; i < MAX_HOSTS; i++)
        if (on(w, i, number))
            save_host(w, s, i);
    TRACE(w, "machine %u is saved", number);
    uint64_t after = rng_below(&w->chance, 2) ? rng_time(&w->chance, w->geometry->outage_tolerance)
                                              : rng_time(&w->chance, 3 * w->dead_time);
    event_push(w, w->now + 1 + after, EVENT_REVERT, e->host, 0, 0);
}

/* ---- back ---- */

static void stop_now(world *w, snapshot *s, uint32_t index)
{
    host *h = &w->hosts[index];
    if (h->state == HOST_OFF)
        return;
    if (s->hosts[index].state != HOST_OFF && s->hosts[index].life == h->life) {
        disk_orphan(w, h, false); /* it goes back: its life is not over */
        if (w->stale_host == h->index)
            damage_fresh(w);
    } else {
        process_end(w, h, END_POWER);
    }
}

static bool same_hold(const hold *a, const hold *b)
{
    return a->life == b->life && a->grant == b->grant;
}

/* What it took since is forgotten … */
static void drop_later(world *w, const snapshot *s, uint16_t number)
{
    truth *t = w->truth;
    for (uint32_t i = 0; i < t->hold_count; i++) {
        bool known = t->holds[i].life != number;
        for (uint32_t n = 0; n < s->hold_count; n++)
            known |= same_hold(&t->holds[i], &s->holds[n]);
        if (known)
            continue;
        t->grants[t->holds[i].grant].ended = w->now;
        t->grants[t->holds[i].grant].excused = true;
        t->holds[i--] = t->holds[--t->hold_count];
    }
}

/* … what it held then it holds again, as far as it knows: also beside somebody who took it since. */
static void hold_again(world *w, const hold *held)
{
    truth *t = w->truth;
    hold *again = NULL;
    bool overtaken = false;
    for (uint32_t i = 0; i < t->hold_count; i++)
        if (same_hold(&t->holds[i], held))
            again = &t->holds[i];
    for (uint32_t i = 0; i < t->grant_count; i++) {
        const grant *g = &t->grants[i];
        bool since = g->uuid == held->uuid && g->life != held->life && g->taken >= w->saved->at;
        overtaken |= since && (g->exclusive || held->exclusive);
    }
    t->grants[held->grant].excused = true;
    if (!again && t->hold_count == MAX_HOLDS)
        return;
    if (!again)
        again = &t->holds[t->hold_count++];
    *again = *held;
    again->overtaken = overtaken;
    if (overtaken)
        excuse_pause(w, held->life);
}

/* Its slot's record there is of its later self, or of whoever had the slot next: a look at it ends this life.  Nothing
 * tells where no later one was written or landed, or where it is damaged or lies below a claim. */
static bool told_there(const world *w, uint32_t disk, const life *l)
{
    dpx_slot_record shown;
    uint64_t block = dpx_slot_block(w->geometry, l->who.slot);
    dpx_slot_decode(disk_block(w, disk, block), &shown);
    return !damage_at(w, disk, block) && life_told(l, &shown);
}

/* Own blocks that its later self wrote are forgotten … */
static void forget_writes(world *w, const host *saved, const life *l)
{
    for (uint32_t area = 0; area < w->geometry->max_leases; area++) {
        own_truth *own = &w->truth->own[area][l->who.slot];
        if (own->life == saved->life + 1 && own->sequence > saved->sequences[area])
            own->forgotten = own->sequence;
    }
}

static void revert_life(world *w, const snapshot *s, uint32_t index)
{
    uint16_t number = s->hosts[index].life;
    life *l = &w->truth->lives[number];
    const life *before = &s->lives[index];
    if (l->ended)
        fault_note(w, FAULT_RESURRECTED);
    for (uint32_t i = 0; i < w->truth->grant_count; i++) {
        grant *g = &w->truth->grants[i];
        if (g->life == number && g->taken >= s->at)
            g->excused = true;
    }
    l->record = l->remembered = before->record;
    l->beaten_on = l->told_on = 0;
    for (uint32_t d = 0; d < w->geometry->disks; d++)
        l->told_on |= (uint8_t)(told_there(w, d, l) << d);
    l->blind = (uint32_t)__builtin_popcount(l->told_on) < w->majority;
    l->ended = false;
    l->act_until = l->stop_until = l->overtaken_at = 0;
    l->lifetime_end = before->lifetime_end;
    l->beat_real = before->beat_real;
    l->beaten = before->beaten;
    l->overtaken = before->overtaken;
    l->paused = l->reverted = l->reverted_ever = true;
    l->left_before = l->left;
    l->told = false;
    l->thawed_local = l->reverted_local = clock_local(&s->box, s->at);
    forget_writes(w, &s->hosts[index], l);
    drop_later(w, s, number);
    for (uint32_t i = 0; i < s->hold_count; i++)
        if (s->holds[i].life == number)
            hold_again(w, &s->holds[i]);
}

static void revert_host(world *w, snapshot *s, uint32_t index)
{
    host *h = &w->hosts[index];
    uint32_t stops = h->stops;
    if (s->hosts[index].state == HOST_OFF)
        return;
    *h = s->hosts[index];
    h->stops = stops + 1;
    h->timer_at = h->spin_at = 0;
    h->spins = 0;
    for (enum unit unit = UNIT_CLAIM; unit < UNIT_COUNT; unit++)
        memcpy(h->memory[unit], s->memory[index][unit], host_memory(w, unit));
    memcpy(h->peers_memory, s->peers[index], dpx_peers_memory(w->geometry));
    revert_life(w, s, index);
    h->timer_at = w->now + 1 + rng_time(&w->chance, w->plan.latency);
    event_push(w, h->timer_at, EVENT_TIMER, h->index, 0, h->life);
}

/* From now on its clock shows what it showed then: as if it had been paused all the time. */
static void revert_clock(world *w, const snapshot *s)
{
    box *b = &w->boxes[s->number];
    uint64_t shown = clock_local(&s->box, s->at);
    *b = s->box;
    b->stopped[b->stops].local = shown;
    b->stopped[b->stops++].real = s->at;
    b->local_base = shown;
    b->real_base = w->now;
}

static void revert(world *w)
{
    snapshot *s = w->saved;
    if (!s->used || w->quiet)
        return;
    process_wake_box(w, s->number);
    for (uint32_t i = 0; i < MAX_HOSTS; i++)
        if (on(w, i, s->number))
            stop_now(w, s, i);
    disk_settle_box(w, s->number);
    TRACE(w, "machine %u goes back to what it was at %.6f", s->number, (double)s->at / 1e9);
    fault_note(w, FAULT_REVERTED);
    revert_clock(w, s);
    for (uint32_t i = 0; i < MAX_HOSTS; i++)
        if (on(w, i, s->number))
            revert_host(w, s, i);
    s->used = false;
}

void snapshot_event(world *w, const event *e)
{
    if (w->quiet)
        return;
    if (e->kind == EVENT_SAVE)
        save(w, e);
    else
        revert(w);
}
