/* Batches that share what another holder of their host has: nothing is kept up while something is waited for. */
#include "hosts.h"

#include <pthread.h>

static lockspace one;
static dpx_host *here, *there;

typedef struct batch {
    pthread_t id;
    dpx_ask asks[2];
    uint64_t patience;
    dpx_status status;
} batch;

static void *take_both(void *argument)
{
    batch *wanted = argument;
    dpx_failure failure;
    wanted->status = dpx_host_acquire(here, wanted->asks, 2, true, wanted->patience, &failure);
    return NULL;
}

static void begin_batch(batch *wanted, const char *shared, const char *other, uint64_t patience)
{
    *wanted = (batch){.asks = {ask_for(shared, DPX_MODE_SHARED), ask_for(other, DPX_MODE_EXCLUSIVE)},
                      .patience = patience,
                      .status = DPX_E_TIMEOUT};
}

static void end_batch(batch *wanted, dpx_status expected)
{
    dpx_failure failure;
    pthread_join(wanted->id, NULL);
    CHECK_EQ(wanted->status, expected);
    if (wanted->status != DPX_OK)
        return;
    uint64_t handles[2] = {wanted->asks[0].handle, wanted->asks[1].handle};
    CHECK_EQ(dpx_host_hold_state(here, handles[0]), DPX_HOLD_HELD);
    CHECK_EQ(dpx_host_hold_state(here, handles[1]), DPX_HOLD_HELD);
    CHECK_EQ(dpx_host_release(here, handles, 2, 5 * SECOND, &failure), DPX_OK);
}

/* Here one thread holds S, and a batch of S and Y waits for Y.  Who holds Y there waits for S. */
static void waiting_with_a_share(void)
{
    dpx_failure failure;
    dpx_ask s = ask_for("S", DPX_MODE_SHARED), y = ask_for("Y", DPX_MODE_EXCLUSIVE);
    dpx_ask alone = ask_for("S", DPX_MODE_EXCLUSIVE);
    batch wanted;
    begin_batch(&wanted, "S", "Y", 3 * SECOND);
    CHECK_EQ(take(here, &s, 0, &failure), DPX_OK);
    CHECK_EQ(take(there, &y, 0, &failure), DPX_OK);
    pthread_create(&wanted.id, NULL, take_both, &wanted);
    usleep(100000);
    CHECK_EQ(let_go(here, &s), DPX_OK);
    CHECK_EQ(take(there, &alone, 2 * SECOND, &failure), DPX_OK);
    CHECK_EQ(let_go(there, &y), DPX_OK); /* the batch takes Y, finds S gone, and lets go of Y again */
    usleep(100000);
    CHECK_EQ(take(there, &y, 2 * SECOND, &failure), DPX_OK);
    CHECK_EQ(let_go(there, &y), DPX_OK);
    CHECK_EQ(let_go(there, &alone), DPX_OK);
    end_batch(&wanted, DPX_OK);
}

/* The same with a state to resume: the share is part of the batch's rounds then. */
static void waiting_with_a_resumed_share(void)
{
    dpx_failure failure;
    dpx_ask s = ask_for("S", DPX_MODE_SHARED), y = ask_for("Y", DPX_MODE_EXCLUSIVE);
    dpx_ask alone = ask_for("S", DPX_MODE_EXCLUSIVE);
    batch wanted;
    begin_batch(&wanted, "S", "Y", 20 * SECOND);
    CHECK_EQ(take(here, &s, 0, &failure), DPX_OK);
    CHECK_EQ(take(there, &y, 0, &failure), DPX_OK);
    wanted.asks[0].resume = true;
    wanted.asks[0].resume_lease = s.lease;
    wanted.asks[0].resume_token = s.token;
    pthread_create(&wanted.id, NULL, take_both, &wanted);
    usleep(100000);
    CHECK_EQ(let_go(here, &s), DPX_OK);
    CHECK_EQ(take(there, &alone, 5 * SECOND, &failure), DPX_OK);
    CHECK_EQ(let_go(there, &alone), DPX_OK);
    CHECK_EQ(let_go(there, &y), DPX_OK);
    end_batch(&wanted, DPX_E_STALE); /* taken exclusively since */
}

/* The share stays: the batch joins it once it has the rest. */
static void joining_in_the_end(void)
{
    dpx_failure failure;
    dpx_ask s = ask_for("S", DPX_MODE_SHARED), y = ask_for("Y", DPX_MODE_EXCLUSIVE);
    batch wanted;
    begin_batch(&wanted, "S", "Y", 20 * SECOND);
    CHECK_EQ(take(here, &s, 0, &failure), DPX_OK);
    CHECK_EQ(take(there, &y, 0, &failure), DPX_OK);
    pthread_create(&wanted.id, NULL, take_both, &wanted);
    usleep(100000);
    CHECK_EQ(let_go(there, &y), DPX_OK);
    end_batch(&wanted, DPX_OK);
    CHECK_EQ(dpx_host_hold_state(here, s.handle), DPX_HOLD_HELD);
    CHECK_EQ(let_go(here, &s), DPX_OK);
}

/* Who shared it has it alone by the time that the batch has the rest: the batch waits for it, too. */
static void joining_what_is_no_share_any_more(void)
{
    dpx_failure failure;
    dpx_ask s = ask_for("S", DPX_MODE_SHARED), y = ask_for("Y", DPX_MODE_EXCLUSIVE);
    dpx_ask alone = ask_for("S", DPX_MODE_EXCLUSIVE);
    batch wanted;
    begin_batch(&wanted, "S", "Y", 20 * SECOND);
    CHECK_EQ(take(here, &s, 0, &failure), DPX_OK);
    CHECK_EQ(take(there, &y, 0, &failure), DPX_OK);
    pthread_create(&wanted.id, NULL, take_both, &wanted);
    usleep(100000);
    CHECK_EQ(let_go(here, &s), DPX_OK);
    CHECK_EQ(take(here, &alone, 5 * SECOND, &failure), DPX_OK);
    CHECK_EQ(let_go(there, &y), DPX_OK);
    usleep(200000);
    CHECK_EQ(wanted.status, DPX_E_TIMEOUT); /* it still waits */
    CHECK_EQ(dpx_host_holds(here, NULL, 0), 1);
    CHECK_EQ(dpx_host_hold_state(here, alone.handle), DPX_HOLD_HELD);
    CHECK_EQ(let_go(here, &alone), DPX_OK);
    end_batch(&wanted, DPX_OK);
}

/* A deletion waits for a holder elsewhere: other changes of this host need not wait for it. */
static void *delete_it(void *argument)
{
    dpx_failure failure;
    *(dpx_status *)argument = dpx_host_delete(here, "Y", 1, 20 * SECOND, &failure);
    return NULL;
}

static void a_deletion_that_waits_keeps_nobody(void)
{
    dpx_failure failure;
    pthread_t thread;
    dpx_status deleted = DPX_E_TIMEOUT;
    dpx_ask y = ask_for("Y", DPX_MODE_EXCLUSIVE), fresh = ask_for("new", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(there, &y, 0, &failure), DPX_OK);
    pthread_create(&thread, NULL, delete_it, &deleted);
    usleep(300000);
    CHECK_EQ(take(here, &fresh, 5 * SECOND, &failure), DPX_OK); /* it is to be created */
    CHECK_EQ(let_go(here, &fresh), DPX_OK);
    CHECK_EQ(let_go(there, &y), DPX_OK);
    pthread_join(thread, NULL);
    CHECK_EQ(deleted, DPX_OK);
}

/* Sharers come and go while batches of this host join them; whoever holds exclusively is alone. */
enum { THREADS = 4, TURNS = 40 };
static atomic_int sharers, owners, intrusions, surprises;

static void *come_and_go(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < TURNS; i++) {
        dpx_ask s = ask_for("S", DPX_MODE_SHARED);
        dpx_failure failure;
        if (take(here, &s, 5 * SECOND, &failure) != DPX_OK) {
            surprises++;
            continue;
        }
        sharers++;
        intrusions += atomic_load(&owners) > 0;
        usleep(500);
        sharers--;
        surprises += let_go(here, &s) != DPX_OK;
    }
    return NULL;
}

static void *take_turns(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < TURNS; i++) {
        batch wanted;
        dpx_failure failure;
        begin_batch(&wanted, "S", "Y", 5 * SECOND);
        take_both(&wanted);
        surprises += wanted.status != DPX_OK;
        if (wanted.status != DPX_OK)
            continue;
        sharers++;
        intrusions += atomic_load(&owners) > 0;
        uint64_t handles[2] = {wanted.asks[0].handle, wanted.asks[1].handle};
        intrusions += dpx_host_hold_state(here, handles[0]) != DPX_HOLD_HELD;
        sharers--;
        surprises += dpx_host_release(here, handles, 2, 5 * SECOND, &failure) != DPX_OK;
    }
    return NULL;
}

static void *take_alone(void *argument)
{
    (void)argument;
    for (unsigned i = 0; i < TURNS; i++) {
        dpx_ask asks[2] = {ask_for("Y", DPX_MODE_EXCLUSIVE), ask_for("S", DPX_MODE_EXCLUSIVE)};
        dpx_failure failure;
        if (dpx_host_acquire(there, asks, 2, true, 10 * SECOND, &failure) != DPX_OK) {
            surprises++;
            continue;
        }
        owners++;
        intrusions += atomic_load(&sharers) > 0;
        owners--;
        uint64_t handles[2] = {asks[0].handle, asks[1].handle};
        surprises += dpx_host_release(there, handles, 2, 5 * SECOND, &failure) != DPX_OK;
    }
    return NULL;
}

static void batches_among_sharers(void)
{
    static void *(*const mains[THREADS])(void *) = {come_and_go, come_and_go, take_turns, take_alone};
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, mains[i], NULL);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    CHECK_EQ(intrusions, 0);
    CHECK_EQ(surprises, 0);
}

int main(int count, char **arguments)
{
    if (!prepare_hosts(count, arguments, "test_batches"))
        return 0;
    dpx_geometry geometry = geometry_for(1, 4, 16, 2 * SECOND);
    make_lockspace(&one, "one", &geometry);
    dpx_space *spaces[2] = {open_space(&one), open_space(&one)};
    here = join_as(spaces[0], "alpha", 1);
    there = join_as(spaces[1], "beta", 2);
    RUN(waiting_with_a_share);
    RUN(waiting_with_a_resumed_share);
    RUN(joining_in_the_end);
    RUN(joining_what_is_no_share_any_more);
    RUN(a_deletion_that_waits_keeps_nobody);
    RUN(batches_among_sharers);
    end_host(here, spaces[0]);
    end_host(there, spaces[1]);
    return check_finish("test_batches");
}
