/* The I/O room: disks started, opened, reopened, hardened and stopped; calls that fail. */
#include "disks.h"

#include <dlfcn.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

static uint8_t *buffer;

static int open_error(const char *path, bool read_only)
{
    dpx_disk *disk;
    dpx_disk_facts facts;
    int error = dpx_disk_start(path, read_only, 1, &disk);
    if (error != 0)
        return error;
    error = dpx_disk_open(disk, dpx_now() + 20 * SECOND, &facts);
    CHECK_EQ(dpx_disk_is_open(disk), error == 0);
    CHECK(dpx_disk_stop(disk, dpx_now() + 20 * SECOND));
    return error;
}

static int read_one(dpx_disk *disk, uint64_t block)
{
    dpx_extent read = {.block = block, .count = 1, .data = buffer};
    dpx_request request = {.read_count = 1, .reads = &read};
    return carry_out(disk, DPX_LANE_WORK, &request, NULL);
}

static void what_cannot_be_opened(void)
{
    const char *fifo = file_in_folder("fifo");
    CHECK_EQ(mkfifo(fifo, 0600), 0);
    CHECK_EQ(open_error(file_in_folder("missing"), false), -ENOENT);
    CHECK_EQ(open_error(file_in_folder("missing/too"), false), -ENOENT);
    CHECK_EQ(open_error(folder, false), -EISDIR);
    CHECK_EQ(open_error(folder, true), -EISDIR);
    CHECK_EQ(open_error(fifo, false), -ENODEV);
    CHECK_EQ(open_error(fifo, true), -ENODEV); /* and does not wait for a writer */
    CHECK_EQ(open_error("/dev/null", false), -ENODEV);
    CHECK_EQ(open_error("", false), -ENOENT);
    CHECK_EQ(open_error("/proc/self/comm", false), -EINVAL); /* knows no O_DIRECT */
    dpx_disk *disk;
    CHECK_EQ(dpx_disk_start("x", false, 0, &disk), -EINVAL);
    CHECK_EQ(dpx_disk_start("x", false, 1000, &disk), -EINVAL);
}

static void without_permission(void)
{
    const char *path = make_file("private", 10);
    chmod(path, 0400);
    if (geteuid() == 0) {
        SKIP("root may open everything");
        return;
    }
    CHECK_EQ(open_error(path, false), -EACCES);
    CHECK_EQ(open_error(path, true), 0);
}

static void memory_file_system(void)
{
    char path[] = "/dev/shm/dpx-test-XXXXXX";
    int fd = mkstemp(path);
    if (fd < 0) {
        SKIP("no /dev/shm");
        return;
    }
    CHECK_EQ(ftruncate(fd, 65536), 0);
    int error = open_error(path, false);
    CHECK(error == 0 || error == -EINVAL); /* tmpfs knows O_DIRECT since Linux 6.6 */
    unlink(path);
    close(fd);
}

static void facts_of_a_file(void)
{
    const char *path = make_file("facts", 64);
    struct stat status;
    stat(path, &status);
    dpx_disk *disk;
    dpx_disk_facts facts;
    CHECK_EQ(dpx_disk_start(path, false, 1, &disk), 0);
    CHECK_EQ(dpx_disk_open(disk, dpx_now() + 20 * SECOND, &facts), 0);
    CHECK_EQ(facts.bytes, 64 * BLOCK);
    CHECK(facts.logical_block >= 512 && (facts.logical_block & (facts.logical_block - 1)) == 0);
    CHECK(!facts.block_device);
    CHECK(facts.device == status.st_dev && facts.inode == status.st_ino);
    stop_disk(disk);
}

static void a_deadline_that_is_past(void)
{
    dpx_disk *disk;
    dpx_disk_facts facts;
    CHECK_EQ(dpx_disk_start(make_file("late", 64), false, 1, &disk), 0);
    int error = dpx_disk_open(disk, dpx_now() - 1, &facts);
    CHECK(error == -ETIMEDOUT || error == 0); /* 0: the opener was even faster */
    usleep(50000);
    CHECK_EQ(dpx_disk_is_open(disk), error == 0); /* what nobody waited for is not used */
    CHECK_EQ(read_one(disk, 3), error == 0 ? 0 : -ENODEV);
    CHECK_EQ(dpx_disk_open(disk, dpx_now() + 20 * SECOND, &facts), 0);
    CHECK_EQ(read_one(disk, 3), 0);
    stop_disk(disk);
}

static void reopened_elsewhere(void)
{
    make_file("first", 64);
    make_file("second", 80);
    const char *path = file_in_folder("link");
    char here[256];
    CHECK(getcwd(here, sizeof here) != NULL);
    CHECK_EQ(symlink("first", path), 0);
    CHECK_EQ(chdir(folder), 0);
    dpx_disk *disk = open_disk("link", false, 1); /* relative: must survive the next line */
    CHECK_EQ(chdir(here), 0);
    int descriptors = entries("/proc/self/fd");
    CHECK_EQ(read_one(disk, 70), -EIO);
    unlink(path);
    dpx_disk_facts facts;
    CHECK_EQ(dpx_disk_open(disk, dpx_now() + 20 * SECOND, &facts), -ENOENT);
    CHECK_EQ(read_one(disk, 60), 0); /* a failed attempt leaves the old one in use */
    for (unsigned i = 0; i < 20; i++) {
        unlink(path);
        CHECK_EQ(symlink(i % 2 ? "first" : "second", path), 0);
        CHECK_EQ(dpx_disk_open(disk, dpx_now() + 20 * SECOND, &facts), 0);
        CHECK_EQ(facts.bytes, (i % 2 ? 64 : 80) * BLOCK);
        CHECK_EQ(read_one(disk, 70), i % 2 ? -EIO : 0);
    }
    for (unsigned i = 0; i < 100 && entries("/proc/self/fd") > descriptors; i++)
        usleep(10000);
    CHECK_EQ(entries("/proc/self/fd"), descriptors);
    stop_disk(disk);
}

/* ---- threads ---- */

/* Calls back for each of this process's threads whose name begins so. */
static unsigned each_thread(const char *prefix, void (*call)(pid_t thread))
{
    DIR *list = opendir("/proc/self/task");
    unsigned found = 0;
    for (struct dirent *entry; list && (entry = readdir(list));) {
        char path[300], name[32] = "";
        snprintf(path, sizeof path, "/proc/self/task/%s/comm", entry->d_name);
        FILE *file = fopen(path, "r");
        if (file && fgets(name, sizeof name, file) && strncmp(name, prefix, strlen(prefix)) == 0) {
            found++;
            call((pid_t)strtol(entry->d_name, NULL, 10));
        }
        if (file)
            fclose(file);
    }
    closedir(list);
    return found;
}

static void signals_blocked(pid_t thread)
{
    char path[64], line[256];
    unsigned long long blocked = 0;
    snprintf(path, sizeof path, "/proc/self/task/%d/status", (int)thread);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "SigBlk:", 7) == 0)
            blocked = strtoull(line + 7, NULL, 16);
    if (file)
        fclose(file);
    for (int signal = 1; signal < 32; signal++)
        if (signal != SIGKILL && signal != SIGSTOP)
            CHECK(blocked >> (signal - 1) & 1);
}

static void has_real_time(pid_t thread)
{
    CHECK_EQ(sched_getscheduler(thread), SCHED_RR);
}

static void threads_and_signals(void)
{
    int before = entries("/proc/self/task");
    dpx_disk *disk = open_disk(make_file("threads", 64), false, 3);
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    CHECK(!sigismember(&mask, SIGTERM)); /* the caller's own mask is as it was */
    CHECK_EQ(each_thread("dpx-", signals_blocked), 6); /* 3 workers, heart, opener, clerk */
    int error = dpx_disk_harden(disk, 10);
    if (error == 0)
        CHECK_EQ(each_thread("dpx-heart", has_real_time), 1);
    else
        CHECK(error == -EPERM || error == -ENOMEM);
    dpx_extent read = {.block = 3, .count = 1, .data = buffer};
    dpx_request request = {.read_count = 1, .reads = &read};
    CHECK_EQ(carry_out(disk, DPX_LANE_HEART, &request, NULL), 0);
    stop_disk(disk);
    CHECK_EQ(entries("/proc/self/task"), before);
}

static void stopped_while_busy(void)
{
    /* Stop waits for what was let in, and everything calls back exactly once. */
    for (unsigned round = 0; round < 20; round++) {
        static dpx_request requests[40];
        static dpx_extent extents[40];
        waiter wait;
        waiter_init(&wait);
        dpx_disk *disk = open_disk(make_file("busy", 64), false, 2);
        for (unsigned i = 0; i < 40; i++) {
            extents[i] = (dpx_extent){.block = i, .count = 1, .data = buffer + i * BLOCK};
            requests[i] = (dpx_request){.write_count = i % 2, .writes = &extents[i], .read_count = 1 - i % 2,
                                        .reads = &extents[i]};
            dpx_disk_submit(disk, i % 8 ? DPX_LANE_WORK : DPX_LANE_HEART, &requests[i], NULL, wake_waiter,
                            &wait);
        }
        CHECK(dpx_disk_stop(disk, dpx_now() + 20 * SECOND));
        CHECK_EQ(wait.calls, 40);
        for (unsigned i = 0; i < 40; i++)
            CHECK_EQ(requests[i].error, 0);
    }
}

typedef struct latecomer {
    dpx_disk *disk;
    dpx_request *late;
    sem_t entered;
    waiter told;
} latecomer;

static void submit_late(void *context, dpx_request *request)
{
    (void)request;
    latecomer *one = context;
    struct timespec pause = {.tv_nsec = 200000000};
    sem_post(&one->entered);
    nanosleep(&pause, NULL); /* meanwhile the disk begins to stop */
    dpx_disk_submit(one->disk, DPX_LANE_WORK, one->late, NULL, wake_waiter, &one->told);
}

static void nothing_is_let_in_while_it_stops(void)
{
    dpx_disk *disk = open_disk(make_file("late", 64), false, 2);
    const char *path = file_in_folder("late");
    memset(buffer, 0x99, BLOCK);
    dpx_extent read = {.block = 1, .count = 1, .data = buffer + BLOCK};
    dpx_extent write = {.block = 2, .count = 1, .data = buffer};
    dpx_request first = {.read_count = 1, .reads = &read};
    dpx_request late = {.write_count = 1, .writes = &write};
    latecomer one = {.disk = disk, .late = &late};
    sem_init(&one.entered, 0, 0);
    waiter_init(&one.told);
    dpx_disk_submit(disk, DPX_LANE_WORK, &first, NULL, submit_late, &one);
    while (sem_wait(&one.entered) != 0)
        continue;
    CHECK(dpx_disk_stop(disk, dpx_now() + 20 * SECOND));
    CHECK(await_one(&one.told, 2));
    CHECK_EQ(late.error, -ECANCELED);
    CHECK_EQ(byte_in_file(path, 2), 2);
}

/* ---- a disk that was given up while its storage hung ---- */

static atomic_bool submits_hang;
static atomic_uint hanging;

/* In the place of the C library's: a thread that submits I/O sleeps in the kernel for as long as it is told. */
long syscall(long number, ...)
{
    static long (*real)(long, ...);
    va_list rest;
    long a[6];
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_io_submit && submits_hang) {
        hanging++;
        while (submits_hang)
            usleep(500);
        hanging--;
    }
    return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* What was on its way takes place when the storage returns; what came after it does not, though nobody waits for it. */
static void given_up_body(void)
{
    enum { MANY = 300 };
    static dpx_extent writes[MANY];
    static waiter told;
    const char *path = make_file("given-up", BLOCKS);
    dpx_disk *disk = open_disk(path, false, 1);
    memset(buffer, 0x99, BLOCK);
    for (unsigned i = 0; i < MANY; i++)
        writes[i] = (dpx_extent){.block = i + 1, .count = 1, .data = buffer};
    static dpx_request request = {.write_count = MANY, .writes = writes};
    waiter_init(&told);
    submits_hang = true;
    dpx_disk_submit(disk, DPX_LANE_WORK, &request, NULL, wake_waiter, &told);
    for (unsigned i = 0; i < 4000 && hanging == 0; i++)
        usleep(500);
    CHECK(hanging > 0);
    CHECK(!dpx_disk_stop(disk, dpx_now() + SECOND / 100));
    submits_hang = false;
    for (unsigned i = 0; i < 4000 && byte_in_file(path, 1) != 0x99; i++)
        usleep(500);
    CHECK_EQ(byte_in_file(path, 1), 0x99);
    usleep(50000);
    CHECK_EQ(byte_in_file(path, MANY), MANY & 255);
}

/* Lifetimes go on while the machine sleeps, and no one turns them back. */
static void the_clock_of_lifetimes(void)
{
    struct timespec now;
    uint64_t before = dpx_now();
    CHECK_EQ(clock_gettime(CLOCK_BOOTTIME, &now), 0);
    uint64_t between = (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
    CHECK(before <= between && between <= dpx_now());
}

static void stopped_without_being_opened(void)
{
    dpx_disk *disk;
    for (unsigned i = 0; i < 50; i++) {
        CHECK_EQ(dpx_disk_start("nowhere", false, 2, &disk), 0);
        CHECK(dpx_disk_stop(disk, 0));
    }
}

/* ---- system calls that fail, in a child that asked for it ---- */

static void forbid(long number, int error)
{
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (uint32_t)error),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {.len = sizeof program / sizeof program[0], .filter = program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) {
        printf("  skipped %s: no system call filters (%s)\n", check_now.test, strerror(errno));
        _exit(0);
    }
}

static void in_child(void (*body)(void))
{
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        check_now.failures = 0;
        body();
        fflush(NULL);
        _exit(check_now.failures ? 1 : 0);
    }
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        continue;
    CHECK_EQ(status, 0);
}

/* In a child: what a disk that was given up still uses is never freed. */
static void nothing_more_is_written_by_one_that_was_given_up(void)
{
    in_child(given_up_body);
}

static void no_contexts_body(void)
{
    dpx_disk *disk = NULL;
    int before = entries("/proc/self/task");
    forbid(SYS_io_setup, EAGAIN); /* what an exhausted fs.aio-max-nr gives */
    CHECK_EQ(dpx_disk_start("anything", false, 2, &disk), -EAGAIN);
    CHECK(disk == NULL);
    CHECK_EQ(entries("/proc/self/task"), before);
}

static void no_contexts(void)
{
    in_child(no_contexts_body);
}

static void refused_submission(int error)
{
    const char *path = make_file("refused", 64);
    forbid(SYS_io_submit, error);
    dpx_disk *disk = open_disk(path, false, 1);
    dpx_extent writes[3], read = {.block = 0, .count = 1, .data = buffer};
    memset(buffer, 0x31, 3 * BLOCK);
    for (uint32_t i = 0; i < 3; i++)
        writes[i] = (dpx_extent){.block = i, .count = 1, .data = buffer + i * BLOCK};
    dpx_request request = {.write_count = 3, .read_count = 1, .writes = writes, .reads = &read};
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &request, NULL), -error);
    CHECK(!request.writes_issued && !request.write_issued_at);
    for (uint32_t i = 0; i < 3; i++)
        CHECK_EQ(writes[i].error, -error);
    CHECK_EQ(read.error, -ECANCELED);
    dpx_extent both[2] = {read, {.block = 1, .count = 1, .data = buffer + BLOCK}}; /* one alone may go without AIO */
    dpx_request reads = {.read_count = 2, .reads = both};
    CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &reads, NULL), -error);
    stop_disk(disk);
    CHECK_EQ(byte_in_file(path, 1), 1);
}

static void refused_no_space(void)
{
    refused_submission(ENOSPC);
}

static void refused_again_and_again(void)
{
    refused_submission(EAGAIN); /* with nothing in flight there is nothing to wait for */
}

static void refused_submissions(void)
{
    in_child(refused_no_space);
    in_child(refused_again_and_again);
}

/* With AIO forbidden, single I/Os go on where process exit waits for plain ones, and nowhere else. */
static void plain_or_not_body(void)
{
    static const char *const memory = "/dev/shm/dpx-test-plain";
    const char *paths[2] = {make_file("plain", 64), memory};
    int fd = open(memory, O_RDWR | O_CREAT, 0600);
    CHECK_EQ(ftruncate(fd, 64 * BLOCK), 0);
    close(fd);
    forbid(SYS_io_submit, ENOSYS);
    for (unsigned i = 0; i < 2; i++) {
        dpx_disk *disk;
        dpx_disk_facts facts;
        CHECK_EQ(dpx_disk_start(paths[i], false, 1, &disk), 0);
        if (dpx_disk_open(disk, dpx_now() + 20 * SECOND, &facts) != 0) { /* O_DIRECT is not known there */
            stop_disk(disk);
            continue;
        }
        if (i == 1)
            CHECK(!facts.plain_drains);
        dpx_extent write = {.block = 5, .count = 1, .data = buffer}, read = write;
        dpx_request request = {.write_count = 1, .read_count = 1, .writes = &write, .reads = &read};
        CHECK_EQ(carry_out(disk, DPX_LANE_WORK, &request, NULL), facts.plain_drains ? 0 : -ENOSYS);
        CHECK(request.writes_issued == facts.plain_drains);
        CHECK_EQ(read_one(disk, 64), facts.plain_drains ? -EIO : -ENOSYS); /* past the end */
        stop_disk(disk);
    }
    unlink(memory);
}

static void plain_or_not(void)
{
    in_child(plain_or_not_body);
}

static void nudge(int signal)
{
    (void)signal;
}

static void stopped_and_continued_body(void)
{
    /* A stop and continue of the process interrupts io_getevents and futex waits. */
    dpx_disk *disk = open_disk(make_file("nudged", 64), false, 1);
    struct sigaction action = {.sa_handler = nudge};
    sigaction(SIGUSR1, &action, NULL);
    pid_t self = getpid();
    pid_t child = fork();
    if (child == 0) {
        for (unsigned i = 0; i < 150; i++) {
            kill(self, i % 3 ? SIGUSR1 : SIGSTOP);
            usleep(500);
            kill(self, SIGCONT);
            usleep(500);
        }
        _exit(0);
    }
    int status = 0;
    for (unsigned i = 0; waitpid(child, &status, WNOHANG) == 0; i++) {
        dpx_extent write = {.block = i % 64, .count = 1, .data = buffer};
        dpx_extent read = {.block = 0, .count = 64, .data = buffer + 64 * BLOCK};
        dpx_request request = {.write_count = 1, .read_count = 1, .writes = &write, .reads = &read};
        CHECK_EQ(carry_out(disk, i % 2 ? DPX_LANE_WORK : DPX_LANE_HEART, &request, NULL), 0);
    }
    stop_disk(disk);
}

static void stopped_and_continued(void)
{
    in_child(stopped_and_continued_body);
}

int main(int count, char **arguments)
{
    if (!prepare_folder(count, arguments, "test_life"))
        return 0;
    buffer = dpx_buffer_new(128 * BLOCK);
    RUN(what_cannot_be_opened);
    RUN(without_permission);
    RUN(memory_file_system);
    RUN(facts_of_a_file);
    RUN(a_deadline_that_is_past);
    RUN(reopened_elsewhere);
    RUN(threads_and_signals);
    RUN(stopped_while_busy);
    RUN(nothing_is_let_in_while_it_stops);
    RUN(nothing_more_is_written_by_one_that_was_given_up);
    RUN(the_clock_of_lifetimes);
    RUN(stopped_without_being_opened);
    RUN(no_contexts);
    RUN(refused_submissions);
    RUN(plain_or_not);
    RUN(stopped_and_continued);
    dpx_buffer_free(buffer, 128 * BLOCK);
    return check_finish("test_life");
}
