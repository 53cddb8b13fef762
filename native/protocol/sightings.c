#include "sightings.h"

static bool same_content(const dpx_sighting *a, const dpx_sighting *b)
{
    return a->sound == b->sound && a->state == b->state && a->checksum == b->checksum &&
           a->generation == b->generation && a->sequence == b->sequence && dpx_uuid_equal(&a->nonce, &b->nonce);
}

void dpx_peers_sightings(const dpx_peers *peers, dpx_sighting *sightings)
{
    const dpx_geometry *geometry = peers->geometry;
    for (uint32_t disk = 0; disk < geometry->disks; disk++) {
        for (uint32_t slot = 0; slot < geometry->max_hosts; slot++) {
            const dpx_sight *sight = &peers->slots[slot].sights[disk];
            bool own = peers->self.generation != 0 && slot == peers->self.slot;
            dpx_sighting *sighting = &sightings[dpx_sighting_index(geometry, disk, slot)];
            *sighting = (dpx_sighting){.disk = disk, .slot = slot};
            if (!sight->seen || own)
                continue;
            sighting->from = sight->from;
            sighting->sound = !sight->damaged;
            if (sight->damaged)
                continue;
            sighting->state = sight->state;
            sighting->checksum = sight->checksum;
            sighting->generation = sight->generation;
            sighting->sequence = sight->sequence;
            sighting->nonce = sight->nonce;
        }
    }
}

void dpx_peers_recall(dpx_peers *peers, const dpx_sighting *sighting, uint64_t now)
{
    const dpx_geometry *geometry = peers->geometry;
    if (sighting->disk >= geometry->disks || sighting->slot >= geometry->max_hosts)
        return;
    dpx_sight *sight = &peers->slots[sighting->slot].sights[sighting->disk];
    if (sight->seen || !sighting->sound || sighting->from == 0 || sighting->from > now)
        return;
    *sight = (dpx_sight){.recalled = true,
                         .state = sighting->state,
                         .generation = sighting->generation,
                         .sequence = sighting->sequence,
                         .checksum = sighting->checksum,
                         .nonce = sighting->nonce,
                         .from = sighting->from};
}

void dpx_sighting_merge(dpx_sighting *kept, const dpx_sighting *fresh)
{
    if (fresh->from == 0)
        return;
    bool earlier = fresh->from < kept->from;
    if (kept->from == 0 || earlier == same_content(kept, fresh))
        *kept = *fresh;
}

bool dpx_peers_worth_keeping(const dpx_peers *peers, uint64_t now, uint64_t quiet)
{
    for (uint32_t slot = 0; slot < peers->geometry->max_hosts; slot++) {
        const dpx_peer *peer = &peers->slots[slot];
        bool own = peers->self.generation != 0 && slot == peers->self.slot;
        if (!own && peer->seen && !dpx_peer_free(peer) && now >= peer->still_from + quiet)
            return true;
    }
    return false;
}
