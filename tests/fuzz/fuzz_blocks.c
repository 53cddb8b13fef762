/* The codec of each kind of block over arbitrary bytes, one program per TARGET (Makefile).
 *
 * Beyond "no crash": what is called sound survives decode → encode → decode, and differs from what was
 * encoded in no field that anybody decodes; it is sound on no other disk, place, lockspace or as another
 * kind; and no one, two or three flipped bits in it go unnoticed (CRC-32C promises that at these lengths). */
#include "fuzz.h"

/* A block of this kind at a place of the input's choice: as it comes, or made right in all that the checks
 * look at before the fields, so that those are met. */
static uint64_t block_of(input *in, const dpx_geometry *geometry, enum dpx_kind kind, uint32_t *disk, uint8_t *block)
{
    uint32_t way = take8(in);
    uint32_t slot = take32(in) % geometry->max_hosts, area = take32(in) % geometry->max_leases;
    uint64_t index = 0;
    *disk = (way >> 4) % geometry->disks;
    if (kind == DPX_KIND_SLOT)
        index = dpx_slot_block(geometry, slot);
    else if (kind == DPX_KIND_NOTICE)
        index = dpx_notice_block(geometry, slot, area % geometry->notice_blocks);
    else if (kind == DPX_KIND_HEADER)
        index = dpx_header_block(geometry, area);
    else if (kind == DPX_KIND_OWN)
        index = dpx_own_block(geometry, area, slot);
    if (index == 0)
        dpx_superblock_encode(block, geometry, *disk, 1, 1);
    else
        dpx_empty_encode(block, geometry, *disk, index, 1);
    if (way & 1) { /* the input lies over a valid block … */
        for (uint32_t edits = 0; edits < 64 && in->left >= 3; edits++) {
            uint32_t at = (take8(in) | (uint32_t)take8(in) << 8) % geometry->block_size;
            block[at] = take8(in);
        }
    } else { /* … or is one */
        take_bytes(in, block, geometry->block_size);
    }
    if (way & 2) {
        dpx_disk_common *common = (dpx_disk_common *)(void *)block;
        memcpy(common->magic, DPX_MAGIC, sizeof common->magic);
        dpx_store16(&common->version, DPX_FORMAT_VERSION);
        common->kind = (uint8_t)kind;
        common->disk = (uint8_t)*disk;
        common->lockspace = geometry->uuid;
        dpx_store64(&common->index, index);
    }
    if (way & 4)
        dpx_block_seal(block, geometry);
    return index;
}

/* Everything about a sound block that needs no knowledge of its fields. */
static void sound_only_here(input *in, const dpx_geometry *geometry, enum dpx_kind kind, uint32_t disk, uint64_t index,
                            uint8_t *block)
{
    dpx_geometry other = *geometry;
    uint8_t before[BLOCK_MAX];
    other.uuid.bytes[take8(in) % 16] ^= (uint8_t)(1 + take8(in) % 255);
    MUST(memcmp(block, DPX_MAGIC, 8) == 0, "no magic");
    MUST(dpx_block_crc(block, geometry->block_size) == dpx_load32(block + offsetof(dpx_disk_common, crc32c)), "crc");
    MUST(dpx_block_check(block, &other, kind, disk, index) != DPX_SOUND, "in another lockspace");
    MUST(dpx_block_check(block, geometry, kind, disk + 1, index) != DPX_SOUND, "on another disk");
    MUST(dpx_block_check(block, geometry, kind, disk, index + 1) != DPX_SOUND, "at another place");
    for (uint32_t k = 0; k <= DPX_KIND_GROUP + 1; k++)
        MUST(k == kind || dpx_block_check(block, geometry, (enum dpx_kind)k, disk, index) != DPX_SOUND,
            "as kind %u", k);
    memcpy(before, block, geometry->block_size);
    for (uint32_t flips = 1 + take8(in) % 3; flips > 0; flips--) {
        uint32_t bit = take32(in) % (geometry->block_size * 8);
        block[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    MUST(memcmp(before, block, geometry->block_size) == 0 ||
             dpx_block_check(block, geometry, kind, disk, index) != DPX_SOUND, "flipped bits unnoticed");
    memcpy(block, before, geometry->block_size);
}

/* No decoder carries these: unused so far, or not its subject. */
static bool carried(const dpx_field *field, enum dpx_kind kind)
{
    static const char *const others[] = {"mailbox", "value", "space_name", "crc32c", "claim_time", "disk_generation"};
    static const char *const times[] = {"outage_tolerance", "kill_grace", "watchdog_timeout"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strncmp(field->name, others[i], strlen(others[i])) == 0)
            return false;
    if (strstr(field->name, "reserved"))
        return false;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        if (kind == DPX_KIND_HEADER && strcmp(field->name, times[i]) == 0)
            return false;
    return field->type != 's'; /* the tail of a text, beyond its length, is nobody's */
}

/* b was encoded from what a's decoder said: no field that is carried may differ. */
static void same_fields(const uint8_t *a, const uint8_t *b, enum dpx_kind kind)
{
    for (size_t i = 0; i < dpx_field_count; i++) {
        const dpx_field *field = &dpx_fields[i];
        size_t size = (size_t)field->size * field->count;
        if ((field->kind == 0 || field->kind == kind) && carried(field, kind))
            MUST(memcmp(a + field->offset, b + field->offset, size) == 0, "field %s of kind %d", field->name, kind);
    }
}

#if defined(TARGET_SLOT)
#define KIND DPX_KIND_SLOT
typedef dpx_slot_record record_t;
static void decode(const uint8_t *block, const dpx_geometry *geometry, record_t *record)
{
    (void)geometry;
    dpx_slot_decode(block, record);
}
static void encode(uint8_t *block, const dpx_geometry *geometry, uint32_t disk, uint64_t index, const record_t *record)
{
    (void)index;
    dpx_slot_encode(block, geometry, disk, record);
}
#elif defined(TARGET_HEADER)
#define KIND DPX_KIND_HEADER
typedef dpx_header record_t;
static void decode(const uint8_t *block, const dpx_geometry *geometry, record_t *record)
{
    (void)geometry;
    dpx_header_decode(block, record);
}
static void encode(uint8_t *block, const dpx_geometry *geometry, uint32_t disk, uint64_t index, const record_t *record)
{
    (void)index;
    dpx_header_encode(block, geometry, disk, record);
}
#elif defined(TARGET_OWN)
#define KIND DPX_KIND_OWN
typedef dpx_own record_t;
static void decode(const uint8_t *block, const dpx_geometry *geometry, record_t *record)
{
    (void)geometry;
    dpx_own_decode(block, record);
}
static void encode(uint8_t *block, const dpx_geometry *geometry, uint32_t disk, uint64_t index, const record_t *record)
{
    (void)index;
    dpx_own_encode(block, geometry, disk, record);
}
#elif defined(TARGET_NOTICE)
#define KIND DPX_KIND_NOTICE
typedef struct {
    dpx_incarnation who;
    uint64_t sequence, written_at;
    dpx_notice entries[BLOCK_MAX / 8];
} record_t;
static void decode(const uint8_t *block, const dpx_geometry *geometry, record_t *record)
{
    dpx_notice_decode(block, geometry, &record->who, &record->sequence, record->entries);
    record->written_at = dpx_load64(block + offsetof(dpx_disk_common, written_at));
}
static void encode(uint8_t *block, const dpx_geometry *geometry, uint32_t disk, uint64_t index, const record_t *record)
{
    dpx_place place = dpx_place_of(geometry, index);
    dpx_notice_encode(block, geometry, disk, place.part, &record->who, record->sequence, record->written_at,
                      record->entries);
}
#endif

#ifdef KIND
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(64) uint8_t block[BLOCK_MAX], again[BLOCK_MAX], third[BLOCK_MAX];
    static record_t record, second;
    input in = {data, size};
    dpx_geometry geometry = shape_of(&in);
    uint32_t disk;
    uint64_t index = block_of(&in, &geometry, KIND, &disk, block);
    dpx_key key = dpx_block_key(block);
    decode(block, &geometry, &record); /* also of what is damaged: `rewrite` and inspection do */
    if (dpx_block_check(block, &geometry, KIND, disk, index) != DPX_SOUND)
        return 0;
    MUST(key.kind == KIND && key.index == index, "key of another block");
    sound_only_here(&in, &geometry, KIND, disk, index, block);
    encode(again, &geometry, disk, index, &record);
    MUST(dpx_block_check(again, &geometry, KIND, disk, index) == DPX_SOUND, "encoded, and not sound");
    same_fields(block, again, KIND);
    decode(again, &geometry, &second);
    encode(third, &geometry, disk, index, &second);
    MUST(memcmp(again, third, geometry.block_size) == 0, "not stable");
    dpx_key other = dpx_block_key(third);
    MUST(dpx_copy_order(key.generation, key.sequence, other.generation, other.sequence) == 0, "another key");
    return 0;
}
#endif

#ifdef TARGET_SUPERBLOCK
/* Geometry and place of every block number, there and back. */
static void places(input *in, const dpx_geometry *geometry)
{
    uint64_t index = take64(in) % (geometry->total_blocks + 8);
    dpx_place place = dpx_place_of(geometry, index);
    uint64_t back = index;
    if (place.kind == DPX_KIND_SLOT)
        back = dpx_slot_block(geometry, place.slot);
    else if (place.kind == DPX_KIND_NOTICE)
        back = dpx_notice_block(geometry, place.slot, place.part);
    else if (place.kind == DPX_KIND_GROUP)
        back = dpx_group_block(geometry, place.group);
    else if (place.kind == DPX_KIND_HEADER)
        back = dpx_header_block(geometry, place.area);
    else if (place.kind == DPX_KIND_OWN)
        back = dpx_own_block(geometry, place.area, place.slot);
    MUST(back == index, "block %llu comes back as %llu", (unsigned long long)index, (unsigned long long)back);
    MUST(index < geometry->total_blocks || place.kind == 0, "something beyond the end");
    uint32_t last = geometry->max_hosts - 1;
    MUST(dpx_slot_block(geometry, last) < geometry->notices_at, "slots run into notices");
    MUST(dpx_notice_block(geometry, last, geometry->notice_blocks - 1) < geometry->groups_at, "notices into groups");
    MUST(dpx_group_block(geometry, geometry->group_blocks - 1) < geometry->areas_at, "groups into areas");
    MUST(dpx_own_block(geometry, geometry->max_leases - 1, last) < geometry->total_blocks, "areas beyond the end");
    MUST(geometry->notice_blocks * (uint64_t)geometry->notice_entries >= geometry->max_hosts, "too few notices");
    MUST(geometry->areas_at * geometry->block_size % DPX_ALIGNMENT == 0, "areas not aligned");
    MUST(dpx_home_area(geometry, (const char *)in->data, in->left) < geometry->max_leases, "home area");
    uint64_t s = geometry->outage_tolerance, k = geometry->kill_grace, w = geometry->watchdog_timeout;
    MUST(dpx_dead_time(s, k, w) >= s + k + w, "dead before its time");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static _Alignas(64) uint8_t block[BLOCK_MAX], again[BLOCK_MAX], third[BLOCK_MAX];
    input in = {data, size};
    dpx_geometry geometry = shape_of(&in), found = {0}, second = {0};
    uint32_t disk, index, same;
    uint64_t sequence, again_sequence;
    block_of(&in, &geometry, DPX_KIND_SUPERBLOCK, &disk, block);
    size_t length = take8(&in) & 1 ? DPX_BLOCK_MIN : BLOCK_MAX;
    uint8_t *exact = malloc(length); /* not a byte more, as the sanitizer sees */
    memcpy(exact, block, length);
    dpx_flaw flaw = dpx_superblock_decode(exact, length, &found, &index, &sequence);
    free(exact);
    if (flaw != DPX_SOUND)
        return 0;
    MUST(index < found.disks && found.block_size <= length, "a superblock of nowhere");
    MUST(dpx_block_check(block, &found, DPX_KIND_SUPERBLOCK, index, 0) == DPX_SOUND, "sound by itself only");
    places(&in, &found);
    sound_only_here(&in, &found, DPX_KIND_SUPERBLOCK, index, 0, block);
    dpx_superblock_encode(again, &found, index, sequence, dpx_load64(block + offsetof(dpx_disk_common, written_at)));
    MUST(dpx_superblock_decode(again, found.block_size, &second, &same, &again_sequence) == DPX_SOUND, "encoded");
    MUST(same == index && again_sequence == sequence, "another disk or sequence");
    dpx_superblock_encode(third, &second, same, again_sequence,
                          dpx_load64(again + offsetof(dpx_disk_common, written_at)));
    MUST(memcmp(again, third, found.block_size) == 0, "not stable");
    same_fields(block, again, DPX_KIND_SUPERBLOCK);
    return 0;
}
#endif
