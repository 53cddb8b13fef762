/* Every disk goes through its own chain: [notice blocks, if they changed] → own record,
 * then the whole table → [the notices that concern us, if any record says so].  A chain
 * that ran through proves, on that disk, that from its issue on nobody can have called us
 * dead without our seeing it.  A majority of such proofs makes a heartbeat; the lifetime
 * runs for S from the oldest issue among the newest majority of them.
 *
 * Because a record on a disk only ever announces notices that are durable on that same
 * disk, "announced, then read" holds disk by disk, and the usual argument on majorities
 * (two majorities share a disk) carries over.
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
    }
    return "unknown end";
}

static size_t aligned(size_t bytes)
{
    return (bytes + 4095u) & ~(size_t)4095u;
}

static size_t channel_memory(const dpx_geometry *geometry)
{
    size_t table = aligned((size_t)geometry->max_hosts * geometry->block_size);
    return aligned(geometry->block_size) + aligned((size_t)geometry->notice_blocks * geometry->block_size) +
           3 * table;
}

size_t dpx_heart_memory(const dpx_geometry *geometry)
{
    size_t extents = (size_t)geometry->notice_blocks + geometry->max_hosts;
    return geometry->disks * (channel_memory(geometry) + extents * sizeof(dpx_extent)) + sizeof(dpx_heart) +
           geometry->max_hosts * (sizeof(struct sentence) + sizeof(dpx_notice) + geometry->disks * sizeof(bool));
}

dpx_heart *dpx_heart_place(void *memory, dpx_world *world, const dpx_slot_record *record,
                           const dpx_notice *notices, uint64_t now)
{
    const dpx_geometry *geometry = world->geometry;
    size_t table = aligned((size_t)geometry->max_hosts * geometry->block_size);
    uint8_t *at = memory;
    size_t buffers = geometry->disks * channel_memory(geometry); /* filled before anybody looks */
    dpx_heart *heart = (dpx_heart *)(void *)(at + buffers);
    memset(heart, 0, dpx_heart_memory(geometry) - buffers);
    heart->sentences = (struct sentence *)(void *)(heart + 1);
    dpx_extent *extents = (dpx_extent *)(void *)(heart->sentences + geometry->max_hosts);
    for (uint32_t d = 0; d < geometry->disks; d++) {
        struct heart_channel *channel = &heart->channels[d];
        channel->record = at;
        channel->own_notices = at + aligned(geometry->block_size);
        channel->table[0] =
            channel->own_notices + aligned((size_t)geometry->notice_blocks * geometry->block_size);
        channel->table[1] = channel->table[0] + table;
        channel->notices = channel->table[1] + table;
        channel->writes = extents;
        channel->reads = extents + geometry->notice_blocks;
        extents += geometry->notice_blocks + geometry->max_hosts;
        at += channel_memory(geometry);
    }
    heart->entries = (dpx_notice *)(void *)extents;
    bool *sound = (bool *)(void *)(heart->entries + geometry->max_hosts);
    for (uint32_t d = 0; d < geometry->disks; d++)
        heart->channels[d].sound = sound + (size_t)d * geometry->max_hosts;
    memcpy(heart->entries, notices, geometry->max_hosts * sizeof *notices);
    heart->world = world;
    heart->record = *record;
    heart->next_beat = now;
    heart->last_proof = world->lifetime_end - geometry->outage_tolerance;
    /* What was carried on is written anew under our generation before it is announced. */
    heart->version = record->notices > 0;
    return heart;
}

static void end_with(dpx_heart *heart, dpx_end end)
{
    if (heart->end == DPX_ALIVE)
        heart->end = end;
    heart->world->finished = true;
}

static bool over(dpx_heart *heart, uint64_t now)
{
    if (heart->end == DPX_ALIVE && dpx_world_over(heart->world, now))
        end_with(heart, now >= heart->world->lifetime_end ? DPX_END_LIFETIME : DPX_END_OWN_BLOCK);
    return heart->end != DPX_ALIVE;
}

/* ---- what a table says about us ---- */

/* Our own record as the disk shows it.  True: it is the one just written there. */
static bool own_record_stands(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    const struct heart_channel *channel = &heart->channels[disk];
    const dpx_incarnation *self = &heart->world->self;
    dpx_slot_record shown;
    if (!channel->sound[self->slot])
        return false;
    dpx_slot_decode(dpx_heart_row(channel, geometry, self->slot), &shown);
    if (shown.state == DPX_SLOT_CLAIMING || shown.who.generation < self->generation)
        return false; /* a void claim or a ghost: the next heartbeat overwrites it */
    if (shown.who.generation > self->generation || shown.state == DPX_SLOT_FREE ||
        !dpx_uuid_equal(&shown.who.nonce, &self->nonce)) {
        end_with(heart, DPX_END_REPLACED);
        return false;
    }
    return shown.counter == channel->counter;
}

/* ---- building requests ---- */

static void build_notices(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    uint32_t slot = heart->world->self.slot;
    for (uint32_t part = 0; part < geometry->notice_blocks; part++) {
        dpx_notice entries[DPX_BLOCK_MAX / 8] = {0};
        uint32_t first = part * geometry->notice_entries;
        uint8_t *data = channel->own_notices + (size_t)part * geometry->block_size;
        for (uint32_t i = 0; i < geometry->notice_entries && first + i < geometry->max_hosts; i++)
            entries[i] = heart->entries[first + i];
        dpx_notice_encode(data, geometry, disk, part, &heart->world->self, heart->version, heart->world->wall,
                          entries);
        channel->writes[part] =
            (dpx_extent){.block = dpx_notice_block(geometry, slot, part), .count = 1, .data = data};
    }
    channel->request.write_count = geometry->notice_blocks;
    channel->version = heart->version;
}

static void build_record(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    dpx_slot_record *record = &heart->record;
    record->counter++; /* every write is one of a kind, on whatever disk */
    record->sequence++;
    record->state = channel->link == LINK_FREE ? DPX_SLOT_FREE : DPX_SLOT_ACTIVE;
    record->written_at = heart->world->wall;
    heart->numbers.counter = record->counter;
    channel->counter = record->counter;
    channel->version = channel->durable;
    dpx_slot_encode(channel->record, geometry, disk, record);
    channel->writes[0] =
        (dpx_extent){.block = dpx_slot_block(geometry, record->who.slot), .count = 1, .data = channel->record};
    channel->request.write_count = 1;
    if (channel->link == LINK_FREE)
        return;
    channel->reads[0] = (dpx_extent){.block = dpx_slot_block(geometry, 0), .count = geometry->max_hosts,
                                     .data = channel->table[1 - channel->front]};
    channel->request.read_count = 1;
}

/* ‡S20: what a damaged record announces is unknown. */
static bool may_announce(const dpx_heart *heart, uint32_t disk, uint32_t slot)
{
    const struct heart_channel *channel = &heart->channels[disk];
    dpx_slot_record record;
    if (!channel->sound[slot])
        return true;
    dpx_slot_decode(dpx_heart_row(channel, heart->world->geometry, slot), &record);
    return record.notices != 0;
}

/* One block of each slot that announces notices: the part in which we would stand.  0: none. */
static uint32_t build_notice_reads(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    uint32_t self = heart->world->self.slot;
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < geometry->max_hosts; slot++) {
        if (slot == self || !may_announce(heart, disk, slot))
            continue;
        channel->reads[count] =
            (dpx_extent){.block = dpx_notice_block(geometry, slot, self / geometry->notice_entries),
                         .count = 1,
                         .data = channel->notices + (size_t)count * geometry->block_size};
        count++;
    }
    return count;
}

static dpx_request *send(dpx_heart *heart, uint32_t disk)
{
    struct heart_channel *channel = &heart->channels[disk];
    uint32_t reads = channel->link == LINK_READ_NOTICES ? channel->request.read_count : 0;
    channel->request = (dpx_request){.disk = disk, .writes = channel->writes, .reads = channel->reads,
                                     .read_count = reads, .outstanding = true};
    if (channel->link == LINK_NOTICES)
        build_notices(heart, disk);
    else if (channel->link != LINK_READ_NOTICES)
        build_record(heart, disk);
    return &channel->request;
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
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++) {
        heart->channels[d].link = LINK_FREE;
        heart->channels[d].due = true;
    }
}

static bool freeing(const dpx_heart *heart)
{
    return heart->channels[0].link == LINK_FREE;
}

static dpx_request *step_free(dpx_heart *heart)
{
    if (!freeing(heart)) {
        if (!all_idle(heart))
            return NULL; /* every write of this incarnation has returned first */
        start_free(heart);
    }
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++) {
        struct heart_channel *channel = &heart->channels[d];
        if (!channel->freed && !channel->spent && channel->due && !channel->request.outstanding) {
            channel->due = false;
            return send(heart, d);
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
            channel->issue = now;
            channel->link = LINK_RECORD;
        }
        if (channel->link == LINK_RECORD && channel->durable < heart->version)
            channel->link = LINK_NOTICES; /* a record announces only what is durable on its disk */
        return send(heart, d);
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
    bool stands = own_record_stands(heart, disk);
    if (heart->end != DPX_ALIVE)
        return;
    if (!stands) { /* a stale reader must not judge others */
        channel->read_once = false;
        break_chain(heart, channel, now);
        return;
    }
    dpx_heart_observe(heart);
    uint32_t reads = build_notice_reads(heart, disk);
    if (reads == 0) {
        prove(heart, channel, now);
        return;
    }
    channel->request.read_count = reads;
    channel->link = LINK_READ_NOTICES;
}

static void heed_entry(dpx_heart *heart, uint32_t slot, uint32_t entry)
{
    dpx_world *world = heart->world;
    uint32_t about = entry & DPX_NOTICE_GENERATION;
    if (slot == world->self.slot) {
        /* About us, or about a claim that lay over our record: whoever wrote it holds all up to that
         * generation dead (in 31-bit arithmetic). */
        uint32_t ahead = (about - (uint32_t)world->self.generation) & DPX_NOTICE_GENERATION;
        if (ahead <= DPX_NOTICE_GENERATION / 2)
            end_with(heart, DPX_END_NOTICE);
        return;
    }
    const dpx_peer *peer = &world->peers->slots[slot];
    if ((entry & DPX_NOTICE_FENCED) && peer->seen &&
        about == (uint32_t)(peer->record.who.generation & DPX_NOTICE_GENERATION))
        dpx_peers_drained(world->peers, slot, peer->record.who.generation, DPX_DRAINED_FENCED);
}

static void notices_read(dpx_heart *heart, uint32_t disk, uint64_t now)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    for (uint32_t i = 0; i < channel->request.read_count; i++) {
        const dpx_extent *read = &channel->reads[i];
        if (dpx_block_check(read->data, geometry, DPX_KIND_NOTICE, disk, read->block) != DPX_SOUND) {
            /* It might name us.  Without a majority that can be read, our life runs out. */
            break_chain(heart, channel, now);
            return;
        }
        uint32_t first = dpx_place_of(geometry, read->block).part * geometry->notice_entries;
        for (uint32_t e = 0; e < geometry->notice_entries && first + e < geometry->max_hosts; e++)
            if (dpx_notice_entry(read->data, e).about != 0)
                heed_entry(heart, first + e, dpx_notice_entry(read->data, e).about);
    }
    if (heart->end == DPX_ALIVE)
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
        end_with(heart, DPX_END_LEFT);
}

void dpx_heart_complete(dpx_heart *heart, dpx_request *request, uint64_t now)
{
    struct heart_channel *channel = &heart->channels[request->disk];
    request->outstanding = false;
    if (over(heart, now))
        return;
    if (channel->link == LINK_FREE) {
        free_written(heart, channel, now);
        return;
    }
    if (request->error != 0) {
        break_chain(heart, channel, now);
        return;
    }
    switch (channel->link) {
    case LINK_NOTICES:
        channel->durable = channel->version;
        channel->link = LINK_RECORD;
        break;
    case LINK_RECORD:
        record_done(heart, request->disk, now);
        break;
    case LINK_READ_NOTICES:
        notices_read(heart, request->disk, now);
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
