/* Somebody puts another file where a disk was, while hosts use it. */
#include "hosts.h"

#include <pthread.h>
#include <stdio.h>

#define LIFE (4 * SECOND)

static lockspace made;

static void copy_file(const char *from, const char *to)
{
    static uint8_t data[4 << 20];
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    ssize_t got = read(in, data, sizeof data);
    CHECK(got > 0 && got < (ssize_t)sizeof data && write(out, data, (size_t)got) == got && fsync(out) == 0);
    close(in);
    close(out);
}

static void put_in_place(const char *copy, uint32_t disk)
{
    CHECK(rename(copy, made.paths[disk]) == 0);
}

static void get_record(const char *path, uint32_t slot, dpx_slot_record *record)
{
    uint8_t data[512];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK_EQ(pread(fd, data, sizeof data, (off_t)(dpx_slot_block(&made.geometry, slot) * 512)), (ssize_t)sizeof data);
    dpx_slot_decode(data, record);
    close(fd);
}

/* Just after a heartbeat, so that no other one comes before the copy is made. */
static void await_beat(dpx_host *host, uint64_t more)
{
    uint64_t beats = dpx_host_state(host).heart.beats + more;
    while (dpx_host_state(host).heart.beats < beats)
        usleep(1000);
}

static dpx_host *begin(const char *name, uint32_t disks, uint32_t leases, dpx_space **space, dpx_ask *ask)
{
    dpx_failure failure;
    dpx_geometry geometry = geometry_for(disks, 4, leases, LIFE);
    make_lockspace(&made, name, &geometry);
    *space = open_space(&made);
    dpx_host *host = join_as(*space, "alpha", 1);
    *ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(host, ask, 0, &failure), DPX_OK);
    return host;
}

/* Moved to another file as it is: it goes on with that one. */
static void by_the_same_content(void)
{
    dpx_space *space;
    dpx_ask ask;
    char copy[450];
    dpx_slot_record before, now;
    dpx_host *host = begin("moved", 1, 16, &space, &ask);
    uint32_t slot = dpx_host_state(host).who.slot;
    snprintf(copy, sizeof copy, "%s.copy", made.paths[0]);
    await_beat(host, 1);
    copy_file(made.paths[0], copy);
    put_in_place(copy, 0);
    get_record(made.paths[0], slot, &before);
    uint64_t deadline = dpx_now() + LIFE / 2;
    do {
        usleep(20000);
        get_record(made.paths[0], slot, &now);
    } while (now.counter == before.counter && dpx_now() < deadline);
    CHECK(now.counter > before.counter);
    CHECK_EQ(dpx_host_hold_state(host, ask.handle), DPX_HOLD_HELD);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    end_host(host, space);
}

/* By an older copy: what is held by the old file is not protected from whoever opens the new one. */
static void by_an_older_copy(void)
{
    dpx_space *space;
    dpx_ask ask;
    dpx_event event;
    char copy[450];
    dpx_slot_record before, now;
    dpx_host *host = begin("older", 1, 16, &space, &ask);
    uint32_t slot = dpx_host_state(host).who.slot;
    snprintf(copy, sizeof copy, "%s.copy", made.paths[0]);
    copy_file(made.paths[0], copy);
    await_beat(host, 2);
    get_record(copy, slot, &before);
    uint64_t start = dpx_now();
    put_in_place(copy, 0);
    CHECK(await_event(host, DPX_EVENT_FINISHED, LIFE / 2, &event));
    CHECK_EQ(event.end, DPX_END_COPY);
    CHECK(dpx_now() - start < LIFE / 2);
    CHECK_EQ(dpx_host_hold_state(host, ask.handle), DPX_HOLD_LOST);
    get_record(made.paths[0], slot, &now);
    CHECK_EQ(now.counter, before.counter); /* nothing was written there */
    dpx_host_destroy(host);
    dpx_space_close(space);
}

/* One of three: the two others are enough, and the copy is not used. */
static void one_of_three_by_an_older_copy(void)
{
    dpx_space *space;
    dpx_ask ask;
    dpx_event event;
    char copy[450], aside[450];
    dpx_slot_record before, now;
    dpx_host *host = begin("three", 3, 16, &space, &ask);
    uint32_t slot = dpx_host_state(host).who.slot;
    snprintf(copy, sizeof copy, "%s.copy", made.paths[1]);
    snprintf(aside, sizeof aside, "%s.aside", made.paths[1]);
    copy_file(made.paths[1], copy);
    await_beat(host, 2);
    get_record(copy, slot, &before);
    CHECK(link(made.paths[1], aside) == 0);
    put_in_place(copy, 1);
    CHECK(await_event(host, DPX_EVENT_DISK_DOWN, LIFE / 2, &event) && event.disk == 1);
    await_beat(host, 2);
    get_record(made.paths[1], slot, &now);
    CHECK_EQ(now.counter, before.counter);
    CHECK_EQ(dpx_host_hold_state(host, ask.handle), DPX_HOLD_HELD);
    put_in_place(aside, 1);
    CHECK(await_event(host, DPX_EVENT_DISK_UP, LIFE / 2, &event) && event.disk == 1);
    await_beat(host, 2);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    end_host(host, space);
}

/* Takes one lease after the other, and the next one as soon as that is possible. */
enum { NAMES = 400, AREAS = 512 };
static char names[NAMES][8];

static void *take_more(void *argument)
{
    dpx_host *host = argument;
    dpx_failure failure;
    for (unsigned i = 0; i < NAMES && dpx_host_state(host).end == DPX_ALIVE;) {
        dpx_ask ask = ask_for(names[i], DPX_MODE_EXCLUSIVE);
        if (take(host, &ask, 0, &failure) != DPX_OK)
            continue;
        i++;
        usleep(1000);
    }
    return NULL;
}

static void get_own_blocks(const char *path, uint32_t slot, uint8_t blocks[AREAS][512])
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (uint32_t area = 0; area < AREAS; area++) {
        off_t at = (off_t)(dpx_own_block(&made.geometry, area, slot) * 512);
        CHECK_EQ(pread(fd, blocks[area], 512, at), 512);
    }
    close(fd);
}

/* In the new file somebody else has the slot by now: he is met before anything is written over what is his. */
static void by_one_where_the_slot_is_anothers(void)
{
    static uint8_t before[AREAS][512], after[AREAS][512];
    dpx_space *space;
    dpx_ask ask;
    dpx_event event;
    char copy[450];
    uint8_t data[512];
    dpx_slot_record other, now;
    pthread_t thread;
    dpx_host *host = begin("anothers", 1, AREAS, &space, &ask);
    dpx_incarnation who = dpx_host_state(host).who;
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    for (unsigned i = 0; i < NAMES; i++) {
        dpx_failure failure;
        snprintf(names[i], sizeof names[i], "n%u", i % 1000);
        CHECK_EQ(dpx_host_create(host, names[i], strlen(names[i]), SECOND, &failure), DPX_OK);
    }
    snprintf(copy, sizeof copy, "%s.copy", made.paths[0]);
    copy_file(made.paths[0], copy);
    get_record(copy, who.slot, &other);
    other.who.generation++;
    other.who.nonce.bytes[3] ^= 1;
    other.sequence = other.counter = 7;
    dpx_slot_encode(data, &made.geometry, 0, &other);
    int fd = open(copy, O_WRONLY | O_CLOEXEC);
    off_t at = (off_t)(dpx_slot_block(&made.geometry, who.slot) * 512);
    CHECK_EQ(pwrite(fd, data, sizeof data, at), (ssize_t)sizeof data);
    close(fd);
    get_own_blocks(copy, who.slot, before);
    pthread_create(&thread, NULL, take_more, host);
    usleep(50000);
    put_in_place(copy, 0);
    CHECK(await_event(host, DPX_EVENT_FINISHED, LIFE / 2, &event));
    CHECK_EQ(event.end, DPX_END_REPLACED);
    pthread_join(thread, NULL);
    get_own_blocks(made.paths[0], who.slot, after);
    CHECK(memcmp(before, after, sizeof before) == 0);
    get_record(made.paths[0], who.slot, &now);
    CHECK(dpx_incarnation_equal(&now.who, &other.who) && now.counter == other.counter);
    dpx_host_destroy(host);
    dpx_space_close(space);
}

int main(int count, char **arguments)
{
    if (!prepare_hosts(count, arguments, "test_replaced"))
        return 0;
    RUN(by_the_same_content);
    RUN(by_an_older_copy);
    RUN(one_of_three_by_an_older_copy);
    RUN(by_one_where_the_slot_is_anothers);
    return check_finish("test_replaced");
}
