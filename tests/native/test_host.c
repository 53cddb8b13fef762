/* The host room, one process: leases taken and released, waiting within the host, bad
 * input, disks that are missing, wrong or come back. */
#include "hosts.h"

#include <pthread.h>
#include <sys/wait.h>

static lockspace one;   /* one disk, a patient lifetime */

/* ---- leases ---- */

static void take_and_release(void)
{
    dpx_failure failure;
    dpx_space *space = open_space(&one);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(dpx_host_acquire(host, &ask, 1, false, 0, &failure), DPX_E_NOT_FOUND);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
    uint64_t token = ask.token;
    CHECK(ask.handle != 0 && token != 0);
    dpx_hold_info info = dpx_host_hold(host, ask.handle);
    CHECK_EQ(info.state, DPX_HOLD_HELD);
    CHECK_EQ(info.token, token);
    CHECK(strcmp(info.name, "vm1") == 0);
    CHECK_EQ(dpx_host_holds(host, &info, 1), 1);
    dpx_ask second = ask_for("vm1", DPX_MODE_SHARED);
    CHECK_EQ(take(host, &second, 0, &failure), DPX_E_HELD_HERE);
    CHECK_EQ(dpx_host_leave(host, 0, &failure), DPX_E_BUSY);
    for (unsigned i = 0; i < 100; i++) {
        CHECK_EQ(let_go(host, &ask), DPX_OK);
        CHECK_EQ(dpx_host_hold(host, ask.handle).state, DPX_HOLD_UNKNOWN);
        CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
        CHECK(ask.token > token);
        token = ask.token;
    }
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    CHECK_EQ(let_go(host, &ask), DPX_E_INVALID);
    CHECK(dpx_host_state(host).remaining > 0);
    end_host(host, space);
}

/* A handle is used once: what was released with it is never somebody else's lease. */
static void a_handle_is_nobody_elses(void)
{
    dpx_failure failure;
    dpx_space *space = open_space(&one);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE), next = ask_for("vm2", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    CHECK_EQ(take(host, &next, 0, &failure), DPX_OK);
    CHECK_EQ(dpx_host_hold_state(host, ask.handle), DPX_HOLD_UNKNOWN);
    CHECK_EQ(let_go(host, &ask), DPX_E_INVALID);
    CHECK_EQ(dpx_host_hold_state(host, next.handle), DPX_HOLD_HELD);
    CHECK_EQ(let_go(host, &next), DPX_OK);
    end_host(host, space);
}

static void shared_holders(void)
{
    dpx_failure failure;
    dpx_space *space = open_space(&one);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask first = ask_for("image", DPX_MODE_SHARED), second = first, writer = first;
    writer.mode = DPX_MODE_EXCLUSIVE;
    CHECK_EQ(take(host, &first, 0, &failure), DPX_OK);
    CHECK_EQ(take(host, &second, 0, &failure), DPX_OK);
    CHECK(first.handle != second.handle && first.token == second.token);
    CHECK_EQ(take(host, &writer, 0, &failure), DPX_E_HELD_HERE);
    CHECK_EQ(let_go(host, &first), DPX_OK);
    CHECK_EQ(dpx_host_hold(host, second.handle).state, DPX_HOLD_HELD);
    CHECK_EQ(take(host, &writer, 20 * MS, &failure), DPX_E_HELD_HERE);
    CHECK_EQ(let_go(host, &second), DPX_OK);
    CHECK_EQ(take(host, &writer, 0, &failure), DPX_OK);
    CHECK(writer.token > second.token);
    CHECK_EQ(let_go(host, &writer), DPX_OK);
    end_host(host, space);
}

/* A state (UUID, token) is good until somebody else took the lease exclusively. */
static void resuming(void)
{
    dpx_failure failure;
    dpx_space *space = open_space(&one);
    dpx_host *a = join_as(space, "alpha", 1);
    dpx_host *b = join_as(space, "beta", 2);
    dpx_ask ask = ask_for("paused", DPX_MODE_EXCLUSIVE), other = ask, again = ask, reader = ask;
    CHECK_EQ(take(a, &ask, 0, &failure), DPX_OK);
    CHECK_EQ(let_go(a, &ask), DPX_OK);
    again.resume = true;
    again.resume_lease = ask.lease;
    again.resume_token = ask.token;
    CHECK_EQ(take(b, &again, 0, &failure), DPX_OK);
    CHECK_EQ(let_go(b, &again), DPX_OK);
    CHECK_EQ(take(a, &again, 0, &failure), DPX_E_STALE); /* that one was resumed with the old state */
    CHECK_EQ(take(b, &other, 0, &failure), DPX_OK);
    CHECK_EQ(let_go(b, &other), DPX_OK);
    again.resume_token = other.token;
    again.mode = reader.mode = DPX_MODE_SHARED;
    CHECK_EQ(take(a, &reader, 0, &failure), DPX_OK); /* one of this host is in already */
    CHECK_EQ(take(a, &again, 0, &failure), DPX_OK);
    again.resume_token = ask.token;
    CHECK_EQ(take(a, &again, 0, &failure), DPX_E_STALE);
    CHECK_EQ(dpx_host_hold(a, reader.handle).state, DPX_HOLD_HELD);
    again.resume_lease.bytes[3] ^= 1;
    CHECK_EQ(take(a, &again, 0, &failure), DPX_E_STALE);
    dpx_host_destroy(a);
    end_host(b, space);
}

static void create_and_delete(void)
{
    dpx_failure failure;
    dpx_space *space = open_space(&one);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask ask = ask_for("brief", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(dpx_host_delete(host, "brief", 5, 0, &failure), DPX_E_NOT_FOUND);
    CHECK_EQ(dpx_host_create(host, "brief", 5, 0, &failure), DPX_OK);
    CHECK_EQ(dpx_host_create(host, "brief", 5, 0, &failure), DPX_E_EXISTS);
    CHECK_EQ(dpx_host_acquire(host, &ask, 1, false, 0, &failure), DPX_OK);
    dpx_uuid before = ask.lease;
    CHECK_EQ(dpx_host_delete(host, "brief", 5, 0, &failure), DPX_E_HELD_HERE);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    CHECK_EQ(dpx_host_delete(host, "brief", 5, 0, &failure), DPX_OK);
    CHECK_EQ(dpx_host_acquire(host, &ask, 1, false, 0, &failure), DPX_E_NOT_FOUND);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
    CHECK(!dpx_uuid_equal(&before, &ask.lease));
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    end_host(host, space);
}

/* Two hosts move names between areas: what one knew of a place must never be written there
 * under another name. */
static void names_that_move(void)
{
    dpx_failure failure;
    dpx_geometry geometry = geometry_for(1, 4, 4, 2 * SECOND);
    lockspace small;
    make_lockspace(&small, "small", &geometry);
    dpx_space *space = open_space(&small);
    dpx_host *a = join_as(space, "alpha", 1);
    dpx_host *b = join_as(space, "beta", 2);
    static const char *const names[] = {"n0", "n1", "n2", "n3", "n4", "n5"};
    for (unsigned i = 0; i < 60; i++) {
        dpx_ask old = ask_for(names[i % 6], DPX_MODE_EXCLUSIVE);
        dpx_ask now = ask_for(names[(i + 1 + i / 6) % 6], DPX_MODE_EXCLUSIVE);
        dpx_ask stale = old;
        if (strcmp(old.name, now.name) == 0)
            continue;
        CHECK_EQ(take(a, &old, SECOND, &failure), DPX_OK); /* a knows where it is … */
        CHECK_EQ(let_go(a, &old), DPX_OK);
        CHECK_EQ(dpx_host_delete(b, old.name, old.name_length, SECOND, &failure), DPX_OK);
        CHECK_EQ(dpx_host_create(b, now.name, now.name_length, SECOND, &failure), DPX_OK);
        CHECK_EQ(take(a, &now, SECOND, &failure), DPX_OK);
        CHECK_EQ(dpx_host_acquire(a, &stale, 1, false, 0, &failure), DPX_E_NOT_FOUND); /* … no more */
        dpx_ask thief = now;
        CHECK_EQ(take(b, &thief, 0, &failure), DPX_E_HELD);
        CHECK_EQ(let_go(a, &now), DPX_OK);
        CHECK_EQ(dpx_host_delete(a, now.name, now.name_length, SECOND, &failure), DPX_OK);
    }
    dpx_host_destroy(a);
    end_host(b, space);
}

static void full_lockspace(void)
{
    dpx_failure failure;
    dpx_geometry geometry = geometry_for(1, 4, 4, 2 * SECOND);
    lockspace small;
    make_lockspace(&small, "full", &geometry);
    dpx_space *space = open_space(&small);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask asks[4];
    static const char *const names[] = {"a", "b", "c", "d"};
    for (unsigned i = 0; i < 4; i++)
        asks[i] = ask_for(names[i], DPX_MODE_EXCLUSIVE);
    CHECK_EQ(dpx_host_acquire(host, asks, 4, true, 0, &failure), DPX_E_FULL);
    CHECK_EQ(failure.item, 3);
    CHECK_EQ(dpx_host_holds(host, NULL, 0), 0);
    CHECK_EQ(dpx_host_acquire(host, asks, 3, true, 0, &failure), DPX_OK);
    uint64_t handles[3] = {asks[0].handle, asks[1].handle, asks[2].handle};
    CHECK_EQ(dpx_host_release(host, handles, 3, SECOND, &failure), DPX_OK);
    end_host(host, space);
}

#define BATCH 300u

static void batches(void)
{
    static char names[BATCH][8];
    static dpx_ask asks[BATCH];
    static uint64_t handles[BATCH];
    dpx_failure failure;
    dpx_space *space = open_space(&one);
    dpx_host *a = join_as(space, "alpha", 1);
    dpx_host *b = join_as(space, "beta", 2);
    for (unsigned i = 0; i < BATCH; i++) {
        snprintf(names[i], sizeof names[i], "b%u", i);
        asks[i] = ask_for(names[i], i % 2 ? DPX_MODE_SHARED : DPX_MODE_EXCLUSIVE);
    }
    CHECK_EQ(dpx_host_acquire(a, asks, BATCH, true, DPX_FOREVER, &failure), DPX_OK);
    for (unsigned i = 0; i < BATCH; i++)
        handles[i] = asks[i].handle;
    dpx_ask one_of_them = ask_for("b42", DPX_MODE_SHARED);
    CHECK_EQ(take(b, &one_of_them, 0, &failure), DPX_E_HELD);
    CHECK(strcmp(failure.host_name, "alpha") == 0 && strcmp(failure.flag.label, "test") == 0);
    CHECK_EQ(dpx_host_release(a, handles, BATCH, 5 * SECOND, &failure), DPX_OK);
    CHECK_EQ(take(b, &one_of_them, 0, &failure), DPX_OK);
    CHECK_EQ(dpx_host_acquire(a, asks, BATCH, true, 0, &failure), DPX_E_HELD); /* all or none */
    CHECK_EQ(failure.item, 42);
    CHECK_EQ(dpx_host_holds(a, NULL, 0), 0);
    CHECK_EQ(let_go(b, &one_of_them), DPX_OK);
    CHECK_EQ(dpx_host_acquire(b, asks, BATCH, false, 0, &failure), DPX_OK);
    for (unsigned i = 0; i < BATCH; i++)
        handles[i] = asks[i].handle;
    CHECK_EQ(dpx_host_release(b, handles, BATCH, 5 * SECOND, &failure), DPX_OK);
    asks[7] = asks[3];
    CHECK_EQ(dpx_host_acquire(a, asks, 10, true, 0, &failure), DPX_E_INVALID);
    dpx_host_destroy(a);
    end_host(b, space);
}

static void bad_arguments(void)
{
    char long_name[DPX_LEASE_NAME_MAX + 2];
    const char *const names[] = {"", "line\nfeed", "\xff\xfe", DPX_DIRECTORY_NAME, long_name};
    dpx_failure failure;
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    dpx_space *space = open_space(&one);
    dpx_host *host = join_as(space, "alpha", 1);
    for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++) {
        dpx_ask ask = ask_for(names[i], DPX_MODE_EXCLUSIVE);
        CHECK_EQ(take(host, &ask, 0, &failure), DPX_E_INVALID);
        CHECK_EQ(dpx_host_create(host, ask.name, ask.name_length, 0, &failure), DPX_E_INVALID);
        CHECK_EQ(dpx_host_delete(host, ask.name, ask.name_length, 0, &failure), DPX_E_INVALID);
    }
    dpx_ask ask = ask_for("fine", DPX_MODE_NONE);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_E_INVALID);
    ask = (dpx_ask){.name = "nul\0nul", .name_length = 7, .mode = DPX_MODE_SHARED};
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_E_INVALID);
    CHECK_EQ(dpx_host_acquire(host, &ask, 0, true, 0, &failure), DPX_E_INVALID);
    CHECK_EQ(dpx_host_retire(host, 9999, 0, &failure), DPX_E_INVALID);
    CHECK_EQ(dpx_host_rewrite(host, 99999, 0, &failure), DPX_E_INVALID);
    CHECK_EQ(dpx_host_resolve(host, 99999, 0, &failure), DPX_E_INVALID);
    end_host(host, space);
}

/* ---- waiting within the host ---- */

typedef struct waiting_thread {
    pthread_t id;
    dpx_host *host;
    enum dpx_mode mode;
    dpx_status status;
    unsigned place;
} waiting_thread;

static atomic_uint arrivals;

static void *wait_for_it(void *argument)
{
    waiting_thread *thread = argument;
    dpx_ask ask = ask_for("queue", thread->mode);
    dpx_failure failure;
    thread->status = take(thread->host, &ask, 5 * SECOND, &failure);
    thread->place = atomic_fetch_add(&arrivals, 1);
    if (thread->status == DPX_OK) {
        usleep(5000);
        let_go(thread->host, &ask);
    }
    return NULL;
}

static void first_come_first_served(void)
{
    enum { THREADS = 8 };
    dpx_failure failure;
    waiting_thread threads[THREADS];
    dpx_space *space = open_space(&one);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask ask = ask_for("queue", DPX_MODE_EXCLUSIVE);
    arrivals = 0;
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        threads[i] = (waiting_thread){.host = host, .mode = DPX_MODE_EXCLUSIVE};
        pthread_create(&threads[i].id, NULL, wait_for_it, &threads[i]);
        usleep(20000);
    }
    CHECK_EQ(arrivals, 0);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i].id, NULL);
        CHECK_EQ(threads[i].status, DPX_OK);
        CHECK_EQ(threads[i].place, i);
    }
    end_host(host, space);
}

/* Who tries once is not kept by somebody of this host who waits for a holder elsewhere. */
static void trying_once_past_a_waiter(void)
{
    dpx_failure failure;
    dpx_space *space = open_space(&one);
    dpx_host *a = join_as(space, "alpha", 1);
    dpx_host *b = join_as(space, "beta", 2);
    for (unsigned round = 0; round < 2; round++) {
        dpx_ask far = ask_for("queue", DPX_MODE_EXCLUSIVE), near = far;
        waiting_thread thread = {.host = b, .mode = round ? DPX_MODE_SHARED : DPX_MODE_EXCLUSIVE};
        near.mode = thread.mode;
        CHECK_EQ(take(a, &far, 0, &failure), DPX_OK);
        pthread_create(&thread.id, NULL, wait_for_it, &thread);
        usleep(50000);
        uint64_t start = dpx_now();
        CHECK_EQ(take(b, &near, 0, &failure), DPX_E_HELD);
        CHECK(strcmp(failure.host_name, "alpha") == 0);
        CHECK(dpx_now() - start < 50 * MS);
        CHECK_EQ(let_go(a, &far), DPX_OK);
        pthread_join(thread.id, NULL);
        CHECK_EQ(thread.status, DPX_OK);
    }
    dpx_host_destroy(a);
    end_host(b, space);
}

/* Many threads, few leases, every mode: whoever holds exclusively is alone. */
enum { HAMMERS = 6, TARGETS = 3, BLOWS = 40 };
static atomic_int inside[TARGETS];
static atomic_uint intrusions, surprises;

static void *hammer(void *argument)
{
    static const char *const names[TARGETS] = {"h0", "h1", "h2"};
    waiting_thread *thread = argument;
    for (unsigned i = 0; i < BLOWS; i++) {
        unsigned target = (i * 7 + thread->place) % TARGETS;
        bool shared = (i + thread->place) % 3 == 0;
        dpx_ask ask = ask_for(names[target], shared ? DPX_MODE_SHARED : DPX_MODE_EXCLUSIVE);
        dpx_failure failure;
        dpx_status status = take(thread->host, &ask, i % 5 ? 5 * SECOND : 0, &failure);
        if (status != DPX_OK) {
            bool refused = status == DPX_E_HELD || status == DPX_E_HELD_HERE || status == DPX_E_TIMEOUT;
            surprises += !refused;
            continue;
        }
        int before = atomic_fetch_add(&inside[target], shared ? 1 : 1000);
        intrusions += shared ? before >= 1000 : before != 0;
        if (i % 4 == 0)
            usleep(300);
        atomic_fetch_sub(&inside[target], shared ? 1 : 1000);
        surprises += let_go(thread->host, &ask) != DPX_OK;
    }
    return NULL;
}

static void many_threads_two_hosts(void)
{
    waiting_thread threads[HAMMERS];
    dpx_space *space = open_space(&one);
    dpx_host *hosts[2] = {join_as(space, "alpha", 1), join_as(space, "beta", 2)};
    for (unsigned i = 0; i < HAMMERS; i++) {
        threads[i] = (waiting_thread){.host = hosts[i % 2], .place = i};
        pthread_create(&threads[i].id, NULL, hammer, &threads[i]);
    }
    for (unsigned i = 0; i < HAMMERS; i++)
        pthread_join(threads[i].id, NULL);
    CHECK_EQ(intrusions, 0);
    CHECK_EQ(surprises, 0);
    for (unsigned i = 0; i < 2; i++) {
        dpx_failure failure;
        CHECK_EQ(dpx_host_leave(hosts[i], 5 * SECOND, &failure), DPX_OK);
        dpx_host_destroy(hosts[i]);
    }
    dpx_space_close(space);
}

/* ---- forks ---- */

static void forked_child(void)
{
    dpx_failure failure;
    dpx_space *space = open_space(&one);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask ask = ask_for("fork", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
    pid_t child = fork();
    if (child == 0) {
        bool good = dpx_host_release(host, &ask.handle, 1, 0, &failure) == DPX_E_FORKED &&
                    take(host, &ask, 0, &failure) == DPX_E_FORKED &&
                    dpx_host_leave(host, 0, &failure) == DPX_E_FORKED &&
                    dpx_host_hold(host, ask.handle).state == DPX_HOLD_UNKNOWN &&
                    dpx_host_hold_state(host, ask.handle) == DPX_HOLD_UNKNOWN && dpx_host_holds(host, NULL, 0) == 0 &&
                    dpx_host_state(host).remaining == 0;
        dpx_host_destroy(host);
        _exit(good ? 0 : 1);
    }
    int status = -1;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK_EQ(dpx_host_hold(host, ask.handle).state, DPX_HOLD_HELD);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    end_host(host, space);
}

int main(int count, char **arguments)
{
    if (!prepare_hosts(count, arguments, "test_host"))
        return 0;
    dpx_geometry geometry = geometry_for(1, 64, 1024, 4 * SECOND);
    make_lockspace(&one, "one", &geometry);
    RUN(take_and_release);
    RUN(a_handle_is_nobody_elses);
    RUN(shared_holders);
    RUN(resuming);
    RUN(create_and_delete);
    RUN(names_that_move);
    RUN(full_lockspace);
    RUN(batches);
    RUN(bad_arguments);
    RUN(first_come_first_served);
    RUN(trying_once_past_a_waiter);
    RUN(many_threads_two_hosts);
    RUN(forked_child);
    return check_finish("test_host");
}
