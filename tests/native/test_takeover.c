/* The host room, several processes and failing disks: takeover after kill -9 and never
 * before, a process stopped beyond its lifetime, disks that are missing, wrong, come back. */
#include "hosts.h"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

#define LIFETIME (500 * MS)

/* ---- a host in another process ---- */

typedef struct child {
    pid_t pid;
    int in;   /* one letter: a command */
    int out;  /* its answer: a dpx_status, or a state */
} child;

/* t: take "vm1"   r: release   s: end of the host (0: alive)   h: state of the hold   q: leave */
static int serve(int in, int out, const lockspace *made, uint8_t machine)
{
    dpx_failure failure;
    dpx_space *space = open_space(made);
    dpx_host *host = join_as(space, machine == 1 ? "first" : "other", machine);
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    char command = 'j';
    do {
        uint64_t answer = 0;
        switch (command) {
        case 't': answer = take(host, &ask, 0, &failure); break;
        case 'r': answer = dpx_host_release(host, &ask.handle, 1, SECOND, &failure); break;
        case 's': answer = dpx_host_state(host).end; break;
        case 'h': answer = dpx_host_hold(host, ask.handle).state; break;
        case 'k': answer = ask.token; break;
        case 'q': answer = dpx_host_leave(host, SECOND, &failure); break;
        default: break;
        }
        if (write(out, &answer, sizeof answer) != (ssize_t)sizeof answer)
            break;
    } while (command != 'q' && read(in, &command, 1) == 1);
    dpx_host_destroy(host);
    dpx_space_close(space);
    return 0;
}

static uint64_t answer_of(const child *host)
{
    uint64_t answer = UINT64_MAX;
    struct pollfd poll_for = {.fd = host->out, .events = POLLIN};
    if (poll(&poll_for, 1, 10000) != 1 || read(host->out, &answer, sizeof answer) != (ssize_t)sizeof answer)
        return UINT64_MAX;
    return answer;
}

static uint64_t ask_child(const child *host, char command)
{
    CHECK_EQ(write(host->in, &command, 1), 1);
    return answer_of(host);
}

/* Forks before this process has any thread of its own. */
static child start_child(const lockspace *made, uint8_t machine)
{
    int to[2], from[2];
    CHECK(pipe(to) == 0 && pipe(from) == 0);
    fflush(NULL);
    child started = {.pid = fork(), .in = to[1], .out = from[0]};
    if (started.pid == 0) {
        close(to[1]);
        close(from[0]);
        _exit(serve(to[0], from[1], made, machine));
    }
    close(to[0]);
    close(from[1]);
    CHECK_EQ(answer_of(&started), 0); /* it has joined */
    return started;
}

static void end_child(child *host, int signal)
{
    int status;
    if (signal != 0)
        kill(host->pid, signal);
    else
        CHECK_EQ(ask_child(host, 'q'), DPX_OK);
    CHECK_EQ(waitpid(host->pid, &status, 0), host->pid);
    if (signal == 0)
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(host->in);
    close(host->out);
}

static void fresh(lockspace *made, const char *name, uint32_t disks)
{
    dpx_geometry geometry = geometry_for(disks, 8, 16, LIFETIME);
    make_lockspace(made, name, &geometry);
}

static uint64_t dead_time(void)
{
    return dpx_dead_time(LIFETIME, 100 * MS, 100 * MS);
}

/* ---- takeover ---- */

static void handed_over(void)
{
    dpx_failure failure;
    lockspace made;
    fresh(&made, "handed", 1);
    child other = start_child(&made, 1);
    dpx_space *space = open_space(&made);
    dpx_host *host = join_as(space, "second", 2);
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(ask_child(&other, 't'), DPX_OK);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_E_HELD);
    CHECK(strcmp(failure.host_name, "first") == 0 && strcmp(failure.flag.label, "test") == 0);
    CHECK_EQ(take(host, &ask, 100 * MS, &failure), DPX_E_HELD);
    CHECK_EQ(ask_child(&other, 'r'), DPX_OK);
    CHECK_EQ(take(host, &ask, SECOND, &failure), DPX_OK);
    CHECK_EQ(ask_child(&other, 't'), DPX_E_HELD);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    CHECK_EQ(ask_child(&other, 't'), DPX_OK);
    CHECK_EQ(ask_child(&other, 'r'), DPX_OK);
    end_child(&other, 0);
    end_host(host, space);
}

/* What a host's own block says about a lease (disk 0). */
static dpx_own own_block(const lockspace *made, dpx_host *host, const char *name)
{
    const dpx_geometry *g = &made->geometry;
    uint64_t block = dpx_own_block(g, dpx_home_area(g, name, strlen(name)), dpx_host_state(host).who.slot);
    uint8_t data[512];
    dpx_own own;
    int fd = open(made->paths[0], O_RDONLY | O_CLOEXEC);
    CHECK_EQ(pread(fd, data, sizeof data, (off_t)(block * sizeof data)), sizeof data);
    close(fd);
    dpx_own_decode(data, &own);
    return own;
}

/* ‡L12: the holder that was killed might be one that was stopped with its clock: it is told of the taking. */
static void is_told(const lockspace *made, dpx_host *host, const dpx_ask *ask)
{
    for (uint32_t i = 0; i < 2000 && !own_block(made, host, ask->name).taken; i++)
        usleep(5000);
    dpx_own own = own_block(made, host, ask->name);
    CHECK(own.taken && own.hold == ask->token && own.certainly_taken == ask->token);
}

/* Its leases are free after T_dead, not before; its slot is freed, since its process is gone. */
static void killed(uint32_t disks)
{
    dpx_failure failure;
    dpx_event event;
    lockspace made;
    fresh(&made, "killed", disks);
    child other = start_child(&made, 1);
    CHECK_EQ(ask_child(&other, 't'), DPX_OK);
    dpx_space *space = open_space(&made);
    dpx_host *host = join_as(space, "second", 1); /* the same machine: it may look at processes */
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_E_HELD);
    uint64_t token = ask_child(&other, 'k');
    uint64_t alive = dpx_now() - LIFETIME / 8;
    end_child(&other, SIGKILL);
    CHECK_EQ(take(host, &ask, 5 * SECOND, &failure), DPX_OK);
    uint64_t after = dpx_now() - alive;
    CHECK(after >= dead_time() - LIFETIME / 8);
    CHECK(after < 3 * SECOND);
    printf("  taken over after %" PRIu64 " ms of %" PRIu64 "\n", after / MS, dead_time() / MS);
    CHECK(ask.token > token);
    is_told(&made, host, &ask);
    CHECK(await_event(host, DPX_EVENT_RECLAIMED, 5 * SECOND, &event));
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    end_host(host, space);
}

static void killed_one_disk(void)
{
    killed(1);
}

static void killed_three_disks(void)
{
    killed(3);
}

/* Stopped for longer than its lifetime: the first call after that says so, and nothing of
 * it disturbs who took the lease meanwhile. */
static void stopped(void)
{
    dpx_failure failure;
    lockspace made;
    fresh(&made, "stopped", 1);
    child other = start_child(&made, 1);
    CHECK_EQ(ask_child(&other, 't'), DPX_OK);
    dpx_space *space = open_space(&made);
    dpx_host *host = join_as(space, "second", 2);
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    kill(other.pid, SIGSTOP);
    usleep((useconds_t)(LIFETIME / 1000 / 4));
    kill(other.pid, SIGCONT); /* not for long: it lives on */
    usleep((useconds_t)(LIFETIME / 1000 / 4));
    CHECK_EQ(ask_child(&other, 's'), DPX_ALIVE);
    CHECK_EQ(ask_child(&other, 'h'), DPX_HOLD_HELD);
    kill(other.pid, SIGSTOP);
    CHECK_EQ(take(host, &ask, 5 * SECOND, &failure), DPX_OK);
    CHECK_EQ(write(other.in, "h", 1), 1);
    kill(other.pid, SIGCONT);
    CHECK_EQ(answer_of(&other), DPX_HOLD_LOST);
    CHECK(ask_child(&other, 's') != DPX_ALIVE);
    CHECK_EQ(ask_child(&other, 't'), DPX_E_FINISHED);
    CHECK_EQ(ask_child(&other, 'r'), DPX_E_FINISHED);
    usleep((useconds_t)(LIFETIME / 1000 * 2));
    CHECK_EQ(dpx_host_hold(host, ask.handle).state, DPX_HOLD_HELD);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    end_child(&other, SIGKILL);
    end_host(host, space);
}

/* An administrator's word: another machine's slot, whose writes cannot come any more. */
static void retired(void)
{
    dpx_failure failure;
    lockspace made;
    fresh(&made, "retired", 1);
    child other = start_child(&made, 7);
    dpx_space *space = open_space(&made);
    dpx_host *host = join_as(space, "second", 2);
    dpx_peer_info peers[8];
    uint32_t slot = 8;
    CHECK_EQ(dpx_host_peers(host, peers, 8), 8);
    for (uint32_t i = 0; i < 8; i++)
        if (!peers[i].self && peers[i].record.state == DPX_SLOT_ACTIVE)
            slot = i;
    CHECK(slot < 8 && strcmp(peers[slot].record.host_name, "other") == 0);
    CHECK_EQ(dpx_host_retire(host, slot, LIFETIME, &failure), DPX_E_TIMEOUT); /* it lives */
    end_child(&other, SIGKILL);
    CHECK_EQ(dpx_host_retire(host, slot, 10 * SECOND, &failure), DPX_OK);
    CHECK_EQ(dpx_host_peers(host, peers, 8), 8);
    CHECK_EQ(peers[slot].record.state, DPX_SLOT_FREE);
    end_host(host, space);
}

/* ---- disks ---- */

static void three_disks_one_missing(void)
{
    dpx_failure failure;
    dpx_event event;
    char aside[420];
    lockspace made;
    fresh(&made, "three", 3);
    snprintf(aside, sizeof aside, "%s.aside", made.paths[1]);
    CHECK_EQ(rename(made.paths[1], aside), 0);
    dpx_space *space = open_space(&made);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    CHECK_EQ(rename(aside, made.paths[1]), 0); /* back, with old content */
    CHECK(await_event(host, DPX_EVENT_DISK_UP, 3 * SECOND, &event) && event.disk == 1);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
    usleep((useconds_t)(LIFETIME / 1000));
    CHECK_EQ(dpx_host_hold(host, ask.handle).state, DPX_HOLD_HELD);
    CHECK_EQ(let_go(host, &ask), DPX_OK);
    end_host(host, space);
    const char *one[] = {made.list[2]}, *two[] = {made.list[2], made.list[0]};
    CHECK_EQ(open_status(one, 1, &failure), DPX_E_DISK_COUNT);
    CHECK_EQ(failure.value, 3);
    CHECK_EQ(open_status(two, 2, &failure), DPX_OK);
    unlink(made.paths[0]);
    unlink(made.paths[1]);
    CHECK_EQ(open_status(made.list, 3, &failure), DPX_E_NO_MAJORITY);
    CHECK_EQ(failure.error, ENOENT);
}

static void corrupt(const char *path, off_t at, uint8_t value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    CHECK(fd >= 0 && pwrite(fd, &value, 1, at) == 1 && fsync(fd) == 0);
    close(fd);
}

static void wrong_disks(void)
{
    dpx_failure failure;
    lockspace three, other, single;
    fresh(&three, "wrong", 3);
    fresh(&other, "else", 3);
    fresh(&single, "single", 1);
    const char *turned[] = {three.list[2], three.list[0], three.list[1]};
    const char *mixed[] = {three.list[0], three.list[1], other.list[2]};
    const char *twice[] = {three.list[0], three.list[1], three.list[1]};
    const char *many[] = {three.list[0], three.list[1], three.list[2], other.list[0]};
    const char *zero[] = {"/dev/zero"}, *folders[] = {folder}, *gone[] = {"/nowhere/at/all"};
    CHECK_EQ(open_status(turned, 3, &failure), DPX_OK);
    CHECK_EQ(open_status(mixed, 3, &failure), DPX_E_OTHER_LOCKSPACE);
    CHECK(strcmp(failure.path, other.list[2]) == 0);
    CHECK_EQ(open_status(twice, 3, &failure), DPX_E_SAME_DISK);
    CHECK_EQ(open_status(many, 4, &failure), DPX_E_OTHER_LOCKSPACE);
    many[3] = three.list[0];
    CHECK_EQ(open_status(many, 4, &failure), DPX_E_SAME_DISK);
    CHECK_EQ(open_status(zero, 1, &failure), DPX_E_SYSTEM);
    CHECK_EQ(open_status(folders, 1, &failure), DPX_E_SYSTEM);
    CHECK_EQ(open_status(gone, 1, &failure), DPX_E_SYSTEM);
    CHECK_EQ(failure.error, ENOENT);
    const char *copy[] = {file_in_folder("copy")};
    CHECK_EQ(link(three.paths[0], copy[0]), 0);
    const char *linked[] = {three.list[0], three.list[1], copy[0]};
    CHECK_EQ(open_status(linked, 3, &failure), DPX_E_SAME_DISK);
    corrupt(single.paths[0], 70, 0xaa);
    CHECK_EQ(open_status(single.list, 1, &failure), DPX_E_SUPERBLOCK);
    corrupt(single.paths[0], 0, 0);
    CHECK_EQ(open_status(single.list, 1, &failure), DPX_E_NOT_LOCKSPACE);
    corrupt(three.paths[0], 0, 0); /* a minority may be anything */
    CHECK_EQ(open_status(three.list, 3, &failure), DPX_OK);
    fresh(&single, "single", 1);
    CHECK_EQ(truncate(single.paths[0], 100000), 0);
    CHECK_EQ(open_status(single.list, 1, &failure), DPX_E_TRUNCATED);
    CHECK_EQ(failure.value, single.geometry.total_blocks * 512);
    CHECK_EQ(truncate(single.paths[0], 0), 0);
    CHECK_EQ(open_status(single.list, 1, &failure), DPX_E_NOT_LOCKSPACE);
}

static void outdated_disk(void)
{
    dpx_failure failure;
    lockspace made;
    fresh(&made, "outdated", 3);
    made.geometry.disk_generation[2] = 2; /* rebuilt; its old copy must not come back */
    uint8_t block[512];
    for (uint32_t d = 0; d < 2; d++) {
        dpx_superblock_encode(block, &made.geometry, d, 2, 1);
        int fd = open(made.paths[d], O_WRONLY | O_CLOEXEC);
        CHECK_EQ(pwrite(fd, block, sizeof block, 0), sizeof block);
        close(fd);
    }
    dpx_space *space = open_space(&made);
    dpx_space_disk disks[3];
    CHECK_EQ(dpx_space_disks(space, disks, 3), 3);
    CHECK(disks[0].online && disks[1].online && !disks[2].online);
    CHECK_EQ(disks[2].trouble, DPX_E_OUTDATED_DISK);
    dpx_host *host = join_as(space, "alpha", 1);
    end_host(host, space);
    const char *turned[] = {made.list[2], made.list[0], made.list[1]}; /* nor when it is asked first */
    CHECK_EQ(dpx_space_open(turned, 3, false, 5 * SECOND, &space, &failure), DPX_OK);
    CHECK_EQ(dpx_space_disks(space, disks, 3), 3);
    CHECK(!disks[0].online && disks[1].online && disks[2].online);
    dpx_space_close(space);
    unlink(made.paths[0]);
    CHECK_EQ(open_status(made.list, 3, &failure), DPX_E_NO_MAJORITY);
}

static void read_only(void)
{
    lockspace made;
    fresh(&made, "look", 1);
    dpx_failure failure;
    dpx_space *space;
    dpx_host *host;
    dpx_join_options options = options_of("alpha", 1);
    uint8_t *data = dpx_buffer_new(4096);
    CHECK_EQ(dpx_space_open(made.list, 1, true, SECOND, &space, &failure), DPX_OK);
    CHECK_EQ(dpx_host_join(space, &options, 0, &host, &failure), DPX_E_READ_ONLY);
    CHECK_EQ(dpx_space_read(space, 0, 0, 8, data, SECOND, &failure), DPX_OK);
    CHECK_BYTES(data, DPX_MAGIC, 8);
    CHECK_EQ(dpx_space_write(space, 0, 1, 1, data, SECOND, &failure), DPX_E_READ_ONLY);
    CHECK_EQ(dpx_space_read(space, 0, made.geometry.total_blocks, 1, data, SECOND, &failure), DPX_E_STORAGE);
    dpx_buffer_free(data, 4096);
    dpx_space_close(space);
}

/* All slots in use: that is said at once; one of them freed: waited for. */
static void no_slot(void)
{
    dpx_failure failure;
    lockspace made;
    dpx_geometry geometry = geometry_for(1, 2, 4, LIFETIME);
    make_lockspace(&made, "slots", &geometry);
    child other = start_child(&made, 1);
    dpx_space *space = open_space(&made);
    dpx_host *host = join_as(space, "second", 2), *third = NULL;
    dpx_join_options options = options_of("third", 3);
    CHECK_EQ(dpx_host_join(space, &options, 0, &third, &failure), DPX_E_NO_SLOT);
    CHECK(third == NULL);
    options.slot = dpx_host_state(host).who.slot;
    CHECK_EQ(dpx_host_join(space, &options, 0, &third, &failure), DPX_E_NOT_DRAINED);
    options.slot = DPX_ANY_SLOT;
    end_child(&other, 0);
    CHECK_EQ(dpx_host_join(space, &options, 3 * SECOND, &third, &failure), DPX_OK);
    CHECK_EQ(dpx_host_leave(third, SECOND, &failure), DPX_OK);
    dpx_host_destroy(third);
    end_host(host, space);
}

/* The only disk loses its content, then is gone: nothing may be reported held that is not. */
static void disk_lost(void)
{
    dpx_failure failure;
    dpx_event event;
    lockspace made;
    fresh(&made, "lost", 1);
    dpx_space *space = open_space(&made);
    dpx_host *host = join_as(space, "alpha", 1);
    dpx_ask ask = ask_for("vm1", DPX_MODE_EXCLUSIVE), next = ask_for("vm2", DPX_MODE_EXCLUSIVE);
    CHECK_EQ(take(host, &ask, 0, &failure), DPX_OK);
    CHECK_EQ(truncate(made.paths[0], 4096), 0);
    CHECK_EQ(take(host, &next, 0, &failure), DPX_E_STORAGE);
    CHECK(await_event(host, DPX_EVENT_DISK_DOWN, 2 * SECOND, &event));
    CHECK(await_event(host, DPX_EVENT_FINISHED, 2 * SECOND, &event));
    CHECK_EQ(event.end, DPX_END_LIFETIME);
    CHECK_EQ(dpx_host_hold(host, ask.handle).state, DPX_HOLD_LOST);
    CHECK_EQ(dpx_host_state(host).remaining, 0);
    CHECK_EQ(take(host, &next, 0, &failure), DPX_E_FINISHED);
    CHECK_EQ(dpx_host_leave(host, 0, &failure), DPX_E_FINISHED);
    dpx_host_destroy(host);
    dpx_space_close(space);
}

int main(int count, char **arguments)
{
    signal(SIGPIPE, SIG_IGN);
    if (!prepare_hosts(count, arguments, "test_takeover"))
        return 0;
    RUN(handed_over);
    RUN(killed_one_disk);
    RUN(killed_three_disks);
    RUN(stopped);
    RUN(retired);
    RUN(three_disks_one_missing);
    RUN(wrong_disks);
    RUN(outdated_disk);
    RUN(read_only);
    RUN(no_slot);
    RUN(disk_lost);
    return check_finish("test_takeover");
}
