/* The host room in a storm: processes that hammer a few leases while they are killed and
 * stopped at random, for shorter and for longer than their lifetime.
 *
 *   test_storm [DIR [SECONDS]] */
#include "board.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { LIFE_MS = 500 };

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
    judge_board();
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
    make_board();
    check_now.test = "storm";
    storm(1, seconds);
    storm(3, seconds);
    return check_finish("test_storm");
}
