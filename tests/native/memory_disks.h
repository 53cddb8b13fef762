/* Disks in memory and a clock that stands still unless told: for unit tests that drive the
 * protocol machines step by step.  (The simulator in tests/simulation owns time and faults.) */
#ifndef TESTS_NATIVE_MEMORY_DISKS_H
#define TESTS_NATIVE_MEMORY_DISKS_H

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../../native/protocol/change.h"
#include "../../native/protocol/claim.h"
#include "../../native/protocol/heart.h"

typedef struct memory_disks {
    dpx_geometry geometry;
    uint8_t *blocks[DPX_MAX_DISKS];
    uint64_t now;
    uint64_t writes, reads;  /* requests' extents carried out */
    uint64_t stages;         /* I/Os that had to follow one another */
    int fail_writes[DPX_MAX_DISKS]; /* errno for every write on that disk, 0: fine */
    int fail_reads[DPX_MAX_DISKS];
} memory_disks;

typedef struct memory_host {
    memory_disks *disks;
    dpx_world world;
    void *memory[7];
    dpx_heart *heart;
    dpx_lease directory;
} memory_host;

/* S = tolerance; K, W and T_claim in the usual proportion to it. */
static inline void disks_format_timed(memory_disks *disks, uint32_t count, uint32_t hosts, uint32_t leases,
                                      uint64_t tolerance)
{
    memset(disks, 0, sizeof *disks);
    dpx_geometry *geometry = &disks->geometry;
    geometry->block_size = 512;
    geometry->max_hosts = hosts;
    geometry->max_leases = leases;
    geometry->disks = count;
    geometry->outage_tolerance = tolerance;
    geometry->kill_grace = geometry->watchdog_timeout = tolerance / 4;
    geometry->claim_time = tolerance / 40;
    memset(geometry->uuid.bytes, 7, sizeof geometry->uuid.bytes);
    if (!dpx_geometry_derive(geometry))
        abort();
    disks->now = 1000 * DPX_SECOND;
    for (uint32_t d = 0; d < count; d++) {
        disks->blocks[d] = aligned_alloc(4096, (size_t)geometry->total_blocks * geometry->block_size);
        memset(disks->blocks[d], 0, (size_t)geometry->total_blocks * geometry->block_size);
        for (uint64_t b = 1; b < geometry->total_blocks; b++)
            if (dpx_place_of(geometry, b).kind != 0)
                dpx_empty_encode(disks->blocks[d] + b * geometry->block_size, geometry, d, b, 0);
        dpx_superblock_encode(disks->blocks[d], geometry, d, 1, 0);
    }
}

static inline void disks_format(memory_disks *disks, uint32_t count, uint32_t hosts, uint32_t leases)
{
    disks_format_timed(disks, count, hosts, leases, 40 * DPX_SECOND);
}

static inline void disks_free(memory_disks *disks)
{
    for (uint32_t d = 0; d < disks->geometry.disks; d++)
        free(disks->blocks[d]);
}

static inline uint8_t *disk_block(memory_disks *disks, uint32_t disk, uint64_t block)
{
    return disks->blocks[disk] + block * disks->geometry.block_size;
}

/* Carries a request out at once, as request.h says. */
static inline void disks_carry_out(memory_disks *disks, dpx_request *request, uint64_t gate)
{
    size_t size = disks->geometry.block_size;
    request->error = 0;
    request->writes_issued = false;
    if (request->write_count > 0 && disks->now >= gate) {
        request->error = -62;
        return;
    }
    disks->stages += (request->write_count > 0 ? 1u : 0u) + (request->read_count > 0 ? 1u : 0u);
    request->write_issued_at = disks->now;
    for (uint32_t i = 0; i < request->write_count; i++) {
        dpx_extent *extent = &request->writes[i];
        request->writes_issued = true;
        disks->writes++;
        extent->error = -disks->fail_writes[request->disk];
        if (extent->error == 0)
            memcpy(disk_block(disks, request->disk, extent->block), extent->data, extent->count * size);
        else
            request->error = extent->error;
    }
    request->write_completed_at = disks->now;
    request->read_issued_at = disks->now;
    for (uint32_t i = 0; i < request->read_count; i++) {
        dpx_extent *extent = &request->reads[i];
        extent->error = request->error ? -125 : -disks->fail_reads[request->disk];
        if (extent->error == 0)
            memcpy(extent->data, disk_block(disks, request->disk, extent->block), extent->count * size);
        else if (request->error == 0)
            request->error = extent->error;
        disks->reads += extent->error == 0;
    }
    request->read_completed_at = disks->now;
}

#define DRIVE(name)                                                                                     \
    static inline dpx_verdict name##_run(memory_host *host, dpx_##name *machine, uint64_t limit)                \
    {                                                                                                   \
        memory_disks *disks = host->disks;                                                              \
        uint64_t end = disks->now + limit;                                                              \
        for (;;) {                                                                                      \
            dpx_request *requests[DPX_MAX_DISKS];                                                       \
            uint32_t count;                                                                             \
            do { /* all disks are asked before the first one answers */                                 \
                for (count = 0; count < DPX_MAX_DISKS; count++)                                         \
                    if (!(requests[count] = dpx_##name##_step(machine, disks->now)))                    \
                        break;                                                                          \
                for (uint32_t i = 0; i < count; i++) {                                                  \
                    disks_carry_out(disks, requests[i], host->world.lifetime_end);                      \
                    dpx_##name##_complete(machine, requests[i], disks->now);                            \
                }                                                                                       \
            } while (count > 0);                                                                        \
            if (dpx_##name##_verdict(machine) != DPX_RUNNING || dpx_##name##_wake(machine) > end)        \
                return dpx_##name##_verdict(machine);                                                   \
            if (dpx_##name##_wake(machine) > disks->now)                                                \
                disks->now = dpx_##name##_wake(machine);                                                \
        }                                                                                               \
    }
DRIVE(claim)
DRIVE(round)
DRIVE(change)

static inline void *host_memory(memory_host *host, int which, size_t bytes)
{
    free(host->memory[which]);
    host->memory[which] = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
    memset(host->memory[which], 0, bytes);
    return host->memory[which];
}

static inline void host_beat(memory_host *host)
{
    dpx_request *request;
    while ((request = dpx_heart_step(host->heart, host->disks->now))) {
        disks_carry_out(host->disks, request, host->world.lifetime_end);
        dpx_heart_complete(host->heart, request, host->disks->now);
    }
}

static inline dpx_slot_record host_record(const memory_host *host, uint8_t seed)
{
    const dpx_geometry *geometry = &host->disks->geometry;
    dpx_slot_record me = {.outage_tolerance = geometry->outage_tolerance,
                          .kill_grace = geometry->kill_grace,
                          .watchdog_timeout = geometry->watchdog_timeout};
    memset(me.host.bytes, seed, sizeof me.host.bytes);
    memset(me.boot.bytes, seed, sizeof me.boot.bytes);
    me.host_name[0] = (char)('a' + seed % 26);
    return me;
}

/* Prepares a host without joining it. */
static inline void host_prepare(memory_host *host, memory_disks *disks, uint8_t seed)
{
    const dpx_geometry *geometry = &disks->geometry;
    memset(host, 0, sizeof *host);
    host->disks = disks;
    dpx_slot_record me = host_record(host, seed);
    host->world.geometry = geometry;
    host->world.random = 1000u + seed;
    host->world.peers = dpx_peers_place(host_memory(host, 0, dpx_peers_memory(geometry)), geometry, &me.host, &me.boot);
    host->world.in_flight = host_memory(host, 3, geometry->max_leases);
    host->world.sequences = host_memory(host, 4, geometry->max_leases * sizeof(uint64_t));
    host->world.ballots = host_memory(host, 6, geometry->max_leases * sizeof(uint64_t));
    host->world.written = host_memory(host, 5, geometry->max_leases * DPX_MAX_DISKS * sizeof(uint64_t));
}

static inline dpx_verdict host_join(memory_host *host, memory_disks *disks, uint8_t seed)
{
    host_prepare(host, disks, seed);
    dpx_slot_record me = host_record(host, seed);
    dpx_uuid nonce;
    memset(nonce.bytes, seed ^ 0x5a, sizeof nonce.bytes);
    dpx_claim *claim = dpx_claim_place(host_memory(host, 1, dpx_claim_memory(&disks->geometry)), &host->world);
    dpx_claim_begin(claim, &me, &nonce, DPX_ANY_SLOT, false, disks->now, disks->now);
    dpx_verdict verdict = claim_run(host, claim, 60 * DPX_SECOND);
    if (verdict != DPX_DONE)
        return verdict;
    host->heart = dpx_heart_place(host_memory(host, 2, dpx_heart_memory(&disks->geometry)), &host->world, claim,
                                  disks->now);
    host_beat(host);
    return verdict;
}

static inline void host_forget(memory_host *host)
{
    for (size_t i = 0; i < sizeof host->memory / sizeof host->memory[0]; i++) {
        free(host->memory[i]);
        host->memory[i] = NULL;
    }
}

/* One round over the given wishes, to its end. */
static inline dpx_verdict host_round(memory_host *host, dpx_round_kind kind, dpx_wish *wishes, uint32_t count,
                              uint64_t patience, dpx_cause *cause)
{
    const dpx_geometry *geometry = &host->disks->geometry;
    size_t bytes = (dpx_round_memory(geometry, count) + 4095) & ~(size_t)4095;
    void *memory = aligned_alloc(4096, bytes);
    memset(memory, 0, bytes);
    dpx_round *round = dpx_round_place(memory, &host->world, count);
    dpx_round_begin(round, kind, wishes, count, host->disks->now + patience, host->disks->now);
    dpx_verdict verdict = round_run(host, round, 600 * DPX_SECOND);
    if (cause)
        *cause = *dpx_round_cause(round);
    free(memory);
    return verdict;
}

static inline dpx_verdict host_change(memory_host *host, dpx_change_kind kind, dpx_lease *lease, uint8_t uuid_seed)
{
    size_t bytes = (dpx_change_memory(&host->disks->geometry) + 4095) & ~(size_t)4095;
    void *memory = aligned_alloc(4096, bytes);
    dpx_uuid uuid;
    memset(memory, 0, bytes);
    memset(uuid.bytes, uuid_seed, sizeof uuid.bytes);
    dpx_change *change = dpx_change_place(memory, &host->world, &host->directory);
    dpx_change_begin(change, kind, lease, &uuid, host->disks->now, host->disks->now);
    dpx_verdict verdict = change_run(host, change, 600 * DPX_SECOND);
    free(memory);
    return verdict;
}

#endif
