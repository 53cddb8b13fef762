/* One process and its memberships: those that ended cost no slot, whatever the process does next; and other
 * processes, seen from other namespaces, are never called gone while they live. */
#define _GNU_SOURCE
#include "hosts.h"

#include "host/engine.h"

#include <pthread.h>
#include <sched.h>
#include <sys/wait.h>

#define LIFE (600 * MS)

static lockspace few;

static bool joins(dpx_space *space, dpx_host **host)
{
    dpx_join_options options = options_of("again", 1);
    dpx_failure failure;
    dpx_status status = dpx_host_join(space, &options, 20 * SECOND, host, &failure);
    CHECK_EQ(status, DPX_OK);
    return status == DPX_OK;
}

static uint32_t taken_slots(dpx_host *host)
{
    dpx_peer_info peers[8];
    uint32_t count = dpx_host_peers(host, peers, 8), taken = 0;
    for (uint32_t slot = 0; slot < count; slot++)
        taken += peers[slot].self || (peers[slot].record.joined_at != 0 && peers[slot].record.state != DPX_SLOT_FREE);
    return taken;
}

/* More memberships than there are slots, each of which is closed without leaving. */
static void ended_memberships_cost_no_slot(void)
{
    dpx_space *space = open_space(&few);
    dpx_host *host = NULL;
    for (unsigned i = 0; i < 6; i++) {
        if (!joins(space, &host))
            return;
        dpx_uuid nonce = dpx_host_state(host).who.nonce;
        CHECK(dpx_writer_lives(&nonce));
        dpx_host_destroy(host);
        CHECK(!dpx_writer_lives(&nonce));
    }
    /* The next one finds those that were left behind dead, and frees them. */
    dpx_event event;
    CHECK(joins(space, &host) && await_event(host, DPX_EVENT_RECLAIMED, 20 * SECOND, &event));
    uint64_t deadline = dpx_now() + 20 * SECOND;
    while (taken_slots(host) > 1 && dpx_now() < deadline)
        usleep(20000);
    CHECK_EQ(taken_slots(host), 1);
    end_host(host, space);
}

/* A handle says that somebody may still act on what the life that is over covered. */
static void a_membership_rests_when_its_handles_are_gone(void)
{
    dpx_failure failure;
    dpx_event event;
    uint8_t data[512];
    dpx_space *space = open_space(&few);
    dpx_host *host = NULL;
    CHECK(joins(space, &host));
    dpx_ask ask = ask_for("vm", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
    dpx_incarnation who = dpx_host_state(host).who;
    /* Somebody else's record is in its slot. */
    off_t at = (off_t)(dpx_slot_block(&few.geometry, who.slot) * 512);
    int fd = open(few.paths[0], O_RDWR | O_CLOEXEC);
    dpx_slot_record record = {.who = who, .state = DPX_SLOT_FREE, .sequence = 1};
    record.who.generation++;
    dpx_slot_encode(data, &few.geometry, 0, &record);
    while (dpx_host_state(host).end == DPX_ALIVE) {
        if (pwrite(fd, data, sizeof data, at) != (ssize_t)sizeof data)
            break;
        usleep(200);
    }
    close(fd);
    CHECK(await_event(host, DPX_EVENT_FINISHED, SECOND, &event));
    usleep(200000); /* all I/O has returned */
    CHECK(dpx_writer_lives(&who.nonce));
    CHECK_EQ(dpx_host_release(host, &ask.handle, 1, 0, &failure), DPX_E_FINISHED);
    CHECK(!dpx_writer_lives(&who.nonce));
    dpx_host_destroy(host);
    dpx_space_close(space);
}

/* What runs under its pid here, or does not, says nothing about a process of another machine. */
static void another_machines_process_is_not_known_to_be_gone(void)
{
    dpx_peer_info peers[8];
    dpx_space *space = open_space(&few);
    dpx_host *host = join_as(space, "here", 1), *there = join_as(space, "there", 7);
    dpx_incarnation who = dpx_host_state(there).who;
    dpx_host_destroy(there);
    uint64_t deadline = dpx_now() + 20 * SECOND;
    do {
        usleep(20000);
        dpx_host_peers(host, peers, 8);
    } while (peers[who.slot].until_silent > 0 && dpx_now() < deadline);
    usleep((useconds_t)(LIFE / 1000));
    dpx_host_peers(host, peers, 8);
    CHECK(peers[who.slot].record.who.generation == who.generation && !peers[who.slot].free);
    CHECK_EQ(peers[who.slot].drain, DPX_NOT_DRAINED);
    end_host(host, space);
}

static int in_child(int (*work)(void))
{
    int status = -1;
    pid_t child = fork();
    if (child == 0)
        _exit(work());
    CHECK_EQ(waitpid(child, &status, 0), child);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static dpx_writer parents;

static int inherits_nothing(void)
{
    return dpx_writer_lives(&parents.nonce) ? 1 : 0;
}

static void a_child_is_another_process(void)
{
    dpx_uuid nonce = {.bytes = {1, 2, 3, 4, 5, 6}}, attempt = {.bytes = {9, 9, 9, 9, 5, 6}};
    dpx_writer_enter(&parents, &nonce);
    CHECK(dpx_writer_lives(&attempt)); /* another attempt of the same claim */
    CHECK_EQ(in_child(inherits_nothing), 0);
    dpx_writer_leave(&parents);
    CHECK(!dpx_writer_lives(&nonce));
}

/* ---- exec: the same pid and start time, but none of its writes can come any more ---- */

static const char *program;

static int join_and_exec(void)
{
    dpx_space *space = open_space(&few);
    dpx_host *host = join_as(space, "before", 1);
    char slot[16];
    snprintf(slot, sizeof slot, "%u", dpx_host_state(host).who.slot);
    execl(program, program, "joins-again", few.paths[0], slot, (char *)NULL);
    return 3;
}

/* After the exec: the slot of the program before is the only one that can become free. */
static int joined_again(const char *path, const char *slot)
{
    dpx_space *space = NULL;
    dpx_host *host = NULL;
    dpx_failure failure;
    if (dpx_space_open(&path, 1, false, 5 * SECOND, &space, &failure) != DPX_OK)
        return 4;
    dpx_join_options options = options_of("after", 1);
    if (dpx_host_join(space, &options, 20 * SECOND, &host, &failure) != DPX_OK)
        return 5;
    bool same = dpx_host_state(host).who.slot == (uint32_t)strtoul(slot, NULL, 10);
    bool left = dpx_host_leave(host, 5 * SECOND, &failure) == DPX_OK;
    dpx_host_destroy(host);
    dpx_space_close(space);
    return same && left ? 0 : 6;
}

static void a_slot_from_before_an_exec(void)
{
    dpx_space *space = open_space(&few);
    dpx_host *others[3];
    for (unsigned i = 0; i < 3; i++)
        others[i] = join_as(space, "other", 2);
    CHECK_EQ(in_child(join_and_exec), 0);
    for (unsigned i = 0; i < 3; i++) {
        dpx_failure failure;
        CHECK_EQ(dpx_host_leave(others[i], 5 * SECOND, &failure), DPX_OK);
        dpx_host_destroy(others[i]);
    }
    dpx_space_close(space);
}

/* ---- other processes ---- */

struct told {
    pid_t pid;
    uint64_t start_time;
};

/* A process that tells who it is, and lives until the pipe is closed. */
static pid_t start_other(int flags, struct told *told, int *stop)
{
    int tell[2], end[2];
    CHECK(pipe(tell) == 0 && pipe(end) == 0);
    pid_t child = fork();
    if (child == 0) {
        struct told mine;
        uint64_t namespace;
        char byte;
        close(end[1]);
        if (flags & CLONE_NEWTIME) {
            if (unshare(CLONE_NEWTIME) != 0)
                _exit(1);
            int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
            if (fd < 0 || write(fd, "boottime 100000 7000000\n", 24) != 24)
                _exit(1);
            pid_t inner = fork(); /* that one is in it */
            if (inner != 0) {
                close(tell[1]);
                waitpid(inner, NULL, 0);
                _exit(0);
            }
        }
        mine.pid = getpid();
        if (dpx_process_self(&mine.start_time, &namespace) != 0 || write(tell[1], &mine, sizeof mine) != sizeof mine)
            _exit(1);
        close(tell[1]);
        while (read(end[0], &byte, 1) < 0)
            continue;
        _exit(0);
    }
    close(tell[1]);
    close(end[0]);
    bool there = read(tell[0], told, sizeof *told) == (ssize_t)sizeof *told;
    close(tell[0]);
    *stop = end[1];
    return there ? child : 0;
}

static void *outlive(void *argument)
{
    const int *stop = argument;
    char byte;
    while (read(*stop, &byte, 1) < 0)
        continue;
    _exit(0);
}

/* Its first thread has ended, and it looks like a zombie; others of its threads may still write. */
static void a_process_without_its_first_thread(void)
{
    int tell[2], end[2];
    struct told told = {0};
    CHECK(pipe(tell) == 0 && pipe(end) == 0);
    pid_t child = fork();
    if (child == 0) {
        pthread_t thread;
        uint64_t namespace;
        struct told mine = {.pid = getpid()};
        close(end[1]);
        if (dpx_process_self(&mine.start_time, &namespace) != 0 ||
            pthread_create(&thread, NULL, outlive, &end[0]) != 0 || write(tell[1], &mine, sizeof mine) != sizeof mine)
            _exit(1);
        pthread_exit(NULL);
    }
    CHECK_EQ(read(tell[0], &told, sizeof told), (ssize_t)sizeof told);
    usleep(50000);
    CHECK(!dpx_process_gone((uint64_t)told.pid, told.start_time));
    CHECK(!dpx_process_gone((uint64_t)told.pid, 0)); /* when it started is not known */
    close(end[1]);
    uint64_t deadline = dpx_now() + 5 * SECOND;
    while (!dpx_process_gone((uint64_t)told.pid, told.start_time) && dpx_now() < deadline)
        usleep(1000);
    CHECK(dpx_process_gone((uint64_t)told.pid, told.start_time)); /* a zombie, and nothing else */
    CHECK_EQ(waitpid(child, NULL, 0), child);
    close(tell[0]);
    close(tell[1]);
    close(end[0]);
}

static void a_process_in_another_time_namespace(void)
{
    struct told told = {0};
    int stop = -1;
    if (start_other(CLONE_NEWTIME, &told, &stop) == 0) {
        close(stop);
        SKIP("no right to make a time namespace");
        return;
    }
    CHECK(!dpx_process_gone((uint64_t)told.pid, told.start_time));
    CHECK(dpx_process_gone((uint64_t)told.pid, told.start_time - 100)); /* another one had that pid before */
    close(stop);
    uint64_t deadline = dpx_now() + 5 * SECOND;
    while (!dpx_process_gone((uint64_t)told.pid, told.start_time) && dpx_now() < deadline)
        usleep(1000);
    CHECK(dpx_process_gone((uint64_t)told.pid, told.start_time));
}

static struct told outside;

static int looks_from_inside(void)
{
    if (unshare(CLONE_NEWTIME) != 0)
        return 77;
    int fd = open("/proc/self/timens_offsets", O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "boottime 5000 0\n", 16) != 16)
        return 77;
    /* Between the two: what it could read is the offset of its children. */
    if (dpx_process_gone((uint64_t)outside.pid, outside.start_time + 12345))
        return 1;
    int status = -1;
    pid_t inner = fork();
    if (inner == 0) {
        bool lives = !dpx_process_gone((uint64_t)outside.pid, outside.start_time);
        bool other = dpx_process_gone((uint64_t)outside.pid, outside.start_time - 100);
        _exit(lives && other ? 0 : 2);
    }
    waitpid(inner, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 3;
}

static void seen_from_another_time_namespace(void)
{
    int stop = -1;
    CHECK(start_other(0, &outside, &stop) > 0);
    int outcome = in_child(looks_from_inside);
    if (outcome == 77)
        SKIP("no right to make a time namespace");
    else
        CHECK_EQ(outcome, 0);
    close(stop);
}

/* Pid 1 of a new pid namespace, with the /proc of the old one: that shows another process of that number. */
static int first_of_a_namespace(void)
{
    int status = -1;
    if (unshare(CLONE_NEWPID) != 0)
        return 77;
    pid_t first = fork();
    if (first == 0) {
        uint64_t start_time, namespace;
        if (getpid() != 1 || dpx_process_self(&start_time, &namespace) != 0)
            _exit(3);
        int outcome = dpx_process_gone(1, start_time) ? 1 : 0;
        _exit(outcome == 0 && !dpx_process_gone(4321, start_time) ? 2 : outcome); /* nobody has that number here */
    }
    waitpid(first, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}

static void the_proc_of_another_pid_namespace(void)
{
    int outcome = in_child(first_of_a_namespace);
    if (outcome == 77)
        SKIP("no right to make a pid namespace");
    else
        CHECK_EQ(outcome, 0);
}

int main(int count, char **arguments)
{
    program = arguments[0];
    if (count == 4 && strcmp(arguments[1], "joins-again") == 0)
        return joined_again(arguments[2], arguments[3]);
    if (!prepare_hosts(count, arguments, "test_memberships"))
        return 0;
    dpx_geometry geometry = geometry_for(1, 4, 16, LIFE);
    make_lockspace(&few, "few", &geometry);
    RUN(ended_memberships_cost_no_slot);
    RUN(a_membership_rests_when_its_handles_are_gone);
    RUN(another_machines_process_is_not_known_to_be_gone);
    RUN(a_child_is_another_process);
    make_lockspace(&few, "full", &geometry);
    RUN(a_slot_from_before_an_exec);
    RUN(a_process_without_its_first_thread);
    RUN(a_process_in_another_time_namespace);
    RUN(seen_from_another_time_namespace);
    RUN(the_proc_of_another_pid_namespace);
    return check_finish("test_memberships");
}
