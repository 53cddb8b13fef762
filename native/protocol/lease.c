#include "lease.h"

#include <string.h>

bool dpx_lease_current(const dpx_world *world, const dpx_lease *lease)
{
    return !world->sequences || world->sequences[lease->header.area] == lease->sequence;
}

void dpx_lease_ballot(const dpx_world *world, dpx_lease *lease, uint64_t ballot)
{
    uint64_t used = world->ballots ? world->ballots[lease->header.area] : 0;
    lease->ballot = ballot > used ? ballot : used;
}

void dpx_lease_unlocate(dpx_lease *lease)
{
    char name[sizeof lease->name];
    memcpy(name, lease->name, sizeof name);
    dpx_lease_reset(lease, name, lease->name_length);
}

void dpx_lease_reset(dpx_lease *lease, const char *name, size_t name_length)
{
    memset(lease, 0, sizeof *lease);
    lease->name_length = (uint8_t)name_length;
    memcpy(lease->name, name, name_length);
}

bool dpx_lease_must_tell(const dpx_lease *lease)
{
    return lease->hold != 0 && lease->overrides && lease->told != lease->hold;
}

void dpx_lease_inherit(const dpx_world *world, dpx_lease *lease, const dpx_own *own)
{
    bool before_us = own->who.generation < world->self.generation || own->hold == 0;
    lease->inherited = before_us ? own->change_token : 0;
}
