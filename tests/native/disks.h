/* What the tests of the I/O room share: files to work on, and waiting for a request. */
#ifndef DPX_TEST_DISKS_H
#define DPX_TEST_DISKS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "io/disk.h"

#define SECOND UINT64_C(1000000000)
#define BLOCK 512u
#define BLOCKS 2048u

static char folder[256];

static inline const char *file_in_folder(const char *name)
{
    static char paths[4][400];
    static unsigned next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* A file of `blocks` blocks, each filled with the low byte of its number. */
static inline const char *make_file(const char *name, uint32_t blocks)
{
    const char *path = file_in_folder(name);
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    uint8_t data[BLOCK];
    for (uint32_t i = 0; i < blocks; i++) {
        memset(data, (int)(i & 255), sizeof data);
        if (write(fd, data, sizeof data) != (ssize_t)sizeof data)
            perror(path);
    }
    if (fd < 0 || fsync(fd) != 0)
        perror(path);
    close(fd);
    return path;
}

static inline uint8_t byte_in_file(const char *path, uint64_t block)
{
    uint8_t byte = 0xee;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    CHECK(pread(fd, &byte, 1, (off_t)(block * BLOCK)) == 1);
    close(fd);
    return byte;
}

/* ---- requests ---- */

typedef struct waiter {
    sem_t done;
    atomic_uint calls;
} waiter;

static inline void wake_waiter(void *context, dpx_request *request)
{
    (void)request;
    waiter *wait = context;
    atomic_fetch_add(&wait->calls, 1);
    sem_post(&wait->done);
}

static inline void waiter_init(waiter *wait)
{
    sem_init(&wait->done, 0, 0);
    wait->calls = 0;
}

/* One callback more within the time; a test cannot go on without it. */
static inline bool await_one(waiter *wait, unsigned seconds)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += (time_t)seconds;
    int result;
    while ((result = sem_timedwait(&wait->done, &until)) != 0 && errno == EINTR)
        continue;
    return result == 0;
}

/* Submits and waits; -ETIMEDOUT is also what an unfinished one shows, but it ends the test. */
static inline int carry_out(dpx_disk *disk, dpx_lane lane, dpx_request *request, const _Atomic uint64_t *gate)
{
    waiter wait;
    waiter_init(&wait);
    dpx_disk_submit(disk, lane, request, gate, wake_waiter, &wait);
    if (!await_one(&wait, 20)) {
        fprintf(stderr, "%s: a request did not complete\n", check_now.test);
        exit(2);
    }
    CHECK_EQ(wait.calls, 1);
    sem_destroy(&wait.done);
    return request->error;
}

static inline dpx_disk *open_disk(const char *path, bool read_only, uint32_t workers)
{
    dpx_disk *disk = NULL;
    dpx_disk_facts facts;
    CHECK_EQ(dpx_disk_start(path, read_only, workers, &disk), 0);
    CHECK_EQ(dpx_disk_open(disk, dpx_now() + 20 * SECOND, &facts), 0);
    CHECK(dpx_disk_is_open(disk));
    return disk;
}

static inline void stop_disk(dpx_disk *disk)
{
    CHECK_EQ(dpx_disk_outstanding(disk), 0);
    CHECK_EQ(dpx_disk_oldest(disk), 0);
    CHECK(dpx_disk_stop(disk, dpx_now() + 20 * SECOND));
}

static inline int entries(const char *path)
{
    DIR *list = opendir(path);
    int count = 0;
    while (list && readdir(list))
        count++;
    if (list)
        closedir(list);
    return count;
}

/* ---- the folder ---- */

static inline void remove_folder(void)
{
    DIR *list = opendir(folder);
    for (struct dirent *entry; list && (entry = readdir(list));)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(list), entry->d_name, 0);
    if (list)
        closedir(list);
    rmdir(folder);
}

/* True when files there can be opened with O_DIRECT; else the reason has been printed. */
static inline bool prepare_folder(int count, char **arguments, const char *program)
{
    snprintf(folder, sizeof folder, "%s/dpx-test-XXXXXX", count > 1 ? arguments[1] : "/var/tmp");
    if (!mkdtemp(folder)) {
        perror(folder);
        exit(2);
    }
    atexit(remove_folder);
    int fd = open(make_file("probe", 1), O_RDWR | O_DIRECT | O_CLOEXEC);
    if (fd < 0) {
        printf("%s: skipped: no O_DIRECT in %s (%s)\n", program, folder, strerror(errno));
        return false;
    }
    close(fd);
    return true;
}

#endif
