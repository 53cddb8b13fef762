/* Every disk goes through its own chain: a look at the superblock and the own record → [notice blocks, if
 * they changed] → own record, then the whole table and all notices that may concern us.  A chain that ran
 * through proves, on that disk, that from the issue of its record on nobody can have called us dead without
 * our seeing it: whoever does writes his notice first and looks at our record then, and we the other way
 * round.  A majority of such proofs makes a heartbeat; the lifetime runs for S from the oldest issue among the
 * newest majority of them.
 *
 * Notice and look are of one disk, too, so the usual argument on majorities (two of them share a disk) carries over.
 */
#include "heart_state.h"

#include <string.h>

const char *dpx_end_text(dpx_end end)
{
    switch (end) {
    case DPX_ALIVE: return "alive";
    case DPX_END_LIFETIME: return "the lifetime ran out: storage unreachable, or this process was stopped";
    case DPX_END_REPLACED: return "the host slot belongs to another incarnation";
    case DPX_END_NOTICE: return "another host declared this one dead";
    case DPX_END_OWN_BLOCK: return "a newer incarnation of this slot wrote a lease block";
    case DPX_END_LEFT: return "left";
    case DPX_END_GONE: return "the lockspace was formatted anew, or wiped";
    case DPX_END_REVERTED: return "this incarnation went on from an older state of its memory";
    case DPX_END_COPY: return "the storage was replaced by a copy that lacks what this host wrote";
    }
    return "unknown end";
}

static size_t aligned(size_t bytes)
{
    return (bytes + 4095u) & ~(size_t)4095u;
}

static size_t channel_memory(const dpx_geometry *geometry)
{
    size_t slots = aligned((size_t)geometry->max_hosts * geometry->block_size);
    size_t own = aligned((size_t)geometry->notice_blocks * geometry->block_size);
    return 3 * aligned(geometry->block_size) + 2 * own + 4 * slots;
}

/* Of each slot, per disk. */
#define WORDS 5u
static size_t slot_memory(void)
{
    return sizeof(struct found_notice) + sizeof(uint64_t) + WORDS * sizeof(uint32_t) + sizeof(bool);
}

static size_t extents(const dpx_geometry *geometry)
{
    return 2 * (size_t)geometry->notice_blocks + 3; /* writes; reads: the own ones, the table, two parts */
}

size_t dpx_heart_memory(const dpx_geometry *geometry)
{
    return sizeof(dpx_heart) + geometry->max_hosts * (sizeof(struct sentence) + sizeof(dpx_notice)) +
           geometry->disks * (channel_memory(geometry) + extents(geometry) * sizeof(dpx_extent) +
                              geometry->max_hosts * slot_memory());
}

static void place_buffers(struct heart_channel *channel, const dpx_geometry *geometry, uint8_t *at)
{
    size_t block = aligned(geometry->block_size);
    size_t own = aligned((size_t)geometry->notice_blocks * geometry->block_size);
    size_t slots = aligned((size_t)geometry->max_hosts * geometry->block_size);
    channel->record = at;
    channel->look[0] = channel->record + block;
    channel->look[1] = channel->look[0] + block;
    channel->own_notices = channel->look[1] + block;
    channel->own_read = channel->own_notices + own;
    channel->table[0] = channel->own_read + own;
    channel->table[1] = channel->table[0] + slots;
    channel->notices = channel->table[1] + slots;
    channel->others = channel->notices + slots;
}

/* The smaller things, in the order of their alignment. */
static void place_channels(dpx_heart *heart, const dpx_geometry *geometry, uint8_t *buffers)
{
    size_t slots = geometry->max_hosts, disks = geometry->disks;
    heart->sentences = (struct sentence *)(void *)(heart + 1);
    dpx_extent *ios = (dpx_extent *)(void *)(heart->sentences + slots);
    struct found_notice *found = (struct found_notice *)(void *)(ios + disks * extents(geometry));
    uint64_t *times = (uint64_t *)(void *)(found + disks * slots);
    heart->entries = (dpx_notice *)(void *)(times + disks * slots);
    uint32_t *words = (uint32_t *)(void *)(heart->entries + slots);
    bool *sound = (bool *)(void *)(words + WORDS * disks * slots);
    for (uint32_t d = 0; d < disks; d++) {
        struct heart_channel *channel = &heart->channels[d];
        place_buffers(channel, geometry, buffers + d * channel_memory(geometry));
        channel->writes = ios + d * extents(geometry);
        channel->reads = channel->writes + geometry->notice_blocks;
        channel->found = found + d * slots;
        channel->stood_from = times + d * slots;
        channel->shown = words + WORDS * d * slots;
        channel->clear = channel->shown + slots;
        channel->certificates = channel->clear + slots;
        channel->blocks = channel->certificates + slots;
        channel->known = channel->blocks + slots;
        channel->sound = sound + d * slots;
    }
}

/* What the claim knows: its note where that is durable; certificates that were carried on; and under which records the
 * notice blocks cannot say anything of us, since our generation was not there yet when those were read. */
static void inherit(dpx_heart *heart, const dpx_claim *claim)
{
    const dpx_geometry *geometry = heart->world->geometry;
    memcpy(heart->entries, dpx_claim_notices(claim), geometry->max_hosts * sizeof *heart->entries);
    for (uint32_t d = 0; d < geometry->disks; d++) {
        struct heart_channel *channel = &heart->channels[d];
        channel->durable = dpx_claim_noted(claim, d) ? heart->version : 0;
        for (uint32_t slot = 0; slot < geometry->max_hosts; slot++) {
            channel->certificates[slot] = dpx_claim_certificate(claim, d, slot);
            channel->clear[slot] = channel->shown[slot] = dpx_claim_shown(claim, d, slot);
            channel->known[slot] = dpx_claim_read(claim, d, slot);
        }
    }
}

dpx_heart *dpx_heart_place(void *memory, dpx_world *world, const dpx_claim *claim, uint64_t now)
{
    const dpx_geometry *geometry = world->geometry;
    uint8_t *at = memory;
    size_t buffers = geometry->disks * channel_memory(geometry); /* filled before anybody looks */
    dpx_heart *heart = (dpx_heart *)(void *)(at + buffers);
    memset(heart, 0, dpx_heart_memory(geometry) - buffers);
    place_channels(heart, geometry, at);
    heart->world = world;
    heart->record = *dpx_claim_record(claim);
    heart->version = DPX_CLAIM_NOTE; /* the sequence of the claim's note */
    heart->next_beat = now;
    heart->last_proof = world->lifetime_end - geometry->outage_tolerance;
    inherit(heart, claim);
    world->peers->self = world->self;
    memset(world->peers->counter, 0, sizeof world->peers->counter);
    return heart;
}

void dpx_heart_end_with(dpx_heart *heart, dpx_end end)
{
    if (heart->end == DPX_ALIVE)
        heart->end = end;
    heart->world->finished = true;
}

static bool over(dpx_heart *heart, uint64_t now)
{
    if (heart->end == DPX_ALIVE && dpx_world_over(heart->world, now))
        dpx_heart_end_with(heart, dpx_world_end(heart->world, now));
    return heart->end != DPX_ALIVE;
}

/* ---- stepping ---- */

static bool all_idle(const dpx_heart *heart)
{
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++)
        if (heart->channels[d].request.outstanding || heart->channels[d].suspect)
            return false;
    return true;
}

static void start_beat(dpx_heart *heart, uint64_t now)
{
    const dpx_geometry *geometry = heart->world->geometry;
    uint64_t period = geometry->outage_tolerance / 8;
    if (heart->numbers.counter > 0 && now > heart->last_proof + period + dpx_io_limit(geometry))
        heart->numbers.missed++; /* the one before has not come back */
    heart->next_beat = now + period;
    if (heart->leaving)
        heart->next_beat = now + period / 4;
    heart->hurry = false;
    for (uint32_t d = 0; d < geometry->disks; d++)
        heart->channels[d].due = true;
}

static void start_free(dpx_heart *heart)
{
    heart->freeing = true;
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++) {
        heart->channels[d].link = LINK_LOOK; /* ‡S22: the last record, too, is written after a look */
        heart->channels[d].due = true;
    }
}

static dpx_request *step_free(dpx_heart *heart)
{
    if (!heart->freeing) {
        if (!all_idle(heart))
            return NULL; /* every write of this incarnation has returned first */
        start_free(heart);
    }
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++) {
        struct heart_channel *channel = &heart->channels[d];
        /* A free record lies where its owner's notices do (‡S21), and nowhere else. */
        bool ready = channel->due && channel->durable > 0 && !channel->request.outstanding;
        if (ready && !channel->freed && !channel->spent) {
            channel->due = false;
            return dpx_heart_send(heart, d);
        }
    }
    return NULL;
}

dpx_request *dpx_heart_step(dpx_heart *heart, uint64_t now)
{
    if (over(heart, now))
        return NULL;
    if (now >= heart->next_beat || heart->hurry) {
        start_beat(heart, now);
    }
    if (heart->leaving)
        return step_free(heart);
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++) {
        struct heart_channel *channel = &heart->channels[d];
        if (channel->request.outstanding || channel->suspect)
            continue;
        if (channel->link == LINK_IDLE) {
            if (!channel->due)
                continue;
            channel->due = false;
            channel->link = LINK_LOOK;
        }
        if (channel->link == LINK_RECORD && channel->durable < heart->version)
            channel->link = LINK_NOTICES; /* a record announces only what is durable on its disk */
        if (channel->link == LINK_RECORD)
            channel->issue = now;
        return dpx_heart_send(heart, d);
    }
    return NULL;
}

/* ---- completions ---- */

/* A chain ran through on this disk: count a heartbeat when that makes a newer majority. */
static void prove(dpx_heart *heart, struct heart_channel *channel, uint64_t now)
{
    const dpx_geometry *geometry = heart->world->geometry;
    uint64_t issues[DPX_MAX_DISKS];
    channel->link = LINK_IDLE;
    channel->proved = channel->issue;
    channel->proved_version = channel->version;
    for (uint32_t d = 0; d < geometry->disks; d++) { /* insertion sort, newest first */
        uint64_t issue = heart->channels[d].proved;
        uint32_t at = d;
        for (; at > 0 && issues[at - 1] < issue; at--)
            issues[at] = issues[at - 1];
        issues[at] = issue;
    }
    uint64_t proof = issues[dpx_majority(geometry) - 1];
    dpx_heart_execute(heart);
    if (proof <= heart->last_proof || over(heart, now))
        return;
    heart->last_proof = proof;
    heart->world->lifetime_end = proof + geometry->outage_tolerance;
    heart->numbers.beats++;
    heart->numbers.last_issue = proof;
    heart->numbers.last_duration = now - proof;
    if (now - proof > heart->numbers.worst_duration)
        heart->numbers.worst_duration = now - proof;
    dpx_heart_review(heart, now);
}

/* The chain broke: this disk proves nothing now; try again well before the next period. */
static void break_chain(dpx_heart *heart, struct heart_channel *channel, uint64_t now)
{
    uint64_t soon = now + heart->world->geometry->outage_tolerance / 32;
    channel->link = LINK_IDLE;
    heart->numbers.missed++;
    if (heart->next_beat > soon)
        heart->next_beat = soon;
}

static void record_done(dpx_heart *heart, uint32_t disk, uint64_t now)
{
    struct heart_channel *channel = &heart->channels[disk];
    channel->front = 1 - channel->front;
    channel->read_once = true;
    channel->table_issued = channel->request.read_issued_at;
    channel->table_completed = channel->request.read_completed_at;
    dpx_heart_check_table(heart, disk);
    bool stands = dpx_heart_record_stands(heart, disk);
    if (heart->end != DPX_ALIVE)
        return;
    if (!stands) { /* a stale reader must not judge others */
        channel->read_once = false;
        break_chain(heart, channel, now);
        return;
    }
    dpx_heart_observe(heart);
    dpx_heart_read_mail(heart, disk);
    bool nobody = dpx_heart_nobody_names_us(heart, disk);
    if (heart->end != DPX_ALIVE)
        return;
    /* Otherwise somebody might.  Without a majority that can be read, our life runs out. */
    if (!nobody) {
        break_chain(heart, channel, now);
        return;
    }
    dpx_heart_find_certificates(heart, disk);
    prove(heart, channel, now);
}

/* A free record that failed may have landed all the same, and somebody may have claimed the
 * slot since: a second one could land over the new owner's record.  Without a majority the slot
 * is left to die. */
static void free_written(dpx_heart *heart, struct heart_channel *channel, uint64_t now)
{
    uint32_t freed = 0;
    channel->freed = channel->request.error == 0;
    channel->spent = channel->request.writes_issued;
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++)
        freed += heart->channels[d].freed;
    if (freed >= dpx_majority(heart->world->geometry) && now < heart->world->lifetime_end)
        dpx_heart_end_with(heart, DPX_END_LEFT);
}

static void free_step_done(dpx_heart *heart, uint32_t disk, uint64_t now)
{
    struct heart_channel *channel = &heart->channels[disk];
    bool looked = channel->link == LINK_LOOK;
    if (!looked) {
        free_written(heart, channel, now);
    } else if (channel->request.error == 0 && dpx_heart_look_ok(heart, disk, now)) {
        channel->link = LINK_FREE;
        channel->due = true;
    } /* else: at the next beat, while there is time */
}

void dpx_heart_complete(dpx_heart *heart, dpx_request *request, uint64_t now)
{
    struct heart_channel *channel = &heart->channels[request->disk];
    request->outstanding = false;
    if (over(heart, now))
        return;
    if (heart->freeing) {
        free_step_done(heart, request->disk, now);
        return;
    }
    if (request->error != 0) {
        break_chain(heart, channel, now);
        return;
    }
    switch (channel->link) {
    case LINK_LOOK:
        if (dpx_heart_look_ok(heart, request->disk, now))
            channel->link = LINK_RECORD;
        else if (heart->end == DPX_ALIVE && channel->yields && channel->durable == 0)
            channel->link = LINK_NOTICES; /* no claim keeps an owner's notices from being mended */
        else if (heart->end == DPX_ALIVE)
            break_chain(heart, channel, now);
        break;
    case LINK_NOTICES:
        channel->durable = channel->version;
        channel->link = LINK_RECORD;
        if (channel->yields)
            break_chain(heart, channel, now);
        break;
    case LINK_RECORD:
        heart->world->peers->counter[request->disk] = channel->counter;
        record_done(heart, request->disk, now);
        break;
    default:
        break;
    }
}

/* ---- the rest of the interface ---- */

void dpx_heart_suspect(dpx_heart *heart, uint32_t disk, bool in_flight)
{
    heart->channels[disk].suspect = in_flight;
}

void dpx_heart_hurry(dpx_heart *heart)
{
    heart->hurry = true;
}

void dpx_heart_retire(dpx_heart *heart, uint32_t slot, uint64_t generation)
{
    if (slot != heart->world->self.slot)
        dpx_heart_sentence(heart, slot, generation, true);
}

bool dpx_heart_retired(const dpx_heart *heart, uint32_t slot, uint64_t generation)
{
    const struct sentence *sentence = &heart->sentences[slot];
    return sentence->fenced && sentence->done && sentence->generation >= generation;
}

bool dpx_heart_judging(const dpx_heart *heart, uint32_t slot, uint64_t generation)
{
    const struct sentence *sentence = &heart->sentences[slot];
    return !sentence->done && sentence->generation != 0 && sentence->generation >= generation;
}

void dpx_heart_leave(dpx_heart *heart)
{
    heart->leaving = true;
    heart->hurry = true;
}

dpx_end dpx_heart_end(const dpx_heart *heart)
{
    return heart->end;
}

bool dpx_heart_quiet(const dpx_heart *heart)
{
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++)
        if (heart->channels[d].request.outstanding)
            return false;
    return true;
}

uint64_t dpx_heart_wake(const dpx_heart *heart)
{
    if (heart->end != DPX_ALIVE)
        return DPX_NEVER;
    uint64_t beat = heart->hurry ? 0 : heart->next_beat;
    return beat < heart->world->lifetime_end ? beat : heart->world->lifetime_end;
}

dpx_heart_numbers dpx_heart_count(const dpx_heart *heart)
{
    return heart->numbers;
}
