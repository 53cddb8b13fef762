/* How fairly hosts that fight for one lease share it, and what waiting costs.
 *
 * The round machines that ship, N of them, over one lockspace in memory.  Nothing fails here;
 * each write and each read takes a while (uniform in half to one and a half times --latency),
 * a write lands and a read looks at some moment in between.  One seed, one history.
 *
 *   fairness --hosts 64 --handovers 1000        shares, time of a handover, I/Os of a waiter
 *   fairness --tries 1000 --hosts 8             simultaneous tries on a free lease: who wins, when losers know
 *   fairness --tries 100 --hosts 8 --shared     … concurrent shared tries
 *   --disks 1|3|5  --hold µs  --latency µs  --seed N  --stopped N (hosts that stop for good while they wait)
 *
 * Exit status 1: two holders at once, a share below half or above twice the fair one, not one
 * winner of a try, or no progress.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/peers.h"
#include "protocol/round.h"
#include "random.h"

enum { MOST_HOSTS = 256, MOST_SAMPLES = 1 << 20 };
static const char NAME[] = "vm";

enum stage { STAGE_NONE, STAGE_LAND, STAGE_WRITTEN, STAGE_SHOWN, STAGE_READ };

struct flight { /* one disk's request of one host */
    dpx_request *request;
    enum stage stage;
    uint64_t at, done_at;
};

enum doing { TAKING, HOLDING, RELEASING, DONE };

struct player {
    dpx_world world;
    dpx_lease lease;
    dpx_wish wish;
    dpx_round *round;
    struct flight flights[DPX_MAX_DISKS];
    enum doing doing;
    bool stopped;
    uint64_t until;      /* holding */
    uint64_t asked_at;
    uint64_t waited;     /* all its waiting */
    uint64_t writes, reads;
    uint32_t grants;
    bool won;
    uint8_t *in_flight;
    uint64_t *sequences, *ballots, *written;
};

struct samples {
    uint64_t *at;
    uint32_t count;
};

static struct arena {
    dpx_geometry geometry;
    uint8_t *disks[DPX_MAX_DISKS];
    uint64_t now;
    rng chance;
    struct player players[MOST_HOSTS];
    uint32_t hosts, handovers, tries, stopped;
    uint64_t hold, latency, seed;
    bool shared;
    int holder;          /* exclusive; -1: nobody */
    int last;            /* … the one before */
    uint64_t freed_at;
    uint32_t changed;    /* grants to another host than the last one */
    uint32_t faults;
    struct samples handover, lost;
} arena;

static void complain(const char *what)
{
    printf("VIOLATION %s at %llu us (seed %llu)\n", what, (unsigned long long)(arena.now / 1000),
           (unsigned long long)arena.seed);
    arena.faults++;
}

static void sample(struct samples *samples, uint64_t value)
{
    if (!samples->at)
        samples->at = calloc(MOST_SAMPLES, sizeof *samples->at);
    if (samples->count < MOST_SAMPLES)
        samples->at[samples->count++] = value;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void print_samples(const char *what, struct samples *samples)
{
    if (samples->count == 0)
        return;
    qsort(samples->at, samples->count, sizeof *samples->at, compare);
    printf("%s: median %.1f ms, p90 %.1f, p99 %.1f, longest %.1f (%u)\n", what,
           (double)samples->at[samples->count / 2] / 1e6, (double)samples->at[samples->count * 9ull / 10] / 1e6,
           (double)samples->at[samples->count * 99ull / 100] / 1e6, (double)samples->at[samples->count - 1] / 1e6,
           samples->count);
    samples->count = 0;
}

/* ---- disks ---- */

static void format(uint32_t disks)
{
    dpx_geometry *geometry = &arena.geometry;
    *geometry = (dpx_geometry){.block_size = 512,
                               .max_hosts = arena.hosts < 4 ? 4 : arena.hosts,
                               .max_leases = 4,
                               .disks = disks,
                               .outage_tolerance = 40 * DPX_SECOND,
                               .kill_grace = 10 * DPX_SECOND,
                               .watchdog_timeout = 10 * DPX_SECOND,
                               .claim_time = DPX_SECOND};
    if (!dpx_geometry_derive(geometry))
        abort();
    uint32_t area = dpx_home_area(geometry, NAME, sizeof NAME - 1);
    dpx_header header = {.directory_token = 65536, .sequence = 1, .area = area, .state = DPX_LEASE_IN_USE,
                         .first_ballot = 65536, .name_length = sizeof NAME - 1};
    memcpy(header.name, NAME, sizeof NAME);
    header.lease.bytes[0] = 1;
    for (uint32_t d = 0; d < disks; d++) {
        arena.disks[d] = calloc(geometry->total_blocks, geometry->block_size);
        for (uint64_t block = 1; block < geometry->total_blocks; block++)
            if (dpx_place_of(geometry, block).kind != 0)
                dpx_empty_encode(arena.disks[d] + block * geometry->block_size, geometry, d, block, 0);
        dpx_superblock_encode(arena.disks[d], geometry, d, 1, 0);
        dpx_header_encode(arena.disks[d] + dpx_header_block(geometry, area) * geometry->block_size, geometry, d,
                          &header);
    }
}

static void copy(struct flight *flight, bool write)
{
    dpx_request *request = flight->request;
    dpx_extent *extents = write ? request->writes : request->reads;
    size_t size = arena.geometry.block_size;
    for (uint32_t i = 0; i < (write ? request->write_count : request->read_count); i++) {
        uint8_t *block = arena.disks[request->disk] + extents[i].block * size;
        extents[i].error = 0;
        if (write)
            memcpy(block, extents[i].data, extents[i].count * size);
        else
            memcpy(extents[i].data, block, extents[i].count * size);
    }
}

static void start_stage(struct flight *flight, enum stage stage)
{
    uint64_t takes = arena.latency / 2 + rng_time(&arena.chance, arena.latency + 1);
    flight->stage = stage;
    flight->at = arena.now + rng_time(&arena.chance, takes + 1);
    flight->done_at = arena.now + takes;
}

static void submit(struct player *player, dpx_request *request)
{
    struct flight *flight = &player->flights[request->disk];
    flight->request = request;
    request->error = 0;
    request->writes_issued = request->write_count > 0;
    request->write_issued_at = request->read_issued_at = arena.now;
    player->writes += request->write_count;
    player->reads += request->read_count;
    start_stage(flight, request->write_count > 0 ? STAGE_LAND : STAGE_SHOWN);
}

/* True: the request is through. */
static bool advance(struct flight *flight)
{
    dpx_request *request = flight->request;
    switch (flight->stage) {
    case STAGE_LAND:
    case STAGE_SHOWN:
        copy(flight, flight->stage == STAGE_LAND);
        flight->stage++;
        flight->at = flight->done_at;
        return false;
    case STAGE_WRITTEN:
        request->write_completed_at = request->read_issued_at = arena.now;
        if (request->read_count == 0)
            break;
        start_stage(flight, STAGE_SHOWN);
        return false;
    default:
        request->read_completed_at = arena.now;
        break;
    }
    flight->stage = STAGE_NONE;
    return true;
}

/* ---- hosts ---- */

static void *memory(size_t bytes)
{
    size_t whole = (bytes + 4095) & ~(size_t)4095;
    return memset(aligned_alloc(4096, whole), 0, whole);
}

static void prepare(struct player *player, uint32_t slot)
{
    const dpx_geometry *geometry = &arena.geometry;
    dpx_uuid machine = {.bytes = {(uint8_t)slot, 1}};
    player->in_flight = calloc(geometry->max_leases, 1);
    player->sequences = calloc(geometry->max_leases, sizeof(uint64_t));
    player->ballots = calloc(geometry->max_leases, sizeof(uint64_t));
    player->written = calloc(geometry->max_leases * DPX_MAX_DISKS, sizeof(uint64_t));
    player->world = (dpx_world){.geometry = geometry,
                                .self = {.slot = slot, .generation = 1, .nonce = machine},
                                .lifetime_end = DPX_NEVER - 1,
                                .random = rng_next(&arena.chance) | 1,
                                .in_flight = player->in_flight,
                                .sequences = player->sequences,
                                .ballots = player->ballots,
                                .written = player->written};
    player->world.peers = dpx_peers_place(memory(dpx_peers_memory(geometry)), geometry, &machine, &machine);
    player->round = dpx_round_place(memory(dpx_round_memory(geometry, 1)), &player->world, 1);
    dpx_lease_reset(&player->lease, NAME, sizeof NAME - 1);
}

static void ask(struct player *player)
{
    player->wish = (dpx_wish){.lease = &player->lease,
                              .mode = arena.shared ? DPX_MODE_SHARED : DPX_MODE_EXCLUSIVE};
    player->doing = TAKING;
    player->asked_at = arena.now;
    dpx_round_begin(player->round, DPX_ROUND_TAKE, &player->wish, 1, arena.tries ? arena.now : DPX_NEVER, arena.now);
}

static void let_go(struct player *player)
{
    int me = (int)(player - arena.players);
    if (!arena.shared && arena.holder != me)
        complain("released what somebody else holds");
    arena.holder = -1;
    arena.freed_at = 0; /* until the release is durable */
    player->doing = RELEASING;
    player->wish = (dpx_wish){.lease = &player->lease};
    dpx_round_begin(player->round, DPX_ROUND_RELEASE, &player->wish, 1, 0, arena.now);
}

static void granted(struct player *player)
{
    int me = (int)(player - arena.players);
    player->waited += arena.now - player->asked_at;
    player->doing = HOLDING;
    player->until = arena.now + arena.hold;
    player->won = true;
    player->grants++;
    if (arena.shared)
        return;
    if (arena.holder >= 0)
        complain("two holders");
    if (arena.last >= 0 && arena.last != me) {
        arena.changed++;
        sample(&arena.handover, arena.freed_at ? arena.now - arena.freed_at : 0);
    }
    arena.holder = arena.last = me;
}

static void refused(struct player *player)
{
    sample(&arena.lost, arena.now - player->asked_at);
    if (!arena.tries)
        complain("a waiter was refused");
    player->doing = DONE;
}

static void step(struct player *player)
{
    dpx_request *request;
    player->world.wall = arena.now;
    if (player->doing == HOLDING && arena.now >= player->until && !arena.tries)
        let_go(player);
    while ((request = dpx_round_step(player->round, arena.now)))
        submit(player, request);
    dpx_verdict verdict = dpx_round_verdict(player->round);
    if (verdict == DPX_RUNNING || !dpx_round_quiet(player->round) || player->doing == HOLDING || player->doing == DONE)
        return;
    if (player->doing == RELEASING) {
        arena.freed_at = arena.holder < 0 ? arena.now : 0;
        player->doing = DONE;
        if (!arena.tries)
            ask(player);
    } else if (verdict == DPX_DONE) {
        granted(player);
    } else {
        refused(player);
    }
    if (player->doing != DONE)
        step(player);
}

/* The next moment at which something happens; false: nothing ever does. */
static bool pass_time(void)
{
    uint64_t next = DPX_NEVER;
    struct player *who = NULL;
    struct flight *what = NULL;
    for (uint32_t h = 0; h < arena.hosts; h++) {
        struct player *player = &arena.players[h];
        for (uint32_t d = 0; d < arena.geometry.disks; d++) {
            struct flight *flight = &player->flights[d];
            if (flight->stage != STAGE_NONE && flight->at < next) {
                next = flight->at;
                who = player;
                what = flight;
            }
        }
        uint64_t wake = player->doing == HOLDING ? player->until : dpx_round_wake(player->round);
        if (arena.tries && player->doing == HOLDING)
            wake = DPX_NEVER;
        if (player->stopped || player->doing == DONE || wake >= next)
            continue;
        next = wake;
        who = player;
        what = NULL;
    }
    if (!who)
        return false;
    if (next > arena.now)
        arena.now = next;
    if (what && !advance(what))
        return true;
    if (what)
        dpx_round_complete(who->round, what->request, arena.now);
    if (!who->stopped)
        step(who);
    return true;
}

/* ---- what is asked ---- */

static void print_shares(uint64_t began, uint32_t running)
{
    uint32_t least = UINT32_MAX, most = 0, all = 0;
    uint64_t waited = 0, reads = 0, writes = 0;
    for (uint32_t h = arena.stopped; h < arena.hosts; h++) {
        struct player *player = &arena.players[h];
        least = player->grants < least ? player->grants : least;
        most = player->grants > most ? player->grants : most;
        all += player->grants;
        waited += player->waited;
        reads += player->reads;
        writes += player->writes;
    }
    double seconds = (double)(arena.now - began) / 1e9;
    double fair = (double)all / running;
    printf("%u hosts, %u takes, %u handovers in %.2f s: %.0f handovers/s\n", running, all, arena.changed, seconds,
           arena.changed / seconds);
    printf("shares: least %u, most %u, fair %.1f: %.2f to %.2f of the fair one\n", least, most, fair, least / fair,
           most / fair);
    print_samples("handover (release durable, taken elsewhere)", &arena.handover);
    double waiting = (double)waited / 1e9;
    printf("I/O per waiter and second: %.1f reads, %.1f writes; per take: %.1f reads, %.1f writes\n",
           (double)reads / waiting, (double)writes / waiting, (double)reads / all, (double)writes / all);
    if (least < fair / 2 || most > fair * 2)
        complain("an unfair share");
}

static void fight(void)
{
    uint64_t began = arena.now, limit = arena.now + (uint64_t)arena.handovers * 10 * DPX_SECOND;
    for (uint32_t h = 0; h < arena.hosts; h++) {
        ask(&arena.players[h]);
        step(&arena.players[h]);
    }
    for (uint32_t stopped = 0; arena.changed < arena.handovers;) {
        if (!pass_time() || arena.now > limit) {
            complain("no progress");
            break;
        }
        struct player *victim = &arena.players[stopped]; /* waits, and is not on its way to the lease */
        if (stopped < arena.stopped && arena.changed > arena.hosts && victim->doing == TAKING &&
            victim->lease.ahead == 1 && victim->flights[0].stage == STAGE_NONE && victim->lease.hold == 0) {
            victim->stopped = true;
            stopped++;
        }
    }
    print_shares(began, arena.hosts - arena.stopped);
}

static void settle(void)
{
    bool busy;
    do {
        busy = false;
        for (uint32_t h = 0; h < arena.hosts; h++) {
            enum doing doing = arena.players[h].doing;
            busy |= doing == TAKING || doing == RELEASING;
        }
    } while (busy && pass_time());
}

static void try_once(void)
{
    uint32_t winners = 0;
    for (uint32_t h = 0; h < arena.hosts; h++)
        arena.players[h].won = false;
    for (uint32_t h = 0; h < arena.hosts; h++) {
        ask(&arena.players[h]);
        step(&arena.players[h]);
    }
    settle();
    for (uint32_t h = 0; h < arena.hosts; h++)
        winners += arena.players[h].won;
    if (winners != (arena.shared ? arena.hosts : 1))
        complain("not the right number of winners");
    arena.now += DPX_SECOND;
    for (uint32_t h = 0; h < arena.hosts; h++) {
        if (!arena.players[h].won)
            continue;
        let_go(&arena.players[h]);
        step(&arena.players[h]);
    }
    settle();
    arena.now += DPX_SECOND;
    arena.last = -1;
}

int main(int count, char **arguments)
{
    uint64_t disks = 1, hosts = 2, handovers = 1000, tries = 0, stopped = 0, hold = 0, latency = 300, seed = 1;
    const struct { const char *name; uint64_t *value; } options[] = {
        {"--disks", &disks}, {"--hosts", &hosts}, {"--handovers", &handovers}, {"--tries", &tries},
        {"--stopped", &stopped}, {"--hold", &hold}, {"--latency", &latency}, {"--seed", &seed}};
    for (int i = 1; i < count; i++) {
        size_t k = 0;
        if (strcmp(arguments[i], "--shared") == 0) {
            arena.shared = true;
            continue;
        }
        while (k < sizeof options / sizeof options[0] && strcmp(arguments[i], options[k].name) != 0)
            k++;
        if (k == sizeof options / sizeof options[0] || i + 1 == count) {
            fprintf(stderr, "see the top of fairness.c for what it knows\n");
            return 2;
        }
        *options[k].value = strtoull(arguments[++i], NULL, 10);
    }
    if (hosts < 2 || hosts > MOST_HOSTS || stopped >= hosts)
        return 2;
    arena.hosts = (uint32_t)hosts;
    arena.handovers = (uint32_t)handovers;
    arena.tries = (uint32_t)tries;
    arena.stopped = (uint32_t)stopped;
    arena.hold = hold * 1000;
    arena.latency = latency * 1000;
    arena.chance.state = arena.seed = seed;
    arena.now = 1000 * DPX_SECOND;
    arena.holder = arena.last = -1;
    format((uint32_t)disks);
    for (uint32_t h = 0; h < arena.hosts; h++)
        prepare(&arena.players[h], h);
    if (arena.tries == 0)
        fight();
    for (uint32_t i = 0; i < arena.tries; i++)
        try_once();
    print_samples("loser told", &arena.lost);
    return arena.faults != 0;
}
