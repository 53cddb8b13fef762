/* Requests on their way to the disks and back, as format/request.h says they are carried
 * out, with every fault of the model in world.c that concerns a single I/O. */
#include "checker.h"

#include <errno.h>
#include <string.h>

uint8_t *disk_block(const world *w, uint32_t disk, uint64_t block)
{
    return w->disks[disk] + block * w->geometry->block_size;
}

/* ---- pools ---- */

flight *flight_new(world *w)
{
    uint16_t index = w->flight_free;
    if (index != NONE16)
        w->flight_free = w->flights[index].next;
    else if (w->flight_top < MAX_FLIGHTS)
        index = w->flight_top++;
    else
        return NULL;
    flight *f = &w->flights[index];
    memset(f, 0, sizeof *f);
    f->used = true;
    f->stamp = ++w->stamp;
    return f;
}

void flight_free(world *w, flight *f)
{
    f->used = false;
    f->stamp = 0;
    f->next = w->flight_free;
    w->flight_free = (uint16_t)(f - w->flights);
}

static call *call_new(world *w)
{
    uint16_t index = w->call_free;
    if (index == NONE16)
        return NULL;
    call *c = &w->calls[index];
    w->call_free = c->next;
    *c = (call){.used = true, .stamp = ++w->stamp};
    return c;
}

void call_free(world *w, call *c)
{
    c->used = false;
    c->stamp = 0;
    c->next = w->call_free;
    w->call_free = (uint16_t)(c - w->calls);
}

static void flight_event(world *w, const flight *f, uint64_t at, enum event_kind kind)
{
    event_push(w, at, kind, f->host, (uint16_t)(f - w->flights), f->stamp);
}

static void call_event(world *w, const call *c, uint64_t at, enum event_kind kind)
{
    event_push(w, at, kind, c->host, (uint16_t)(c - w->calls), c->stamp);
}

/* ---- what an I/O takes ---- */

static uint64_t usual(world *w)
{
    return w->plan.latency / 2 + rng_time(&w->chance, w->plan.latency) + 1;
}

static uint64_t duration(world *w)
{
    plan *p = &w->plan;
    uint64_t time = usual(w);
    if (w->quiet)
        return time;
    if (chance(&w->chance, p->delay)) {
        time += p->latency << (1 + rng_below(&w->chance, 6));
        fault_note(w, FAULT_DELAYED);
    }
    if (chance(&w->chance, p->over_limit)) {
        /* A few outlive their host's lifetime and everybody's patience. */
        uint32_t lives = w->stretched ? p->more.late : 2;
        uint64_t most = rng_below(&w->chance, 4) == 0 ? lives * w->dead_time : w->geometry->outage_tolerance;
        time += w->io_limit + rng_time(&w->chance, most);
        fault_note(w, FAULT_OVER_LIMIT);
    }
    return time;
}

static void draw_error(world *w, flight *f)
{
    if (w->missing[f->host][f->disk]) {
        f->error = -EIO;
        f->lands = false;
    } else if (!w->quiet && chance(&w->chance, w->plan.fail)) {
        f->error = -EIO;
        f->lands = false;
        fault_note(w, FAULT_FAILED);
    } else if (!w->quiet && f->write && chance(&w->chance, w->plan.fail_landed)) {
        f->error = -EIO;
        fault_note(w, FAULT_FAILED_LANDED);
    }
}

/* The moments at which parts of it reach the disk (or are taken from it) and it returns. */
static void schedule(world *w, flight *f)
{
    plan *p = &w->plan;
    uint64_t time = duration(w) + f->late;
    f->return_at = w->now + time;
    if (time > w->geometry->outage_tolerance / 32 || f->error)
        trouble(w, f->host, f->return_at);
    bool parked = w->blocked[f->host][f->disk] > 0;
    bool pieces = false;
    if (!w->quiet && f->lands && !f->write && f->count > 1 && chance(&w->chance, p->split_read)) {
        pieces = true;
        fault_note(w, FAULT_SPLIT_READ);
    } else if (!w->quiet && f->lands && f->write && chance(&w->chance, p->torn_write)) {
        pieces = true;
        fault_note(w, FAULT_TORN_WRITE);
    }
    if (pieces || (f->lands && (parked ? rng_below(&w->chance, 4) == 0 : chance(&w->chance, p->land_early))))
        flight_event(w, f, w->now + rng_time(&w->chance, time), EVENT_LAND);
    f->parked = parked;
    if (!parked)
        flight_event(w, f, f->return_at, EVENT_RETURN);
}

/* The writes on which most depends get more than their share of trouble: their host dies or
 * stops around them, they land late, or they land and fail. */
static void hit_critical(world *w, flight *f, enum unit unit)
{
    dpx_place place = dpx_place_of(w->geometry, f->block);
    dpx_slot_record record;
    bool slot = place.kind == DPX_KIND_SLOT;
    if (slot)
        dpx_slot_decode(f->data, &record);
    bool lease = w->stretched && place.kind == DPX_KIND_OWN && rng_below(&w->chance, 8) == 0;
    if (place.kind != DPX_KIND_HEADER && place.kind != DPX_KIND_NOTICE && !lease &&
        !(slot && (unit != UNIT_HEART || record.state == DPX_SLOT_FREE)))
        return;
    uint64_t lengthy = w->dead_time;
    if (w->stretched)
        lengthy *= slot && record.state == DPX_SLOT_CLAIMING ? w->plan.more.late_claim : w->plan.more.late;
    static const uint8_t blows[] = {HOST_KILL, HOST_POWER, HOST_BRIEF, HOST_BRIEF};
    uint32_t fate = rng_below(&w->chance, 4);
    if (fate == 0 && f->lands) {
        f->error = -EIO;
        fault_note(w, FAULT_FAILED_LANDED);
    }
    if (fate & 1) {
        f->late = rng_time(&w->chance, rng_below(&w->chance, 2) ? 2 * w->geometry->claim_time : lengthy);
        fault_note(w, FAULT_DELAYED);
    }
    if (fate >= 2)
        event_push(w, w->now + rng_time(&w->chance, 2 * w->plan.latency), EVENT_FAULT, f->host,
                   blows[rng_below(&w->chance, 4)], 0);
}

/* A claim hangs, and its process is killed: the write lands long after, over whoever came. */
static void hang_claim(world *w, flight *f, enum unit unit)
{
    dpx_slot_record record;
    if (unit != UNIT_CLAIM || dpx_place_of(w->geometry, f->block).kind != DPX_KIND_SLOT)
        return;
    dpx_slot_decode(f->data, &record);
    if (record.state != DPX_SLOT_CLAIMING || !chance(&w->chance, w->plan.more.hang_claim))
        return;
    f->late = rng_time(&w->chance, w->plan.more.late_claim * w->dead_time);
    fault_note(w, FAULT_DELAYED);
    event_push(w, w->now + rng_time(&w->chance, 2 * w->plan.latency), EVENT_FAULT, f->host, HOST_KILL, 0);
}

static void launch(world *w, call *c, dpx_extent *extent, bool write)
{
    flight *f = flight_new(w);
    if (!f) {
        violate(w, VIOLATION_SPIN, "%u extents in flight", MAX_FLIGHTS);
        return;
    }
    f->extent = extent;
    f->data = extent->data;
    f->block = (uint32_t)extent->block;
    f->count = extent->count;
    f->call = (uint16_t)(c - w->calls);
    f->host = c->host;
    f->life = c->life;
    f->disk = (uint8_t)c->request->disk;
    f->write = write;
    f->lands = true;
    f->issued_at = w->now;
    f->issued_local = local_now(w, &w->hosts[c->host]);
    f->cached = c->host == w->stale_host && f->disk == w->stale_disk;
    f->order = ++w->issue_order;
    c->pending++;
    w->tally->ios++;
    if (write) {
        w->tally->writes++;
        memcpy(&f->checksum, f->data + offsetof(dpx_disk_common, crc32c), sizeof f->checksum);
        check_write(w, f, (enum unit)c->unit);
    }
    draw_error(w, f);
    if (write && !w->quiet && chance(&w->chance, w->plan.critical))
        hit_critical(w, f, (enum unit)c->unit);
    if (write && w->stretched && !w->quiet)
        hang_claim(w, f, (enum unit)c->unit);
    trace_flight(w, f, "issue");
    schedule(w, f);
}

/* ---- a request: writes, then reads, then back to its machine ---- */

static void finish(world *w, call *c)
{
    host *h = &w->hosts[c->host];
    dpx_request *r = c->request;
    for (uint32_t i = 0; i < r->write_count && r->error == 0; i++)
        r->error = r->writes[i].error;
    for (uint32_t i = 0; i < r->read_count && r->error == 0; i++)
        r->error = r->reads[i].error;
    process_armed(w, h);
    bool ambushed = w->stretched && stretch_ambush(w, c);
    if (!w->quiet && (ambushed || h->armed_fault || chance(&w->chance, w->plan.deliver_late))) {
        call_event(w, c, w->now + rng_time(&w->chance, w->plan.latency), EVENT_DELIVER);
        return;
    }
    enum unit unit = (enum unit)c->unit;
    uint16_t life = c->life;
    call_free(w, c);
    if (r->error == 0)
        check_read(w, life, r);
    host_complete(w, h, unit, r);
}

static void launch_all(world *w, call *c)
{
    dpx_request *r = c->request;
    for (uint32_t i = 0; i < (c->reading ? r->read_count : r->write_count); i++)
        launch(w, c, c->reading ? &r->reads[i] : &r->writes[i], !c->reading);
}

/* The clock was read; now the I/O is issued, or its process is stopped first. */
static void start(world *w, call *c)
{
    if (!w->quiet && chance(&w->chance, w->plan.more.inside)) {
        static const uint8_t blows[] = {HOST_STOP, HOST_BRIEF, HOST_PAUSE, HOST_PAUSE};
        fault_note(w, FAULT_INSIDE);
        w->truth->lives[c->life].claimed_stopped |= c->unit == UNIT_CLAIM || c->unit == UNIT_RECLAIM;
        event_push(w, w->now, EVENT_FAULT, c->host, blows[rng_below(&w->chance, 4)], 0);
        call_event(w, c, w->now + 1 + rng_time(&w->chance, w->plan.latency), EVENT_LAUNCH);
        return;
    }
    launch_all(w, c);
}

static void start_reads(world *w, call *c)
{
    c->reading = true;
    c->request->read_issued_at = local_now(w, &w->hosts[c->host]);
    start(w, c);
}

static void cancel(dpx_extent *extents, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        extents[i].error = -ECANCELED;
}

static void issue(world *w, call *c)
{
    host *h = &w->hosts[c->host];
    dpx_request *r = c->request;
    const dpx_world *life = c->unit == UNIT_RECLAIM ? &h->reclaim_world : &h->world;
    uint64_t now = local_now(w, h);
    if (r->write_count == 0) {
        start_reads(w, c);
        return;
    }
    if (life->finished || now >= life->lifetime_end) {
        TRACE(w, "h%u %s: gate closed", h->index, unit_names[c->unit]);
        r->error = -ETIME;
        cancel(r->writes, r->write_count);
        cancel(r->reads, r->read_count);
        call_event(w, c, w->now, EVENT_DELIVER);
        return;
    }
    r->writes_issued = true;
    r->write_issued_at = now;
    start(w, c);
}

static void expire(world *w, call *c)
{
    dpx_request *r = c->request;
    r->error = -ETIMEDOUT;
    cancel(r->writes, r->write_count);
    cancel(r->reads, r->read_count);
    fault_note(w, FAULT_QUEUED);
    trouble(w, c->host, w->now + w->io_limit * 5 / 4);
    call_event(w, c, w->now + w->io_limit + rng_time(&w->chance, w->io_limit / 4), EVENT_DELIVER);
}

void disk_submit(world *w, host *h, enum unit unit, dpx_request *r)
{
    call *c = call_new(w);
    if (!c) {
        violate(w, VIOLATION_SPIN, "%u requests at a time", MAX_CALLS);
        return;
    }
    c->request = r;
    c->host = h->index;
    c->unit = (uint8_t)unit;
    c->life = h->life;
    r->error = 0;
    r->writes_issued = false;
    r->write_issued_at = r->write_completed_at = r->read_issued_at = r->read_completed_at = 0;
    for (uint32_t i = 0; i < r->write_count; i++)
        r->writes[i].error = 0;
    for (uint32_t i = 0; i < r->read_count; i++)
        r->reads[i].error = 0;
    if (!area_may_write(w, h, unit, r)) {
        r->error = -EBUSY;
        TRACE(w, "h%u %s: the area is another name's", h->index, unit_names[unit]);
        cancel(r->writes, r->write_count);
        cancel(r->reads, r->read_count);
        call_event(w, c, w->now, EVENT_DELIVER);
        return;
    }
    if (w->quiet) {
        issue(w, c);
        return;
    }
    bool hung = w->blocked[h->index][r->disk] > 0;
    process_armed(w, h);
    if (w->stretched && stretch_ambush(w, c))
        call_event(w, c, w->now + 1 + rng_time(&w->chance, 4 * w->plan.latency), EVENT_ISSUE);
    else if (hung ? rng_below(&w->chance, 4) == 0 : chance(&w->chance, w->plan.queue_loss))
        expire(w, c);
    else if (h->armed_fault || chance(&w->chance, w->plan.wait_queue))
        call_event(w, c, w->now + rng_time(&w->chance, 4 * w->plan.latency), EVENT_ISSUE);
    else
        issue(w, c);
}

/* ---- transfers ---- */

static void read_blocks(world *w, flight *f, uint32_t upto)
{
    size_t size = w->geometry->block_size;
    /* Pieces come from the front or from the end: by the parity of its number. */
    uint32_t from = f->order & 1 ? f->done : f->count - upto;
    if (f->extent)
        memcpy(f->data + from * size, damage_view(w, f, f->block + from), (upto - f->done) * size);
    f->done = upto;
}

static void landed(world *w, flight *f)
{
    dpx_place place = dpx_place_of(w->geometry, f->block);
    for (uint8_t i = 0; i < w->plan.hosts; i++) /* somebody's late claim lies over the record */
        if (place.kind == DPX_KIND_SLOT && w->hosts[i].life != f->life && w->hosts[i].world.self.slot == place.slot)
            trouble(w, i, w->now);
    f->landed = true;
    if (f->order > w->top_landed[f->disk]) {
        w->top_landed[f->disk] = f->order;
        w->top_host[f->disk] = f->host;
    } else if (f->host != w->top_host[f->disk]) {
        fault_note(w, FAULT_REORDERED);
    }
    if (!f->extent) {
        fault_note(w, FAULT_GHOST);
        if (w->now >= life_stops_until(w, f->life))
            fault_note(w, FAULT_LATE_GHOST);
        if (w->stretched && dpx_place_of(w->geometry, f->block).kind == DPX_KIND_SLOT)
            stretch_incident(w, NULL);
    }
    damage_written(w, f->disk, f->block);
    damage_remember(w, f);
    trace_flight(w, f, "land");
    check_landed(w, f);
}

/* Blocks larger than a sector are not written at once; what they hold lies mostly in their
 * first sector, so the pieces are smaller than that. */
enum { PIECE = 64 };

static void write_pieces(world *w, flight *f, uint32_t upto)
{
    uint32_t checksum;
    memcpy(&checksum, f->data + offsetof(dpx_disk_common, crc32c), sizeof checksum);
    if (checksum != f->checksum)
        violate(w, VIOLATION_BUFFER, "h%u changed the memory of a write to block %u in flight", f->host,
                f->block);
    memcpy(disk_block(w, f->disk, f->block) + f->done * PIECE, f->data + f->done * PIECE,
           (size_t)(upto - f->done) * PIECE);
    f->done = upto;
    if (upto == f->count * w->geometry->block_size / PIECE)
        landed(w, f);
    else if (dpx_place_of(w->geometry, f->block).kind == DPX_KIND_HEADER)
        check_headers(w);
}

static uint32_t units_of(const world *w, const flight *f)
{
    return f->write ? f->count * w->geometry->block_size / PIECE : f->count;
}

static void transfer(world *w, flight *f, uint32_t upto)
{
    if (f->landed || !f->lands || upto <= f->done)
        return;
    if (f->write)
        write_pieces(w, f, upto);
    else
        read_blocks(w, f, upto);
}

static void flight_returns(world *w, flight *f)
{
    call *c = &w->calls[f->call];
    dpx_request *r = c->request;
    f->extent->error = f->error;
    atomic_store(&r->moved_at, local_now(w, &w->hosts[c->host]));
    trace_flight(w, f, "done");
    flight_free(w, f);
    if (--c->pending > 0)
        return;
    uint64_t now = local_now(w, &w->hosts[c->host]);
    if (c->reading) {
        r->read_completed_at = now;
        finish(w, c);
        return;
    }
    r->write_completed_at = now;
    bool good = true;
    for (uint32_t i = 0; i < r->write_count; i++)
        good &= r->writes[i].error == 0;
    if (!good)
        cancel(r->reads, r->read_count);
    if (good && r->read_count > 0)
        start_reads(w, c);
    else
        finish(w, c);
}

static void flight_event_due(world *w, const event *e)
{
    flight *f = &w->flights[e->index];
    if (!f->used || f->stamp != e->stamp)
        return;
    uint32_t all = units_of(w, f);
    if (e->kind == EVENT_LAND) {
        uint32_t rest = all - f->done;
        bool whole = f->write && w->geometry->block_size == 512;
        transfer(w, f, whole ? all : f->done + 1 + rng_below(&w->chance, rest));
        return;
    }
    transfer(w, f, all);
    if (!f->extent) {
        flight_free(w, f);
        return;
    }
    host *h = &w->hosts[f->host];
    if (h->stopped)
        h->deferred[h->deferred_count++ % MAX_DEFERRED] = *e;
    else
        flight_returns(w, f);
}

static void call_event_due(world *w, const event *e)
{
    call *c = &w->calls[e->index];
    if (!c->used || c->stamp != e->stamp)
        return;
    host *h = &w->hosts[c->host];
    if (h->stopped) {
        h->deferred[h->deferred_count++ % MAX_DEFERRED] = *e;
        return;
    }
    if (e->kind == EVENT_ISSUE) {
        issue(w, c);
        return;
    }
    if (e->kind == EVENT_LAUNCH) {
        launch_all(w, c);
        return;
    }
    dpx_request *r = c->request;
    enum unit unit = (enum unit)c->unit;
    call_free(w, c);
    host_complete(w, h, unit, r);
}

void disk_event(world *w, const event *e)
{
    if (e->kind == EVENT_LAND || e->kind == EVENT_RETURN)
        flight_event_due(w, e);
    else
        call_event_due(w, e);
}
