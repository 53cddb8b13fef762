/* Notices: whether they are found, whose they are, what they certify.  One scene per way to overlook one, or to die of
 * one that is not there (docs/protocol.md, ‡S20 to ‡S22, ‡D8 to ‡D10); each fails when its rule is left out. */
#include <errno.h>

#include "claimer.h"

static uint8_t *notices_of(scene *s, uint32_t disk, const memory_host *host)
{
    return disk_block(&s->disks, disk, dpx_notice_block(&s->disks.geometry, host->world.self.slot, 0));
}

static uint64_t beats(const memory_host *host)
{
    return dpx_heart_count(host->heart).beats;
}

static bool alive(const memory_host *host)
{
    return dpx_heart_end(host->heart) == DPX_ALIVE && host->disks->now < host->world.lifetime_end;
}

/* A's machine is paused together with its clock, and B declares it dead.  Returns when A stood still. */
static uint64_t a_is_held_dead(scene *s, uint32_t disks)
{
    open_scene(s, disks);
    uint64_t stood_still = s->disks.now;
    fall_silent(s);
    host_beat(&s->b);
    host_beat(&s->b);
    CHECK(dpx_peers_dead(s->b.world.peers, &s->a.world.self));
    return stood_still;
}

static void a_goes_on(scene *s, uint64_t stood_still)
{
    s->disks.now = stood_still + 6 * DPX_SECOND;
    host_beat(&s->a);
}

/* ---- is it found ---- */

/* A claim that was long under way lands over the record of whoever wrote the notice. */
static void test_a_late_claim_hides_no_notice(void)
{
    scene s;
    uint64_t stood_still = a_is_held_dead(&s, 1);
    dpx_slot_record late = record_of(DPX_SLOT_CLAIMING, s.b.world.self.generation, 1, 9);
    late.who.slot = s.b.world.self.slot;
    put_record(&s.disks, 0, &late);
    a_goes_on(&s, stood_still);
    CHECK_EQ(dpx_heart_end(s.a.heart), DPX_END_NOTICE);
    close_scene(&s);
}

/* ‡S21: what may lie beside a late note that hides a notice: its owner's record, a late claim, or a damaged record. */
static void test_a_late_note_proves_nothing(void)
{
    enum { OWNERS, OWNERS_LATER, CLAIM, DAMAGE, WAYS };
    for (int beside = 0; beside < WAYS; beside++) {
        scene s;
        uint64_t stood_still = a_is_held_dead(&s, 1), before = beats(&s.a);
        uint32_t slot = s.b.world.self.slot;
        dpx_incarnation late = s.b.world.self;
        late.generation += beside == OWNERS_LATER ? 1024 : 0; /* its author had jumped ahead */
        late.nonce.bytes[0] ^= 1;
        put_notes_of(&s.disks, 0, &late);
        dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, s.b.world.self.generation, 1, 9);
        claim.who.slot = slot;
        if (beside == CLAIM)
            put_record(&s.disks, 0, &claim);
        if (beside == DAMAGE)
            disk_block(&s.disks, 0, dpx_slot_block(&s.disks.geometry, slot))[40] ^= 1;
        for (uint64_t t = 6; t < 20; t += 2) {
            s.disks.now = stood_still + t * DPX_SECOND;
            host_beat(&s.a);
        }
        CHECK_EQ(beats(&s.a), before);
        close_scene(&s);
    }
}

/* ‡S21: a note that was long under way lands over the notice: by an earlier owner, by one of the same generation. */
static void test_a_late_note_is_not_believed(void)
{
    for (int same = 0; same < 2; same++) {
        scene s;
        uint64_t stood_still = a_is_held_dead(&s, 1), real = s.disks.now;
        dpx_incarnation late = s.b.world.self;
        late.generation -= !same;
        late.nonce.bytes[0] ^= 1;
        put_notes_of(&s.disks, 0, &late);
        uint64_t before = beats(&s.a);
        a_goes_on(&s, stood_still);
        CHECK_EQ(beats(&s.a), before); /* it might name us: nothing is proved */
        s.disks.now = real + 6 * DPX_SECOND;
        CHECK(dpx_notice_entry(notices_of(&s, 0, &s.b), s.a.world.self.slot).about == 0);
        host_beat(&s.b); /* whoever owns the slot sees it, and mends it */
        s.disks.now += 2 * DPX_SECOND;
        host_beat(&s.b);
        CHECK(dpx_notice_entry(notices_of(&s, 0, &s.b), s.a.world.self.slot).about != 0);
        s.disks.now = stood_still + 8 * DPX_SECOND;
        host_beat(&s.a);
        CHECK_EQ(dpx_heart_end(s.a.heart), DPX_END_NOTICE);
        close_scene(&s);
    }
}

/* ‡S20: the notice is damaged, and its author has died.  The one that it names cannot know. */
static void test_a_damaged_notice_proves_nothing(void)
{
    scene s;
    uint64_t stood_still = a_is_held_dead(&s, 1);
    notices_of(&s, 0, &s.b)[100] ^= 1;
    uint64_t before = beats(&s.a);
    for (uint64_t t = 6; t < 60; t += 2) {
        s.disks.now = stood_still + t * DPX_SECOND;
        host_beat(&s.a);
    }
    CHECK_EQ(beats(&s.a), before);
    CHECK_EQ(dpx_heart_end(s.a.heart), DPX_END_LIFETIME);
    close_scene(&s);
}

/* ‡S20: one flipped bit ends nobody: neither beside an owner that lives, nor in a slot that is free, nor in one whose
 * owner died; and whoever comes then lives, too. */
static void test_one_flipped_bit_ends_nobody(void)
{
    for (int which = 0; which < 3; which++) {
        scene s;
        memory_host late;
        open_scene(&s, 1);
        const dpx_geometry *g = &s.disks.geometry;
        uint32_t unowned = 0;
        while (unowned == s.a.world.self.slot || unowned == s.b.world.self.slot || unowned == s.c.world.self.slot)
            unowned++;
        uint32_t slot = which == 0 ? s.c.world.self.slot : which == 1 ? unowned : s.c.world.self.slot;
        for (int beat = 0; beat < 3; beat++, s.disks.now += 5 * DPX_SECOND) {
            host_beat(&s.a);
            host_beat(&s.b);
            if (which != 2)
                host_beat(&s.c);
        }
        disk_block(&s.disks, 0, dpx_notice_block(g, slot, 0))[200] ^= 4;
        for (int beat = 0; beat < 60; beat++, s.disks.now += 2 * DPX_SECOND) {
            host_beat(&s.a);
            host_beat(&s.b);
            if (which != 2)
                host_beat(&s.c);
        }
        CHECK(alive(&s.a) && alive(&s.b) && (which == 2 || alive(&s.c)));
        bool mended = dpx_block_check(disk_block(&s.disks, 0, dpx_notice_block(g, slot, 0)), g, DPX_KIND_NOTICE, 0,
                                      dpx_notice_block(g, slot, 0)) == DPX_SOUND;
        CHECK_EQ(mended, which == 0);
        CHECK(host_join(&late, &s.disks, 7) == DPX_DONE);
        CHECK(beats(&late) > 0 || which == 0);
        CHECK(which == 0 || late.world.self.generation > 1000); /* above what might stand there */
        s.disks.now += 2 * DPX_SECOND;
        host_beat(&late);
        CHECK(alive(&late));
        host_forget(&late);
        close_scene(&s);
    }
}

/* ---- carried on ---- */

/* ‡F3: one disk of three has old notices; whichever it is, the newest are carried on, whole; and what a disk certifies
 * is carried on there only (‡D8). */
static void test_the_newest_notices_are_carried_on(void)
{
    for (uint32_t behind = 0; behind < 3; behind++) {
        memory_disks disks;
        claimer c;
        disks_format(&disks, 3, HOSTS, LEASES);
        dpx_slot_record left = record_of(DPX_SLOT_FREE, 3, 7, 9);
        for (uint32_t d = 0; d < 3; d++) {
            dpx_notice entries[DPX_BLOCK_MAX / 8] = {0};
            entries[1] = (dpx_notice){.about = d == behind ? 1 : 3, .certificate = 100 + d};
            entries[2] = (dpx_notice){.about = d == behind ? 5 : 0, .certificate = d == behind ? 200 : 0};
            put_record(&disks, d, &left);
            dpx_notice_encode(disk_block(&disks, d, dpx_notice_block(&disks.geometry, SLOT, 0)), &disks.geometry, d, 0,
                              &left.who, d == behind ? 2 : 6, 0, entries);
        }
        begin_claim(&c, &disks, 1);
        CHECK(run_claim(&c) == DPX_DONE);
        CHECK_EQ(dpx_claim_notices(c.claim)[1].about, 3);
        CHECK_EQ(dpx_claim_notices(c.claim)[2].about, 0);
        for (uint32_t d = 0; d < 3; d++) {
            if (!dpx_claim_noted(c.claim, d))
                continue; /* a majority had answered */
            const uint8_t *note = disk_block(&disks, d, dpx_notice_block(&disks.geometry, SLOT, 0));
            CHECK_EQ(dpx_notice_entry(note, 1).about, 3);
            CHECK_EQ(dpx_notice_entry(note, 1).certificate, d == behind ? 0 : 100 + d);
        }
        host_forget(&c.host);
        disks_free(&disks);
    }
}

/* ---- the look before the write ---- */

/* ‡S22: the disks show what this incarnation never wrote: its memory is of before. */
static void test_an_older_memory_is_the_end(void)
{
    scene s;
    open_scene(&s, 1);
    dpx_slot_record later;
    uint64_t block = dpx_slot_block(&s.disks.geometry, s.a.world.self.slot);
    dpx_slot_decode(disk_block(&s.disks, 0, block), &later);
    later.sequence += 3;
    later.counter += 3;
    put_record(&s.disks, 0, &later);
    uint64_t writes = s.disks.writes;
    s.disks.now += 6 * DPX_SECOND;
    host_beat(&s.a);
    CHECK_EQ(dpx_heart_end(s.a.heart), DPX_END_REVERTED);
    CHECK_EQ(s.disks.writes, writes);
    close_scene(&s);
}

/* ‡S22: … on one disk of three, under the very sequence that goes to another disk meanwhile. */
static void test_a_later_record_is_not_taken_for_the_next_one(void)
{
    scene s;
    open_scene(&s, 3);
    dpx_request *looks[3];
    dpx_slot_record later;
    dpx_slot_decode(disk_block(&s.disks, 0, dpx_slot_block(&s.disks.geometry, s.a.world.self.slot)), &later);
    for (uint32_t d = 1; d < 3; d++) {
        dpx_slot_record shown;
        dpx_slot_decode(disk_block(&s.disks, d, dpx_slot_block(&s.disks.geometry, s.a.world.self.slot)), &shown);
        later = shown.sequence > later.sequence ? shown : later;
    }
    later.sequence++;
    later.counter++;
    put_record(&s.disks, 1, &later);
    s.disks.now += 6 * DPX_SECOND;
    for (uint32_t d = 0; d < 3; d++) { /* all disks are asked before the first one answers */
        looks[d] = dpx_heart_step(s.a.heart, s.disks.now);
        CHECK(looks[d] && looks[d]->disk == d);
        disks_carry_out(&s.disks, looks[d], s.a.world.lifetime_end);
    }
    dpx_heart_complete(s.a.heart, looks[0], s.disks.now);
    dpx_request *record = dpx_heart_step(s.a.heart, s.disks.now);
    CHECK(record && record->disk == 0 && record->write_count == 1);
    CHECK_EQ(dpx_block_key(record->writes[0].data).sequence, later.sequence);
    dpx_heart_complete(s.a.heart, looks[1], s.disks.now);
    CHECK_EQ(dpx_heart_end(s.a.heart), DPX_END_REVERTED);
    close_scene(&s);
}

/* ‡S22: somebody claims the slot.  A late write is written over, after a while; a claim in earnest, since we left the
 * slot and know nothing of it, ends us. */
static void test_a_claim_of_the_own_slot_is_waited_for(void)
{
    for (int earnest = 0; earnest < 2; earnest++) {
        scene s;
        open_scene(&s, 1);
        uint64_t begun = s.disks.now, patience = 3 * s.disks.geometry.claim_time;
        dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, s.a.world.self.generation + 1, 1, 9), shown;
        uint64_t block = dpx_slot_block(&s.disks.geometry, s.a.world.self.slot);
        claim.who.slot = s.a.world.self.slot;
        put_record(&s.disks, 0, &claim);
        s.disks.now = begun + 6 * DPX_SECOND;
        for (; s.disks.now < begun + 6 * DPX_SECOND + patience; s.disks.now += 500 * DPX_MS) {
            dpx_heart_hurry(s.a.heart);
            host_beat(&s.a);
            dpx_slot_decode(disk_block(&s.disks, 0, block), &shown);
            CHECK(dpx_incarnation_equal(&shown.who, &claim.who));
        }
        if (earnest) {
            claim.state = DPX_SLOT_ACTIVE;
            put_record(&s.disks, 0, &claim);
        }
        dpx_heart_hurry(s.a.heart);
        host_beat(&s.a);
        CHECK_EQ(dpx_heart_end(s.a.heart), earnest ? DPX_END_REPLACED : DPX_ALIVE);
        dpx_slot_decode(disk_block(&s.disks, 0, block), &shown);
        CHECK_EQ(dpx_incarnation_equal(&shown.who, &s.a.world.self), !earnest);
        close_scene(&s);
    }
}

/* ‡S22: … and while it is, a notice is met all the same. */
static void test_a_notice_is_met_while_a_claim_is_waited_for(void)
{
    scene s;
    uint64_t stood_still = a_is_held_dead(&s, 1);
    dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, s.a.world.self.generation + 1, 1, 9);
    claim.who.slot = s.a.world.self.slot;
    put_record(&s.disks, 0, &claim);
    uint64_t writes = s.disks.writes;
    a_goes_on(&s, stood_still);
    s.disks.now += 2 * DPX_SECOND;
    host_beat(&s.a);
    CHECK_EQ(dpx_heart_end(s.a.heart), DPX_END_NOTICE);
    CHECK_EQ(s.disks.writes, writes);
    close_scene(&s);
}

/* ‡S22: formatted anew under a running host, wiped, another disk, or merely damaged: so is a superblock over which
 * another disk's was written, while the own record behind it is this disk's. */
static void test_a_lockspace_that_is_gone_is_left_alone(void)
{
    enum { ANEW, WIPED, OTHER_DISK, RECORD_ANEW, DAMAGED, ZEROED, OVERWRITTEN, CASES };
    for (int how = 0; how < CASES; how++) {
        scene s;
        open_scene(&s, 1);
        dpx_geometry other = s.disks.geometry;
        uint64_t own = dpx_slot_block(&other, s.a.world.self.slot);
        uint8_t *superblock = disk_block(&s.disks, 0, 0);
        other.uuid.bytes[0] ^= 1;
        if (how == ANEW)
            dpx_superblock_encode(superblock, &other, 0, 1, 0);
        else if (how == WIPED || how == ZEROED)
            memset(superblock, 0, 512);
        else if (how == DAMAGED || how == RECORD_ANEW)
            superblock[300] ^= 1;
        if (how == OTHER_DISK || how == OVERWRITTEN) {
            other = s.disks.geometry;
            other.disks = 3;
            dpx_superblock_encode(superblock, &other, 1, 1, 0);
        }
        if (how == OTHER_DISK)
            dpx_empty_encode(disk_block(&s.disks, 0, own), &other, 1, own, 0);
        if (how == WIPED)
            memset(disk_block(&s.disks, 0, own), 0, 512);
        if (how == RECORD_ANEW)
            dpx_empty_encode(disk_block(&s.disks, 0, own), &other, 0, own, 0);
        uint64_t writes = s.disks.writes;
        s.disks.now += 6 * DPX_SECOND;
        host_beat(&s.a);
        CHECK_EQ(dpx_heart_end(s.a.heart), how >= DAMAGED ? DPX_ALIVE : DPX_END_GONE);
        CHECK_EQ(s.disks.writes > writes, how >= DAMAGED);
        close_scene(&s);
    }
}

/* … and one disk of three ends nobody, but nothing is written there. */
static void test_one_disk_that_is_gone_is_left_alone(void)
{
    scene s;
    open_scene(&s, 3);
    uint64_t own = dpx_slot_block(&s.disks.geometry, s.a.world.self.slot);
    uint8_t before[512];
    memcpy(before, disk_block(&s.disks, 1, own), 512);
    dpx_geometry other = s.disks.geometry;
    other.uuid.bytes[3] ^= 1;
    dpx_superblock_encode(disk_block(&s.disks, 1, 0), &other, 1, 1, 0);
    for (int beat = 0; beat < 20; beat++, s.disks.now += 5 * DPX_SECOND)
        host_beat(&s.a);
    CHECK(alive(&s.a));
    CHECK_BYTES(disk_block(&s.disks, 1, own), before, 512);
    close_scene(&s);
}

/* ---- certified silence ---- */

/* How A's record is, when D, who came late, wants its death. */
enum moved { UNMOVED, MOVED, CLAIMED, OLDER, CASES };

static void move_a(scene *s, uint32_t disk, enum moved how)
{
    dpx_slot_record record;
    uint64_t block = dpx_slot_block(&s->disks.geometry, s->a.world.self.slot);
    dpx_slot_decode(disk_block(&s->disks, disk, block), &record);
    if (how == CLAIMED) {
        record.state = DPX_SLOT_CLAIMING;
        record.who.generation++;
        record.who.nonce.bytes[1] ^= 1;
    }
    record.sequence += how == MOVED ? 1 : how == OLDER ? -1u : 0;
    record.counter += how == MOVED ? 1 : how == OLDER ? -1u : 0;
    if (how != UNMOVED)
        dpx_slot_encode(disk_block(&s->disks, disk, block), &s->disks.geometry, disk, &record);
}

static bool late_comer_holds_a_dead(scene *s, memory_host *late)
{
    dpx_peers_want(late->world.peers, &s->a.world.self, s->disks.now);
    for (int beat = 0; beat < 4; beat++) {
        s->disks.now += 50 * DPX_MS;
        dpx_heart_hurry(late->heart);
        host_beat(late);
    }
    return dpx_peers_dead(late->world.peers, &s->a.world.self);
}

/* ‡D9: who comes after B has judged need not watch for T_dead; and A, who overlooks B's notice, finds D's. */
static void test_a_certificate_replaces_the_watching(void)
{
    for (uint32_t disks = 1; disks <= 3; disks += 2) {
        for (enum moved how = UNMOVED; how < CASES; how++) {
            scene s;
            memory_host late;
            uint64_t stood_still = a_is_held_dead(&s, disks);
            for (uint32_t d = 0; d < disks; d++)
                move_a(&s, d, how);
            CHECK(host_join(&late, &s.disks, 7) == DPX_DONE);
            CHECK_EQ(late_comer_holds_a_dead(&s, &late), how == UNMOVED);
            CHECK_EQ(dpx_heart_count(late.heart).notices, how == UNMOVED); /* nor does it say so of who lives */
            for (uint32_t d = 0; d < disks && how == UNMOVED; d++) /* B's are lost, by whatever way */
                put_notes_of(&s.disks, d, &s.b.world.self);
            if (how == UNMOVED) {
                a_goes_on(&s, stood_still);
                CHECK_EQ(dpx_heart_end(s.a.heart), DPX_END_NOTICE);
            }
            host_forget(&late);
            close_scene(&s);
        }
    }
}

/* ‡D9: of three disks two must bear it out. */
static void test_a_minority_certifies_nothing(void)
{
    for (uint32_t moved = 1; moved < 3; moved++) {
        scene s;
        memory_host late;
        a_is_held_dead(&s, 3);
        for (uint32_t d = 3 - moved; d < 3; d++)
            move_a(&s, d, CLAIMED);
        CHECK(host_join(&late, &s.disks, 7) == DPX_DONE);
        CHECK_EQ(late_comer_holds_a_dead(&s, &late), moved == 1);
        CHECK_EQ(dpx_heart_count(late.heart).notices, moved == 1);
        host_forget(&late);
        close_scene(&s);
    }
}

/* ‡D9: the record is read once more after the own notice is durable: A moved in between. */
static void test_a_certificate_is_compared_after_the_own_notice(void)
{
    scene s;
    memory_host late;
    a_is_held_dead(&s, 1);
    CHECK(host_join(&late, &s.disks, 7) == DPX_DONE);
    dpx_peers_want(late.world.peers, &s.a.world.self, s.disks.now);
    s.disks.now += 50 * DPX_MS;
    dpx_heart_hurry(late.heart);
    bool noted = false;
    for (int step = 0; step < 20; step++) {
        dpx_request *request = dpx_heart_step(late.heart, s.disks.now);
        if (!request)
            break;
        if (!noted && request->write_count > 0 && request->read_count == 0) {
            move_a(&s, 0, MOVED); /* it is about to say so */
            noted = true;
        }
        disks_carry_out(&s.disks, request, late.world.lifetime_end);
        dpx_heart_complete(late.heart, request, s.disks.now);
    }
    CHECK(noted);
    CHECK(!dpx_peers_dead(late.world.peers, &s.a.world.self));
    for (int beat = 0; beat < 4; beat++, s.disks.now += DPX_SECOND) {
        dpx_heart_hurry(late.heart);
        host_beat(&late);
    }
    CHECK(!dpx_peers_dead(late.world.peers, &s.a.world.self));
    host_forget(&late);
    close_scene(&s);
}

/* ‡D8: a certificate counts on its own disk; and a word about a slot (fence, administrator) certifies nothing. */
static void test_what_certifies_nothing(void)
{
    enum { ANOTHER_DISKS, A_WORD, WAYS };
    for (int how = 0; how < WAYS; how++) {
        scene s;
        memory_host late;
        open_scene(&s, 3);
        if (how == A_WORD) {
            dpx_heart_retire(s.b.heart, s.a.world.self.slot, s.a.world.self.generation);
            s.disks.now += 6 * DPX_SECOND;
        } else {
            fall_silent(&s);
        }
        host_beat(&s.b);
        host_beat(&s.b);
        CHECK(dpx_peers_dead(s.b.world.peers, &s.a.world.self));
        if (how == ANOTHER_DISKS) {
            dpx_notice entries[3][DPX_BLOCK_MAX / 8];
            dpx_incarnation who;
            uint64_t sequence;
            for (uint32_t d = 0; d < 3; d++)
                dpx_notice_decode(notices_of(&s, d, &s.b), &s.disks.geometry, &who, &sequence, entries[d]);
            for (uint32_t d = 0; d < 3; d++)
                dpx_notice_encode(notices_of(&s, d, &s.b), &s.disks.geometry, d, 0, &who, sequence, 0,
                                  entries[(d + 1) % 3]);
        }
        CHECK(host_join(&late, &s.disks, 7) == DPX_DONE);
        CHECK(!late_comer_holds_a_dead(&s, &late));
        host_forget(&late);
        close_scene(&s);
    }
}

/* ‡D8: the first observer takes its certificates back once the slot has moved. */
static void test_a_slot_that_moved_is_certified_no_more(void)
{
    scene s;
    open_scene(&s, 1);
    fall_silent(&s);
    bool noted = false;
    for (int step = 0; step < 20; step++) {
        dpx_request *request = dpx_heart_step(s.b.heart, s.disks.now);
        if (!request)
            break;
        if (!noted && request->write_count > 0 && request->read_count == 0) {
            move_a(&s, 0, MOVED);
            noted = true;
        }
        disks_carry_out(&s.disks, request, s.b.world.lifetime_end);
        dpx_heart_complete(s.b.heart, request, s.disks.now);
    }
    CHECK(noted && !dpx_peers_dead(s.b.world.peers, &s.a.world.self));
    s.disks.now += 6 * DPX_SECOND;
    host_beat(&s.b);
    CHECK_EQ(dpx_notice_entry(notices_of(&s, 0, &s.b), s.a.world.self.slot).certificate, 0);
    close_scene(&s);
}

int main(void)
{
    RUN(test_a_late_claim_hides_no_notice);
    RUN(test_a_late_note_proves_nothing);
    RUN(test_a_late_note_is_not_believed);
    RUN(test_a_damaged_notice_proves_nothing);
    RUN(test_one_flipped_bit_ends_nobody);
    RUN(test_the_newest_notices_are_carried_on);
    RUN(test_an_older_memory_is_the_end);
    RUN(test_a_later_record_is_not_taken_for_the_next_one);
    RUN(test_a_claim_of_the_own_slot_is_waited_for);
    RUN(test_a_notice_is_met_while_a_claim_is_waited_for);
    RUN(test_a_lockspace_that_is_gone_is_left_alone);
    RUN(test_one_disk_that_is_gone_is_left_alone);
    RUN(test_a_certificate_replaces_the_watching);
    RUN(test_a_minority_certifies_nothing);
    RUN(test_a_certificate_is_compared_after_the_own_notice);
    RUN(test_what_certifies_nothing);
    RUN(test_a_slot_that_moved_is_certified_no_more);
    return check_finish("test_notice_rules");
}
