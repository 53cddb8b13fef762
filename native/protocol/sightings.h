/* Sightings: what one process of a machine has seen of the host slots, for the next one to go on from.
 * Protocol, section 5, rule D11. */
#ifndef DPX_PROTOCOL_SIGHTINGS_H
#define DPX_PROTOCOL_SIGHTINGS_H

#include "peers.h"

/* What one disk showed of one slot, and since when. */
typedef struct dpx_sighting {
    uint64_t from; /* CLOCK_BOOTTIME, read after the first read that showed it had completed; 0: nothing was seen */
    uint32_t disk;
    uint32_t slot;
    bool sound;    /* a damaged record is no sighting, but it ends the one before */
    enum dpx_slot_state state;
    uint32_t checksum;
    uint64_t generation;
    uint64_t sequence;
    dpx_uuid nonce;
} dpx_sighting;

/* One per disk and slot: so many there are, and that is where each stands. */
static inline uint32_t dpx_sightings_count(const dpx_geometry *geometry)
{
    return geometry->disks * geometry->max_hosts;
}

static inline uint32_t dpx_sighting_index(const dpx_geometry *geometry, uint32_t disk, uint32_t slot)
{
    return disk * geometry->max_hosts + slot;
}

/* What this host has seen of all slots but its own. */
void dpx_peers_sightings(const dpx_peers *peers, dpx_sighting *sightings);

/* Before the first look: goes on from an earlier sighting, if that look shows the very same record there.
 * now: before that look is issued. */
void dpx_peers_recall(dpx_peers *peers, const dpx_sighting *sighting, uint64_t now);

/* Two processes saw the same disk and slot: of one content the earlier sighting counts, else the later one. */
void dpx_sighting_merge(dpx_sighting *kept, const dpx_sighting *fresh);

/* Does any slot stand still that is not free, so that somebody may want to know for how long?  quiet: not even seen to
 * move for so long. */
bool dpx_peers_worth_keeping(const dpx_peers *peers, uint64_t now, uint64_t quiet);

#endif
