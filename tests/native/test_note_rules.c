/* A claimer's note: when it is written, where, and who is found by it.  One scene per part of docs/protocol.md, ‡S18,
 * ‡S21 and ‡S8, that histories of the simulator hardly ever meet. */
#include <errno.h>

#include "claimer.h"

static bool is_note(const claimer *c, const dpx_request *request)
{
    return request->write_count > 0 &&
           dpx_place_of(&c->disks->geometry, request->writes[0].block).kind == DPX_KIND_NOTICE;
}

static void stop_before_the_note(claimer *c, dpx_request *request)
{
    if (is_note(c, request))
        c->disks->now += 2 * c->disks->geometry.claim_time;
}

/* ‡S18: … nor does who was stopped between that look and the note. */
static void test_who_slept_after_the_look_writes_no_notes(void)
{
    memory_disks disks;
    claimer c;
    disks_format(&disks, 1, HOSTS, LEASES);
    uint8_t before[512];
    const uint8_t *block = disk_block(&disks, 0, dpx_notice_block(&disks.geometry, SLOT, 0));
    memcpy(before, block, sizeof before);
    begin_claim(&c, &disks, 1);
    c.before = stop_before_the_note;
    CHECK(run_claim(&c) != DPX_DONE);
    CHECK_BYTES(block, before, sizeof before);
    host_forget(&c.host);
    disks_free(&disks);
}

/* Disk 1 takes no note, and disk 0 does not answer when the record is looked at again. */
static void pairs_apart(claimer *c, dpx_request *request)
{
    bool noting = is_note(c, request);
    c->disks->fail_writes[1] = noting ? EIO : 0;
    c->disks->fail_reads[0] = c->notes > 0 && !noting && request->write_count == 0 && c->tables == 3 ? EIO : 0;
}

/* ‡S18: note and look are pairs, disk by disk: a note on disks 0 and 2 and a look at 1 and 2 make one pair. */
static void test_a_note_and_a_look_are_of_one_disk(void)
{
    memory_disks disks;
    claimer c;
    disks_format(&disks, 3, HOSTS, LEASES);
    begin_claim(&c, &disks, 1);
    c.before = pairs_apart;
    CHECK(run_claim(&c) != DPX_DONE);
    CHECK_EQ(c.writes, 3); /* claiming, on every disk; never active */
    host_forget(&c.host);
    disks_free(&disks);
}

static void no_note_on_disk_0(claimer *c, dpx_request *request)
{
    c->disks->fail_writes[0] = is_note(c, request) ? EIO : 0;
}

/* ‡S21: an active record lies only where its owner's notices do. */
static void test_no_record_without_its_notices(void)
{
    memory_disks disks;
    claimer c;
    dpx_slot_record record;
    disks_format(&disks, 3, HOSTS, LEASES);
    begin_claim(&c, &disks, 1);
    c.before = no_note_on_disk_0;
    CHECK(run_claim(&c) == DPX_DONE);
    dpx_slot_decode(disk_block(&disks, 0, dpx_slot_block(&disks.geometry, SLOT)), &record);
    CHECK_EQ(record.state, DPX_SLOT_CLAIMING);
    host_forget(&c.host);
    disks_free(&disks);
}

static void no_claim_on_disk_0(claimer *c, dpx_request *request)
{
    c->disks->fail_writes[0] = request->write_count > 0 && !is_note(c, request) ? EIO : 0;
}

/* ‡S21: … and notices only where the claim does. */
static void test_no_notices_without_the_claim(void)
{
    memory_disks disks;
    claimer c;
    uint8_t before[512];
    disks_format(&disks, 3, HOSTS, LEASES);
    const uint8_t *block = disk_block(&disks, 0, dpx_notice_block(&disks.geometry, SLOT, 0));
    memcpy(before, block, sizeof before);
    begin_claim(&c, &disks, 1);
    c.before = no_claim_on_disk_0;
    CHECK(run_claim(&c) == DPX_DONE);
    CHECK_BYTES(block, before, sizeof before);
    host_forget(&c.host);
    disks_free(&disks);
}

/* A new owner comes when the table was read, and its host's heart tells of it before the notices are read. */
static void an_owner_comes(claimer *c, dpx_request *request)
{
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 1, 2, 9);
    const dpx_geometry *g = &c->disks->geometry;
    bool asks = request->write_count == 0 && dpx_place_of(g, request->reads[0].block).kind == DPX_KIND_NOTICE;
    if (c->tables != 1 || !asks)
        return;
    put_record(c->disks, 0, &owner);
    dpx_peers_learn(c->host.world.peers, SLOT, &owner, c->disks->now);
}

/* ‡S18: what counts is the table that this claim has read (stretched history 130259187). */
static void test_an_owner_that_the_host_has_met_is_found(void)
{
    memory_disks disks;
    claimer c;
    dpx_slot_record shown;
    disks_format(&disks, 1, HOSTS, LEASES);
    begin_claim(&c, &disks, 1);
    c.before = an_owner_comes;
    CHECK(run_claim(&c) != DPX_DONE);
    CHECK_EQ(c.writes, 0);
    dpx_slot_decode(disk_block(&disks, 0, dpx_slot_block(&disks.geometry, SLOT)), &shown);
    CHECK_EQ(shown.state, DPX_SLOT_ACTIVE);
    host_forget(&c.host);
    disks_free(&disks);
}

/* The slot is free after its generation 2, whose owner was not the only one that claimed it then. */
static void begin_after_an_owner(claimer *c, memory_disks *disks)
{
    dpx_slot_record left = record_of(DPX_SLOT_FREE, 2, 5, 9);
    disks_format(disks, 1, HOSTS, LEASES);
    put_record(disks, 0, &left);
    begin_claim(c, disks, 1);
}

static bool asks_for_notes(const claimer *c, const dpx_request *request)
{
    return !c->claimed && request->write_count == 0 &&
           dpx_place_of(&c->disks->geometry, request->reads[0].block).kind == DPX_KIND_NOTICE;
}

/* The owner comes after the look at the table; after the second one, if a late note lay there from the beginning. */
static void hidden_before_the_notes(claimer *c, dpx_request *request)
{
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 3, 5, 8);
    const dpx_geometry *g = &c->disks->geometry;
    uint64_t first = dpx_block_key(disk_block(c->disks, 0, dpx_notice_block(g, SLOT, 0))).generation;
    if (!asks_for_notes(c, request) || c->tables != (first == 1 ? 2 : 1))
        return;
    put_record(c->disks, 0, &owner);
    put_note(c->disks, 0, SLOT, 2);
}

/* ‡S18: an owner comes after our look at the table, and over its notes lands that of an earlier claimer, which slept
 * as well: they name no later generation than the table did (stretched histories 600322259, 600474073). */
static void test_a_late_note_hides_no_owner(void)
{
    memory_disks disks;
    claimer c;
    for (int again = 0; again < 2; again++) {
        begin_after_an_owner(&c, &disks);
        if (again)
            put_note(&disks, 0, SLOT, 1);
        c.before = hidden_before_the_notes;
        CHECK(run_claim(&c) != DPX_DONE);
        CHECK_EQ(c.writes, 0);
        host_forget(&c.host);
        disks_free(&disks);
    }
}

static void hidden_after_the_claim(claimer *c, dpx_request *request)
{
    (void)request;
    if (c->claimed && c->notes == 0)
        put_note(c->disks, 0, SLOT, 2);
}

/* ‡S18: … or it came after our look at the notes, and our claim lies over its record. */
static void test_a_late_note_lets_no_claim_pass(void)
{
    memory_disks disks;
    claimer c;
    begin_after_an_owner(&c, &disks);
    c.after = hidden_after_the_claim;
    CHECK(run_claim(&c) != DPX_DONE);
    CHECK_EQ(c.notes, 0);
    host_forget(&c.host);
    disks_free(&disks);
}

/* ‡S18: a note that lies there costs another look at the table, not the slot. */
static void test_a_late_note_costs_no_slot(void)
{
    memory_disks disks;
    claimer c;
    for (int late = 0; late < 2; late++) {
        begin_after_an_owner(&c, &disks);
        if (late)
            put_note(&disks, 0, SLOT, 2);
        CHECK(run_claim(&c) == DPX_DONE);
        CHECK_EQ(c.tables, late ? 2 : 1);
        CHECK_EQ(c.host.world.self.generation, 3);
        host_forget(&c.host);
        disks_free(&disks);
    }
}

/* … nor does it send us from slot to slot: what is looked at once more is the one whose note it was. */
static void test_late_notes_everywhere_cost_one_look(void)
{
    memory_disks disks;
    claimer c;
    begin_after_an_owner(&c, &disks);
    for (uint32_t slot = 0; slot < disks.geometry.max_hosts; slot++) {
        dpx_slot_record left = record_of(DPX_SLOT_FREE, 2, 5, 9);
        left.who.slot = slot;
        put_record(&disks, 0, &left);
        put_note(&disks, 0, slot, 2);
    }
    dpx_slot_record me = host_record(&c.host, 1);
    dpx_uuid nonce = {{1}};
    dpx_claim_begin(c.claim, &me, &nonce, DPX_ANY_SLOT, false, disks.now, disks.now);
    CHECK(run_claim(&c) == DPX_DONE);
    CHECK_EQ(c.tables, 2);
    host_forget(&c.host);
    disks_free(&disks);
}

static uint8_t *notices_of(scene *s, uint32_t slot)
{
    return disk_block(&s->disks, 0, dpx_notice_block(&s->disks.geometry, slot, 0));
}

static uint32_t unowned_slot(const scene *s)
{
    uint32_t slot = 0;
    while (slot == s->a.world.self.slot || slot == s->b.world.self.slot || slot == s->c.world.self.slot)
        slot++;
    return slot;
}

/* ‡S8: a joined host that reclaims a slot is shown a table of before its last heartbeat. */
static void test_an_old_table_is_no_reason_to_claim(void)
{
    for (int old = 0; old < 2; old++) {
        scene s;
        claimer c = {.disks = &s.disks};
        dpx_uuid nonce = {{1}};
        open_scene(&s, 1);
        const dpx_geometry *g = &s.disks.geometry;
        dpx_slot_record own;
        uint64_t block = dpx_slot_block(g, s.b.world.self.slot);
        dpx_slot_decode(disk_block(&s.disks, 0, block), &own);
        own.counter -= old ? 1 : 0;
        dpx_slot_encode(disk_block(&s.disks, 0, block), g, 0, &own);
        host_prepare(&c.host, &s.disks, 9);
        dpx_slot_record me = host_record(&c.host, 2);
        c.host.world.peers = s.b.world.peers;
        c.claim = dpx_claim_place(host_memory(&c.host, 1, dpx_claim_memory(g)), &c.host.world);
        dpx_claim_begin(c.claim, &me, &nonce, unowned_slot(&s), true, s.disks.now, s.disks.now);
        CHECK_EQ(run_claim(&c) == DPX_DONE, !old);
        CHECK_EQ(c.writes == 0, old);
        host_forget(&c.host);
        close_scene(&s);
    }
}

/* ‡S21: the claim of a note's author was overwritten, and claims that were long under way go on landing there: the
 * block counts once it has stood for S / 2, whatever came beside it (stretched histories 5023128, 5027177, 5076157,
 * 5099720).  So it does beside the last record of a claim that came to nothing, but not beside one of a heartbeat. */
static void test_late_claims_keep_no_block_from_being_believed(void)
{
    enum { CLAIMS, CLAIMED, BEATEN, WAYS };
    for (int beside = 0; beside < WAYS; beside++) {
        scene s;
        open_scene(&s, 1);
        uint64_t S = s.disks.geometry.outage_tolerance;
        enum dpx_slot_state state = beside == CLAIMS ? DPX_SLOT_CLAIMING : DPX_SLOT_ACTIVE;
        dpx_slot_record shown = record_of(state, 1, beside == BEATEN ? 3 : 2, 9);
        shown.who.slot = unowned_slot(&s);
        put_record(&s.disks, 0, &shown);
        put_note(&s.disks, 0, shown.who.slot, 1);
        for (uint64_t begun = s.disks.now; s.disks.now < begun + 3 * S; s.disks.now += DPX_SECOND) {
            if (beside == CLAIMS && (s.disks.now - begun) % (S / 4) == 0) {
                shown.who.nonce.bytes[0]++;
                put_record(&s.disks, 0, &shown);
            }
            host_beat(&s.a);
            CHECK(s.disks.now > begun + S / 2 || s.a.world.lifetime_end <= begun + S);
        }
        CHECK_EQ(dpx_heart_end(s.a.heart), beside == BEATEN ? DPX_END_LIFETIME : DPX_ALIVE);
        close_scene(&s);
    }
}

/* ‡S21: B holds A dead.  A claim of B's slot, over which B writes nothing for a while (‡S22), and a late note, over B's
 * notices, land: those are mended at once, and A learns from them. */
static void test_no_claim_keeps_notices_from_being_mended(void)
{
    scene s;
    open_scene(&s, 1);
    uint64_t stood_still = s.disks.now;
    fall_silent(&s);
    host_beat(&s.b);
    host_beat(&s.b);
    CHECK(dpx_peers_dead(s.b.world.peers, &s.a.world.self));
    uint32_t slot = s.b.world.self.slot;
    dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, s.b.world.self.generation + 1, 1, 9), shown;
    claim.who.slot = slot;
    put_record(&s.disks, 0, &claim);
    put_note(&s.disks, 0, slot, s.b.world.self.generation);
    s.disks.now += 5 * DPX_SECOND;
    host_beat(&s.b);
    dpx_slot_decode(disk_block(&s.disks, 0, dpx_slot_block(&s.disks.geometry, slot)), &shown);
    CHECK(dpx_incarnation_equal(&shown.who, &claim.who));
    CHECK(dpx_notice_entry(notices_of(&s, slot), s.a.world.self.slot).about != 0);
    s.disks.now = stood_still + 6 * DPX_SECOND;
    host_beat(&s.a);
    CHECK_EQ(dpx_heart_end(s.a.heart), DPX_END_NOTICE);
    close_scene(&s);
}

/* ‡S22: A waits for a claim of its slot.  A look that was issued in that time, and whose answer A slept over, says
 * nothing of who got the slot since (stretched history 655010118). */
static void test_who_slept_over_a_claim_looks_again(void)
{
    scene s;
    open_scene(&s, 1);
    dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, s.a.world.self.generation + 1, 1, 9), shown;
    claim.who.slot = s.a.world.self.slot;
    put_record(&s.disks, 0, &claim);
    s.disks.now += 6 * DPX_SECOND;
    host_beat(&s.a);
    dpx_heart_hurry(s.a.heart);
    s.disks.now += 500 * DPX_MS;
    dpx_request *look = dpx_heart_step(s.a.heart, s.disks.now);
    CHECK(look && look->write_count == 0);
    disks_carry_out(&s.disks, look, s.a.world.lifetime_end);
    claim.state = DPX_SLOT_ACTIVE;
    put_record(&s.disks, 0, &claim);
    s.disks.now += 3 * s.disks.geometry.claim_time;
    dpx_heart_complete(s.a.heart, look, s.disks.now);
    for (int beat = 0; beat < 2; beat++) {
        host_beat(&s.a);
        dpx_heart_hurry(s.a.heart);
    }
    CHECK_EQ(dpx_heart_end(s.a.heart), DPX_END_REPLACED);
    dpx_slot_decode(disk_block(&s.disks, 0, dpx_slot_block(&s.disks.geometry, claim.who.slot)), &shown);
    CHECK(dpx_incarnation_equal(&shown.who, &claim.who));
    close_scene(&s);
}

/* ‡S22: own notices are mended (above), unless this memory never wrote what lies there: then it is an old one,
 * whatever hides the own record. */
static void test_notices_of_a_later_memory_are_the_end(void)
{
    scene s;
    open_scene(&s, 1);
    const dpx_geometry *g = &s.disks.geometry;
    const dpx_notice entries[DPX_BLOCK_MAX / 8] = {0};
    const dpx_incarnation *self = &s.a.world.self;
    dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, self->generation + 1, 1, 9);
    claim.who.slot = self->slot;
    put_record(&s.disks, 0, &claim);
    dpx_notice_encode(notices_of(&s, self->slot), g, 0, 0, self, DPX_CLAIM_NOTE + 1, 0, entries);
    uint64_t writes = s.disks.writes;
    s.disks.now += 6 * DPX_SECOND;
    host_beat(&s.a);
    CHECK_EQ(dpx_heart_end(s.a.heart), DPX_END_REVERTED);
    CHECK_EQ(s.disks.writes, writes);
    close_scene(&s);
}

int main(void)
{
    RUN(test_who_slept_after_the_look_writes_no_notes);
    RUN(test_a_note_and_a_look_are_of_one_disk);
    RUN(test_an_old_table_is_no_reason_to_claim);
    RUN(test_no_record_without_its_notices);
    RUN(test_no_notices_without_the_claim);
    RUN(test_an_owner_that_the_host_has_met_is_found);
    RUN(test_a_late_note_hides_no_owner);
    RUN(test_a_late_note_lets_no_claim_pass);
    RUN(test_a_late_note_costs_no_slot);
    RUN(test_late_notes_everywhere_cost_one_look);
    RUN(test_late_claims_keep_no_block_from_being_believed);
    RUN(test_no_claim_keeps_notices_from_being_mended);
    RUN(test_who_slept_over_a_claim_looks_again);
    RUN(test_notices_of_a_later_memory_are_the_end);
    return check_finish("test_note_rules");
}
