/* Hosts on disks in memory, in simulated time, where one I/O of all can be ordered to fail.
 *
 * Unlike memory_disks.h alone: hearts beat while other machines run, an I/O may hang (its request then returns
 * later, or never), and whoever uses the stage may look at every write and at every tick of time. */
#ifndef TESTS_NATIVE_STAGE_H
#define TESTS_NATIVE_STAGE_H

#include "memory_disks.h"

enum { STAGE_HOSTS = 4, STAGE_HUNG = 32, STAGE_KEPT = 256 };

typedef enum stage_fault {
    FAULT_NONE,
    FAULT_EIO,         /* refused: nothing took place */
    FAULT_NO_SPACE,    /* the same, by another name */
    FAULT_LANDED,      /* a write that failed, and took place; a read that failed */
    FAULT_TORN,        /* a write that failed half-way; a read that met a write half-way */
    FAULT_LATE,        /* takes longer than one I/O may, then succeeds */
    FAULT_HANG,        /* does not return before the scene is over, and took place */
    FAULT_HANG_FAILED, /* … and did not */
    STAGE_FAULTS,
} stage_fault;

typedef struct stage_machine {
    void *it;
    dpx_request *(*step)(void *machine, uint64_t now);
    void (*complete)(void *machine, dpx_request *request, uint64_t now);
    uint64_t (*wake)(const void *machine);
    dpx_verdict (*verdict)(const void *machine);
} stage_machine;

typedef struct stage stage;

struct stage_hung {
    stage_machine machine;
    dpx_request *request;
    memory_host *host;
    uint64_t returns; /* DPX_NEVER: when it is told to */
    bool lands;
    bool gone; /* whoever asked for it */
};

struct stage {
    memory_disks disks;
    memory_host hosts[STAGE_HOSTS];
    bool lives[STAGE_HOSTS]; /* its heart beats */
    stage_fault fault;       /* the I/O number `fault_at` since it was armed … */
    uint64_t fault_at;
    uint64_t ios;            /* … of so many */
    bool hit;
    uint32_t hit_disk;
    bool hit_write;
    uint64_t steps;
    uint64_t tick_at;        /* DPX_NEVER: nobody wants to know */
    void (*tick)(stage *s);
    void (*written)(stage *s, const memory_host *host, uint32_t disk, const dpx_extent *extent);
    struct stage_hung hung[STAGE_HUNG];
    uint32_t hung_count;
    void *kept[STAGE_KEPT];  /* memory of machines: I/O may be in flight into it */
    uint32_t kept_count;
    uint64_t random;
};

#define STAGE_MACHINE(name)                                                             \
    static inline dpx_request *stage_##name##_step(void *machine, uint64_t now)          \
    {                                                                                   \
        return dpx_##name##_step(machine, now);                                         \
    }                                                                                   \
    static inline void stage_##name##_complete(void *machine, dpx_request *r, uint64_t now) \
    {                                                                                   \
        dpx_##name##_complete(machine, r, now);                                         \
    }                                                                                   \
    static inline uint64_t stage_##name##_wake(const void *machine)                      \
    {                                                                                   \
        return dpx_##name##_wake(machine);                                              \
    }
STAGE_MACHINE(claim)
STAGE_MACHINE(round)
STAGE_MACHINE(change)
STAGE_MACHINE(heart)

static inline dpx_verdict stage_claim_verdict(const void *machine)
{
    return dpx_claim_verdict(machine);
}

static inline dpx_verdict stage_round_verdict(const void *machine)
{
    return dpx_round_verdict(machine);
}

static inline dpx_verdict stage_change_verdict(const void *machine)
{
    return dpx_change_verdict(machine);
}

#define STAGE_OF(name, object) \
    ((stage_machine){(object), stage_##name##_step, stage_##name##_complete, stage_##name##_wake, \
        stage_##name##_verdict})
#define stage_heart_verdict NULL

static inline void *stage_memory(stage *s, size_t bytes)
{
    if (s->kept_count == STAGE_KEPT)
        abort();
    void *memory = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
    if (!memory)
        abort();
    memset(memory, 0, bytes);
    return s->kept[s->kept_count++] = memory;
}

/* ---- carrying requests out ---- */

static inline bool stage_strikes(stage *s, uint32_t disk, bool write)
{
    if (s->fault == FAULT_NONE || s->hit || ++s->ios != s->fault_at)
        return false;
    s->hit = true;
    s->hit_disk = disk;
    s->hit_write = write;
    return true;
}

static inline void stage_move(stage *s, const dpx_request *request, const dpx_extent *extent, bool write)
{
    size_t bytes = (size_t)extent->count * s->disks.geometry.block_size;
    uint8_t *block = disk_block(&s->disks, request->disk, extent->block);
    if (write)
        memcpy(block, extent->data, bytes);
    else
        memcpy(extent->data, block, bytes);
}

/* One I/O that was struck; false: it hangs. */
static inline bool stage_suffer(stage *s, const dpx_request *request, dpx_extent *extent, bool write)
{
    size_t bytes = (size_t)extent->count * s->disks.geometry.block_size;
    uint8_t *block = disk_block(&s->disks, request->disk, extent->block);
    extent->error = s->fault == FAULT_NO_SPACE ? -28 : -5;
    switch (s->fault) {
    case FAULT_LANDED:
        if (write)
            stage_move(s, request, extent, true);
        break;
    case FAULT_TORN:
        if (write) {
            memcpy(block, extent->data, bytes / 2);
        } else {
            extent->error = 0; /* a read never fails of it: the checksums do */
            stage_move(s, request, extent, false);
            memset((uint8_t *)extent->data + bytes / 2, 0xdb, 100);
        }
        break;
    case FAULT_LATE:
    case FAULT_HANG:
    case FAULT_HANG_FAILED:
        return false;
    default:
        break;
    }
    return true;
}

static inline void stage_reads(stage *s, dpx_request *request)
{
    request->read_issued_at = s->disks.now;
    for (uint32_t i = 0; i < request->read_count; i++) {
        dpx_extent *extent = &request->reads[i];
        extent->error = request->error ? -125 : 0;
        if (extent->error == 0 && stage_strikes(s, request->disk, false)) {
            if (!stage_suffer(s, request, extent, false))
                extent->error = -11; /* for now: it hangs */
        } else if (extent->error == 0) {
            stage_move(s, request, extent, false);
        }
        if (request->error == 0)
            request->error = extent->error;
    }
    request->read_completed_at = s->disks.now;
}

/* False: it hangs. */
static inline bool stage_carry_out(stage *s, const memory_host *host, dpx_request *request)
{
    bool struck = s->hit;
    request->error = 0;
    request->writes_issued = false;
    request->write_issued_at = request->write_completed_at = 0;
    if (request->write_count > 0 && s->disks.now >= host->world.lifetime_end) {
        request->error = -62;
        return true;
    }
    request->write_issued_at = request->write_count ? s->disks.now : 0;
    for (uint32_t i = 0; i < request->write_count; i++) {
        dpx_extent *extent = &request->writes[i];
        extent->error = 0;
        request->writes_issued = true;
        if (s->written)
            s->written(s, host, request->disk, extent);
        if (!stage_strikes(s, request->disk, true))
            stage_move(s, request, extent, true);
        else if (!stage_suffer(s, request, extent, true))
            extent->error = -11;
        if (request->error == 0)
            request->error = extent->error;
    }
    request->write_completed_at = request->write_count ? s->disks.now : 0;
    stage_reads(s, request);
    return struck || !s->hit || s->fault < FAULT_LATE;
}

/* What hung is back. */
static inline void stage_return(stage *s, struct stage_hung *hung)
{
    dpx_request *request = hung->request;
    request->error = 0;
    for (uint32_t i = 0; i < request->write_count; i++) {
        dpx_extent *extent = &request->writes[i];
        if (extent->error == -11 && hung->lands)
            stage_move(s, request, extent, true);
        extent->error = extent->error == -11 && !hung->lands ? -5 : 0;
        if (request->error == 0)
            request->error = extent->error;
    }
    if (request->write_count > 0)
        request->write_completed_at = s->disks.now;
    stage_reads(s, request);
    if (!hung->gone)
        hung->machine.complete(hung->machine.it, request, s->disks.now);
}

static inline void stage_issue(stage *s, memory_host *host, stage_machine machine, dpx_request *request)
{
    if (stage_carry_out(s, host, request)) {
        machine.complete(machine.it, request, s->disks.now);
        return;
    }
    if (s->hung_count == STAGE_HUNG)
        abort();
    uint64_t late = s->disks.now + s->disks.geometry.outage_tolerance * 3 / 8; /* one I/O may take S / 4 */
    s->hung[s->hung_count++] = (struct stage_hung){.machine = machine, .request = request, .host = host,
                                                   .returns = s->fault == FAULT_LATE ? late : DPX_NEVER,
                                                   .lands = s->fault != FAULT_HANG_FAILED};
}

/* All disks are asked before the first one answers. */
static inline bool stage_submit(stage *s, memory_host *host, stage_machine machine)
{
    dpx_request *requests[DPX_MAX_DISKS];
    uint32_t count = 0;
    s->steps++;
    while (count < DPX_MAX_DISKS && (requests[count] = machine.step(machine.it, s->disks.now)))
        count++;
    for (uint32_t i = 0; i < count; i++)
        stage_issue(s, host, machine, requests[i]);
    return count > 0;
}

/* ---- time ---- */

static inline uint64_t stage_due(const stage *s)
{
    uint64_t due = s->tick_at;
    for (uint32_t h = 0; h < STAGE_HOSTS; h++)
        if (s->lives[h] && dpx_heart_wake(s->hosts[h].heart) < due)
            due = dpx_heart_wake(s->hosts[h].heart);
    for (uint32_t i = 0; i < s->hung_count; i++)
        if (s->hung[i].returns < due)
            due = s->hung[i].returns;
    return due;
}

static inline void stage_hearts(stage *s)
{
    for (uint32_t h = 0; h < STAGE_HOSTS; h++)
        while (s->lives[h] && stage_submit(s, &s->hosts[h], STAGE_OF(heart, s->hosts[h].heart)))
            continue;
}

/* Everything that is due now, except the machine that is driven. */
static inline void stage_catch_up(stage *s)
{
    if (s->tick_at <= s->disks.now)
        s->tick(s);
    for (uint32_t i = 0; i < s->hung_count;) {
        struct stage_hung back = s->hung[i];
        if (back.returns > s->disks.now) {
            i++;
            continue;
        }
        s->hung[i] = s->hung[--s->hung_count];
        stage_return(s, &back);
    }
    stage_hearts(s);
}

static inline void stage_pass(stage *s, uint64_t duration)
{
    uint64_t end = s->disks.now + duration;
    while (s->disks.now < end) {
        uint64_t due = stage_due(s);
        if (due > s->disks.now)
            s->disks.now = due < end ? due : end;
        stage_catch_up(s);
        if (stage_due(s) <= s->disks.now) /* the heart waits for an I/O that hangs */
            s->disks.now += DPX_MS < end - s->disks.now ? DPX_MS : end - s->disks.now;
    }
    stage_catch_up(s);
}

/* What hangs without an end returns now. */
static inline void stage_unhang(stage *s)
{
    for (uint32_t i = 0; i < s->hung_count; i++)
        s->hung[i].returns = s->disks.now;
    stage_catch_up(s);
}

/* A lease that I/O may be in flight for after its round has ended. */
static inline dpx_lease *stage_lease(stage *s, const char *name)
{
    dpx_lease *lease = stage_memory(s, sizeof *lease);
    dpx_lease_reset(lease, name, strlen(name));
    return lease;
}

/* To its verdict; DPX_RUNNING: not within the limit. */
static inline dpx_verdict stage_drive(stage *s, memory_host *host, stage_machine machine, uint64_t limit)
{
    uint64_t end = s->disks.now + limit;
    for (;;) {
        while (stage_submit(s, host, machine))
            continue;
        if (machine.verdict(machine.it) != DPX_RUNNING)
            return machine.verdict(machine.it);
        uint64_t wake = machine.wake(machine.it), due = stage_due(s);
        uint64_t next = wake < due ? wake : due;
        if (next > end)
            return DPX_RUNNING;
        if (next <= s->disks.now && wake > s->disks.now)
            next = s->disks.now + DPX_MS / 10;
        if (next > s->disks.now)
            s->disks.now = next;
        else
            s->disks.now += DPX_MS / 10; /* something is due, and waits for what hangs */
        stage_catch_up(s);
    }
}

/* ---- hosts ---- */

static inline dpx_verdict stage_claim(stage *s, memory_host *host, uint8_t seed, uint32_t only, bool reclaim,
                                      uint64_t patience)
{
    dpx_slot_record me = host_record(host, seed);
    dpx_uuid nonce;
    memset(nonce.bytes, seed ^ 0x5a, sizeof nonce.bytes);
    nonce.bytes[3] = (uint8_t)++s->random;
    nonce.bytes[4] = (uint8_t)(s->random >> 8);
    dpx_claim *claim = dpx_claim_place(stage_memory(s, dpx_claim_memory(&s->disks.geometry)), &host->world);
    dpx_claim_begin(claim, &me, &nonce, only, reclaim, s->disks.now + patience, s->disks.now);
    dpx_verdict verdict = stage_drive(s, host, STAGE_OF(claim, claim),
        patience + 4 * s->disks.geometry.outage_tolerance);
    if (verdict != DPX_DONE || reclaim)
        return verdict;
    host->heart = dpx_heart_place(stage_memory(s, dpx_heart_memory(&s->disks.geometry)), &host->world, claim,
                                  s->disks.now);
    for (uint32_t d = 0; d < s->disks.geometry.disks; d++)
        if (dpx_claim_busy(claim, d)) /* the claim's write there never returns in any scene */
            dpx_heart_suspect(host->heart, d, true);
    return verdict;
}

/* Its machines do nothing any more; what they have in flight may still land. */
static inline void stage_kill(stage *s, uint32_t h)
{
    s->lives[h] = false;
    for (uint32_t i = 0; i < s->hung_count; i++)
        s->hung[i].gone |= s->hung[i].host == &s->hosts[h];
}

static inline memory_host *stage_prepare(stage *s, uint32_t h, uint8_t seed)
{
    memory_host *host = &s->hosts[h];
    stage_kill(s, h);
    host_forget(host);
    host_prepare(host, &s->disks, seed);
    return host;
}

/* Nothing is raised before the first heartbeat has completed. */
static inline dpx_verdict stage_join_in(stage *s, uint32_t h, uint8_t seed, uint32_t only, uint64_t patience)
{
    memory_host *host = stage_prepare(s, h, seed);
    dpx_verdict verdict = stage_claim(s, host, seed, only, false, patience);
    s->lives[h] = verdict == DPX_DONE;
    for (uint32_t i = 0; s->lives[h] && i < 64 && dpx_heart_count(host->heart).beats == 0; i++) {
        stage_pass(s, s->disks.geometry.outage_tolerance / 32);
        if (dpx_heart_end(host->heart) != DPX_ALIVE)
            verdict = DPX_FINISHED;
    }
    s->lives[h] = verdict == DPX_DONE;
    return verdict;
}

static inline dpx_verdict stage_join(stage *s, uint32_t h, uint8_t seed)
{
    return stage_join_in(s, h, seed, DPX_ANY_SLOT, 0);
}

static inline dpx_verdict stage_round(stage *s, uint32_t h, dpx_round_kind kind, dpx_wish *wishes, uint32_t count,
                                      uint64_t patience, dpx_cause *cause)
{
    memory_host *host = &s->hosts[h];
    uint64_t now = s->disks.now;
    dpx_round *round = dpx_round_place(stage_memory(s, dpx_round_memory(&s->disks.geometry, count)), &host->world,
        count);
    dpx_wish *stays = stage_memory(s, count * sizeof *wishes); /* until the round is quiet: that may take long */
    memcpy(stays, wishes, count * sizeof *wishes);
    dpx_round_begin(round, kind, stays, count, now + patience, now);
    dpx_verdict verdict =
        stage_drive(s, host, STAGE_OF(round, round), patience + 4 * s->disks.geometry.outage_tolerance);
    memcpy(wishes, stays, count * sizeof *wishes);
    if (cause)
        *cause = *dpx_round_cause(round);
    return verdict;
}

static inline dpx_verdict stage_change(stage *s, uint32_t h, dpx_change_kind kind, dpx_lease *lease, uint8_t uuid_seed,
                                       uint64_t patience)
{
    memory_host *host = &s->hosts[h];
    uint64_t now = s->disks.now;
    dpx_uuid uuid;
    memset(uuid.bytes, uuid_seed, sizeof uuid.bytes);
    dpx_change *change =
        dpx_change_place(stage_memory(s, dpx_change_memory(&s->disks.geometry)), &host->world, &host->directory);
    dpx_change_begin(change, kind, lease, &uuid, now + patience, now);
    return stage_drive(s, host, STAGE_OF(change, change), patience + 4 * s->disks.geometry.outage_tolerance);
}

static inline dpx_end stage_leave(stage *s, uint32_t h)
{
    memory_host *host = &s->hosts[h];
    dpx_heart_leave(host->heart);
    for (uint32_t i = 0; i < 200 && dpx_heart_end(host->heart) == DPX_ALIVE; i++)
        stage_pass(s, s->disks.geometry.outage_tolerance / 64);
    s->lives[h] = false;
    return dpx_heart_end(host->heart);
}

static inline void stage_open_timed(stage *s, uint32_t disks, uint32_t hosts, uint32_t leases, uint64_t tolerance)
{
    memset(s, 0, sizeof *s);
    disks_format_timed(&s->disks, disks, hosts, leases, tolerance);
    s->tick_at = DPX_NEVER;
}

static inline void stage_open(stage *s, uint32_t disks, uint32_t hosts, uint32_t leases)
{
    stage_open_timed(s, disks, hosts, leases, 40 * DPX_SECOND);
}

static inline void stage_close(stage *s)
{
    for (uint32_t h = 0; h < STAGE_HOSTS; h++)
        host_forget(&s->hosts[h]);
    for (uint32_t i = 0; i < s->kept_count; i++)
        free(s->kept[i]);
    disks_free(&s->disks);
    s->kept_count = 0;
}

#endif
