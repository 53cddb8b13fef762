/* What the slot table and the notices say to a claimer. */
#include "claim_state.h"

/* ---- the table ---- */

static const uint8_t *table_block(const dpx_claim *claim, uint32_t disk, uint32_t slot)
{
    return claim->channels[disk].table + (size_t)slot * claim->world->geometry->block_size;
}

static bool table_sound(const dpx_claim *claim, uint32_t disk, uint32_t slot)
{
    return dpx_record_sound(claim->world->geometry, disk, slot, table_block(claim, disk, slot));
}

void dpx_claim_observe(dpx_claim *claim)
{
    dpx_table_read reads[DPX_MAX_DISKS] = {0};
    for (uint32_t d = 0; d < DPX_MAX_DISKS && d < claim->world->geometry->disks; d++) {
        const struct claim_channel *channel = &claim->channels[d];
        if (channel->good)
            reads[d] = (dpx_table_read){.data = channel->table,
                                        .issued = channel->request.read_issued_at,
                                        .completed = channel->request.read_completed_at};
    }
    dpx_peers_observe(claim->world->peers, reads, DPX_ANY_SLOT);
    if (claim->retires && dpx_peers_silent(claim->world->peers, claim->only)) {
        uint64_t generation = claim->world->peers->slots[claim->only].record.who.generation;
        dpx_peers_bury(claim->world->peers, claim->only, generation);
        dpx_peers_drained(claim->world->peers, claim->only, generation, DPX_DRAINED_FENCED);
    }
}

void dpx_claim_retire(dpx_claim *claim)
{
    claim->retires = claim->only != DPX_ANY_SLOT;
}

/* A joiner has no slot to write notices in.  Without one it may take a slot of its own machine
 * that stayed unmoved for T_dead: of an earlier boot, or of a process that it saw gone.  Neither
 * can wake up to find no notice (protocol, section 5). */
static bool own_machines_dead(const dpx_claim *claim, uint32_t slot)
{
    const dpx_peers *peers = claim->world->peers;
    dpx_drain evidence = dpx_peers_evidence(peers, slot);
    bool mine = dpx_uuid_equal(&peers->slots[slot].record.host, &peers->host);
    bool certain = evidence == DPX_DRAINED_EXITED || (evidence == DPX_DRAINED_REBOOTED && mine);
    return certain && dpx_peers_silent(peers, slot);
}

enum rank { RANK_NO = 0, RANK_DEAD = 1, RANK_FREE = 2 };

static enum rank slot_rank(const dpx_claim *claim, uint32_t slot)
{
    const dpx_peers *peers = claim->world->peers;
    const dpx_peer *peer = &peers->slots[slot];
    if (!peer->seen || peer->damaged)
        return RANK_NO;
    if (dpx_peer_free(peer))
        return RANK_FREE;
    if (dpx_peers_drain(peers, slot) != DPX_NOT_DRAINED)
        return RANK_DEAD;
    return own_machines_dead(claim, slot) ? RANK_DEAD : RANK_NO;
}

/* On one disk: its own copy must show what makes the slot claimable, and nothing older (‡S19): an old copy may be
 * the late `free` of somebody who left long ago, over the record of an owner that lives.  A word about the slot
 * itself says that nothing can come late any more. */
bool dpx_claim_claimable_on(const dpx_claim *claim, uint32_t disk, uint32_t slot)
{
    const dpx_slot_record *newest = &claim->world->peers->slots[slot].record;
    dpx_slot_record record;
    if (!claim->channels[disk].good || !table_sound(claim, disk, slot))
        return false;
    dpx_slot_decode(table_block(claim, disk, slot), &record);
    if (slot_rank(claim, slot) == RANK_FREE)
        return record.state == DPX_SLOT_FREE && record.who.generation == newest->who.generation;
    if (dpx_peers_evidence(claim->world->peers, slot) == DPX_DRAINED_FENCED)
        return record.who.generation <= newest->who.generation;
    return dpx_incarnation_equal(&record.who, &newest->who);
}

static uint32_t claimable_disks(const dpx_claim *claim, uint32_t slot)
{
    uint32_t disks = 0;
    for (uint32_t d = 0; d < claim->world->geometry->disks; d++)
        disks += dpx_claim_claimable_on(claim, d, slot);
    return disks;
}

uint32_t dpx_claim_choose_slot(dpx_claim *claim)
{
    const dpx_geometry *geometry = claim->world->geometry;
    uint32_t best = DPX_ANY_SLOT;
    enum rank best_rank = RANK_NO;
    bool again = claim->known_slot != DPX_ANY_SLOT; /* the one whose notes made us read the table once more */
    uint32_t start = again ? claim->known_slot : (uint32_t)(dpx_random(claim->world) % geometry->max_hosts);
    for (uint32_t i = 0; i < geometry->max_hosts; i++) {
        uint32_t slot = (start + i) % geometry->max_hosts;
        if (claim->only != DPX_ANY_SLOT && slot != claim->only)
            continue;
        enum rank rank = slot_rank(claim, slot);
        if (rank > best_rank && claimable_disks(claim, slot) >= dpx_majority(geometry)) {
            best = slot;
            best_rank = rank;
        }
    }
    return best;
}

/* ---- notices ---- */

static uint8_t *own_part(const dpx_claim *claim, const struct claim_channel *channel, uint32_t part)
{
    return channel->own_notices + (size_t)part * claim->world->geometry->block_size;
}

void dpx_claim_notice_reads(dpx_claim *claim, struct claim_channel *channel)
{
    const dpx_geometry *geometry = claim->world->geometry;
    uint32_t slot = claim->record.who.slot;
    channel->reads[0] = (dpx_extent){.block = dpx_notice_block(geometry, 0, slot / geometry->notice_entries),
                                     .count = geometry->max_hosts,
                                     .data = channel->notices};
    for (uint32_t part = 0; part < geometry->notice_blocks; part++)
        channel->reads[1 + part] = (dpx_extent){.block = dpx_notice_block(geometry, slot, part),
                                                .count = 1,
                                                .data = own_part(claim, channel, part)};
    channel->request.read_count = 1 + geometry->notice_blocks;
}

static const uint8_t *sound_row(const dpx_claim *claim, uint32_t disk, uint32_t slot)
{
    return table_sound(claim, disk, slot) ? table_block(claim, disk, slot) : NULL;
}

/* ‡F3: of the copies of one of the slot's own blocks the newest one counts, as a whole, whichever disk answers first.
 * What a disk certifies counts on that disk only. */
static void carry_block(dpx_claim *claim, uint32_t disk, uint32_t part, const uint8_t *data)
{
    const dpx_geometry *geometry = claim->world->geometry;
    dpx_key key = dpx_block_key(data);
    struct claim_copy *copy = &claim->copies[part];
    bool newer = !copy->seen ||
                 dpx_copy_order(key.generation, key.sequence, copy->generation, copy->sequence) > 0;
    uint32_t first = part * geometry->notice_entries;
    for (uint32_t i = 0; i < geometry->notice_entries && first + i < geometry->max_hosts; i++) {
        dpx_notice entry = dpx_notice_entry(data, i);
        claim->channels[disk].shown[first + i] = entry;
        if (newer)
            claim->carried[first + i].about = entry.about;
    }
    if (newer)
        *copy = (struct claim_copy){.seen = true, .generation = key.generation, .sequence = key.sequence};
    /* An owner of the slot had that generation, though a late claim may lie over its record. */
    if (key.generation > claim->owned)
        claim->owned = key.generation;
    if (claim->owned > claim->noticed)
        claim->noticed = claim->owned;
}

/* ‡S18: a note that the table read since accounts for, or was read after. */
static void meet_note(dpx_claim *claim, struct claim_channel *channel, uint32_t part, const uint8_t *data)
{
    uint32_t identity = dpx_block_identity(data, claim->world->geometry, true);
    dpx_incarnation writer = dpx_notice_writer(data, claim->record.who.slot);
    bool known = claim->known_slot == claim->record.who.slot && channel->notes[part] == identity;
    claim->news = claim->news || (!known && !dpx_incarnation_equal(&writer, &claim->shown));
    channel->notes[part] = identity;
}

static void heed_about(dpx_claim *claim, uint32_t about)
{
    uint64_t near = claim->world->peers->slots[claim->record.who.slot].record.who.generation;
    uint64_t generation = about != 0 ? dpx_notice_generation(about, near) : 0;
    if (generation > claim->noticed)
        claim->noticed = generation;
}

/* The slot's own blocks must be sound, or nobody knows whom its owners held dead.  (They may be a late writer's: its
 * last owner, who could tell, is gone, and holds nothing by what it said.)  What others say of the slot matters for the
 * choice of a generation only: what cannot be believed is passed over, literally (‡S1). */
bool dpx_claim_take_notices(dpx_claim *claim, const dpx_request *request)
{
    const dpx_geometry *geometry = claim->world->geometry;
    uint32_t slot = claim->record.who.slot, disk = request->disk;
    uint32_t mine = slot / geometry->notice_entries;
    struct claim_channel *channel = &claim->channels[disk];
    for (uint32_t part = 0; part < geometry->notice_blocks; part++) {
        const dpx_extent *read = &request->reads[1 + part];
        enum dpx_flaw flaw = dpx_block_check(read->data, geometry, DPX_KIND_NOTICE, disk, read->block);
        if (flaw == DPX_SOUND)
            continue;
        claim->cause = (dpx_cause){.disk = disk, .block = read->block, .flaw = flaw};
        return false;
    }
    for (uint32_t part = 0; part < geometry->notice_blocks; part++) {
        meet_note(claim, channel, part, request->reads[1 + part].data);
        carry_block(claim, disk, part, request->reads[1 + part].data);
    }
    for (uint32_t writer = 0; writer < geometry->max_hosts; writer++) {
        const uint8_t *data = channel->notices + (size_t)writer * geometry->block_size;
        if (writer == slot)
            continue;
        if (dpx_notices_believed(geometry, disk, writer, mine, sound_row(claim, disk, writer), data))
            heed_about(claim, dpx_notice_entry(data, slot % geometry->notice_entries).about);
        else
            claim->unread = true;
    }
    return true;
}

/* ‡S1: a word about a slot that was retired is no promise about claims that never got it, and a notice that cannot
 * be read may name a generation that was claimed and lost since.  Steps are few enough for 31 bits (‡D8). */
uint64_t dpx_claim_generation_step(const dpx_claim *claim)
{
    const uint64_t retired = UINT64_C(1) << 20, unread = UINT64_C(1) << 10;
    if (dpx_peers_evidence(claim->world->peers, claim->record.who.slot) == DPX_DRAINED_FENCED)
        return retired;
    return claim->unread ? unread : 1;
}

bool dpx_claim_table_current(const dpx_claim *claim, uint32_t disk)
{
    const struct claim_channel *channel = &claim->channels[disk];
    return dpx_peers_table_current(claim->world->peers, disk, channel->counter, channel->table);
}

uint32_t dpx_claim_certificate(const dpx_claim *claim, uint32_t disk, uint32_t slot)
{
    const dpx_notice *shown = &claim->channels[disk].shown[slot];
    return shown->about == claim->carried[slot].about ? shown->certificate : 0;
}

uint32_t dpx_claim_shown(const dpx_claim *claim, uint32_t disk, uint32_t slot)
{
    if (!claim->channels[disk].table_good)
        return 0;
    return dpx_block_identity(table_block(claim, disk, slot), claim->world->geometry, table_sound(claim, disk, slot));
}

uint32_t dpx_claim_read(const dpx_claim *claim, uint32_t disk, uint32_t slot)
{
    const dpx_geometry *geometry = claim->world->geometry;
    const struct claim_channel *channel = &claim->channels[disk];
    const uint8_t *data = channel->notices + (size_t)slot * geometry->block_size;
    uint64_t index = dpx_notice_block(geometry, slot, claim->record.who.slot / geometry->notice_entries);
    if (!channel->notices_read || dpx_block_check(data, geometry, DPX_KIND_NOTICE, disk, index) != DPX_SOUND)
        return 0;
    return dpx_block_identity(data, geometry, true);
}

void dpx_claim_check_reads(dpx_claim *claim, struct claim_channel *channel)
{
    const dpx_geometry *geometry = claim->world->geometry;
    uint32_t slot = claim->record.who.slot;
    channel->reads[0] = (dpx_extent){.block = dpx_slot_block(geometry, slot), .count = 1, .data = channel->block};
    channel->request.read_count = 1;
    if (claim->phase != PHASE_CHECK)
        return; /* later they are ours */
    for (uint32_t part = 0; part < geometry->notice_blocks; part++)
        channel->reads[1 + part] = (dpx_extent){.block = dpx_notice_block(geometry, slot, part),
                                                .count = 1,
                                                .data = own_part(claim, channel, part)};
    channel->request.read_count += geometry->notice_blocks;
}

bool dpx_claim_stands(const dpx_claim *claim, const dpx_request *request)
{
    const dpx_geometry *geometry = claim->world->geometry;
    const dpx_extent *read = &request->reads[0];
    dpx_slot_record record;
    if (dpx_block_check(read->data, geometry, DPX_KIND_SLOT, request->disk, read->block) != DPX_SOUND)
        return false;
    dpx_slot_decode(read->data, &record);
    if (!dpx_incarnation_equal(&record.who, &claim->record.who) || record.state != DPX_SLOT_CLAIMING)
        return false;
    for (uint32_t i = 1; i < request->read_count; i++) {
        read = &request->reads[i];
        if (dpx_block_check(read->data, geometry, DPX_KIND_NOTICE, request->disk, read->block) != DPX_SOUND)
            return false;
        if (dpx_block_identity(read->data, geometry, true) != claim->channels[request->disk].notes[i - 1])
            return false; /* somebody became the owner since: we slept, or he did; a late note may hide which */
    }
    return true;
}

void dpx_claim_note(const dpx_claim *claim, uint32_t disk, struct claim_channel *channel)
{
    const dpx_geometry *geometry = claim->world->geometry;
    const dpx_incarnation *who = &claim->record.who;
    for (uint32_t part = 0; part < geometry->notice_blocks; part++) {
        dpx_notice entries[DPX_BLOCK_MAX / 8] = {0};
        uint32_t first = part * geometry->notice_entries;
        uint8_t *data = own_part(claim, channel, part);
        for (uint32_t i = 0; i < geometry->notice_entries && first + i < geometry->max_hosts; i++)
            entries[i] = (dpx_notice){.about = claim->carried[first + i].about,
                                      .certificate = dpx_claim_certificate(claim, disk, first + i)};
        dpx_notice_encode(data, geometry, disk, part, who, DPX_CLAIM_NOTE, claim->world->wall, entries);
        channel->reads[part] =
            (dpx_extent){.block = dpx_notice_block(geometry, who->slot, part), .count = 1, .data = data};
    }
    channel->request.writes = channel->reads;
    channel->request.write_count = geometry->notice_blocks;
}
