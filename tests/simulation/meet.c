/* On which disks two attempts for one lease could have met.
 *
 * Two majorities share a disk, and there one of two attempts sees the other's flag: unless that very disk has lost it
 * by then.  A completed write that is replayed there, or old content, does so, while the flag's write to the other
 * disks came after the other attempt's look at them.  No rule of reading and writing majorities can notice that.
 */
#include "checker.h"

/* A look at an area counts for nothing while some block there is damaged (‡F2). */
static bool whole(const world *w, uint32_t disk, const dpx_extent *read)
{
    bool sound = read->count == 1 + w->geometry->max_hosts;
    for (uint32_t i = 0; i < read->count && sound; i++) {
        const uint8_t *block = (const uint8_t *)read->data + (size_t)i * w->geometry->block_size;
        enum dpx_kind kind = i == 0 ? DPX_KIND_HEADER : DPX_KIND_OWN;
        sound = dpx_block_check(block, w->geometry, kind, disk, read->block + i) == DPX_SOUND;
    }
    return sound;
}

/* What a look could tell the holder of: that its block was replayed, and is excused until then; or what its later self
 * wrote there before its memory went back, after which it has no excuse. */
static void note_look(world *w, uint16_t number, const dpx_request *r, const dpx_extent *read, uint32_t area)
{
    truth *t = w->truth;
    life *l = &t->lives[number];
    own_truth *own = &t->own[area][l->who.slot];
    const uint8_t *block = (const uint8_t *)read->data + (size_t)(1 + l->who.slot) * w->geometry->block_size;
    dpx_key key = dpx_block_key(block);
    bool forgot = own->forgotten != 0 && key.generation == l->who.generation &&
                  key.sequence > w->hosts[l->host].sequences[area];
    if (own->life != number + 1 || (!forgot && (own->struck_at == 0 || own->seen)))
        return;
    bool sound = whole(w, r->disk, read);
    if (forgot && sound) {
        own->forgotten = 0;
        l->told = true;
    }
    if (own->struck_at == 0 || own->seen || clock_was(&w->boxes[l->box], r->read_issued_at) < own->struck_at)
        return;
    own->seen = sound;
    if (sound)
        return;
    own->kept_at = w->now;
    for (uint32_t i = 0; i < t->overlap_count; i++)
        if (t->overlaps[i].area == area && t->grants[t->overlaps[i].first].life == number)
            t->overlaps[i].until = w->now + 2 * w->geometry->outage_tolerance;
}

/* A judging read that shows the reader's own flag: on this disk the flag stood before it looked. */
void check_read(world *w, uint16_t number, const dpx_request *r)
{
    truth *t = w->truth;
    const dpx_incarnation *who = &t->lives[number].who;
    for (uint32_t i = 0; i < r->read_count; i++) {
        dpx_place place = dpx_place_of(w->geometry, r->reads[i].block);
        if (place.kind == DPX_KIND_SLOT && place.slot == who->slot && r->reads[i].count == 1) /* a heartbeat's look */
            check_own_record(w, number, r->disk, r->reads[i].data);
        if (place.kind != DPX_KIND_HEADER || r->reads[i].count <= 1 + who->slot)
            continue;
        note_look(w, number, r, &r->reads[i], place.area);
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
    own->kept_at = 0;
    own->seen = false;
}

bool struck_alone(const world *w, uint16_t number, uint32_t area, bool lately)
{
    const own_truth *own = &w->truth->own[area][w->truth->lives[number].who.slot];
    uint64_t since = own->kept_at > own->struck_at ? own->kept_at : own->struck_at;
    return own->struck_at != 0 && (!lately || w->now < since + 2 * w->geometry->outage_tolerance);
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
