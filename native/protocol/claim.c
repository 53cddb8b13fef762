/* Phases of an attempt: read the table (from t0) → read the notices → write "claiming" → wait
 * 1.5 T_claim → read it back → write the notices → read it back again → write "active" (→
 * write "free" when reclaiming).  A failed attempt writes nothing more: its record dies like any other. */
#include "claim_state.h"

#include <string.h>

static size_t aligned(size_t bytes)
{
    return (bytes + 4095u) & ~(size_t)4095u;
}

static uint32_t extents(const dpx_geometry *geometry)
{
    return 1 + geometry->notice_blocks;
}

static size_t slots_memory(const dpx_geometry *geometry)
{
    return aligned((size_t)geometry->max_hosts * geometry->block_size);
}

static size_t channel_memory(const dpx_geometry *geometry)
{
    return aligned(geometry->block_size) + 2 * slots_memory(geometry) +
           aligned((size_t)geometry->notice_blocks * geometry->block_size);
}

size_t dpx_claim_memory(const dpx_geometry *geometry)
{
    return geometry->disks * channel_memory(geometry) + sizeof(dpx_claim) +
           geometry->notice_blocks * sizeof(struct claim_copy) +
           (1 + (size_t)geometry->disks) * geometry->max_hosts * sizeof(dpx_notice) +
           (size_t)geometry->disks * geometry->notice_blocks * sizeof(uint32_t) +
           (size_t)geometry->disks * extents(geometry) * sizeof(dpx_extent);
}

dpx_claim *dpx_claim_place(void *memory, dpx_world *world)
{
    const dpx_geometry *geometry = world->geometry;
    uint8_t *at = memory;
    size_t buffers = geometry->disks * channel_memory(geometry); /* filled before anybody looks */
    dpx_claim *claim = (dpx_claim *)(void *)(at + buffers);
    memset(claim, 0, dpx_claim_memory(geometry) - buffers);
    dpx_extent *ios = (dpx_extent *)(void *)(claim + 1);
    claim->copies = (struct claim_copy *)(void *)(ios + (size_t)geometry->disks * extents(geometry));
    claim->carried = (dpx_notice *)(void *)(claim->copies + geometry->notice_blocks);
    uint32_t *notes = (uint32_t *)(void *)(claim->carried + (1 + (size_t)geometry->disks) * geometry->max_hosts);
    for (uint32_t d = 0; d < geometry->disks; d++) {
        struct claim_channel *channel = &claim->channels[d];
        channel->block = at;
        channel->table = channel->block + aligned(geometry->block_size);
        channel->notices = channel->table + slots_memory(geometry);
        channel->own_notices = channel->notices + slots_memory(geometry);
        channel->reads = ios + (size_t)d * extents(geometry);
        channel->shown = claim->carried + (1 + (size_t)d) * geometry->max_hosts;
        channel->notes = notes + (size_t)d * geometry->notice_blocks;
        at += channel_memory(geometry);
    }
    claim->world = world;
    claim->verdict = DPX_RUNNING;
    claim->phase = PHASE_END;
    return claim;
}

static void enter(dpx_claim *claim, enum claim_phase phase)
{
    claim->phase = phase;
    claim->wake = DPX_NEVER;
    for (uint32_t d = 0; d < claim->world->geometry->disks; d++)
        claim->channels[d].sent = claim->channels[d].good = claim->channels[d].late = false;
}

static void start_table(dpx_claim *claim, uint64_t now)
{
    claim->t0 = now; /* noted before the read is issued */
    claim->majority_at = 0;
    for (uint32_t d = 0; d < claim->world->geometry->disks; d++)
        claim->channels[d].table_good = claim->channels[d].notices_read = claim->channels[d].noted = false;
    claim->phase_limit = now + dpx_io_limit(claim->world->geometry);
    enter(claim, PHASE_TABLE);
    claim->wake = claim->phase_limit;
}

void dpx_claim_begin(dpx_claim *claim, const dpx_slot_record *me, const dpx_uuid *nonce, uint32_t only,
                     bool reclaim, uint64_t wait_until, uint64_t now)
{
    claim->record = *me;
    claim->nonce = *nonce;
    claim->only = only;
    claim->reclaim = reclaim;
    claim->retires = false;
    claim->wait_until = wait_until;
    claim->verdict = DPX_RUNNING;
    claim->attempt = claim->slow = 0;
    claim->void_count = 0;
    claim->known_slot = DPX_ANY_SLOT;
    claim->world->finished = false;
    if (!reclaim) /* nobody is joined yet */
        claim->world->peers->self = (dpx_incarnation){0};
    claim->cause = DPX_NO_CAUSE;
    start_table(claim, now);
}

static void finish(dpx_claim *claim, dpx_verdict verdict)
{
    claim->verdict = verdict;
    claim->phase = PHASE_END;
    claim->wake = DPX_NEVER;
}

/* A read that hangs keeps nobody from starting over, nor from leaving. */
static bool returned(const dpx_claim *claim, bool reads_too)
{
    for (uint32_t d = 0; d < claim->world->geometry->disks; d++) {
        const dpx_request *request = &claim->channels[d].request;
        if (request->outstanding && (reads_too || request->write_count > 0))
            return false;
    }
    return true;
}

static uint32_t good_count(const dpx_claim *claim)
{
    uint32_t good = 0;
    for (uint32_t d = 0; d < claim->world->geometry->disks; d++)
        good += claim->channels[d].good;
    return good;
}

/* All disks that take part in this phase have answered. */
static bool phase_over(const dpx_claim *claim)
{
    for (uint32_t d = 0; d < claim->world->geometry->disks; d++) {
        const struct claim_channel *channel = &claim->channels[d];
        if (dpx_claim_takes_part(claim, channel) && (!channel->sent || channel->request.outstanding))
            return false;
    }
    return true;
}

/* The attempt is void.  Nothing is written about it; another one starts when its writes have returned. */
static void fail_attempt(dpx_claim *claim)
{
    if (claim->phase != PHASE_NOTICES || claim->cause.flaw == DPX_SOUND)
        dpx_claim_blame(claim);
    /* Before its own note: whose notes there are then are of owners (dpx_peers_voided). */
    bool written = claim->phase == PHASE_WRITE || claim->phase == PHASE_SETTLE || claim->phase == PHASE_CHECK;
    if (written && claim->void_count < CLAIM_ATTEMPTS)
        claim->voids[claim->void_count++] = (dpx_void){.who = claim->record.who, .owned = claim->owned};
    claim->attempt++;
    claim->known_slot = DPX_ANY_SLOT; /* the next one looks in another slot */
    claim->unanswered = claim->phase == PHASE_TABLE;
    claim->world->lifetime_end = 0; /* nothing of this attempt may still be issued */
    enter(claim, PHASE_DRAIN);
}

/* ---- the steps of an attempt ---- */

static void derive_nonce(dpx_claim *claim)
{
    dpx_uuid nonce = claim->nonce;
    for (uint32_t i = 0; i < 4; i++) /* attempts of one claim differ */
        nonce.bytes[i] ^= (uint8_t)(claim->attempt >> (8 * i));
    claim->record.who.nonce = nonce;
}

static void start_write(dpx_claim *claim)
{
    uint64_t shown = claim->shown.generation;
    dpx_slot_record *record = &claim->record;
    record->who.generation = (shown > claim->noticed ? shown : claim->noticed) + dpx_claim_generation_step(claim);
    derive_nonce(claim);
    record->state = DPX_SLOT_CLAIMING;
    record->sequence = 1;
    record->counter = 1;
    record->notices = 0;
    for (uint32_t slot = 0; slot < claim->world->geometry->max_hosts; slot++)
        record->notices += claim->carried[slot].about != 0;
    claim->written_at = 0;
    claim->world->lifetime_end = claim->t0 + claim->world->geometry->claim_time;
    enter(claim, PHASE_WRITE);
    claim->wake = claim->world->lifetime_end;
}

/* The notices of the slot's earlier life are carried on: their number too, until the heart counts them. */
static void choose(dpx_claim *claim, uint64_t now)
{
    const dpx_geometry *geometry = claim->world->geometry;
    dpx_claim_observe(claim);
    uint32_t slot = dpx_claim_choose_slot(claim);
    if (slot == DPX_ANY_SLOT) {
        if (now >= claim->wait_until) {
            finish(claim, DPX_FULL);
            return;
        }
        uint64_t period = geometry->outage_tolerance / 8; /* with jitter: who waits beside us wants the same slot */
        claim->known_slot = DPX_ANY_SLOT;
        enter(claim, PHASE_WATCH);
        claim->wake = now + period / 2 + dpx_random(claim->world) % period;
        return;
    }
    claim->record.who.slot = slot;
    claim->shown = claim->world->peers->slots[slot].record.who;
    claim->record.notices = claim->world->peers->slots[slot].record.notices;
    claim->noticed = claim->owned = 0;
    claim->unread = claim->news = false;
    claim->void_owned = dpx_peers_void_owned(claim->world->peers, slot);
    memset(claim->carried, 0, (1 + (size_t)geometry->disks) * geometry->max_hosts * sizeof *claim->carried);
    memset(claim->copies, 0, geometry->notice_blocks * sizeof *claim->copies);
    for (uint32_t d = 0; d < geometry->disks; d++)
        claim->channels[d].counts = dpx_claim_claimable_on(claim, d, slot);
    enter(claim, PHASE_NOTICES);
    claim->wake = claim->t0 + geometry->claim_time;
}

/* "I note, then I look": whoever claims after this look finds our note when he checks; whose
 * claim was there before has overwritten our record.  No clock is needed for that.  The note is issued as soon
 * after the check as the check after its own beginning: a stopped claimer writes none over a later owner's. */
static void start_note(dpx_claim *claim)
{
    claim->world->lifetime_end = claim->check_limit;
    enter(claim, PHASE_NOTE);
    claim->wake = claim->t0 + claim->world->geometry->outage_tolerance;
}

static void start_active(dpx_claim *claim)
{
    claim->record.state = DPX_SLOT_ACTIVE;
    claim->record.sequence = DPX_CLAIM_ACTIVE;
    claim->record.counter++;
    enter(claim, PHASE_ACTIVE);
    claim->wake = claim->world->lifetime_end;
}

/* Note and look are pairs, disk by disk, like write and read of a round (‡L10). */
static void look_again(dpx_claim *claim)
{
    for (uint32_t d = 0; d < claim->world->geometry->disks; d++) {
        struct claim_channel *channel = &claim->channels[d];
        channel->noted = channel->good;
        channel->counts = channel->counts && channel->noted;
    }
    claim->world->lifetime_end = claim->t0 + claim->world->geometry->outage_tolerance;
    enter(claim, PHASE_AGAIN);
    claim->wake = claim->world->lifetime_end;
}

/* The notes are not of the incarnation that the table showed.  A late claim may lie over their owner's record, or he
 * came after we had read the table, and we slept (the model note.pml).  A late note over his does not even name a later
 * generation.  The table is read again, now that these notes are known. */
static void advance_notices(dpx_claim *claim, uint64_t now)
{
    const dpx_geometry *geometry = claim->world->geometry;
    uint32_t slot = claim->record.who.slot;
    bool enough = good_count(claim) >= dpx_majority(geometry);
    /* A disk that does not answer in time does not count: the rest of T_claim is for the write. */
    uint64_t limit = claim->t0 + (enough ? geometry->claim_time / 2 : geometry->claim_time);
    claim->wake = limit > now ? limit : claim->wake;
    if (!phase_over(claim) && now < limit)
        return;
    if (!enough) {
        fail_attempt(claim);
        return;
    }
    claim->known_slot = slot;
    for (uint32_t d = 0; d < geometry->disks; d++)
        claim->channels[d].counts = claim->channels[d].good;
    if (claim->owned > claim->void_owned) {
        dpx_peers_unvoid(claim->world->peers, slot); /* somebody became the owner below that claim */
        fail_attempt(claim);
    } else if (claim->news) {
        start_table(claim, now);
    } else {
        start_write(claim);
    }
}

static void advance_table(dpx_claim *claim, uint64_t now)
{
    const dpx_geometry *geometry = claim->world->geometry;
    bool over = phase_over(claim) || now >= claim->phase_limit;
    if (good_count(claim) >= dpx_majority(geometry)) {
        /* Only disks read now can count for the claim: give the slower ones a moment. */
        uint64_t patience = geometry->claim_time / 4;
        if (claim->majority_at == 0)
            claim->majority_at = now;
        if (over || now >= claim->majority_at + patience)
            choose(claim, now);
        else
            claim->wake = claim->majority_at + patience;
    } else if (over) {
        fail_attempt(claim);
    }
}

static void advance_write(dpx_claim *claim, uint64_t now)
{
    const dpx_geometry *geometry = claim->world->geometry;
    if (!phase_over(claim) && now < claim->t0 + geometry->claim_time)
        return;
    if (good_count(claim) < dpx_majority(geometry)) {
        fail_attempt(claim);
        return;
    }
    for (uint32_t d = 0; d < geometry->disks; d++)
        claim->channels[d].counts = claim->channels[d].good;
    enter(claim, PHASE_SETTLE);
    claim->wake = claim->written_at + geometry->claim_time + geometry->claim_time / 2;
}

static void advance_active(dpx_claim *claim, uint64_t now)
{
    const dpx_geometry *geometry = claim->world->geometry;
    bool majority = good_count(claim) >= dpx_majority(geometry);
    bool noting = claim->phase == PHASE_NOTE; /* whose gate is only about when it is issued */
    if (noting ? now >= claim->wake : dpx_world_over(claim->world, now)) {
        claim->world->finished = false; /* the attempt's life is over, not ours */
        fail_attempt(claim);
    } else if (majority && claim->phase == PHASE_NOTE) {
        look_again(claim);
    } else if (majority && claim->phase == PHASE_AGAIN) {
        start_active(claim);
    } else if (majority && claim->reclaim && claim->phase == PHASE_ACTIVE) {
        if (!returned(claim, false))
            return;
        claim->record.state = DPX_SLOT_FREE;
        claim->record.sequence++;
        claim->record.counter++;
        enter(claim, PHASE_FREE);
        claim->wake = claim->world->lifetime_end;
    } else if (majority) {
        claim->world->self = claim->record.who;
        finish(claim, DPX_DONE);
    } else if (phase_over(claim)) {
        fail_attempt(claim);
    }
}

static void advance_drain(dpx_claim *claim, uint64_t now)
{
    if (!returned(claim, false))
        return;
    dpx_verdict verdict = dpx_claim_gives_up(claim, now);
    if (verdict != DPX_RUNNING) {
        finish(claim, verdict);
        return;
    }
    claim->cause = DPX_NO_CAUSE;
    enter(claim, PHASE_PAUSE);
    claim->wake = now + dpx_random(claim->world) % (claim->world->geometry->claim_time / 4 + 1);
}

static void advance(dpx_claim *claim, uint64_t now)
{
    const dpx_geometry *geometry = claim->world->geometry;
    switch (claim->phase) {
    case PHASE_TABLE:
        advance_table(claim, now);
        break;
    case PHASE_NOTICES:
        advance_notices(claim, now);
        break;
    case PHASE_WRITE:
        advance_write(claim, now);
        break;
    case PHASE_SETTLE:
        if (now >= claim->wake) {
            enter(claim, PHASE_CHECK);
            claim->check_limit = now + geometry->claim_time;
            claim->wake = claim->check_limit;
        }
        break;
    case PHASE_CHECK:
        if (now < claim->wake && good_count(claim) >= dpx_majority(geometry))
            start_note(claim);
        else if (phase_over(claim) || now >= claim->wake) /* or we slept: our note would be in the way */
            fail_attempt(claim);
        break;
    case PHASE_NOTE:
    case PHASE_AGAIN:
    case PHASE_ACTIVE:
    case PHASE_FREE:
        advance_active(claim, now);
        break;
    case PHASE_DRAIN:
        advance_drain(claim, now);
        break;
    case PHASE_PAUSE:
    case PHASE_WATCH:
        if (now >= claim->wake)
            start_table(claim, now);
        break;
    case PHASE_END:
        break;
    }
}

dpx_request *dpx_claim_step(dpx_claim *claim, uint64_t now)
{
    enum claim_phase before;
    do { /* one phase may lead straight into the next */
        before = claim->phase;
        advance(claim, now);
    } while (claim->phase != before);
    for (uint32_t d = 0; d < claim->world->geometry->disks; d++) {
        if (!dpx_claim_sends(claim, d))
            continue;
        dpx_claim_build(claim, d);
        claim->channels[d].sent = true;
        return &claim->channels[d].request;
    }
    return NULL;
}

void dpx_claim_complete(dpx_claim *claim, dpx_request *request, uint64_t now)
{
    struct claim_channel *channel = &claim->channels[request->disk];
    (void)now;
    request->outstanding = false;
    dpx_claim_time(channel);
    if (!channel->sent)
        return; /* of an earlier phase: a later look at this disk starts afresh */
    if (request->error != 0)
        return;
    switch (claim->phase) {
    case PHASE_TABLE:
        channel->good = channel->table_good = dpx_claim_table_current(claim, request->disk);
        break;
    case PHASE_NOTICES:
        channel->good = channel->notices_read = dpx_claim_take_notices(claim, request);
        break;
    case PHASE_WRITE:
        channel->good = request->write_completed_at <= claim->t0 + claim->world->geometry->claim_time;
        channel->late = !channel->good;
        if (channel->good && request->write_completed_at > claim->written_at)
            claim->written_at = request->write_completed_at;
        break;
    case PHASE_CHECK:
    case PHASE_AGAIN:
        channel->good = dpx_claim_stands(claim, request);
        break;
    default:
        channel->good = true;
        break;
    }
}

uint64_t dpx_claim_wake(const dpx_claim *claim)
{
    return claim->wake;
}

dpx_verdict dpx_claim_verdict(const dpx_claim *claim)
{
    return claim->verdict;
}

const dpx_cause *dpx_claim_cause(const dpx_claim *claim)
{
    return &claim->cause;
}

bool dpx_claim_quiet(const dpx_claim *claim)
{
    return returned(claim, true);
}

bool dpx_claim_busy(const dpx_claim *claim, uint32_t disk)
{
    return claim->channels[disk].request.outstanding;
}

uint32_t dpx_claim_slow(const dpx_claim *claim)
{
    return claim->slow;
}

uint32_t dpx_claim_voids(const dpx_claim *claim, const dpx_void **voids)
{
    *voids = claim->voids;
    return claim->void_count;
}

const dpx_slot_record *dpx_claim_record(const dpx_claim *claim)
{
    return &claim->record;
}

const dpx_notice *dpx_claim_notices(const dpx_claim *claim)
{
    return claim->carried;
}

bool dpx_claim_noted(const dpx_claim *claim, uint32_t disk)
{
    return claim->channels[disk].noted;
}
