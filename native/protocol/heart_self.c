/* What the blocks of a disk say about this very incarnation: is it still a lockspace of ours, is the slot ours,
 * does anybody hold us dead. */
#include "heart_state.h"

/* Somebody knows better than we do.  If a free record of ours was issued anywhere, though it failed, that is what he
 * found: then we left. */
static void end_for(dpx_heart *heart, dpx_end reason)
{
    bool spent = false;
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++)
        spent |= heart->channels[d].spent;
    dpx_heart_end_with(heart, spent ? DPX_END_LEFT : reason);
}

static void heed_entry(dpx_heart *heart, uint32_t slot, uint32_t entry)
{
    dpx_world *world = heart->world;
    uint32_t about = entry & DPX_NOTICE_GENERATION;
    if (entry == 0)
        return;
    if (slot == world->self.slot) {
        /* About us, or about a claim that lay over our record: whoever wrote it holds all up to that
         * generation dead (in 31-bit arithmetic). */
        uint32_t ahead = (about - (uint32_t)world->self.generation) & DPX_NOTICE_GENERATION;
        if (ahead <= DPX_NOTICE_GENERATION / 2)
            end_for(heart, DPX_END_NOTICE);
        return;
    }
    const dpx_peer *peer = &world->peers->slots[slot];
    if ((entry & DPX_NOTICE_FENCED) && peer->seen &&
        about == (uint32_t)(peer->record.who.generation & DPX_NOTICE_GENERATION))
        dpx_peers_drained(world->peers, slot, peer->record.who.generation, DPX_DRAINED_FENCED);
}

/* ---- the look before the write ---- */

/* Nothing of this lockspace is here any more: it was formatted anew, or wiped; or this is another one of its disks.
 * What is merely damaged is not gone, it can be repaired; so can a superblock of zeros, or one of another disk, while
 * the own record stands behind it. */
static bool lockspace_gone(const dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    const struct heart_channel *channel = &heart->channels[disk];
    dpx_geometry found;
    uint32_t index;
    uint64_t sequence;
    dpx_flaw flaw = dpx_superblock_decode(channel->look[0], geometry->block_size, &found, &index, &sequence);
    uint64_t own = dpx_slot_block(geometry, heart->world->self.slot);
    dpx_flaw record = dpx_block_check(channel->look[1], geometry, DPX_KIND_SLOT, disk, own);
    if (flaw == DPX_SOUND && !dpx_uuid_equal(&found.uuid, &geometry->uuid))
        return true;
    if (flaw == DPX_SOUND)
        return index != disk && record != DPX_SOUND;
    return record == DPX_FLAW_LOCKSPACE || (record == DPX_FLAW_ZEROED && flaw == DPX_FLAW_ZEROED);
}

static uint32_t disks_gone(const dpx_heart *heart)
{
    uint32_t gone = 0;
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++)
        gone += heart->channels[d].gone;
    return gone;
}

/* The slot is another's: a higher generation, free, or another nonce at ours.  A claiming record is a void claim,
 * and a lower generation a ghost: the next heartbeat overwrites them. */
static bool replaced(const dpx_heart *heart, const dpx_slot_record *shown)
{
    const dpx_incarnation *self = &heart->world->self;
    if (shown->state == DPX_SLOT_CLAIMING || shown->who.generation < self->generation)
        return false;
    return shown->who.generation > self->generation || shown->state == DPX_SLOT_FREE ||
           !dpx_uuid_equal(&shown->who.nonce, &self->nonce);
}

/* ‡S21: our own notices, if they are damaged or lie under an earlier writer's, are written anew before the next record.
 * A later owner's are no late note: whoever has the slot by now, we left it, and know nothing of that.  Nor do we know
 * of notices of ours that this memory has not written yet. */
static void look_at_own_notices(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    const dpx_incarnation *self = &heart->world->self;
    for (uint32_t part = 0; part < geometry->notice_blocks; part++) {
        const uint8_t *data = channel->own_read + (size_t)part * geometry->block_size;
        bool ours = dpx_notices_of(geometry, disk, self->slot, part, self, data);
        if (!ours || dpx_block_key(data).sequence != channel->durable)
            channel->durable = 0;
        if (ours && dpx_block_key(data).sequence > heart->version)
            dpx_heart_end_with(heart, DPX_END_REVERTED);
        if (dpx_notices_believed(geometry, disk, self->slot, part, NULL, data) &&
            dpx_notice_writer(data, self->slot).generation > self->generation)
            end_for(heart, DPX_END_REPLACED);
    }
}

/* A claim of a later generation in our place is somebody's late write; or the slot is really being claimed, for we left
 * it, and went back to a memory of before.  A while shows which: who gets the slot is found in it, by a look that was
 * issued after it: an older one, whose answer we slept over, says nothing of who came since. */
static bool claim_may_hold(dpx_heart *heart, uint32_t disk, const dpx_slot_record *shown, uint64_t now)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    bool later = shown->state == DPX_SLOT_CLAIMING && shown->who.generation > heart->world->self.generation;
    uint32_t claim = later ? dpx_block_identity(channel->look[1], geometry, true) : 0;
    uint64_t longest = geometry->outage_tolerance / 2, patience = 3 * geometry->claim_time;
    if (claim != channel->claim)
        channel->claim_since = now;
    channel->claim = claim;
    return later && channel->request.read_issued_at < channel->claim_since + (patience < longest ? patience : longest);
}

/* Whoever says that we are dead holds us so. */
static void heed_while_waiting(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    const struct heart_channel *channel = &heart->channels[disk];
    uint32_t self = heart->world->self.slot;
    if (channel->request.read_count <= 2 + geometry->notice_blocks)
        return; /* the claim is news: they were not read yet */
    for (uint32_t slot = 0; slot < geometry->max_hosts; slot++) {
        const uint8_t *data = channel->notices + (size_t)slot * geometry->block_size;
        uint64_t block = dpx_notice_block(geometry, slot, self / geometry->notice_entries);
        if (slot != self && dpx_block_check(data, geometry, DPX_KIND_NOTICE, disk, block) == DPX_SOUND)
            heed_entry(heart, self, dpx_notice_entry(data, self % geometry->notice_entries).about);
    }
}

bool dpx_heart_look_ok(dpx_heart *heart, uint32_t disk, uint64_t now)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    uint32_t slot = heart->world->self.slot;
    dpx_slot_record shown;
    channel->yields = false;
    channel->gone = lockspace_gone(heart, disk);
    if (disks_gone(heart) >= dpx_majority(geometry))
        dpx_heart_end_with(heart, DPX_END_GONE);
    if (channel->gone)
        return false; /* and nothing is written there */
    look_at_own_notices(heart, disk);
    if (!dpx_record_sound(geometry, disk, slot, channel->look[1]))
        return heart->end == DPX_ALIVE; /* damage: the write mends it */
    dpx_slot_decode(channel->look[1], &shown);
    channel->yields = claim_may_hold(heart, disk, &shown, now);
    if (channel->yields) {
        heed_while_waiting(heart, disk);
        return false;
    }
    if (replaced(heart, &shown))
        end_for(heart, DPX_END_REPLACED);
    else if (dpx_incarnation_equal(&shown.who, &heart->world->self) && shown.sequence > channel->issued)
        dpx_heart_end_with(heart, DPX_END_REVERTED); /* ours, and we know nothing of it */
    return heart->end == DPX_ALIVE;
}

/* ---- what a table says about us ---- */

/* Our own record as the disk shows it.  True: it is the one just written there (‡S8). */
bool dpx_heart_record_stands(dpx_heart *heart, uint32_t disk)
{
    const struct heart_channel *channel = &heart->channels[disk];
    uint32_t slot = heart->world->self.slot;
    dpx_slot_record shown;
    if (!channel->sound[slot])
        return false;
    dpx_slot_decode(dpx_heart_row(channel, heart->world->geometry, slot), &shown);
    if (replaced(heart, &shown)) {
        dpx_heart_end_with(heart, DPX_END_REPLACED);
        return false;
    }
    return dpx_incarnation_equal(&shown.who, &heart->world->self) && shown.counter == channel->counter;
}

/* ---- notices about us ---- */

static void heed_block(dpx_heart *heart, const uint8_t *data, uint32_t part)
{
    const dpx_geometry *geometry = heart->world->geometry;
    uint32_t first = part * geometry->notice_entries;
    for (uint32_t i = 0; i < geometry->notice_entries && first + i < geometry->max_hosts; i++)
        heed_entry(heart, first + i, dpx_notice_entry(data, i).about);
}

/* Below it an owner may live, and the one that it names, if any, has held nobody dead yet: a claim's last record comes
 * before its first heartbeat. */
static bool hides_owner(const dpx_slot_record *record)
{
    return record->state != DPX_SLOT_ACTIVE || record->sequence == DPX_CLAIM_ACTIVE;
}

/* ‡S21: beside such a record, or a damaged one, a block is believed if it is known: the one that was believed before,
 * or that the own claim read; or once it has stood for S / 2, to the bit.  An owner that lives mends its notices much
 * sooner, whatever comes to lie over its record: so how long that has stood says nothing. */
static bool block_believed(const dpx_heart *heart, uint32_t disk, uint32_t slot, uint32_t block, bool stood)
{
    const dpx_geometry *geometry = heart->world->geometry;
    const struct heart_channel *channel = &heart->channels[disk];
    const uint8_t *data = channel->notices + (size_t)slot * geometry->block_size;
    const uint8_t *row = channel->sound[slot] ? dpx_heart_row(channel, geometry, slot) : NULL;
    dpx_slot_record record = {.state = DPX_SLOT_CLAIMING};
    if (dpx_notices_certain(geometry, disk, slot, heart->world->self.slot / geometry->notice_entries, row, data))
        return true;
    if (row)
        dpx_slot_decode(row, &record);
    return hides_owner(&record) && (block == channel->known[slot] || stood);
}

static void look_at_block(dpx_heart *heart, uint32_t disk, uint32_t slot, bool *nobody)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    const uint8_t *data = channel->notices + (size_t)slot * geometry->block_size;
    uint32_t self = heart->world->self.slot, part = self / geometry->notice_entries;
    uint64_t index = dpx_notice_block(geometry, slot, part);
    bool sound = dpx_block_check(data, geometry, DPX_KIND_NOTICE, disk, index) == DPX_SOUND;
    uint32_t block = dpx_block_identity(data, geometry, sound);
    uint32_t row = dpx_block_identity(dpx_heart_row(channel, geometry, slot), geometry, channel->sound[slot]);
    bool row_stood = row == channel->shown[slot];
    if (block != channel->blocks[slot])
        channel->stood_from[slot] = channel->table_completed;
    bool stood = channel->table_issued >= channel->stood_from[slot] + geometry->outage_tolerance / 2;
    channel->shown[slot] = row;
    channel->blocks[slot] = block;
    if (sound) /* whoever says that we are dead holds us so, whatever else it is worth */
        heed_entry(heart, self, dpx_notice_entry(data, self % geometry->notice_entries).about);
    if (sound && block_believed(heart, disk, slot, block, stood)) {
        heed_block(heart, data, part);
        channel->known[slot] = block;
        if (row_stood) /* that record was read before the block was, too */
            channel->clear[slot] = row;
    } else if (channel->clear[slot] != row) {
        *nobody = false;
    }
}

/* ‡S20: a block that cannot be believed may name us.  Unless it is known not to: whoever writes a notice writes his
 * record after it, and then looks at ours.  So while the record is the one under which the block said nothing of us
 * (or under which our generation was not there yet), nobody who wrote in it since has looked before our last write. */
bool dpx_heart_nobody_names_us(dpx_heart *heart, uint32_t disk)
{
    bool nobody = true;
    for (uint32_t slot = 0; slot < heart->world->geometry->max_hosts; slot++)
        if (slot != heart->world->self.slot)
            look_at_block(heart, disk, slot, &nobody);
    return nobody && heart->end == DPX_ALIVE;
}
