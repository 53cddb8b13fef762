/* Many blocks at a time. */
#include "bulk.h"

#include "wire.h"

void dpx_bulk_empty(void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t first, uint64_t count,
                    uint64_t written_at)
{
    uint8_t *block = data;
    for (uint64_t i = 0; i < count; i++, block += geometry->block_size) {
        if (dpx_place_of(geometry, first + i).kind == DPX_KIND_SUPERBLOCK)
            memset(block, 0, geometry->block_size);
        else
            dpx_empty_encode(block, geometry, disk, first + i, written_at);
    }
}

uint64_t dpx_bulk_check(const void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t first,
                        uint64_t count, uint8_t *flaws)
{
    const uint8_t *block = data;
    uint64_t flawed = 0;
    for (uint64_t i = 0; i < count; i++, block += geometry->block_size) {
        dpx_place place = dpx_place_of(geometry, first + i);
        dpx_flaw flaw = DPX_SOUND;
        if (place.kind != 0)
            flaw = dpx_block_check(block, geometry, (enum dpx_kind)place.kind, disk, first + i);
        flaws[i] = (uint8_t)flaw;
        flawed += flaw != DPX_SOUND;
    }
    return flawed;
}

void dpx_bulk_seal(void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t count)
{
    uint8_t *block = data;
    for (uint64_t i = 0; i < count; i++, block += geometry->block_size) {
        dpx_disk_common *common = (dpx_disk_common *)(void *)block;
        if (memcmp(common->magic, DPX_MAGIC, sizeof common->magic) != 0)
            continue;
        common->disk = (uint8_t)disk;
        dpx_block_seal(block, geometry);
    }
}
