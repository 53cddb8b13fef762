/* The phases of a round: look → raise → judge → (lower) → end.  round.h says what for. */
#include "round_state.h"

#include <errno.h>
#include <string.h>

/* ---- memory ---- */

static size_t aligned(size_t bytes)
{
    return (bytes + 4095u) & ~(size_t)4095u;
}

static size_t channel_buffers(const dpx_geometry *geometry, uint32_t capacity)
{
    size_t area = (size_t)geometry->area_blocks * geometry->block_size;
    return aligned((size_t)capacity * geometry->block_size) + capacity * area;
}

static size_t channel_arrays(uint32_t capacity)
{
    return capacity * (2 * sizeof(dpx_extent) + 2 * sizeof(uint64_t) + 2 * sizeof(uint32_t));
}

size_t dpx_round_memory(const dpx_geometry *geometry, uint32_t capacity)
{
    return geometry->disks * (channel_buffers(geometry, capacity) + channel_arrays(capacity)) +
           sizeof(dpx_round) + capacity * sizeof(struct round_item);
}

dpx_round *dpx_round_place(void *memory, dpx_world *world, uint32_t capacity)
{
    const dpx_geometry *geometry = world->geometry;
    size_t buffers = channel_buffers(geometry, capacity);
    uint8_t *at = memory;
    uint8_t *records = at + geometry->disks * buffers;
    dpx_round *round = (dpx_round *)(void *)records;
    memset(records, 0, dpx_round_memory(geometry, capacity) - geometry->disks * buffers);
    round->items = (struct round_item *)(void *)(round + 1);
    uint8_t *arrays = (uint8_t *)(void *)(round->items + capacity);
    for (uint32_t d = 0; d < geometry->disks; d++) {
        struct round_channel *channel = &round->channels[d];
        channel->blocks = at;
        channel->images = at + aligned((size_t)capacity * geometry->block_size);
        channel->writes = (dpx_extent *)(void *)arrays;
        channel->reads = channel->writes + capacity;
        channel->sequences = (uint64_t *)(void *)(channel->reads + capacity);
        channel->floors = channel->sequences + capacity;
        channel->items = (uint32_t *)(void *)(channel->floors + capacity);
        channel->areas = channel->items + capacity;
        arrays += channel_arrays(capacity);
        at += buffers;
    }
    round->world = world;
    round->capacity = capacity;
    round->phase = ROUND_END;
    return round;
}

/* ---- small helpers ---- */

void dpx_round_finish(dpx_round *round, dpx_verdict verdict)
{
    round->verdict = verdict;
    round->phase = ROUND_END;
    round->wake = DPX_NEVER;
}

void dpx_round_pause(dpx_round *round, enum round_phase phase, uint64_t duration, uint64_t now)
{
    round->phase = phase;
    round->wake = now + duration;
}

uint64_t dpx_round_jittered(dpx_round *round, uint64_t duration)
{
    return duration / 2 + dpx_random(round->world) % (duration + 1);
}

/* Long enough for an attempt that meets us to give way: a read and a write of its own. */
uint64_t dpx_round_settle(const dpx_round *round)
{
    uint64_t settle = 2 * round->io_time;
    if (settle < 3 * DPX_MS)
        return 3 * DPX_MS;
    return settle < 100 * DPX_MS ? settle : 100 * DPX_MS;
}

void dpx_round_scan(const dpx_round *round, uint32_t i, dpx_attempt attempt, uint64_t now, dpx_view *view)
{
    const uint8_t *images[DPX_MAX_DISKS];
    const struct round_item *item = &round->items[i];
    uint32_t area = round->phase == ROUND_LOOK ? item->probe : round->wishes[i].lease->header.area;
    dpx_sweep_images(round, item, images);
    dpx_view_scan(round->world, area, images, attempt, now, view);
}

static void select_all(dpx_round *round)
{
    for (uint32_t i = 0; i < round->count; i++)
        round->items[i].in_sweep = true;
}

uint64_t dpx_round_deadline(const dpx_round *round, uint64_t now)
{
    return now + dpx_io_limit(round->world->geometry);
}

void dpx_cause_flag(dpx_round *round, uint32_t i, const dpx_flag *flag)
{
    round->cause.item = i;
    round->cause.flag = *flag;
}

void dpx_cause_open(dpx_round *round, uint32_t i, uint32_t area, const dpx_view *view)
{
    round->cause.item = i;
    round->cause.area = area;
    round->cause.flag = (dpx_flag){.who = view->changer};
}

/* ---- beginning ---- */

/* What another name of this host writes there from now on, or has on its way, may be missing in
 * the images: who goes by them must not write over that (simulated histories 1105, 600009670). */
static void note_drawn(const dpx_round *round, struct round_item *item)
{
    const dpx_world *world = round->world;
    uint8_t all = (uint8_t)((1u << world->geometry->disks) - 1);
    bool settled = dpx_sweep_majority(round, all & (uint8_t)~world->in_flight[item->probe]);
    item->drawn = !settled ? DPX_NEVER : world->sequences ? world->sequences[item->probe] : 0;
}

void dpx_round_look(dpx_round *round, uint64_t now)
{
    round->phase = ROUND_LOOK;
    for (uint32_t i = 0; i < round->count; i++) {
        round->items[i].in_sweep = round->items[i].looks;
        note_drawn(round, &round->items[i]);
    }
    dpx_sweep_begin(round, SWEEP_READ, dpx_round_deadline(round, now), now);
}

/* Another name of this host wrote in an area of the round since it was looked at. */
static bool overtaken(dpx_round *round)
{
    for (uint32_t i = 0; i < round->count; i++) {
        if (dpx_lease_current(round->world, round->wishes[i].lease))
            continue;
        round->cause.item = i;
        round->cause.error = -EBUSY;
        return true;
    }
    return false;
}

void dpx_round_raise(dpx_round *round, uint64_t now)
{
    if (overtaken(round)) {
        /* Where our flag is up already the other name only wanted to write: no attempt ends before its flag is
         * down (simulated history 31559677). */
        if (round->phase == ROUND_RAISE || round->phase == ROUND_JUDGE)
            dpx_round_lower(round, DPX_STORAGE, now);
        else
            dpx_round_finish(round, DPX_STORAGE);
        return;
    }
    uint64_t ballot = dpx_judge_ballot(round);
    if (ballot == 0) {
        dpx_round_lower(round, DPX_CEILING, now); /* the flag of a lower ballot may be up */
        return;
    }
    select_all(round);
    for (uint32_t i = 0; i < round->count; i++)
        dpx_content_raise(round, &round->items[i], &round->wishes[i], ballot); /* takes the mark back, too */
    round->phase = ROUND_RAISE;
    round->rereads = round->judgings = 0;
    dpx_sweep_begin(round, SWEEP_PAIR, dpx_round_deadline(round, now), now);
}

void dpx_round_begin(dpx_round *round, dpx_round_kind kind, dpx_wish *wishes, uint32_t count,
                     uint64_t wait_until, uint64_t now)
{
    round->kind = kind;
    round->wishes = wishes;
    round->count = count;
    round->first_sweep = round->sweep + 1;
    round->wait_until = wait_until;
    round->began = now;
    round->grace = now + round->world->geometry->outage_tolerance / 2;
    round->verdict = DPX_RUNNING;
    round->after = DPX_RUNNING;
    round->io_time = 0;
    round->rereads = round->judgings = 0;
    round->raised = round->cancelled = round->unmarking = false;
    round->queues = kind == DPX_ROUND_TAKE && wait_until > now;
    round->ticket = 0;
    round->passes = 0;
    round->cause = DPX_NO_CAUSE;
    bool any = false;
    for (uint32_t i = 0; i < count; i++)
        round->queues &= !wishes[i].resume && wishes[i].change_token == 0;
    for (uint32_t i = 0; i < count; i++) {
        dpx_lease *lease = wishes[i].lease;
        struct round_item *item = &round->items[i];
        *item = (struct round_item){0};
        wishes[i].outcome = DPX_RUNNING;
        wishes[i].vacant = wishes[i].healed = false;
        if (!lease->located)
            dpx_lease_unlocate(lease);
        if (lease->located && lease->known && lease->hold == 0 && !dpx_lease_current(round->world, lease)) {
            /* The own block there is not what this lease knows of it: look at it anew. */
            lease->known = lease->cached = false;
            memset(lease->done, 0, sizeof lease->done);
        }
        item->probe = lease->located ? lease->header.area
                                     : dpx_home_area(round->world->geometry, lease->name, lease->name_length);
        bool fresh = lease->located && lease->known && lease->cached && lease->flag.hold == 0 &&
                     !(round->queues && lease->waiters > 0);
        item->looks = kind != DPX_ROUND_TAKE || !fresh;
        any |= item->looks;
    }
    if (dpx_world_over(round->world, now))
        dpx_round_finish(round, DPX_FINISHED);
    else if (kind == DPX_ROUND_RELEASE)
        dpx_round_release(round, now);
    else if (any)
        dpx_round_look(round, now);
    else
        dpx_round_raise(round, now);
}

/* ---- stepping ---- */

static bool damaged(const dpx_round *round)
{
    for (uint32_t i = 0; i < round->count; i++)
        if (round->items[i].in_sweep && (round->items[i].flawed || round->items[i].own_flawed))
            return true;
    return false;
}

static bool flag_durable(const dpx_round *round)
{
    for (uint32_t i = 0; i < round->count; i++)
        if (!dpx_sweep_majority(round, round->items[i].written))
            return false;
    return true;
}

/* An own block that is older than what was written there: only rewriting it helps, and the
 * driver learns of it like of a damaged one. */
static bool blame_regressed(dpx_round *round)
{
    const dpx_world *world = round->world;
    for (uint32_t i = 0; i < round->count; i++) {
        if (!round->items[i].in_sweep || !round->items[i].regressed)
            continue;
        uint32_t area = round->phase == ROUND_LOOK ? round->items[i].probe : round->wishes[i].lease->header.area;
        round->cause = DPX_NO_CAUSE;
        round->cause.item = i;
        round->cause.block = dpx_own_block(world->geometry, area, world->self.slot);
        for (uint32_t d = world->geometry->disks; d-- > 0;)
            if (round->items[i].regressed >> d & 1)
                round->cause.disk = d;
        return true;
    }
    return false;
}

/* The lease that the damaged block told about belongs to. */
static void blame_damaged(dpx_round *round)
{
    uint32_t area = dpx_place_of(round->world->geometry, round->cause.block).area;
    for (uint32_t i = 0; i < round->count; i++) {
        const struct round_item *item = &round->items[i];
        uint32_t looked = round->phase == ROUND_LOOK ? item->probe : round->wishes[i].lease->header.area;
        if (item->in_sweep && looked == area)
            round->cause.item = i;
    }
}

static dpx_verdict sweep_verdict(dpx_round *round)
{
    if (damaged(round)) {
        blame_damaged(round);
        return DPX_DAMAGED;
    }
    if (blame_regressed(round))
        return DPX_DAMAGED;
    dpx_sweep_blame(round);
    return DPX_STORAGE;
}

static void advance_look(dpx_round *round, enum sweep_state state, uint64_t now)
{
    if (state == SWEEP_GOOD)
        round->io_time = now - round->sweep_began;
    if (round->kind == DPX_ROUND_REWRITE) {
        dpx_after_rewrite_look(round, now);
    } else if (state == SWEEP_FAILED && damaged(round) && round->rereads == 0) {
        round->rereads++; /* it may have been torn: read again before it is believed */
        dpx_sweep_begin(round, SWEEP_READ, dpx_round_deadline(round, now), now);
    } else if (round->kind == DPX_ROUND_WATCH) {
        dpx_after_watch_look(round, now);
    } else if (state == SWEEP_GOOD) {
        dpx_after_look(round, now);
    } else {
        dpx_round_finish(round, sweep_verdict(round));
    }
}

static void advance_raise(dpx_round *round, enum sweep_state state, uint64_t now)
{
    if (state == SWEEP_GOOD)
        round->io_time = now - round->sweep_began;
    if (round->kind == DPX_ROUND_WATCH) {
        dpx_after_heal(round, state, now);
    } else if (state == SWEEP_GOOD) {
        dpx_after_raise(round, now);
    } else if (damaged(round) && round->rereads == 0 && flag_durable(round)) {
        round->rereads++; /* torn, perhaps: judge by another read, the flag stays up */
        round->phase = ROUND_JUDGE;
        dpx_sweep_begin(round, SWEEP_READ, dpx_round_deadline(round, now), now);
    } else {
        dpx_round_lower(round, sweep_verdict(round), now);
    }
}

static void cancel_early(dpx_round *round, uint64_t now)
{
    if (round->kind != DPX_ROUND_TAKE && round->kind != DPX_ROUND_FIND)
        return;
    switch (round->phase) {
    case ROUND_LOOK:
    case ROUND_LOOK_PAUSE:
    case ROUND_MARK:
        dpx_round_unmark(round, round->cause.flag.hold ? DPX_REFUSED : DPX_GAVE_UP, now);
        break;
    case ROUND_RAISE:
    case ROUND_JUDGE_PAUSE:
    case ROUND_JUDGE:
        dpx_round_lower(round, round->cause.flag.hold ? DPX_REFUSED : DPX_GAVE_UP, now);
        break;
    default:
        break;
    }
}

static void resume_after_pause(dpx_round *round, uint64_t now)
{
    if (round->phase == ROUND_LOOK_PAUSE) {
        round->rereads = 0;
        dpx_round_look(round, now);
    } else if (round->phase == ROUND_JUDGE_PAUSE) {
        round->phase = ROUND_JUDGE;
        dpx_sweep_begin(round, SWEEP_READ, dpx_round_deadline(round, now), now);
    } else if (!dpx_rewrite_again(round, now)) {
        round->phase = ROUND_LOWER;
        dpx_sweep_begin(round, SWEEP_WRITE, dpx_round_deadline(round, now), now);
    }
}

static void advance(dpx_round *round, uint64_t now)
{
    if (round->cancelled)
        cancel_early(round, now);
    switch (round->phase) {
    case ROUND_LOOK_PAUSE:
    case ROUND_JUDGE_PAUSE:
    case ROUND_LOWER_PAUSE:
        if (now >= round->wake)
            resume_after_pause(round, now);
        return;
    case ROUND_END:
        return;
    default:
        break;
    }
    enum sweep_state state = dpx_sweep_state(round, now);
    if (state == SWEEP_RUNNING)
        round->wake = dpx_sweep_until(round);
    else if (round->phase == ROUND_LOOK)
        advance_look(round, state, now);
    else if (round->phase == ROUND_MARK)
        dpx_after_mark(round, now);
    else if (round->phase == ROUND_LOWER)
        dpx_after_lower(round, state, now);
    else
        advance_raise(round, state, now);
}

dpx_request *dpx_round_step(dpx_round *round, uint64_t now)
{
    uint32_t sweep;
    enum round_phase phase;
    if (round->phase == ROUND_END)
        return NULL;
    if (dpx_world_over(round->world, now)) {
        dpx_round_finish(round, DPX_FINISHED);
        return NULL;
    }
    do { /* one phase may lead straight into the next */
        sweep = round->sweep;
        phase = round->phase;
        advance(round, now);
    } while (round->phase != phase || round->sweep != sweep);
    if (round->phase != ROUND_LOOK && round->phase != ROUND_RAISE && round->phase != ROUND_JUDGE &&
        round->phase != ROUND_LOWER && round->phase != ROUND_MARK)
        return NULL;
    bool blocked;
    dpx_request *request = dpx_sweep_next(round, &blocked);
    if (!request && blocked && round->wake > now + 50 * DPX_MS)
        round->wake = now + 50 * DPX_MS; /* another round's write may return meanwhile */
    return request;
}

void dpx_round_complete(dpx_round *round, dpx_request *request, uint64_t now)
{
    if (!dpx_sweep_complete(round, request)) {
        round->world->finished = true;
        if (round->phase != ROUND_END)
            dpx_round_finish(round, DPX_FINISHED);
    }
    (void)now;
}

uint64_t dpx_round_wake(const dpx_round *round)
{
    return round->phase == ROUND_END ? DPX_NEVER : round->wake;
}

void dpx_round_cancel(dpx_round *round)
{
    round->cancelled = true;
}

dpx_verdict dpx_round_verdict(const dpx_round *round)
{
    return round->verdict;
}

const dpx_cause *dpx_round_cause(const dpx_round *round)
{
    return &round->cause;
}

bool dpx_round_quiet(const dpx_round *round)
{
    for (uint32_t d = 0; d < round->world->geometry->disks; d++)
        if (round->channels[d].request.outstanding)
            return false;
    return round->phase == ROUND_END;
}

uint64_t dpx_round_moved(const dpx_round *round)
{
    uint64_t moved = 0;
    for (uint32_t d = 0; d < round->world->geometry->disks; d++) {
        uint64_t at = atomic_load(&round->channels[d].request.moved_at);
        if (round->channels[d].request.outstanding && at > moved)
            moved = at;
    }
    return moved;
}

bool dpx_round_lowering(const dpx_round *round)
{
    return (round->phase == ROUND_LOWER || round->phase == ROUND_LOWER_PAUSE) && !round->unmarking;
}
