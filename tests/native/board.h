/* Workers that hammer a few leases and watch each other: shared by the storm (processes that
 * are killed and stopped) and the faults (disks that fail).
 *
 * Every holder notes in shared memory until when it may believe to hold (its lifetime), and
 * lets go there before it lets go on the disk.  Then: nobody takes a lease while another
 * one's note is still good; exclusive tokens only grow; who comes late with a low token has
 * lost its lease and can know it. */
#ifndef DPX_TEST_BOARD_H
#define DPX_TEST_BOARD_H

#include "hosts.h"

#include <pthread.h>
#include <sys/mman.h>

enum { PROCESSES = 5, THREADS = 2, LEASES = 3 };

struct cell {
    _Atomic uint64_t until;   /* of the exclusive holder; 0: let go */
    _Atomic uint64_t token;
    _Atomic uint64_t highest; /* token seen */
    _Atomic uint64_t shared[PROCESSES][THREADS];
    atomic_uint taken;
};

static struct board {
    struct cell cells[LEASES];
    atomic_uint intrusions; /* taken while somebody else could believe to hold */
    atomic_uint backwards;  /* a lower token than before, believed */
    atomic_uint late;       /* … and bounced: fine */
    atomic_uint surprises;
    atomic_uint failures;   /* the storage was to blame */
    atomic_uint timeouts;
    atomic_int last_error;
    atomic_uint lowering;
    atomic_uint lives;
    atomic_uint joins;
} *board;

struct worker {
    pthread_t id;
    dpx_host *host;
    unsigned process;
    unsigned thread;
    uint64_t random;
    atomic_bool *stop;      /* NULL: only the host's end ends it */
};

static inline uint64_t roll(struct worker *worker)
{
    worker->random = worker->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return worker->random >> 33;
}

static inline bool others_hold(const struct worker *me, const struct cell *cell, bool exclusive)
{
    uint64_t now = dpx_now();
    if (cell->until > now)
        return true;
    for (unsigned p = 0; exclusive && p < PROCESSES; p++)
        for (unsigned t = 0; t < THREADS; t++)
            if (cell->shared[p][t] > now && !(p == me->process && t == me->thread))
                return true;
    return false;
}

static inline bool believes(struct worker *me, uint64_t handle)
{
    return dpx_host_hold(me->host, handle).state == DPX_HOLD_HELD;
}

/* Holds for a moment; the note is renewed as the lifetime grows. */
static inline void work(struct worker *me, struct cell *cell, const dpx_ask *ask)
{
    bool exclusive = ask->mode == DPX_MODE_EXCLUSIVE;
    _Atomic uint64_t *note = exclusive ? &cell->until : &cell->shared[me->process][me->thread];
    bool intrudes = others_hold(me, cell, exclusive);
    if (intrudes && believes(me, ask->handle))
        board->intrusions++;
    if (exclusive) {
        uint64_t highest = cell->highest;
        while (highest < ask->token && !atomic_compare_exchange_weak(&cell->highest, &highest, ask->token))
            continue;
        if (highest > ask->token) {
            if (believes(me, ask->handle))
                board->backwards++;
            board->late++;
            return;
        }
        cell->token = ask->token;
    }
    uint64_t lifetime = dpx_host_state(me->host).lifetime_end;
    if (!believes(me, ask->handle))
        return;
    *note = lifetime;
    cell->taken++;
    if (roll(me) % 3 == 0)
        usleep((useconds_t)(roll(me) % 20000));
    uint64_t mine = ask->token;
    if (!exclusive || atomic_compare_exchange_strong(&cell->token, &mine, 0))
        *note = 0;
}

static inline void *work_on(void *argument)
{
    static const char *const names[LEASES] = {"l0", "l1", "l2"};
    struct worker *me = argument;
    while (dpx_host_state(me->host).end == DPX_ALIVE && !(me->stop && *me->stop)) {
        unsigned n = (unsigned)(roll(me) % LEASES);
        dpx_ask ask = ask_for(names[n], roll(me) % 4 ? DPX_MODE_EXCLUSIVE : DPX_MODE_SHARED);
        dpx_failure failure;
        dpx_status status = take(me->host, &ask, roll(me) % 4 ? 100 * MS : 0, &failure);
        if (status == DPX_OK) {
            work(me, &board->cells[n], &ask);
            status = dpx_host_release(me->host, &ask.handle, 1, 5 * SECOND, &failure);
        }
        bool lowering = status == DPX_E_STORAGE && failure.lowering; /* of somebody else's attempt */
        board->lowering += lowering;
        board->failures += status == DPX_E_STORAGE && !lowering;
        if (status == DPX_E_STORAGE && !lowering)
            board->last_error = failure.error;
        board->timeouts += status == DPX_E_TIMEOUT;
        bool expected = status == DPX_OK || status == DPX_E_HELD || status == DPX_E_HELD_HERE ||
                        status == DPX_E_TIMEOUT || status == DPX_E_FINISHED || status == DPX_E_STORAGE ||
                        status == DPX_E_UNDRAINED;
        if (!expected) {
            fprintf(stderr, "  surprise: %s; disk %u block %" PRIu64 " flaw %s errno %d\n",
                    dpx_status_text(status), failure.disk, failure.block, dpx_flaw_text(failure.flaw),
                    failure.error);
            board->surprises++;
        }
    }
    return NULL;
}

static inline void make_board(void)
{
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static inline void judge_board(void)
{
    CHECK_EQ(board->intrusions, 0);
    CHECK_EQ(board->backwards, 0);
    CHECK_EQ(board->surprises, 0);
}

#endif
