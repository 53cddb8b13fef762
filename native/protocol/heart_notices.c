/* Watching others: silence, death notices, burial.  Protocol, section 5. */
#include "heart_state.h"

const uint8_t *dpx_heart_row(const struct heart_channel *channel, const dpx_geometry *geometry, uint32_t slot)
{
    return channel->table[channel->front] + (size_t)slot * geometry->block_size;
}

void dpx_heart_check_table(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    for (uint32_t slot = 0; slot < geometry->max_hosts; slot++)
        channel->sound[slot] = dpx_block_check(dpx_heart_row(channel, geometry, slot), geometry, DPX_KIND_SLOT, disk,
                                               dpx_slot_block(geometry, slot)) == DPX_SOUND;
}

/* ---- what tables say about others ---- */

/* The newest majority of table reads: the earliest issue among them.  And the latest completion
 * of any table: a slow read, issued before that majority, may be what showed a record grown, and
 * its silence must not count from before it was seen.  False: no majority was read yet. */
static bool newest_majority(const dpx_heart *heart, uint64_t *issued, uint64_t *completed)
{
    uint32_t disks = heart->world->geometry->disks;
    uint32_t wanted = dpx_majority(heart->world->geometry);
    bool used[DPX_MAX_DISKS] = {false};
    *issued = DPX_NEVER;
    *completed = 0;
    for (uint32_t n = 0; n < wanted; n++) {
        uint32_t newest = disks;
        for (uint32_t d = 0; d < disks; d++) {
            const struct heart_channel *channel = &heart->channels[d];
            if (!used[d] && channel->read_once &&
                (newest == disks || channel->table_issued > heart->channels[newest].table_issued))
                newest = d;
        }
        if (newest == disks)
            return false;
        used[newest] = true;
        *issued = heart->channels[newest].table_issued;
    }
    for (uint32_t d = 0; d < disks; d++)
        if (heart->channels[d].read_once && heart->channels[d].table_completed > *completed)
            *completed = heart->channels[d].table_completed;
    return true;
}

static bool newest_record(const dpx_heart *heart, uint32_t slot, dpx_slot_record *newest)
{
    const dpx_geometry *geometry = heart->world->geometry;
    bool any = false;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        const struct heart_channel *channel = &heart->channels[d];
        dpx_slot_record record;
        if (!channel->read_once || !channel->sound[slot])
            continue;
        dpx_slot_decode(dpx_heart_row(channel, geometry, slot), &record);
        if (!any || dpx_record_newer(&record, newest))
            *newest = record;
        any = true;
    }
    return any;
}

void dpx_heart_observe(dpx_heart *heart)
{
    const dpx_geometry *geometry = heart->world->geometry;
    uint64_t issued, completed;
    if (!newest_majority(heart, &issued, &completed))
        return;
    for (uint32_t slot = 0; slot < geometry->max_hosts; slot++) {
        dpx_slot_record record;
        if (slot == heart->world->self.slot)
            continue;
        bool sound = newest_record(heart, slot, &record);
        dpx_peers_observe(heart->world->peers, slot, sound ? &record : NULL, issued, completed);
    }
}

/* ---- notices about others ---- */

static void count_notices(dpx_heart *heart)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < heart->world->geometry->max_hosts; slot++)
        count += heart->entries[slot] != 0;
    heart->record.notices = count;
    heart->numbers.notices = count;
}

void dpx_heart_sentence(dpx_heart *heart, uint32_t slot, uint64_t generation, bool fenced)
{
    const dpx_peer *peer = &heart->world->peers->slots[slot];
    struct sentence *sentence = &heart->sentences[slot];
    uint32_t entry = (uint32_t)(generation & DPX_NOTICE_GENERATION);
    heart->entries[slot] = entry | (fenced ? DPX_NOTICE_FENCED : 0);
    heart->version++;
    *sentence = (struct sentence){.generation = generation,
                                  .version = heart->version,
                                  .fenced = fenced,
                                  .base_generation = peer->record.who.generation,
                                  .base_sequence = peer->record.sequence,
                                  .base_damaged = peer->damaged};
    heart->hurry = true;
    count_notices(heart);
}

/* A notice is carried on until its slot shows a higher generation or is free. */
static bool served_its_purpose(const dpx_heart *heart, uint32_t slot)
{
    const dpx_peer *peer = &heart->world->peers->slots[slot];
    if (!peer->seen || peer->record.state == DPX_SLOT_CLAIMING)
        return false;
    /* How far the slot has come since, in 31-bit arithmetic. */
    uint32_t ahead = ((uint32_t)peer->record.who.generation - heart->entries[slot]) & DPX_NOTICE_GENERATION;
    return peer->record.state == DPX_SLOT_FREE || (ahead != 0 && ahead <= DPX_NOTICE_GENERATION / 2);
}

/* Somebody waits for the end of this silence: be there when it comes, not up to a period later.
 * Not much more often than usual, whatever the clock says. */
static void beat_when_silent(dpx_heart *heart, uint32_t slot, uint64_t now)
{
    const dpx_peer *peer = &heart->world->peers->slots[slot];
    if (!peer->damaged && peer->record.state == DPX_SLOT_FREE)
        return; /* it left: nothing to wait for */
    uint64_t left = dpx_peers_until_silent(heart->world->peers, slot, now);
    uint64_t least = heart->world->geometry->outage_tolerance / 256;
    uint64_t when = now + (left > least ? left : least);
    if (when < heart->next_beat)
        heart->next_beat = when;
}

void dpx_heart_review(dpx_heart *heart, uint64_t now)
{
    dpx_peers *peers = heart->world->peers;
    for (uint32_t slot = 0; slot < heart->world->geometry->max_hosts; slot++) {
        struct sentence *sentence = &heart->sentences[slot];
        uint64_t wanted = peers->slots[slot].wanted_generation;
        if (slot == heart->world->self.slot)
            continue;
        if (heart->entries[slot] != 0 && served_its_purpose(heart, slot)) {
            heart->entries[slot] = 0;
            *sentence = (struct sentence){0};
            heart->version++;
            count_notices(heart);
        }
        if (wanted == 0)
            continue;
        dpx_incarnation who = {.slot = slot, .generation = wanted};
        if (peers->slots[slot].dead_known && wanted <= peers->slots[slot].dead_generation)
            peers->slots[slot].wanted_generation = 0;
        else if (peers->slots[slot].seen && peers->slots[slot].record.who.generation > who.generation &&
                 peers->slots[slot].record.state != DPX_SLOT_CLAIMING)
            peers->slots[slot].wanted_generation = 0; /* dead by succession */
        else if (sentence->generation < wanted && dpx_peers_silent(peers, slot))
            dpx_heart_sentence(heart, slot, wanted, false);
        else if (sentence->generation < wanted)
            beat_when_silent(heart, slot, now);
    }
}

static uint32_t proofs_of(const dpx_heart *heart, uint32_t version)
{
    uint32_t proofs = 0;
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++)
        proofs += heart->channels[d].proved != 0 && heart->channels[d].proved_version >= version;
    return proofs;
}

/* The notice is durable and announced on a majority, and the slot was read after that, on
 * each of those disks: unmoved means dead. */
void dpx_heart_execute(dpx_heart *heart)
{
    dpx_peers *peers = heart->world->peers;
    for (uint32_t slot = 0; slot < heart->world->geometry->max_hosts; slot++) {
        struct sentence *sentence = &heart->sentences[slot];
        const dpx_peer *peer = &peers->slots[slot];
        if (sentence->generation == 0 || sentence->done ||
            proofs_of(heart, sentence->version) < dpx_majority(heart->world->geometry))
            continue;
        bool unmoved = peer->record.who.generation == sentence->base_generation &&
                       peer->record.sequence == sentence->base_sequence &&
                       peer->damaged == sentence->base_damaged;
        if (!unmoved) {
            *sentence = (struct sentence){0}; /* it lives, or lived: a new silence must come first */
            continue;
        }
        sentence->done = true;
        dpx_peers_bury(peers, slot, sentence->generation);
        if (sentence->fenced)
            dpx_peers_drained(peers, slot, sentence->generation, DPX_DRAINED_FENCED);
    }
}
