/* Slots: one scene per rule of docs/protocol.md that histories of the simulator meet once in millions,
 * if ever: each fails when its rule is left out (tests/mutants/ledger.toml names them). */
#include <errno.h>

#include "claimer.h"

/* ---- whose slot it is ---- */

/* ‡S9: the own record under another nonce, met by the read that follows the own write. */
static void test_another_nonce_in_the_own_record_is_the_end(void)
{
    scene s;
    open_scene(&s, 1);
    s.disks.now += 6 * DPX_SECOND;
    uint32_t slot = s.a.world.self.slot;
    dpx_request *request = NULL;
    for (int step = 0; step < 2; step++) { /* the look before, the record */
        if (step > 0)
            dpx_heart_complete(s.a.heart, request, s.disks.now);
        request = dpx_heart_step(s.a.heart, s.disks.now);
        disks_carry_out(&s.disks, request, s.a.world.lifetime_end);
    }
    dpx_slot_record other;
    uint8_t *row = (uint8_t *)request->reads[0].data + (size_t)slot * s.disks.geometry.block_size;
    dpx_slot_decode(row, &other);
    other.who.nonce.bytes[3] ^= 1;
    other.sequence++;
    dpx_slot_encode(row, &s.disks.geometry, 0, &other);
    dpx_heart_complete(s.a.heart, request, s.disks.now);
    CHECK(dpx_heart_end(s.a.heart) == DPX_END_REPLACED);
    close_scene(&s);
}

/* ‡S16: a free record that failed may have landed: it is not written again. */
static void test_a_slot_is_freed_once(void)
{
    scene s;
    open_scene(&s, 1);
    s.disks.fail_writes[0] = 5;
    dpx_heart_leave(s.a.heart);
    host_beat(&s.a);
    s.disks.fail_writes[0] = 0;
    uint64_t writes = s.disks.writes;
    for (int i = 0; i < 30; i++, s.disks.now += DPX_SECOND)
        host_beat(&s.a);
    CHECK_EQ(s.disks.writes, writes);
    CHECK(dpx_heart_end(s.a.heart) != DPX_END_LEFT);
    close_scene(&s);
}

/* ‡S1: the generation that notices name counts, not only what the record shows. */
static void test_a_generation_that_was_declared_dead_is_not_taken(void)
{
    scene s;
    claimer c;
    open_scene(&s, 1);
    dpx_slot_record silent = record_of(DPX_SLOT_ACTIVE, 3, 7, 9);
    put_record(&s.disks, 0, &silent);
    s.disks.now += 6 * DPX_SECOND;
    host_beat(&s.b);
    dpx_heart_retire(s.b.heart, SLOT, 7); /* a claim of generation 7 was there for a while */
    host_beat(&s.b);
    begin_claim(&c, &s.disks, 8);
    c.host.world.peers = s.b.world.peers; /* B reclaims the slot */
    CHECK(run_claim(&c) == DPX_DONE);
    CHECK_EQ(c.host.world.self.generation, 7 + (UINT64_C(1) << 20)); /* far above: the slot was retired */
    host_forget(&c.host);
    close_scene(&s);
}

/* ‡S1: the slot's own notice blocks tell of an owner whose record lies under a late claim. */
static void test_a_generation_that_was_noted_is_not_taken(void)
{
    memory_disks disks;
    claimer c;
    disks_format(&disks, 1, HOSTS, LEASES);
    dpx_slot_record shown = record_of(DPX_SLOT_FREE, 3, 7, 9);
    put_record(&disks, 0, &shown);
    put_note(&disks, 0, SLOT, 9);
    begin_claim(&c, &disks, 1);
    CHECK(run_claim(&c) == DPX_DONE);
    CHECK_EQ(c.host.world.self.generation, 10);
    host_forget(&c.host);
    disks_free(&disks);
}

/* The notices of a slot's earlier life are carried on by its next owner. */
static void test_notices_outlive_their_author(void)
{
    scene s;
    claimer next;
    open_scene(&s, 1);
    uint64_t stood_still = s.disks.now;
    fall_silent(&s);
    host_beat(&s.b);
    host_beat(&s.b);
    CHECK(dpx_peers_dead(s.b.world.peers, &s.a.world.self));
    dpx_heart_leave(s.b.heart);
    host_beat(&s.b);
    CHECK(dpx_heart_end(s.b.heart) == DPX_END_LEFT);
    dpx_slot_record left = record_of(DPX_SLOT_FREE, 1, 1, 0);
    begin_claim(&next, &s.disks, 9);
    dpx_slot_record me = host_record(&next.host, 9);
    dpx_claim_begin(next.claim, &me, &left.who.nonce, s.b.world.self.slot, false, s.disks.now, s.disks.now);
    CHECK(run_claim(&next) == DPX_DONE);
    CHECK(dpx_claim_notices(next.claim)[s.a.world.self.slot].about != 0);
    s.disks.now = stood_still + 6 * DPX_SECOND;
    host_beat(&s.a);
    CHECK(dpx_heart_end(s.a.heart) == DPX_END_NOTICE);
    host_forget(&next.host);
    close_scene(&s);
}

static void damage_record(memory_disks *disks, uint32_t slot)
{
    disk_block(disks, 0, dpx_slot_block(&disks->geometry, slot))[40] ^= 1;
}

/* ‡S20: the record that announces a notice about A is damaged; A's clock goes on after that. */
static void test_a_damaged_record_hides_no_notice(void)
{
    scene s;
    open_scene(&s, 1);
    uint64_t stood_still = s.disks.now;
    fall_silent(&s);
    host_beat(&s.b);
    host_beat(&s.b);
    CHECK(dpx_peers_dead(s.b.world.peers, &s.a.world.self));
    damage_record(&s.disks, s.b.world.self.slot);
    s.disks.now = stood_still + 6 * DPX_SECOND;
    host_beat(&s.a);
    CHECK(dpx_heart_end(s.a.heart) == DPX_END_NOTICE);
    close_scene(&s);
}

/* ‡S20 with ‡S1: … and a claimer goes above the generation that the notice names. */
static void test_a_damaged_record_hides_no_generation(void)
{
    scene s;
    claimer c;
    open_scene(&s, 1);
    dpx_slot_record left = record_of(DPX_SLOT_FREE, 3, 7, 9);
    put_record(&s.disks, 0, &left);
    dpx_heart_retire(s.b.heart, SLOT, 7);
    s.disks.now += 6 * DPX_SECOND;
    host_beat(&s.b);
    damage_record(&s.disks, s.b.world.self.slot);
    begin_claim(&c, &s.disks, 8);
    CHECK(run_claim(&c) == DPX_DONE);
    CHECK_EQ(c.host.world.self.generation, 8);
    host_forget(&c.host);
    close_scene(&s);
}

/* ‡S4: a claim is not written where somebody else's record stands; ‡S19: nor where an older free one does. */
static void test_a_disk_counts_if_it_shows_the_slot_free(void)
{
    for (int older = 0; older < 2; older++) {
        memory_disks disks;
        claimer c;
        disks_format(&disks, 3, HOSTS, LEASES);
        dpx_slot_record freed = record_of(DPX_SLOT_FREE, 3, 9, 9);
        dpx_slot_record before = older ? record_of(DPX_SLOT_FREE, 2, 8, 8) : record_of(DPX_SLOT_ACTIVE, 3, 8, 9);
        for (uint32_t d = 0; d < 3; d++)
            put_record(&disks, d, d == 2 ? &before : &freed);
        begin_claim(&c, &disks, 1);
        CHECK(run_claim(&c) == DPX_DONE);
        CHECK_EQ(c.claimed, 3); /* disks 0 and 1 */
        host_forget(&c.host);
        disks_free(&disks);
    }
}

/* ‡S19: disk 0 shows the late `free` of somebody who left before that; disk 2 knows of an owner, and is away. */
static void test_an_older_free_record_is_no_free_slot(void)
{
    memory_disks disks;
    claimer c;
    disks_format(&disks, 3, HOSTS, LEASES);
    dpx_slot_record late = record_of(DPX_SLOT_FREE, 3, 9, 9);
    dpx_slot_record freed = record_of(DPX_SLOT_FREE, 4, 6, 8);
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 5, 7, 7);
    put_record(&disks, 0, &late);
    put_record(&disks, 1, &freed);
    put_record(&disks, 2, &owner);
    disks.fail_reads[2] = EIO;
    begin_claim(&c, &disks, 1);
    CHECK(run_claim(&c) == DPX_FULL);
    CHECK_EQ(c.writes, 0);
    host_forget(&c.host);
    disks_free(&disks);
}

/* ‡S10: free in three versions, and nobody is left to judge it: who joins on the administrator's word gets it, once it
 * was silent (simulated history 31853462). */
static void test_a_lost_slot_can_be_had_on_a_word(void)
{
    for (int word = 0; word < 2; word++) {
        memory_disks disks;
        claimer c;
        disks_format(&disks, 3, HOSTS, LEASES);
        for (uint32_t d = 0; d < 3; d++) {
            dpx_slot_record left = record_of(DPX_SLOT_FREE, 3 + d, 8, (uint8_t)(d + 1));
            put_record(&disks, d, &left);
        }
        begin_claim_of(&c, &disks, 1, disks.now + 200 * DPX_SECOND);
        if (word)
            dpx_claim_retire(c.claim);
        uint64_t since = disks.now;
        CHECK(run_claim(&c) == (word ? DPX_DONE : DPX_RUNNING));
        CHECK(!word || c.host.world.self.generation == 5 + (UINT64_C(1) << 20));
        CHECK(!word || disks.now - since > 70 * DPX_SECOND);
        host_forget(&c.host);
        disks_free(&disks);
    }
}

/* ‡S19: … or a claim of its generation, that came late over the record of an owner who lives. */
static void test_another_claim_is_no_dead_slot(void)
{
    for (int same = 0; same < 2; same++) {
        memory_disks disks;
        claimer c;
        disks_format(&disks, 3, HOSTS, LEASES);
        dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, 4, 1, 9);
        dpx_slot_record dead = record_of(DPX_SLOT_ACTIVE, 4, 6, 8);
        dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 5, 7, 7);
        put_record(&disks, 0, same ? &dead : &claim);
        put_record(&disks, 1, &dead);
        put_record(&disks, 2, &owner);
        disks.fail_reads[2] = EIO;
        begin_claim(&c, &disks, 1);
        dpx_peers_learn(c.host.world.peers, SLOT, &dead, disks.now);
        dpx_peers_bury(c.host.world.peers, SLOT, 4);
        dpx_peers_drained(c.host.world.peers, SLOT, 4, DPX_DRAINED_EXITED);
        CHECK(run_claim(&c) == (same ? DPX_DONE : DPX_FULL));
        CHECK_EQ(c.writes == 0, !same);
        host_forget(&c.host);
        disks_free(&disks);
    }
}

static void claim_slowly(claimer *c, dpx_request *request)
{
    if (c->writes == 1 && c->claimed && request->write_count == 1) {
        c->disks->now += 2 * c->disks->geometry.claim_time;
        request->write_completed_at = c->disks->now;
    }
}

/* ‡S5: a claim that took longer than T_claim is void. */
static void test_a_slow_claim_is_void(void)
{
    memory_disks disks;
    claimer c;
    disks_format(&disks, 1, HOSTS, LEASES);
    begin_claim_of(&c, &disks, 1, disks.now + 10 * DPX_SECOND);
    c.after = claim_slowly;
    CHECK(run_claim(&c) == DPX_FULL); /* the record of the first attempt stands in the way of the next */
    CHECK(c.tables > 1);
    CHECK_EQ(c.writes, 1);
    host_forget(&c.host);
    disks_free(&disks);
}

static void claim_slowly_always(claimer *c, dpx_request *request)
{
    if (request->write_count == 1) {
        c->disks->now += 2 * c->disks->geometry.claim_time;
        request->write_completed_at = c->disks->now;
    }
}

static dpx_verdict claim_on_slow_disks(claimer *c, memory_disks *disks, uint64_t patience)
{
    disks_format(disks, 1, HOSTS, LEASES);
    *c = (claimer){.disks = disks};
    host_prepare(&c->host, disks, 1);
    dpx_slot_record me = host_record(&c->host, 1);
    dpx_uuid nonce = {{1}};
    c->claim = dpx_claim_place(host_memory(&c->host, 1, dpx_claim_memory(&disks->geometry)), &c->host.world);
    dpx_claim_begin(c->claim, &me, &nonce, DPX_ANY_SLOT, false, disks->now + patience, disks->now);
    c->after = claim_slowly_always;
    return run_claim(c);
}

/* Each attempt leaves a void claim in a slot: storage that is slower than T_claim must not use them all up, and it is
 * the storage that people are told of, not another host. */
static void test_slow_storage_uses_few_slots(void)
{
    memory_disks disks;
    claimer c;
    CHECK(claim_on_slow_disks(&c, &disks, 60 * DPX_SECOND) == DPX_STORAGE);
    CHECK_EQ(c.writes, 3);
    CHECK_EQ(dpx_claim_slow(c.claim), 3);
    CHECK(dpx_claim_cause(c.claim)->error == -ETIMEDOUT && dpx_claim_cause(c.claim)->disk == 0);
    host_forget(&c.host);
    disks_free(&disks);
    CHECK(claim_on_slow_disks(&c, &disks, 0) == DPX_STORAGE); /* no time to try again */
    CHECK_EQ(c.writes, 1);
    host_forget(&c.host);
    disks_free(&disks);
}

static void come_back(claimer *c, dpx_request *request)
{
    (void)request;
    if (c->tables == 20)
        c->disks->fail_reads[0] = 0;
}

/* A table that cannot be read costs no slot: who has time waits for the end of the outage, who has none is told. */
static void test_an_outage_is_waited_for(void)
{
    memory_disks disks;
    claimer c;
    for (int waits = 0; waits < 2; waits++) {
        disks_format(&disks, 1, HOSTS, LEASES);
        disks.fail_reads[0] = ETIMEDOUT;
        begin_claim_of(&c, &disks, 1, disks.now + (waits ? 60 * DPX_SECOND : 0));
        c.before = come_back;
        CHECK(run_claim(&c) == (waits ? DPX_DONE : DPX_STORAGE));
        CHECK_EQ(c.tables, waits ? 20 : 1);
        CHECK_EQ(dpx_claim_slow(c.claim), 0);
        host_forget(&c.host);
        disks_free(&disks);
    }
}

static void sleep_in_the_check(claimer *c, dpx_request *request)
{
    if (c->claimed && request->write_count == 0)
        c->disks->now += 2 * c->disks->geometry.claim_time;
}

/* ‡S18: what was looked at long ago allows no note: it would fall over notices of an owner who came meanwhile. */
static void test_who_slept_writes_no_notes(void)
{
    memory_disks disks;
    claimer c;
    disks_format(&disks, 1, HOSTS, LEASES);
    begin_claim_of(&c, &disks, 1, disks.now + 10 * DPX_SECOND);
    c.after = sleep_in_the_check;
    CHECK(run_claim(&c) == DPX_FULL);
    CHECK_EQ(c.writes, 1);
    CHECK_EQ(c.notes, 0);
    host_forget(&c.host);
    disks_free(&disks);
}

/* Reads of notice blocks, before anything was written. */
static bool reads_notes(const claimer *c, const dpx_request *request)
{
    return !c->claimed && request->read_count > 0 &&
           dpx_place_of(&c->disks->geometry, request->reads[0].block).kind == DPX_KIND_NOTICE;
}

static void owned_meanwhile(claimer *c, dpx_request *request)
{
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 1, 9, 9);
    if (!reads_notes(c, request))
        return;
    put_record(c->disks, 0, &owner);
    put_note(c->disks, 0, SLOT, 1);
}

/* ‡S18: a claimer that slept between its look at the records and its look at the notes. */
static void test_an_owner_between_table_and_notes_is_found(void)
{
    memory_disks disks;
    claimer c;
    disks_format(&disks, 1, HOSTS, LEASES);
    begin_claim(&c, &disks, 1);
    c.before = owned_meanwhile;
    CHECK(run_claim(&c) != DPX_DONE);
    CHECK_EQ(c.writes, 0); /* the owner's record was not touched */
    host_forget(&c.host);
    disks_free(&disks);
}

static void note_meanwhile(claimer *c, dpx_request *request)
{
    (void)request;
    if (c->claimed && c->notes == 0)
        put_note(c->disks, 0, SLOT, 40);
}

/* ‡S18: an owner that slept in its claim has noted itself, and the later claimer finds that. */
static void test_an_owner_that_slept_is_found(void)
{
    memory_disks disks;
    claimer c;
    disks_format(&disks, 1, HOSTS, LEASES);
    begin_claim(&c, &disks, 1);
    c.before = note_meanwhile;
    CHECK(run_claim(&c) != DPX_DONE);
    CHECK_EQ(c.notes, 0);
    host_forget(&c.host);
    disks_free(&disks);
}

static void claim_over_it(claimer *c, dpx_request *request)
{
    (void)request;
    dpx_slot_record other = record_of(DPX_SLOT_CLAIMING, 50, 1, 9);
    if (c->notes > 0 && c->writes == 1)
        put_record(c->disks, 0, &other);
}

/* ‡S18: … and the owner that slept finds the claim over its record, after its note. */
static void test_a_claim_over_the_own_record_is_found(void)
{
    memory_disks disks;
    claimer c;
    disks_format(&disks, 1, HOSTS, LEASES);
    begin_claim(&c, &disks, 1);
    c.after = claim_over_it;
    CHECK(run_claim(&c) != DPX_DONE);
    CHECK_EQ(c.writes, 1); /* never active */
    host_forget(&c.host);
    disks_free(&disks);
}

int main(void)
{
    RUN(test_another_nonce_in_the_own_record_is_the_end);
    RUN(test_a_slot_is_freed_once);
    RUN(test_a_generation_that_was_declared_dead_is_not_taken);
    RUN(test_a_generation_that_was_noted_is_not_taken);
    RUN(test_notices_outlive_their_author);
    RUN(test_a_damaged_record_hides_no_notice);
    RUN(test_a_damaged_record_hides_no_generation);
    RUN(test_a_disk_counts_if_it_shows_the_slot_free);
    RUN(test_an_older_free_record_is_no_free_slot);
    RUN(test_another_claim_is_no_dead_slot);
    RUN(test_a_lost_slot_can_be_had_on_a_word);
    RUN(test_a_slow_claim_is_void);
    RUN(test_slow_storage_uses_few_slots);
    RUN(test_an_outage_is_waited_for);
    RUN(test_who_slept_writes_no_notes);
    RUN(test_an_owner_between_table_and_notes_is_found);
    RUN(test_an_owner_that_slept_is_found);
    RUN(test_a_claim_over_the_own_record_is_found);
    return check_finish("test_slot_rules");
}
