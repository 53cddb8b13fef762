/* On which disks two attempts for one lease could have met.
 *
 * Two majorities share a disk, and there one of two attempts sees the other's flag: unless that very disk has lost it
 * by then.  A completed write that is replayed there, or old content, does so, while the flag's write to the other
 * disks came after the other attempt's look at them.  No rule of reading and writing majorities can notice that.
 */
#include "checker.h"

/* A judging read that shows the reader's own flag: on this disk the flag stood before it looked. */
void check_read(world *w, uint16_t number, const dpx_request *r)
{
    truth *t = w->truth;
    const dpx_incarnation *who = &t->lives[number].who;
    for (uint32_t i = 0; i < r->read_count; i++) {
        dpx_place place = dpx_place_of(w->geometry, r->reads[i].block);
        if (place.kind != DPX_KIND_HEADER || r->reads[i].count <= 1 + who->slot)
            continue;
        own_truth *own = &t->own[place.area][who->slot];
        dpx_own block;
        dpx_own_decode((const uint8_t *)r->reads[i].data + (size_t)(1 + who->slot) * w->geometry->block_size, &block);
        bool raised = block.hold != 0 && block.hold == own->hold;
        if (own->life == number + 1 && raised && dpx_incarnation_equal(&block.who, who))
            own->looked_on |= (uint8_t)(1u << r->disk);
    }
}

/* Old content came over the own block of a slot there. */
void check_struck(world *w, uint32_t disk, const dpx_place *place)
{
    own_truth *own = &w->truth->own[place->area][place->slot];
    if (place->kind != DPX_KIND_OWN)
        return;
    own->struck_on |= (uint8_t)(1u << disk);
    if (w->geometry->disks > 1)
        return;
    own->struck_at = w->truth->replayed_at[place->area] = w->now;
}

bool struck_alone(const world *w, uint16_t number, uint32_t area, bool lately)
{
    const truth *t = w->truth;
    uint64_t at = t->own[area][t->lives[number].who.slot].struck_at;
    return at != 0 && (!lately || w->now < at + 2 * w->geometry->outage_tolerance);
}

bool met_where_struck(const world *w, uint16_t holder, uint16_t taker, uint32_t area)
{
    const truth *t = w->truth;
    const own_truth *held = &t->own[area][t->lives[holder].who.slot], *own = &t->own[area][t->lives[taker].who.slot];
    if (held->life != holder + 1 || own->life != taker + 1)
        return false;
    uint8_t met = held->took_on & own->looked_on, struck = held->struck_on | own->struck_on;
    /* Had they no disk in common at all, a majority was none, and that is no disk's fault. */
    return met != 0 && (met & ~struck) == 0;
}
