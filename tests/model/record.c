/* Writes down what the lease rounds of the compiled core do in simulated histories.
 *
 * Linked around the simulator's own objects with the linker's --wrap: neither the core nor the
 * simulator knows of it.  What a round is shown is decoded here, from the images themselves, not
 * taken from what the core made of them; what it decides and writes is what the core returned.
 * One line an event, numbers only; trace.pml reads them, and names the fields.  `stream` is one
 * lease (or other machine) of one host; a ballot is told as round * SLOTS + slot, which keeps their order.
 */
#include <stdlib.h>
#include <string.h>

#include "native/protocol/heart_state.h"
#include "native/protocol/round_state.h"
#include "tests/simulation/checker.h"
#include "tests/simulation/simulate.h"

enum event_code { E_HISTORY = 1, E_BEGIN, E_LOOK, E_RAISE, E_JUDGE, E_TAKEN, E_LOWER, E_SYNC, E_STEP, E_WRITE };
enum { STREAMS = 512 };

typedef struct shown { /* one slot's block in the last area that was read */
    bool there;
    dpx_own own;
    bool dead;
} shown;

static struct {
    world *sim;
    const dpx_world *host;
    uint32_t disks, own_flags; /* images that counted; … that show our own flag of this ballot */
    uint64_t ballot, first_ballot;
    dpx_header header;
    shown slots[MAX_SLOTS];
} last;
static struct { const void *subject; dpx_incarnation who; } streams[STREAMS];
static FILE *out;

static long long told(uint64_t ballot)
{
    return (long long)(ballot / DPX_BALLOT_SLOTS * MAX_SLOTS + ballot % DPX_BALLOT_SLOTS);
}

/* The stream of this lease, or machine; a new incarnation starts it anew. */
static uint32_t stream_of(const dpx_world *host, const void *subject)
{
    uint32_t i = 0;
    while (i < STREAMS - 1 && streams[i].subject != NULL && streams[i].subject != subject)
        i++;
    if (streams[i].subject == NULL || !dpx_incarnation_equal(&streams[i].who, &host->self)) {
        streams[i].subject = subject;
        streams[i].who = host->self;
        fprintf(out, "%d %u %u\n", E_BEGIN, i, host->self.slot);
    }
    return i;
}

static void sync_lease(const dpx_world *host, const dpx_lease *lease)
{
    fprintf(out, "%d %u %lld %lld %d %lld %d\n", E_SYNC, stream_of(host, lease), told(lease->ballot),
            told(lease->hold), lease->mode, told(lease->last_exclusive), lease->known);
}

/* ---- what is read ---- */

static void read_block(uint32_t number, const uint8_t *block, bool *header_there)
{
    const dpx_geometry *geometry = last.host->geometry;
    if (number == 0) {
        dpx_header header;
        dpx_header_decode(block, &header);
        if (!*header_there || dpx_copy_order(header.directory_token, header.sequence, last.header.directory_token,
                                             last.header.sequence) > 0)
            last.header = header;
        *header_there = true;
        return;
    }
    shown *slot = &last.slots[number - 1];
    dpx_own own;
    dpx_own_decode(block, &own);
    if (number - 1 == last.host->self.slot && last.ballot != 0 && own.hold == last.ballot &&
        dpx_incarnation_equal(&own.who, &last.host->self))
        last.own_flags++;
    if (own.who.generation == 0 || number > geometry->max_hosts)
        return;
    if (slot->there && (own.who.generation < slot->own.who.generation ||
                        (own.who.generation == slot->own.who.generation && own.sequence <= slot->own.sequence)))
        return;
    slot->there = true;
    slot->own = own;
}

void __real_dpx_view_scan(const dpx_world *, uint32_t, const uint8_t *const[], dpx_attempt, uint64_t, dpx_view *);
void __wrap_dpx_view_scan(const dpx_world *host, uint32_t area, const uint8_t *const images[DPX_MAX_DISKS],
                          dpx_attempt attempt, uint64_t now, dpx_view *view);
void __wrap_dpx_view_scan(const dpx_world *host, uint32_t area, const uint8_t *const images[DPX_MAX_DISKS],
                          dpx_attempt attempt, uint64_t now, dpx_view *view)
{
    bool header_there = false;
    __real_dpx_view_scan(host, area, images, attempt, now, view);
    last.host = host;
    last.disks = last.own_flags = 0;
    last.ballot = attempt.ballot;
    memset(last.slots, 0, sizeof last.slots);
    for (uint32_t d = 0; d < host->geometry->disks; d++) {
        last.disks += images[d] != NULL;
        for (uint32_t n = 0; images[d] && n < 1 + host->geometry->max_hosts; n++) {
            const uint8_t *block = images[d] + (size_t)n * host->geometry->block_size;
            dpx_key key = dpx_block_key(block);
            if (key.index == dpx_header_block(host->geometry, area) + n)
                read_block(n, block, &header_there);
        }
    }
    for (uint32_t s = 0; s < MAX_SLOTS; s++)
        last.slots[s].dead = last.slots[s].there && dpx_peers_dead(host->peers, &last.slots[s].own.who);
}

static uint64_t top_shown(void)
{
    uint64_t top = last.header.first_ballot;
    for (uint32_t s = 0; s < MAX_SLOTS; s++) {
        const dpx_own *own = &last.slots[s].own;
        uint64_t highest = own->ballot > own->hold ? own->ballot : own->hold;
        if (last.slots[s].there && highest > top)
            top = highest;
    }
    return top;
}

void __real_dpx_judge_learn(const dpx_world *, dpx_wish *, const dpx_view *, const dpx_flag *, uint64_t);
void __wrap_dpx_judge_learn(const dpx_world *host, dpx_wish *wish, const dpx_view *view, const dpx_flag *flag,
                            uint64_t drawn);
void __wrap_dpx_judge_learn(const dpx_world *host, dpx_wish *wish, const dpx_view *view, const dpx_flag *flag,
                            uint64_t drawn)
{
    const shown *own = &last.slots[host->self.slot];
    fprintf(out, "%d %u %d %lld %lld %lld\n", E_LOOK, stream_of(host, wish->lease), wish->lease->known,
            told(own->there ? own->own.ballot : 0), told(own->there ? own->own.last_exclusive : 0),
            told(top_shown()));
    __real_dpx_judge_learn(host, wish, view, flag, drawn);
}

/* The header is the one that is meant, and none of the blocks beside it knows a newer one. */
static bool header_meant(const dpx_wish *wish)
{
    const dpx_header *seen = &last.header;
    const dpx_header *meant = &wish->lease->header;
    for (uint32_t s = 0; s < MAX_SLOTS; s++)
        if (last.slots[s].there && last.slots[s].own.directory_token > seen->directory_token)
            return false;
    if (wish->change_token != 0)
        return seen->state == meant->state && seen->sequence == meant->sequence &&
               seen->directory_token == meant->directory_token;
    return seen->state == DPX_LEASE_IN_USE && dpx_uuid_equal(&seen->lease, &meant->lease) &&
           seen->name_length == wish->lease->name_length &&
           memcmp(seen->name, wish->lease->name, seen->name_length) == 0;
}

enum judgement __real_dpx_judge(const dpx_view *, const dpx_wish *, uint64_t);
enum judgement __wrap_dpx_judge(const dpx_view *view, const dpx_wish *wish, uint64_t ballot);
enum judgement __wrap_dpx_judge(const dpx_view *view, const dpx_wish *wish, uint64_t ballot)
{
    enum judgement judgement = __real_dpx_judge(view, wish, ballot);
    bool other = wish->resume && !dpx_uuid_equal(&last.header.lease, &wish->resume_lease);
    bool durable = last.own_flags == last.disks && last.disks >= dpx_majority(last.host->geometry);
    fprintf(out, "%d %u %d %d %lld %d %d %d %d", E_JUDGE, stream_of(last.host, wish->lease), wish->mode,
            wish->resume, told(wish->resume ? wish->resume_token : 0), other, header_meant(wish), durable,
            judgement);
    for (uint32_t s = 0; s < MAX_SLOTS; s++) {
        const dpx_own *own = &last.slots[s].own;
        bool there = last.slots[s].there;
        fprintf(out, "  %lld %d %lld %lld %d", told(there ? own->hold : 0), there ? (int)own->mode : 0,
                told(there ? own->ballot : 0), told(there ? own->last_exclusive : 0), last.slots[s].dead);
    }
    fputc('\n', out);
    return judgement;
}

/* ---- what is written, and what is held ---- */

void __real_dpx_content_raise(dpx_round *, struct round_item *, const dpx_wish *, uint64_t);
void __wrap_dpx_content_raise(dpx_round *round, struct round_item *item, const dpx_wish *wish, uint64_t ballot);
void __wrap_dpx_content_raise(dpx_round *round, struct round_item *item, const dpx_wish *wish, uint64_t ballot)
{
    uint32_t stream = stream_of(round->world, wish->lease);
    __real_dpx_content_raise(round, item, wish, ballot);
    const dpx_own *own = &item->content;
    fprintf(out, "%d %u %d %lld %lld %d %lld\n", E_RAISE, stream, wish->mode, told(own->ballot), told(own->hold),
            own->mode, told(own->last_exclusive));
}

void __real_dpx_content_held(dpx_round *, struct round_item *, const dpx_wish *);
void __wrap_dpx_content_held(dpx_round *round, struct round_item *item, const dpx_wish *wish);
void __wrap_dpx_content_held(dpx_round *round, struct round_item *item, const dpx_wish *wish)
{
    uint32_t stream = stream_of(round->world, wish->lease);
    if (round->kind == DPX_ROUND_WATCH || round->kind == DPX_ROUND_REWRITE)
        sync_lease(round->world, wish->lease);
    __real_dpx_content_held(round, item, wish);
    const dpx_own *own = &item->content;
    fprintf(out, "%d %u %d %lld %lld %d %lld\n", E_LOWER, stream, round->kind == DPX_ROUND_RELEASE,
            told(own->ballot), told(own->hold), own->hold ? (int)own->mode : 0, told(own->last_exclusive));
}

static uint64_t clock_of(const dpx_world *host)
{
    for (uint32_t i = 0; i < MAX_HOSTS; i++) {
        const struct host *h = &last.sim->hosts[i];
        if (&h->world == host || &h->reclaim_world == host)
            return local_now(last.sim, h);
    }
    abort(); /* a round of nobody */
}

void __real_dpx_round_finish(dpx_round *, dpx_verdict);
void __wrap_dpx_round_finish(dpx_round *round, dpx_verdict verdict);
void __wrap_dpx_round_finish(dpx_round *round, dpx_verdict verdict)
{
    if (round->kind == DPX_ROUND_TAKE && verdict == DPX_DONE) {
        bool over = round->world->finished || clock_of(round->world) >= round->world->lifetime_end;
        for (uint32_t i = 0; i < round->count; i++) {
            const dpx_lease *lease = round->wishes[i].lease;
            fprintf(out, "%d %u %d %lld %lld %d %lld\n", E_TAKEN, stream_of(round->world, lease), over,
                    told(lease->token), told(lease->hold), lease->mode, told(lease->last_exclusive));
        }
    }
    __real_dpx_round_finish(round, verdict);
}

/* ---- the lifetime tests ---- */

/* By the clock that is read here, not by what the core made of it. */
static bool past(const dpx_world *host, uint64_t now)
{
    return host->finished || now >= host->lifetime_end;
}

static const host *host_of(const dpx_change *change)
{
    for (uint32_t i = 0; i < MAX_HOSTS; i++)
        if (last.sim->hosts[i].change == change)
            return &last.sim->hosts[i];
    abort(); /* a change of nobody */
}

/* A step that was made past the end, or that ended its machine for the end's sake. */
static void note_step(const dpx_world *host, const void *subject, bool over, bool judging, bool ended, bool asks)
{
    if (over || ended)
        fprintf(out, "%d %u %d %d %d %d\n", E_STEP, stream_of(host, subject), over, judging, ended, asks);
}

dpx_request *__real_dpx_round_step(dpx_round *, uint64_t);
dpx_request *__wrap_dpx_round_step(dpx_round *round, uint64_t now);
dpx_request *__wrap_dpx_round_step(dpx_round *round, uint64_t now)
{
    bool runs = round->phase != ROUND_END;
    bool judging = round->phase == ROUND_RAISE || round->phase == ROUND_JUDGE;
    bool over = past(round->world, now);
    dpx_request *request = __real_dpx_round_step(round, now);
    if (runs)
        note_step(round->world, round->wishes[0].lease, over, judging, round->verdict == DPX_FINISHED,
                  request != NULL);
    return request;
}

dpx_request *__real_dpx_change_step(dpx_change *, uint64_t);
dpx_request *__wrap_dpx_change_step(dpx_change *change, uint64_t now);
dpx_request *__wrap_dpx_change_step(dpx_change *change, uint64_t now)
{
    bool runs = dpx_change_verdict(change) == DPX_RUNNING;
    bool over = past(&host_of(change)->world, now);
    dpx_request *request = __real_dpx_change_step(change, now);
    if (runs)
        note_step(&host_of(change)->world, change, over, false, dpx_change_verdict(change) == DPX_FINISHED,
                  request != NULL);
    return request;
}

dpx_request *__real_dpx_heart_step(dpx_heart *, uint64_t);
dpx_request *__wrap_dpx_heart_step(dpx_heart *heart, uint64_t now);
dpx_request *__wrap_dpx_heart_step(dpx_heart *heart, uint64_t now)
{
    bool runs = dpx_heart_end(heart) == DPX_ALIVE;
    bool over = past(heart->world, now);
    dpx_request *request = __real_dpx_heart_step(heart, now);
    if (runs)
        note_step(heart->world, heart, over, false, dpx_heart_end(heart) != DPX_ALIVE, request != NULL);
    return request;
}

/* The test before each write is the host room's, here the simulated one's. */
void __real_check_write(world *, flight *, enum unit);
void __wrap_check_write(world *w, flight *f, enum unit unit);
void __wrap_check_write(world *w, flight *f, enum unit unit)
{
    const host *h = &w->hosts[f->host];
    const dpx_world *life = unit == UNIT_RECLAIM ? &h->reclaim_world : &h->world;
    if (past(life, local_now(w, h)))
        fprintf(out, "%d %u\n", E_WRITE, stream_of(life, h));
    __real_check_write(w, f, unit);
}

/* ---- one history after the other ---- */

enum violation __real_world_run(world *, uint64_t, tally *, FILE *);
enum violation __wrap_world_run(world *w, uint64_t seed, tally *count, FILE *trace);
enum violation __wrap_world_run(world *w, uint64_t seed, tally *count, FILE *trace)
{
    const char *path = getenv("TRACE");
    if (out == NULL && (path == NULL || (out = fopen(path, "a")) == NULL)) {
        perror("TRACE");
        exit(2);
    }
    memset(streams, 0, sizeof streams);
    last.sim = w;
    fprintf(out, "%d %llu\n", E_HISTORY, (unsigned long long)seed);
    enum violation violation = __real_world_run(w, seed, count, trace);
    fflush(out);
    return violation;
}
