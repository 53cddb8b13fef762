/* Lives of processes and machines: started, killed, stopped, paused, fenced, replaced. */
#include "checker.h"
#include "cores.h"

#include <stdlib.h>
#include <string.h>

/* ---- memory, once per simulator ---- */

static size_t largest(size_t (*of)(const dpx_geometry *))
{
    size_t most = 0;
    for (uint32_t i = 0; i < PRESETS; i++) {
        size_t bytes = of(preset_geometry(i));
        most = bytes > most ? bytes : most;
    }
    return (most + 4095) & ~(size_t)4095;
}

static size_t round_bytes(const dpx_geometry *g)
{
    return dpx_round_memory(g, MAX_NAMES);
}

static void *reserve(size_t bytes)
{
    void *memory = aligned_alloc(4096, bytes);
    if (!memory)
        abort();
    return memory;
}

size_t host_memory(const world *w, enum unit unit)
{
    switch (unit) {
    case UNIT_CLAIM:
    case UNIT_RECLAIM:
        return dpx_claim_memory(w->geometry);
    case UNIT_HEART:
        return dpx_heart_memory(w->geometry);
    case UNIT_CHANGE:
        return dpx_change_memory(w->geometry);
    default:
        return round_bytes(w->geometry);
    }
}

static void reserve_all(host *h)
{
    h->memory[UNIT_CLAIM] = reserve(largest(dpx_claim_memory));
    h->memory[UNIT_RECLAIM] = reserve(largest(dpx_claim_memory));
    h->memory[UNIT_HEART] = reserve(largest(dpx_heart_memory));
    h->memory[UNIT_CHANGE] = reserve(largest(dpx_change_memory));
    h->peers_memory = reserve(largest(dpx_peers_memory));
    for (uint32_t i = 0; i < TASKS; i++)
        h->memory[UNIT_ROUND + i] = reserve(largest(round_bytes));
}

/* ---- a new process ---- */

static void introduce(world *w, host *h)
{
    const box *b = &w->boxes[h->box];
    const dpx_geometry *g = w->geometry;
    h->me = (dpx_slot_record){.flags = w->plan.drains_on_exit >> h->index & 1 ? DPX_SLOT_DRAINS_ON_EXIT : 0,
                              .host = b->host,
                              .boot = b->boot,
                              .pid = 100u + w->truth->lives[h->life].process,
                              .start_time = w->truth->lives[h->life].start_time,
                              .pid_namespace = 1,
                              .software = 1,
                              .joined_at = w->now,
                              .outage_tolerance = g->outage_tolerance,
                              .kill_grace = g->kill_grace,
                              .watchdog_timeout = g->watchdog_timeout};
    memcpy(h->me.host_name, "h0", 3);
    h->me.host_name[1] = (char)('0' + h->index);
}

static void boot(world *w, uint8_t number)
{
    box *b = &w->boxes[number];
    disk_settle_box(w, number);
    b->off = false;
    b->boots++;
    b->boot = uuid_draw(w);
    b->real_base = w->now;
    b->local_base = 10 * DPX_SECOND + rng_time(&w->chance, DPX_SECOND);
    b->stops = 0; /* this clock has not stood still yet */
    TRACE(w, "machine %u boots", number);
}

void process_start(world *w, host *h)
{
    if (h->state != HOST_OFF || w->over)
        return;
    if (w->boxes[h->box].frozen) { /* nothing starts on a machine that stands still */
        event_push(w, w->now + w->geometry->outage_tolerance / 8, EVENT_START, h->index, 0, 0);
        return;
    }
    if (w->boxes[h->box].off) {
        boot(w, h->box);
        h->stays = false;
    }
    if (!h->peers_memory)
        reserve_all(h);
    uint64_t now = local_now(w, h);
    h->life = life_begin(w, h);
    h->stays = h->untold = false;
    h->stewarded = 0;
    memset(h->gone_seen, 0, sizeof h->gone_seen);
    memset(h->in_flight, 0, sizeof h->in_flight);
    memset(h->sequences, 0, sizeof h->sequences);
    memset(h->ballots, 0, sizeof h->ballots);
    memset(h->written, 0, sizeof h->written);
    memset(h->busy, 0, sizeof h->busy);
    memset(h->held, 0, sizeof h->held);
    memset(h->must_lower, 0, sizeof h->must_lower);
    memset(h->owners, 0, sizeof h->owners);
    memset(&h->resolve, 0, sizeof h->resolve);
    memset(&h->directory, 0, sizeof h->directory);
    h->world = (dpx_world){.geometry = w->geometry, .wall = w->now, .random = rng_next(&w->chance),
                           .in_flight = h->in_flight, .sequences = h->sequences,
                           .ballots = h->ballots, .written = h->written[0]};
    h->world.peers = dpx_peers_place(h->peers_memory, w->geometry, &w->boxes[h->box].host,
                                     &w->boxes[h->box].boot);
    introduce(w, h);
    sightings_recall(w, h);
    h->state = HOST_CLAIMING;
    h->stopped = h->paused = h->armed_fault = h->claim_done = h->reclaiming = h->changing = h->leave_soon = false;
    h->armed = 0;
    h->suspect = 0;
    memset(h->retire_asked, 0, sizeof h->retire_asked);
    memset(h->retire_asked_at, 0, sizeof h->retire_asked_at);
    h->resolve_area = -1;
    h->rewrite_area = -1;
    h->serving = h->create_next = h->refused = false;
    h->timer_at = h->spin_at = 0;
    h->spins = 0;
    h->deferred_count = 0;
    h->next_act = now + w->geometry->outage_tolerance;
    for (uint32_t i = 0; i < TASKS; i++)
        h->tasks[i].kind = TASK_FREE;
    TRACE(w, "h%u starts (life %u)", h->index, h->life);
    h->claim = dpx_claim_place(h->memory[UNIT_CLAIM], &h->world);
    dpx_uuid nonce = uuid_draw(w);
    uint64_t patience = w->quiet ? 2 * w->dead_time : rng_time(&w->chance, w->dead_time);
    uint32_t only = h->rescues ? process_lost_slot(w) : DPX_ANY_SLOT;
    dpx_claim_begin(h->claim, &h->me, &nonce, only, false, now + patience, now);
    if (only != DPX_ANY_SLOT) {
        TRACE(w, "administrator: h%u is to join slot %u", h->index, only);
        outcome_note(w, OUT_FREED);
        dpx_claim_retire(h->claim);
    }
    h->rescues = false;
    host_step(w, h, UNIT_CLAIM);
    host_settle(w, h);
}

void process_joined(world *w, host *h)
{
    uint64_t now = local_now(w, h);
    h->claim_done = true;
    h->state = HOST_JOINED;
    check_joined(w, h);
    outcome_note(w, OUT_JOINED);
    TRACE(w, "h%u joins slot %u, generation %llu", h->index, h->world.self.slot,
          (unsigned long long)h->world.self.generation);
    h->heart = heart_place(h->memory[UNIT_HEART], &h->world, h->claim, now);
    for (uint32_t d = 0; d < w->geometry->disks; d++) {
        if (!dpx_claim_busy(h->claim, d))
            continue;
        h->suspect |= (uint8_t)(1u << d);
        dpx_heart_suspect(h->heart, d, true);
    }
    h->change = dpx_change_place(h->memory[UNIT_CHANGE], &h->world, &h->directory);
    for (uint32_t i = 0; i < TASKS; i++)
        h->tasks[i].round = dpx_round_place(h->memory[UNIT_ROUND + i], &h->world, MAX_NAMES);
    dpx_lease_reset(&h->leases[MAX_NAMES], "", 0);
    for (uint32_t name = 0; name < MAX_NAMES; name++) {
        char text[8];
        size_t length;
        name_of(name, text, &length);
        dpx_lease_reset(&h->leases[name], text, length);
    }
    h->next_watch = now + w->geometry->outage_tolerance / 4;
    h->next_steward = now + w->geometry->outage_tolerance / 8;
    h->next_act = now + rng_time(&w->chance, w->plan.tempo);
    host_step(w, h, UNIT_HEART);
}

void process_end(world *w, host *h, enum process_end how)
{
    if (h->state == HOST_OFF)
        return;
    uint64_t S = w->geometry->outage_tolerance;
    life_end(w, h, how == END_FENCED);
    sightings_end(w, h, how == END_ITSELF);
    disk_orphan(w, h, how == END_POWER || how == END_FENCED);
    if (w->stale_host == h->index)
        damage_fresh(w);
    h->state = HOST_OFF;
    h->stopped = h->paused = false;
    h->stops++;
    h->stays = how == END_ITSELF && !w->quiet && chance(&w->chance, w->plan.more.stay);
    if (w->quiet && h->done)
        return;
    uint64_t delay = w->quiet ? S / 32 : rng_below(&w->chance, 3) ? rng_time(&w->chance, S / 4)
                                                                 : rng_time(&w->chance, w->dead_time);
    event_push(w, w->now + delay, EVENT_START, h->index, 0, 0);
}

/* ---- faults of hosts ---- */

static void power_off(world *w, uint8_t number, enum process_end how)
{
    box *b = &w->boxes[number];
    if (b->frozen)
        clock_thaw(b, w->now);
    for (uint32_t i = 0; i < w->plan.hosts; i++)
        if (w->hosts[i].box == number)
            process_end(w, &w->hosts[i], how);
    b->off = true;
    TRACE(w, "machine %u loses power", number);
}

/* All slots belong to the dead, and nobody is left to judge them: in the last phase the
 * administrator boots a machine, which may claim its own old slots, or one that he says is lost. */
void process_refused(world *w, host *h, dpx_verdict verdict)
{
    if (!w->quiet || verdict != DPX_FULL)
        return;
    for (uint32_t i = 0; i < w->plan.hosts; i++)
        if (w->hosts[i].state >= HOST_JOINED)
            return;
    power_off(w, h->box, END_POWER);
    process_mend_records(w);
    h->rescues = true;
}

/* A machine is switched off for certain, and a joined host elsewhere tells everybody. */
static void fence(world *w, host *victim)
{
    uint32_t slot = victim->world.self.slot;
    uint64_t generation = victim->world.self.generation;
    bool was_joined = w->truth->lives[victim->life].joined && !w->truth->lives[victim->life].left;
    power_off(w, victim->box, END_FENCED);
    disk_settle_box(w, victim->box);
    fault_note(w, FAULT_FENCED);
    for (uint32_t i = 0; was_joined && i < w->plan.hosts; i++) {
        host *h = &w->hosts[i];
        if (h->state != HOST_JOINED || h->stopped)
            continue;
        TRACE(w, "h%u is told that slot %u is fenced", i, slot);
        dpx_heart_retire(h->heart, slot, generation);
        outcome_note(w, OUT_RETIRED);
        host_step(w, h, UNIT_HEART);
        host_settle(w, h);
        return;
    }
}

static void stop(world *w, host *h, bool brief)
{
    uint64_t S = w->geometry->outage_tolerance;
    bool lengthy = !brief && rng_next(&w->chance) >> 63;
    uint64_t duration = lengthy ? S + rng_time(&w->chance, 2 * w->dead_time)
                                : rng_time(&w->chance, brief ? 4 * w->geometry->claim_time : S / 2);
    h->stopped = true;
    trouble(w, h->index, w->now + duration);
    fault_note(w, lengthy ? FAULT_STOPPED_LONG : FAULT_STOPPED);
    TRACE(w, "h%u is stopped", h->index);
    event_push(w, w->now + duration, EVENT_WAKE, h->index, 0, ++h->stops);
}

static void pause_box(world *w, host *h)
{
    box *b = &w->boxes[h->box];
    uint64_t S = w->geometry->outage_tolerance;
    if (b->frozen || b->off || b->stops == MAX_PAUSES)
        return;
    bool lengthy = w->plan.long_pauses && rng_next(&w->chance) >> 63;
    uint64_t duration = rng_time(&w->chance, lengthy ? 2 * w->dead_time : S / 2);
    if (lengthy && rng_next(&w->chance) >> 63) /* it wakes while others judge it */
        duration = w->dead_time - S / 4 + rng_time(&w->chance, S / 2);
    if (w->stretched && lengthy && rng_next(&w->chance) >> 63) /* … or only when it is woken, at a moment of its own */
        duration = w->dead_time + rng_time(&w->chance, 4 * w->dead_time);
    fault_note(w, duration > w->dead_time ? FAULT_PAUSED_LONG : FAULT_PAUSED);
    life_paused(w, h->box);
    clock_freeze(b, w->now);
    for (uint32_t i = 0; i < w->plan.hosts; i++) {
        host *other = &w->hosts[i];
        if (other->box == h->box && other->state != HOST_OFF)
            other->stopped = other->paused = true;
    }
    TRACE(w, "machine %u is paused with its clock", h->box);
    event_push(w, w->now + duration, EVENT_WAKE, h->index, 1, ++h->stops);
}

static void wake(world *w, host *h)
{
    h->stopped = h->paused = false;
    trouble(w, h->index, w->now);
    if (h->deferred_count > MAX_DEFERRED)
        violate(w, VIOLATION_SPIN, "%u events waited for a stopped host", h->deferred_count);
    uint32_t count = h->deferred_count;
    h->deferred_count = 0;
    /* Its threads go on in any order. */
    for (uint32_t i = 0; i < count && i < MAX_DEFERRED; i++) {
        const event *e = &h->deferred[i];
        event_push(w, w->now + rng_time(&w->chance, w->plan.latency / 4), (enum event_kind)e->kind, e->host,
                   e->index, e->stamp);
    }
    TRACE(w, "h%u goes on", h->index);
    if (h->state == HOST_OFF)
        return;
    h->timer_at = w->now + w->stretched + rng_time(&w->chance, w->plan.latency / 4);
    event_push(w, h->timer_at, EVENT_TIMER, h->index, 0, h->life);
}

void process_wake_box(world *w, uint8_t number)
{
    if (!w->boxes[number].frozen)
        return;
    clock_thaw(&w->boxes[number], w->now);
    life_thawed(w, number);
    for (uint32_t i = 0; i < w->plan.hosts; i++)
        if (w->hosts[i].box == number && w->hosts[i].paused)
            wake(w, &w->hosts[i]);
}

static void strike(world *w, host *h, enum host_fault fault)
{
    h->armed_fault = false;
    if (h->state == HOST_OFF || w->quiet)
        return;
    switch (fault) {
    case HOST_KILL:
        if (h->paused)
            break;
        fault_note(w, FAULT_KILLED);
        TRACE(w, "h%u is killed", h->index);
        process_end(w, h, END_KILLED);
        break;
    case HOST_POWER:
        fault_note(w, FAULT_POWER);
        power_off(w, h->box, END_POWER);
        break;
    case HOST_FENCE:
        fence(w, h);
        break;
    case HOST_STOP:
    case HOST_BRIEF:
        if (!h->stopped)
            stop(w, h, fault == HOST_BRIEF);
        break;
    case HOST_PAUSE:
        pause_box(w, h);
        break;
    }
}

/* Faults that are to hit a host at one of its next I/O steps wait here. */
void process_armed(world *w, host *h)
{
    if (h->armed == 0 || --h->armed > 0)
        return;
    h->armed_fault = true;
    event_push(w, w->now + rng_time(&w->chance, w->plan.latency / 2), EVENT_FAULT, h->index, h->armed_kind, 0);
}

void process_event(world *w, const event *e)
{
    host *h = &w->hosts[e->host];
    switch (e->kind) {
    case EVENT_START:
        process_start(w, h);
        break;
    case EVENT_WAKE:
        if (e->index == 1)
            process_wake_box(w, h->box);
        else if (h->stopped && !h->paused && h->stops == e->stamp)
            wake(w, h);
        break;
    default:
        if (e->stamp == 1 && h->state != HOST_OFF && !w->quiet) {
            h->armed = (uint8_t)(1 + rng_below(&w->chance, 12));
            h->armed_kind = (uint8_t)e->index;
        } else {
            strike(w, h, (enum host_fault)e->index);
        }
        break;
    }
}

void process_quiet(world *w)
{
    for (uint8_t i = 0; i < w->plan.machines; i++)
        process_wake_box(w, i);
    for (uint32_t i = 0; i < w->plan.hosts; i++)
        if (w->hosts[i].stopped)
            wake(w, &w->hosts[i]);
}
