/* Two names of one host must not write in one area (one of them may have moved there after
 * the other was deleted elsewhere).  As in the host room, whoever is about to write claims the
 * area; while its owner is busy there, or holds it, the request fails at once, never issued. */
#include "simulate.h"

static bool lies_in(const dpx_lease *lease, uint32_t area)
{
    return lease->located && lease->header.area == area;
}

static bool in_use(const host *h, const dpx_lease *lease)
{
    if (lease == &h->directory)
        return h->changing;
    ptrdiff_t name = lease - h->leases;
    return h->busy[name] || h->held[name] || h->must_lower[name] || lease->hold != 0;
}

/* writer: NULL for a change that resolves something on its way, or for its own sake. */
static bool claim(host *h, dpx_lease *writer, uint32_t area)
{
    dpx_lease *owner = h->owners[area];
    if (owner && lies_in(owner, area)) {
        if (owner == writer)
            return true;
        if (in_use(h, owner))
            return false;
        if (owner != &h->directory)
            dpx_lease_unlocate(owner); /* a name that moved, or is gone */
    }
    h->owners[area] = writer;
    return true;
}

static dpx_lease *writer_of(host *h, enum unit unit, uint32_t area)
{
    if (unit == UNIT_CHANGE) {
        dpx_lease *lease = h->change_kind == DPX_CHANGE_RESOLVE ? NULL : &h->leases[h->change_name];
        if (lies_in(&h->directory, area))
            return &h->directory;
        return lease && lies_in(lease, area) ? lease : NULL;
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
    for (uint32_t i = 0; i < request->write_count; i++) {
        uint32_t area = dpx_place_of(w->geometry, request->writes[i].block).area;
        dpx_lease *writer = writer_of(h, unit, area);
        bool resolved = h->changing && !h->change_judged && h->resolved_area == area && unit != UNIT_CHANGE;
        if (resolved || !claim(h, writer, area))
            return false;
        if (!writer)
            h->resolved_area = area; /* nobody else may write there until the change has ended */
    }
    return true;
}
