/* Two names of one host must not write in one area (one of them may have moved there after
 * the other was deleted elsewhere).  As in the host room, whoever is about to write claims the
 * area; while its owner is busy there, or holds it, the request fails at once, never issued.
 * It fails, too, when somebody else of this host wrote there since the writer last looked: what
 * it knows of its own block would be out of date. */
#include "simulate.h"

static bool in_use(const host *h, const dpx_lease *lease)
{
    if (lease == &h->directory)
        return true;
    if (lease == &h->resolve)
        return h->changing && !h->change_judged;
    ptrdiff_t name = lease - h->leases;
    return h->busy[name] || h->held[name] || h->must_lower[name] || lease->hold != 0;
}

static bool lies_in(const dpx_lease *lease, uint32_t area)
{
    return lease->located && lease->header.area == area;
}

static bool has(const host *h, const dpx_lease *last, uint32_t area)
{
    return last == &h->resolve || lies_in(last, area);
}

/* since: when the writer began to look; 0: it goes by what it knew. */
static bool claim(host *h, enum unit unit, dpx_lease *writer, uint32_t area, uint64_t since)
{
    dpx_lease *last = h->owners[area];
    if (!last || last == writer || (unit == UNIT_CHANGE && last == &h->resolve)) {
        h->owners[area] = writer;
        return true;
    }
    if ((has(h, last, area) && in_use(h, last)) || since <= h->written_at[area])
        return false;
    if (lies_in(last, area))
        dpx_lease_unlocate(last); /* a name that moved, or is gone */
    h->owners[area] = writer;
    return true;
}

/* Before a lease is used as it is known: unless it was the last to write in its area, it must
 * be looked for again. */
void area_trust(host *h, dpx_lease *lease)
{
    const dpx_lease *last = lease->located ? h->owners[lease->header.area] : NULL;
    if (last && last != lease)
        dpx_lease_unlocate(lease);
}

static dpx_lease *writer_of(host *h, enum unit unit, uint32_t area)
{
    if (unit == UNIT_CHANGE) {
        dpx_lease *lease = h->change_kind == DPX_CHANGE_RESOLVE ? &h->resolve : &h->leases[h->change_name];
        if (lies_in(&h->directory, area))
            return &h->directory;
        return lies_in(lease, area) ? lease : &h->resolve; /* the machine's own, to resolve on its way */
    }
    task *t = &h->tasks[unit - UNIT_ROUND];
    for (uint32_t i = 0; i < t->count; i++)
        if (lies_in(t->wishes[i].lease, area))
            return t->wishes[i].lease;
    return NULL;
}

bool area_may_write(world *w, host *h, enum unit unit, const dpx_request *request)
{
    if (unit < UNIT_CHANGE)
        return true;
    uint64_t since = unit == UNIT_CHANGE ? h->change_began : h->tasks[unit - UNIT_ROUND].looked;
    for (uint32_t i = 0; i < request->write_count; i++) {
        uint32_t area = dpx_place_of(w->geometry, request->writes[i].block).area;
        if (!claim(h, unit, writer_of(h, unit, area), area, since))
            return false;
        h->written_at[area] = w->now;
    }
    return true;
}
