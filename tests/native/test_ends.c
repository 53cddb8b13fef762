/* The host room at the end of a life, of a membership, of a disk's patience: over disks that hold on to an I/O, and a
 * clock that jumps while nobody looks. */
#include "bad_disks.h"

#include "host/engine.h"

#define LIFE (2 * SECOND)

struct stage {
    lockspace made;
    dpx_space *space;
    dpx_host *host;
};

static void set_with(struct stage *stage, uint32_t disks, uint32_t hosts, uint64_t life, uint64_t claim_time)
{
    dpx_geometry geometry = geometry_for(disks, hosts, 16, life);
    geometry.claim_time = claim_time;
    CHECK(dpx_geometry_derive(&geometry));
    make_bad_lockspace(&stage->made, &geometry);
    stage->space = open_space(&stage->made);
    stage->host = join_as(stage->space, "alpha", 1);
}

static void set(struct stage *stage, uint32_t disks, uint64_t life)
{
    set_with(stage, disks, 4, life, 50 * MS);
}

static void strike(struct stage *stage)
{
    dpx_host_destroy(stage->host);
    dpx_space_close(stage->space);
    bad_clock_ahead = 0;
}

static bool await(const atomic_uint *count)
{
    for (unsigned i = 0; i < 4000 && *count == 0; i++)
        usleep(500);
    return *count > 0;
}

/* What is on a disk, to be compared with later. */
static uint8_t *picture(uint32_t disk)
{
    struct bad_disk *bad = &bad_disks[disk];
    uint8_t *image = malloc(bad->bytes);
    pthread_mutex_lock(&bad->lock);
    memcpy(image, bad->data, bad->bytes);
    pthread_mutex_unlock(&bad->lock);
    return image;
}

static bool changed(uint32_t disk, uint8_t *before)
{
    uint8_t *now = picture(disk);
    bool differs = memcmp(now, before, bad_disks[disk].bytes) != 0;
    free(now);
    free(before);
    return differs;
}

static dpx_slot_record record_of(const struct stage *stage, uint32_t disk, uint32_t slot)
{
    dpx_slot_record record;
    const dpx_geometry *geometry = &stage->made.geometry;
    pthread_mutex_lock(&bad_disks[disk].lock);
    dpx_slot_decode(bad_disks[disk].data + dpx_slot_block(geometry, slot) * geometry->block_size, &record);
    pthread_mutex_unlock(&bad_disks[disk].lock);
    return record;
}

/* ---- a machine that was stopped for longer than it lives: whoever asks first is told ---- */

enum question { HOLD, HOLD_STATE, HOLDS, STATE, EVENT, ACQUIRE, RELEASE, QUESTIONS };

static bool told(dpx_host *host, dpx_ask *ask, enum question question)
{
    dpx_failure failure;
    dpx_hold_info info = {.state = DPX_HOLD_UNKNOWN};
    dpx_event event;
    dpx_ask other = ask_for("other", DPX_MODE_EXCLUSIVE);
    switch (question) {
    case HOLD: return dpx_host_hold(host, ask->handle).state == DPX_HOLD_LOST;
    case HOLD_STATE: return dpx_host_hold_state(host, ask->handle) == DPX_HOLD_LOST;
    case HOLDS: return dpx_host_holds(host, &info, 1) == 1 && info.state == DPX_HOLD_LOST;
    case STATE: return dpx_host_state(host).end == DPX_END_LIFETIME && dpx_host_state(host).remaining == 0;
    case EVENT: return dpx_host_next_event(host, &event) && event.kind == DPX_EVENT_LOST;
    case ACQUIRE: return take(host, &other, 0, &failure) == DPX_E_FINISHED && failure.end == (int)DPX_END_LIFETIME;
    case RELEASE: return dpx_host_release(host, &ask->handle, 1, 0, &failure) == DPX_E_FINISHED;
    case QUESTIONS: break;
    }
    return false;
}

static void every_question_asks_the_clock(void)
{
    for (unsigned question = 0; question < QUESTIONS; question++) {
        struct stage stage;
        dpx_failure failure;
        dpx_event event;
        dpx_ask ask = ask_for("vm", DPX_MODE_EXCLUSIVE);
        set(&stage, 1, LIFE);
        CHECK_EQ(take(stage.host, &ask, 0, &failure), DPX_OK);
        while (dpx_host_next_event(stage.host, &event))
            continue;
        bad_clock_ahead = 60 * SECOND;
        if (!CHECK(told(stage.host, &ask, (enum question)question)))
            fprintf(stderr, "  question %u\n", question);
        strike(&stage);
    }
}

/* Stopped anywhere between the first look and the answer: nobody is told that he holds what he cannot hold any more. */
static void no_taking_across_the_end(void)
{
    bool jumped = true;
    unsigned moments = 0;
    for (unsigned moment = 1; jumped && moment < 200; moment++) {
        struct stage stage;
        dpx_failure failure;
        dpx_ask ask = ask_for("vm", DPX_MODE_EXCLUSIVE);
        set(&stage, 1, LIFE);
        bad_clock_asked = 0;
        bad_clock_jumps = moment;
        dpx_status status = take(stage.host, &ask, 0, &failure);
        bad_clock_jumps = 0;
        jumped = bad_clock_ahead != 0;
        moments += jumped;
        if (jumped)
            CHECK_EQ(status, DPX_E_FINISHED);
        else
            CHECK_EQ(status, DPX_OK);
        strike(&stage);
    }
    CHECK(moments > 3);
}

/* ---- what waits to be written when a life ends is not written ---- */

struct taker {
    pthread_t id;
    dpx_host *host;
    dpx_ask ask;
    uint64_t patience;
    dpx_status status;
    dpx_failure failure;
};

static void *take_it(void *argument)
{
    struct taker *taker = argument;
    taker->status = take(taker->host, &taker->ask, taker->patience, &taker->failure);
    return NULL;
}

static void begin_taking(struct taker *taker, dpx_host *host, const char *name, enum dpx_mode mode, uint64_t patience)
{
    *taker = (struct taker){.host = host, .ask = ask_for(name, mode), .patience = patience};
    pthread_create(&taker->id, NULL, take_it, taker);
}

static void nothing_is_written_after_a_close(void)
{
    struct stage stage;
    struct taker taker;
    set(&stage, 1, LIFE);
    bad_disks[0].holds = true;
    begin_taking(&taker, stage.host, "vm", DPX_MODE_EXCLUSIVE, DPX_FOREVER);
    CHECK(await(&bad_disks[0].held));
    usleep(20000);
    dpx_host_destroy(stage.host);
    pthread_join(taker.id, NULL);
    CHECK_EQ(taker.status, DPX_E_FINISHED);
    CHECK_EQ(taker.failure.end, DPX_END_LIFETIME);
    uint8_t *before = picture(0);
    bad_disks[0].holds = false;
    dpx_space_close(stage.space); /* waits for it */
    CHECK(!changed(0, before));
}

/* No thread of the host gets to run: the gate itself closes in time. */
static void the_gate_closes_by_itself(void)
{
    struct stage stage;
    struct taker taker;
    set(&stage, 1, LIFE / 4);
    bad_disks[0].holds = true;
    begin_taking(&taker, stage.host, "vm", DPX_MODE_EXCLUSIVE, DPX_FOREVER);
    CHECK(await(&bad_disks[0].held));
    usleep(20000);
    dpx_lock(stage.host);
    while (dpx_now() < stage.host->world.lifetime_end)
        usleep(500);
    uint8_t *before = picture(0);
    bad_disks[0].holds = false;
    usleep(20000);
    CHECK(!changed(0, before));
    dpx_unlock(stage.host);
    pthread_join(taker.id, NULL);
    CHECK_EQ(taker.status, DPX_E_FINISHED);
    strike(&stage);
}

/* ---- leaving ---- */

static void *leave_it(void *argument)
{
    struct taker *leaver = argument;
    leaver->status = dpx_host_leave(leaver->host, leaver->patience, &leaver->failure);
    return NULL;
}

static uint32_t free_on(const struct stage *stage, uint32_t slot)
{
    uint32_t count = 0;
    for (uint32_t d = 0; d < stage->made.geometry.disks; d++)
        count += record_of(stage, d, slot).state == DPX_SLOT_FREE;
    return count;
}

/* A write hangs on one of three disks: the slot stays taken, and while it is being left nobody takes anything. */
static void leaving_waits_for_every_write(void)
{
    struct stage stage;
    dpx_failure failure;
    dpx_ask ask = ask_for("vm", DPX_MODE_EXCLUSIVE), more = ask_for("more", DPX_MODE_EXCLUSIVE);
    set(&stage, 3, LIFE);
    uint32_t slot = dpx_host_state(stage.host).who.slot;
    CHECK_EQ(take(stage.host, &ask, 0, &failure), DPX_OK);
    bad_disks[2].holds = true;
    CHECK_EQ(let_go(stage.host, &ask), DPX_OK);
    struct taker leaver = {.host = stage.host, .patience = 300 * MS};
    pthread_create(&leaver.id, NULL, leave_it, &leaver);
    usleep(100000);
    CHECK_EQ(take(stage.host, &more, 0, &failure), DPX_E_FINISHED);
    CHECK_EQ(failure.end, DPX_END_LEFT);
    pthread_join(leaver.id, NULL);
    CHECK_EQ(leaver.status, DPX_E_TIMEOUT);
    CHECK_EQ(free_on(&stage, slot), 0);
    CHECK_EQ(dpx_host_state(stage.host).end, DPX_ALIVE);
    CHECK_EQ(take(stage.host, &more, 0, &failure), DPX_OK); /* it goes on living */
    CHECK_EQ(let_go(stage.host, &more), DPX_OK);
    bad_disks[2].holds = false;
    CHECK_EQ(dpx_host_leave(stage.host, 5 * SECOND, &failure), DPX_OK);
    CHECK(free_on(&stage, slot) >= 2);
    strike(&stage);
}

/* A membership is not over, for whoever asks this process, while a write of it may come. */
static void a_write_under_way_is_a_writer(void)
{
    struct stage stage;
    set(&stage, 1, LIFE / 4);
    dpx_uuid nonce = dpx_host_state(stage.host).who.nonce;
    bad_disks[0].holds = true;
    CHECK(await(&bad_disks[0].held)); /* a heartbeat */
    while (dpx_host_state(stage.host).end == DPX_ALIVE)
        usleep(1000);
    CHECK(dpx_writer_lives(&nonce));
    dpx_host_destroy(stage.host);
    CHECK(dpx_writer_lives(&nonce));
    bad_disks[0].holds = false;
    dpx_space_close(stage.space);
    CHECK(!dpx_writer_lives(&nonce));
}

/* ---- releasing ---- */

static void a_release_that_hangs_ends_in_time(void)
{
    struct stage stage;
    dpx_failure failure;
    dpx_ask ask = ask_for("vm", DPX_MODE_EXCLUSIVE), again = ask;
    set(&stage, 1, 2 * LIFE);
    CHECK_EQ(take(stage.host, &ask, 0, &failure), DPX_OK);
    bad_disks[0].holds = true;
    uint64_t start = dpx_now();
    CHECK_EQ(dpx_host_release(stage.host, &ask.handle, 1, 100 * MS, &failure), DPX_E_TIMEOUT);
    CHECK(failure.lowering);
    CHECK(dpx_now() - start >= 100 * MS && dpx_now() - start < 600 * MS);
    CHECK_EQ(dpx_host_hold_state(stage.host, ask.handle), DPX_HOLD_UNKNOWN);
    CHECK_EQ(dpx_host_state(stage.host).lowering, 1);
    /* Nobody of this host takes it before that write has returned: it would be two of one block. */
    CHECK_EQ(take(stage.host, &again, 50 * MS, &failure), DPX_E_TIMEOUT);
    CHECK(failure.lowering);
    dpx_lock(stage.host);
    CHECK_EQ(dpx_entry_find(stage.host, "vm", 2)->busy, DPX_BUSY_LOWERING);
    dpx_unlock(stage.host);
    bad_disks[0].holds = false;
    CHECK_EQ(take(stage.host, &again, 2 * SECOND, &failure), DPX_OK);
    CHECK(again.token > ask.token);
    CHECK_EQ(let_go(stage.host, &again), DPX_OK);
    strike(&stage);
}

static void *release_it(void *argument)
{
    struct taker *releaser = argument;
    releaser->status = let_go(releaser->host, &releaser->ask);
    return NULL;
}

/* The last holder's release waits for somebody who is just coming in on the same flag (he resumes, so he reads). */
static void a_sharer_keeps_the_flag_up(void)
{
    struct stage stage;
    dpx_failure failure;
    dpx_ask ask = ask_for("vm", DPX_MODE_SHARED), other = ask_for("vm", DPX_MODE_EXCLUSIVE);
    set(&stage, 1, 2 * LIFE);
    CHECK_EQ(take(stage.host, &ask, 0, &failure), DPX_OK);
    dpx_host *rival = join_as(stage.space, "beta", 2);
    bad_disks[0].holds_reads = true;
    struct taker sharer = {.host = stage.host, .ask = ask, .patience = 2 * SECOND};
    sharer.ask.resume = true;
    sharer.ask.resume_lease = ask.lease;
    sharer.ask.resume_token = ask.token;
    pthread_create(&sharer.id, NULL, take_it, &sharer);
    CHECK(await(&bad_disks[0].held_reads));
    usleep(30000);
    struct taker releaser = {.host = stage.host, .ask = ask};
    pthread_create(&releaser.id, NULL, release_it, &releaser);
    usleep(30000);
    bad_disks[0].holds_reads = false;
    pthread_join(sharer.id, NULL);
    pthread_join(releaser.id, NULL);
    CHECK_EQ(sharer.status, DPX_OK);
    CHECK_EQ(releaser.status, DPX_OK);
    CHECK_EQ(dpx_host_hold_state(stage.host, sharer.ask.handle), DPX_HOLD_HELD);
    CHECK_EQ(take(rival, &other, 0, &failure), DPX_E_HELD);
    CHECK_EQ(let_go(stage.host, &sharer.ask), DPX_OK);
    dpx_host_destroy(rival);
    strike(&stage);
}

/* ---- a disk that returns ---- */

/* Until the heart has looked at our slot there, and written it, nothing else is written: it may be another disk. */
static void nothing_is_written_before_the_heart(void)
{
    struct stage stage;
    dpx_failure failure;
    dpx_event event;
    dpx_ask ask = ask_for("vm", DPX_MODE_EXCLUSIVE);
    set(&stage, 1, 2 * LIFE);
    CHECK_EQ(take(stage.host, &ask, 0, &failure), DPX_OK);
    CHECK_EQ(let_go(stage.host, &ask), DPX_OK);
    bad_disks[0].gone = true;
    CHECK(await_event(stage.host, DPX_EVENT_DISK_DOWN, LIFE, &event));
    bad_disks[0].holds = true;
    bad_disks[0].gone = false;
    CHECK(await_event(stage.host, DPX_EVENT_DISK_UP, LIFE, &event));
    uint64_t start = dpx_now();
    CHECK_EQ(take(stage.host, &ask, 0, &failure), DPX_E_STORAGE);
    CHECK_EQ(failure.error, ENODEV);
    CHECK(dpx_now() - start < LIFE / 4);
    bad_disks[0].holds = false;
    uint64_t deadline = dpx_now() + 2 * SECOND;
    while (take(stage.host, &ask, 0, &failure) != DPX_OK && dpx_now() < deadline)
        usleep(5000);
    CHECK_EQ(dpx_host_hold_state(stage.host, ask.handle), DPX_HOLD_HELD);
    strike(&stage);
}

/* ---- slots of the dead ---- */

/* A membership of this process that was closed, and is found dead: its slot is being claimed anew. */
static uint32_t begin_reclaim(struct stage *stage, uint64_t claim_time)
{
    set_with(stage, 3, 4, LIFE / 2, claim_time);
    dpx_host *dead = join_as(stage->space, "dead", 1);
    uint32_t slot = dpx_host_state(dead).who.slot;
    dpx_host_destroy(dead);
    uint64_t deadline = dpx_now() + 10 * SECOND;
    while (record_of(stage, 0, slot).state != DPX_SLOT_CLAIMING && dpx_now() < deadline)
        usleep(200);
    CHECK_EQ(record_of(stage, 0, slot).state, DPX_SLOT_CLAIMING);
    return slot;
}

static uint32_t claims_of(dpx_host *host, uint32_t slot)
{
    uint32_t count = 0;
    for (const dpx_task *task = host->active; task; task = task->next)
        count += task->kind == DPX_TASK_CLAIM && dpx_claim_record(task->machine.claim)->who.slot == slot;
    return count;
}

/* Two of three disks are enough for a verdict; the third still holds on to an I/O of that claim. */
static void one_claim_of_a_slot_at_a_time(void)
{
    struct stage stage;
    uint32_t slot = begin_reclaim(&stage, 50 * MS);
    dpx_host *host = stage.host;
    dpx_uuid nonce = record_of(&stage, 0, slot).who.nonce;
    bad_disks[2].holds_reads = true;
    dpx_lock(host);
    uint64_t deadline = dpx_now() + 5 * SECOND;
    while (host->reclaim && dpx_now() < deadline) {
        dpx_unlock(host);
        usleep(200);
        dpx_lock(host);
    }
    CHECK_EQ(claims_of(host, slot), 1);
    CHECK_EQ(dpx_reclaim_start(host, slot), 0);
    CHECK(!host->reclaim); /* not now */
    CHECK(dpx_writer_lives(&nonce));
    dpx_unlock(host);
    bad_disks[2].holds_reads = false;
    for (unsigned i = 0; i < 2000 && dpx_writer_lives(&nonce); i++)
        usleep(500);
    CHECK(!dpx_writer_lives(&nonce));
    dpx_lock(host);
    CHECK_EQ(claims_of(host, slot), 0);
    CHECK_EQ(dpx_reclaim_start(host, slot), 0); /* nothing is in its way any more */
    CHECK(host->reclaim);
    dpx_unlock(host);
    strike(&stage);
}

static void no_claim_is_written_after_a_close(void)
{
    struct stage stage;
    begin_reclaim(&stage, 100 * MS); /* for so long its next write may be issued; no disk counts as stalled by then */
    for (uint32_t d = 0; d < 3; d++)
        bad_disks[d].holds = true;
    dpx_lock(stage.host);
    uint64_t deadline = dpx_now() + SECOND;
    while (stage.host->reclaim && stage.host->reclaim->outstanding < 2 && dpx_now() < deadline) {
        dpx_unlock(stage.host);
        usleep(200);
        dpx_lock(stage.host);
    }
    CHECK(stage.host->reclaim && stage.host->reclaim->outstanding > 0);
    dpx_unlock(stage.host);
    usleep(20000); /* into the workers' hands */
    dpx_host_destroy(stage.host);
    uint8_t *before[3] = {picture(0), picture(1), picture(2)};
    for (uint32_t d = 0; d < 3; d++)
        bad_disks[d].holds = false;
    dpx_space_close(stage.space);
    for (uint32_t d = 0; d < 3; d++)
        CHECK(!changed(d, before[d]));
}

/* ---- joining ---- */

static void *join_it(void *argument)
{
    struct stage *stage = argument;
    stage->host = join_as(stage->space, "alpha", 1);
    return NULL;
}

/* One of three disks holds on to a write of the claim: no heartbeat is sent there until it has returned. */
static void no_heartbeat_beside_the_claims_write(void)
{
    struct stage stage;
    pthread_t joiner;
    dpx_geometry geometry = geometry_for(3, 4, 16, LIFE);
    make_bad_lockspace(&stage.made, &geometry);
    stage.space = open_space(&stage.made);
    bad_disks[2].holds = true;
    pthread_create(&joiner, NULL, join_it, &stage);
    bool held = await(&bad_disks[2].held);
    pthread_join(joiner, NULL);
    CHECK(held);
    uint32_t slot = dpx_host_state(stage.host).who.slot;
    uint64_t deadline = dpx_now() + 4 * SECOND;
    while (dpx_host_state(stage.host).heart.beats < 3 && dpx_now() < deadline)
        usleep(1000);
    CHECK_EQ(bad_disks[2].held, 1);
    bad_disks[2].holds = false;
    deadline = dpx_now() + 2 * SECOND;
    while (record_of(&stage, 2, slot).counter < 4 && dpx_now() < deadline)
        usleep(1000);
    CHECK_EQ(record_of(&stage, 2, slot).state, DPX_SLOT_ACTIVE);
    CHECK(record_of(&stage, 2, slot).counter >= 4); /* it counts again */
    strike(&stage);
}

static atomic_bool spoils;

/* Whoever claims a slot finds another one's claim there, on two of three disks. */
static void *spoil(void *argument)
{
    const struct stage *stage = argument;
    const dpx_geometry *geometry = &stage->made.geometry;
    while (spoils) {
        for (uint32_t slot = 0; slot < geometry->max_hosts; slot++) {
            dpx_slot_record record = record_of(stage, 0, slot);
            if (record.state != DPX_SLOT_CLAIMING || record.who.nonce.bytes[9] == 0x5a)
                continue;
            record.who.nonce.bytes[9] = 0x5a;
            for (uint32_t d = 0; d < 2; d++) {
                pthread_mutex_lock(&bad_disks[d].lock);
                dpx_slot_encode(bad_disks[d].data + dpx_slot_block(geometry, slot) * geometry->block_size, geometry, d,
                                &record);
                pthread_mutex_unlock(&bad_disks[d].lock);
            }
        }
        usleep(1000);
    }
    return NULL;
}

/* A read of the claim hangs on one disk: nobody waits for it, but its memory is not used for another claim either,
 * though there is time. */
static void a_claim_that_reads_is_not_begun_again(void)
{
    struct stage stage;
    dpx_failure failure;
    pthread_t spoiler;
    dpx_host *host = NULL;
    dpx_join_options options = options_of("late", 2);
    set_with(&stage, 3, 64, LIFE, 20 * MS);
    bad_disks[2].holds_reads = true;
    spoils = true;
    pthread_create(&spoiler, NULL, spoil, &stage);
    dpx_status status = DPX_OK;
    uint64_t start = 0;
    for (unsigned i = 0; i < 5 && status == DPX_OK; i++) { /* on a busy machine the spoiler may come too late */
        start = dpx_now();
        status = dpx_host_join(stage.space, &options, 4 * SECOND, &host, &failure);
        if (status == DPX_OK)
            dpx_host_destroy(host);
    }
    CHECK_EQ(status, DPX_E_COLLIDED);
    CHECK(dpx_now() - start < 3 * SECOND);
    CHECK(bad_disks[2].held_reads > 0);
    spoils = false;
    pthread_join(spoiler, NULL);
    bad_disks[2].holds_reads = false;
    strike(&stage);
}

int main(void)
{
    RUN(every_question_asks_the_clock);
    RUN(no_taking_across_the_end);
    RUN(nothing_is_written_after_a_close);
    RUN(the_gate_closes_by_itself);
    RUN(leaving_waits_for_every_write);
    RUN(a_write_under_way_is_a_writer);
    RUN(a_release_that_hangs_ends_in_time);
    RUN(a_sharer_keeps_the_flag_up);
    RUN(nothing_is_written_before_the_heart);
    RUN(one_claim_of_a_slot_at_a_time);
    RUN(no_claim_is_written_after_a_close);
    RUN(no_heartbeat_beside_the_claims_write);
    RUN(a_claim_that_reads_is_not_begun_again);
    return check_finish("test_ends");
}
