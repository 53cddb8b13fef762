/* Lives: until when each incarnation may act, and who owns which slot. */
#include "checker.h"

#include <string.h>

static life *life_of(world *w, uint16_t number)
{
    return &w->truth->lives[number];
}

uint16_t life_begin(world *w, host *h)
{
    truth *t = w->truth;
    uint16_t last = h->life;
    if (t->life_count == MAX_LIVES) { /* the history ends here: more of it could not be judged */
        outcome_note(w, OUT_UNCHECKED);
        w->over = true;
        return MAX_LIVES - 1;
    }
    uint16_t number = (uint16_t)t->life_count++;
    uint16_t process = h->stays ? t->lives[last].process : number;
    if (h->stays)
        fault_note(w, FAULT_ANOTHER_LIFE);
    t->lives[number] = (life){.host = h->index, .box = h->box, .process = process, .started = w->now,
                              .start_time = process + 1u};
    return number;
}

static uint64_t kill_time(const world *w)
{
    return w->geometry->kill_grace + w->geometry->watchdog_timeout;
}

uint8_t life_box(const world *w, uint16_t number)
{
    return w->truth->lives[number].box;
}

/* A clock that stood still later on no longer tells when it showed something before. */
static void note_passed(const world *w, life *l)
{
    const box *b = &w->boxes[l->box];
    uint64_t now = clock_local(b, w->now);
    if (!l->joined)
        return; /* it has no lifetime yet */
    if (!l->act_until && now >= l->lifetime_end)
        l->act_until = clock_real(b, l->lifetime_end);
    if (!l->stop_until && now >= l->lifetime_end + kill_time(w))
        l->stop_until = clock_real(b, l->lifetime_end + kill_time(w));
}

uint64_t life_acts_until(const world *w, uint16_t number)
{
    const life *l = &w->truth->lives[number];
    return l->act_until ? l->act_until : clock_real(&w->boxes[l->box], l->lifetime_end);
}

uint64_t life_stops_until(const world *w, uint16_t number)
{
    const life *l = &w->truth->lives[number];
    return l->stop_until ? l->stop_until : clock_real(&w->boxes[l->box], l->lifetime_end + kill_time(w));
}

static void forget_attempts(world *w, uint16_t number)
{
    truth *t = w->truth;
    for (uint32_t area = 0; area < w->geometry->max_leases; area++) {
        own_truth *own = &t->own[area][t->lives[number].who.slot];
        if (own->life != number + 1 || own->uuid == NONE16)
            continue;
        lease_truth *lease = &t->leases[own->uuid];
        if (own->last_exclusive > lease->crashed)
            lease->crashed = own->last_exclusive;
    }
}

/* The process is gone.  What it held stays held, for all that others can know, until its
 * lifetime, K and W have passed; only a fence makes that certain at once. */
void life_end(world *w, host *h, bool fenced)
{
    life *l = life_of(w, h->life);
    if (l->ended)
        return;
    l->act_until = life_acts_until(w, h->life);
    l->stop_until = life_stops_until(w, h->life);
    if (fenced && l->act_until > w->now)
        l->act_until = w->now;
    if (fenced && l->stop_until > w->now)
        l->stop_until = w->now;
    l->ended = true;
    if (l->joined)
        forget_attempts(w, h->life);
}

bool life_gone(const world *w, uint16_t number)
{
    return w->truth->lives[number].ended && !disk_writes_out(w, number);
}

/* ---- clocks that stood still ---- */

/* Just before it stops. */
void life_paused(world *w, uint8_t box)
{
    for (uint32_t i = 0; i < w->truth->life_count; i++) {
        life *l = &w->truth->lives[i];
        if (l->ended || l->box != box)
            continue;
        note_passed(w, l);
        l->paused = true;
        l->claimed_paused |= !l->joined;
        l->thawed_local = DPX_NEVER;
    }
}

void life_thawed(world *w, uint8_t box)
{
    for (uint32_t i = 0; i < w->truth->life_count; i++) {
        life *l = &w->truth->lives[i];
        if (!l->ended && l->box == box && l->paused)
            l->thawed_local = clock_local(&w->boxes[box], w->now);
    }
}

/* By its own clock: a machine that went back, and is paused before its first look, cannot know it all that time. */
static bool knows_of_no_revert(const world *w, const life *l)
{
    uint64_t S = w->geometry->outage_tolerance;
    if (l->reverted && l->blind)
        return l->ended || clock_local(&w->boxes[l->box], w->now) < l->reverted_local + S;
    return l->reverted && l->lifetime_end - S <= l->reverted_local;
}

bool life_told(const life *l, const dpx_slot_record *shown)
{
    if (dpx_incarnation_equal(&shown->who, &l->who))
        return shown->sequence > l->remembered;
    return shown->state != DPX_SLOT_CLAIMING && shown->who.generation >= l->who.generation;
}

/* A claim or damage may have come over what showed it.  Whoever has seen it on one disk has no excuse any more. */
void check_own_record(world *w, uint16_t number, uint32_t disk, const uint8_t *data)
{
    life *l = life_of(w, number);
    dpx_slot_record shown;
    if (!l->reverted || l->beaten_on >> disk & 1)
        return;
    dpx_slot_decode(data, &shown);
    if (dpx_record_sound(w->geometry, disk, l->who.slot, data) && life_told(l, &shown))
        l->told_on = UINT8_MAX;
    else if (l->told_on != UINT8_MAX)
        l->told_on &= (uint8_t)~(1u << disk);
    l->blind = (uint32_t)__builtin_popcount(l->told_on) < w->majority; /* else every heartbeat meets one */
}

/* It goes on as it would have then: its memory went back, and neither its slot nor a lease has told it. */
bool life_unaware(const world *w, uint16_t number)
{
    const life *l = &w->truth->lives[number];
    return !l->ended && !l->told && knows_of_no_revert(w, l);
}

bool life_excused(const world *w, uint16_t number)
{
    const life *l = &w->truth->lives[number];
    uint64_t S = w->geometry->outage_tolerance;
    if (knows_of_no_revert(w, l))
        return true;
    if (!l->paused || l->thawed_local < l->lifetime_end - S)
        return false;
    return w->now >= l->beat_real + (S + kill_time(w)) / 95 * 100;
}

/* ---- slots ---- */

static bool owner_may_act(const world *w, uint16_t owner)
{
    const life *l = &w->truth->lives[owner];
    return !l->left && l->beaten && w->now < life_stops_until(w, owner);
}

/* A claim succeeded: the slot's last owner must be certainly over. */
static void check_slot(world *w, host *h, const dpx_slot_record *record)
{
    truth *t = w->truth;
    uint32_t slot = record->who.slot;
    uint16_t owner = t->slot_owner[slot];
    /* It is gone, and its clock had stood still: what it protected may run on beyond what others could wait. */
    bool blurred = owner && life_excused(w, owner - 1) && (t->lives[owner - 1].ended || t->lives[owner - 1].reverted);
    if (owner && owner - 1 != h->life && owner_may_act(w, owner - 1)) {
        if (blurred)
            excuse_pause(w, owner - 1);
        else if (w->plan.clock_beyond)
            excuse(w, OUT_EXCUSED_CLOCK);
        else
            violate(w, VIOLATION_SLOT, "h%u claimed slot %u whose owner h%u may still act", h->index, slot,
                    t->lives[owner - 1].host);
    }
    if (record->who.generation <= t->slot_generation[slot]) {
        if (w->plan.clock_beyond)
            excuse(w, OUT_EXCUSED_CLOCK);
        else
            violate(w, VIOLATION_SLOT, "h%u claimed slot %u at generation %llu, used before", h->index, slot,
                    (unsigned long long)record->who.generation);
    }
    t->slot_generation[slot] = record->who.generation;
}

void check_joined(world *w, host *h)
{
    life *l = life_of(w, h->life);
    const dpx_slot_record *record = dpx_claim_record(h->claim);
    check_slot(w, h, record);
    l->joined = true;
    l->who = record->who;
    l->lifetime_end = h->world.lifetime_end;
    uint64_t local = local_now(w, h);
    l->joined_local = local;
    l->beat_real = clock_was(&w->boxes[h->box], l->lifetime_end - w->geometry->outage_tolerance);
    if (l->claimed_paused) /* since when others may have seen it is hard to say */
        l->beat_real = l->started;
    w->truth->slot_owner[record->who.slot] = (uint16_t)(h->life + 1);
    if (w->over)
        return;
    if (!shown_slot(w, &record->who, DPX_SLOT_ACTIVE))
        violate(w, VIOLATION_NOT_SHOWN, "h%u joined slot %u, which no majority shows", h->index, record->who.slot);
    if (local >= l->lifetime_end)
        violate(w, VIOLATION_LIFETIME, "h%u joined after the end of its lifetime", h->index);
}

void check_reclaimed(world *w, host *h, const dpx_slot_record *record)
{
    check_slot(w, h, record);
    w->truth->slot_owner[record->who.slot] = 0;
}

/* Whom others call dead cannot act any more, unless its clock stood still. */
void check_ended(world *w, host *h, dpx_end end)
{
    const life *l = life_of(w, h->life);
    if (!l->beaten)
        return; /* it has not been told yet that it lives */
    if (end != DPX_END_NOTICE && end != DPX_END_REPLACED && end != DPX_END_OWN_BLOCK)
        return;
    if (w->truth->claim_written[l->who.slot] && w->truth->lives[w->truth->claim_life[l->who.slot]].claimed_paused)
        outcome_note(w, OUT_EXCUSED_PAUSE); /* its clock stood still in the middle of a claim */
    else if (w->truth->contested[l->who.slot] == l->who.generation)
        return; /* somebody else's void claim of this generation was declared dead: it joins anew */
    else if (!l->paused && !w->plan.clock_beyond && local_now(w, h) < l->lifetime_end)
        violate(w, VIOLATION_SLOT, "h%u (slot %u) is told that it is dead, within its lifetime", h->index,
                l->who.slot);
}

/* A lifetime may run for S from an issue only if a majority of disks shows what was
 * written from then on. */
void check_lifetime(world *w, host *h)
{
    truth *t = w->truth;
    life *l = life_of(w, h->life);
    if (h->world.lifetime_end == l->lifetime_end)
        return;
    l->beaten = true;
    uint64_t S = w->geometry->outage_tolerance;
    uint64_t proof = h->world.lifetime_end - S;
    uint32_t slot = l->who.slot;
    uint32_t backing = 0;
    uint64_t now = local_now(w, h);
    if (l->reverted_ever && t->slot_generation[slot] > l->who.generation)
        violate(w, VIOLATION_SLOT, "h%u goes on in slot %u, which is another's since its memory went back",
                h->index, slot);
    for (uint32_t d = 0; d < w->geometry->disks; d++)
        backing += t->beat_life[slot][d] == h->life + 1 && t->beat_issued[slot][d] >= proof;
    if (backing < w->majority && !w->plan.replays)
        violate(w, VIOLATION_LIFETIME, "h%u counts its life from a heartbeat that %u disks show", h->index,
                backing);
    if (now >= l->lifetime_end && !life_excused(w, h->life))
        violate(w, VIOLATION_LIFETIME, "h%u lengthened a lifetime that was over", h->index);
    if (l->overtaken && l->overtaken_at == 0 && proof > l->thawed_local)
        l->overtaken_at = w->now;
    uint64_t net = w->lenient ? w->geometry->outage_tolerance : 0; /* it looks at what it holds every S * 3 / 8 */
    if (l->overtaken && l->overtaken_at != 0 && w->now >= l->overtaken_at + net)
        violate(w, VIOLATION_EXCLUSION, "h%u goes on after its clock stood still, and others took what it held",
                h->index);
    l->lifetime_end = h->world.lifetime_end;
    l->beat_real = clock_was(&w->boxes[h->box], proof);
    if (l->reverted && !l->blind && proof > l->reverted_local)
        violate(w, VIOLATION_LIFETIME, "h%u goes on, though its slot shows that its memory went back", h->index);
    l->reverted &= knows_of_no_revert(w, l);
    for (uint32_t i = 0; i < t->hold_count; i++)
        if (t->holds[i].life == h->life && t->holds[i].overtaken && !life_excused(w, h->life) &&
            now >= t->holds[i].known_by)
            violate(w, VIOLATION_EXCLUSION,
                    "h%u goes on after its memory went back, and others took vm-%u, which it held",
                    h->index, t->holds[i].name);
}
