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
        channel->sound[slot] = dpx_record_sound(geometry, disk, slot, dpx_heart_row(channel, geometry, slot));
}

/* ---- what tables say about others ---- */

void dpx_heart_observe(dpx_heart *heart)
{
    dpx_table_read reads[DPX_MAX_DISKS] = {0};
    uint32_t read = 0;
    for (uint32_t d = 0; d < DPX_MAX_DISKS && d < heart->world->geometry->disks; d++) {
        const struct heart_channel *channel = &heart->channels[d];
        if (!channel->read_once)
            continue;
        reads[d] = (dpx_table_read){.data = channel->table[channel->front],
                                    .sound = channel->sound,
                                    .issued = channel->table_issued,
                                    .completed = channel->table_completed};
        read++;
    }
    if (read >= dpx_majority(heart->world->geometry))
        dpx_peers_observe(heart->world->peers, reads, heart->world->self.slot);
}

/* ---- notices about others ---- */

static void count_notices(dpx_heart *heart)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < heart->world->geometry->max_hosts; slot++)
        count += heart->entries[slot].about != 0;
    heart->record.notices = count;
    heart->numbers.notices = count;
}

void dpx_heart_sentence(dpx_heart *heart, uint32_t slot, uint64_t generation, bool fenced)
{
    const dpx_peer *peer = &heart->world->peers->slots[slot];
    struct sentence *sentence = &heart->sentences[slot];
    uint32_t entry = (uint32_t)(generation & DPX_NOTICE_GENERATION);
    heart->entries[slot] = (dpx_notice){.about = entry | (fenced ? DPX_NOTICE_FENCED : 0)};
    heart->version++;
    *sentence = (struct sentence){.generation = generation,
                                  .version = heart->version,
                                  .fenced = fenced,
                                  .base_changes = peer->changes};
    heart->hurry = true;
    count_notices(heart);
}

/* A notice is carried on until its slot shows a higher generation, or that one free.  Free at a lower one, it is yet to
 * be claimed at the one that is dead, if nobody tells (simulated history 50120341). */
static bool served_its_purpose(const dpx_heart *heart, uint32_t slot)
{
    const dpx_peer *peer = &heart->world->peers->slots[slot];
    if (!peer->seen || peer->record.state == DPX_SLOT_CLAIMING)
        return false;
    /* How far the slot has come since, in 31-bit arithmetic. */
    uint32_t ahead = ((uint32_t)peer->record.who.generation - heart->entries[slot].about) & DPX_NOTICE_GENERATION;
    return ahead <= DPX_NOTICE_GENERATION / 2 && (ahead != 0 || dpx_peer_free(peer));
}

/* Somebody waits for the end of this silence: be there when it comes, not up to a period later.
 * Not much more often than usual, whatever the clock says. */
static void beat_when_silent(dpx_heart *heart, uint32_t slot, uint64_t now)
{
    const dpx_peer *peer = &heart->world->peers->slots[slot];
    if (dpx_peer_free(peer))
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
        if (heart->entries[slot].about != 0 && served_its_purpose(heart, slot)) {
            heart->entries[slot] = (dpx_notice){0};
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
        else if (sentence->generation < wanted && dpx_peers_wanted_silent(peers, slot))
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
        if (peer->changes != sentence->base_changes) {
            *sentence = (struct sentence){0}; /* it lives, or lived: a new silence must come first */
            continue;
        }
        sentence->done = true;
        dpx_peers_bury(peers, slot, sentence->generation);
        if (sentence->fenced)
            dpx_peers_drained(peers, slot, sentence->generation, DPX_DRAINED_FENCED);
    }
}
