/* Whole lockspace images: what real machines left behind, then edited as the input says.
 *
 * An input is records of 16 bytes.  The first one: which base image, which of its hosts still beat, and one I/O
 * to fail.  The others, in any order: edits of blocks (all before anything runs) and acts (one after another). */
#ifndef TESTS_FUZZ_IMAGE_H
#define TESTS_FUZZ_IMAGE_H

#include "../native/stage.h"
#include "fuzz.h"

enum { HOSTS = 4, AREAS = 4, NAMES = 4, RECORD = 16, BASES = 10 };

/* S: short, for the I/Os of those who wait for a death are most of what an execution costs. */
#define TOLERANCE (2 * DPX_SECOND)

typedef struct record {
    uint8_t what; /* below 128: an edit, else an act */
    uint8_t disks; /* bits; an edit of none is one of all */
    uint8_t block;
    uint8_t field;
    uint8_t how;
    uint8_t other;
    uint16_t at;
    uint64_t value;
} record;

static inline const char *lease_name(uint32_t n)
{
    static const char *const names[NAMES] = {"l0", "l1", "l2", "l3"};
    return names[n % NAMES];
}

/* ---- what machines left behind ---- */

typedef struct base {
    dpx_geometry geometry;
    uint8_t *blocks[DPX_MAX_DISKS];
    uint64_t now;
} base;

static inline void base_take(stage *s, uint32_t h, uint32_t name, enum dpx_mode mode)
{
    static dpx_lease leases[STAGE_HOSTS][NAMES];
    dpx_lease *lease = &leases[h][name];
    dpx_lease_reset(lease, lease_name(name), strlen(lease_name(name)));
    stage_change(s, h, DPX_CHANGE_CREATE, lease, (uint8_t)(1 + name), 0);
    dpx_lease_reset(lease, lease_name(name), strlen(lease_name(name)));
    dpx_wish wish = {.lease = lease, .mode = mode};
    MUST(stage_round(s, h, DPX_ROUND_TAKE, &wish, 1, 0, NULL) == DPX_DONE, "base: %u takes %u", h, name);
}

/* Cut short after so many I/Os, as by a crash: a create of l2, a claim. */
static inline void base_half(stage *s, uint32_t ios, bool claim)
{
    dpx_lease lease;
    dpx_lease_reset(&lease, "l2", 2);
    s->fault = FAULT_HANG_FAILED;
    s->fault_at = ios;
    if (claim)
        stage_claim(s, stage_prepare(s, 2, 3), 3, DPX_ANY_SLOT, false, 0);
    else
        stage_change(s, 1, DPX_CHANGE_CREATE, &lease, 3, 0);
    s->fault = FAULT_NONE;
}

static inline void base_story(stage *s, uint32_t story)
{
    if (story == 0)
        return; /* fresh */
    for (uint32_t h = 0; h < 2; h++)
        MUST(stage_join(s, h, (uint8_t)(1 + h)) == DPX_DONE, "base: %u joins", h);
    base_take(s, 0, 0, DPX_MODE_EXCLUSIVE);
    base_take(s, 0, 1, DPX_MODE_SHARED);
    base_take(s, 1, 1, DPX_MODE_SHARED);
    if (story == 2) { /* one of them died, its slot noticed and claimed again */
        stage_kill(s, 0);
        dpx_heart_retire(s->hosts[1].heart, s->hosts[0].world.self.slot, s->hosts[0].world.self.generation);
        stage_pass(s, TOLERANCE / 2);
        stage_join(s, 2, 3);
        stage_join(s, 3, 4);
    } else if (story == 3) {
        base_half(s, s->disks.geometry.disks == 1 ? 14 : 40, false);
    } else if (story == 4) {
        base_half(s, s->disks.geometry.disks == 1 ? 8 : 25, true);
    }
}

static inline const base *base_image(uint8_t which)
{
    static base bases[BASES];
    static stage s;
    base *made = &bases[which % BASES];
    if (made->now)
        return made;
    stage_open_timed(&s, which % BASES < BASES / 2 ? 1 : 3, HOSTS, AREAS, TOLERANCE);
    base_story(&s, which % (BASES / 2));
    made->geometry = s.disks.geometry;
    made->now = s.disks.now;
    size_t bytes = (size_t)made->geometry.total_blocks * made->geometry.block_size;
    for (uint32_t d = 0; d < made->geometry.disks; d++) {
        made->blocks[d] = malloc(bytes);
        memcpy(made->blocks[d], s.disks.blocks[d], bytes);
    }
    stage_close(&s);
    return made;
}

/* ---- edits ---- */

static inline uint64_t block_number(const dpx_geometry *geometry, uint8_t which)
{
    uint32_t n = which % (2 * HOSTS + AREAS * (1 + HOSTS));
    if (n < HOSTS)
        return dpx_slot_block(geometry, n);
    if (n < 2 * HOSTS)
        return dpx_notice_block(geometry, n - HOSTS, 0);
    n -= 2 * HOSTS;
    return dpx_header_block(geometry, n / (1 + HOSTS)) + n % (1 + HOSTS);
}

static inline void seal_here(uint8_t *block, const dpx_geometry *geometry)
{
    dpx_disk_common *common = (dpx_disk_common *)(void *)block;
    dpx_store32(&common->crc32c, 0);
    dpx_store32(&common->crc32c, dpx_crc32c(0, block, geometry->block_size));
}

static inline const dpx_field *field_of(uint8_t kind, uint8_t which)
{
    uint32_t count = 0;
    for (size_t i = 0; i < dpx_field_count; i++)
        count += dpx_fields[i].kind == 0 || dpx_fields[i].kind == kind;
    uint32_t n = which % count;
    for (size_t i = 0; i < dpx_field_count; i++)
        if ((dpx_fields[i].kind == 0 || dpx_fields[i].kind == kind) && n-- == 0)
            return &dpx_fields[i];
    return NULL;
}

static inline uint64_t load_field(const uint8_t *block, const dpx_field *field, size_t at)
{
    uint64_t value = 0; /* little-endian here: the fuzzer runs on x86 and ARM */
    memcpy(&value, block + field->offset + at, field->size < 8 ? field->size : 8);
    return value;
}

static inline void store_field(uint8_t *block, const dpx_field *field, size_t at, uint64_t value)
{
    memcpy(block + field->offset + at, &value, field->size < 8 ? field->size : 8);
}

static inline void edit_field(uint8_t *block, const uint8_t *other, uint8_t kind, const record *edit)
{
    const dpx_field *field = field_of(kind, edit->field);
    size_t at = field->count > 1 ? edit->at % field->count * field->size : 0;
    uint64_t old = load_field(block, field, at), theirs = load_field(other, field, at);
    uint64_t small = (uint64_t)(int64_t)(int8_t)edit->value;
    switch (edit->how % 6) {
    case 0: store_field(block, field, at, edit->value); break;
    case 1: store_field(block, field, at, old + small); break;
    case 2: store_field(block, field, at, theirs + small); break;
    case 3: store_field(block, field, at, old ^ UINT64_C(1) << edit->value % 64); break;
    case 4: memcpy(block + field->offset, other + field->offset, (size_t)field->size * field->count); break;
    default: block[field->offset + edit->at % ((uint32_t)field->size * field->count)] = (uint8_t)edit->value; break;
    }
}

/* Blocks of another kind, place or disk, made to fit in here or not. */
static inline void edit_block(uint8_t *block, const uint8_t *other, const dpx_geometry *geometry, uint32_t disk,
                              uint64_t index, const record *edit)
{
    uint8_t old[DPX_BLOCK_MAX];
    memcpy(old, block, geometry->block_size);
    switch (edit->how % 6) {
    case 0: memset(block, 0, geometry->block_size); break;
    case 1: memcpy(block, other, geometry->block_size); break;
    case 2: memcpy(block + edit->at % geometry->block_size, other + edit->at % geometry->block_size,
                   geometry->block_size - edit->at % geometry->block_size); break;
    case 3: block[edit->at % geometry->block_size] ^= (uint8_t)(edit->value | 1); break;
    case 4: dpx_empty_encode(block, geometry, disk, index, 0); break;
    default: /* another slot's or area's content, as if it were this place's */
        memcpy(block, other, geometry->block_size);
        memcpy(block, old, offsetof(dpx_disk_common, generation));
        memcpy(block + sizeof(dpx_disk_common), old + sizeof(dpx_disk_common), 8);
        seal_here(block, geometry);
    }
}

static inline void edit_image(stage *s, const record *edit)
{
    const dpx_geometry *geometry = &s->disks.geometry;
    uint64_t index = block_number(geometry, edit->block), from = block_number(geometry, edit->other);
    uint32_t all = (1u << geometry->disks) - 1, on = edit->disks & all;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        if (!((on ? on : all) >> d & 1))
            continue;
        uint8_t *block = disk_block(&s->disks, d, index);
        const uint8_t *other = disk_block(&s->disks, (d + (edit->disks >> 5)) % geometry->disks, from);
        if (edit->what < 96) {
            edit_field(block, other, dpx_place_of(geometry, index).kind, edit);
            if (edit->how < 240)
                seal_here(block, geometry);
        } else if (other != block || edit->how % 6 == 0 || edit->how % 6 > 2) {
            uint8_t copy[DPX_BLOCK_MAX];
            memcpy(copy, other, geometry->block_size);
            edit_block(block, copy, geometry, d, index, edit);
        }
    }
}

#endif
