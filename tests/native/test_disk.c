/* The I/O room: requests carried out, in order, or refused with nothing done. */
#include "disks.h"
#include "io/inside.h"

#include <sys/resource.h>

static uint8_t *buffer; /* 2 × BLOCKS blocks: to write from, to read into */
static uint8_t *input;

static void write_then_read(void)
{
    const char *path = make_file("order", BLOCKS);
    dpx_disk *disk = open_disk(path, false, 2);
    for (unsigned round = 0; round < 50; round++) {
        dpx_lane lane = round % 2 ? DPX_LANE_WORK : DPX_LANE_HEART;
        memset(buffer, 0x40 + (int)round, 2 * BLOCK);
        dpx_extent writes[2] = {{.block = 5, .count = 1, .data = buffer},
                                {.block = 9, .count = 1, .data = buffer + BLOCK}};
        dpx_extent reads[2] = {{.block = 0, .count = 72, .data = input},
                               {.block = 100, .count = 1, .data = input + 100 * BLOCK}};
        dpx_request request = {.write_count = 2, .read_count = 2, .writes = writes, .reads = reads};
        uint64_t before = dpx_now();
        CHECK_EQ(carry_out(disk, lane, &request, NULL), 0);
        CHECK(request.writes_issued && before <= request.write_issued_at);
        CHECK(request.write_issued_at < request.write_completed_at);
        CHECK(request.write_completed_at <= request.read_issued_at);
        CHECK(request.read_issued_at < request.read_completed_at && request.read_completed_at <= dpx_now());
        CHECK_EQ(input[5 * BLOCK], 0x40 + round);
        CHECK_EQ(input[9 * BLOCK + 511], 0x40 + round);
        CHECK_EQ(input[8 * BLOCK], 8);
        CHECK_EQ(input[100 * BLOCK], 100);
    }
    dpx_request nothing = {0};
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &nothing, NULL), 0);
    CHECK(!nothing.writes_issued && !nothing.write_issued_at && !nothing.read_issued_at);
    stop_disk(disk);
    CHECK_EQ(byte_in_file(path, 9), 0x40 + 49);
}

/* What a storage makes of the depth: so long for each I/O, so long for each that it has to wait for. */
static uint32_t depth_after(uint64_t each, uint64_t behind, uint32_t rounds, uint32_t from)
{
    dpx_depth depth;
    dpx_depth_start(&depth);
    if (from > 0)
        atomic_store(&depth.window, from);
    uint64_t now = UINT64_C(1000000000);
    for (uint32_t i = 0; i < rounds; i++) {
        uint32_t in_flight = dpx_depth_now(&depth);
        dpx_return returned = {.count = in_flight, .in_flight = in_flight, .quickest = each, .oldest = now};
        now += each + behind * (in_flight - 1);
        returned.now = now;
        dpx_depth_learn(&depth, &returned, 31000000);
    }
    return dpx_depth_now(&depth);
}

static void depth(void)
{
    CHECK_EQ(depth_after(100000, 0, 8, 0), DPX_WORK_DEPTH);          /* a fast disk */
    CHECK_EQ(depth_after(400000000, 100000, 8, 0), DPX_WORK_DEPTH);  /* far away, many at once */
    CHECK_EQ(depth_after(8000000, 8000000, 8, DPX_WORK_DEPTH), 4);   /* one after the other */
    CHECK_EQ(depth_after(8000000, 1000000, 8, DPX_WORK_DEPTH), 32);
    CHECK_EQ(depth_after(900000000, 900000000, 20, 0), 4);           /* never less */
}

static void larger_blocks(void)
{
    dpx_disk *disk = open_disk(make_file("large", BLOCKS), false, 1);
    dpx_disk_block_size(disk, 4096);
    dpx_extent read = {.block = 3, .count = 2, .data = input};
    dpx_request request = {.read_count = 1, .reads = &read};
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &request, NULL), 0);
    CHECK_EQ(input[0], 24);
    CHECK_EQ(input[8191], 39);
    stop_disk(disk);
}

static void gate_in_the_past(void)
{
    const char *path = make_file("gate", BLOCKS);
    dpx_disk *disk = open_disk(path, false, 1);
    _Atomic uint64_t gate = dpx_now() - 1;
    memset(buffer, 0xab, BLOCK);
    dpx_extent write = {.block = 7, .count = 1, .data = buffer};
    dpx_extent read = {.block = 7, .count = 1, .data = input};
    dpx_request request = {.write_count = 1, .read_count = 1, .writes = &write, .reads = &read};
    CHECK_EQ(carry_out(disk, DPX_LANE_HEART, &request, &gate), -ETIME);
    CHECK(!request.writes_issued && !request.write_issued_at && !request.read_issued_at);
    CHECK_EQ(write.error, -ETIME);
    CHECK_EQ(read.error, -ECANCELED);
    CHECK_EQ(byte_in_file(path, 7), 7);

    gate = 0; /* what a finished host shows; it still may read */
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &request, &gate), -ETIME);
    request.write_count = 0;
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &request, &gate), 0);
    CHECK_EQ(input[0], 7);

    gate = dpx_now() + 3600 * SECOND;
    request.write_count = 1;
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &request, &gate), 0);
    CHECK_EQ(input[0], 0xab);
    stop_disk(disk);
}

static void thousand_extents(void)
{
    const char *path = make_file("thousand", BLOCKS);
    dpx_disk *disk = open_disk(path, false, 1);
    static dpx_extent writes[1000], reads[1000];
    for (uint32_t i = 0; i < 1000; i++) {
        uint64_t block = (i * 397u) % 1000; /* scattered, each once */
        memset(buffer + i * BLOCK, (int)(block * 7 & 255), BLOCK);
        writes[i] = (dpx_extent){.block = block, .count = 1, .data = buffer + i * BLOCK};
        reads[i] = (dpx_extent){.block = block, .count = 1, .data = input + block * BLOCK};
    }
    for (unsigned lane = 0; lane < 2; lane++) {
        memset(input, 0, 1000 * BLOCK);
        dpx_request request = {.write_count = 1000, .read_count = 1000, .writes = writes, .reads = reads};
        CHECK_EQ(carry_out(disk, (dpx_lane)lane, &request, NULL), 0);
        for (uint32_t block = 0; block < 1000; block++)
            CHECK_EQ(input[block * BLOCK + 100], block * 7 & 255);
    }
    stop_disk(disk);
    CHECK_EQ(byte_in_file(path, 999), 999 * 7 & 255);
    CHECK_EQ(byte_in_file(path, 1000), 1000 & 255);
}

static void one_bad_among_many(void)
{
    /* A failed write is told from the others, and nothing is read after it. */
    const char *path = make_file("bad", BLOCKS);
    dpx_disk *disk = open_disk(path, false, 1);
    static dpx_extent writes[300];
    dpx_extent read = {.block = 0, .count = 1, .data = input};
    memset(buffer, 0x77, BLOCKS * BLOCK);
    for (uint32_t i = 0; i < 300; i++)
        writes[i] = (dpx_extent){.block = i, .count = 1, .data = buffer + i * BLOCK};
    writes[200].data = (void *)(uintptr_t)4096; /* no memory there */
    dpx_request request = {.write_count = 300, .read_count = 1, .writes = writes, .reads = &read};
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &request, NULL), -EFAULT);
    CHECK(request.writes_issued && request.write_completed_at && !request.read_issued_at);
    CHECK_EQ(read.error, -ECANCELED);
    for (uint32_t i = 0; i < 300; i++)
        CHECK_EQ(writes[i].error, i == 200 ? -EFAULT : 0);
    stop_disk(disk);
    CHECK_EQ(byte_in_file(path, 199), 0x77);
    CHECK_EQ(byte_in_file(path, 200), 200);
    CHECK_EQ(byte_in_file(path, 299), 0x77);
}

static void past_the_end(void)
{
    dpx_disk *disk = open_disk(make_file("short", 100), false, 1);
    dpx_extent reads[3] = {{.block = 0, .count = 1, .data = input},
                           {.block = 96, .count = 8, .data = input + BLOCK},
                           {.block = 500, .count = 1, .data = input + 20 * BLOCK}};
    dpx_request request = {.read_count = 3, .reads = reads};
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &request, NULL), -EIO);
    CHECK_EQ(reads[0].error, 0);
    CHECK_EQ(reads[1].error, -EIO);
    CHECK_EQ(reads[2].error, -EIO);
    stop_disk(disk);
}

static void failing_write(void)
{
    /* A file-size limit is the one write error that any process can have for the asking; its
     * signal must not end the program either, though nobody handles it. */
    struct rlimit before, limit;
    const char *path = make_file("limit", 10);
    dpx_disk *disk = open_disk(path, false, 1);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 10 * BLOCK;
    setrlimit(RLIMIT_FSIZE, &limit);
    dpx_extent write = {.block = 64, .count = 1, .data = buffer};
    dpx_extent read = {.block = 0, .count = 1, .data = input};
    dpx_request request = {.write_count = 1, .read_count = 1, .writes = &write, .reads = &read};
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &request, NULL), -EFBIG);
    CHECK_EQ(read.error, -ECANCELED);
    setrlimit(RLIMIT_FSIZE, &before);
    stop_disk(disk);
}

static void read_only_and_not_open(void)
{
    const char *path = make_file("reading", BLOCKS);
    dpx_extent write = {.block = 3, .count = 1, .data = buffer};
    dpx_extent read = {.block = 3, .count = 1, .data = input};
    dpx_request request = {.write_count = 1, .read_count = 1, .writes = &write, .reads = &read};
    dpx_disk *disk;
    CHECK_EQ(dpx_disk_start(path, true, 1, &disk), 0);
    CHECK(!dpx_disk_is_open(disk));
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &request, NULL), -ENODEV);
    CHECK_EQ(write.error, -ENODEV);
    CHECK_EQ(read.error, -ENODEV);
    dpx_disk_facts facts;
    CHECK_EQ(dpx_disk_open(disk, dpx_now() + 20 * SECOND, &facts), 0);
    memset(buffer, 0xcd, BLOCK);
    CHECK_EQ(carry_out(disk, DPX_LANE_HEART, &request, NULL), -EROFS);
    CHECK(!request.writes_issued && !request.read_issued_at);
    request.write_count = 0;
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &request, NULL), 0);
    CHECK_EQ(input[0], 3);
    stop_disk(disk);
    CHECK_EQ(byte_in_file(path, 3), 3);
}

/* ---- queues ---- */

typedef struct stopper {
    waiter entered;
    sem_t release;
} stopper;

static void hold_worker(void *context, dpx_request *request)
{
    (void)request;
    stopper *hold = context;
    sem_post(&hold->entered.done);
    while (sem_wait(&hold->release) != 0)
        continue;
}

static void expired_in_the_queue(void)
{
    const char *path = make_file("expire", BLOCKS);
    dpx_disk *disk = open_disk(path, false, 1);
    stopper hold;
    waiter_init(&hold.entered);
    sem_init(&hold.release, 0, 0);
    dpx_extent read = {.block = 3, .count = 1, .data = input};
    dpx_request blocker = {.read_count = 1, .reads = &read};
    dpx_disk_submit(disk, DPX_LANE_WORK, &blocker, NULL, hold_worker, &hold);
    CHECK(await_one(&hold.entered, 20)); /* the only worker is busy now */

    dpx_extent writes[4];
    dpx_request requests[4];
    waiter waits[4];
    uint64_t middle = 0;
    memset(buffer, 0x99, BLOCK);
    for (unsigned i = 0; i < 4; i++) {
        if (i == 2)
            middle = dpx_now();
        writes[i] = (dpx_extent){.block = 20 + i, .count = 1, .data = buffer};
        requests[i] = (dpx_request){.write_count = 1, .writes = &writes[i]};
        waiter_init(&waits[i]);
        dpx_disk_submit(disk, DPX_LANE_WORK, &requests[i], NULL, wake_waiter, &waits[i]);
    }
    CHECK_EQ(dpx_disk_outstanding(disk), 4);
    dpx_disk_expire(disk, middle);
    for (unsigned i = 0; i < 2; i++) { /* told at once, although the lane is stuck */
        CHECK(await_one(&waits[i], 1));
        CHECK_EQ(requests[i].error, -ETIMEDOUT);
        CHECK(!requests[i].writes_issued && writes[i].error == -ETIMEDOUT);
    }
    CHECK_EQ(dpx_disk_outstanding(disk), 2);
    sem_post(&hold.release);
    for (unsigned i = 2; i < 4; i++) {
        CHECK(await_one(&waits[i], 20));
        CHECK_EQ(requests[i].error, 0);
    }
    dpx_disk_expire(disk, UINT64_MAX); /* an empty queue */
    stop_disk(disk);
    CHECK_EQ(byte_in_file(path, 20), 20);
    CHECK_EQ(byte_in_file(path, 21), 21);
    CHECK_EQ(byte_in_file(path, 22), 0x99);
    CHECK_EQ(byte_in_file(path, 23), 0x99);
}

/* ---- where workers wake ---- */

typedef struct sleeper {
    dpx_bond bond;
    _Atomic uint32_t bell;
    sem_t ready;
    cpu_set_t allowed; /* once awake */
} sleeper;

static void *sleep_once(void *argument)
{
    sleeper *one = argument;
    dpx_bond_self(&one->bond);
    sem_post(&one->ready);
    while (!atomic_load(&one->bell))
        dpx_sleep(&one->bell, 0, UINT64_MAX);
    dpx_bond_end(&one->bond);
    sched_getaffinity(0, sizeof one->allowed, &one->allowed);
    return NULL;
}

static void woken_here(void)
{
    sleeper one = {.bell = 0};
    pthread_t thread;
    cpu_set_t mine, bound;
    sem_init(&one.ready, 0, 0);
    sched_getaffinity(0, sizeof mine, &mine);
    CHECK_EQ(pthread_create(&thread, NULL, sleep_once, &one), 0);
    while (sem_wait(&one.ready) != 0)
        continue;
    dpx_bond_here(&one.bond);
    CHECK(one.bond.bound);
    CHECK_EQ(sched_getaffinity(one.bond.thread, sizeof bound, &bound), 0);
    CHECK_EQ(CPU_COUNT(&bound), 1);
    atomic_store(&one.bell, 1);
    dpx_wake(&one.bell, 1);
    pthread_join(thread, NULL);
    CHECK(CPU_EQUAL(&one.allowed, &mine));
    CHECK(!one.bond.bound);
}

static void note_allowed(void *context, dpx_request *request)
{
    (void)request;
    sleeper *one = context;
    sched_getaffinity(0, sizeof one->allowed, &one->allowed);
    sem_post(&one->ready);
}

/* On a single processor this shows nothing. */
static void near_and_free_again(void)
{
    dpx_disk *disk = open_disk(make_file("near", BLOCKS), false, 2);
    sleeper one = {.bell = 0};
    cpu_set_t mine;
    sem_init(&one.ready, 0, 0);
    sched_getaffinity(0, sizeof mine, &mine);
    for (unsigned round = 0; round < 50; round++) {
        dpx_extent read = {.block = round, .count = 1, .data = input};
        dpx_request request = {.read_count = 1, .reads = &read};
        dpx_disk_submit_near(disk, DPX_LANE_WORK, &request, NULL, note_allowed, &one);
        while (sem_wait(&one.ready) != 0)
            continue;
        CHECK_EQ(request.error, 0);
        CHECK(CPU_EQUAL(&one.allowed, &mine));
    }
    stop_disk(disk);
}

/* A request that submits itself again from its callback, as a state machine's rounds do. */
typedef struct chain {
    dpx_disk *disk;
    dpx_lane lane;
    dpx_request request;
    dpx_extent write, read;
    unsigned left;
    atomic_uint *errors;
    sem_t *finished;
} chain;

static void next_link(void *context, dpx_request *request)
{
    chain *link = context;
    if (request->error || memcmp(link->write.data, link->read.data, BLOCK) != 0)
        atomic_fetch_add(link->errors, 1);
    if (--link->left == 0) {
        sem_post(link->finished);
        return;
    }
    memset(link->write.data, (int)(link->left * 3 & 255), BLOCK);
    dpx_disk_submit(link->disk, link->lane, request, NULL, next_link, link);
}

static void many_at_once(void)
{
    enum { CHAINS = 12, LINKS = 60 };
    dpx_disk *disk = open_disk(make_file("chains", BLOCKS), false, 3);
    static chain chains[CHAINS];
    atomic_uint errors = 0;
    sem_t finished;
    sem_init(&finished, 0, 0);
    for (unsigned i = 0; i < CHAINS; i++) {
        chain *link = &chains[i];
        *link = (chain){.disk = disk, .lane = i % 4 ? DPX_LANE_WORK : DPX_LANE_HEART, .left = LINKS,
                        .errors = &errors, .finished = &finished};
        link->write = (dpx_extent){.block = i * 8, .count = 1, .data = buffer + i * BLOCK};
        link->read = (dpx_extent){.block = i * 8, .count = 1, .data = input + i * BLOCK};
        link->request = (dpx_request){.write_count = 1, .read_count = 1, .writes = &link->write,
                                      .reads = &link->read};
        dpx_disk_submit(disk, link->lane, &link->request, NULL, next_link, link);
    }
    for (unsigned i = 0; i < CHAINS; i++)
        while (sem_wait(&finished) != 0)
            continue;
    CHECK_EQ(errors, 0);
    CHECK(dpx_disk_stop(disk, dpx_now() + 20 * SECOND));
}

/* ---- pieces of a large page ---- */

static void pieces(void)
{
    enum { PIECE = 45000, WHOLE = 45056, FIT = 46 };
    dpx_arena arena;
    uint8_t *piece[FIT], other;
    dpx_arena_open(&arena, PIECE);
    for (unsigned i = 0; i < FIT; i++) {
        piece[i] = dpx_arena_take(&arena);
        CHECK(piece[i] && (uintptr_t)piece[i] % 4096 == 0);
        memset(piece[i], (int)i, WHOLE);
    }
    CHECK(!dpx_arena_take(&arena));
    for (unsigned i = 0; i < FIT; i++)
        CHECK(piece[i][0] == i && memcmp(piece[i], piece[i] + 1, WHOLE - 1) == 0); /* none overlap */
    CHECK(!dpx_arena_give(&arena, &other));
    CHECK(dpx_arena_give(&arena, piece[17]));
    CHECK(dpx_arena_take(&arena) == piece[17]);
    CHECK(!dpx_arena_take(&arena));
    dpx_arena_close(&arena);
    CHECK(!dpx_arena_take(&arena) && !dpx_arena_give(&arena, NULL));
    dpx_arena_open(&arena, (2u << 20) + 1); /* does not fit: whoever asks uses memory of its own */
    CHECK(!dpx_arena_take(&arena));
    dpx_arena_close(&arena);
}

static dpx_arena shared_arena;

/* Returns how often somebody else wrote in its piece, or there was none. */
static void *take_and_give(void *argument)
{
    uintptr_t mine = (uintptr_t)argument, wrong = 0;
    for (unsigned i = 0; i < 20000; i++) {
        volatile uintptr_t *piece = dpx_arena_take(&shared_arena);
        if (piece)
            *piece = mine;
        sched_yield();
        wrong += !piece || *piece != mine || !dpx_arena_give(&shared_arena, (void *)(uintptr_t)piece);
    }
    return (void *)wrong;
}

static void pieces_of_four_threads(void)
{
    enum { THREADS = 4 };
    pthread_t threads[THREADS];
    dpx_arena_open(&shared_arena, (2u << 20) / THREADS);
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, take_and_give, (void *)(i + 1)), 0);
    for (unsigned i = 0; i < THREADS; i++) {
        void *wrong = NULL;
        CHECK_EQ(pthread_join(threads[i], &wrong), 0);
        CHECK(wrong == NULL);
    }
    CHECK_EQ(shared_arena.taken, 0);
    dpx_arena_close(&shared_arena);
}

int main(int count, char **arguments)
{
    if (!prepare_folder(count, arguments, "test_disk"))
        return 0;
    buffer = dpx_buffer_new(2 * (size_t)BLOCKS * BLOCK);
    input = buffer + (size_t)BLOCKS * BLOCK;
    RUN(write_then_read);
    RUN(depth);
    RUN(larger_blocks);
    RUN(gate_in_the_past);
    RUN(thousand_extents);
    RUN(one_bad_among_many);
    RUN(past_the_end);
    RUN(failing_write);
    RUN(read_only_and_not_open);
    RUN(expired_in_the_queue);
    RUN(woken_here);
    RUN(near_and_free_again);
    RUN(many_at_once);
    RUN(pieces);
    RUN(pieces_of_four_threads);
    dpx_buffer_free(buffer, 2 * (size_t)BLOCKS * BLOCK);
    return check_finish("test_disk");
}
