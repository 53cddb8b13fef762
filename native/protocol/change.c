/* find → take lease 0 → find again → take the area → write the header → release both.
 * A half-made change of a dead host, met on the way, is resolved first: the area is taken like for a change and its
 * header, as a majority shows it, written again under our directory token.  What a minority holds is outranked by
 * that, so the change is undone or completed for good. */
#include "change.h"

#include "area.h"

#include <string.h>

#define RESTARTS 8u
#define WAIT (200 * DPX_MS) /* between two tries at an area whose flag is up */

enum phase { PHASE_FIND, PHASE_TAKE_DIRECTORY, PHASE_FIND_AGAIN, PHASE_TAKE_AREA, PHASE_PEEK, PHASE_WRITE,
             PHASE_PAUSE, PHASE_RELEASE, PHASE_WAIT, PHASE_END };

struct channel {
    dpx_request request;
    dpx_extent extent;
    uint8_t *block; /* room for an area */
    bool asked; /* the request is of this peek, or of this header … */
    bool sent;  /* … was sent in this sweep … */
    bool good;  /* … and was answered without an error, in whatever sweep: a header is then durable here */
};

struct dpx_change {
    dpx_world *world;
    dpx_lease *directory;
    dpx_lease *lease;
    dpx_lease scratch; /* an area to resolve */
    dpx_change_kind kind;
    dpx_uuid uuid;
    uint64_t wait_until;
    enum phase phase;
    bool resolving;    /* the present taking is of scratch */
    bool holds_directory;
    bool holds_area;
    bool cancelled;
    uint32_t restarts;
    bool waits;        /* start over only after a while: the area's flag must fall first */
    uint64_t wake;     /* of peek, write and wait */
    dpx_verdict after; /* the verdict once everything is released; DPX_RUNNING: start over */
    dpx_verdict verdict;
    dpx_cause cause;
    dpx_header header; /* to be written */
    bool next_is_free; /* delete: the area that probing would try next */
    dpx_wish wishes[2];
    dpx_round *round;
    struct channel channels[DPX_MAX_DISKS];
};

static size_t aligned(size_t bytes)
{
    return (bytes + 4095u) & ~(size_t)4095u;
}

static size_t area_bytes(const dpx_geometry *geometry)
{
    return aligned((size_t)geometry->area_blocks * geometry->block_size);
}

size_t dpx_change_memory(const dpx_geometry *geometry)
{
    return aligned(dpx_round_memory(geometry, 2)) + geometry->disks * area_bytes(geometry) +
           sizeof(dpx_change);
}

dpx_change *dpx_change_place(void *memory, dpx_world *world, dpx_lease *directory)
{
    const dpx_geometry *geometry = world->geometry;
    uint8_t *at = (uint8_t *)memory + aligned(dpx_round_memory(geometry, 2));
    dpx_change *change = (dpx_change *)(void *)(at + geometry->disks * area_bytes(geometry));
    memset(change, 0, sizeof *change);
    change->round = dpx_round_place(memory, world, 2);
    for (uint32_t d = 0; d < geometry->disks; d++)
        change->channels[d].block = at + d * area_bytes(geometry);
    change->world = world;
    change->directory = directory;
    change->phase = PHASE_END;
    if (!directory->located) { /* where lease 0 is needs no search */
        dpx_lease_reset(directory, DPX_DIRECTORY_NAME, sizeof DPX_DIRECTORY_NAME - 1);
        directory->located = true;
        directory->header.area = DPX_DIRECTORY_AREA;
        directory->header.state = DPX_LEASE_IN_USE;
        directory->header.lease = geometry->uuid;
    }
    return change;
}

static dpx_lease *area_lease(dpx_change *change)
{
    return change->resolving ? &change->scratch : change->lease;
}

static void finish(dpx_change *change, dpx_verdict verdict)
{
    change->verdict = verdict;
    change->phase = PHASE_END;
    change->wake = DPX_NEVER;
}

/* ---- starting each phase ---- */

static void start_find(dpx_change *change, enum phase phase, uint64_t now)
{
    change->phase = phase;
    if (!change->holds_area)
        dpx_lease_unlocate(change->lease);
    change->wishes[0] = (dpx_wish){.lease = change->lease, .under_directory = change->holds_directory};
    dpx_round_begin(change->round, DPX_ROUND_FIND, change->wishes, 1, now, now);
}

static void start_take(dpx_change *change, enum phase phase, uint64_t now)
{
    bool directory = phase == PHASE_TAKE_DIRECTORY;
    uint64_t patience = now + dpx_io_limit(change->world->geometry); /* others are at it for a moment only */
    change->phase = phase;
    change->wishes[0] = (dpx_wish){.lease = directory ? change->directory : area_lease(change),
                                   .mode = DPX_MODE_EXCLUSIVE};
    if (!directory) {
        change->wishes[0].change_token = change->directory->token;
        change->wishes[0].resolving = change->resolving;
    }
    /* Nothing is waited for while the directory is held: for the area one tries once. */
    uint64_t until = !directory ? now : change->wait_until < patience ? patience : change->wait_until;
    dpx_round_begin(change->round, DPX_ROUND_TAKE, change->wishes, 1, until, now);
}

/* Everything held is let go in one round; then `after`. */
static void start_release(dpx_change *change, dpx_verdict after, uint64_t now)
{
    uint32_t count = 0;
    change->after = after;
    if (change->holds_area)
        change->wishes[count++] = (dpx_wish){.lease = area_lease(change)};
    if (change->holds_directory)
        change->wishes[count++] = (dpx_wish){.lease = change->directory};
    change->phase = PHASE_RELEASE;
    if (count > 0)
        dpx_round_begin(change->round, DPX_ROUND_RELEASE, change->wishes, count, now, now);
    change->holds_area = change->holds_directory = false;
}

static void start_resolve(dpx_change *change, uint32_t area, uint64_t now)
{
    change->resolving = true;
    dpx_lease_reset(&change->scratch, "", 0);
    change->scratch.located = true;
    change->scratch.header.area = area;
    if (change->holds_directory)
        start_take(change, PHASE_TAKE_AREA, now);
    else
        start_take(change, PHASE_TAKE_DIRECTORY, now);
}

static void start_over(dpx_change *change, uint64_t now)
{
    change->resolving = false;
    if (change->waits) {
        change->waits = false;
        change->phase = PHASE_WAIT;
        change->wake = now + WAIT / 2 + dpx_random(change->world) % WAIT;
    } else if (++change->restarts > RESTARTS) {
        finish(change, DPX_BUSY);
    } else if (change->kind == DPX_CHANGE_RESOLVE) {
        start_resolve(change, change->lease->header.area, now);
    } else {
        start_find(change, PHASE_FIND, now);
    }
}

static void wait_over(dpx_change *change, uint64_t now)
{
    if (change->cancelled)
        finish(change, DPX_REFUSED); /* the cause names the flag that is waited for */
    else if (now >= change->wake && change->kind == DPX_CHANGE_RESOLVE)
        start_resolve(change, change->lease->header.area, now);
    else if (now >= change->wake)
        start_find(change, PHASE_FIND, now);
}

static void start_blocks(dpx_change *change, enum phase phase, uint64_t now)
{
    bool anew = change->phase != PHASE_PAUSE; /* else the header goes on to where it is not durable yet */
    change->phase = phase;
    change->wake = now + dpx_io_limit(change->world->geometry);
    for (uint32_t d = 0; d < change->world->geometry->disks; d++) {
        change->channels[d].sent = false;
        if (anew)
            change->channels[d].asked = change->channels[d].good = false;
    }
}

/* What the header becomes.  Its first ballot is above every ballot of the area. */
static void compose(dpx_change *change)
{
    const dpx_lease *lease = area_lease(change);
    dpx_header *header = &change->header;
    uint64_t top = lease->top_ballot > lease->ballot ? lease->top_ballot : lease->ballot;
    *header = lease->header;
    header->directory_token = change->directory->token;
    header->sequence++;
    header->written_at = change->world->wall;
    if (change->resolving)
        return;
    header->first_ballot = top;
    header->created_at = change->world->wall;
    memset(header->name, 0, sizeof header->name);
    if (change->kind == DPX_CHANGE_CREATE) {
        header->state = DPX_LEASE_IN_USE;
        header->lease = change->uuid;
        header->name_length = lease->name_length;
        memcpy(header->name, lease->name, lease->name_length);
    } else {
        header->state = change->next_is_free ? DPX_LEASE_FREE : DPX_LEASE_TOMBSTONE;
        memset(&header->lease, 0, sizeof header->lease);
        header->name_length = 0;
    }
}

void dpx_change_begin(dpx_change *change, dpx_change_kind kind, dpx_lease *lease, const dpx_uuid *uuid,
                      uint64_t wait_until, uint64_t now)
{
    change->kind = kind;
    change->lease = lease;
    change->wait_until = wait_until;
    change->verdict = change->after = DPX_RUNNING;
    change->resolving = change->holds_directory = change->holds_area = change->cancelled = change->waits = false;
    change->next_is_free = false;
    change->restarts = 0;
    change->cause = DPX_NO_CAUSE;
    if (uuid)
        change->uuid = *uuid;
    if (kind == DPX_CHANGE_RESOLVE)
        start_resolve(change, lease->header.area, now);
    else
        start_find(change, PHASE_FIND, now);
}

/* ---- what a round's verdict leads to ---- */

static void found(dpx_change *change, uint64_t now)
{
    const dpx_wish *wish = &change->wishes[0];
    bool there = wish->outcome == DPX_DONE;
    if (change->kind == DPX_CHANGE_CREATE && there) {
        start_release(change, DPX_EXISTS, now);
    } else if (change->kind == DPX_CHANGE_CREATE && !wish->vacant) {
        start_release(change, DPX_FULL, now);
    } else if (change->kind == DPX_CHANGE_DELETE && !there) {
        start_release(change, DPX_NOT_FOUND, now);
    } else if (change->phase == PHASE_FIND) {
        start_take(change, PHASE_TAKE_DIRECTORY, now);
    } else {
        if (!there) { /* the vacant area is to be taken as it is */
            change->lease->located = true;
            change->lease->header = wish->vacancy;
        }
        start_take(change, PHASE_TAKE_AREA, now);
    }
}

static void taken(dpx_change *change, uint64_t now)
{
    if (change->phase == PHASE_TAKE_DIRECTORY) {
        change->holds_directory = true;
        if (change->resolving)
            start_take(change, PHASE_TAKE_AREA, now);
        else
            start_find(change, PHASE_FIND_AGAIN, now);
        return;
    }
    change->holds_area = true;
    uint64_t last = area_lease(change)->header.directory_token;
    if (last >= change->directory->token) { /* what lease 0 had come to was lost with a damaged block (section 7) */
        change->directory->least_ballot = last;
        start_release(change, DPX_RUNNING, now);
        return;
    }
    if (change->kind == DPX_CHANGE_DELETE && !change->resolving) {
        start_blocks(change, PHASE_PEEK, now);
        return;
    }
    compose(change);
    start_blocks(change, PHASE_WRITE, now);
}

static void released(dpx_change *change, uint64_t now)
{
    bool gone = change->kind == DPX_CHANGE_DELETE;
    bool never_was = change->kind == DPX_CHANGE_CREATE && change->after != DPX_DONE && change->after != DPX_EXISTS;
    if (gone || never_was)
        dpx_lease_unlocate(change->lease);
    if (change->after != DPX_RUNNING)
        finish(change, change->after);
    else if (change->cancelled)
        finish(change, DPX_GAVE_UP);
    else
        start_over(change, now);
}

static void round_ended(dpx_change *change, uint64_t now)
{
    dpx_verdict verdict = dpx_round_verdict(change->round);
    if (verdict == DPX_FINISHED) {
        finish(change, DPX_FINISHED);
    } else if (change->phase == PHASE_RELEASE) {
        released(change, now);
    } else if (verdict == DPX_DONE) {
        if (change->phase == PHASE_FIND || change->phase == PHASE_FIND_AGAIN)
            found(change, now);
        else
            taken(change, now);
    } else {
        change->cause = *dpx_round_cause(change->round);
        bool may_resolve = verdict == DPX_CHANGE_OPEN && !change->resolving && !change->cancelled &&
                           ++change->restarts <= RESTARTS;
        change->waits = verdict == DPX_REFUSED && change->phase == PHASE_TAKE_AREA && now < change->wait_until;
        bool again = (verdict == DPX_CHANGED || change->waits) && !change->cancelled;
        if (may_resolve)
            start_resolve(change, change->cause.area, now);
        else
            start_release(change, again ? DPX_RUNNING : verdict, now);
    }
}

/* ---- the header itself ---- */

static uint32_t peeked_area(const dpx_change *change)
{
    const dpx_geometry *geometry = change->world->geometry;
    uint32_t area = (change->lease->header.area + 1) % geometry->max_leases;
    return area == DPX_DIRECTORY_AREA ? area + 1 : area;
}

/* The next area is free for certain: then probing may end before it. */
static bool peeked_free(const dpx_change *change)
{
    const uint8_t *images[DPX_MAX_DISKS] = {NULL};
    for (uint32_t d = 0; d < change->world->geometry->disks; d++)
        if (change->channels[d].good)
            images[d] = change->channels[d].block;
    return dpx_area_settled_free(change->world, peeked_area(change), images);
}

static void advance_blocks(dpx_change *change, uint64_t now)
{
    const dpx_geometry *geometry = change->world->geometry;
    uint32_t good = 0;
    bool waiting = false;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        const struct channel *channel = &change->channels[d];
        good += channel->good;
        waiting |= !channel->good && (!channel->sent || channel->request.outstanding);
    }
    bool majority = good >= dpx_majority(geometry);
    /* All disks are waited for, within the limit of one I/O, though a majority would do: a late
     * copy over somebody's newer header would be outranked, but no help if another disk fails. */
    if (waiting && now < change->wake)
        return;
    if (change->phase == PHASE_PEEK) { /* when in doubt it stays a tombstone */
        change->next_is_free = peeked_free(change);
        compose(change);
        start_blocks(change, PHASE_WRITE, now);
    } else if (majority) {
        area_lease(change)->header = change->header;
        area_lease(change)->undecided = false;
        bool asked_for = !change->resolving || change->kind == DPX_CHANGE_RESOLVE;
        start_release(change, asked_for ? DPX_DONE : DPX_RUNNING, now);
    } else { /* neither flag falls before the header is durable: try until the lifetime ends */
        change->phase = PHASE_PAUSE;
        change->wake = now + 50 * DPX_MS;
    }
}

static dpx_request *send_block(dpx_change *change)
{
    const dpx_geometry *geometry = change->world->geometry;
    uint32_t area = change->phase == PHASE_PEEK ? peeked_area(change) : area_lease(change)->header.area;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        struct channel *channel = &change->channels[d];
        bool suspect = change->phase == PHASE_WRITE && (change->world->in_flight[area] >> d & 1);
        /* A header is not written again where it is durable, however late that became known: a second write would be
         * under way beside a header that shows this change, and might land over the next one (section 4a). */
        if (channel->good || channel->sent || channel->request.outstanding || suspect)
            continue;
        channel->asked = channel->sent = true;
        channel->extent = (dpx_extent){.block = dpx_header_block(geometry, area), .count = 1, .data = channel->block};
        if (change->phase == PHASE_PEEK)
            channel->extent.count = geometry->area_blocks;
        channel->request = (dpx_request){.disk = d, .writes = &channel->extent, .reads = &channel->extent,
                                         .outstanding = true};
        if (change->phase == PHASE_PEEK) {
            channel->request.read_count = 1;
        } else {
            channel->request.write_count = 1;
            dpx_header_encode(channel->block, geometry, d, &change->header);
            change->world->in_flight[area] |= (uint8_t)(1u << d);
        }
        return &channel->request;
    }
    return NULL;
}

static void complete_block(dpx_change *change, dpx_request *request)
{
    struct channel *channel = &change->channels[request->disk];
    const dpx_geometry *geometry = change->world->geometry;
    uint32_t area = dpx_place_of(geometry, channel->extent.block).area;
    dpx_cause cause;
    request->outstanding = false;
    channel->good = channel->asked && request->error == 0;
    if (request->write_count > 0)
        change->world->in_flight[area] &= (uint8_t) ~(1u << request->disk);
    else if (channel->good)
        channel->good = dpx_image_check(change->world, 0, request->disk, area, channel->block, &cause) ==
                        DPX_IMAGE_COUNTS;
}

/* ---- driving ---- */

static bool on_blocks(const dpx_change *change)
{
    return change->phase == PHASE_PEEK || change->phase == PHASE_WRITE || change->phase == PHASE_PAUSE;
}

dpx_request *dpx_change_step(dpx_change *change, uint64_t now)
{
    while (change->phase != PHASE_END) {
        if (dpx_world_over(change->world, now)) {
            finish(change, DPX_FINISHED);
            break;
        }
        if (change->phase == PHASE_WAIT) {
            wait_over(change, now);
            if (change->phase == PHASE_WAIT)
                return NULL;
            continue;
        }
        if (change->phase == PHASE_PAUSE && now >= change->wake)
            start_blocks(change, PHASE_WRITE, now);
        if (on_blocks(change)) {
            enum phase before = change->phase;
            if (before != PHASE_PAUSE)
                advance_blocks(change, now);
            if (change->phase != before)
                continue;
            return before == PHASE_PAUSE ? NULL : send_block(change);
        }
        if (change->cancelled && change->phase != PHASE_RELEASE)
            dpx_round_cancel(change->round);
        dpx_request *request = dpx_round_step(change->round, now);
        if (request || dpx_round_verdict(change->round) == DPX_RUNNING)
            return request;
        round_ended(change, now);
    }
    return NULL;
}

void dpx_change_complete(dpx_change *change, dpx_request *request, uint64_t now)
{
    for (uint32_t d = 0; d < change->world->geometry->disks; d++) {
        if (request == &change->channels[d].request) {
            complete_block(change, request);
            return;
        }
    }
    dpx_round_complete(change->round, request, now);
}

uint64_t dpx_change_wake(const dpx_change *change)
{
    if (change->phase == PHASE_END)
        return DPX_NEVER;
    bool own_clock = on_blocks(change) || change->phase == PHASE_WAIT;
    return own_clock ? change->wake : dpx_round_wake(change->round);
}

void dpx_change_cancel(dpx_change *change)
{
    change->cancelled = true;
}

dpx_verdict dpx_change_verdict(const dpx_change *change)
{
    return change->verdict;
}

const dpx_cause *dpx_change_cause(const dpx_change *change)
{
    return &change->cause;
}

bool dpx_change_quiet(const dpx_change *change)
{
    for (uint32_t d = 0; d < change->world->geometry->disks; d++)
        if (change->channels[d].request.outstanding)
            return false;
    return change->phase == PHASE_END && dpx_round_quiet(change->round);
}
