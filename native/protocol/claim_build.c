/* The requests of an attempt, phase by phase. */
#include "claim_state.h"

void dpx_claim_build(dpx_claim *claim, uint32_t disk)
{
    const dpx_geometry *geometry = claim->world->geometry;
    struct claim_channel *channel = &claim->channels[disk];
    uint64_t block = dpx_slot_block(geometry, claim->record.who.slot);
    channel->request = (dpx_request){.disk = disk, .writes = &channel->write, .reads = channel->reads,
                                     .outstanding = true};
    channel->asked = claim->phase;
    switch (claim->phase) {
    case PHASE_TABLE:
        channel->reads[0] = (dpx_extent){.block = dpx_slot_block(geometry, 0), .count = geometry->max_hosts,
                                         .data = channel->table};
        channel->request.read_count = 1;
        channel->counter = claim->world->peers->counter[disk];
        break;
    case PHASE_NOTICES:
        dpx_claim_notice_reads(claim, channel);
        break;
    case PHASE_NOTE:
        dpx_claim_note(claim, disk, channel);
        break;
    case PHASE_CHECK:
    case PHASE_AGAIN:
        dpx_claim_check_reads(claim, channel);
        break;
    default:
        claim->record.written_at = claim->world->wall;
        dpx_slot_encode(channel->block, geometry, disk, &claim->record);
        channel->write = (dpx_extent){.block = block, .count = 1, .data = channel->block};
        channel->request.write_count = 1;
        break;
    }
}

bool dpx_claim_sends(const dpx_claim *claim, uint32_t disk)
{
    const struct claim_channel *channel = &claim->channels[disk];
    if (channel->sent || channel->request.outstanding)
        return false;
    switch (claim->phase) {
    case PHASE_TABLE:
        return true;
    case PHASE_ACTIVE: /* ‡S21: a record lies where its owner's notices do */
    case PHASE_FREE:
        return channel->noted;
    case PHASE_NOTICES:
    case PHASE_WRITE:
    case PHASE_CHECK:
    case PHASE_NOTE: /* … and its notices where its claim does: a claim says whose notices may come */
    case PHASE_AGAIN:
        return channel->counts;
    default:
        return false;
    }
}
