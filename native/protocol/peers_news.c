/* What goes on in a slot just now: whether a word about its owner is worth waiting for.  Nobody is dead by this. */
#include "peers.h"

bool dpx_peers_moving(const dpx_peers *peers, uint32_t slot, uint64_t now)
{
    uint64_t moved = peers->slots[slot].moved_at[0];
    return moved != 0 && now < moved + peers->geometry->outage_tolerance / 4;
}

bool dpx_peers_claimed_anew(const dpx_peers *peers, const dpx_incarnation *who, uint64_t now)
{
    const dpx_peer *peer = &peers->slots[who->slot];
    bool above = peer->record.state == DPX_SLOT_CLAIMING && peer->record.who.generation > who->generation;
    return peer->seen && above && now < peer->grown_at + 4 * peers->geometry->claim_time;
}
