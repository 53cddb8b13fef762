/* Waiters' marks: who comes first among those who wait, and that this is never more than advice. */
#include "check.h"
#include "memory_disks.h"

#define HOSTS 8u
#define LEASES 16u

/* A host and what it asks for. */
typedef struct waiter {
    memory_host host;
    dpx_lease leases[2];
    dpx_wish wishes[2];
    dpx_round *round;
    void *memory;
} waiter;

typedef struct scene {
    memory_disks disks;
    waiter a, b, c;
} scene;

static const char *const names[2] = {"vm1", "vm2"};

static void enter(waiter *w, memory_disks *disks, uint8_t seed)
{
    size_t bytes = (dpx_round_memory(&disks->geometry, 2) + 4095) & ~(size_t)4095;
    CHECK(host_join(&w->host, disks, seed) == DPX_DONE);
    w->memory = aligned_alloc(4096, bytes);
    memset(w->memory, 0, bytes);
    w->round = dpx_round_place(w->memory, &w->host.world, 2);
    for (int i = 0; i < 2; i++)
        dpx_lease_reset(&w->leases[i], names[i], strlen(names[i]));
}

static void open_scene(scene *s, uint32_t disks)
{
    disks_format(&s->disks, disks, HOSTS, LEASES);
    enter(&s->a, &s->disks, 1);
    enter(&s->b, &s->disks, 2);
    enter(&s->c, &s->disks, 3);
    for (int i = 0; i < 2; i++)
        CHECK(host_change(&s->a.host, DPX_CHANGE_CREATE, &s->a.leases[i], (uint8_t)(9 + i)) == DPX_DONE);
}

static void close_scene(scene *s)
{
    waiter *all[] = {&s->a, &s->b, &s->c};
    for (int i = 0; i < 3; i++) {
        host_forget(&all[i]->host);
        free(all[i]->memory);
    }
    disks_free(&s->disks);
}

/* Some more milliseconds of a round that has begun. */
static dpx_verdict go_on(waiter *w, uint64_t ms)
{
    memory_disks *disks = w->host.disks;
    uint64_t end = disks->now + ms * DPX_MS;
    dpx_verdict verdict = round_run(&w->host, w->round, ms * DPX_MS);
    if (verdict == DPX_RUNNING)
        disks->now = end;
    return verdict;
}

static dpx_verdict ask(waiter *w, uint32_t count, enum dpx_mode mode, uint64_t patience_ms, uint64_t ms)
{
    uint64_t now = w->host.disks->now;
    for (uint32_t i = 0; i < count; i++)
        w->wishes[i] = (dpx_wish){.lease = &w->leases[i], .mode = mode};
    dpx_round_begin(w->round, DPX_ROUND_TAKE, w->wishes, count, now + patience_ms * DPX_MS, now);
    return go_on(w, ms);
}

static dpx_verdict take(waiter *w, uint64_t patience_ms)
{
    w->wishes[0] = (dpx_wish){.lease = &w->leases[0], .mode = DPX_MODE_EXCLUSIVE};
    return host_round(&w->host, DPX_ROUND_TAKE, w->wishes, 1, patience_ms * DPX_MS, NULL);
}

static void wait_in_line(waiter *w)
{
    CHECK(ask(w, 1, DPX_MODE_EXCLUSIVE, 60000, 20) == DPX_RUNNING);
}

static void let_go(waiter *w, uint32_t count)
{
    uint64_t now = w->host.disks->now;
    for (uint32_t i = 0; i < count; i++)
        w->wishes[i] = (dpx_wish){.lease = &w->leases[i]};
    dpx_round_begin(w->round, DPX_ROUND_RELEASE, w->wishes, count, now, now);
    CHECK(go_on(w, 1000) == DPX_DONE);
}

static dpx_own own_block(scene *s, const waiter *w, int lease)
{
    dpx_own own;
    uint64_t block = dpx_own_block(&s->disks.geometry, s->a.leases[lease].header.area, w->host.world.self.slot);
    dpx_own_decode(disk_block(&s->disks, 0, block), &own);
    return own;
}

static void test_mark_comes_and_goes(void)
{
    scene s;
    open_scene(&s, 3);
    CHECK(take(&s.a, 0) == DPX_DONE);
    uint64_t ballot = own_block(&s, &s.b, 0).ballot;
    wait_in_line(&s.b);
    dpx_own own = own_block(&s, &s.b, 0);
    CHECK(own.ticket == 1 && own.hold == 0 && own.mode == DPX_MODE_EXCLUSIVE && own.ballot == ballot);
    wait_in_line(&s.c);
    CHECK(own_block(&s, &s.c, 0).ticket == 2);
    dpx_round_cancel(s.c.round); /* gives up: the mark goes with it */
    CHECK(go_on(&s.c, 100) == DPX_REFUSED);
    CHECK(own_block(&s, &s.c, 0).ticket == 0);
    let_go(&s.a, 1);
    CHECK(go_on(&s.b, 100) == DPX_DONE); /* the taking took the mark back */
    own = own_block(&s, &s.b, 0);
    CHECK(own.ticket == 0 && own.hold == s.b.leases[0].hold && own.hold != 0);
    uint64_t now = s.disks.now;
    CHECK(take(&s.c, 100) == DPX_REFUSED); /* its time was up, and not a poll later */
    CHECK(own_block(&s, &s.c, 0).ticket == 0 && s.disks.now - now <= 110 * DPX_MS);
    CHECK(take(&s.a, 0) == DPX_REFUSED && own_block(&s, &s.a, 0).ticket == 0); /* a try leaves none */
    close_scene(&s);
}

static void test_first_come_first_served(void)
{
    scene s;
    open_scene(&s, 1);
    CHECK(take(&s.a, 0) == DPX_DONE);
    wait_in_line(&s.c);
    wait_in_line(&s.b);
    let_go(&s.a, 1);
    CHECK(go_on(&s.b, 100) == DPX_RUNNING); /* sees it free, and C before itself */
    CHECK(go_on(&s.c, 100) == DPX_DONE);
    CHECK(go_on(&s.b, 100) == DPX_RUNNING);
    let_go(&s.c, 1);
    CHECK(go_on(&s.b, 1000) == DPX_DONE);
    close_scene(&s);
}

/* Whoever takes again from its cache sees others' marks in the judging read only. */
static void test_releaser_gives_way(void)
{
    scene s;
    open_scene(&s, 1);
    CHECK(take(&s.a, 0) == DPX_DONE);
    wait_in_line(&s.b);
    let_go(&s.a, 1);
    CHECK(ask(&s.a, 1, DPX_MODE_EXCLUSIVE, 60000, 50) == DPX_RUNNING);
    dpx_own own = own_block(&s, &s.a, 0);
    CHECK(own.ticket == 2 && own.hold == 0);
    CHECK(own.last_exclusive < own.ballot); /* voided: nobody's state is stale because of it */
    CHECK(go_on(&s.b, 100) == DPX_DONE);
    let_go(&s.b, 1);
    CHECK(go_on(&s.a, 1000) == DPX_DONE);
    CHECK(take(&s.b, 50) == DPX_REFUSED);
    let_go(&s.a, 1);
    s.disks.stages = 0;
    CHECK(take(&s.a, 1000) == DPX_DONE); /* nobody waits any more: W R */
    CHECK(s.disks.stages == 2);
    close_scene(&s);
}

static void test_tries_and_resumes_heed_no_mark(void)
{
    scene s;
    open_scene(&s, 1);
    CHECK(take(&s.a, 0) == DPX_DONE);
    uint64_t token = s.a.wishes[0].token;
    wait_in_line(&s.b);
    let_go(&s.a, 1);
    s.disks.stages = 0;
    CHECK(take(&s.a, 0) == DPX_DONE);
    CHECK(s.disks.stages == 2);
    token = s.a.wishes[0].token;
    let_go(&s.a, 1);
    s.a.wishes[0] = (dpx_wish){.lease = &s.a.leases[0], .mode = DPX_MODE_EXCLUSIVE, .resume = true,
                               .resume_lease = s.a.leases[0].header.lease, .resume_token = token};
    dpx_round_begin(s.a.round, DPX_ROUND_TAKE, s.a.wishes, 1, s.disks.now + DPX_SECOND, s.disks.now);
    CHECK(go_on(&s.a, 10) == DPX_DONE);
    close_scene(&s);
}

/* A waiter that is stopped is waited for once. */
static void test_stopped_waiter(void)
{
    scene s;
    open_scene(&s, 1);
    CHECK(take(&s.a, 0) == DPX_DONE);
    wait_in_line(&s.b); /* and takes no further step */
    let_go(&s.a, 1);
    uint64_t freed = s.disks.now;
    CHECK(take(&s.c, 60000) == DPX_DONE);
    CHECK(s.disks.now - freed > 400 * DPX_MS && s.disks.now - freed < 700 * DPX_MS);
    let_go(&s.c, 1);
    s.disks.stages = 0;
    CHECK(take(&s.c, 60000) == DPX_DONE); /* the mark still stands */
    CHECK(s.disks.stages == 2 && own_block(&s, &s.b, 0).ticket == 1);
    CHECK(go_on(&s.b, 20) == DPX_RUNNING); /* it goes on, gives up, and waits anew … */
    dpx_round_cancel(s.b.round);
    CHECK(go_on(&s.b, 20) == DPX_REFUSED);
    wait_in_line(&s.b);
    let_go(&s.c, 1);
    CHECK(ask(&s.c, 1, DPX_MODE_EXCLUSIVE, 60000, 50) == DPX_RUNNING); /* … in its own right */
    CHECK(go_on(&s.b, 100) == DPX_DONE);
    close_scene(&s);
}

static void test_dead_waiter(void)
{
    scene s;
    open_scene(&s, 1);
    CHECK(take(&s.a, 0) == DPX_DONE);
    wait_in_line(&s.b);
    let_go(&s.a, 1);
    dpx_peers_bury(s.c.host.world.peers, s.b.host.world.self.slot, s.b.host.world.self.generation);
    uint64_t now = s.disks.now;
    CHECK(take(&s.c, 60000) == DPX_DONE && s.disks.now == now);
    close_scene(&s);
}

/* A mark that was left in an area says nothing about the lease that is there now. */
static void test_mark_of_another_lease(void)
{
    scene s;
    dpx_own own;
    open_scene(&s, 1);
    CHECK(take(&s.a, 0) == DPX_DONE);
    wait_in_line(&s.b);
    let_go(&s.a, 1);
    uint64_t block = dpx_own_block(&s.disks.geometry, s.a.leases[0].header.area, s.b.host.world.self.slot);
    dpx_own_decode(disk_block(&s.disks, 0, block), &own);
    own.lease.bytes[3] ^= 1;
    dpx_own_encode(disk_block(&s.disks, 0, block), &s.disks.geometry, 0, &own);
    uint64_t now = s.disks.now;
    CHECK(take(&s.c, 60000) == DPX_DONE && s.disks.now == now);
    close_scene(&s);
}

static void test_sharers_do_not_queue_for_each_other(void)
{
    scene s;
    open_scene(&s, 1);
    CHECK(take(&s.a, 0) == DPX_DONE);
    CHECK(ask(&s.b, 1, DPX_MODE_SHARED, 60000, 20) == DPX_RUNNING);
    CHECK(own_block(&s, &s.b, 0).mode == DPX_MODE_SHARED && own_block(&s, &s.b, 0).ticket == 1);
    let_go(&s.a, 1);
    uint64_t now = s.disks.now;
    CHECK(ask(&s.c, 1, DPX_MODE_SHARED, 60000, 0) == DPX_DONE && s.disks.now == now);
    CHECK(go_on(&s.b, 100) == DPX_DONE);
    wait_in_line(&s.a); /* exclusively */
    let_go(&s.b, 1);
    CHECK(ask(&s.b, 1, DPX_MODE_SHARED, 60000, 100) == DPX_RUNNING); /* courtesy … */
    CHECK(go_on(&s.b, 1000) == DPX_DONE);                            /* … with an end: C holds on */
    close_scene(&s);
}

/* Two batches that would each wait for the other's turn: one number orders them everywhere. */
static void test_batches_wait_without_deadlock(void)
{
    scene s;
    open_scene(&s, 1);
    CHECK(ask(&s.a, 2, DPX_MODE_EXCLUSIVE, 0, 100) == DPX_DONE);
    CHECK(ask(&s.b, 2, DPX_MODE_EXCLUSIVE, 60000, 20) == DPX_RUNNING);
    CHECK(ask(&s.c, 2, DPX_MODE_EXCLUSIVE, 60000, 20) == DPX_RUNNING);
    CHECK(own_block(&s, &s.b, 0).ticket == 1 && own_block(&s, &s.b, 1).ticket == 1);
    CHECK(own_block(&s, &s.c, 0).ticket == 2 && own_block(&s, &s.c, 1).ticket == 2);
    let_go(&s.a, 1); /* one of the two */
    CHECK(go_on(&s.c, 100) == DPX_RUNNING && s.c.leases[0].hold == 0);
    s.a.wishes[0] = (dpx_wish){.lease = &s.a.leases[1]};
    dpx_round_begin(s.a.round, DPX_ROUND_RELEASE, s.a.wishes, 1, s.disks.now, s.disks.now);
    CHECK(go_on(&s.a, 100) == DPX_DONE);
    CHECK(go_on(&s.c, 100) == DPX_RUNNING);
    CHECK(go_on(&s.b, 200) == DPX_DONE);
    let_go(&s.b, 2);
    CHECK(go_on(&s.c, 1000) == DPX_DONE);
    CHECK(own_block(&s, &s.c, 0).ticket == 0 && own_block(&s, &s.c, 1).ticket == 0);
    close_scene(&s);
}

/* Without its mark a host waits all the same. */
static void test_mark_that_cannot_be_written(void)
{
    scene s;
    open_scene(&s, 1);
    CHECK(take(&s.a, 0) == DPX_DONE);
    s.disks.fail_writes[0] = 5;
    wait_in_line(&s.b);
    CHECK(own_block(&s, &s.b, 0).ticket == 0);
    dpx_round_cancel(s.b.round);
    CHECK(go_on(&s.b, 100) == DPX_REFUSED); /* nor does taking it back keep anybody */
    wait_in_line(&s.b);
    s.disks.fail_writes[0] = 0;
    let_go(&s.a, 1);
    CHECK(go_on(&s.b, 100) == DPX_DONE);
    close_scene(&s);
}

int main(void)
{
    RUN(test_mark_comes_and_goes);
    RUN(test_first_come_first_served);
    RUN(test_releaser_gives_way);
    RUN(test_tries_and_resumes_heed_no_mark);
    RUN(test_stopped_waiter);
    RUN(test_dead_waiter);
    RUN(test_mark_of_another_lease);
    RUN(test_sharers_do_not_queue_for_each_other);
    RUN(test_batches_wait_without_deadlock);
    RUN(test_mark_that_cannot_be_written);
    return check_finish("test_marks");
}
