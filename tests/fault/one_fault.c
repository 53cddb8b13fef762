/* Loaded before the C library (LD_PRELOAD): one I/O on the files below a folder fails, in a way of the test's choice.
 *
 * It stands where the kernel would: between the engine's system calls (io_submit, io_getevents, pread, pwrite), or
 * Python's preadv, pwritev and fsync, and the files.
 * Each iocb counts as one I/O.  Unlike strace's injection it counts over
 * all threads, knows which iocb an error belongs to, and reaches what only a completion says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum how { REFUSED, NO_SPACE, FAILED, LANDED, TORN, LATE, HANG, HANG_LANDED };

static struct {
    char folder[256];
    enum how how;
    long at;            /* 0: nothing is counted */
    unsigned late_us;
    atomic_long count;
    atomic_bool hit;
    atomic_bool wrote;  /* what was struck is a write */
} plan;

static _Thread_local bool refuse_next;
static _Atomic uint64_t tampered; /* aio_data + 1 of the one iocb in flight whose completion is to lie … */
static _Atomic(void *) tampered_in; /* … in this context */
static void *torn_into;
static size_t torn_bytes;

void fault_arm(const char *folder, int how, long at, unsigned late_us);
long fault_disarm(void);
int fault_hit(void);

void fault_arm(const char *folder, int how, long at, unsigned late_us)
{
    snprintf(plan.folder, sizeof plan.folder, "%s", folder);
    plan.how = (enum how)how;
    plan.late_us = late_us;
    atomic_store(&plan.count, 0);
    atomic_store(&plan.hit, false);
    plan.at = at;
}

/* How many I/Os there were. */
long fault_disarm(void)
{
    plan.at = 0;
    return atomic_load(&plan.count);
}

/* 0: none was struck, 1: a read, 2: a write. */
int fault_hit(void)
{
    return atomic_load(&plan.hit) ? 1 + atomic_load(&plan.wrote) : 0;
}

static bool watched(int fd)
{
    char link[64], path[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length > 0 && strncmp(path, plan.folder, strlen(plan.folder)) == 0;
}

static bool strikes(int fd, bool write)
{
    int before = errno;
    bool struck = plan.at > 0 && watched(fd) && atomic_fetch_add(&plan.count, 1) + 1 == plan.at;
    if (struck) {
        atomic_store(&plan.wrote, write);
        atomic_store(&plan.hit, true);
    }
    errno = before;
    return struck;
}

static void hang(void)
{
    for (;;)
        pause();
}

/* Half of it, past O_DIRECT, which moves whole sectors only. */
static void write_half(int fd, const void *data, size_t bytes, off_t offset)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int plain = open(link, O_WRONLY | O_CLOEXEC);
    if (plain < 0 || syscall(SYS_pwrite64, plain, data, bytes / 2, offset) < 0 || syscall(SYS_fdatasync, plain) < 0)
        perror("one_fault: half a write");
    close(plain);
}

/* ---- io_submit and io_getevents ---- */

static long real_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    static long (*real)(long, ...);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    return real(number, a, b, c, d, e, f);
}

/* One iocb whose turn it is. */
static long submit_struck(long context, struct iocb *control)
{
    static struct iocb instead;
    struct iocb *list[1] = {control};
    bool write = control->aio_lio_opcode == IOCB_CMD_PWRITE;
    bool lands = plan.how == LANDED || plan.how == HANG_LANDED || (plan.how == TORN && !write) || plan.how == LATE;
    if (plan.how == REFUSED || plan.how == NO_SPACE) {
        errno = plan.how == REFUSED ? EIO : ENOSPC;
        return -1;
    }
    if (plan.how == HANG)
        hang();
    if (plan.how == LATE)
        usleep(plan.late_us);
    if (plan.how == TORN && write)
        write_half((int)control->aio_fildes, (void *)(uintptr_t)control->aio_buf, control->aio_nbytes,
                   (off_t)control->aio_offset);
    if (!lands) { /* the same number of bytes, into nowhere */
        instead = *control;
        instead.aio_lio_opcode = IOCB_CMD_PWRITE;
        instead.aio_fildes = (uint32_t)open("/dev/null", O_WRONLY | O_CLOEXEC);
        list[0] = &instead;
    }
    if (plan.how != LATE) {
        torn_into = (void *)(uintptr_t)control->aio_buf;
        torn_bytes = plan.how == TORN && !write ? control->aio_nbytes : 0;
        atomic_store(&tampered_in, (void *)context);
        atomic_store(&tampered, control->aio_data + 1);
    }
    return real_syscall(SYS_io_submit, context, 1, (long)list, 0, 0, 0);
}

static long submit(long context, long count, struct iocb **list)
{
    for (long i = 0; i < count && plan.at > 0; i++) {
        if (!refuse_next && !strikes((int)list[i]->aio_fildes, list[i]->aio_lio_opcode == IOCB_CMD_PWRITE))
            continue;
        refuse_next = i > 0; /* what stands before it goes first */
        return i > 0 ? real_syscall(SYS_io_submit, context, i, (long)list, 0, 0, 0) : submit_struck(context, list[0]);
    }
    return real_syscall(SYS_io_submit, context, count, (long)list, 0, 0, 0);
}

static long events(long context, long least, long most, struct io_event *list, long timeout)
{
    long got = real_syscall(SYS_io_getevents, context, least, most, (long)list, timeout, 0);
    uint64_t struck = atomic_load(&tampered);
    for (long i = 0; struck && atomic_load(&tampered_in) == (void *)context && i < got; i++) {
        if (list[i].data + 1 != struck)
            continue;
        if (plan.how == HANG_LANDED)
            hang();
        atomic_store(&tampered, 0);
        if (torn_bytes > 0)
            memset((char *)torn_into + torn_bytes / 2, 0xdb, 100);
        else
            list[i].res = -EIO;
    }
    return got;
}

long syscall(long number, ...)
{
    va_list rest;
    long a[6];
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_io_submit)
        return submit(a[0], a[1], (struct iocb **)a[2]);
    if (number == SYS_io_getevents)
        return events(a[0], a[1], a[2], (struct io_event *)a[3], a[4]);
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- what Python calls ---- */

/* True: *result is what the caller gets; else the call takes place, and fails after that if *fails. */
static bool suffer(int fd, const struct iovec *into, bool write, off_t offset, ssize_t *result, bool *fails)
{
    *fails = false;
    if (!strikes(fd, write))
        return false;
    *result = -1;
    errno = plan.how == NO_SPACE ? ENOSPC : EIO;
    if (plan.how == HANG)
        hang();
    if (plan.how == LATE)
        usleep(plan.late_us);
    if (plan.how == TORN && write && into)
        write_half(fd, into->iov_base, into->iov_len, offset);
    *fails = plan.how == LANDED || plan.how == HANG_LANDED;
    return !*fails && plan.how != LATE && !(plan.how == TORN && !write);
}

static ssize_t moved(long number, int fd, const struct iovec *vector, int count, off_t offset)
{
    bool fails, write = number == SYS_pwritev, before = plan.at > 0 && !atomic_load(&plan.hit);
    ssize_t result;
    if (suffer(fd, vector, write, offset, &result, &fails))
        return result;
    result = real_syscall(number, fd, (long)vector, count, (long)offset, (long)((uint64_t)offset >> 32 >> 32), 0);
    if (fails && plan.how == HANG_LANDED)
        hang();
    if (fails) {
        errno = EIO;
        return -1;
    }
    if (before && atomic_load(&plan.hit) && plan.how == TORN && !write && result > 100)
        memset((char *)vector->iov_base + result / 2, 0xdb, 100);
    return result;
}

#define MOVES(name, number)                                                              \
    ssize_t name(int fd, const struct iovec *vector, int count, off_t offset)             \
    {                                                                                    \
        return moved(number, fd, vector, count, offset);                                 \
    }
MOVES(preadv, SYS_preadv)
MOVES(preadv64, SYS_preadv)
MOVES(pwritev, SYS_pwritev)
MOVES(pwritev64, SYS_pwritev)

/* What Python calls where there are flags to give; it gives none. */
#define MOVES_WITH_FLAGS(name, number)                                                   \
    ssize_t name(int fd, const struct iovec *vector, int count, off_t offset, int flags)  \
    {                                                                                    \
        (void)flags;                                                                     \
        return moved(number, fd, vector, count, offset);                                 \
    }
MOVES_WITH_FLAGS(preadv2, SYS_preadv)
MOVES_WITH_FLAGS(preadv64v2, SYS_preadv)
MOVES_WITH_FLAGS(pwritev2, SYS_pwritev)
MOVES_WITH_FLAGS(pwritev64v2, SYS_pwritev)

/* What the engine calls for a lone I/O (native/io/aio.c). */
#define MOVES_PLAIN(name, type, number)                                                                       \
    ssize_t name(int fd, type *data, size_t bytes, off_t offset)                                               \
    {                                                                                                         \
        const struct iovec vector = {.iov_base = (void *)(uintptr_t)data, .iov_len = bytes};                   \
        return moved(number, fd, &vector, 1, offset);                                                         \
    }
MOVES_PLAIN(pread, void, SYS_preadv)
MOVES_PLAIN(pread64, void, SYS_preadv)
MOVES_PLAIN(pwrite, const void, SYS_pwritev)
MOVES_PLAIN(pwrite64, const void, SYS_pwritev)

int fsync(int fd)
{
    bool fails;
    ssize_t result;
    if (suffer(fd, NULL, true, 0, &result, &fails))
        return -1;
    result = real_syscall(SYS_fsync, fd, 0, 0, 0, 0, 0);
    if (fails && plan.how == HANG_LANDED)
        hang();
    return fails ? (errno = EIO, -1) : (int)result;
}
