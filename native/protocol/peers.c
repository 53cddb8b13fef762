#include "peers.h"

#include <string.h>

size_t dpx_peers_memory(const dpx_geometry *geometry)
{
    return sizeof(dpx_peers) + geometry->max_hosts * sizeof(dpx_peer);
}

dpx_peers *dpx_peers_place(void *memory, const dpx_geometry *geometry, const dpx_uuid *host, const dpx_uuid *boot)
{
    dpx_peers *peers = memory;
    memset(peers, 0, dpx_peers_memory(geometry));
    peers->geometry = geometry;
    peers->host = *host;
    peers->boot = *boot;
    return peers;
}

bool dpx_record_newer(const dpx_slot_record *candidate, const dpx_slot_record *than)
{
    if (candidate->who.generation != than->who.generation)
        return candidate->who.generation > than->who.generation;
    bool candidate_claims = candidate->state == DPX_SLOT_CLAIMING;
    bool than_claims = than->state == DPX_SLOT_CLAIMING;
    if (candidate_claims != than_claims)
        return than_claims;
    if (candidate->sequence != than->sequence)
        return candidate->sequence > than->sequence;
    /* Two claims of one generation: neither is newer, but they must not be taken for each other. */
    return memcmp(&candidate->who.nonce, &than->who.nonce, sizeof than->who.nonce) > 0;
}

static void note_move(dpx_peer *peer, uint64_t at)
{
    for (uint32_t i = DPX_MAX_DISKS - 1; i > 0; i--)
        peer->moved_at[i] = peer->moved_at[i - 1];
    peer->moved_at[0] = at;
}

/* An older copy than what was seen before (a ghost, an old disk) is no growth.  But a claiming
 * record that is gone again was somebody's late write, and the owner has overwritten it: it lives. */
void dpx_peers_learn(dpx_peers *peers, uint32_t slot, const dpx_slot_record *record, uint64_t at)
{
    dpx_peer *peer = &peers->slots[slot];
    bool overwritten = peer->record.state == DPX_SLOT_CLAIMING && record->state != DPX_SLOT_CLAIMING;
    bool other_nonce = !dpx_uuid_equal(&record->who.nonce, &peer->record.who.nonce);
    bool another = other_nonce && record->who.generation == peer->record.who.generation &&
                   record->state == peer->record.state;
    bool grown = !peer->seen || overwritten || another || dpx_record_newer(record, &peer->record);
    if (grown && peer->seen && dpx_incarnation_equal(&record->who, &peer->record.who))
        note_move(peer, at);
    if (grown && other_nonce)
        peer->drain = DPX_NOT_DRAINED; /* that was about somebody else's process (simulated history 900080141) */
    if (grown || peer->damaged)
        peer->grown_at = at;
    if (grown) {
        peer->record = *record;
        peer->lost = false;
    }
    peer->seen = true;
    peer->damaged = false;
}

/* ‡D6: whatever else a disk shows, even something older, may lie over what the owner wrote in the meantime.  ‡D11: that
 * goes for what an earlier process saw, too. */
static void look(dpx_peer *peer, uint32_t disk, const dpx_sight *now)
{
    dpx_sight *before = &peer->sights[disk];
    bool same = (before->seen || before->recalled) && before->damaged == now->damaged && before->state == now->state &&
                before->generation == now->generation && before->sequence == now->sequence &&
                before->checksum == now->checksum &&
                dpx_uuid_equal(&before->nonce, &now->nonce);
    if (!same) {
        *before = *now;
        peer->changes++;
    } else if (now->to > before->to) {
        before->to = now->to;
    }
    before->seen = true;
}

/* The issue of the latest reads of a majority of those disks that show no change since `from`; 0: there is none. */
static uint64_t majority_still_to(const dpx_peers *peers, const dpx_peer *peer, uint64_t from)
{
    uint32_t disks = peers->geometry->disks;
    uint64_t latest = 0;
    for (uint32_t candidate = 0; candidate < disks; candidate++) {
        uint64_t to = peer->sights[candidate].to;
        uint32_t votes = 0;
        for (uint32_t d = 0; d < disks; d++)
            votes += peer->sights[d].seen && peer->sights[d].from <= from && peer->sights[d].to >= to;
        if (votes >= dpx_majority(peers->geometry) && to > latest)
            latest = to;
    }
    return latest;
}

/* The longest silence that some majority of the disks agrees on, each for itself; but what was silent before
 * the record grew was another, or says nothing any more. */
static void measure_silence(const dpx_peers *peers, dpx_peer *peer)
{
    bool any = false;
    int64_t longest = 0;
    for (uint32_t d = 0; d < peers->geometry->disks; d++) {
        uint64_t from = peer->sights[d].from;
        uint64_t to = majority_still_to(peers, peer, from);
        if (peer->grown_at > from)
            from = peer->grown_at;
        int64_t silence = (int64_t)(to - from);
        if (!peer->sights[d].seen || to == 0 || (any && silence <= longest))
            continue;
        any = true;
        longest = silence;
        peer->still_from = from;
        peer->still_to = to;
    }
}

bool dpx_record_sound(const dpx_geometry *geometry, uint32_t disk, uint32_t slot, const uint8_t *data)
{
    return dpx_block_check(data, geometry, DPX_KIND_SLOT, disk, dpx_slot_block(geometry, slot)) == DPX_SOUND;
}

/* What the disks that were read show of a slot. */
struct shown {
    dpx_slot_record newest; /* of all copies … */
    dpx_slot_record unfree; /* … and of those that are not free */
    uint32_t sound, unfree_copies, free_copies; /* free: of the newest generation */
};

static void count_copy(struct shown *shown, const dpx_slot_record *record)
{
    bool is_free = record->state == DPX_SLOT_FREE;
    if (shown->sound == 0 || record->who.generation > shown->newest.who.generation)
        shown->free_copies = 0;
    shown->free_copies += is_free && (shown->sound == 0 || record->who.generation >= shown->newest.who.generation);
    if (shown->sound == 0 || dpx_record_newer(record, &shown->newest))
        shown->newest = *record;
    if (!is_free && (shown->unfree_copies == 0 || dpx_record_newer(record, &shown->unfree)))
        shown->unfree = *record;
    shown->sound++;
    shown->unfree_copies += !is_free;
}

/* Who left on a minority of the disks only is gone, but the slot is not free: it dies (‡S10).  So it does when a late
 * claim lies over a free record on the others.  Where something older does, or nothing that can be read, the slot is
 * lost: whoever came after may lie below that. */
static void learn_shown(dpx_peers *peers, uint32_t slot, const struct shown *shown, uint64_t at)
{
    dpx_peer *peer = &peers->slots[slot];
    const dpx_slot_record before = peer->record;
    uint64_t generation = shown->newest.who.generation;
    bool same = peer->seen && before.who.generation == generation;
    bool was_free = same && before.state == DPX_SLOT_FREE;
    bool partly = shown->free_copies < dpx_majority(peers->geometry) &&
                  (shown->newest.state == DPX_SLOT_FREE || was_free);
    bool unfree = shown->unfree_copies > 0 && shown->unfree.who.generation == generation;
    const dpx_slot_record *record = &shown->newest;
    if (partly && unfree) {
        record = &shown->unfree;
        if (was_free) { /* that is forgotten, fewer disks tell of it; and being left once more is no sign of life */
            peer->seen = false;
            memset(peer->moved_at, 0, sizeof peer->moved_at);
        }
    } else if (partly && same && !was_free) {
        record = &before; /* its other copies cannot be read now */
    }
    if (partly)
        dpx_peers_bury(peers, slot, generation);
    dpx_peers_learn(peers, slot, record, at);
    bool outdated = peer->record.state == DPX_SLOT_FREE && peer->record.who.generation > generation;
    peer->lost = (partly && !unfree) || outdated;
}

bool dpx_peer_free(const dpx_peer *peer)
{
    return peer->seen && !peer->damaged && !peer->lost && peer->record.state == DPX_SLOT_FREE;
}

/* ‡D11: a record that the first look finds as an earlier one did, on whatever disk, had grown by then. */
static uint64_t grown_by(const dpx_peers *peers, const dpx_peer *peer, uint64_t completed)
{
    const dpx_slot_record *record = &peer->record;
    uint64_t earliest = completed;
    for (uint32_t d = 0; d < peers->geometry->disks; d++) {
        const dpx_sight *sight = &peer->sights[d];
        bool shows = sight->seen && sight->recalled && sight->state == record->state &&
                     sight->generation == record->who.generation && sight->sequence == record->sequence &&
                     dpx_uuid_equal(&sight->nonce, &record->who.nonce);
        if (shows && sight->from < earliest)
            earliest = sight->from;
    }
    return earliest;
}

static void observe_slot(dpx_peers *peers, uint32_t slot, const dpx_table_read reads[DPX_MAX_DISKS])
{
    const dpx_geometry *geometry = peers->geometry;
    dpx_peer *peer = &peers->slots[slot];
    struct shown shown = {0};
    uint64_t completed = 0;
    bool first = !peer->seen && !peer->damaged;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        if (!reads[d].data)
            continue;
        const uint8_t *data = reads[d].data + (size_t)slot * geometry->block_size;
        dpx_sight sight = {.seen = true, .from = reads[d].completed, .to = reads[d].issued};
        sight.damaged = reads[d].sound ? !reads[d].sound[slot] : !dpx_record_sound(geometry, d, slot, data);
        if (sight.damaged) {
            sight.sequence = dpx_crc32c(0, data, geometry->block_size);
        } else {
            dpx_slot_record record;
            dpx_slot_decode(data, &record);
            sight.state = record.state;
            sight.generation = record.who.generation;
            sight.sequence = record.sequence;
            sight.nonce = record.who.nonce;
            sight.checksum = dpx_block_checksum(data);
            count_copy(&shown, &record);
        }
        look(peer, d, &sight);
        if (reads[d].completed > completed)
            completed = reads[d].completed;
    }
    if (shown.sound > 0) {
        learn_shown(peers, slot, &shown, completed);
        if (first)
            peer->grown_at = grown_by(peers, peer, completed);
    } else if (!peer->damaged) {
        peer->damaged = true;
        peer->grown_at = completed;
    }
    measure_silence(peers, peer);
}

void dpx_peers_observe(dpx_peers *peers, const dpx_table_read reads[DPX_MAX_DISKS], uint32_t except)
{
    for (uint32_t slot = 0; slot < peers->geometry->max_hosts; slot++)
        if (slot != except)
            observe_slot(peers, slot, reads);
}

/* docs/protocol.md, section 5: only an active or free record speaks; a claiming one may be
 * a ghost of somebody who never got the slot. */
bool dpx_peers_dead(const dpx_peers *peers, const dpx_incarnation *who)
{
    const dpx_peer *peer = &peers->slots[who->slot];
    if (peer->dead_known && who->generation <= peer->dead_generation)
        return true;
    if (!peer->seen || peer->record.state == DPX_SLOT_CLAIMING)
        return false;
    const dpx_incarnation *shown = &peer->record.who;
    if (shown->generation != who->generation)
        return shown->generation > who->generation;
    return peer->record.state == DPX_SLOT_FREE || !dpx_uuid_equal(&shown->nonce, &who->nonce);
}

static uint64_t owner_dead_time(const dpx_peers *peers, const dpx_peer *peer)
{
    const dpx_geometry *geometry = peers->geometry;
    uint64_t usual = dpx_dead_time(geometry->outage_tolerance, geometry->kill_grace, geometry->watchdog_timeout);
    if (!peer->seen || peer->record.outage_tolerance == 0)
        return usual;
    uint64_t owners = dpx_dead_time(peer->record.outage_tolerance, peer->record.kill_grace,
                                    peer->record.watchdog_timeout);
    /* Whose record lies below a damaged or a claiming one is unknown: take the longer of what may be true. */
    bool unknown = peer->damaged || peer->lost || peer->record.state == DPX_SLOT_CLAIMING;
    return unknown && usual > owners ? usual : owners;
}

bool dpx_peers_silent(const dpx_peers *peers, uint32_t slot)
{
    const dpx_peer *peer = &peers->slots[slot];
    if ((!peer->seen && !peer->damaged) || dpx_peer_free(peer))
        return false;
    return peer->still_to > peer->still_from && peer->still_to - peer->still_from >= owner_dead_time(peers, peer);
}

bool dpx_peers_silent_on(const dpx_peers *peers, uint32_t slot, uint32_t disk)
{
    const dpx_sight *sight = &peers->slots[slot].sights[disk];
    uint64_t dead_time = owner_dead_time(peers, &peers->slots[slot]);
    return sight->seen && sight->to > sight->from && sight->to - sight->from >= dead_time;
}

/* A flag may tell of a new owner before the slots have been looked at again: what was silent until
 * then was the one before it (simulated history 11930910). */
bool dpx_peers_wanted_silent(const dpx_peers *peers, uint32_t slot)
{
    return dpx_peers_silent(peers, slot) && peers->slots[slot].still_to >= peers->slots[slot].wanted_since;
}

uint32_t dpx_peers_certificate(const dpx_peers *peers, uint32_t slot, uint32_t disk)
{
    const dpx_peer *peer = &peers->slots[slot];
    const dpx_sight *sight = &peer->sights[disk];
    bool part = sight->seen && !sight->damaged && sight->from <= peer->still_from && sight->to >= peer->still_to;
    return part && dpx_peers_silent(peers, slot) ? sight->checksum : 0;
}

void dpx_peers_consulted(dpx_peers *peers, uint32_t slot, uint64_t issue)
{
    peers->slots[slot].consulted_at = issue;
}

bool dpx_peers_table_current(const dpx_peers *peers, uint32_t disk, uint64_t counter, const uint8_t *table)
{
    const dpx_geometry *geometry = peers->geometry;
    const uint8_t *row = table + (size_t)peers->self.slot * geometry->block_size;
    dpx_slot_record record;
    if (peers->self.generation == 0 || counter == 0)
        return true;
    if (!dpx_record_sound(geometry, disk, peers->self.slot, row))
        return false;
    dpx_slot_decode(row, &record);
    return dpx_incarnation_equal(&record.who, &peers->self) && record.counter >= counter;
}

uint64_t dpx_peers_until_silent(const dpx_peers *peers, uint32_t slot, uint64_t now)
{
    const dpx_peer *peer = &peers->slots[slot];
    uint64_t wanted = owner_dead_time(peers, peer);
    if (!peer->seen && !peer->damaged)
        return wanted;
    uint64_t passed = now > peer->still_from ? now - peer->still_from : 0;
    return passed < wanted ? wanted - passed : 0;
}

uint64_t dpx_peers_next_look(const dpx_peers *peers, uint64_t now)
{
    uint64_t tolerance = peers->geometry->outage_tolerance;
    uint64_t next = DPX_NEVER;
    for (uint32_t slot = 0; slot < peers->geometry->max_hosts; slot++) {
        const dpx_peer *peer = &peers->slots[slot];
        bool buried = peer->dead_known && peer->dead_generation >= peer->wanted_generation;
        if (peer->wanted_generation == 0 || buried || dpx_peers_wanted_silent(peers, slot))
            continue;
        /* Others may have watched long enough, or we have, and only this look is missing (‡D7); and a slot that was
         * free then has got its owner since. */
        if (peer->consulted_at < peer->wanted_since)
            return now;
        if (dpx_peer_free(peer))
            continue;
        uint64_t look = now + dpx_peers_until_silent(peers, slot, now);
        bool waited_for = peer->wanted_at != 0 && now < peer->wanted_at + tolerance / 8;
        uint64_t seen = peer->still_to > peer->still_from ? peer->still_to : peer->still_from;
        if (waited_for && seen + tolerance / 32 < look)
            look = seen + tolerance / 32;
        if (look < next)
            next = look;
    }
    return next;
}

void dpx_peers_want(dpx_peers *peers, const dpx_incarnation *who, uint64_t now)
{
    dpx_peer *peer = &peers->slots[who->slot];
    if (who->generation >= peer->wanted_generation)
        peer->wanted_at = now;
    if (who->generation > peer->wanted_generation) {
        peer->wanted_generation = who->generation;
        peer->wanted_since = now;
        peers->wants++;
    }
}

void dpx_peers_want_slot(dpx_peers *peers, uint32_t slot)
{
    const dpx_peer *peer = &peers->slots[slot];
    if (peer->seen && !dpx_peer_free(peer))
        dpx_peers_want(peers, &peer->record.who, peer->wanted_at);
}

void dpx_peers_bury(dpx_peers *peers, uint32_t slot, uint64_t generation)
{
    dpx_peer *peer = &peers->slots[slot];
    if (!peer->dead_known || generation > peer->dead_generation)
        peer->dead_generation = generation;
    peer->dead_known = true;
    if (peer->wanted_generation <= generation)
        peer->wanted_generation = 0;
}

void dpx_peers_drained(dpx_peers *peers, uint32_t slot, uint64_t generation, dpx_drain why)
{
    dpx_peer *peer = &peers->slots[slot];
    if (peer->drain != DPX_NOT_DRAINED && generation < peer->drain_generation)
        return;
    if (peer->drain == DPX_DRAINED_FENCED && generation == peer->drain_generation)
        return; /* a word about the slot is worth more than one about a process */
    peer->voided = false;
    peer->drain = why;
    peer->drain_generation = generation;
}

void dpx_peers_exited(dpx_peers *peers, const dpx_incarnation *who)
{
    if (dpx_incarnation_equal(&peers->slots[who->slot].record.who, who))
        dpx_peers_drained(peers, who->slot, who->generation, DPX_DRAINED_EXITED);
}

static bool void_claim(const dpx_peer *peer)
{
    return peer->voided && peer->drain == DPX_DRAINED_EXITED && peer->record.state == DPX_SLOT_CLAIMING;
}

uint64_t dpx_peers_void_owned(const dpx_peers *peers, uint32_t slot)
{
    return void_claim(&peers->slots[slot]) ? peers->slots[slot].voided_owned : UINT64_MAX;
}

void dpx_peers_voided(dpx_peers *peers, const dpx_incarnation *who, uint64_t owned)
{
    dpx_peer *peer = &peers->slots[who->slot];
    if (peer->record.state != DPX_SLOT_CLAIMING || !dpx_incarnation_equal(&peer->record.who, who))
        return;
    dpx_peers_drained(peers, who->slot, who->generation, DPX_DRAINED_EXITED);
    peer->voided = peer->drain == DPX_DRAINED_EXITED;
    peer->voided_owned = owned;
}

void dpx_peers_unvoid(dpx_peers *peers, uint32_t slot)
{
    dpx_peer *peer = &peers->slots[slot];
    if (peer->voided && peer->drain == DPX_DRAINED_EXITED)
        peer->drain = DPX_NOT_DRAINED;
    peer->voided = false;
}

/* The machine of a dead record lives on under another boot: it is this very machine, or a
 * host of that machine whose counter has grown since the dead one fell silent.  (A leftover
 * of an earlier boot, dead itself, proves nothing.  It can seem to grow when another disk is
 * read that holds a later copy of its record: once for each disk but the first, never as often
 * as there are disks.) */
static bool machine_rebooted(const dpx_peers *peers, uint32_t slot)
{
    static const dpx_uuid none;
    const dpx_peer *gone = &peers->slots[slot];
    const dpx_uuid *host = &gone->record.host;
    const dpx_uuid *boot = &gone->record.boot;
    if (dpx_uuid_equal(host, &none) || dpx_uuid_equal(boot, &none))
        return false;
    if (dpx_uuid_equal(host, &peers->host))
        return !dpx_uuid_equal(boot, &peers->boot);
    for (uint32_t other = 0; other < peers->geometry->max_hosts; other++) {
        const dpx_peer *peer = &peers->slots[other];
        if (other == slot || !peer->seen || peer->record.state != DPX_SLOT_ACTIVE)
            continue;
        if (dpx_uuid_equal(&peer->record.host, host) && !dpx_uuid_equal(&peer->record.boot, boot) &&
            peer->moved_at[peers->geometry->disks - 1] > gone->still_from)
            return true;
    }
    return false;
}

/* A claiming record may be somebody's late write over the record of the slot's real owner, so
 * what is known about its process or machine says nothing about that owner: only a word about
 * the slot itself (a fence, an administrator) counts then. */
dpx_drain dpx_peers_evidence(const dpx_peers *peers, uint32_t slot)
{
    const dpx_peer *peer = &peers->slots[slot];
    if (!peer->seen || peer->damaged || dpx_peer_free(peer))
        return DPX_NOT_DRAINED;
    bool active = peer->record.state == DPX_SLOT_ACTIVE && !peer->lost;
    if (peer->lost && !dpx_peers_silent(peers, slot))
        return DPX_NOT_DRAINED; /* an owner that lives overwrites what lies over its record */
    if (peer->drain != DPX_NOT_DRAINED && peer->drain_generation >= peer->record.who.generation &&
        (active || peer->drain == DPX_DRAINED_FENCED || (void_claim(peer) && !peer->lost)))
        return peer->drain;
    return active && machine_rebooted(peers, slot) ? DPX_DRAINED_REBOOTED : DPX_NOT_DRAINED;
}

dpx_drain dpx_peers_drain(const dpx_peers *peers, uint32_t slot)
{
    dpx_drain evidence = dpx_peers_evidence(peers, slot);
    bool dead = evidence != DPX_NOT_DRAINED && dpx_peers_dead(peers, &peers->slots[slot].record.who);
    return dead ? evidence : DPX_NOT_DRAINED;
}

bool dpx_peers_incarnation_drained(const dpx_peers *peers, const dpx_incarnation *who)
{
    const dpx_peer *peer = &peers->slots[who->slot];
    if (!peer->seen || !dpx_peers_dead(peers, who))
        return false;
    const dpx_slot_record *shown = &peer->record;
    if (shown->state != DPX_SLOT_CLAIMING && shown->who.generation > who->generation)
        return true; /* a slot is claimed only when it is drained */
    if (shown->state == DPX_SLOT_FREE && shown->who.generation == who->generation)
        return true; /* it left: its writes had all returned */
    if (void_claim(peer))
        return false; /* of who may have had the slot before it, or has it below it, that says nothing */
    return dpx_peers_drain(peers, who->slot) != DPX_NOT_DRAINED;
}
