#include "notices.h"

static bool block_sound(const dpx_geometry *geometry, uint32_t disk, uint32_t slot, uint32_t part, const uint8_t *data)
{
    return dpx_block_check(data, geometry, DPX_KIND_NOTICE, disk, dpx_notice_block(geometry, slot, part)) == DPX_SOUND;
}

bool dpx_notices_of(const dpx_geometry *geometry, uint32_t disk, uint32_t slot, uint32_t part,
                    const dpx_incarnation *who, const uint8_t *data)
{
    if (!block_sound(geometry, disk, slot, part, data))
        return false;
    dpx_incarnation writer = dpx_notice_writer(data, slot);
    return dpx_incarnation_equal(&writer, who);
}

bool dpx_notices_certain(const dpx_geometry *geometry, uint32_t disk, uint32_t slot, uint32_t part, const uint8_t *row,
                         const uint8_t *data)
{
    dpx_slot_record record;
    if (!row)
        return false;
    dpx_slot_decode(row, &record);
    return dpx_notices_of(geometry, disk, slot, part, &record.who, data);
}

bool dpx_notices_believed(const dpx_geometry *geometry, uint32_t disk, uint32_t slot, uint32_t part,
                          const uint8_t *row, const uint8_t *data)
{
    if (!block_sound(geometry, disk, slot, part, data))
        return false;
    if (!row)
        return true;
    dpx_slot_record record;
    dpx_slot_decode(row, &record);
    dpx_incarnation writer = dpx_notice_writer(data, slot);
    return record.state == DPX_SLOT_CLAIMING || writer.generation > record.who.generation ||
           dpx_incarnation_equal(&writer, &record.who);
}

uint64_t dpx_notice_generation(uint32_t about, uint64_t near)
{
    uint64_t span = (uint64_t)DPX_NOTICE_GENERATION + 1;
    uint64_t full = near - near % span + (about & DPX_NOTICE_GENERATION);
    if (full + span / 2 < near)
        full += span;
    else if (full > near + span / 2 && full >= span)
        full -= span;
    return full;
}
