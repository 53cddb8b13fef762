/* Loaded before the C library (LD_PRELOAD): disks that are slow, or hang, while the test says so.
 *
 * A file DISK has its I/O delayed while $SLOW_DISKS/DISK's-name exists and holds a number of milliseconds; "hang"
 * holds it until that file is gone; "queue" and a number: each I/O takes so long, one after the other, whoever asks
 * for them, as on a storage that serves one at a time.  It stands where the kernel would, as tests/fault/one_fault.c
 * does. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static long real_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    static long (*real)(long, ...);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "syscall");
    return real(number, a, b, c, d, e, f);
}

/* What the test says about this disk: milliseconds, -1 for a hang, 0 for nothing. */
static long wanted(const char *control, int *queues)
{
    char text[32] = "";
    FILE *file = fopen(control, "re");
    *queues = 0;
    if (!file)
        return 0;
    if (!fgets(text, sizeof text, file))
        text[0] = 0;
    fclose(file);
    *queues = strncmp(text, "queue ", 6) == 0;
    return strncmp(text, "hang", 4) == 0 ? -1 : atol(*queues ? text + 6 : text);
}

static pthread_mutex_t server = PTHREAD_MUTEX_INITIALIZER;

static void suffer(int fd, long count)
{
    int before = errno;
    char link[64], path[512], control[1100];
    const char *folder = getenv("SLOW_DISKS");
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = folder ? readlink(link, path, sizeof path - 1) : -1;
    if (length > 0) {
        path[length] = 0;
        const char *name = strrchr(path, '/');
        snprintf(control, sizeof control, "%s/%s", folder, name ? name + 1 : path);
        int queues;
        long milliseconds = wanted(control, &queues);
        if (queues)
            pthread_mutex_lock(&server);
        if (milliseconds > 0)
            usleep((useconds_t)(milliseconds * 1000 * (queues ? count : 1)));
        if (queues)
            pthread_mutex_unlock(&server);
        while (milliseconds < 0) {
            usleep(20000);
            milliseconds = wanted(control, &queues);
        }
    }
    errno = before;
}

long syscall(long number, ...)
{
    va_list rest;
    long a[6];
    va_start(rest, number);
    for (int i = 0; i < 6; i++)
        a[i] = va_arg(rest, long);
    va_end(rest);
    if (number == SYS_io_submit && a[1] > 0)
        suffer((int)((struct iocb **)a[2])[0]->aio_fildes, a[1]);
    return real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

ssize_t pread(int fd, void *data, size_t bytes, off_t offset)
{
    suffer(fd, 1);
    return real_syscall(SYS_pread64, fd, (long)data, (long)bytes, (long)offset, 0, 0);
}

ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    suffer(fd, 1);
    return real_syscall(SYS_pwrite64, fd, (long)data, (long)bytes, (long)offset, 0, 0);
}

ssize_t pread64(int fd, void *data, size_t bytes, off_t offset)
{
    return pread(fd, data, bytes, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t bytes, off_t offset)
{
    return pwrite(fd, data, bytes, offset);
}
