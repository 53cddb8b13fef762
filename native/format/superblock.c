/* The superblock, and the shape of the lockspace that other blocks repeat from it. */
#include "wire.h"

void dpx_shape_store(dpx_disk_shape *shape, const dpx_geometry *geometry)
{
    dpx_store32(&shape->block_size, geometry->block_size);
    dpx_store32(&shape->max_hosts, geometry->max_hosts);
    dpx_store32(&shape->max_leases, geometry->max_leases);
    for (uint32_t i = 0; i < DPX_MAX_DISKS; i++)
        dpx_store32(&shape->disk_generation[i], geometry->disk_generation[i]);
    dpx_store64(&shape->outage_tolerance, geometry->outage_tolerance);
    dpx_store64(&shape->kill_grace, geometry->kill_grace);
    dpx_store64(&shape->watchdog_timeout, geometry->watchdog_timeout);
    dpx_store64(&shape->claim_time, geometry->claim_time);
    shape->disks = (uint8_t)geometry->disks;
}

void dpx_shape_load(const dpx_disk_shape *shape, dpx_geometry *geometry)
{
    geometry->block_size = dpx_load32(&shape->block_size);
    geometry->max_hosts = dpx_load32(&shape->max_hosts);
    geometry->max_leases = dpx_load32(&shape->max_leases);
    for (uint32_t i = 0; i < DPX_MAX_DISKS; i++)
        geometry->disk_generation[i] = dpx_load32(&shape->disk_generation[i]);
    geometry->outage_tolerance = dpx_load64(&shape->outage_tolerance);
    geometry->kill_grace = dpx_load64(&shape->kill_grace);
    geometry->watchdog_timeout = dpx_load64(&shape->watchdog_timeout);
    geometry->claim_time = dpx_load64(&shape->claim_time);
    geometry->disks = shape->disks;
}

dpx_flaw dpx_superblock_decode(const void *data, size_t length, dpx_geometry *geometry, uint32_t *disk,
                               uint64_t *sequence)
{
    const dpx_disk_superblock *block = data;
    assert(length >= sizeof *block);
    /* The checksum spans block_size bytes, and block_size is believed only through it: a
     * senseless one, or one that was not read in full, cannot be verified. */
    uint32_t block_size = dpx_load32(&block->shape.block_size);
    bool whole = (block_size == DPX_BLOCK_MIN || block_size == DPX_BLOCK_MAX) && block_size <= length;
    dpx_flaw flaw = dpx_block_intact(data, whole ? block_size : DPX_BLOCK_MIN);
    if (flaw != DPX_SOUND)
        return flaw;
    if (!whole)
        return DPX_FLAW_CHECKSUM;
    if (block->common.kind != DPX_KIND_SUPERBLOCK)
        return DPX_FLAW_KIND;
    if (dpx_load64(&block->common.index) != 0)
        return DPX_FLAW_INDEX;

    dpx_geometry found = {.uuid = block->common.lockspace};
    dpx_shape_load(&block->shape, &found);
    found.features_compatible = dpx_load64(&block->features_compatible);
    found.features_incompatible = dpx_load64(&block->features_incompatible);
    found.created_at = dpx_load64(&block->created_at);
    dpx_text_load(found.name, DPX_SPACE_NAME_MAX, block->name, block->name_length);
    if (block->name_length > DPX_SPACE_NAME_MAX || strlen(found.name) != block->name_length ||
        !dpx_geometry_derive(&found))
        return DPX_FLAW_FIELD;
    if (block->common.disk >= found.disks)
        return DPX_FLAW_DISK;
    if (dpx_load64(&block->common.generation) != found.disk_generation[block->common.disk])
        return DPX_FLAW_FIELD;
    *geometry = found;
    *disk = block->common.disk;
    *sequence = dpx_load64(&block->common.sequence);
    return DPX_SOUND;
}

/* A slot record there that is sound by the block size that it repeats itself.  0: none, else its size. */
static uint32_t sound_record(const uint8_t *records, size_t length, size_t offset, uint64_t slots_offset)
{
    const dpx_disk_slot *record = (const dpx_disk_slot *)(const void *)(records + offset);
    if (length - offset < sizeof *record)
        return 0;
    uint32_t size = dpx_load32(&record->shape.block_size);
    if ((size != DPX_BLOCK_MIN && size != DPX_BLOCK_MAX) || size > length - offset || offset % size != 0)
        return 0;
    bool sound = dpx_block_intact(record, size) == DPX_SOUND && record->common.kind == DPX_KIND_SLOT &&
                 dpx_load64(&record->common.index) * size == slots_offset + offset;
    return sound ? size : 0;
}

dpx_flaw dpx_superblock_belongs(const dpx_geometry *geometry, uint32_t disk, const void *records, size_t length)
{
    uint32_t own = 0, others = 0;
    dpx_flaw flaw = DPX_SOUND;
    for (size_t offset = 0; offset < length; offset += DPX_BLOCK_MIN) {
        const uint8_t *data = records;
        uint64_t slots_offset = geometry->slots_at * geometry->block_size;
        if (sound_record(data, length, offset, slots_offset) == 0)
            continue;
        const dpx_disk_common *common = (const dpx_disk_common *)(const void *)(data + offset);
        bool same = dpx_uuid_equal(&common->lockspace, &geometry->uuid);
        if (same && common->disk == disk)
            own++;
        else if (others++ == 0)
            flaw = same ? DPX_FLAW_DISK : DPX_FLAW_LOCKSPACE;
    }
    return others > own ? flaw : DPX_SOUND;
}

dpx_flaw dpx_superblock_check(const void *data, const dpx_geometry *geometry)
{
    const dpx_disk_superblock *block = data;
    dpx_geometry found;
    uint32_t disk;
    uint64_t sequence;
    dpx_flaw flaw = dpx_superblock_decode(data, geometry->block_size, &found, &disk, &sequence);
    if (flaw != DPX_SOUND)
        return flaw;
    return dpx_shape_sound(&block->shape, geometry) ? DPX_SOUND : DPX_FLAW_FIELD;
}

void dpx_superblock_encode(void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t sequence,
                           uint64_t written_at)
{
    assert(disk < geometry->disks);
    dpx_disk_superblock *block = data;
    dpx_block_open(data, geometry, DPX_KIND_SUPERBLOCK, disk, 0, geometry->disk_generation[disk], sequence,
                   written_at);
    dpx_shape_store(&block->shape, geometry);
    dpx_store64(&block->features_compatible, geometry->features_compatible);
    dpx_store64(&block->features_incompatible, geometry->features_incompatible);
    dpx_store64(&block->created_at, geometry->created_at);
    size_t length = dpx_text_length(geometry->name, DPX_SPACE_NAME_MAX);
    memcpy(block->name, geometry->name, length);
    block->name_length = (uint8_t)length;
    dpx_block_seal(data, geometry);
}
