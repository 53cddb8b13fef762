/* The requests of a heartbeat: the look before it, the own notices, the own record with all that is read after it. */
#include "heart_state.h"

static uint8_t *part_of(uint8_t *blocks, const dpx_geometry *geometry, uint32_t part)
{
    return blocks + (size_t)part * geometry->block_size;
}

static void add_read(struct heart_channel *channel, uint64_t block, uint32_t count, uint8_t *data)
{
    channel->reads[channel->request.read_count++] = (dpx_extent){.block = block, .count = count, .data = data};
}

/* What every slot says of those that stand in this part: one run of blocks. */
static void add_part(struct heart_channel *channel, const dpx_geometry *geometry, uint32_t part, uint8_t *data)
{
    add_read(channel, dpx_notice_block(geometry, 0, part), geometry->max_hosts, data);
}

static void build_look(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    uint32_t self = heart->world->self.slot;
    channel->issued = heart->record.sequence;
    add_read(channel, 0, 1, channel->look[0]);
    add_read(channel, dpx_slot_block(geometry, self), 1, channel->look[1]);
    for (uint32_t part = 0; part < geometry->notice_blocks; part++)
        add_read(channel, dpx_notice_block(geometry, self, part), 1, part_of(channel->own_read, geometry, part));
    if (channel->claim != 0) /* nothing is written while that stands: what is said about us is read all the same */
        add_part(channel, geometry, self / geometry->notice_entries, channel->notices);
}

static void build_notices(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    for (uint32_t part = 0; part < geometry->notice_blocks; part++) {
        dpx_notice entries[DPX_BLOCK_MAX / 8] = {0};
        uint32_t first = part * geometry->notice_entries;
        uint8_t *data = part_of(channel->own_notices, geometry, part);
        for (uint32_t i = 0; i < geometry->notice_entries && first + i < geometry->max_hosts; i++)
            entries[i] = (dpx_notice){.about = heart->entries[first + i].about,
                                      .certificate = channel->certificates[first + i]};
        dpx_notice_encode(data, geometry, disk, part, &heart->world->self, heart->version, heart->world->wall,
                          entries);
        channel->writes[part] = (dpx_extent){
            .block = dpx_notice_block(geometry, heart->world->self.slot, part), .count = 1, .data = data};
    }
    channel->request.write_count = geometry->notice_blocks;
    channel->version = heart->version;
}

static void build_record(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    dpx_slot_record *record = &heart->record;
    uint32_t self = record->who.slot;
    record->counter++; /* every write is one of a kind, on whatever disk */
    record->sequence++;
    record->state = channel->link == LINK_FREE ? DPX_SLOT_FREE : DPX_SLOT_ACTIVE;
    record->written_at = heart->world->wall;
    heart->numbers.counter = record->counter;
    channel->counter = record->counter;
    channel->version = channel->durable;
    dpx_slot_encode(channel->record, geometry, disk, record);
    channel->writes[0] =
        (dpx_extent){.block = dpx_slot_block(geometry, self), .count = 1, .data = channel->record};
    channel->request.write_count = 1;
    if (channel->link == LINK_FREE)
        return;
    add_read(channel, dpx_slot_block(geometry, 0), geometry->max_hosts, channel->table[1 - channel->front]);
    add_part(channel, geometry, self / geometry->notice_entries, channel->notices);
    channel->others_part = dpx_heart_wanted_part(heart);
    if (channel->others_part < geometry->notice_blocks)
        add_part(channel, geometry, channel->others_part, channel->others);
}

dpx_request *dpx_heart_send(dpx_heart *heart, uint32_t disk)
{
    struct heart_channel *channel = &heart->channels[disk];
    channel->request = (dpx_request){.disk = disk, .writes = channel->writes, .reads = channel->reads,
                                     .outstanding = true};
    if (channel->link == LINK_LOOK)
        build_look(heart, disk);
    else if (channel->link == LINK_NOTICES)
        build_notices(heart, disk);
    else
        build_record(heart, disk);
    return &channel->request;
}
