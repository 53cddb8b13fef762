/* One sweep: the same blocks written to, or areas read from, every disk that can be
 * reached; good as soon as every lease of the sweep has a majority. */
#include <errno.h>
#include <string.h>

#include "round_state.h"

bool dpx_sweep_majority(const dpx_round *round, uint8_t disks)
{
    uint32_t count = 0;
    for (; disks; disks &= (uint8_t)(disks - 1))
        count++;
    return count >= dpx_majority(round->world->geometry);
}

void dpx_sweep_begin(dpx_round *round, enum sweep_kind kind, uint64_t limit, uint64_t now)
{
    round->sweep_kind = kind;
    round->sweep++;
    round->sweep_began = now;
    round->sweep_limit = limit;
    for (uint32_t d = 0; d < round->world->geometry->disks; d++) {
        round->channels[d].done = round->channels[d].sent = false;
        round->channels[d].error = 0;
    }
    for (uint32_t i = 0; i < round->count; i++) {
        struct round_item *item = &round->items[i];
        item->counted = item->returned = item->own_flawed = 0;
        item->flawed = false;
        item->regressed = 0;
        if (item->in_sweep && kind != SWEEP_READ) {
            dpx_lease *lease = round->wishes[i].lease;
            uint64_t *last = round->world->sequences ? &round->world->sequences[lease->header.area] : NULL;
            if (last && *last > lease->sequence)
                lease->sequence = *last; /* another name's: each number is used once */
            item->content.sequence = item->drawn = ++lease->sequence;
            if (last)
                *last = lease->sequence;
            uint64_t *used = round->world->ballots ? &round->world->ballots[lease->header.area] : NULL;
            if (used && *used < item->content.ballot)
                *used = item->content.ballot;
            item->written = 0;
        }
    }
}

bool dpx_sweep_ours(const dpx_round *round, const dpx_request *request)
{
    return (int32_t)(request->sweep - round->first_sweep) >= 0;
}

/* An I/O has its limit, not all that a batch asks for together: what returns shows that the disk is at work. */
uint64_t dpx_sweep_until(const dpx_round *round)
{
    uint64_t until = round->sweep_limit;
    for (uint32_t d = 0; d < round->world->geometry->disks; d++) {
        const struct round_channel *channel = &round->channels[d];
        if (!channel->sent || channel->done)
            continue;
        uint64_t moved = atomic_load(&channel->request.moved_at);
        if (moved != 0 && dpx_round_deadline(round, moved) > until)
            until = dpx_round_deadline(round, moved);
    }
    return until;
}

enum sweep_state dpx_sweep_state(const dpx_round *round, uint64_t now)
{
    bool good = true;
    bool waiting = false;
    for (uint32_t i = 0; i < round->count; i++) {
        const struct round_item *item = &round->items[i];
        uint8_t disks = round->sweep_kind == SWEEP_WRITE ? item->written : item->counted;
        if (item->in_sweep && !dpx_sweep_majority(round, disks))
            good = false;
    }
    if (good)
        return SWEEP_GOOD;
    for (uint32_t d = 0; d < round->world->geometry->disks; d++)
        waiting |= !round->channels[d].done;
    return waiting && now < dpx_sweep_until(round) ? SWEEP_RUNNING : SWEEP_FAILED;
}

/* What another name of this host kept out says most, then what a disk answered, then that one did not; a disk
 * that is not there at all was known to be missing. */
static uint32_t gravity(const struct round_channel *channel)
{
    if (channel->error == -EBUSY)
        return 4;
    if (channel->error == 0)
        return channel->done ? 0 : 2;
    return channel->error == -ENODEV ? 1 : 3;
}

void dpx_sweep_blame(dpx_round *round)
{
    uint32_t worst = 0;
    round->cause.error = -ETIMEDOUT;
    round->cause.disk = DPX_NO_DISK;
    for (uint32_t d = 0; d < round->world->geometry->disks; d++) {
        const struct round_channel *channel = &round->channels[d];
        if (gravity(channel) <= worst)
            continue;
        worst = gravity(channel);
        round->cause.error = channel->error != 0 ? channel->error : -ETIMEDOUT;
        round->cause.disk = d;
    }
}

/* ---- requests ---- */

static uint32_t area_of(const dpx_round *round, uint32_t i)
{
    const struct round_item *item = &round->items[i];
    return round->phase == ROUND_LOOK ? item->probe : round->wishes[i].lease->header.area;
}

/* Another name of this host has begun to write in an area of this sweep: what has not been
 * handed out yet would come after that, with an older sequence. */
static bool overtaken(const dpx_round *round)
{
    const uint64_t *last = round->world->sequences;
    if (round->sweep_kind == SWEEP_READ || !last)
        return false;
    for (uint32_t i = 0; i < round->count; i++)
        if (round->items[i].in_sweep && last[area_of(round, i)] != round->items[i].content.sequence)
            return true;
    return false;
}

/* Never two writes of one block in flight, not even after a time limit. */
static bool suspect(const dpx_round *round, uint32_t disk)
{
    if (round->sweep_kind == SWEEP_READ)
        return false;
    for (uint32_t i = 0; i < round->count; i++)
        if (round->items[i].in_sweep && (round->world->in_flight[area_of(round, i)] >> disk & 1))
            return true;
    return false;
}

static void build_write(dpx_round *round, struct round_channel *channel, uint32_t disk, uint32_t i)
{
    const dpx_geometry *geometry = round->world->geometry;
    struct round_item *item = &round->items[i];
    uint32_t n = channel->request.write_count++;
    uint32_t area = area_of(round, i);
    uint8_t *block = channel->blocks + (size_t)n * geometry->block_size;
    dpx_own_encode(block, geometry, disk, &item->content);
    channel->writes[n] = (dpx_extent){.block = dpx_own_block(geometry, area, round->world->self.slot),
                                      .count = 1,
                                      .data = block};
    channel->sequences[n] = item->content.sequence;
    round->world->in_flight[area] |= (uint8_t)(1u << disk);
}

/* Our last write on this disk that has completed: an image without it is an old one. */
static uint64_t floor_of(const dpx_round *round, uint32_t i, uint32_t area, uint32_t disk)
{
    const uint64_t *written = round->world->written;
    uint64_t done = round->wishes[i].lease->done[disk];
    uint64_t any = written ? written[(size_t)area * DPX_MAX_DISKS + disk] : 0;
    return done > any ? done : any;
}

static void build(dpx_round *round, uint32_t disk)
{
    const dpx_geometry *geometry = round->world->geometry;
    struct round_channel *channel = &round->channels[disk];
    size_t area_bytes = (size_t)geometry->area_blocks * geometry->block_size;
    uint32_t n = 0;
    channel->request = (dpx_request){.disk = disk, .writes = channel->writes, .reads = channel->reads,
                                     .outstanding = true, .sweep = round->sweep};
    for (uint32_t i = 0; i < round->count; i++) {
        if (!round->items[i].in_sweep)
            continue;
        channel->items[n] = i;
        channel->areas[n] = area_of(round, i);
        channel->floors[n] = floor_of(round, i, channel->areas[n], disk);
        if (round->sweep_kind != SWEEP_READ)
            build_write(round, channel, disk, i);
        if (round->sweep_kind != SWEEP_WRITE) {
            channel->reads[n] = (dpx_extent){.block = dpx_header_block(geometry, channel->areas[n]),
                                             .count = 1 + geometry->max_hosts,
                                             .data = channel->images + (size_t)i * area_bytes};
            channel->request.read_count++;
        }
        n++;
    }
    channel->sent = true;
}

dpx_request *dpx_sweep_next(dpx_round *round, bool *blocked)
{
    bool late = overtaken(round);
    *blocked = false;
    for (uint32_t d = 0; d < round->world->geometry->disks; d++) {
        struct round_channel *channel = &round->channels[d];
        if (channel->sent)
            continue;
        if (late) { /* this disk takes no part */
            channel->sent = channel->done = *blocked = true;
            channel->error = -EBUSY;
            continue;
        }
        if (channel->request.outstanding)
            continue;
        if (suspect(round, d)) {
            *blocked = true;
            continue;
        }
        build(round, d);
        return &channel->request;
    }
    return NULL;
}

/* ---- completion ---- */

/* What was written, of whatever sweep: it is in flight no more, and known to be there. */
static void book_writes(dpx_round *round, struct round_channel *channel, bool current)
{
    const dpx_request *request = &channel->request;
    uint8_t bit = (uint8_t)(1u << request->disk);
    for (uint32_t n = 0; n < request->write_count; n++) {
        uint32_t area = channel->areas[n];
        uint32_t i = channel->items[n];
        dpx_lease *lease = round->wishes[i].lease;
        bool same_area = lease->located && lease->header.area == area;
        round->world->in_flight[area] &= (uint8_t)~bit;
        /* A pair raises a flag, well returned or not; one of an earlier use of the round did not raise ours. */
        if (request->writes_issued && request->read_count > 0 && dpx_sweep_ours(round, request))
            round->raised = true;
        if (!request->writes_issued || request->writes[n].error != 0)
            continue;
        if (same_area && lease->done[request->disk] < channel->sequences[n])
            lease->done[request->disk] = channel->sequences[n];
        uint64_t *written = round->world->written;
        if (written && written[(size_t)area * DPX_MAX_DISKS + request->disk] < channel->sequences[n])
            written[(size_t)area * DPX_MAX_DISKS + request->disk] = channel->sequences[n];
        if (current || (same_area && channel->sequences[n] == round->items[i].content.sequence))
            round->items[i].written |= bit;
    }
}

static bool book_image(dpx_round *round, struct round_channel *channel, uint32_t n)
{
    const dpx_request *request = &channel->request;
    uint32_t i = channel->items[n];
    struct round_item *item = &round->items[i];
    uint8_t bit = (uint8_t)(1u << request->disk);
    const uint8_t *image = request->reads[n].data;
    if (request->reads[n].error != 0)
        return true;
    item->returned |= bit;
    /* What completed while the read was under way may be missing in it; a pair's own write not. */
    uint64_t written = request->write_count > 0 ? channel->sequences[n] : channel->floors[n];
    switch (dpx_image_check(round->world, written, request->disk, channel->areas[n], image, &round->cause)) {
    case DPX_IMAGE_COUNTS:
        /* A judging read counts on disks that carry the flag: two attempts that each see only
         * disks which the other has not written yet would both go on. */
        if (round->phase != ROUND_JUDGE || (item->written & bit))
            item->counted |= bit;
        break;
    case DPX_IMAGE_REGRESSED:
        item->regressed |= bit;
        break;
    case DPX_IMAGE_OWN_FLAWED:
        item->own_flawed |= bit;
        break;
    case DPX_IMAGE_FLAWED:
        item->flawed = true;
        break;
    case DPX_IMAGE_REVERTED:
        round->world->reverted = true;
        return false;
    case DPX_IMAGE_SUPERSEDED:
        return false;
    }
    return true;
}

/* A late answer judges nothing any more; but what it shows of ourselves ends us all the same. */
static bool late_images(dpx_round *round, const struct round_channel *channel)
{
    const dpx_request *request = &channel->request;
    dpx_cause unheeded = {0};
    for (uint32_t n = 0; n < request->read_count; n++) {
        if (request->error == -ETIME || request->reads[n].error != 0)
            continue;
        dpx_image image = dpx_image_check(round->world, 0, request->disk, channel->areas[n], request->reads[n].data,
                                          &unheeded);
        round->world->reverted |= image == DPX_IMAGE_REVERTED;
        if (image == DPX_IMAGE_REVERTED || image == DPX_IMAGE_SUPERSEDED)
            return false;
    }
    return true;
}

bool dpx_sweep_complete(dpx_round *round, dpx_request *request)
{
    struct round_channel *channel = &round->channels[request->disk];
    bool current = request->sweep == round->sweep;
    request->outstanding = false;
    book_writes(round, channel, current);
    if (!current)
        return late_images(round, channel); /* the disk may take part in the present sweep now */
    channel->done = true;
    channel->error = request->error;
    if (request->error == -ETIME || round->sweep_kind == SWEEP_WRITE)
        return true;
    for (uint32_t n = 0; n < request->read_count; n++)
        if (!book_image(round, channel, n))
            return false;
    return true;
}

void dpx_sweep_images(const dpx_round *round, const struct round_item *item, const uint8_t *images[DPX_MAX_DISKS])
{
    const dpx_geometry *geometry = round->world->geometry;
    size_t area_bytes = (size_t)geometry->area_blocks * geometry->block_size;
    size_t at = (size_t)(item - round->items) * area_bytes;
    for (uint32_t d = 0; d < DPX_MAX_DISKS; d++)
        images[d] = d < geometry->disks && (item->counted >> d & 1) ? round->channels[d].images + at : NULL;
}
