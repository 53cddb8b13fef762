/* ‡D11: what one process of a machine saw of the slots, and another goes on from: scenes on disks in memory. */
#include "../../native/protocol/sightings.h"
#include "records.h"

/* ---- one process after the other ---- */

/* A process that looks at the slots; what it sees goes to the next one. */
typedef struct onlooker {
    dpx_peers *peers;
    dpx_sighting seen[DPX_MAX_DISKS * HOSTS];
} onlooker;

static void begin(onlooker *who, const memory_disks *disks, const onlooker *earlier, uint64_t now)
{
    static const dpx_uuid me = {{NOBODY}};
    const dpx_geometry *g = &disks->geometry;
    who->peers = dpx_peers_place(calloc(1, dpx_peers_memory(g)), g, &me, &me);
    for (uint32_t i = 0; earlier && i < dpx_sightings_count(g); i++)
        dpx_peers_recall(who->peers, &earlier->seen[i], now);
}

static void look(onlooker *who, memory_disks *disks, uint32_t count, uint64_t issued, uint64_t completed)
{
    dpx_table_read reads[DPX_MAX_DISKS] = {0};
    for (uint32_t d = 0; d < count; d++)
        reads[d] = (dpx_table_read){.data = disk_block(disks, d, disks->geometry.slots_at),
                                    .issued = issued,
                                    .completed = completed};
    dpx_peers_observe(who->peers, reads, NOBODY);
}

static void end(onlooker *who)
{
    dpx_peers_sightings(who->peers, who->seen);
    free(who->peers);
    who->peers = NULL;
}

/* The first process: it looks once, and is gone. */
static void glance(onlooker *who, memory_disks *disks, uint64_t issued, uint64_t completed)
{
    begin(who, disks, NULL, issued);
    look(who, disks, disks->geometry.disks, issued, completed);
    end(who);
}

/* The next one: does its first look find SLOT silent? */
static bool finds_silent(memory_disks *disks, const onlooker *earlier, uint64_t issued)
{
    onlooker who;
    begin(&who, disks, earlier, issued);
    look(&who, disks, disks->geometry.disks, issued, issued + DPX_SECOND);
    bool silent = dpx_peers_silent(who.peers, SLOT);
    end(&who);
    return silent;
}

static uint64_t put_owner(memory_disks *disks, uint32_t count, dpx_slot_record *record)
{
    disks_format(disks, count, HOSTS, LEASES);
    *record = record_of(DPX_SLOT_ACTIVE, 3, 7, 1);
    for (uint32_t d = 0; d < count; d++)
        put_record(disks, d, record);
    return dpx_dead_time(record->outage_tolerance, record->kill_grace, record->watchdog_timeout);
}

/* ‡D2 goes for both ends: from the completion of the look that is recalled, to the issue of this one. */
static void test_looks_of_two_processes_add_up(void)
{
    memory_disks disks;
    dpx_slot_record record;
    onlooker first;
    uint64_t dead = put_owner(&disks, 1, &record);
    glance(&first, &disks, 90 * DPX_SECOND, 100 * DPX_SECOND);
    CHECK(!finds_silent(&disks, &first, 100 * DPX_SECOND + dead - 1));
    CHECK(finds_silent(&disks, &first, 100 * DPX_SECOND + dead));
    CHECK(!finds_silent(&disks, NULL, 100 * DPX_SECOND + dead));
    disks_free(&disks);
}

/* … and of any number of them, each of which sees what the one before saw. */
static void test_a_sighting_is_passed_on(void)
{
    memory_disks disks;
    dpx_slot_record record;
    onlooker chain[2];
    uint64_t dead = put_owner(&disks, 3, &record);
    glance(&chain[0], &disks, 100 * DPX_SECOND, 100 * DPX_SECOND);
    for (uint64_t i = 1; i < 5; i++) {
        uint64_t now = 100 * DPX_SECOND + i * dead / 5;
        begin(&chain[i & 1], &disks, &chain[~i & 1], now);
        look(&chain[i & 1], &disks, 3, now, now);
        CHECK(!dpx_peers_silent(chain[i & 1].peers, SLOT));
        CHECK_EQ(dpx_peers_until_silent(chain[i & 1].peers, SLOT, now), dead - i * dead / 5);
        end(&chain[i & 1]);
    }
    CHECK(finds_silent(&disks, &chain[0], 100 * DPX_SECOND + dead));
    disks_free(&disks);
}

/* Whatever differs, the record moved: silence counts from this look, here and for who comes next. */
static void test_other_content_is_another_silence(void)
{
    for (uint32_t what = 0; what < 5; what++) {
        memory_disks disks;
        dpx_slot_record record;
        onlooker first, second;
        uint64_t dead = put_owner(&disks, 1, &record), later = 100 * DPX_SECOND + dead;
        glance(&first, &disks, 100 * DPX_SECOND, 100 * DPX_SECOND);
        switch (what) {
        case 0: record.sequence++; break;
        case 1: record.who.generation++; break;
        case 2: record.who.nonce.bytes[3] ^= 1; break;
        case 3: record.state = DPX_SLOT_CLAIMING; break;
        default: record.counter++; break; /* shows in the checksum only */
        }
        put_record(&disks, 0, &record);
        begin(&second, &disks, &first, later);
        look(&second, &disks, 1, later, later);
        CHECK(!dpx_peers_silent(second.peers, SLOT));
        end(&second);
        CHECK(!finds_silent(&disks, &second, later + dead - 1));
        CHECK(finds_silent(&disks, &second, later + dead));
        disks_free(&disks);
    }
}

/* A damaged record is no sighting; and it ends the one before, for it may lie over what nobody saw. */
static void test_damage_is_no_sighting(void)
{
    memory_disks disks;
    dpx_slot_record record;
    onlooker first, second;
    uint64_t dead = put_owner(&disks, 1, &record), later = 100 * DPX_SECOND + dead;
    uint8_t *block = disk_block(&disks, 0, dpx_slot_block(&disks.geometry, SLOT));
    uint32_t at = dpx_sighting_index(&disks.geometry, 0, SLOT);
    glance(&first, &disks, 100 * DPX_SECOND, 100 * DPX_SECOND);
    block[100] ^= 1;
    glance(&second, &disks, 110 * DPX_SECOND, 110 * DPX_SECOND);
    CHECK(!finds_silent(&disks, &second, later + dead));
    dpx_sighting_merge(&first.seen[at], &second.seen[at]);
    block[100] ^= 1;
    CHECK(!finds_silent(&disks, &first, later));
    disks_free(&disks);
}

/* Two processes write the file one after the other, the one that looked first coming last. */
static void test_the_later_look_outlives_the_earlier_one(void)
{
    memory_disks disks;
    dpx_slot_record record;
    onlooker early, late, again;
    uint64_t dead = put_owner(&disks, 1, &record);
    uint32_t at = dpx_sighting_index(&disks.geometry, 0, SLOT);
    glance(&early, &disks, 100 * DPX_SECOND, 100 * DPX_SECOND);
    glance(&again, &disks, 103 * DPX_SECOND, 103 * DPX_SECOND);
    dpx_sighting kept = again.seen[at];
    dpx_sighting_merge(&kept, &early.seen[at]);
    CHECK_EQ(kept.from, 100 * DPX_SECOND); /* the same record: it was there that early */
    dpx_sighting_merge(&kept, &again.seen[at]);
    CHECK_EQ(kept.from, 100 * DPX_SECOND);
    record.sequence++;
    record.counter++;
    put_record(&disks, 0, &record);
    glance(&late, &disks, 105 * DPX_SECOND, 105 * DPX_SECOND);
    dpx_sighting_merge(&kept, &late.seen[at]);
    CHECK_EQ(kept.from, 105 * DPX_SECOND);
    dpx_sighting_merge(&kept, &early.seen[at]);
    CHECK_EQ(kept.from, 105 * DPX_SECOND);
    dpx_sighting_merge(&kept, &(dpx_sighting){.slot = SLOT});
    CHECK_EQ(kept.from, 105 * DPX_SECOND);
    late.seen[at] = kept;
    CHECK(finds_silent(&disks, &late, 105 * DPX_SECOND + dead));
    disks_free(&disks);
}

/* Somebody else's clock, or a broken one: nothing can have been seen later than now. */
static void test_a_sighting_of_the_future_is_none(void)
{
    memory_disks disks;
    dpx_slot_record record;
    onlooker first, second;
    uint64_t dead = put_owner(&disks, 1, &record);
    glance(&first, &disks, 100 * DPX_SECOND, 100 * DPX_SECOND);
    begin(&second, &disks, &first, 100 * DPX_SECOND - 1);
    look(&second, &disks, 1, 101 * DPX_SECOND, 102 * DPX_SECOND);
    look(&second, &disks, 1, 100 * DPX_SECOND + dead, 100 * DPX_SECOND + dead);
    CHECK(!dpx_peers_silent(second.peers, SLOT));
    end(&second);
    disks_free(&disks);
}

/* Once this process has looked, what others saw before says nothing more. */
static void test_a_sighting_comes_before_the_first_look(void)
{
    memory_disks disks;
    dpx_slot_record record;
    onlooker first, second;
    uint64_t dead = put_owner(&disks, 1, &record), later = 100 * DPX_SECOND + dead;
    uint32_t at = dpx_sighting_index(&disks.geometry, 0, SLOT);
    glance(&first, &disks, 100 * DPX_SECOND, 100 * DPX_SECOND);
    begin(&second, &disks, NULL, later);
    look(&second, &disks, 1, later, later);
    dpx_peers_recall(second.peers, &first.seen[at], later);
    look(&second, &disks, 1, later + 1, later + 1);
    CHECK(!dpx_peers_silent(second.peers, SLOT));
    end(&second);
    disks_free(&disks);
}

/* Three disks, two of which the owner could not reach any more: that they are still says nothing while the third one
 * shows what nobody had seen.  If that was seen as early, they are as silent as they were then. */
static void test_a_record_has_grown_when_it_was_first_seen(void)
{
    for (uint32_t known = 0; known < 2; known++) {
        memory_disks disks;
        dpx_slot_record record;
        onlooker first;
        uint64_t dead = put_owner(&disks, 3, &record);
        dpx_slot_record next = record;
        next.sequence++;
        next.counter++;
        if (known)
            put_record(&disks, 2, &next);
        glance(&first, &disks, 100 * DPX_SECOND, 100 * DPX_SECOND);
        put_record(&disks, 2, &next);
        CHECK(finds_silent(&disks, &first, 100 * DPX_SECOND + dead) == known);
        disks_free(&disks);
    }
}

/* … and what only one of three shows still was not silent. */
static void test_a_minority_is_no_silence(void)
{
    for (uint32_t same = 1; same < 3; same++) {
        memory_disks disks;
        dpx_slot_record record;
        onlooker first;
        uint64_t dead = put_owner(&disks, 3, &record);
        glance(&first, &disks, 100 * DPX_SECOND, 100 * DPX_SECOND);
        for (uint32_t d = same; d < 3; d++) /* overwritten by what is older, so nothing has grown */
            put_record(&disks, d, &(dpx_slot_record){.who = {.slot = SLOT, .generation = 2, .nonce = {{8}}},
                                                     .sequence = 5, .state = DPX_SLOT_ACTIVE,
                                                     .outage_tolerance = record.outage_tolerance,
                                                     .kill_grace = record.kill_grace,
                                                     .watchdog_timeout = record.watchdog_timeout});
        CHECK(finds_silent(&disks, &first, 100 * DPX_SECOND + dead) == (same >= 2));
        disks_free(&disks);
    }
}

/* ---- hosts that join for a short while ---- */

/* Joins as `host_join` does, in this slot or any, with what was seen before it. */
static void join_after(memory_host *host, memory_disks *disks, uint8_t seed, uint32_t only, const onlooker *earlier)
{
    const dpx_geometry *g = &disks->geometry;
    dpx_uuid nonce = {{seed, 0x77}};
    host_prepare(host, disks, seed);
    for (uint32_t i = 0; earlier && i < dpx_sightings_count(g); i++)
        dpx_peers_recall(host->world.peers, &earlier->seen[i], disks->now);
    dpx_slot_record me = host_record(host, seed);
    dpx_claim *claim = dpx_claim_place(host_memory(host, 1, dpx_claim_memory(g)), &host->world);
    dpx_claim_begin(claim, &me, &nonce, only, false, disks->now, disks->now);
    CHECK_EQ(claim_run(host, claim, 60 * DPX_SECOND), DPX_DONE);
    host->heart = dpx_heart_place(host_memory(host, 2, dpx_heart_memory(g)), &host->world, claim, disks->now);
    host_beat(host);
}

static void leave(memory_host *host, onlooker *seen)
{
    dpx_peers_sightings(host->world.peers, seen->seen);
    dpx_heart_leave(host->heart);
    host_beat(host);
    CHECK_EQ(dpx_heart_end(host->heart), DPX_END_LEFT);
    host_forget(host);
}

/* The holder falls silent; the second of two short-lived hosts, which comes when what the first one saw is T_dead ago,
 * judges it: by a look after it met it (‡D7), a notice, and another look (‡D3). */
static void test_short_lives_judge_together(void)
{
    scene s;
    onlooker seen;
    memory_host heir;
    open_scene(&s, 1);
    const dpx_geometry *g = &s.disks.geometry;
    uint64_t dead = dpx_dead_time(g->outage_tolerance, g->kill_grace, g->watchdog_timeout);
    dpx_incarnation gone = s.a.world.self;
    join_after(&heir, &s.disks, 11, DPX_ANY_SLOT, NULL);
    leave(&heir, &seen);
    s.disks.now += dead;
    host_beat(&s.b);
    join_after(&heir, &s.disks, 12, DPX_ANY_SLOT, &seen);
    CHECK(dpx_peers_silent(heir.world.peers, gone.slot));
    s.disks.now += DPX_MS;
    dpx_peers_want(heir.world.peers, &gone, s.disks.now);
    CHECK(!dpx_peers_wanted_silent(heir.world.peers, gone.slot));
    CHECK_EQ(dpx_peers_next_look(heir.world.peers, s.disks.now), s.disks.now); /* now, not at the next period */
    CHECK(!dpx_peers_dead(heir.world.peers, &gone));
    dpx_heart_hurry(heir.heart);
    host_beat(&heir); /* the look, the notice, and the look after that */
    CHECK(dpx_peers_dead(heir.world.peers, &gone));
    CHECK_EQ(dpx_heart_count(heir.heart).notices, 1);
    host_beat(&s.a); /* had it only stood still, it finds the notice */
    CHECK(dpx_heart_end(s.a.heart) != DPX_ALIVE);
    leave(&heir, &seen);
    close_scene(&s);
}

/* A holder that beats between them is not silent. */
static void test_a_beat_between_short_lives_is_seen(void)
{
    scene s;
    onlooker seen;
    memory_host heir;
    open_scene(&s, 1);
    const dpx_geometry *g = &s.disks.geometry;
    uint64_t dead = dpx_dead_time(g->outage_tolerance, g->kill_grace, g->watchdog_timeout);
    join_after(&heir, &s.disks, 11, DPX_ANY_SLOT, NULL);
    leave(&heir, &seen);
    for (uint64_t passed = 0; passed < dead; passed += 5 * DPX_SECOND, s.disks.now += 5 * DPX_SECOND)
        host_beat(&s.a);
    join_after(&heir, &s.disks, 12, DPX_ANY_SLOT, &seen);
    CHECK(!dpx_peers_silent(heir.world.peers, s.a.world.self.slot));
    leave(&heir, &seen);
    close_scene(&s);
}

/* ‡D9: who joins in the very slot of the host that judged carries its notice on, certificate and all: that is an entry
 * like any other. */
static void test_a_certificate_that_is_carried_on_counts(void)
{
    scene s;
    onlooker seen;
    memory_host heir;
    open_scene(&s, 1);
    dpx_incarnation gone = s.a.world.self;
    uint32_t slot = s.b.world.self.slot;
    fall_silent(&s);
    host_beat(&s.b);
    CHECK(dpx_peers_dead(s.b.world.peers, &gone));
    dpx_heart_leave(s.b.heart);
    host_beat(&s.b);
    join_after(&heir, &s.disks, 12, slot, NULL);
    CHECK(!dpx_peers_dead(heir.world.peers, &gone));
    s.disks.now += DPX_MS;
    dpx_peers_want(heir.world.peers, &gone, s.disks.now);
    dpx_heart_hurry(heir.heart);
    host_beat(&heir);
    CHECK(dpx_peers_dead(heir.world.peers, &gone));
    leave(&heir, &seen);
    close_scene(&s);
}

int main(void)
{
    RUN(test_looks_of_two_processes_add_up);
    RUN(test_a_sighting_is_passed_on);
    RUN(test_other_content_is_another_silence);
    RUN(test_damage_is_no_sighting);
    RUN(test_the_later_look_outlives_the_earlier_one);
    RUN(test_a_sighting_of_the_future_is_none);
    RUN(test_a_sighting_comes_before_the_first_look);
    RUN(test_a_record_has_grown_when_it_was_first_seen);
    RUN(test_a_minority_is_no_silence);
    RUN(test_short_lives_judge_together);
    RUN(test_a_beat_between_short_lives_is_seen);
    RUN(test_a_certificate_that_is_carried_on_counts);
    return check_finish("test_sightings");
}
