/* The host room in a storm: processes that hammer a few leases while they are killed and
 * stopped at random, for shorter and for longer than their lifetime.
 *
 *   test_storm [DIR [SECONDS]]
 *
 * Every holder notes in shared memory until when it may believe to hold (its lifetime), and
 * lets go there before it lets go on the disk.  Then: nobody takes a lease while another
 * one's note is still good; exclusive tokens only grow; who comes late with a low token has
 * lost its lease and can know it. */
#include "hosts.h"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { PROCESSES = 5, THREADS = 2, LEASES = 3, LIFE_MS = 500 };

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
    atomic_uint lives;
    atomic_uint joins;
} *board;

struct worker {
    pthread_t id;
    dpx_host *host;
    unsigned process;
    unsigned thread;
    uint64_t random;
};

static uint64_t roll(struct worker *worker)
{
    worker->random = worker->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return worker->random >> 33;
}

static bool others_hold(const struct worker *me, const struct cell *cell, bool exclusive)
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

static bool believes(struct worker *me, uint64_t handle)
{
    return dpx_host_hold(me->host, handle).state == DPX_HOLD_HELD;
}

/* Holds for a moment; the note is renewed as the lifetime grows. */
static void work(struct worker *me, struct cell *cell, const dpx_ask *ask)
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

static void *work_on(void *argument)
{
    static const char *const names[LEASES] = {"l0", "l1", "l2"};
    struct worker *me = argument;
    while (dpx_host_state(me->host).end == DPX_ALIVE) {
        unsigned n = (unsigned)(roll(me) % LEASES);
        dpx_ask ask = ask_for(names[n], roll(me) % 4 ? DPX_MODE_EXCLUSIVE : DPX_MODE_SHARED);
        dpx_failure failure;
        dpx_status status = take(me->host, &ask, roll(me) % 4 ? 100 * MS : 0, &failure);
        if (status == DPX_OK) {
            work(me, &board->cells[n], &ask);
            status = let_go(me->host, &ask);
        }
        bool expected = status == DPX_OK || status == DPX_E_HELD || status == DPX_E_HELD_HERE ||
                        status == DPX_E_TIMEOUT || status == DPX_E_FINISHED || status == DPX_E_STORAGE ||
                        status == DPX_E_UNDRAINED;
        if (!expected) {
            fprintf(stderr, "  surprise: %s\n", dpx_status_text(status));
            board->surprises++;
        }
    }
    return NULL;
}

/* One life after the other, until it is killed. */
static void live(const lockspace *made, unsigned process)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (uint64_t life = 0;; life++) {
        dpx_join_options options = options_of("storm", 1);
        dpx_failure failure;
        dpx_space *space = open_space(made);
        dpx_host *host;
        struct worker workers[THREADS];
        board->lives++;
        if (dpx_host_join(space, &options, 2 * SECOND, &host, &failure) == DPX_OK) {
            board->joins++;
            for (unsigned t = 0; t < THREADS; t++) {
                workers[t] = (struct worker){.host = host, .process = process, .thread = t};
                workers[t].random = dpx_now() * 31 + process * 7 + t;
                pthread_create(&workers[t].id, NULL, work_on, &workers[t]);
            }
            for (unsigned t = 0; t < THREADS; t++)
                pthread_join(workers[t].id, NULL);
            dpx_host_destroy(host);
        }
        dpx_space_close(space);
    }
}

static pid_t start(const lockspace *made, unsigned process)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        live(made, process);
        _exit(0);
    }
    return pid;
}

static void storm(uint32_t disks, uint64_t seconds)
{
    static unsigned number;
    char name[32];
    lockspace made;
    pid_t children[PROCESSES];
    dpx_geometry geometry = geometry_for(disks, 24, 16, LIFE_MS * MS);
    snprintf(name, sizeof name, "storm%u", number++);
    make_lockspace(&made, name, &geometry);
    memset(board, 0, sizeof *board);
    for (unsigned p = 0; p < PROCESSES; p++)
        children[p] = start(&made, p);
    uint64_t end = dpx_now() + seconds * SECOND;
    unsigned seed = (unsigned)end;
    while (dpx_now() < end) {
        unsigned victim = (unsigned)rand_r(&seed) % PROCESSES;
        usleep(100000 + (useconds_t)rand_r(&seed) % 300000);
        if (rand_r(&seed) % 3 == 0) {
            kill(children[victim], SIGKILL);
            waitpid(children[victim], NULL, 0);
            children[victim] = start(&made, victim);
        } else {
            kill(children[victim], SIGSTOP);
            usleep((useconds_t)rand_r(&seed) % (rand_r(&seed) % 2 ? 200000 : 1500000));
            kill(children[victim], SIGCONT);
        }
    }
    for (unsigned p = 0; p < PROCESSES; p++) {
        kill(children[p], SIGKILL);
        waitpid(children[p], NULL, 0);
    }
    CHECK_EQ(board->intrusions, 0);
    CHECK_EQ(board->backwards, 0);
    CHECK_EQ(board->surprises, 0);
    printf("  %u disk(s): %u lives, %u joined, taken", disks, board->lives, board->joins);
    for (unsigned n = 0; n < LEASES; n++) {
        printf(" %u", board->cells[n].taken);
        CHECK(board->cells[n].taken > seconds);
    }
    printf(", %u late\n", board->late);
}

int main(int count, char **arguments)
{
    if (!prepare_hosts(count, arguments, "test_storm"))
        return 0;
    uint64_t seconds = count > 2 ? strtoull(arguments[2], NULL, 10) : 5;
    board = mmap(NULL, sizeof *board, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    check_now.test = "storm";
    storm(1, seconds);
    storm(3, seconds);
    return check_finish("test_storm");
}
