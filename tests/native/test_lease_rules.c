/* Leases: one scene per rule of docs/protocol.md that histories of the simulator meet once in millions,
 * if ever: each fails when its rule is left out (tests/mutants/ledger.toml names them). */
#include <errno.h>

#include "scene.h"

/* ‡L8: the header of a half-made change is there, and still the change is open. */
static void test_a_change_is_open_though_its_header_landed(void)
{
    scene s;
    dpx_lease at_a, at_b;
    dpx_wish wish;
    open_scene(&s, 1);
    half_made_change(&s, &at_a);
    name_lease(&at_b, "vm1");
    dpx_header header = at_a.header;
    header.directory_token = s.a.directory.token;
    header.sequence++;
    dpx_header_encode(disk_block(&s.disks, 0, dpx_header_block(&s.disks.geometry, header.area)), &s.disks.geometry, 0,
                      &header);
    dpx_peers_bury(s.b.world.peers, s.a.world.self.slot, s.a.world.self.generation);
    CHECK(take(&s.b, &at_b, DPX_MODE_EXCLUSIVE, &wish) == DPX_CHANGE_OPEN);
    close_scene(&s);
}

/* ‡L8: the slot's next owner tries to resolve what its predecessor left half made, and fails: whoever
 * looks there after its void must still learn of it. */
static void test_a_void_keeps_an_inherited_change_open(void)
{
    scene s;
    dpx_lease at_a, at_b, place = {0};
    dpx_wish wish;
    open_scene(&s, 1);
    half_made_change(&s, &at_a);
    name_lease(&at_b, "vm1");
    s.c.world.self = s.a.world.self; /* A died here, and its slot is C's now */
    s.c.world.self.generation++;
    s.c.world.self.nonce.bytes[0] ^= 1;
    dpx_peers_bury(s.b.world.peers, s.a.world.self.slot, s.a.world.self.generation);
    void *memory;
    dpx_round *round = place_round(&s.c, &memory);
    place.located = true;
    place.header.area = at_a.header.area;
    wish = (dpx_wish){.lease = &place, .mode = DPX_MODE_EXCLUSIVE, .change_token = s.a.directory.token + 65536,
                      .resolving = true};
    dpx_round_begin(round, DPX_ROUND_TAKE, &wish, 1, s.disks.now, s.disks.now);
    dpx_request *request;
    while ((request = dpx_round_step(round, s.disks.now))) { /* its judging read fails */
        s.disks.fail_reads[0] = request->write_count > 0 ? 5 : 0;
        disks_carry_out(&s.disks, request, s.c.world.lifetime_end);
        dpx_round_complete(round, request, s.disks.now);
    }
    CHECK(dpx_round_verdict(round) == DPX_STORAGE);
    dpx_own own = own_of(&s.disks, at_a.header.area, s.c.world.self.slot);
    CHECK(own.hold == 0 && own.who.generation == s.c.world.self.generation);
    s.disks.fail_reads[0] = 0;
    CHECK(take(&s.b, &at_b, DPX_MODE_EXCLUSIVE, &wish) == DPX_CHANGE_OPEN);
    free(memory);
    close_scene(&s);
}

/* ‡L8: somebody has seen a newer header than the one that can be read: it is not believed. */
static void test_a_header_older_than_what_was_seen_is_damaged(void)
{
    scene s;
    dpx_lease at_a, at_b;
    dpx_wish wish;
    open_scene(&s, 1);
    create_lease(&s, &at_a);
    dpx_own seen = own_of(&s.disks, at_a.header.area, s.c.world.self.slot);
    seen.who = s.c.world.self;
    seen.sequence++;
    seen.directory_token = at_a.header.directory_token + 1;
    put_own(&s.disks, &seen);
    CHECK(take(&s.a, &at_a, DPX_MODE_EXCLUSIVE, &wish) == DPX_DAMAGED); /* in the judging read */
    name_lease(&at_b, "vm1");
    CHECK(take(&s.b, &at_b, DPX_MODE_EXCLUSIVE, &wish) == DPX_DAMAGED); /* in the look */
    CHECK(at_a.hold == 0 && at_b.hold == 0);
    close_scene(&s);
}

/* ‡L8: … nor is it a reason to give up what is held, when a regress has let the own flag be raised again. */
static void test_a_header_older_than_what_was_seen_loses_nothing(void)
{
    scene s;
    dpx_lease at_a;
    dpx_wish wish;
    open_scene(&s, 1);
    create_lease(&s, &at_a);
    dpx_own before = own_of(&s.disks, at_a.header.area, s.a.world.self.slot);
    CHECK(take(&s.a, &at_a, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    uint64_t hold = at_a.hold;
    dpx_header header = at_a.header;
    uint64_t block = dpx_header_block(&s.disks.geometry, header.area);
    put_own(&s.disks, &before);
    dpx_empty_encode(disk_block(&s.disks, 0, block), &s.disks.geometry, 0, block, 0);
    wish = (dpx_wish){.lease = &at_a};
    CHECK(host_round(&s.a, DPX_ROUND_WATCH, &wish, 1, 0, NULL) == DPX_DAMAGED);
    CHECK(wish.healed && at_a.hold == hold);
    CHECK_EQ(own_of(&s.disks, header.area, s.a.world.self.slot).hold, hold);
    dpx_header_encode(disk_block(&s.disks, 0, block), &s.disks.geometry, 0, &header);
    CHECK(host_round(&s.a, DPX_ROUND_WATCH, &wish, 1, 0, NULL) == DPX_DONE);
    close_scene(&s);
}

/* Section 7: the ballots of lease 0 were lost with a damaged block: a header's tokens do not fall all the same. */
static void test_tokens_of_headers_do_not_fall(void)
{
    scene s;
    dpx_lease lease;
    open_scene(&s, 1);
    create_lease(&s, &lease);
    dpx_header header;
    uint8_t *block = disk_block(&s.disks, 0, dpx_header_block(&s.disks.geometry, lease.header.area));
    CHECK(host_change(&s.a, DPX_CHANGE_DELETE, &lease, 9) == DPX_DONE);
    dpx_header_decode(block, &header);
    uint64_t before = header.directory_token += 1000 * DPX_BALLOT_SLOTS;
    dpx_header_encode(block, &s.disks.geometry, 0, &header);
    CHECK(host_change(&s.b, DPX_CHANGE_CREATE, &lease, 8) == DPX_DONE);
    dpx_header_decode(block, &header);
    CHECK(header.state == DPX_LEASE_IN_USE && header.directory_token > before);
    close_scene(&s);
}

/* A lease, its area, and the area where probing goes on. */
static uint32_t create_one(scene *s, dpx_lease *lease)
{
    const dpx_geometry *g = &s->disks.geometry;
    create_lease(s, lease);
    uint32_t after = (lease->header.area + 1) % g->max_leases;
    return after == DPX_DIRECTORY_AREA ? after + 1 : after;
}

static enum dpx_lease_state deleted_state(scene *s, dpx_lease *lease)
{
    uint64_t block = dpx_header_block(&s->disks.geometry, lease->header.area);
    dpx_header header;
    CHECK(host_change(&s->a, DPX_CHANGE_DELETE, lease, 9) == DPX_DONE);
    dpx_header_decode(disk_block(&s->disks, 0, block), &header);
    return header.state;
}

/* ‡L8: the next area is free on one disk of three only, by a deletion that may be undone: probing must go on to it. */
static void test_a_half_made_deletion_frees_nothing_before_it(void)
{
    scene s;
    dpx_lease lease;
    open_scene(&s, 3);
    const dpx_geometry *g = &s.disks.geometry;
    uint32_t after = create_one(&s, &lease);
    for (uint32_t d = 0; d < 3; d++) {
        dpx_header next = {.area = after, .directory_token = 5 + d / 2, .sequence = 1,
                           .state = d < 2 ? DPX_LEASE_TOMBSTONE : DPX_LEASE_FREE};
        dpx_header_encode(disk_block(&s.disks, d, dpx_header_block(g, after)), g, d, &next);
    }
    CHECK_EQ(deleted_state(&s, &lease), DPX_LEASE_TOMBSTONE);
    close_scene(&s);
}

/* ‡L8: a dead host has announced a creation in the next area, and its header may yet land there. */
static void test_a_half_made_creation_frees_nothing_before_it(void)
{
    scene s;
    dpx_lease lease;
    for (uint32_t announced = 0; announced < 2; announced++) {
        open_scene(&s, 1);
        uint32_t after = create_one(&s, &lease);
        if (announced) {
            dpx_own own = {.who = s.b.world.self, .area = after, .sequence = 1, .ballot = 65536 + s.b.world.self.slot,
                           .mode = DPX_MODE_EXCLUSIVE, .change_token = lease.header.directory_token};
            own.hold = own.last_exclusive = own.ballot;
            put_own(&s.disks, &own);
            dpx_peers_bury(s.a.world.peers, own.who.slot, own.who.generation);
        }
        CHECK_EQ(deleted_state(&s, &lease), announced ? DPX_LEASE_TOMBSTONE : DPX_LEASE_FREE);
        close_scene(&s);
    }
}

/* ‡L8: a deletion that a minority shows, of a host that nobody here knows to be dead yet (its flag in lease 0 is
 * down: its slot has a new owner).  The name may come back, and is not created before it (history 43188603). */
static void test_the_change_of_somebody_unburied_is_not_passed_over(void)
{
    scene s;
    dpx_lease lease;
    open_scene(&s, 3);
    const dpx_geometry *g = &s.disks.geometry;
    uint32_t after = create_one(&s, &lease);
    uint64_t token = 1 + s.a.directory.ballot;
    dpx_header gone = {.area = lease.header.area, .directory_token = token, .sequence = 5,
                       .state = DPX_LEASE_TOMBSTONE};
    dpx_header next = lease.header, half = {.area = after, .directory_token = token + 1, .sequence = 1,
                                            .state = DPX_LEASE_TOMBSTONE};
    next.area = after;
    for (uint32_t d = 0; d < 3; d++) {
        dpx_header_encode(disk_block(&s.disks, d, dpx_header_block(g, gone.area)), g, d, &gone);
        dpx_header_encode(disk_block(&s.disks, d, dpx_header_block(g, after)), g, d, d == 0 ? &half : &next);
    }
    dpx_own own = {.who = s.c.world.self, .area = after, .sequence = 1, .ballot = 65536 + s.c.world.self.slot,
                   .mode = DPX_MODE_EXCLUSIVE, .change_token = half.directory_token};
    own.hold = own.last_exclusive = own.ballot;
    put_own(&s.disks, &own);
    CHECK(host_change(&s.b, DPX_CHANGE_CREATE, &lease, 8) == DPX_REFUSED);
    dpx_peers_bury(s.b.world.peers, own.who.slot, own.who.generation);
    CHECK(host_change(&s.b, DPX_CHANGE_CREATE, &lease, 8) == DPX_UNDRAINED);
    close_scene(&s);
}

/* ‡L8: nobody changes the header of lease 0, so nothing is resolved there, whatever an own block claims (found by
 * fuzzing: lease 0 was taken under lease 0, and never let go). */
static void test_nothing_is_resolved_in_lease_0(void)
{
    scene s;
    dpx_lease lease;
    open_scene(&s, 1);
    dpx_own own = {.who = s.b.world.self, .area = DPX_DIRECTORY_AREA, .sequence = 1, .change_token = 7};
    put_own(&s.disks, &own);
    create_lease(&s, &lease);
    close_scene(&s);
}

static bool writes_header(const memory_disks *disks, const dpx_request *request)
{
    return request->write_count == 1 &&
           dpx_place_of(&disks->geometry, request->writes[0].block).kind == DPX_KIND_HEADER;
}

/* ‡L8: neither flag falls before the header is durable on a majority. */
static void test_a_header_on_one_disk_is_no_change(void)
{
    scene s;
    dpx_lease lease;
    open_scene(&s, 3);
    name_lease(&lease, "vm1");
    size_t bytes = (dpx_change_memory(&s.disks.geometry) + 4095) & ~(size_t)4095;
    void *memory = aligned_alloc(4096, bytes);
    memset(memory, 0, bytes);
    dpx_uuid uuid = {{9}};
    dpx_change *change = dpx_change_place(memory, &s.a.world, &s.a.directory);
    dpx_change_begin(change, DPX_CHANGE_CREATE, &lease, &uuid, s.disks.now, s.disks.now);
    for (uint64_t end = s.disks.now + 5 * DPX_SECOND; s.disks.now < end;) {
        dpx_request *requests[DPX_MAX_DISKS] = {NULL};
        for (uint32_t d = 0; d < 3; d++)
            requests[d] = dpx_change_step(change, s.disks.now);
        for (uint32_t d = 0; d < 3 && requests[d]; d++) {
            bool fails = requests[d]->disk > 0 && writes_header(&s.disks, requests[d]);
            s.disks.fail_writes[requests[d]->disk] = fails ? 5 : 0;
            disks_carry_out(&s.disks, requests[d], s.a.world.lifetime_end);
            s.disks.fail_writes[requests[d]->disk] = 0;
            dpx_change_complete(change, requests[d], s.disks.now);
        }
        if (!requests[0])
            s.disks.now += 10 * DPX_MS;
    }
    CHECK(dpx_change_verdict(change) == DPX_RUNNING); /* it goes on trying, with its flags up */
    CHECK(s.a.directory.hold != 0);
    CHECK(change_run(&s.a, change, DPX_SECOND) == DPX_DONE);
    free(memory);
    close_scene(&s);
}

/* A creates that lease, by a machine to be stepped by hand; the caller frees *memory. */
static dpx_change *begin_create(scene *s, dpx_lease *lease, void **memory)
{
    size_t bytes = (dpx_change_memory(&s->disks.geometry) + 4095) & ~(size_t)4095;
    dpx_uuid uuid = {{9}};
    *memory = aligned_alloc(4096, bytes);
    memset(*memory, 0, bytes);
    dpx_change *change = dpx_change_place(*memory, &s->a.world, &s->a.directory);
    dpx_change_begin(change, DPX_CHANGE_CREATE, lease, &uuid, s->disks.now, s->disks.now);
    return change;
}

static void carry_change_out(scene *s, dpx_change *change, dpx_request *request, bool fails)
{
    s->disks.fail_writes[request->disk] = fails ? 5 : 0;
    disks_carry_out(&s->disks, request, s->a.world.lifetime_end);
    s->disks.fail_writes[request->disk] = 0;
    dpx_change_complete(change, request, s->disks.now);
}

/* ‡L8: a header whose write returned without an error, however late, is not written there again; where it failed, it
 * is.  (A second write would be under way beside a header that shows this change.) */
static void test_a_durable_header_is_not_written_again(void)
{
    for (uint32_t disks = 1; disks <= 3; disks += 2) {
        scene s;
        dpx_lease lease;
        uint32_t writes[3] = {0};
        dpx_request *late = NULL;
        open_scene(&s, disks);
        name_lease(&lease, "vm1");
        void *memory;
        dpx_change *change = begin_create(&s, &lease, &memory);
        uint64_t returns = s.disks.now + dpx_io_limit(&s.disks.geometry) + DPX_SECOND;
        uint64_t fail_until = returns + DPX_SECOND;
        for (uint64_t end = returns + 4 * DPX_SECOND; s.disks.now < end;) {
            dpx_request *request = dpx_change_step(change, s.disks.now);
            bool header = request && writes_header(&s.disks, request);
            if (header && writes[request->disk]++ == 0 && request->disk == 0)
                late = request;
            else if (request) /* other disks fail until it is back, so that it is no majority that has the header */
                carry_change_out(&s, change, request, header && request->disk > 0 && s.disks.now < fail_until);
            else
                s.disks.now += 10 * DPX_MS;
            if (late && s.disks.now >= returns) {
                carry_change_out(&s, change, late, false);
                late = NULL;
            }
        }
        CHECK_EQ(dpx_change_verdict(change), DPX_DONE);
        CHECK_EQ(writes[0], 1);
        for (uint32_t d = 1; d < disks; d++)
            CHECK(writes[d] > 1);
        free(memory);
        close_scene(&s);
    }
}

/* ‡L8: what returns late of an earlier header is no answer to the next one: of three disks it hangs on one, the next
 * one fails on another, and one alone has it. */
static void test_an_earlier_header_is_not_the_next_one(void)
{
    scene s;
    dpx_lease lease;
    dpx_request *late = NULL;
    open_scene(&s, 3);
    name_lease(&lease, "vm1");
    void *memory;
    dpx_change *change = begin_create(&s, &lease, &memory);
    while (dpx_change_verdict(change) == DPX_RUNNING) {
        dpx_request *request = dpx_change_step(change, s.disks.now);
        if (request && request->disk == 2 && writes_header(&s.disks, request))
            late = request;
        else if (request)
            carry_change_out(&s, change, request, false);
        else
            s.disks.now += 10 * DPX_MS;
    }
    CHECK(late && dpx_change_verdict(change) == DPX_DONE);
    bool back = false;
    dpx_change_begin(change, DPX_CHANGE_DELETE, &lease, NULL, s.disks.now, s.disks.now);
    for (uint64_t end = s.disks.now + 15 * DPX_SECOND; s.disks.now < end;) {
        dpx_request *request = dpx_change_step(change, s.disks.now);
        bool header = request && writes_header(&s.disks, request);
        if (request)
            carry_change_out(&s, change, request, header && request->disk > 0);
        else
            s.disks.now += 10 * DPX_MS;
        if (header && !back) {
            carry_change_out(&s, change, late, false);
            back = true;
        }
    }
    CHECK(back && dpx_change_verdict(change) == DPX_RUNNING);
    CHECK(s.a.directory.hold != 0);
    free(memory);
    close_scene(&s);
}

/* ‡L10: a judging read that is repeated counts only where the flag is durable. */
static void test_a_disk_without_the_flag_does_not_judge(void)
{
    scene s;
    dpx_lease at_a, at_b;
    dpx_wish wish;
    open_scene(&s, 3);
    name_lease(&at_a, "vm1");
    name_lease(&at_b, "vm1");
    CHECK(host_change(&s.a, DPX_CHANGE_CREATE, &at_a, 9) == DPX_DONE);
    CHECK(take(&s.a, &at_a, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    CHECK(release(&s.a, &at_a) == DPX_DONE);
    dpx_own before = own_of(&s.disks, at_a.header.area, s.b.world.self.slot);
    dpx_own lower = {.who = s.b.world.self, .sequence = before.sequence + 1, .area = at_a.header.area,
                     .lease = at_a.header.lease, .ballot = 1, .hold = 1, .mode = DPX_MODE_EXCLUSIVE};
    put_own(&s.disks, &lower); /* B's attempt, lower: it will give way */
    void *memory;
    dpx_round *round = place_round(&s.a, &memory);
    wish = (dpx_wish){.lease = &at_a, .mode = DPX_MODE_EXCLUSIVE};
    dpx_round_begin(round, DPX_ROUND_TAKE, &wish, 1, s.disks.now, s.disks.now);
    s.disks.fail_writes[2] = 5;               /* A's flag is durable on disks 0 and 1 */
    CHECK(round_run(&s.a, round, 0) == DPX_RUNNING); /* it pauses: lower flags */
    lower.sequence++;
    lower.hold = 0;
    put_own(&s.disks, &lower);
    s.disks.fail_reads[0] = 5;                /* 1 and 2 can be read: only 1 carries the flag */
    CHECK(round_run(&s.a, round, DPX_SECOND) == DPX_STORAGE);
    CHECK(at_a.hold == 0);
    free(memory);
    close_scene(&s);
}

/* Watching: whoever took the lease while the flag had vanished may have let it go again, and may
 * have had a lower token, since the holder's ballot had vanished too. */
static void taken_in_between(memory_host *holder, memory_host *other)
{
    dpx_lease at_holder, at_other;
    dpx_wish wish, theirs;
    name_lease(&at_holder, "vm1");
    name_lease(&at_other, "vm1");
    CHECK(take(holder, &at_holder, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    CHECK(release(holder, &at_holder) == DPX_DONE);
    dpx_own before = own_of(holder->disks, at_holder.header.area, holder->world.self.slot);
    CHECK(take(holder, &at_holder, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    put_own(holder->disks, &before); /* a replay takes the flag down … */
    CHECK(take(other, &at_other, DPX_MODE_EXCLUSIVE, &theirs) == DPX_DONE);
    CHECK(release(other, &at_other) == DPX_DONE); /* … and somebody was there */
    wish = (dpx_wish){.lease = &at_holder};
    CHECK(host_round(holder, DPX_ROUND_WATCH, &wish, 1, 0, NULL) == DPX_LOST);
}

static void test_a_taking_in_between_is_a_loss(void)
{
    for (int higher = 0; higher < 2; higher++) {
        scene s;
        dpx_lease lease;
        open_scene(&s, 1);
        name_lease(&lease, "vm1");
        CHECK(host_change(&s.c, DPX_CHANGE_CREATE, &lease, 9) == DPX_DONE);
        bool a_above = s.a.world.self.slot > s.b.world.self.slot;
        taken_in_between(a_above == higher ? &s.a : &s.b, a_above == higher ? &s.b : &s.a);
        close_scene(&s);
    }
}

/* ‡S9: a block of the slot's next owner ends its former one. */
static void test_a_newer_incarnation_in_the_own_block_is_the_end(void)
{
    scene s;
    dpx_lease at_a;
    dpx_wish wish;
    open_scene(&s, 1);
    create_lease(&s, &at_a);
    dpx_own next = own_of(&s.disks, at_a.header.area, s.a.world.self.slot);
    next.who = s.a.world.self;
    next.who.generation++;
    next.hold = 0;
    put_own(&s.disks, &next);
    name_lease(&at_a, "vm1");
    CHECK(take(&s.a, &at_a, DPX_MODE_EXCLUSIVE, &wish) == DPX_FINISHED);
    CHECK(s.a.world.finished);
    close_scene(&s);
}

/* ‡L11: what was not handed out when another name of this host wrote in the area would come after that. */
static void test_a_disk_not_asked_yet_is_left_out(void)
{
    scene s;
    dpx_lease lease;
    open_scene(&s, 3);
    create_lease(&s, &lease);
    void *memory;
    dpx_round *round = place_round(&s.a, &memory);
    dpx_wish wish = {.lease = &lease, .mode = DPX_MODE_EXCLUSIVE};
    dpx_round_begin(round, DPX_ROUND_TAKE, &wish, 1, s.disks.now, s.disks.now);
    dpx_request *first = dpx_round_step(round, s.disks.now);
    CHECK(first && first->write_count == 1);
    s.a.world.sequences[lease.header.area]++;
    CHECK(dpx_round_step(round, s.disks.now) == NULL);
    free(memory);
    close_scene(&s);
}

/* ‡L11: another name of this host draws a sequence while our flag is up, and we would have to raise it higher: the
 * attempt ends, but not before its flag is down, and its last_exclusive is as it was (a "perhaps taken" would refuse
 * true states). */
static void test_an_attempt_that_is_overtaken_takes_its_flag_down(void)
{
    scene s;
    dpx_lease at_a, at_b;
    dpx_wish wish;
    open_scene(&s, 1);
    name_lease(&at_a, "vm1");
    name_lease(&at_b, "vm1");
    CHECK(host_change(&s.a, DPX_CHANGE_CREATE, &at_a, 9) == DPX_DONE);
    CHECK(take(&s.a, &at_a, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    CHECK(release(&s.a, &at_a) == DPX_DONE);
    uint64_t before = at_a.last_exclusive;
    for (uint32_t i = 0; i < 2; i++) { /* B's ballots rise above what A has cached */
        CHECK(take(&s.b, &at_b, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
        CHECK(release(&s.b, &at_b) == DPX_DONE);
    }
    void *memory;
    dpx_round *round = place_round(&s.a, &memory);
    wish = (dpx_wish){.lease = &at_a, .mode = DPX_MODE_EXCLUSIVE};
    dpx_round_begin(round, DPX_ROUND_TAKE, &wish, 1, s.disks.now, s.disks.now);
    dpx_request *request = dpx_round_step(round, s.disks.now);
    CHECK(request && request->write_count == 1);
    s.a.world.sequences[at_a.header.area]++;
    for (; request; request = dpx_round_step(round, s.disks.now)) {
        disks_carry_out(&s.disks, request, s.a.world.lifetime_end);
        dpx_round_complete(round, request, s.disks.now);
    }
    CHECK(dpx_round_verdict(round) == DPX_STORAGE && dpx_round_cause(round)->error == -16);
    dpx_own own = own_of(&s.disks, at_a.header.area, s.a.world.self.slot);
    CHECK(own.hold == 0 && own.ballot > before);
    CHECK_EQ(own.last_exclusive, before);
    free(memory);
    close_scene(&s);
}

/* One look at three disks of which two fail, each with its error (0: it does not answer); what is said of it. */
static dpx_cause failed_look(const int errors[3])
{
    scene s;
    dpx_lease at_a;
    dpx_request *requests[3];
    open_scene(&s, 3);
    name_lease(&at_a, "vm1");
    void *memory;
    dpx_round *round = place_round(&s.a, &memory);
    dpx_wish wish = {.lease = &at_a, .mode = DPX_MODE_EXCLUSIVE};
    dpx_round_begin(round, DPX_ROUND_FIND, &wish, 1, s.disks.now, s.disks.now);
    for (uint32_t d = 0; d < 3; d++)
        CHECK((requests[d] = dpx_round_step(round, s.disks.now)) != NULL && requests[d]->disk == d);
    for (uint32_t d = 0; d < 3; d++) {
        if (errors[d] == 0)
            continue; /* it hangs */
        disks_carry_out(&s.disks, requests[d], s.a.world.lifetime_end);
        if (errors[d] < 0)
            requests[d]->error = requests[d]->reads[0].error = errors[d];
        dpx_round_complete(round, requests[d], s.disks.now);
    }
    s.disks.now += dpx_io_limit(&s.disks.geometry) + 1;
    CHECK(dpx_round_step(round, s.disks.now) == NULL);
    CHECK_EQ(dpx_round_verdict(round), DPX_STORAGE);
    dpx_cause cause = *dpx_round_cause(round);
    free(memory);
    close_scene(&s);
    return cause;
}

/* A request may take as long as it takes while its I/Os return one after the other; then the limit is that of the one
 * that does not. */
static void test_the_limit_is_that_of_one_io(void)
{
    scene s;
    dpx_lease at_a;
    open_scene(&s, 1);
    name_lease(&at_a, "vm1");
    void *memory;
    dpx_round *round = place_round(&s.a, &memory);
    dpx_wish wish = {.lease = &at_a, .mode = DPX_MODE_EXCLUSIVE};
    uint64_t limit = dpx_io_limit(&s.disks.geometry);
    dpx_round_begin(round, DPX_ROUND_FIND, &wish, 1, s.disks.now, s.disks.now);
    dpx_request *request = dpx_round_step(round, s.disks.now);
    CHECK(request != NULL);
    for (uint32_t i = 0; i < 2; i++) {
        CHECK_EQ(dpx_round_wake(round), s.disks.now + limit);
        s.disks.now += limit - 1;
        atomic_store(&request->moved_at, s.disks.now);
        CHECK_EQ(dpx_round_moved(round), s.disks.now);
        s.disks.now++;
        CHECK(dpx_round_step(round, s.disks.now) == NULL);
        CHECK_EQ(dpx_round_verdict(round), DPX_RUNNING);
        s.disks.now--;
    }
    s.disks.now += limit;
    CHECK(dpx_round_step(round, s.disks.now) == NULL);
    CHECK_EQ(dpx_round_verdict(round), DPX_STORAGE);
    free(memory);
    close_scene(&s);
}

/* The disk that failed is named, never one that answered. */
static void test_the_disk_that_failed_is_named(void)
{
    const struct {
        int errors[3]; /* 1: it answers */
        uint32_t disk;
        int error;
    } cases[] = {
        {{1, 0, 0}, 1, -ETIMEDOUT},       {{0, 1, 0}, 0, -ETIMEDOUT},   {{0, 0, 1}, 0, -ETIMEDOUT},
        {{1, -EIO, 0}, 1, -EIO},          {{1, 0, -EIO}, 2, -EIO},      {{1, -ENODEV, 0}, 2, -ETIMEDOUT},
        {{1, -ENODEV, -EIO}, 2, -EIO},    {{-EIO, 1, -EBUSY}, 2, -EBUSY},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        dpx_cause cause = failed_look(cases[i].errors);
        CHECK_EQ(cause.disk, cases[i].disk);
        CHECK(cause.error == cases[i].error);
    }
}

/* The flag that refuses was shown by two looks; whose time runs out is told by the same two. */
static void test_a_refusal_rests_on_two_looks(void)
{
    scene s;
    dpx_lease at_a, at_b;
    dpx_wish wish;
    open_scene(&s, 1);
    name_lease(&at_a, "vm1");
    name_lease(&at_b, "vm1");
    CHECK(host_change(&s.a, DPX_CHANGE_CREATE, &at_a, 9) == DPX_DONE);
    CHECK(take(&s.a, &at_a, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    CHECK(take(&s.b, &at_b, DPX_MODE_EXCLUSIVE, &wish) == DPX_REFUSED);
    CHECK(at_b.flag.last_seen >= at_b.flag.seen_at + 3 * DPX_MS);
    close_scene(&s);
}

/* ‡L1: an incarnation does not go on where its slot's own block is another one's of its generation. */
static void test_another_nonce_in_the_own_block_is_the_end(void)
{
    scene s;
    dpx_lease lease, again;
    dpx_own own;
    dpx_wish wish;
    open_scene(&s, 1);
    name_lease(&lease, "vm1");
    name_lease(&again, "vm1");
    CHECK(host_change(&s.a, DPX_CHANGE_CREATE, &lease, 9) == DPX_DONE);
    const dpx_geometry *g = &s.disks.geometry;
    uint8_t *block = disk_block(&s.disks, 0, dpx_own_block(g, lease.header.area, s.a.world.self.slot));
    dpx_own_decode(block, &own);
    own.who.nonce = (dpx_uuid){{99}};
    dpx_own_encode(block, g, 0, &own);
    CHECK(take(&s.a, &again, DPX_MODE_EXCLUSIVE, &wish) == DPX_FINISHED);
    close_scene(&s);
}

/* ‡L13: an own block of this very incarnation that it never wrote is a later self's: this one's memory was set
 * back.  What it has issued, whether it knows that to have completed or not, is its own. */
static void test_what_was_never_written_is_the_end(void)
{
    for (unsigned disks = 1; disks <= 3; disks += 2) {
        scene s;
        dpx_lease lease, again;
        dpx_own own;
        dpx_wish wish;
        open_scene(&s, disks);
        name_lease(&lease, "vm1");
        name_lease(&again, "vm1");
        CHECK(host_change(&s.a, DPX_CHANGE_CREATE, &lease, 9) == DPX_DONE);
        CHECK(take(&s.a, &lease, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
        const dpx_geometry *g = &s.disks.geometry;
        uint8_t *block = disk_block(&s.disks, 0, dpx_own_block(g, lease.header.area, s.a.world.self.slot));
        dpx_own_decode(block, &own);
        s.a.world.sequences[lease.header.area]++; /* another name's write, on its way or landed just now */
        own.sequence++;
        dpx_own_encode(block, g, 0, &own);
        CHECK(take(&s.a, &again, DPX_MODE_EXCLUSIVE, &wish) != DPX_FINISHED);
        CHECK(!s.a.world.reverted);
        dpx_own_decode(block, &own);
        own.sequence = s.a.world.sequences[lease.header.area] + 1;
        own.hold = 0; /* released, as it does not remember */
        dpx_own_encode(block, g, 0, &own);
        wish = (dpx_wish){.lease = &lease};
        CHECK(host_round(&s.a, DPX_ROUND_WATCH, &wish, 1, 0, NULL) == DPX_FINISHED);
        CHECK(s.a.world.finished && s.a.world.reverted);
        close_scene(&s);
    }
}

/* ‡L13: … by an answer, too, that comes when the round has gone on without it. */
static void test_a_late_answer_shows_that_the_memory_is_old(void)
{
    scene s;
    dpx_lease lease, again;
    dpx_request *looks[3];
    open_scene(&s, 3);
    create_lease(&s, &lease);
    name_lease(&again, "vm1");
    void *memory;
    dpx_round *round = place_round(&s.a, &memory);
    dpx_wish wish = {.lease = &again, .mode = DPX_MODE_EXCLUSIVE};
    dpx_round_begin(round, DPX_ROUND_TAKE, &wish, 1, s.disks.now, s.disks.now);
    dpx_own later = own_of(&s.disks, lease.header.area, s.a.world.self.slot);
    later.sequence = s.a.world.sequences[lease.header.area] + 2;
    dpx_own_encode(disk_block(&s.disks, 2, dpx_own_block(&s.disks.geometry, later.area, later.who.slot)),
                   &s.disks.geometry, 2, &later);
    for (uint32_t d = 0; d < 3; d++) {
        looks[d] = dpx_round_step(round, s.disks.now);
        CHECK(looks[d] && looks[d]->disk == d && looks[d]->write_count == 0);
        disks_carry_out(&s.disks, looks[d], s.a.world.lifetime_end);
    }
    dpx_round_complete(round, looks[0], s.disks.now);
    dpx_round_complete(round, looks[1], s.disks.now);
    dpx_request *raise = dpx_round_step(round, s.disks.now);
    CHECK(raise && raise->disk == 0 && raise->write_count == 1);
    CHECK(!s.a.world.finished);
    dpx_round_complete(round, looks[2], s.disks.now);
    CHECK(s.a.world.finished && s.a.world.reverted);
    CHECK_EQ(dpx_round_verdict(round), DPX_FINISHED);
    free(memory);
    close_scene(&s);
}

/* A block claims the highest ballot that there can be: none is chosen above it, nor below. */
static void test_ballots_do_not_begin_anew(void)
{
    scene s;
    dpx_lease lease, place = {.located = true};
    dpx_wish wish;
    open_scene(&s, 1);
    create_lease(&s, &lease);
    const dpx_geometry *g = &s.disks.geometry;
    uint32_t area = lease.header.area;
    dpx_header header = lease.header;
    header.first_ballot = UINT64_MAX;
    header.sequence++;
    dpx_header_encode(disk_block(&s.disks, 0, dpx_header_block(g, area)), g, 0, &header);
    name_lease(&lease, "vm1");
    CHECK(take(&s.a, &lease, DPX_MODE_SHARED, &wish) == DPX_CEILING);
    uint8_t *own = disk_block(&s.disks, 0, dpx_own_block(g, area, s.a.world.self.slot));
    own[100] ^= 1; /* damaged, and rewritten above every ballot of the area */
    place.header.area = area;
    wish = (dpx_wish){.lease = &place};
    CHECK(host_round(&s.a, DPX_ROUND_REWRITE, &wish, 1, 0, NULL) == DPX_CEILING);
    close_scene(&s);
}

/* … and who meets such a block in the judging read takes the flag down that is up. */
static void test_the_ceiling_leaves_no_flag(void)
{
    scene s;
    dpx_lease lease;
    dpx_wish wish;
    open_scene(&s, 1);
    create_lease(&s, &lease);
    CHECK(take(&s.a, &lease, DPX_MODE_EXCLUSIVE, &wish) == DPX_DONE);
    CHECK(release(&s.a, &lease) == DPX_DONE);
    dpx_own highest = own_of(&s.disks, lease.header.area, s.c.world.self.slot);
    highest.who = s.c.world.self;
    highest.sequence++;
    highest.ballot = DPX_BALLOT_CEILING;
    put_own(&s.disks, &highest);
    CHECK(take(&s.a, &lease, DPX_MODE_EXCLUSIVE, &wish) == DPX_CEILING);
    CHECK(own_of(&s.disks, lease.header.area, s.a.world.self.slot).hold == 0);
    close_scene(&s);
}

int main(void)
{
    RUN(test_a_change_is_open_though_its_header_landed);
    RUN(test_a_void_keeps_an_inherited_change_open);
    RUN(test_a_header_older_than_what_was_seen_is_damaged);
    RUN(test_tokens_of_headers_do_not_fall);
    RUN(test_a_header_older_than_what_was_seen_loses_nothing);
    RUN(test_a_half_made_deletion_frees_nothing_before_it);
    RUN(test_a_half_made_creation_frees_nothing_before_it);
    RUN(test_the_change_of_somebody_unburied_is_not_passed_over);
    RUN(test_nothing_is_resolved_in_lease_0);
    RUN(test_a_header_on_one_disk_is_no_change);
    RUN(test_a_durable_header_is_not_written_again);
    RUN(test_an_earlier_header_is_not_the_next_one);
    RUN(test_a_disk_without_the_flag_does_not_judge);
    RUN(test_a_taking_in_between_is_a_loss);
    RUN(test_a_newer_incarnation_in_the_own_block_is_the_end);
    RUN(test_a_disk_not_asked_yet_is_left_out);
    RUN(test_an_attempt_that_is_overtaken_takes_its_flag_down);
    RUN(test_the_limit_is_that_of_one_io);
    RUN(test_the_disk_that_failed_is_named);
    RUN(test_a_refusal_rests_on_two_looks);
    RUN(test_another_nonce_in_the_own_block_is_the_end);
    RUN(test_what_was_never_written_is_the_end);
    RUN(test_a_late_answer_shows_that_the_memory_is_old);
    RUN(test_ballots_do_not_begin_anew);
    RUN(test_the_ceiling_leaves_no_flag);
    return check_finish("test_lease_rules");
}
