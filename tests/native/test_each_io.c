/* Every I/O of every operation of the machines fails once: is refused, takes place and fails, is torn, is late, or
 * does not return at all.  The 1st, the 2nd, … in turn, until the operation passes untouched.
 *
 * After each: what was reported is what a majority shows; every block is sound but the torn one; nobody else takes what
 * is held; and when the host is gone the next one goes on, or is told which block is damaged.  Where one of three
 * disks was struck, nothing at all comes of it.
 *
 *   test_each_io [-v]: tells each case */
#include "check.h"
#include "stage.h"

enum { HOSTS = 5, LEASES = 6 };

#if defined(__SANITIZE_ADDRESS__)
enum { STRIDE = 4 }; /* the plain build takes each one; here it is about memory */
#else
enum { STRIDE = 1 };
#endif
enum { A, B, C }; /* who operates, who was there before, who comes next */

#define T_DEAD (72 * DPX_SECOND)

typedef struct scene {
    stage stage;
    dpx_lease *target;   /* what the next host is to take; of A */
    dpx_lease *more[2];
    const char *name;
    bool holds;          /* A believes that it holds the target */
} scene;

typedef struct operation {
    const char *name;
    void (*prepare)(scene *s);
    dpx_verdict (*run)(scene *s);
    dpx_verdict usual;
    bool shared; /* what it holds */
} operation;

static bool verbose;
static unsigned long cases;

/* ---- short ways to ask ---- */

static dpx_verdict take(scene *s, uint32_t h, dpx_lease *lease, enum dpx_mode mode, uint64_t patience, dpx_cause *cause)
{
    dpx_wish wish = {.lease = lease, .mode = mode};
    return stage_round(&s->stage, h, DPX_ROUND_TAKE, &wish, 1, patience, cause);
}

static dpx_verdict round_of(scene *s, dpx_round_kind kind, dpx_lease *lease)
{
    dpx_wish wish = {.lease = lease};
    return stage_round(&s->stage, A, kind, &wish, 1, 0, NULL);
}

static void create(scene *s, uint32_t h, const char *name)
{
    static uint8_t uuid;
    CHECK_EQ(stage_change(&s->stage, h, DPX_CHANGE_CREATE, stage_lease(&s->stage, name), ++uuid, 0), DPX_DONE);
}

/* ---- what each operation begins with, and does ---- */

static void nothing(scene *s)
{
    (void)s;
}

static void join_a(scene *s)
{
    CHECK_EQ(stage_join(&s->stage, A, 1), DPX_DONE);
}

static void know_target(scene *s)
{
    join_a(s);
    CHECK_EQ(take(s, A, s->target, DPX_MODE_EXCLUSIVE, 0, NULL), DPX_DONE);
    CHECK_EQ(round_of(s, DPX_ROUND_RELEASE, s->target), DPX_DONE);
}

static void hold_target(scene *s)
{
    join_a(s);
    CHECK_EQ(take(s, A, s->target, DPX_MODE_EXCLUSIVE, 0, NULL), DPX_DONE);
    s->holds = true;
}

static void want_held(scene *s)
{
    join_a(s);
    s->name = "held";
    s->target = stage_lease(&s->stage, "held");
}

static void want_dead(scene *s)
{
    want_held(s);
    stage_kill(&s->stage, B);
}

static void want_new(scene *s)
{
    join_a(s);
    s->name = "new";
    s->target = stage_lease(&s->stage, "new");
}

/* B died in the middle of creating "new", and its slot is drained. */
static void want_open(scene *s)
{
    stage *t = &s->stage;
    dpx_cause cause;
    want_new(s);
    t->fault = FAULT_HANG_FAILED; /* its header write never returns, on any disk */
    for (t->fault_at = 1; t->fault_at < 200; t->fault_at++) {
        t->hit = false;
        t->ios = 0;
        dpx_change *change =
            dpx_change_place(stage_memory(t, dpx_change_memory(&t->disks.geometry)), &t->hosts[B].world,
                &t->hosts[B].directory);
        dpx_uuid uuid = {{77}};
        dpx_change_begin(change, DPX_CHANGE_CREATE, stage_lease(t, "new"), &uuid, t->disks.now, t->disks.now);
        dpx_request *request;
        bool header = false;
        while (!header && (request = dpx_change_step(change, t->disks.now))) {
            header = request->write_count && dpx_place_of(&t->disks.geometry,
                request->writes[0].block).kind == DPX_KIND_HEADER;
            if (header)
                break;
            t->fault = FAULT_NONE;
            stage_issue(t, &t->hosts[B], STAGE_OF(change, change), request);
        }
        if (header)
            break;
    }
    stage_kill(t, B);
    uint32_t slot = t->hosts[B].world.self.slot;
    dpx_heart_retire(t->hosts[A].heart, slot, t->hosts[B].world.self.generation);
    stage_pass(t, 10 * DPX_SECOND);
    CHECK_EQ(take(s, A, s->target, DPX_MODE_EXCLUSIVE, 0, &cause), DPX_CHANGE_OPEN);
    s->target->located = true;
    s->target->header.area = cause.area;
}

static void break_own(scene *s)
{
    know_target(s);
    uint64_t block = dpx_own_block(&s->stage.disks.geometry, s->target->header.area, s->stage.hosts[A].world.self.slot);
    disk_block(&s->stage.disks, 0, block)[300] ^= 1;
}

static dpx_verdict do_join(scene *s)
{
    return stage_join(&s->stage, A, 1);
}

static dpx_verdict do_take(scene *s)
{
    dpx_verdict verdict = take(s, A, s->target, DPX_MODE_EXCLUSIVE, 0, NULL);
    s->holds = verdict == DPX_DONE;
    return verdict;
}

static dpx_verdict do_take_over(scene *s)
{
    dpx_verdict verdict = take(s, A, s->target, DPX_MODE_EXCLUSIVE, 3 * T_DEAD, NULL);
    s->holds = verdict == DPX_DONE;
    return verdict;
}

static dpx_verdict do_share(scene *s)
{
    dpx_verdict verdict = take(s, A, s->target, DPX_MODE_SHARED, 0, NULL);
    s->holds = verdict == DPX_DONE;
    return verdict;
}

static dpx_verdict do_take_many(scene *s)
{
    dpx_wish wishes[3] = {{.lease = s->target, .mode = DPX_MODE_EXCLUSIVE},
                          {.lease = s->more[0], .mode = DPX_MODE_EXCLUSIVE},
                          {.lease = s->more[1], .mode = DPX_MODE_SHARED}};
    dpx_verdict verdict = stage_round(&s->stage, A, DPX_ROUND_TAKE, wishes, 3, 0, NULL);
    s->holds = verdict == DPX_DONE;
    return verdict;
}

static dpx_verdict do_find(scene *s)
{
    return round_of(s, DPX_ROUND_FIND, s->target);
}

static dpx_verdict do_release(scene *s)
{
    s->holds = false;
    return round_of(s, DPX_ROUND_RELEASE, s->target);
}

static dpx_verdict do_watch(scene *s)
{
    return round_of(s, DPX_ROUND_WATCH, s->target);
}

static dpx_verdict do_rewrite(scene *s)
{
    return round_of(s, DPX_ROUND_REWRITE, s->target);
}

static dpx_verdict do_create(scene *s)
{
    return stage_change(&s->stage, A, DPX_CHANGE_CREATE, s->target, 99, 0);
}

static dpx_verdict do_delete(scene *s)
{
    return stage_change(&s->stage, A, DPX_CHANGE_DELETE, s->target, 0, 0);
}

static dpx_verdict do_resolve(scene *s)
{
    return stage_change(&s->stage, A, DPX_CHANGE_RESOLVE, s->target, 0, 0);
}

/* Three heartbeats: however one I/O of them fares, the host lives. */
static dpx_verdict do_beat(scene *s)
{
    stage_pass(&s->stage, 15 * DPX_SECOND);
    return dpx_heart_end(s->stage.hosts[A].heart) == DPX_ALIVE ? DPX_DONE : DPX_FINISHED;
}

static dpx_verdict do_retire(scene *s)
{
    stage *t = &s->stage;
    uint32_t slot = t->hosts[B].world.self.slot;
    uint64_t generation = t->hosts[B].world.self.generation;
    dpx_heart_retire(t->hosts[A].heart, slot, generation);
    for (unsigned i = 0; i < 60 && !dpx_heart_retired(t->hosts[A].heart, slot, generation); i++)
        stage_pass(t, DPX_SECOND);
    return dpx_heart_retired(t->hosts[A].heart, slot, generation) ? DPX_DONE : DPX_FINISHED;
}

static dpx_verdict do_reclaim(scene *s)
{
    stage *t = &s->stage;
    memory_host *helper = stage_memory(t, sizeof *helper);
    uint32_t slot = t->hosts[B].world.self.slot;
    if (do_retire(s) != DPX_DONE)
        return DPX_FINISHED;
    helper->disks = &t->disks;
    helper->world = (dpx_world){.geometry = &t->disks.geometry, .peers = t->hosts[A].world.peers, .random = 3};
    return stage_claim(t, helper, 1, slot, true, 0);
}

static dpx_verdict do_leave(scene *s)
{
    return stage_leave(&s->stage, A) == DPX_END_LEFT ? DPX_DONE : DPX_FINISHED;
}

static const operation operations[] = {
    {"join", nothing, do_join, DPX_DONE, false},
    {"create", want_new, do_create, DPX_DONE, false},
    {"delete", know_target, do_delete, DPX_DONE, false},
    {"find", join_a, do_find, DPX_DONE, false},
    {"take, never seen", join_a, do_take, DPX_DONE, false},
    {"take, cached", know_target, do_take, DPX_DONE, false},
    {"take, shared", know_target, do_share, DPX_DONE, true},
    {"take, held by another", want_held, do_take, DPX_REFUSED, false},
    {"take, many", know_target, do_take_many, DPX_DONE, false},
    {"take, of a dead host", want_dead, do_take_over, DPX_DONE, false},
    {"release", hold_target, do_release, DPX_DONE, false},
    {"watch", hold_target, do_watch, DPX_DONE, false},
    {"heartbeat", hold_target, do_beat, DPX_DONE, false},
    {"rewrite", break_own, do_rewrite, DPX_DONE, false},
    {"resolve", want_open, do_resolve, DPX_DONE, false},
    {"retire", want_dead, do_retire, DPX_DONE, false},
    {"reclaim", want_dead, do_reclaim, DPX_DONE, false},
    {"leave", join_a, do_leave, DPX_DONE, false},
};

/* ---- what must be so after it ---- */

static const char *const faults[STAGE_FAULTS] = {"none", "EIO", "ENOSPC", "landed", "torn", "late", "hang",
    "hang, failed"};

static void raise_scene(scene *s, uint32_t disks)
{
    *s = (scene){.name = "free"};
    stage_open(&s->stage, disks, HOSTS, LEASES);
    CHECK_EQ(stage_join(&s->stage, B, 2), DPX_DONE);
    create(s, B, "free");
    create(s, B, "held");
    create(s, B, "one");
    create(s, B, "two");
    CHECK_EQ(take(s, B, stage_lease(&s->stage, "held"), DPX_MODE_EXCLUSIVE, 0, NULL), DPX_DONE);
    s->target = stage_lease(&s->stage, "free");
    s->more[0] = stage_lease(&s->stage, "one");
    s->more[1] = stage_lease(&s->stage, "two");
}

/* Damaged blocks; the last of them. */
static uint32_t flaws(scene *s, uint64_t *where)
{
    const dpx_geometry *geometry = &s->stage.disks.geometry;
    uint32_t count = 0;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        for (uint64_t block = 1; block < geometry->total_blocks; block++) {
            dpx_place place = dpx_place_of(geometry, block);
            if (place.kind != 0 && dpx_block_check(disk_block(&s->stage.disks, d, block), geometry,
                                                   (enum dpx_kind)place.kind, d, block) != DPX_SOUND) {
                *where = block;
                count++;
            }
        }
    }
    return count;
}

static bool alive(const scene *s, uint32_t h)
{
    return s->stage.lives[h] && dpx_heart_end(s->stage.hosts[h].heart) == DPX_ALIVE &&
           !s->stage.hosts[h].world.finished && s->stage.disks.now < s->stage.hosts[h].world.lifetime_end;
}

/* The torn block is an own block of a slot whose owner is gone: as `repair` does, its next owner mends it. */
static void repair_own(scene *s, uint64_t block)
{
    stage *t = &s->stage;
    dpx_place place = dpx_place_of(&t->disks.geometry, block);
    dpx_lease *lease = stage_lease(t, "");
    const dpx_peer *peer = &t->hosts[C].world.peers->slots[place.slot];
    lease->located = true;
    lease->header.area = place.area;
    dpx_heart_retire(t->hosts[C].heart, place.slot, peer->record.who.generation);
    stage_pass(t, 10 * DPX_SECOND);
    memory_host *helper = stage_memory(t, sizeof *helper);
    helper->disks = &t->disks;
    helper->world = (dpx_world){.geometry = &t->disks.geometry, .peers = t->hosts[C].world.peers, .random = 3};
    CHECK_EQ(stage_claim(t, helper, 3, place.slot, true, 0), DPX_DONE);
    CHECK_EQ(stage_join_in(t, A, 9, place.slot, T_DEAD), DPX_DONE);
    dpx_wish wish = {.lease = lease};
    CHECK_EQ(stage_round(t, A, DPX_ROUND_REWRITE, &wish, 1, 0, NULL), DPX_DONE);
    CHECK_EQ(stage_leave(t, A), DPX_END_LEFT);
}

static void retire_a(scene *s)
{
    const dpx_incarnation *who = &s->stage.hosts[A].world.self;
    dpx_heart_retire(s->stage.hosts[C].heart, who->slot, who->generation);
    stage_pass(&s->stage, 10 * DPX_SECOND);
}

/* The next host takes the lease, whatever that needs; false: a damaged block stands in the way, and was named. */
static bool go_on(scene *s)
{
    stage *t = &s->stage;
    dpx_lease *lease = stage_lease(t, s->name);
    dpx_cause cause;
    uint64_t flawed = 0;
    for (unsigned tries = 0; tries < 8; tries++) {
        dpx_verdict verdict = take(s, C, lease, DPX_MODE_EXCLUSIVE, 0, &cause);
        if (verdict == DPX_DONE)
            return true;
        /* it is wanted now, so a notice will be written; beating is cheaper than polling */
        if (verdict == DPX_REFUSED) {
            stage_pass(t, T_DEAD + 15 * DPX_SECOND);
        } else if (verdict == DPX_NOT_FOUND) {
            verdict = stage_change(t, C, DPX_CHANGE_CREATE, stage_lease(t, s->name), (uint8_t)(200 + tries), 0);
            CHECK(verdict == DPX_DONE || verdict == DPX_UNDRAINED || verdict == DPX_REFUSED);
            if (verdict == DPX_REFUSED)
                stage_pass(t, T_DEAD + 15 * DPX_SECOND);
            if (verdict == DPX_UNDRAINED) /* what A left half made: an administrator says that A is gone for good */
                retire_a(s);
        } else if (verdict == DPX_CHANGE_OPEN) {
            dpx_lease *open = stage_lease(t, "");
            open->located = true;
            open->header.area = cause.area;
            dpx_heart_retire(t->hosts[C].heart, cause.flag.who.slot, cause.flag.who.generation);
            stage_pass(t, 10 * DPX_SECOND);
            CHECK_EQ(stage_change(t, C, DPX_CHANGE_RESOLVE, open, 0, 0), DPX_DONE);
        } else if (verdict == DPX_DAMAGED && flaws(s, &flawed) == 1 && CHECK_EQ(cause.block, flawed)) {
            if (dpx_place_of(&t->disks.geometry, flawed).kind != DPX_KIND_OWN)
                return false;
            repair_own(s, flawed);
        } else {
            CHECK_EQ(verdict, DPX_DONE);
            return false;
        }
    }
    CHECK(!"the next host goes on");
    return false;
}

static void aftermath(scene *s, const operation *op, dpx_verdict verdict)
{
    stage *t = &s->stage;
    bool torn = t->fault == FAULT_TORN && t->hit_write;
    bool several = t->disks.geometry.disks > 1;
    uint64_t where;
    /* No slot is freed while a write of its owner may still land (‡S10). */
    bool undrained = op->run == do_reclaim && t->fault >= FAULT_HANG && t->hit_write;
    if ((several && !undrained) || !t->hit)
        CHECK_EQ(verdict, op->usual);
    if (strcmp(op->name, "heartbeat") == 0 && t->fault != FAULT_HANG && t->fault != FAULT_HANG_FAILED)
        CHECK_EQ(verdict, DPX_DONE);
    CHECK(verdict != DPX_RUNNING || t->fault >= FAULT_HANG);
    /* the broken copy is there */
    bool as_before = op->prepare == break_own && (verdict != DPX_DONE || t->hit_disk == 0);
    CHECK(flaws(s, &where) <= (uint32_t)torn + as_before);
    CHECK_EQ(stage_join(t, C, 3), DPX_DONE);
    if (s->holds && alive(s, A)) {
        dpx_cause cause;
        dpx_verdict other = take(s, C, stage_lease(t, s->name), DPX_MODE_EXCLUSIVE, 0, &cause);
        CHECK(other == DPX_REFUSED || (other == DPX_DAMAGED && torn && !several));
    }
    if (alive(s, A)) /* what was given up goes down, what was torn is written again */
        stage_pass(t, 20 * DPX_SECOND);
    stage_kill(t, A);
    stage_kill(t, B);
    stage_unhang(t); /* its process is gone: so is its I/O */
    if (go_on(s) && !several)
        CHECK(flaws(s, &where) <= torn);
}

/* False: the operation passed untouched. */
static bool strike(const operation *op, stage_fault fault, uint32_t disks, uint64_t at)
{
    static scene s;
    raise_scene(&s, disks);
    op->prepare(&s);
    s.stage.fault = fault;
    s.stage.fault_at = at;
    s.stage.ios = 0;
    s.stage.hit = false;
    unsigned long failures = check_now.failures;
    dpx_verdict verdict = op->run(&s);
    bool hit = s.stage.hit;
    uint64_t ios = s.stage.ios;
    s.stage.fault_at = 0;
    aftermath(&s, op, verdict);
    if (verbose || (check_now.failures != failures && check_now.failures < CHECK_SHOWN))
        fprintf(stderr, "  %s, %u disks, I/O %lu (%s on disk %u) %s: %s\n", op->name, disks, (unsigned long)at,
                s.stage.hit_write ? "write" : "read", s.stage.hit_disk, hit ? faults[fault] : "never came",
                dpx_verdict_text(verdict));
    CHECK(hit || ios < at);
    stage_close(&s.stage);
    cases++;
    return hit;
}

static void every_io_once(uint32_t disks)
{
    for (size_t o = 0; o < sizeof operations / sizeof *operations; o++) {
        for (int fault = FAULT_EIO; fault < STAGE_FAULTS; fault++) {
            uint64_t at = 1 + (uint64_t)(fault % STRIDE);
            while (strike(&operations[o], (stage_fault)fault, disks, at))
                at += STRIDE;
            CHECK(STRIDE > 1 || at > 1); /* some I/O was struck */
        }
    }
}

static void one_disk(void)
{
    every_io_once(1);
}

static void one_of_three_disks(void)
{
    every_io_once(3);
}

int main(int count, char **arguments)
{
    verbose = count > 1 && strcmp(arguments[1], "-v") == 0;
    RUN(one_disk);
    RUN(one_of_three_disks);
    printf("  %lu cases\n", cases);
    return check_finish("test_each_io");
}
