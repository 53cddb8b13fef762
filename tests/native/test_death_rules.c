/* Deaths and notices: one scene per rule of docs/protocol.md, section 5, that histories of the simulator meet once in
 * millions, if ever: each fails when its rule is left out (tests/mutants/ledger.toml names them). */
#include "records.h"

/* ---- who is dead ---- */

/* What one host, on a machine of its own, knows of the others. */
typedef struct onlooker {
    memory_disks disks;
    dpx_peers *peers;
} onlooker;

static dpx_peers *open_onlooker(onlooker *who, uint32_t disks)
{
    static const dpx_uuid me = {{NOBODY}};
    disks_format(&who->disks, disks, HOSTS, LEASES);
    who->peers = dpx_peers_place(calloc(1, dpx_peers_memory(&who->disks.geometry)), &who->disks.geometry, &me, &me);
    return who->peers;
}

/* It reads the tables of the first so many disks. */
static void look(onlooker *who, uint32_t disks, uint64_t issued, uint64_t completed)
{
    dpx_table_read reads[DPX_MAX_DISKS] = {0};
    for (uint32_t d = 0; d < disks; d++)
        reads[d] = (dpx_table_read){.data = disk_block(&who->disks, d, who->disks.geometry.slots_at),
                                    .issued = issued,
                                    .completed = completed};
    dpx_peers_observe(who->peers, reads, NOBODY);
}

/* … that all show this record. */
static void see(onlooker *who, const dpx_slot_record *record, uint64_t issued, uint64_t completed)
{
    for (uint32_t d = 0; d < who->disks.geometry.disks; d++)
        put_record(&who->disks, d, record);
    look(who, who->disks.geometry.disks, issued, completed);
}

static void close_onlooker(onlooker *who)
{
    free(who->peers);
    disks_free(&who->disks);
}

/* ‡D2: from the completion of the first read to the issue of the last. */
static void test_a_slow_read_is_no_silence(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 1);
    dpx_slot_record record = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    uint64_t dead = dpx_dead_time(record.outage_tolerance, record.kill_grace, record.watchdog_timeout);
    see(&who, &record, 90 * DPX_SECOND, 100 * DPX_SECOND);
    see(&who, &record, 100 * DPX_SECOND + dead - 1, 120 * DPX_SECOND + dead);
    CHECK(!dpx_peers_silent(peers, SLOT));
    see(&who, &record, 100 * DPX_SECOND + dead, 120 * DPX_SECOND + dead);
    CHECK(dpx_peers_silent(peers, SLOT));
    close_onlooker(&who);
}

/* ‡D1: a void claim over a living owner's record, overwritten by it: the owner lives. */
static void test_an_overwritten_claim_hides_nobody(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 1);
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, 4, 1, 2);
    uint64_t now = 100 * DPX_SECOND;
    see(&who, &owner, now, now);
    see(&who, &claim, now, now);
    for (int i = 0; i < 100; i++, now += DPX_SECOND) {
        owner.sequence++;
        owner.counter++;
        see(&who, &owner, now, now);
        CHECK(!dpx_peers_silent(peers, SLOT));
    }
    CHECK(dpx_incarnation_equal(&peers->slots[SLOT].record.who, &owner.who));
    close_onlooker(&who);
}

/* Who cleans up after the dead claims their slot.  What comes of that is worth waiting for, but a claim that came to
 * nothing stands there for good; and one below the owner, or the owner's own record, tells nothing of it. */
static void test_a_claim_above_an_owner_is_under_way_for_a_while(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 1);
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, 4, 1, 2);
    uint64_t now = 100 * DPX_SECOND, limit = 4 * who.disks.geometry.claim_time;
    see(&who, &owner, now, now);
    CHECK(!dpx_peers_claimed_anew(peers, &owner.who, now));
    now += DPX_SECOND;
    see(&who, &claim, now, now);
    CHECK(dpx_peers_claimed_anew(peers, &owner.who, now));
    CHECK(!dpx_peers_claimed_anew(peers, &claim.who, now));
    CHECK(!dpx_peers_dead(peers, &owner.who));
    see(&who, &claim, now + limit - 1, now + limit - 1);
    CHECK(dpx_peers_claimed_anew(peers, &owner.who, now + limit - 1));
    CHECK(!dpx_peers_claimed_anew(peers, &owner.who, now + limit));
    claim.state = DPX_SLOT_FREE;
    see(&who, &claim, now + 2, now + 2);
    CHECK(!dpx_peers_claimed_anew(peers, &owner.who, now + 2));
    CHECK(dpx_peers_dead(peers, &owner.who));
    close_onlooker(&who);
}

/* A host was seen to live when its counter grew, for two heartbeats from then on. */
static void test_a_host_moves_for_two_heartbeats(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 1);
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    uint64_t now = 100 * DPX_SECOND, limit = who.disks.geometry.outage_tolerance / 4;
    see(&who, &owner, now, now);
    CHECK(!dpx_peers_moving(peers, SLOT, now));
    owner.sequence++;
    owner.counter++;
    see(&who, &owner, now, now);
    CHECK(dpx_peers_moving(peers, SLOT, now + limit - 1));
    CHECK(!dpx_peers_moving(peers, SLOT, now + limit));
    close_onlooker(&who);
}

/* ‡D6: a late claim covers the heartbeats that came before it, on one disk; on the two of three that answer; and
 * on two of three where the third, which answers, too, never got them. */
static void test_a_late_claim_hides_what_the_owner_wrote(void)
{
    const uint32_t disks[] = {1, 3, 3}, read[] = {1, 2, 3};
    for (uint32_t i = 0; i < 3; i++) {
        onlooker who;
        dpx_peers *peers = open_onlooker(&who, disks[i]);
        dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
        dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, 3, 1, 2);
        uint64_t dead = dpx_dead_time(owner.outage_tolerance, owner.kill_grace, owner.watchdog_timeout);
        uint64_t covered = 50 * DPX_SECOND;
        see(&who, &owner, DPX_SECOND, DPX_SECOND);
        for (uint32_t d = 0; d < dpx_majority(&who.disks.geometry); d++)
            put_record(&who.disks, d, &claim);
        look(&who, read[i], covered - DPX_SECOND, covered); /* ‡D2: from its completion */
        look(&who, read[i], covered + dead - 1, covered + dead - 1);
        CHECK(!dpx_peers_silent(peers, SLOT));
        look(&who, read[i], covered + dead, covered + dead);
        CHECK(dpx_peers_silent(peers, SLOT));
        close_onlooker(&who);
    }
}

/* … but a disk that changes alone does not keep the dead alive. */
static void test_one_disk_of_three_prolongs_no_silence(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 3);
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, 3, 1, 2);
    uint64_t dead = dpx_dead_time(owner.outage_tolerance, owner.kill_grace, owner.watchdog_timeout);
    see(&who, &owner, DPX_SECOND, DPX_SECOND);
    put_record(&who.disks, 0, &claim);
    look(&who, 3, DPX_SECOND + dead, DPX_SECOND + dead);
    CHECK(dpx_peers_silent(peers, SLOT));
    CHECK(peers->slots[SLOT].record.state == DPX_SLOT_ACTIVE);
    close_onlooker(&who);
}

/* ‡S10: somebody left, but only one disk of three got to know: the slot is not free, yet nobody lives there. */
static void test_who_left_on_one_disk_is_dead(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 3);
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    dpx_slot_record left = record_of(DPX_SLOT_FREE, 3, 8, 1);
    see(&who, &owner, DPX_SECOND, DPX_SECOND);
    put_record(&who.disks, 0, &left);
    look(&who, 3, 2 * DPX_SECOND, 2 * DPX_SECOND);
    CHECK(peers->slots[SLOT].record.state == DPX_SLOT_ACTIVE);
    CHECK(dpx_peers_dead(peers, &owner.who));
    CHECK(dpx_peers_drain(peers, SLOT) == DPX_NOT_DRAINED); /* the two other writes may still come */
    dpx_peers_drained(peers, SLOT, 3, DPX_DRAINED_EXITED);
    CHECK(dpx_peers_drain(peers, SLOT) == DPX_DRAINED_EXITED);
    put_record(&who.disks, 1, &left);
    look(&who, 3, 3 * DPX_SECOND, 3 * DPX_SECOND);
    CHECK(peers->slots[SLOT].record.state == DPX_SLOT_FREE);
    close_onlooker(&who);
}

/* … nor is it where a late claim lies over the two others: only a word about the slot helps. */
static void test_a_late_claim_over_a_free_slot(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 3);
    dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, 3, 1, 2);
    dpx_slot_record left = record_of(DPX_SLOT_FREE, 3, 8, 1);
    see(&who, &claim, DPX_SECOND, DPX_SECOND);
    put_record(&who.disks, 0, &left);
    look(&who, 3, 2 * DPX_SECOND, 2 * DPX_SECOND);
    CHECK(peers->slots[SLOT].record.state == DPX_SLOT_CLAIMING);
    CHECK(dpx_peers_dead(peers, &left.who));
    dpx_peers_drained(peers, SLOT, 3, DPX_DRAINED_FENCED);
    CHECK(dpx_peers_drain(peers, SLOT) == DPX_DRAINED_FENCED);
    close_onlooker(&who);
}

/* ‡S10: free on one disk, and what lies on the others is older, freed long before, and came late: an owner who came
 * since could lie below that.  If he lived, he would overwrite it. */
static void test_a_slot_that_is_free_in_three_versions_is_lost(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 3);
    const dpx_geometry *g = &who.disks.geometry;
    uint64_t dead = dpx_dead_time(g->outage_tolerance, g->kill_grace, g->watchdog_timeout);
    for (uint32_t d = 0; d < 3; d++) {
        dpx_slot_record left = record_of(DPX_SLOT_FREE, 3 - d, 8, (uint8_t)(d + 1));
        put_record(&who.disks, d, &left);
    }
    look(&who, 3, DPX_SECOND, DPX_SECOND);
    CHECK(!dpx_peer_free(&peers->slots[SLOT]));
    dpx_peers_drained(peers, SLOT, 3, DPX_DRAINED_FENCED);
    CHECK(dpx_peers_drain(peers, SLOT) == DPX_NOT_DRAINED); /* he may live, and not have come round to it */
    look(&who, 3, DPX_SECOND + dead, DPX_SECOND + dead);
    CHECK(dpx_peers_drain(peers, SLOT) == DPX_DRAINED_FENCED);
    dpx_peers_learn(peers, SLOT, &(dpx_slot_record){.who = {.slot = SLOT, .generation = 4}}, 2 * dead);
    CHECK(dpx_peer_free(&peers->slots[SLOT])); /* reclaimed, and left */
    dpx_slot_record late = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    see(&who, &late, 3 * dead, 3 * dead);
    CHECK(!dpx_peer_free(&peers->slots[SLOT])); /* and something late lies over that, too */
    close_onlooker(&who);
}

/* … and whose process has gone says nothing then: that process is not his. */
static void test_the_exit_of_who_left_drains_no_lost_slot(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 3);
    const dpx_geometry *g = &who.disks.geometry;
    uint64_t dead = dpx_dead_time(g->outage_tolerance, g->kill_grace, g->watchdog_timeout);
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    dpx_slot_record left = record_of(DPX_SLOT_FREE, 3, 8, 1);
    dpx_slot_record late = record_of(DPX_SLOT_FREE, 2, 8, 2);
    see(&who, &owner, DPX_SECOND, DPX_SECOND);
    put_record(&who.disks, 0, &left);
    put_record(&who.disks, 1, &late);
    put_record(&who.disks, 2, &late);
    look(&who, 3, 2 * DPX_SECOND, 2 * DPX_SECOND);
    look(&who, 3, 2 * DPX_SECOND + dead, 2 * DPX_SECOND + dead);
    dpx_peers_drained(peers, SLOT, 3, DPX_DRAINED_EXITED);
    CHECK(dpx_peers_drain(peers, SLOT) == DPX_NOT_DRAINED);
    close_onlooker(&who);
}

/* ‡S10: the first look meets the one disk of three that shows the slot free, and a damaged copy: what the others say is
 * learned when they can be read, and the slot can be had again. */
static void test_one_free_copy_is_not_remembered_as_free(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 3);
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    dpx_slot_record left = record_of(DPX_SLOT_FREE, 3, 8, 1);
    for (uint32_t d = 0; d < 3; d++)
        put_record(&who.disks, d, d == 0 ? &left : &owner);
    uint8_t *copy = disk_block(&who.disks, 1, dpx_slot_block(&who.disks.geometry, SLOT));
    copy[100] ^= 1;
    look(&who, 2, DPX_SECOND, DPX_SECOND);
    CHECK(!dpx_peer_free(&peers->slots[SLOT]));
    CHECK(dpx_peers_dead(peers, &owner.who)); /* that is certain: he left */
    copy[100] ^= 1;
    look(&who, 3, 2 * DPX_SECOND, 2 * DPX_SECOND);
    CHECK(peers->slots[SLOT].record.state == DPX_SLOT_ACTIVE);
    dpx_peers_drained(peers, SLOT, 3, DPX_DRAINED_EXITED);
    CHECK(dpx_peers_drain(peers, SLOT) == DPX_DRAINED_EXITED);
    look(&who, 2, 3 * DPX_SECOND, 3 * DPX_SECOND);
    CHECK(dpx_peers_drain(peers, SLOT) == DPX_DRAINED_EXITED);
    close_onlooker(&who);
}

/* ‡D5: between the look at a process and the word about it, its slot may have come to somebody else. */
static void test_an_exit_is_about_one_incarnation(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 1);
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    dpx_slot_record other = record_of(DPX_SLOT_ACTIVE, 3, 7, 2);
    see(&who, &owner, DPX_SECOND, DPX_SECOND);
    dpx_peers_exited(peers, &other.who);
    CHECK(dpx_peers_evidence(peers, SLOT) == DPX_NOT_DRAINED);
    dpx_peers_exited(peers, &owner.who);
    CHECK(dpx_peers_evidence(peers, SLOT) == DPX_DRAINED_EXITED);
    close_onlooker(&who);
}

/* ‡D5: what is known of a claimer's process is nothing about the owner of the slot. */
static void test_the_exit_of_a_claimer_drains_nobody(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 1);
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    dpx_slot_record claim = record_of(DPX_SLOT_CLAIMING, 4, 1, 2);
    see(&who, &owner, DPX_SECOND, DPX_SECOND);
    see(&who, &claim, 2 * DPX_SECOND, 2 * DPX_SECOND);
    dpx_peers_drained(peers, SLOT, 4, DPX_DRAINED_EXITED);
    CHECK(dpx_peers_evidence(peers, SLOT) == DPX_NOT_DRAINED); /* a claim may lie over somebody's record */
    owner.sequence++;
    owner.counter++;
    see(&who, &owner, 3 * DPX_SECOND, 3 * DPX_SECOND);
    CHECK(dpx_peers_evidence(peers, SLOT) == DPX_NOT_DRAINED); /* that was about another process */
    dpx_peers_drained(peers, SLOT, 4, DPX_DRAINED_FENCED);
    CHECK(dpx_peers_evidence(peers, SLOT) == DPX_DRAINED_FENCED); /* a word about the slot itself */
    close_onlooker(&who);
}

/* ‡D4: only a host that lives proves that its machine was booted again. */
static void test_a_leftover_of_another_boot_proves_nothing(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 1);
    dpx_slot_record gone = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    dpx_slot_record other = record_of(DPX_SLOT_ACTIVE, 2, 5, 1);
    other.who.slot = SLOT + 1;
    memset(other.boot.bytes, 77, sizeof other.boot.bytes);
    see(&who, &gone, DPX_SECOND, DPX_SECOND);
    see(&who, &other, DPX_SECOND, DPX_SECOND);
    CHECK(dpx_peers_evidence(peers, SLOT) == DPX_NOT_DRAINED);
    other.sequence++;
    other.counter++;
    see(&who, &other, 9 * DPX_SECOND, 9 * DPX_SECOND);
    CHECK(dpx_peers_evidence(peers, SLOT) == DPX_DRAINED_REBOOTED);
    close_onlooker(&who);
}

/* ‡D4: a slot that was left is no sign of life, though one look at three disks shows it free, and the next one at two
 * does not. */
static void test_a_slot_that_seems_free_now_and_then_proves_nothing(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 3);
    dpx_slot_record gone = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    dpx_slot_record owner = record_of(DPX_SLOT_ACTIVE, 2, 5, 1);
    dpx_slot_record left = record_of(DPX_SLOT_FREE, 2, 6, 1);
    owner.who.slot = left.who.slot = SLOT + 1;
    memset(owner.boot.bytes, 77, sizeof owner.boot.bytes);
    memset(left.boot.bytes, 77, sizeof left.boot.bytes);
    see(&who, &gone, DPX_SECOND, DPX_SECOND);
    put_record(&who.disks, 0, &owner);
    for (uint32_t d = 1; d < 3; d++)
        put_record(&who.disks, d, &left);
    for (uint64_t at = 2; at < 20; at += 2) {
        look(&who, 3, at * DPX_SECOND, at * DPX_SECOND);
        CHECK(dpx_peer_free(&peers->slots[SLOT + 1]));
        look(&who, 2, (at + 1) * DPX_SECOND, (at + 1) * DPX_SECOND);
        CHECK(!dpx_peer_free(&peers->slots[SLOT + 1]));
        CHECK_EQ(dpx_peers_evidence(peers, SLOT), DPX_NOT_DRAINED);
    }
    close_onlooker(&who);
}

/* ‡D4: … and every disk may hold a later copy of the leftover than the one before. */
static void test_later_copies_of_a_leftover_prove_nothing(void)
{
    onlooker who;
    dpx_peers *peers = open_onlooker(&who, 3);
    dpx_slot_record gone = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    dpx_slot_record other = record_of(DPX_SLOT_ACTIVE, 2, 5, 1);
    other.who.slot = SLOT + 1;
    memset(other.boot.bytes, 77, sizeof other.boot.bytes);
    see(&who, &gone, DPX_SECOND, DPX_SECOND);
    for (uint64_t i = 0; i < 4; i++) { /* seen on one disk, then on two others: dead all the same; a fourth is new */
        see(&who, &other, (2 + i) * DPX_SECOND, (2 + i) * DPX_SECOND);
        CHECK_EQ(dpx_peers_evidence(peers, SLOT), i < 3 ? DPX_NOT_DRAINED : DPX_DRAINED_REBOOTED);
        other.sequence++;
        other.counter++;
    }
    close_onlooker(&who);
}

/* ---- death notices ---- */

static void answer(scene *s, memory_host *host, dpx_request *request)
{
    disks_carry_out(&s->disks, request, host->world.lifetime_end);
    dpx_heart_complete(host->heart, request, s->disks.now);
}

/* A heartbeat begins, on every disk: what comes after the look that precedes the record. */
static uint32_t begin_beat(scene *s, memory_host *host, dpx_request *requests[DPX_MAX_DISKS])
{
    uint32_t disks = s->disks.geometry.disks;
    for (uint32_t d = 0; d < disks; d++)
        CHECK((requests[d] = dpx_heart_step(host->heart, s->disks.now)) != NULL);
    for (uint32_t d = 0; d < disks; d++)
        answer(s, host, requests[d]);
    for (uint32_t d = 0; d < disks; d++)
        CHECK((requests[d] = dpx_heart_step(host->heart, s->disks.now)) != NULL);
    return disks;
}

/* Who waits for a host looks at it often, so that its silence is known to begin when it does; who does
 * not, when the silence is over; and nobody at a host that left. */
static void test_the_next_look_is_no_later_than_needed(void)
{
    scene s;
    open_scene(&s, 1);
    const dpx_geometry *g = &s.disks.geometry;
    dpx_peers *peers = s.b.world.peers;
    const dpx_peer *peer = &peers->slots[s.a.world.self.slot];
    uint64_t dead_time = dpx_dead_time(g->outage_tolerance, g->kill_grace, g->watchdog_timeout);
    host_beat(&s.a);
    host_beat(&s.b);
    uint64_t now = s.disks.now;
    CHECK_EQ(dpx_peers_next_look(peers, now), DPX_NEVER); /* nobody asks */
    dpx_peers_want(peers, &s.a.world.self, 0);
    CHECK_EQ(dpx_peers_next_look(peers, now), peer->still_from + dead_time);
    dpx_peers_want(peers, &s.a.world.self, now);
    uint64_t seen = peer->still_to > peer->still_from ? peer->still_to : peer->still_from;
    CHECK_EQ(dpx_peers_next_look(peers, now), seen + g->outage_tolerance / 32);
    uint64_t later = now + g->outage_tolerance / 8; /* it gave up */
    CHECK_EQ(dpx_peers_next_look(peers, later), peer->still_from + dead_time);
    dpx_slot_record free = peer->record;
    free.state = DPX_SLOT_FREE;
    free.sequence++;
    dpx_peers_learn(peers, s.a.world.self.slot, &free, later);
    CHECK_EQ(dpx_peers_next_look(peers, later + 2 * dead_time), DPX_NEVER);
    dpx_incarnation next = s.a.world.self; /* whose flag is met before its record */
    next.generation++;
    dpx_peers_want(peers, &next, later);
    CHECK_EQ(dpx_peers_next_look(peers, later), later);
    close_scene(&s);
}

/* ‡D3: a chain that was under way when sentence was passed announces nothing. */
static void test_a_notice_counts_when_it_is_durable(void)
{
    scene s;
    open_scene(&s, 3);
    fall_silent(&s);
    dpx_request *requests[DPX_MAX_DISKS];
    CHECK_EQ(begin_beat(&s, &s.b, requests), 3);
    answer(&s, &s.b, requests[0]);
    answer(&s, &s.b, requests[1]); /* a heartbeat: sentence is passed */
    CHECK_EQ(dpx_heart_count(s.b.heart).notices, 1);
    answer(&s, &s.b, requests[2]); /* began before that */
    CHECK(!dpx_peers_dead(s.b.world.peers, &s.a.world.self));
    host_beat(&s.b);
    CHECK(dpx_peers_dead(s.b.world.peers, &s.a.world.self));
    close_scene(&s);
}

/* ‡D3: unmoved after the notice, or not dead. */
static void test_who_moves_after_the_notice_is_not_buried(void)
{
    scene s;
    open_scene(&s, 1);
    uint64_t stood_still = s.disks.now;
    fall_silent(&s);
    dpx_request *requests[DPX_MAX_DISKS];
    begin_beat(&s, &s.b, requests);
    answer(&s, &s.b, requests[0]);
    CHECK_EQ(dpx_heart_count(s.b.heart).notices, 1);
    uint64_t real = s.disks.now;
    s.disks.now = stood_still + 6 * DPX_SECOND; /* A's clock goes on, before the notice is there */
    host_beat(&s.a);
    CHECK(dpx_heart_end(s.a.heart) == DPX_ALIVE);
    s.disks.now = real;
    host_beat(&s.b);
    CHECK(!dpx_peers_dead(s.b.world.peers, &s.a.world.self));
    s.disks.now = stood_still + 12 * DPX_SECOND;
    host_beat(&s.a);
    CHECK(dpx_heart_end(s.a.heart) == DPX_END_NOTICE); /* it was told all the same: the safe direction */
    close_scene(&s);
}

/* ‡D3: … on disks that were silent themselves: B was about to judge A by disks 0 and 1.  A's clock goes on, and A beats
 * on 1 and 2, before a notice is there; on 0 a late claim lies over its record.  B cannot read 1 any more, and 2 stands
 * still, too, from the beat that A made there (the model death3.pml). */
static void test_a_disk_that_moved_confirms_no_death(void)
{
    scene s;
    open_scene(&s, 3);
    const uint64_t dead_time = dpx_dead_time(40 * DPX_SECOND, 10 * DPX_SECOND, 10 * DPX_SECOND);
    uint64_t stood_still = s.disks.now;
    dpx_slot_record late = record_of(DPX_SLOT_CLAIMING, s.a.world.self.generation + 1, 1, 9);
    late.who.slot = s.a.world.self.slot;
    put_record(&s.disks, 0, &late);
    pass_time(&s, 6 * DPX_SECOND, 0);
    fall_silent(&s);
    dpx_request *requests[DPX_MAX_DISKS];
    begin_beat(&s, &s.b, requests);
    answer(&s, &s.b, requests[0]);
    answer(&s, &s.b, requests[1]); /* a heartbeat: sentence is passed */
    CHECK_EQ(dpx_heart_count(s.b.heart).notices, 1);
    uint64_t real = s.disks.now, beats = dpx_heart_count(s.a.heart).beats;
    s.disks.now = stood_still + 6 * DPX_SECOND;
    host_beat(&s.a);
    CHECK_EQ(dpx_heart_count(s.a.heart).beats, beats + 1);
    uint64_t lives_on = s.a.world.lifetime_end - s.disks.now;
    s.disks.now = real;
    answer(&s, &s.b, requests[2]);
    s.disks.fail_writes[1] = s.disks.fail_reads[1] = 5;
    for (int beat = 0; beat < 4; beat++, s.disks.now += DPX_SECOND) {
        dpx_heart_hurry(s.b.heart);
        host_beat(&s.b);
    }
    CHECK(s.disks.now < real + lives_on && dpx_heart_end(s.a.heart) == DPX_ALIVE);
    CHECK(!dpx_peers_dead(s.b.world.peers, &s.a.world.self));
    for (uint64_t end = s.disks.now + dead_time; s.disks.now < end; s.disks.now += DPX_SECOND)
        host_beat(&s.b); /* A stands still again: a new silence will do, of whatever two disks */
    CHECK(dpx_peers_dead(s.b.world.peers, &s.a.world.self));
    close_scene(&s);
}

/* ‡S1: a notice stays until the slot has come past it.  The claim that was judged is damaged now, and what is left
 * shows the slot free before it: who claimed that very generation would be dead from the start (history 50120341). */
static void test_a_notice_outlives_an_earlier_free_record(void)
{
    scene s;
    open_scene(&s, 1);
    host_beat(&s.b);
    dpx_slot_record free = s.b.world.peers->slots[s.a.world.self.slot].record;
    dpx_slot_record claim = free;
    claim.state = DPX_SLOT_CLAIMING;
    claim.who.generation++;
    claim.who.nonce.bytes[0] ^= 1;
    put_record(&s.disks, 0, &claim);
    pass_time(&s, 6 * DPX_SECOND, 0);
    fall_silent(&s);
    dpx_peers_want(s.b.world.peers, &claim.who, 0);
    host_beat(&s.b);
    host_beat(&s.b);
    CHECK(dpx_peers_dead(s.b.world.peers, &claim.who));
    free.state = DPX_SLOT_FREE;
    free.sequence += 100;
    for (uint32_t past = 0; past < 2; past++, free.who.generation++) {
        put_record(&s.disks, 0, &free);
        pass_time(&s, 12 * DPX_SECOND, 0);
        CHECK_EQ(dpx_heart_count(s.b.heart).notices, past ? 0 : 1);
    }
    close_scene(&s);
}

/* ‡D7: B meets a flag of the next owner of A's slot, while the last look of B shows A, long silent. */
static void test_who_came_after_the_last_look_is_not_silent(void)
{
    scene s;
    open_scene(&s, 1);
    const dpx_geometry *g = &s.disks.geometry;
    uint64_t dead = dpx_dead_time(g->outage_tolerance, g->kill_grace, g->watchdog_timeout);
    pass_time(&s, dead + 6 * DPX_SECOND, 0);
    s.disks.now += 5 * DPX_SECOND;
    dpx_request *requests[DPX_MAX_DISKS], *look;
    begin_beat(&s, &s.b, requests);
    look = requests[0];
    disks_carry_out(&s.disks, look, s.b.world.lifetime_end);
    s.disks.now += DPX_MS;
    dpx_slot_record next = record_of(DPX_SLOT_ACTIVE, s.a.world.self.generation + 1, 3, 9);
    next.who.slot = s.a.world.self.slot;
    put_record(&s.disks, 0, &next);
    dpx_peers_want(s.b.world.peers, &next.who, s.disks.now);
    dpx_heart_complete(s.b.heart, look, s.disks.now);
    CHECK(dpx_peers_silent(s.b.world.peers, next.who.slot)); /* A is */
    CHECK_EQ(dpx_heart_count(s.b.heart).notices, 0);
    pass_time(&s, dead - DPX_SECOND, 0);
    CHECK_EQ(dpx_heart_count(s.b.heart).notices, 0);
    pass_time(&s, 6 * DPX_SECOND, 0);
    CHECK(dpx_peers_dead(s.b.world.peers, &next.who));
    close_scene(&s);
}

/* A notice about a higher generation is about a claim that lay over our record: whoever wrote it
 * holds all up to that generation dead, us too. */
static void test_a_notice_about_a_later_claim_is_about_us(void)
{
    for (uint64_t above = 0; above < 3; above++) {
        scene s;
        open_scene(&s, 1);
        dpx_heart_retire(s.b.heart, s.a.world.self.slot, s.a.world.self.generation + above);
        s.disks.now += 6 * DPX_SECOND;
        host_beat(&s.b);
        host_beat(&s.a);
        CHECK_EQ(dpx_heart_end(s.a.heart), DPX_END_NOTICE);
        close_scene(&s);
    }
}

int main(void)
{
    RUN(test_a_slow_read_is_no_silence);
    RUN(test_an_overwritten_claim_hides_nobody);
    RUN(test_a_claim_above_an_owner_is_under_way_for_a_while);
    RUN(test_a_host_moves_for_two_heartbeats);
    RUN(test_a_late_claim_hides_what_the_owner_wrote);
    RUN(test_one_disk_of_three_prolongs_no_silence);
    RUN(test_who_left_on_one_disk_is_dead);
    RUN(test_a_late_claim_over_a_free_slot);
    RUN(test_a_slot_that_is_free_in_three_versions_is_lost);
    RUN(test_the_exit_of_who_left_drains_no_lost_slot);
    RUN(test_one_free_copy_is_not_remembered_as_free);
    RUN(test_an_exit_is_about_one_incarnation);
    RUN(test_the_exit_of_a_claimer_drains_nobody);
    RUN(test_a_leftover_of_another_boot_proves_nothing);
    RUN(test_the_next_look_is_no_later_than_needed);
    RUN(test_a_slot_that_seems_free_now_and_then_proves_nothing);
    RUN(test_later_copies_of_a_leftover_prove_nothing);
    RUN(test_a_notice_counts_when_it_is_durable);
    RUN(test_who_moves_after_the_notice_is_not_buried);
    RUN(test_a_disk_that_moved_confirms_no_death);
    RUN(test_a_notice_outlives_an_earlier_free_record);
    RUN(test_who_came_after_the_last_look_is_not_silent);
    RUN(test_a_notice_about_a_later_claim_is_about_us);
    return check_finish("test_death_rules");
}
