/* Blocks as others may have left them, for tests of slots and deaths. */
#ifndef TESTS_NATIVE_RECORDS_H
#define TESTS_NATIVE_RECORDS_H

#include "scene.h"

enum { SLOT = 5, NOBODY = 99 };

static inline dpx_slot_record record_of(enum dpx_slot_state state, uint64_t generation, uint64_t sequence, uint8_t seed)
{
    dpx_slot_record record = {.who = {.slot = SLOT, .generation = generation}, .sequence = sequence,
                              .counter = sequence, .state = state, .outage_tolerance = 40 * DPX_SECOND,
                              .kill_grace = 10 * DPX_SECOND, .watchdog_timeout = 10 * DPX_SECOND};
    memset(record.who.nonce.bytes, seed, sizeof record.who.nonce.bytes);
    memset(record.host.bytes, seed, sizeof record.host.bytes);
    memset(record.boot.bytes, seed, sizeof record.boot.bytes);
    return record;
}

/* What an owner of a slot has to say of others: nothing. */
static inline void put_notes_of(memory_disks *disks, uint32_t disk, const dpx_incarnation *who)
{
    const dpx_geometry *g = &disks->geometry;
    const dpx_notice entries[DPX_BLOCK_MAX / 8] = {0};
    dpx_notice_encode(disk_block(disks, disk, dpx_notice_block(g, who->slot, 0)), g, disk, 0, who, 1, 0, entries);
}

/* A record as its writer leaves it: beside an owner's lie its notices (‡S21). */
static inline void put_record(memory_disks *disks, uint32_t disk, const dpx_slot_record *record)
{
    const dpx_geometry *g = &disks->geometry;
    uint32_t slot = record->who.slot;
    dpx_incarnation writer = dpx_notice_writer(disk_block(disks, disk, dpx_notice_block(g, slot, 0)), slot);
    dpx_slot_encode(disk_block(disks, disk, dpx_slot_block(g, slot)), g, disk, record);
    if (record->state != DPX_SLOT_CLAIMING && writer.generation <= record->who.generation &&
        !dpx_incarnation_equal(&writer, &record->who))
        put_notes_of(disks, disk, &record->who);
}

static inline void put_note(memory_disks *disks, uint32_t disk, uint32_t slot, uint64_t generation)
{
    put_notes_of(disks, disk, &(dpx_incarnation){.slot = slot, .generation = generation});
}

/* A fell silent (or its clock stands still), and B wants to know: from here B's next beat passes sentence. */
static inline void fall_silent(scene *s)
{
    const dpx_geometry *g = &s->disks.geometry;
    pass_time(s, dpx_dead_time(g->outage_tolerance, g->kill_grace, g->watchdog_timeout) + 6 * DPX_SECOND, 0);
    CHECK(dpx_peers_silent(s->b.world.peers, s->a.world.self.slot));
    CHECK(!dpx_peers_dead(s->b.world.peers, &s->a.world.self));
    dpx_peers_want(s->b.world.peers, &s->a.world.self, 0);
    s->disks.now += 5 * DPX_SECOND;
}

#endif
