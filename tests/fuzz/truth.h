/* What an image says to one who sees all disks at once, and what no verdict may contradict.
 *
 * Only what is *settled* counts: a majority of the disks shows the same newest copy, so that every majority that
 * anybody reads shows it too. */
#ifndef TESTS_FUZZ_TRUTH_H
#define TESTS_FUZZ_TRUTH_H

#include "image.h"

typedef struct owner {
    bool beats; /* a host of the image that lives on: its lease blocks stay as they are */
    dpx_slot_record record;
} owner;

static owner owners[HOSTS];

static inline bool copy_of(stage *s, uint32_t disk, uint64_t index, enum dpx_kind kind, const uint8_t **block)
{
    *block = disk_block(&s->disks, disk, index);
    return memcmp(*block, DPX_MAGIC, 8) == 0 && /* said twice: the check is among what is tested */
           dpx_block_check(*block, &s->disks.geometry, kind, disk, index) == DPX_SOUND;
}

/* The copy that every majority shows as the newest; NULL: it depends. */
static inline const uint8_t *settled(stage *s, uint64_t index, enum dpx_kind kind)
{
    const dpx_geometry *geometry = &s->disks.geometry;
    const uint8_t *newest = NULL, *block;
    dpx_key key = {0};
    for (uint32_t d = 0; d < geometry->disks; d++) {
        if (!copy_of(s, d, index, kind, &block))
            continue;
        dpx_key copy = dpx_block_key(block);
        if (!newest || dpx_copy_order(copy.generation, copy.sequence, key.generation, key.sequence) > 0) {
            newest = block;
            key = copy;
        }
    }
    uint32_t same = 0;
    for (uint32_t d = 0; newest && d < geometry->disks; d++)
        same += copy_of(s, d, index, kind, &block) &&
                memcmp(block + sizeof(dpx_disk_common), newest + sizeof(dpx_disk_common),
                       geometry->block_size - sizeof(dpx_disk_common)) == 0 &&
                memcmp(block + 40, newest + 40, 16) == 0; /* generation and sequence */
    return same > geometry->disks / 2 ? newest : NULL;
}

static inline bool settled_own(stage *s, uint32_t area, uint32_t slot, dpx_own *own)
{
    const uint8_t *block = settled(s, dpx_own_block(&s->disks.geometry, area, slot), DPX_KIND_OWN);
    if (block)
        dpx_own_decode(block, own);
    return block != NULL;
}

static inline bool settled_header(stage *s, uint32_t area, dpx_header *header)
{
    const uint8_t *block = settled(s, dpx_header_block(&s->disks.geometry, area), DPX_KIND_HEADER);
    if (block)
        dpx_header_decode(block, header);
    return block != NULL;
}

/* Disks on which every block of the area is sound. */
static inline uint32_t sound_disks(stage *s, uint32_t area)
{
    const dpx_geometry *geometry = &s->disks.geometry;
    uint32_t count = 0;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        const uint8_t *block;
        bool sound = true;
        for (uint32_t n = 0; n < 1 + HOSTS; n++)
            sound &= copy_of(s, d, dpx_header_block(geometry, area) + n, n ? DPX_KIND_OWN : DPX_KIND_HEADER, &block);
        count += sound;
    }
    return count;
}

/* ---- hosts of the image that live on ---- */

/* Some notice says that this generation is dead: its owner would have ended by it. */
static inline bool noticed(stage *s, uint32_t slot, uint64_t generation)
{
    for (uint32_t d = 0; d < s->disks.geometry.disks; d++) {
        for (uint32_t writer = 0; writer < HOSTS; writer++) {
            const uint8_t *block;
            if (!copy_of(s, d, dpx_notice_block(&s->disks.geometry, writer, 0), DPX_KIND_NOTICE, &block))
                continue;
            uint32_t about = dpx_notice_entry(block, slot).about;
            uint32_t ahead = (about - (uint32_t)generation) & DPX_NOTICE_GENERATION;
            if (about != 0 && ahead <= DPX_NOTICE_GENERATION / 2)
                return true;
            if (writer == slot && dpx_block_key(block).generation > generation)
                return true; /* somebody was its owner since */
        }
    }
    return false;
}

static inline void meet_owner(stage *s, uint32_t slot)
{
    const dpx_geometry *geometry = &s->disks.geometry;
    const uint64_t high = UINT64_C(1) << 62;
    const uint8_t *block = settled(s, dpx_slot_block(geometry, slot), DPX_KIND_SLOT);
    owner *o = &owners[slot];
    if (!block)
        return;
    dpx_slot_decode(block, &o->record);
    const dpx_slot_record *r = &o->record;
    o->beats = r->state == DPX_SLOT_ACTIVE && r->sequence < high && r->counter < high && r->who.generation < high &&
               r->outage_tolerance == geometry->outage_tolerance && r->kill_grace == geometry->kill_grace &&
               r->watchdog_timeout == geometry->watchdog_timeout && !noticed(s, slot, r->who.generation);
    for (uint32_t d = 0; d < geometry->disks; d++) {
        dpx_slot_record copy;
        if (!copy_of(s, d, dpx_slot_block(geometry, slot), DPX_KIND_SLOT, &block))
            continue;
        dpx_slot_decode(block, &copy); /* nothing there that would have ended it */
        o->beats &= dpx_incarnation_equal(&copy.who, &r->who) && copy.state == DPX_SLOT_ACTIVE;
    }
}

static inline void owners_beat(stage *s)
{
    s->tick_at = s->disks.now + s->disks.geometry.outage_tolerance / 8;
    for (uint32_t slot = 0; slot < HOSTS; slot++) {
        if (!owners[slot].beats)
            continue;
        owners[slot].record.counter++;
        owners[slot].record.sequence++;
        for (uint32_t d = 0; d < s->disks.geometry.disks; d++)
            dpx_slot_encode(disk_block(&s->disks, d, dpx_slot_block(&s->disks.geometry, slot)), &s->disks.geometry, d,
                            &owners[slot].record);
    }
}

/* ---- verdicts ---- */

/* A lease was reported taken: nothing settled may speak against it. */
static inline void judge_taken(stage *s, const memory_host *host, const dpx_wish *wish)
{
    uint32_t area = wish->lease->header.area, self = host->world.self.slot;
    bool exclusive = wish->mode == DPX_MODE_EXCLUSIVE;
    dpx_header header;
    dpx_own own;
    MUST(s->disks.now < host->world.lifetime_end && !host->world.finished, "taken by a dead one");
    MUST(sound_disks(s, area) > s->disks.geometry.disks / 2, "area %u: taken over damaged blocks", area);
    MUST(settled_own(s, area, self, &own) && own.hold != 0 && own.mode == wish->mode &&
             dpx_incarnation_equal(&own.who, &host->world.self), "area %u: taken, and no majority shows it", area);
    MUST(own.ballot < DPX_BALLOT_CEILING + DPX_BALLOT_SLOTS * DPX_BALLOT_SLOTS, "a ballot beyond the ceiling");
    if (settled_header(s, area, &header)) {
        MUST(header.state == DPX_LEASE_IN_USE, "area %u: taken, and not in use", area);
        MUST(header.name_length == wish->lease->name_length &&
                 memcmp(header.name, wish->lease->name, header.name_length) == 0, "area %u: taken by a wrong name",
                     area);
        MUST(wish->token > header.first_ballot, "a token of another lease's life");
        MUST(!wish->resume || dpx_uuid_equal(&header.lease, &wish->resume_lease), "resumed another lease");
    }
    for (uint32_t slot = 0; slot < HOSTS; slot++) {
        dpx_own theirs;
        if (settled_header(s, area, &header) && settled_own(s, area, slot, &theirs) && theirs.who.generation != 0)
            MUST(theirs.directory_token <= header.directory_token, "area %u: an outdated header believed", area);
        if (slot == self || !settled_own(s, area, slot, &theirs) || theirs.who.generation == 0)
            continue;
        bool conflicts = theirs.hold != 0 && (exclusive || theirs.mode == DPX_MODE_EXCLUSIVE);
        MUST(!(owners[slot].beats && conflicts && dpx_incarnation_equal(&theirs.who, &owners[slot].record.who)),
             "area %u: taken although slot %u, alive, holds it", area, slot);
        MUST(!exclusive || theirs.ballot < wish->token, "area %u: slot %u had a higher ballot", area, slot);
        MUST(theirs.last_exclusive <= wish->token, "area %u: a token below slot %u's", area, slot);
        MUST(!wish->resume || theirs.last_exclusive <= wish->resume_token, "resumed over slot %u", slot);
    }
}

/* A name was reported missing: the search for it must not have gone past what is damaged, or found. */
static inline void judge_missing(stage *s, const dpx_lease *lease)
{
    const dpx_geometry *geometry = &s->disks.geometry;
    uint32_t area = dpx_home_area(geometry, lease->name, lease->name_length);
    for (uint32_t n = 0; n < geometry->max_leases; n++, area = (area + 1) % geometry->max_leases) {
        dpx_header header;
        MUST(sound_disks(s, area) > geometry->disks / 2, "area %u: searched although damaged", area);
        if (!settled_header(s, area, &header))
            return;
        MUST(header.state != DPX_LEASE_IN_USE || header.name_length != lease->name_length ||
                 memcmp(header.name, lease->name, header.name_length) != 0, "area %u: not found, and there", area);
        if (header.state == DPX_LEASE_FREE)
            return;
    }
}

/* ---- writes ---- */

static bool changing;      /* the act that runs may write headers */
static bool claims_others; /* … or claims a slot beside its own */

/* When it is issued. */
static inline void judge_write(stage *s, const memory_host *host, uint32_t disk, const dpx_extent *extent)
{
    const dpx_geometry *geometry = &s->disks.geometry;
    dpx_place place = dpx_place_of(geometry, extent->block);
    dpx_own own;
    MUST(extent->count == 1 && place.kind != 0 && place.kind != DPX_KIND_SUPERBLOCK, "block %llu written",
         (unsigned long long)extent->block);
    MUST(dpx_block_check(extent->data, geometry, (enum dpx_kind)place.kind, disk, extent->block) == DPX_SOUND,
         "an unsound block written (kind %u)", place.kind);
    if (place.kind == DPX_KIND_HEADER) {
        MUST(changing, "a header written by a mere round");
        MUST(settled_own(s, DPX_DIRECTORY_AREA, host->world.self.slot, &own) && own.hold != 0 &&
                 own.mode == DPX_MODE_EXCLUSIVE, "a header written without the directory");
        MUST(settled_own(s, place.area, host->world.self.slot, &own) && own.hold != 0 && own.change_token != 0,
             "a header written without announcing it");
        return;
    }
    MUST(!owners[place.slot].beats, "a block of slot %u written, whose owner lives", place.slot);
    for (uint32_t h = 0; h < STAGE_HOSTS; h++)
        MUST(&s->hosts[h] == host || !s->lives[h] || s->hosts[h].world.finished ||
                 s->disks.now >= s->hosts[h].world.lifetime_end || s->hosts[h].world.self.slot != place.slot,
             "slot %u belongs to host %u", place.slot, h);
    bool helper = host < s->hosts || host >= s->hosts + STAGE_HOSTS;
    bool joined = !helper && s->lives[host - s->hosts];
    MUST(!helper || claims_others, "nobody's write");
    MUST(!joined || place.slot == host->world.self.slot, "slot %u is not the writer's", place.slot);
    if (place.kind == DPX_KIND_OWN) {
        dpx_own_decode(extent->data, &own);
        MUST(joined && dpx_incarnation_equal(&own.who, &host->world.self), "an own block of somebody else");
    }
}

#endif
