/* Where everything lies, and which numbers a lockspace may be made of. */
#include "wire.h"

/* Far above any use, and low enough that sums of times cannot overflow: 416 days. */
#define LONGEST_TIME (UINT64_C(1) << 55)

static uint64_t aligned(uint64_t blocks, uint32_t block_size)
{
    uint64_t step = DPX_ALIGNMENT / block_size;
    return (blocks + step - 1) / step * step;
}

bool dpx_times_sound(uint64_t outage_tolerance, uint64_t kill_grace, uint64_t watchdog_timeout,
                     uint64_t claim_time)
{
    return outage_tolerance > 0 && outage_tolerance <= LONGEST_TIME && kill_grace > 0 &&
           kill_grace <= LONGEST_TIME && watchdog_timeout > 0 && watchdog_timeout <= kill_grace &&
           claim_time > 0 && claim_time <= LONGEST_TIME;
}

static bool counts_sound(const dpx_geometry *geometry)
{
    return (geometry->block_size == DPX_BLOCK_MIN || geometry->block_size == DPX_BLOCK_MAX) &&
           geometry->max_hosts >= DPX_MIN_HOSTS && geometry->max_hosts <= DPX_MAX_HOSTS &&
           geometry->max_leases >= DPX_MIN_LEASES && geometry->max_leases <= DPX_MAX_LEASES &&
           (geometry->disks == 1 || geometry->disks == 3 || geometry->disks == 5);
}

bool dpx_geometry_derive(dpx_geometry *geometry)
{
    if (!counts_sound(geometry) || !dpx_times_sound(geometry->outage_tolerance, geometry->kill_grace,
                                                    geometry->watchdog_timeout, geometry->claim_time))
        return false;
    size_t name = dpx_text_length(geometry->name, sizeof geometry->name);
    if (!dpx_text_sound((const uint8_t *)geometry->name, name, DPX_SPACE_NAME_MAX))
        return false;

    uint32_t block_size = geometry->block_size;
    uint32_t hosts = geometry->max_hosts;
    geometry->notice_entries = (block_size - (uint32_t)offsetof(dpx_disk_notice, entries)) / 8;
    geometry->notice_blocks = (hosts + geometry->notice_entries - 1) / geometry->notice_entries;
    geometry->slots_at = aligned(1, block_size);
    geometry->notices_at = geometry->slots_at + aligned(hosts, block_size);
    geometry->group_blocks = (hosts + DPX_GROUP_SLOTS - 1) / DPX_GROUP_SLOTS;
    geometry->groups_at =
        geometry->notices_at + aligned((uint64_t)hosts * geometry->notice_blocks, block_size);
    geometry->areas_at = geometry->groups_at + aligned(geometry->group_blocks, block_size);
    geometry->area_blocks = (uint32_t)aligned(1 + (uint64_t)hosts, block_size);
    geometry->total_blocks =
        geometry->areas_at + (uint64_t)geometry->max_leases * geometry->area_blocks;
    return true;
}

uint64_t dpx_slot_block(const dpx_geometry *geometry, uint32_t slot)
{
    assert(slot < geometry->max_hosts);
    return geometry->slots_at + slot;
}

uint64_t dpx_notice_block(const dpx_geometry *geometry, uint32_t slot, uint32_t part)
{
    assert(slot < geometry->max_hosts && part < geometry->notice_blocks);
    return geometry->notices_at + (uint64_t)part * geometry->max_hosts + slot;
}

uint64_t dpx_group_block(const dpx_geometry *geometry, uint32_t group)
{
    assert(group < geometry->group_blocks);
    return geometry->groups_at + group;
}

uint64_t dpx_header_block(const dpx_geometry *geometry, uint32_t area)
{
    assert(area < geometry->max_leases);
    return geometry->areas_at + (uint64_t)area * geometry->area_blocks;
}

uint64_t dpx_own_block(const dpx_geometry *geometry, uint32_t area, uint32_t slot)
{
    assert(slot < geometry->max_hosts);
    return dpx_header_block(geometry, area) + 1 + slot;
}

uint64_t dpx_dead_time(uint64_t outage_tolerance, uint64_t kill_grace, uint64_t watchdog_timeout)
{
    uint64_t lived = outage_tolerance + kill_grace + watchdog_timeout;
    return lived + (lived * 11 + 99) / 100 + (outage_tolerance + 7) / 8;
}

static dpx_place place_in_areas(const dpx_geometry *geometry, uint64_t offset)
{
    dpx_place place = {.area = (uint32_t)(offset / geometry->area_blocks)};
    uint32_t inside = (uint32_t)(offset % geometry->area_blocks);
    if (inside == 0) {
        place.kind = DPX_KIND_HEADER;
    } else if (inside <= geometry->max_hosts) {
        place.kind = DPX_KIND_OWN;
        place.slot = inside - 1;
    }
    return place;
}

dpx_place dpx_place_of(const dpx_geometry *geometry, uint64_t index)
{
    dpx_place place = {0};
    if (index >= geometry->total_blocks)
        return place;
    if (index >= geometry->areas_at)
        return place_in_areas(geometry, index - geometry->areas_at);
    if (index == 0) {
        place.kind = DPX_KIND_SUPERBLOCK;
    } else if (index >= geometry->groups_at) {
        place.group = (uint32_t)(index - geometry->groups_at);
        if (place.group < geometry->group_blocks)
            place.kind = DPX_KIND_GROUP;
    } else if (index >= geometry->notices_at) {
        uint64_t offset = index - geometry->notices_at;
        uint64_t part = offset / geometry->max_hosts;
        if (part < geometry->notice_blocks) {
            place.kind = DPX_KIND_NOTICE;
            place.slot = (uint32_t)(offset % geometry->max_hosts);
            place.part = (uint32_t)part;
        }
    } else if (index >= geometry->slots_at && index - geometry->slots_at < geometry->max_hosts) {
        place.kind = DPX_KIND_SLOT;
        place.slot = (uint32_t)(index - geometry->slots_at);
    }
    return place;
}
