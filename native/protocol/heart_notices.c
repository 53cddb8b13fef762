/* Watching others: silence, death notices, certificates, burial.  Protocol, section 5. */
#include "heart_state.h"

const uint8_t *dpx_heart_row(const struct heart_channel *channel, const dpx_geometry *geometry, uint32_t slot)
{
    return channel->table[channel->front] + (size_t)slot * geometry->block_size;
}

void dpx_heart_check_table(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    struct heart_channel *channel = &heart->channels[disk];
    for (uint32_t slot = 0; slot < geometry->max_hosts; slot++)
        channel->sound[slot] = dpx_record_sound(geometry, disk, slot, dpx_heart_row(channel, geometry, slot));
}

/* ---- what tables say about others ---- */

void dpx_heart_observe(dpx_heart *heart)
{
    dpx_table_read reads[DPX_MAX_DISKS] = {0};
    uint32_t read = 0;
    for (uint32_t d = 0; d < DPX_MAX_DISKS && d < heart->world->geometry->disks; d++) {
        const struct heart_channel *channel = &heart->channels[d];
        if (!channel->read_once)
            continue;
        reads[d] = (dpx_table_read){.data = channel->table[channel->front],
                                    .sound = channel->sound,
                                    .issued = channel->table_issued,
                                    .completed = channel->table_completed};
        read++;
    }
    if (read >= dpx_majority(heart->world->geometry))
        dpx_peers_observe(heart->world->peers, reads, heart->world->self.slot);
}

/* ---- notices about others ---- */

static void count_notices(dpx_heart *heart)
{
    uint32_t count = 0;
    for (uint32_t slot = 0; slot < heart->world->geometry->max_hosts; slot++)
        count += heart->entries[slot].about != 0;
    heart->record.notices = count;
    heart->numbers.notices = count;
}

static struct sentence *pass_sentence(dpx_heart *heart, uint32_t slot, uint64_t generation, uint32_t more)
{
    const dpx_peer *peer = &heart->world->peers->slots[slot];
    struct sentence *sentence = &heart->sentences[slot];
    heart->entries[slot].about = (uint32_t)(generation & DPX_NOTICE_GENERATION) | more;
    heart->version++;
    *sentence = (struct sentence){
        .generation = generation, .version = heart->version, .base_changes = peer->changes};
    heart->hurry = true;
    count_notices(heart);
    return sentence;
}

/* ‡D8: on each disk the notice certifies what that disk showed throughout the silence; a fence's or an
 * administrator's word certifies nothing. */
void dpx_heart_sentence(dpx_heart *heart, uint32_t slot, uint64_t generation, bool fenced)
{
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++)
        heart->channels[d].certificates[slot] = fenced ? 0 : dpx_peers_certificate(heart->world->peers, slot, d);
    pass_sentence(heart, slot, generation, fenced ? DPX_NOTICE_FENCED : 0)->fenced = fenced;
}

static void drop_certificates(dpx_heart *heart, uint32_t slot)
{
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++) {
        if (heart->channels[d].certificates[slot] != 0)
            heart->version++;
        heart->channels[d].certificates[slot] = 0;
    }
}

/* ---- certificates that others wrote ---- */

/* A slot whose death somebody here waits for, and no sentence of ours about it is under way. */
static bool waits_for(const dpx_heart *heart, uint32_t slot)
{
    const dpx_peer *peer = &heart->world->peers->slots[slot];
    return slot != heart->world->self.slot && peer->wanted_generation != 0 &&
           !(peer->dead_known && peer->wanted_generation <= peer->dead_generation) &&
           heart->sentences[slot].generation < peer->wanted_generation;
}

/* Another one every time, if there are several. */
uint32_t dpx_heart_wanted_part(const dpx_heart *heart)
{
    const dpx_geometry *geometry = heart->world->geometry;
    uint32_t parts = geometry->notice_blocks, own = heart->world->self.slot / geometry->notice_entries;
    for (uint32_t i = 0; i < parts; i++) {
        uint32_t part = (uint32_t)((heart->record.counter + i) % parts);
        uint32_t first = part * geometry->notice_entries;
        if (part == own)
            continue;
        for (uint32_t slot = first; slot < geometry->max_hosts && slot < first + geometry->notice_entries; slot++)
            if (waits_for(heart, slot))
                return part;
    }
    return parts;
}

/* What this disk shows of a slot, if it is sound; 0: nothing. */
static uint32_t shown_checksum(const dpx_heart *heart, uint32_t disk, uint32_t slot)
{
    const struct heart_channel *channel = &heart->channels[disk];
    return channel->sound[slot] ? dpx_block_checksum(dpx_heart_row(channel, heart->world->geometry, slot)) : 0;
}

/* The block of `writer` about slots of that part says that what is wanted is dead, on account of the record that
 * this very disk shows. */
static void find_in(dpx_heart *heart, uint32_t disk, uint32_t slot, const uint8_t *data)
{
    const dpx_geometry *geometry = heart->world->geometry;
    dpx_notice entry = dpx_notice_entry(data, slot % geometry->notice_entries);
    uint64_t wanted = heart->world->peers->slots[slot].wanted_generation;
    uint32_t ahead = (entry.about - (uint32_t)wanted) & DPX_NOTICE_GENERATION;
    struct found_notice *found = &heart->channels[disk].found[slot];
    if (entry.about == 0 || entry.certificate == 0 || ahead > DPX_NOTICE_GENERATION / 2 ||
        entry.certificate != shown_checksum(heart, disk, slot) || found->generation > wanted + ahead)
        return;
    *found = (struct found_notice){.generation = wanted + ahead, .certificate = entry.certificate};
}

static void find_in_part(dpx_heart *heart, uint32_t disk, uint32_t part, const uint8_t *blocks)
{
    const dpx_geometry *geometry = heart->world->geometry;
    uint32_t first = part * geometry->notice_entries;
    for (uint32_t slot = first; slot < geometry->max_hosts && slot < first + geometry->notice_entries; slot++) {
        heart->channels[disk].found[slot] = (struct found_notice){0};
        if (!waits_for(heart, slot))
            continue;
        for (uint32_t writer = 0; writer < geometry->max_hosts; writer++) {
            const uint8_t *data = blocks + (size_t)writer * geometry->block_size;
            uint64_t block = dpx_notice_block(geometry, writer, part);
            /* Our own block, too: what the slot's last owner knew is carried on there. */
            if (dpx_block_check(data, geometry, DPX_KIND_NOTICE, disk, block) == DPX_SOUND)
                find_in(heart, disk, slot, data);
        }
        dpx_peers_consulted(heart->world->peers, slot, heart->channels[disk].issue);
    }
}

void dpx_heart_find_certificates(dpx_heart *heart, uint32_t disk)
{
    const dpx_geometry *geometry = heart->world->geometry;
    const struct heart_channel *channel = &heart->channels[disk];
    find_in_part(heart, disk, heart->world->self.slot / geometry->notice_entries, channel->notices);
    if (channel->others_part < geometry->notice_blocks)
        find_in_part(heart, disk, channel->others_part, channel->others);
}

/* ‡D9: a majority of the disks, each by its own certificate, tells of the silence of the same generation.  The notice
 * that follows is ours; what comes of it is seen when that is durable, and the slot was read once more. */
static bool sentence_by_certificate(dpx_heart *heart, uint32_t slot)
{
    const dpx_geometry *geometry = heart->world->geometry;
    uint64_t highest = 0;
    uint32_t disks = 0;
    for (uint32_t d = 0; d < geometry->disks; d++)
        if (heart->channels[d].found[slot].generation > highest)
            highest = heart->channels[d].found[slot].generation;
    for (uint32_t d = 0; d < geometry->disks; d++)
        disks += heart->channels[d].found[slot].generation == highest;
    if (highest == 0 || disks < dpx_majority(geometry))
        return false;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        struct heart_channel *channel = &heart->channels[d];
        bool same = channel->found[slot].generation == highest;
        channel->certificates[slot] = same ? channel->found[slot].certificate : 0;
        channel->found[slot] = (struct found_notice){0};
    }
    pass_sentence(heart, slot, highest, 0)->certified = true;
    return true;
}

/* A notice is carried on until its slot shows a higher generation, or that one free.  Free at a lower one, it is yet to
 * be claimed at the one that is dead, if nobody tells (simulated history 50120341). */
static bool served_its_purpose(const dpx_heart *heart, uint32_t slot)
{
    const dpx_peer *peer = &heart->world->peers->slots[slot];
    if (!peer->seen || peer->record.state == DPX_SLOT_CLAIMING)
        return false;
    /* How far the slot has come since, in 31-bit arithmetic. */
    uint32_t ahead = ((uint32_t)peer->record.who.generation - heart->entries[slot].about) & DPX_NOTICE_GENERATION;
    return ahead <= DPX_NOTICE_GENERATION / 2 && (ahead != 0 || dpx_peer_free(peer));
}

/* Somebody waits for the end of this silence: be there when it comes, not up to a period later.
 * Not much more often than usual, whatever the clock says. */
static void beat_when_silent(dpx_heart *heart, uint32_t slot, uint64_t now)
{
    const dpx_peer *peer = &heart->world->peers->slots[slot];
    if (dpx_peer_free(peer))
        return; /* it left: nothing to wait for */
    uint64_t left = dpx_peers_until_silent(heart->world->peers, slot, now);
    uint64_t least = heart->world->geometry->outage_tolerance / 256;
    uint64_t when = now + (left > least ? left : least);
    if (when < heart->next_beat)
        heart->next_beat = when;
}

void dpx_heart_review(dpx_heart *heart, uint64_t now)
{
    dpx_peers *peers = heart->world->peers;
    for (uint32_t slot = 0; slot < heart->world->geometry->max_hosts; slot++) {
        struct sentence *sentence = &heart->sentences[slot];
        uint64_t wanted = peers->slots[slot].wanted_generation;
        if (slot == heart->world->self.slot)
            continue;
        if (heart->entries[slot].about != 0 && served_its_purpose(heart, slot)) {
            heart->entries[slot] = (dpx_notice){0};
            *sentence = (struct sentence){0};
            heart->version++;
            drop_certificates(heart, slot);
            count_notices(heart);
        }
        if (wanted == 0)
            continue;
        dpx_incarnation who = {.slot = slot, .generation = wanted};
        bool undecided = sentence->generation < wanted || (sentence->certified && !sentence->done);
        if (peers->slots[slot].dead_known && wanted <= peers->slots[slot].dead_generation)
            peers->slots[slot].wanted_generation = 0;
        else if (peers->slots[slot].seen && peers->slots[slot].record.who.generation > who.generation &&
                 peers->slots[slot].record.state != DPX_SLOT_CLAIMING)
            peers->slots[slot].wanted_generation = 0; /* dead by succession */
        else if (undecided && dpx_peers_wanted_silent(peers, slot))
            dpx_heart_sentence(heart, slot, wanted, false);
        else if (waits_for(heart, slot) && sentence_by_certificate(heart, slot))
            continue;
        else if (sentence->generation < wanted)
            beat_when_silent(heart, slot, now);
    }
}

/* A chain ran through on this disk, and announced these notices. */
static bool announced_on(const dpx_heart *heart, uint32_t disk, uint32_t version)
{
    const struct heart_channel *channel = &heart->channels[disk];
    return channel->proved != 0 && channel->proved_version >= version;
}

static uint32_t disks_announcing(const dpx_heart *heart, uint32_t version)
{
    uint32_t disks = 0;
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++)
        disks += announced_on(heart, d, version);
    return disks;
}

/* After the notice was durable there, the disk shows the very record that is certified there. */
static bool confirms(const dpx_heart *heart, uint32_t disk, uint32_t slot)
{
    uint32_t certificate = heart->channels[disk].certificates[slot];
    return heart->channels[disk].read_once && certificate != 0 && certificate == shown_checksum(heart, disk, slot);
}

/* Disks that bear the sentence out, each for itself, by a look after the notice: silent for T_dead, and not merely
 * unmoved since it was passed.  (Who was paused and goes on may have moved on one of those just before, and beat where
 * we do not look again.) */
static uint32_t disks_agreeing(const dpx_heart *heart, uint32_t slot)
{
    const struct sentence *sentence = &heart->sentences[slot];
    uint32_t disks = 0;
    for (uint32_t d = 0; d < heart->world->geometry->disks; d++) {
        if (!announced_on(heart, d, sentence->version))
            continue;
        disks += sentence->fenced || (sentence->certified ? confirms(heart, d, slot)
                                                          : dpx_peers_silent_on(heart->world->peers, slot, d));
    }
    return disks;
}

/* The notice is durable and announced on a majority, and the slot was read after that, on each of those disks: silent
 * means dead; or, by a certificate, what is certified there. */
void dpx_heart_execute(dpx_heart *heart)
{
    dpx_peers *peers = heart->world->peers;
    uint32_t majority = dpx_majority(heart->world->geometry);
    for (uint32_t slot = 0; slot < heart->world->geometry->max_hosts; slot++) {
        struct sentence *sentence = &heart->sentences[slot];
        const dpx_peer *peer = &peers->slots[slot];
        if (sentence->generation == 0 || sentence->done || disks_announcing(heart, sentence->version) < majority)
            continue;
        bool unmoved = peer->changes == sentence->base_changes;
        if (unmoved && disks_agreeing(heart, slot) < majority)
            continue; /* another disk may yet do so */
        if (!unmoved) {
            *sentence = (struct sentence){0}; /* it lives, or lived: a new silence must come first */
            drop_certificates(heart, slot);
            continue;
        }
        sentence->done = true;
        dpx_peers_bury(peers, slot, sentence->generation);
        if (sentence->fenced)
            dpx_peers_drained(peers, slot, sentence->generation, DPX_DRAINED_FENCED);
    }
}
