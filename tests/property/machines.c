/* The protocol machines with every I/O in the caller's hand: what test_machines.py plays with.
 *
 * Built into a shared library from the sources of native/format and native/protocol.  Claims
 * and heartbeats run through at once (their races belong to the simulator); of lease rounds
 * the caller delivers each stage of each request, in any order, with any outcome. */
#include "../native/memory_disks.h"

#define MAX_HOSTS_HERE 8

enum outcome { OUTCOME_GOOD, OUTCOME_FAILS, OUTCOME_FAILS_BUT_LANDS };

struct pending {
    dpx_request *request;
    bool written; /* the write stage was delivered, the reads are next */
};

typedef struct player {
    memory_host host;
    bool joined;
    bool stopped; /* takes no step; its I/O goes on */
    dpx_lease *leases;
    dpx_wish *wishes;
    void *memory;
    dpx_round *round;
    struct pending pending[DPX_MAX_DISKS];
    uint32_t pending_count;
} player;

typedef struct scene {
    memory_disks disks;
    player players[MAX_HOSTS_HERE];
    uint32_t hosts;
    uint32_t leases;
} scene;

scene *scene_new(uint32_t disks, uint32_t hosts, uint32_t leases);
void scene_free(scene *s);
int scene_begin(scene *s, uint32_t host, int kind, uint32_t mask, int mode, uint32_t patience_ms);
int scene_pending(const scene *s, uint32_t host);
void scene_deliver(scene *s, uint32_t host, uint32_t which, int outcome);
void scene_advance(scene *s, uint32_t ms);
int scene_verdict(const scene *s, uint32_t host);
int scene_holds(scene *s, uint32_t host, uint32_t lease);
uint64_t scene_token(const scene *s, uint32_t host, uint32_t lease);
void scene_stop(scene *s, uint32_t host, int stopped);
int scene_quiet(const scene *s, uint32_t host);
int scene_alive(const scene *s, uint32_t host);
void scene_beat(scene *s);

static void name_of(char *name, uint32_t lease)
{
    name[0] = 'v';
    name[1] = (char)('0' + lease);
    name[2] = 0;
}

scene *scene_new(uint32_t disks, uint32_t hosts, uint32_t leases)
{
    scene *s = calloc(1, sizeof *s);
    char name[3];
    s->hosts = hosts;
    s->leases = leases;
    disks_format(&s->disks, disks, MAX_HOSTS_HERE, leases + 2);
    for (uint32_t h = 0; h < hosts; h++) {
        player *p = &s->players[h];
        if (host_join(&p->host, &s->disks, (uint8_t)(h + 1)) != DPX_DONE)
            abort();
        p->joined = true;
        p->leases = calloc(leases, sizeof *p->leases);
        p->wishes = calloc(leases, sizeof *p->wishes);
        size_t bytes = (dpx_round_memory(&s->disks.geometry, leases) + 4095) & ~(size_t)4095;
        p->memory = aligned_alloc(4096, bytes);
        memset(p->memory, 0, bytes);
        p->round = dpx_round_place(p->memory, &p->host.world, leases);
        for (uint32_t i = 0; i < leases; i++) {
            name_of(name, i);
            dpx_lease_reset(&p->leases[i], name, 2);
            if (h == 0 && host_change(&p->host, DPX_CHANGE_CREATE, &p->leases[i], (uint8_t)(i + 1)) != DPX_DONE)
                abort();
        }
    }
    return s;
}

void scene_free(scene *s)
{
    for (uint32_t h = 0; h < s->hosts; h++) {
        host_forget(&s->players[h].host);
        free(s->players[h].leases);
        free(s->players[h].wishes);
        free(s->players[h].memory);
    }
    disks_free(&s->disks);
    free(s);
}

static void step(scene *s, player *p)
{
    dpx_request *request;
    if (p->stopped)
        return;
    while ((request = dpx_round_step(p->round, s->disks.now)))
        p->pending[p->pending_count++] = (struct pending){.request = request};
}

/* 0: begun; -1: a round is under way, or the kind does not fit what is held. */
int scene_begin(scene *s, uint32_t host, int kind, uint32_t mask, int mode, uint32_t patience_ms)
{
    player *p = &s->players[host];
    uint32_t count = 0;
    if (!dpx_round_quiet(p->round) || p->stopped)
        return -1;
    for (uint32_t i = 0; i < s->leases; i++) {
        bool held = p->leases[i].hold != 0;
        if (!(mask >> i & 1) || held != (kind != DPX_ROUND_TAKE))
            continue;
        p->wishes[count++] = (dpx_wish){.lease = &p->leases[i], .mode = (enum dpx_mode)mode};
    }
    if (count == 0)
        return -1;
    dpx_round_begin(p->round, (dpx_round_kind)kind, p->wishes, count, s->disks.now + patience_ms * DPX_MS,
                    s->disks.now);
    step(s, p);
    return 0;
}

int scene_pending(const scene *s, uint32_t host)
{
    return (int)s->players[host].pending_count;
}

static void do_writes(scene *s, player *p, dpx_request *request, int outcome)
{
    memory_disks *disks = &s->disks;
    request->writes_issued = disks->now < p->host.world.lifetime_end;
    request->error = request->writes_issued ? (outcome == OUTCOME_GOOD ? 0 : -5) : -62;
    request->write_issued_at = request->write_completed_at = disks->now;
    for (uint32_t i = 0; i < request->write_count; i++) {
        request->writes[i].error = request->error;
        if (request->writes_issued && outcome != OUTCOME_FAILS)
            memcpy(disk_block(disks, request->disk, request->writes[i].block), request->writes[i].data,
                   disks->geometry.block_size);
    }
}

static void do_reads(scene *s, dpx_request *request, int outcome)
{
    memory_disks *disks = &s->disks;
    if (outcome != OUTCOME_GOOD && request->error == 0)
        request->error = -5;
    request->read_issued_at = request->read_completed_at = disks->now;
    for (uint32_t i = 0; i < request->read_count; i++) {
        dpx_extent *read = &request->reads[i];
        read->error = request->error;
        if (read->error == 0)
            memcpy(read->data, disk_block(disks, request->disk, read->block),
                   (size_t)read->count * disks->geometry.block_size);
    }
}

/* Delivers the next stage of one pending request; a stopped host learns of it later. */
void scene_deliver(scene *s, uint32_t host, uint32_t which, int outcome)
{
    player *p = &s->players[host];
    if (p->pending_count == 0)
        return;
    struct pending *pending = &p->pending[which % p->pending_count];
    dpx_request *request = pending->request;
    if (!pending->written) {
        request->error = 0;
        pending->written = true;
        if (request->write_count > 0) {
            if (p->stopped)
                return; /* it is issued by a thread of that very process */
            do_writes(s, p, request, outcome);
            if (request->error == 0 && request->read_count > 0)
                return;
        }
    }
    if (p->stopped)
        return;
    do_reads(s, request, outcome);
    *pending = p->pending[--p->pending_count];
    dpx_round_complete(p->round, request, s->disks.now);
    step(s, p);
}

void scene_beat(scene *s)
{
    for (uint32_t h = 0; h < s->hosts; h++)
        if (!s->players[h].stopped)
            host_beat(&s->players[h].host);
}

void scene_advance(scene *s, uint32_t ms)
{
    uint64_t end = s->disks.now + ms * DPX_MS;
    while (s->disks.now < end) {
        uint64_t left = end - s->disks.now;
        s->disks.now += left < DPX_SECOND ? left : DPX_SECOND;
        scene_beat(s);
        for (uint32_t h = 0; h < s->hosts; h++)
            step(s, &s->players[h]);
    }
}

int scene_verdict(const scene *s, uint32_t host)
{
    return (int)dpx_round_verdict(s->players[host].round);
}

int scene_quiet(const scene *s, uint32_t host)
{
    return dpx_round_quiet(s->players[host].round);
}

int scene_alive(const scene *s, uint32_t host)
{
    const player *p = &s->players[host];
    return !p->host.world.finished && s->disks.now < p->host.world.lifetime_end;
}

/* The mode in which the host, within its lifetime, believes that it holds the lease. */
int scene_holds(scene *s, uint32_t host, uint32_t lease)
{
    player *p = &s->players[host];
    return scene_alive(s, host) && p->leases[lease].hold != 0 ? (int)p->leases[lease].mode : 0;
}

uint64_t scene_token(const scene *s, uint32_t host, uint32_t lease)
{
    return s->players[host].leases[lease].token;
}

void scene_stop(scene *s, uint32_t host, int stopped)
{
    s->players[host].stopped = stopped;
    if (!stopped) {
        host_beat(&s->players[host].host);
        step(s, &s->players[host]);
    }
}
