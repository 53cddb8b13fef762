/* The times of a claim, and whose death a word is about: one scene per rule of docs/protocol.md, for what
 * other rules catch, too, so that histories of the simulator hardly ever depend on it. */
#include "scene.h"

enum { SLOT = 5 };

typedef struct claimer {
    memory_disks disks;
    memory_host host;
    dpx_claim *claim;
    uint32_t tables;      /* whole tables read: attempts */
    uint64_t written_at;  /* completion of the claiming write */
    uint64_t checked_at;  /* issue of the read that follows it */
    uint64_t table_takes; /* the first one */
} claimer;

static void carry_out(claimer *c, dpx_request *request)
{
    const dpx_geometry *g = &c->disks.geometry;
    disks_carry_out(&c->disks, request, c->host.world.lifetime_end);
    if (request->read_count > 0 && request->reads[0].block == g->slots_at && request->reads[0].count > 1) {
        c->disks.now += c->tables++ == 0 ? c->table_takes : 0;
        request->read_completed_at = c->disks.now;
    } else if (request->write_count > 0 && c->written_at == 0) {
        c->written_at = request->write_completed_at;
    } else if (request->read_count > 0 && c->written_at != 0 && c->checked_at == 0) {
        c->checked_at = request->read_issued_at;
    }
}

static dpx_verdict claim_slot(claimer *c, uint64_t table_takes)
{
    dpx_uuid nonce = {{1}};
    *c = (claimer){.table_takes = table_takes};
    disks_format(&c->disks, 1, HOSTS, LEASES);
    host_prepare(&c->host, &c->disks, 1);
    dpx_slot_record me = host_record(&c->host, 1);
    c->claim = dpx_claim_place(host_memory(&c->host, 1, dpx_claim_memory(&c->disks.geometry)), &c->host.world);
    dpx_claim_begin(c->claim, &me, &nonce, SLOT, false, c->disks.now, c->disks.now);
    while (dpx_claim_verdict(c->claim) == DPX_RUNNING) {
        dpx_request *request = dpx_claim_step(c->claim, c->disks.now);
        uint64_t wake = dpx_claim_wake(c->claim);
        if (request) {
            carry_out(c, request);
            dpx_claim_complete(c->claim, request, c->disks.now);
        } else if (wake != DPX_NEVER && wake > c->disks.now) {
            c->disks.now = wake;
        }
    }
    return dpx_claim_verdict(c->claim);
}

static void forget_claimer(claimer *c)
{
    host_forget(&c->host);
    disks_free(&c->disks);
}

/* ‡S3: T_claim counts from before the read of the records, not from after it. */
static void test_a_slow_table_makes_a_slow_claim(void)
{
    claimer c;
    CHECK(claim_slot(&c, 2 * DPX_SECOND) == DPX_DONE);
    CHECK(c.tables > 1); /* nothing was written on the word of the first one */
    CHECK_EQ(c.host.world.self.generation, 1);
    forget_claimer(&c);
}

/* ‡S5: others' writes have had the time to land before a claim is read back. */
static void test_a_claim_settles(void)
{
    claimer c;
    CHECK(claim_slot(&c, 0) == DPX_DONE);
    CHECK(c.written_at > 0);
    CHECK(c.checked_at >= c.written_at + c.disks.geometry.claim_time * 3 / 2);
    forget_claimer(&c);
}

/* Who waits for a slot looks again when it may: of those who began together not all at the same moment. */
static void test_who_waits_for_a_slot_does_not_look_in_step(void)
{
    memory_disks disks;
    uint64_t waits[2];
    disks_format(&disks, 1, HOSTS, LEASES);
    const dpx_geometry *g = &disks.geometry;
    for (uint32_t slot = 0; slot < g->max_hosts; slot++) {
        dpx_slot_record taken = {.who = {.slot = slot, .generation = 1}, .state = DPX_SLOT_ACTIVE, .sequence = 1};
        dpx_slot_encode(disk_block(&disks, 0, dpx_slot_block(g, slot)), g, 0, &taken);
    }
    for (uint8_t i = 0; i < 2; i++) {
        memory_host host;
        dpx_uuid nonce = {{i}};
        host_prepare(&host, &disks, i);
        dpx_slot_record me = host_record(&host, i);
        dpx_claim *claim = dpx_claim_place(host_memory(&host, 1, dpx_claim_memory(g)), &host.world);
        dpx_claim_begin(claim, &me, &nonce, DPX_ANY_SLOT, false, disks.now + g->outage_tolerance, disks.now);
        dpx_request *request = dpx_claim_step(claim, disks.now);
        disks_carry_out(&disks, request, host.world.lifetime_end);
        dpx_claim_complete(claim, request, disks.now);
        CHECK(dpx_claim_step(claim, disks.now) == NULL);
        waits[i] = dpx_claim_wake(claim) - disks.now;
        CHECK(waits[i] >= g->outage_tolerance / 16 && waits[i] <= g->outage_tolerance * 3 / 16);
        host_forget(&host);
    }
    uint64_t apart = waits[0] > waits[1] ? waits[0] - waits[1] : waits[1] - waits[0];
    CHECK(apart > 100 * DPX_MS);
    disks_free(&disks);
}

/* ‡D1: who was declared dead is dead, and all before him; whoever claims the slot next is not. */
static void test_the_next_owner_lives(void)
{
    scene s;
    open_scene(&s, 1);
    dpx_incarnation who = {.slot = SLOT, .generation = 3};
    dpx_peers_bury(s.b.world.peers, SLOT, 3);
    CHECK(dpx_peers_dead(s.b.world.peers, &who));
    who.generation = 2;
    CHECK(dpx_peers_dead(s.b.world.peers, &who));
    who.generation = 4;
    CHECK(!dpx_peers_dead(s.b.world.peers, &who));
    close_scene(&s);
}

/* ---- claims that came to nothing ---- */

/* A claim stands in the slot; its maker says that it is void, having seen no note above generation 3.  What a claimer
 * makes of it; noted: the generation of the slot's notes by now. */
static dpx_verdict claim_over_a_void(claimer *c, uint64_t noted, uint8_t nonce)
{
    const dpx_uuid fresh = {{7}};
    *c = (claimer){0};
    disks_format(&c->disks, 1, HOSTS, LEASES);
    host_prepare(&c->host, &c->disks, 1);
    const dpx_geometry *g = &c->disks.geometry;
    dpx_slot_record stands = host_record(&c->host, 1);
    stands.who = (dpx_incarnation){.slot = SLOT, .generation = 5, .nonce = {{9}}};
    stands.state = DPX_SLOT_CLAIMING;
    stands.sequence = stands.counter = 1;
    dpx_slot_encode(disk_block(&c->disks, 0, dpx_slot_block(g, SLOT)), g, 0, &stands);
    if (noted > 0) {
        dpx_notice none[DPX_BLOCK_MAX / 8] = {{0}};
        const dpx_incarnation owner = {.slot = SLOT, .generation = noted, .nonce = {{3}}};
        dpx_notice_encode(disk_block(&c->disks, 0, dpx_notice_block(g, SLOT, 0)), g, 0, 0, &owner, 1, 0, none);
    }
    dpx_slot_record me = host_record(&c->host, 1);
    c->claim = dpx_claim_place(host_memory(&c->host, 1, dpx_claim_memory(g)), &c->host.world);
    dpx_claim_begin(c->claim, &me, &fresh, SLOT, false, c->disks.now + 200 * DPX_SECOND, c->disks.now);
    dpx_incarnation who = stands.who;
    who.nonce.bytes[0] = nonce;
    bool told = false;
    while (dpx_claim_verdict(c->claim) == DPX_RUNNING) {
        dpx_request *request = dpx_claim_step(c->claim, c->disks.now);
        uint64_t wake = dpx_claim_wake(c->claim);
        if (request) {
            carry_out(c, request);
            dpx_claim_complete(c->claim, request, c->disks.now);
            if (!told && c->host.world.peers->slots[SLOT].seen)
                dpx_peers_voided(c->host.world.peers, &who, 3);
            told = c->host.world.peers->slots[SLOT].seen;
        } else if (wake != DPX_NEVER && wake > c->disks.now) {
            c->disks.now = wake;
        }
    }
    return dpx_claim_verdict(c->claim);
}

/* ‡D5: a claim that came to nothing is drained when its writes have returned, if no owner has come below it. */
static void test_a_void_claim_gives_its_slot_back(void)
{
    claimer c;
    for (uint64_t noted = 0; noted <= 3; noted += 3) {
        CHECK_EQ(claim_over_a_void(&c, noted, 9), DPX_DONE);
        CHECK(c.host.world.self.slot == SLOT && c.host.world.self.generation > 5);
        CHECK(c.written_at > 70 * DPX_SECOND); /* T_dead */
        forget_claimer(&c);
    }
    CHECK_EQ(claim_over_a_void(&c, 4, 9), DPX_FULL); /* whoever noted that is the owner, or was */
    CHECK_EQ(c.written_at, 0);
    CHECK(!c.host.world.peers->slots[SLOT].voided);
    forget_claimer(&c);
    CHECK_EQ(claim_over_a_void(&c, 0, 8), DPX_FULL); /* that was about another claim */
    forget_claimer(&c);
}

/* … but nothing follows for whoever had the slot before, or has it below. */
static void test_a_void_claim_drains_no_owner(void)
{
    claimer c;
    CHECK_EQ(claim_over_a_void(&c, 4, 9), DPX_FULL);
    dpx_peers *peers = c.host.world.peers;
    dpx_incarnation stands = {.slot = SLOT, .generation = 5, .nonce = {{9}}};
    dpx_incarnation owner = {.slot = SLOT, .generation = 4, .nonce = {{3}}};
    dpx_peers_voided(peers, &stands, 3);
    dpx_peers_bury(peers, SLOT, 5);
    CHECK(dpx_peers_drain(peers, SLOT) == DPX_DRAINED_EXITED);
    CHECK(dpx_peers_dead(peers, &owner) && !dpx_peers_incarnation_drained(peers, &owner));
    forget_claimer(&c);
}

int main(void)
{
    RUN(test_a_slow_table_makes_a_slow_claim);
    RUN(test_a_claim_settles);
    RUN(test_who_waits_for_a_slot_does_not_look_in_step);
    RUN(test_the_next_owner_lives);
    RUN(test_a_void_claim_gives_its_slot_back);
    RUN(test_a_void_claim_drains_no_owner);
    return check_finish("test_claim_rules");
}
