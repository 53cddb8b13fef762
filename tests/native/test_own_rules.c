/* Own blocks: takings that are certain, damage that is in other hosts' way, changes by several dead hosts.  One
 * scene per rule of docs/protocol.md, as in test_lease_rules.c. */
#include "scene.h"

/* ---- header changes by several dead hosts ---- */

/* A host that nobody joined as: its record is known, and it is held dead. */
static dpx_incarnation dead_stranger(memory_host *observer, uint32_t slot, bool drained)
{
    const dpx_geometry *g = observer->world.geometry;
    dpx_incarnation who = {.slot = slot, .generation = 3};
    who.nonce.bytes[0] = (uint8_t)(slot + 1);
    dpx_slot_record record = {.who = who, .sequence = 9, .counter = 9, .state = DPX_SLOT_ACTIVE,
                              .outage_tolerance = g->outage_tolerance, .kill_grace = g->kill_grace,
                              .watchdog_timeout = g->watchdog_timeout};
    dpx_peers_learn(observer->world.peers, slot, &record, observer->disks->now);
    dpx_peers_bury(observer->world.peers, slot, who.generation);
    if (drained)
        dpx_peers_drained(observer->world.peers, slot, who.generation, DPX_DRAINED_EXITED);
    return who;
}

static void announce_change(memory_disks *disks, dpx_incarnation who, uint32_t area, uint64_t token)
{
    uint64_t ballot = 1000 * DPX_BALLOT_SLOTS + who.slot;
    put_own(disks, &(dpx_own){.who = who, .sequence = 1, .area = area, .ballot = ballot, .hold = ballot,
                              .last_exclusive = ballot, .mode = DPX_MODE_EXCLUSIVE, .change_token = token});
}

/* ‡L8: two dead hosts have each announced a change in one area; the last writes of only one of them are in. */
static void test_every_author_of_an_open_change_must_be_drained(void)
{
    for (uint32_t drained = 0; drained < 4; drained++) {
        scene s;
        dpx_lease lease;
        dpx_header before, after;
        open_scene(&s, 1);
        const dpx_geometry *g = &s.disks.geometry;
        uint32_t area = 3, slots[2], found = 0;
        for (uint32_t slot = 0; found < 2; slot++)
            if (slot != s.a.world.self.slot && slot != s.b.world.self.slot && slot != s.c.world.self.slot)
                slots[found++] = slot;
        for (uint32_t i = 0; i < 2; i++)
            announce_change(&s.disks, dead_stranger(&s.a, slots[i], drained >> i & 1), area,
                            (500 + i) * DPX_BALLOT_SLOTS + slots[i]);
        uint8_t *block = disk_block(&s.disks, 0, dpx_header_block(g, area));
        dpx_header_decode(block, &before);
        name_lease(&lease, "");
        lease.header.area = area;
        CHECK_EQ(host_change(&s.a, DPX_CHANGE_RESOLVE, &lease, 9), drained == 3 ? DPX_DONE : DPX_UNDRAINED);
        dpx_header_decode(block, &after);
        CHECK((after.directory_token > before.directory_token) == (drained == 3));
        close_scene(&s);
    }
}

/* ---- takings that are certain ---- */

static dpx_verdict watch(memory_host *host, dpx_lease *lease)
{
    dpx_wish wish = {.lease = lease};
    host_round(host, DPX_ROUND_WATCH, &wish, 1, 0, NULL);
    return wish.outcome;
}

static uint64_t certain(memory_host *host, uint32_t area)
{
    return own_of(host->disks, area, host->world.self.slot).certainly_taken;
}

/* A's machine stands still together with its clock, B holds A dead and takes what A holds; A overlooks its notice. */
static void overlook(scene *s, uint32_t disks, enum dpx_mode held, enum dpx_mode taken, dpx_lease *at_a,
                     dpx_lease *at_b)
{
    dpx_wish wish;
    open_scene(s, disks);
    create_lease(s, at_a);
    name_lease(at_b, "vm1");
    CHECK(take(&s->a, at_a, held, &wish) == DPX_DONE);
    dpx_peers_bury(s->b.world.peers, s->a.world.self.slot, s->a.world.self.generation);
    CHECK(take(&s->b, at_b, taken, &wish) == DPX_DONE);
}

/* ‡L12: who took over from the dead says so, and the one that was not dead learns of it at its next look: not of a
 * mere flag, which may be an attempt. */
static void test_a_holder_that_was_overlooked_learns_of_it(void)
{
    for (uint32_t modes = 0; modes < 4; modes++) {
        scene s;
        dpx_lease at_a, at_b;
        enum dpx_mode held = modes & 1 ? DPX_MODE_SHARED : DPX_MODE_EXCLUSIVE;
        enum dpx_mode taken = modes & 2 ? DPX_MODE_SHARED : DPX_MODE_EXCLUSIVE;
        bool together = modes == 3;
        overlook(&s, modes & 1 ? 3 : 1, held, taken, &at_a, &at_b);
        CHECK(dpx_lease_must_tell(&at_b) == !together);
        CHECK(watch(&s.a, &at_a) == DPX_DONE);
        CHECK(watch(&s.b, &at_b) == DPX_DONE);
        CHECK(!dpx_lease_must_tell(&at_b));
        CHECK(watch(&s.a, &at_a) == (together ? DPX_DONE : DPX_LOST));
        CHECK(watch(&s.b, &at_b) == DPX_DONE); /* whatever A's block says */
        close_scene(&s);
    }
}

/* ‡L12: … also if the taker is gone again by then: its release has said so. */
static void test_a_release_tells_of_the_taking(void)
{
    scene s;
    dpx_lease at_a, at_b;
    overlook(&s, 1, DPX_MODE_EXCLUSIVE, DPX_MODE_EXCLUSIVE, &at_a, &at_b);
    CHECK(release(&s.b, &at_b) == DPX_DONE);
    CHECK(watch(&s.a, &at_a) == DPX_LOST);
    close_scene(&s);
}

/* ‡L12: what could not be written is written at the next look. */
static void test_a_taking_is_told_until_it_is_durable(void)
{
    scene s;
    dpx_lease at_a, at_b;
    overlook(&s, 1, DPX_MODE_EXCLUSIVE, DPX_MODE_EXCLUSIVE, &at_a, &at_b);
    s.disks.fail_writes[0] = 5;
    CHECK(watch(&s.b, &at_b) == DPX_STORAGE);
    CHECK(dpx_lease_must_tell(&at_b));
    s.disks.fail_writes[0] = 0;
    CHECK(watch(&s.b, &at_b) == DPX_DONE);
    CHECK_EQ(certain(&s.b, at_b.header.area), at_b.hold);
    CHECK(watch(&s.a, &at_a) == DPX_LOST);
    close_scene(&s);
}

/* ‡L12, ‡L1: the slot's next owner carries it on. */
static void test_the_next_owner_of_a_slot_keeps_telling(void)
{
    scene s;
    dpx_lease at_a, at_b, at_c;
    dpx_wish wish;
    overlook(&s, 1, DPX_MODE_EXCLUSIVE, DPX_MODE_EXCLUSIVE, &at_a, &at_b);
    uint64_t token = at_b.token;
    CHECK(release(&s.b, &at_b) == DPX_DONE);
    s.c.world.self = s.b.world.self; /* B left, and its slot is C's now */
    s.c.world.self.generation++;
    s.c.world.self.nonce.bytes[0] ^= 1;
    dpx_peers_bury(s.c.world.peers, s.a.world.self.slot, s.a.world.self.generation);
    name_lease(&at_c, "vm1");
    CHECK(take(&s.c, &at_c, DPX_MODE_SHARED, &wish) == DPX_DONE);
    CHECK_EQ(certain(&s.c, at_c.header.area), token);
    CHECK(!dpx_lease_must_tell(&at_c)); /* A is told already */
    CHECK(watch(&s.a, &at_a) == DPX_LOST);
    close_scene(&s);
}

/* ‡L12: a sharer's taking is nothing to another one with a lower token. */
static void test_a_sharer_ends_no_sharer(void)
{
    scene s;
    dpx_lease at_a, at_b, at_c;
    dpx_wish wish;
    open_scene(&s, 1);
    create_lease(&s, &at_a);
    name_lease(&at_b, "vm1");
    name_lease(&at_c, "vm1");
    CHECK(take(&s.c, &at_c, DPX_MODE_SHARED, &wish) == DPX_DONE);
    /* A dies in an exclusive attempt, above C's token; B comes to share with C. */
    uint64_t ballot = 1000 * DPX_BALLOT_SLOTS + s.a.world.self.slot;
    put_own(&s.disks, &(dpx_own){.who = s.a.world.self, .sequence = 1000, .area = at_a.header.area, .ballot = ballot,
                                 .lease = at_a.header.lease, .hold = ballot, .last_exclusive = ballot,
                                 .mode = DPX_MODE_EXCLUSIVE});
    dpx_peers_bury(s.b.world.peers, s.a.world.self.slot, s.a.world.self.generation);
    CHECK(take(&s.b, &at_b, DPX_MODE_SHARED, &wish) == DPX_DONE);
    CHECK(dpx_lease_must_tell(&at_b));
    CHECK(watch(&s.b, &at_b) == DPX_DONE);
    CHECK(own_of(&s.disks, at_b.header.area, s.b.world.self.slot).taken);
    CHECK(at_c.token < at_b.hold);
    CHECK(watch(&s.c, &at_c) == DPX_DONE);
    CHECK(release(&s.b, &at_b) == DPX_DONE);
    CHECK(watch(&s.c, &at_c) == DPX_DONE);
    close_scene(&s);
}

/* An attempt of B hangs with its flag up, above A's hold, for as long as one likes; then its host dies in it, and the
 * slot's next owner carries on what it left: A must not lose anything by that (simulated history 27872). */
static void test_an_attempt_that_hangs_ends_no_holder(void)
{
    scene s;
    dpx_lease at_a, at_b;
    open_scene(&s, 1);
    create_lease(&s, &at_a);
    name_lease(&at_b, "vm1");
    dpx_wish wish;
    CHECK(take(&s.b, &at_b, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE); /* B knows the lease, and finds it free */
    CHECK(release(&s.b, &at_b) == DPX_DONE);
    CHECK(take(&s.a, &at_a, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    void *memory;
    dpx_round *round = place_round(&s.b, &memory);
    wish = (dpx_wish){.lease = &at_b, .mode = DPX_MODE_EXCLUSIVE};
    at_b.top_ballot = at_a.hold + DPX_BALLOT_SLOTS;
    dpx_round_begin(round, DPX_ROUND_TAKE, &wish, 1, s.disks.now, s.disks.now);
    dpx_request *request = dpx_round_step(round, s.disks.now);
    CHECK(request && request->write_count == 1);
    disks_carry_out(&s.disks, request, s.b.world.lifetime_end); /* its answer never comes */
    dpx_own own = own_of(&s.disks, at_b.header.area, s.b.world.self.slot);
    CHECK(own.hold > at_a.hold && own.certainly_taken < at_a.hold && !own.taken);
    for (uint32_t i = 0; i < 8; i++) {
        s.disks.now += s.disks.geometry.outage_tolerance / 4;
        s.a.world.lifetime_end = s.disks.now + s.disks.geometry.outage_tolerance;
        CHECK(watch(&s.a, &at_a) == DPX_DONE);
    }
    CHECK_EQ(certain(&s.a, at_a.header.area), at_a.hold); /* a flag was in the way: A has said that it holds */
    own.who.generation++;
    own.hold = 0;
    own.mode = DPX_MODE_NONE;
    put_own(&s.disks, &own);
    CHECK(watch(&s.a, &at_a) == DPX_DONE);
    free(memory);
    close_scene(&s);
}

/* ‡L12: two that each took the lease without seeing the other (old content): one of them learns of it, at its second
 * look at the latest, though nothing has regressed any more. */
static void test_of_two_holders_the_lower_one_has_lost(void)
{
    for (uint32_t modes = 0; modes < 3; modes++) {
        scene s;
        dpx_lease at_a, at_b;
        dpx_wish wish;
        enum dpx_mode held = modes == 1 ? DPX_MODE_SHARED : DPX_MODE_EXCLUSIVE;
        enum dpx_mode taken = modes == 2 ? DPX_MODE_SHARED : DPX_MODE_EXCLUSIVE;
        open_scene(&s, 1);
        create_lease(&s, &at_a);
        name_lease(&at_b, "vm1");
        dpx_own before = own_of(&s.disks, at_a.header.area, s.a.world.self.slot);
        CHECK(take(&s.a, &at_a, held, &wish) == DPX_DONE);
        dpx_own after = own_of(&s.disks, at_a.header.area, s.a.world.self.slot);
        put_own(&s.disks, &before);
        CHECK(take(&s.b, &at_b, taken, &wish) == DPX_DONE);
        put_own(&s.disks, &after);
        bool b_above = at_b.hold > at_a.hold;
        bool a_lost = false, b_lost = false;
        for (uint32_t i = 0; i < 2; i++) {
            a_lost = a_lost || watch(&s.a, &at_a) == DPX_LOST;
            b_lost = b_lost || watch(&s.b, &at_b) == DPX_LOST;
        }
        CHECK(a_lost || b_lost);
        CHECK(modes != 0 || (a_lost == b_above && b_lost != b_above));
        close_scene(&s);
    }
}

/* ‡L12: a sharer died in its release, which one disk of three shows.  Who took the lease then, and reads only the two
 * others later, sees a flag that is a holder's, but not one that came after it (simulated history 960031416). */
static void test_an_old_copy_of_a_sharer_ends_no_holder(void)
{
    scene s;
    dpx_lease at_a, at_b;
    dpx_wish wish;
    open_scene(&s, 3);
    create_lease(&s, &at_a);
    name_lease(&at_b, "vm1");
    CHECK(take(&s.b, &at_b, DPX_MODE_SHARED, &wish) == DPX_DONE);
    dpx_own own = own_of(&s.disks, at_b.header.area, s.b.world.self.slot);
    own.taken = true; /* an attempt had been in its way */
    own.sequence++;
    put_own(&s.disks, &own);
    own.taken = false;
    own.hold = 0;
    own.mode = DPX_MODE_NONE;
    own.sequence++;
    const dpx_geometry *g = &s.disks.geometry;
    dpx_own_encode(disk_block(&s.disks, 0, dpx_own_block(g, own.area, own.who.slot)), g, 0, &own);
    CHECK(take(&s.a, &at_a, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    s.disks.fail_reads[0] = 5;
    CHECK(watch(&s.a, &at_a) == DPX_DONE);
    close_scene(&s);
}

/* ‡L12: a sharer that ignores the flag of somebody dead takes the lease above it, whatever it had cached: that one goes
 * by which of the two came later. */
static void test_a_sharer_is_above_the_dead(void)
{
    scene s;
    dpx_lease at_a, at_b;
    dpx_wish wish;
    open_scene(&s, 1);
    create_lease(&s, &at_a);
    name_lease(&at_b, "vm1");
    CHECK(take(&s.b, &at_b, DPX_MODE_SHARED, &wish) == DPX_DONE);
    CHECK(release(&s.b, &at_b) == DPX_DONE);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(release(&s.a, &at_a) == DPX_DONE);
        CHECK(take(&s.a, &at_a, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    }
    dpx_peers_bury(s.b.world.peers, s.a.world.self.slot, s.a.world.self.generation);
    CHECK(take(&s.b, &at_b, DPX_MODE_SHARED, &wish) == DPX_DONE); /* from its cache */
    CHECK(at_b.hold > at_a.hold);
    CHECK(watch(&s.b, &at_b) == DPX_DONE);
    CHECK(watch(&s.a, &at_a) == DPX_LOST);
    close_scene(&s);
}

/* A taking costs a write and a read, also where a dead host's flag stands: that it is certain is told after it. */
static void test_a_taking_is_not_dearer_for_that(void)
{
    scene s;
    dpx_lease at_a, at_b;
    dpx_wish wish;
    open_scene(&s, 1);
    create_lease(&s, &at_a);
    name_lease(&at_b, "vm1");
    CHECK(take(&s.b, &at_b, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    CHECK(release(&s.b, &at_b) == DPX_DONE);
    CHECK(take(&s.a, &at_a, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    dpx_peers_bury(s.b.world.peers, s.a.world.self.slot, s.a.world.self.generation);
    at_b.top_ballot = at_a.hold;
    uint64_t stages = s.disks.stages;
    CHECK(take(&s.b, &at_b, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    CHECK_EQ(s.disks.stages, stages + 2);
    CHECK(release(&s.b, &at_b) == DPX_DONE);
    CHECK(take(&s.b, &at_b, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    CHECK(!dpx_lease_must_tell(&at_b)); /* the release before has told it */
    close_scene(&s);
}

/* ---- damage that is in others' way ---- */

static dpx_verdict rewrite(memory_host *host, uint32_t area)
{
    dpx_lease place = {.located = true, .header.area = area};
    dpx_wish wish = {.lease = &place};
    return host_round(host, DPX_ROUND_REWRITE, &wish, 1, 0, NULL);
}

/* Section 7: a block is damaged whose owner (here: its slot's new one) does not know what it said.  It is written
 * anew beside a holder, who loses nothing by that, alive or dead; and the lease can be taken again. */
static void test_a_damaged_block_is_mended_beside_a_holder(void)
{
    for (uint32_t dies = 0; dies < 2; dies++) {
        scene s;
        dpx_lease at_a, at_c;
        dpx_wish wish;
        open_scene(&s, 1);
        create_lease(&s, &at_a);
        name_lease(&at_c, "vm1");
        CHECK(take(&s.a, &at_a, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
        uint64_t block = dpx_own_block(&s.disks.geometry, at_a.header.area, s.b.world.self.slot);
        disk_block(&s.disks, 0, block)[300] ^= 1;
        if (dies)
            dpx_peers_bury(s.c.world.peers, s.a.world.self.slot, s.a.world.self.generation);
        CHECK(take(&s.c, &at_c, DPX_MODE_EXCLUSIVE, &wish) == DPX_DAMAGED);
        CHECK(rewrite(&s.b, at_a.header.area) == DPX_DONE);
        CHECK(own_of(&s.disks, at_a.header.area, s.b.world.self.slot).last_exclusive > at_a.token);
        CHECK(watch(&s.a, &at_a) == DPX_DONE);
        CHECK(take(&s.c, &at_c, DPX_MODE_EXCLUSIVE, &wish) == (dies ? DPX_DONE : DPX_REFUSED));
        CHECK(!dies || at_c.token > at_a.token);
        close_scene(&s);
    }
}

/* Section 7: who meets it asks the owner, in its own record; the owner hears of it once, and only who is meant. */
static void test_the_owner_of_a_damaged_block_is_asked(void)
{
    scene s;
    uint32_t area = 0;
    open_scene(&s, 3);
    CHECK(dpx_heart_ask(s.a.heart, &s.b.world.self, 3));
    CHECK(!dpx_heart_ask(s.a.heart, &s.b.world.self, 3)); /* it stands */
    for (uint32_t i = 0; i < 3; i++) {
        host_beat(&s.a);
        s.disks.now += 5 * DPX_SECOND;
        host_beat(&s.b);
        host_beat(&s.c);
        CHECK(dpx_heart_asked(s.b.heart, &area) == (i == 0));
        CHECK(!dpx_heart_asked(s.c.heart, &area));
    }
    CHECK_EQ(area, 3);
    dpx_incarnation before = s.b.world.self;
    before.generation--;
    dpx_heart_unask(s.a.heart);
    CHECK(dpx_heart_ask(s.a.heart, &before, 4)); /* somebody else, who had that slot */
    for (uint32_t i = 0; i < 2; i++) {
        s.disks.now += 5 * DPX_SECOND;
        host_beat(&s.a);
        host_beat(&s.b);
        CHECK(i > 0 || !dpx_heart_asked(s.b.heart, &area));
        CHECK(i > 0 || dpx_heart_ask(s.a.heart, &s.b.world.self, 3));
        CHECK(i > 0 || dpx_heart_ask(s.a.heart, &s.b.world.self, 5)); /* in the place of the oldest */
    }
    uint32_t areas = 0;
    while (dpx_heart_asked(s.b.heart, &area))
        areas |= 1u << area;
    CHECK_EQ(areas, 1u << 3 | 1u << 5);
    close_scene(&s);
}

/* ‡L11: the rewriting of a damaged block jumped far up, its writes returned errors, and the damage was gone when it
 * was read again.  The ballot was issued and may land yet: neither the rewriting nor another name of this host that
 * reads the area goes below it (simulated history 700851751). */
static void test_an_issued_ballot_is_not_undercut(void)
{
    for (unsigned named = 0; named < 2; named++) {
        scene s;
        dpx_lease lease, again, place = {.located = true};
        dpx_wish wish = {.lease = &place};
        uint64_t issued = 0;
        void *memory;
        open_scene(&s, 3);
        create_lease(&s, &lease);
        uint32_t area = place.header.area = lease.header.area;
        uint64_t block = dpx_own_block(&s.disks.geometry, area, s.a.world.self.slot);
        for (uint32_t d = 0; d < 2; d++)
            disk_block(&s.disks, d, block)[100] ^= 1;
        dpx_round *round = place_round(&s.a, &memory);
        dpx_round_begin(round, DPX_ROUND_REWRITE, &wish, 1, s.disks.now, s.disks.now);
        for (dpx_request *r; (r = dpx_round_step(round, s.disks.now)); dpx_round_complete(round, r, s.disks.now)) {
            s.disks.fail_writes[r->disk] = 5;
            disks_carry_out(&s.disks, r, s.a.world.lifetime_end);
            dpx_own own;
            if (r->write_count > 0) {
                dpx_own_decode(r->writes[0].data, &own);
                issued = own.ballot;
            }
        }
        CHECK(issued > UINT64_C(1) << 32 && dpx_round_verdict(round) == DPX_RUNNING);
        for (uint32_t d = 0; d < 3; d++)
            s.disks.fail_writes[d] = 0;
        for (uint32_t d = 0; d < 2; d++)
            disk_block(&s.disks, d, block)[100] ^= 1;
        if (named) {
            name_lease(&again, "vm1");
            CHECK(take(&s.a, &again, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
        } else {
            s.a.world.sequences[area]++; /* drawn by a name that was kept out */
            CHECK(round_run(&s.a, round, 60 * DPX_SECOND) == DPX_DONE);
        }
        CHECK(own_of(&s.disks, area, s.a.world.self.slot).ballot >= issued);
        free(memory);
        close_scene(&s);
    }
}

int main(void)
{
    RUN(test_a_damaged_block_is_mended_beside_a_holder);
    RUN(test_the_owner_of_a_damaged_block_is_asked);
    RUN(test_a_holder_that_was_overlooked_learns_of_it);
    RUN(test_a_release_tells_of_the_taking);
    RUN(test_a_taking_is_told_until_it_is_durable);
    RUN(test_the_next_owner_of_a_slot_keeps_telling);
    RUN(test_a_sharer_ends_no_sharer);
    RUN(test_an_attempt_that_hangs_ends_no_holder);
    RUN(test_of_two_holders_the_lower_one_has_lost);
    RUN(test_an_old_copy_of_a_sharer_ends_no_holder);
    RUN(test_a_sharer_is_above_the_dead);
    RUN(test_a_taking_is_not_dearer_for_that);
    RUN(test_every_author_of_an_open_change_must_be_drained);
    RUN(test_an_issued_ballot_is_not_undercut);
    return check_finish("test_own_rules");
}
