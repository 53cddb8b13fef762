/* The common header, the checksum, and what makes a block trustworthy. */
#include "wire.h"

static bool all_zero(const uint8_t *data, size_t length)
{
    return data[0] == 0 && memcmp(data, data + 1, length - 1) == 0;
}

const char *dpx_flaw_text(dpx_flaw flaw)
{
    switch (flaw) {
    case DPX_SOUND:
        return "sound";
    case DPX_FLAW_ZEROED:
        return "all zeros";
    case DPX_FLAW_MAGIC:
        return "not a diskpaxos block";
    case DPX_FLAW_VERSION:
        return "unknown format version";
    case DPX_FLAW_CHECKSUM:
        return "wrong checksum";
    case DPX_FLAW_LOCKSPACE:
        return "block of another lockspace";
    case DPX_FLAW_KIND:
        return "block of another kind";
    case DPX_FLAW_DISK:
        return "block of another disk";
    case DPX_FLAW_INDEX:
        return "block of another place";
    case DPX_FLAW_FIELD:
        return "a field out of its range";
    }
    return "unknown flaw";
}

dpx_flaw dpx_block_intact(const void *data, size_t length)
{
    const dpx_disk_common *common = data;
    if (memcmp(common->magic, DPX_MAGIC, sizeof common->magic) != 0)
        return all_zero(data, length) ? DPX_FLAW_ZEROED : DPX_FLAW_MAGIC;
    if (dpx_load16(&common->version) != DPX_FORMAT_VERSION)
        return DPX_FLAW_VERSION;
    if (dpx_load32(&common->crc32c) != dpx_block_crc(data, length))
        return DPX_FLAW_CHECKSUM;
    return DPX_SOUND;
}

bool dpx_shape_sound(const dpx_disk_shape *shape, const dpx_geometry *geometry)
{
    return dpx_load32(&shape->block_size) == geometry->block_size &&
           dpx_load32(&shape->max_hosts) == geometry->max_hosts &&
           dpx_load32(&shape->max_leases) == geometry->max_leases && shape->disks == geometry->disks &&
           dpx_times_sound(dpx_load64(&shape->outage_tolerance), dpx_load64(&shape->kill_grace),
                           dpx_load64(&shape->watchdog_timeout), dpx_load64(&shape->claim_time));
}

static bool slot_sound(const dpx_disk_slot *block, const dpx_geometry *geometry, uint64_t index)
{
    uint32_t slot = dpx_load32(&block->slot);
    return slot < geometry->max_hosts && dpx_slot_block(geometry, slot) == index &&
           block->state <= DPX_SLOT_ACTIVE && dpx_load32(&block->notices) <= geometry->max_hosts &&
           dpx_shape_sound(&block->shape, geometry) &&
           dpx_text_sound(block->host_name, block->host_name_length, DPX_HOST_NAME_MAX) &&
           dpx_text_sound(block->space_name, block->space_name_length, DPX_SPACE_NAME_MAX);
}

static bool header_sound(const dpx_disk_header *block, const dpx_geometry *geometry, uint64_t index)
{
    uint32_t area = dpx_load32(&block->area);
    return area < geometry->max_leases && dpx_header_block(geometry, area) == index &&
           block->state <= DPX_LEASE_TOMBSTONE && dpx_shape_sound(&block->shape, geometry) &&
           (block->state != DPX_LEASE_IN_USE || block->name_length > 0) &&
           dpx_text_sound(block->name, block->name_length, DPX_LEASE_NAME_MAX);
}

static bool own_sound(const dpx_disk_own *block, const dpx_geometry *geometry, uint64_t index)
{
    uint32_t slot = dpx_load32(&block->slot);
    uint32_t area = dpx_load32(&block->area);
    uint64_t ballot = dpx_load64(&block->ballot);
    uint64_t hold = dpx_load64(&block->hold);
    return slot < geometry->max_hosts && area < geometry->max_leases &&
           dpx_own_block(geometry, area, slot) == index &&
           dpx_load32(&block->target) < geometry->max_leases && block->mode <= DPX_MODE_EXCLUSIVE &&
           (hold == 0 || block->mode != DPX_MODE_NONE) && hold <= ballot &&
           dpx_load64(&block->last_exclusive) <= ballot && dpx_load64(&block->certainly_taken) <= ballot &&
           block->value_length <= DPX_VALUE_MAX && block->taken <= (hold != 0) &&
           dpx_text_sound(block->label, block->label_length, sizeof block->label);
}

static bool fields_sound(const void *data, const dpx_geometry *geometry, enum dpx_kind kind, uint64_t index)
{
    switch (kind) {
    case DPX_KIND_SUPERBLOCK:
        return dpx_superblock_check(data, geometry) == DPX_SOUND;
    case DPX_KIND_SLOT:
        return slot_sound(data, geometry, index);
    case DPX_KIND_NOTICE:
        return dpx_place_of(geometry, index).kind == DPX_KIND_NOTICE;
    case DPX_KIND_GROUP:
        return dpx_place_of(geometry, index).kind == DPX_KIND_GROUP &&
               dpx_load32(&((const dpx_disk_group *)data)->group) == dpx_place_of(geometry, index).group;
    case DPX_KIND_HEADER:
        return header_sound(data, geometry, index);
    case DPX_KIND_OWN:
        return own_sound(data, geometry, index);
    }
    return false;
}

dpx_flaw dpx_block_check(const void *data, const dpx_geometry *geometry, enum dpx_kind kind, uint32_t disk,
                         uint64_t index)
{
    const dpx_disk_common *common = data;
    dpx_flaw flaw = dpx_block_intact(data, geometry->block_size);
    if (flaw != DPX_SOUND)
        return flaw;
    if (memcmp(&common->lockspace, &geometry->uuid, sizeof geometry->uuid) != 0)
        return DPX_FLAW_LOCKSPACE;
    if (common->kind != kind)
        return DPX_FLAW_KIND;
    if (common->disk != disk)
        return DPX_FLAW_DISK;
    if (dpx_load64(&common->index) != index)
        return DPX_FLAW_INDEX;
    return fields_sound(data, geometry, kind, index) ? DPX_SOUND : DPX_FLAW_FIELD;
}

void dpx_block_open(void *data, const dpx_geometry *geometry, enum dpx_kind kind, uint32_t disk,
                    uint64_t index, uint64_t generation, uint64_t sequence, uint64_t written_at)
{
    assert(disk < geometry->disks);
    dpx_disk_common *common = data;
    memset(data, 0, geometry->block_size);
    memcpy(common->magic, DPX_MAGIC, sizeof common->magic);
    dpx_store16(&common->version, DPX_FORMAT_VERSION);
    common->kind = (uint8_t)kind;
    common->disk = (uint8_t)disk;
    common->lockspace = geometry->uuid;
    dpx_store64(&common->index, index);
    dpx_store64(&common->generation, generation);
    dpx_store64(&common->sequence, sequence);
    dpx_store64(&common->written_at, written_at);
}

void dpx_block_seal(void *data, const dpx_geometry *geometry)
{
    dpx_disk_common *common = data;
    dpx_store32(&common->crc32c, dpx_block_crc(data, geometry->block_size));
}

uint32_t dpx_block_checksum(const void *data)
{
    const dpx_disk_common *common = data;
    return dpx_load32(&common->crc32c);
}

uint32_t dpx_block_identity(const void *data, const dpx_geometry *geometry, bool sound)
{
    uint32_t name = sound ? dpx_block_checksum(data) : dpx_crc32c(0, data, geometry->block_size);
    return name != 0 ? name : 1;
}

dpx_key dpx_block_key(const void *data)
{
    const uint8_t *block = data;
    return (dpx_key){.kind = block[offsetof(dpx_disk_common, kind)],
                     .index = dpx_load64(block + offsetof(dpx_disk_common, index)),
                     .generation = dpx_load64(block + offsetof(dpx_disk_common, generation)),
                     .sequence = dpx_load64(block + offsetof(dpx_disk_common, sequence))};
}
