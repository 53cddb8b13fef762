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
        uint32_t slot = 0;
        while (slot == s.a.world.self.slot || slot == s.b.world.self.slot || slot == s.c.world.self.slot)
            slot++;
        dpx_claim_begin(c.claim, &me, &nonce, slot, true, s.disks.now, s.disks.now);
        CHECK_EQ(run_claim(&c) == DPX_DONE, !old);
        CHECK_EQ(c.writes == 0, old);
        host_forget(&c.host);
        close_scene(&s);
    }
}

int main(void)
{
    RUN(test_who_slept_after_the_look_writes_no_notes);
    RUN(test_a_note_and_a_look_are_of_one_disk);
    RUN(test_an_old_table_is_no_reason_to_claim);
    RUN(test_no_record_without_its_notices);
    RUN(test_no_notices_without_the_claim);
    RUN(test_an_owner_that_the_host_has_met_is_found);
    return check_finish("test_note_rules");
}
