/* Processes of this machine, as /proc and the kernel show them. */
#include "engine.h"

#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* State and start time (fields 3 and 22) of a /proc/…/stat.  The name before them may hold
 * anything, so counting begins after its last parenthesis. */
static bool read_stat(const char *path, char *state, uint64_t *start_time)
{
    char text[1024];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0)
        return false;
    text[length] = 0;
    char *at = strrchr(text, ')');
    if (!at || at[1] != ' ' || at[2] == 0)
        return false;
    at += 2;
    *state = *at;
    for (int field = 3; field < 22; field++) {
        at = strchr(at + 1, ' ');
        if (!at)
            return false;
    }
    *start_time = strtoull(at + 1, NULL, 10);
    return true;
}

/* Whatever reads a start time sees it shifted by the offset of its own time namespace.  False: unknown. */
static bool boottime_offset(int64_t *ticks)
{
    struct stat mine, childrens;
    long long seconds, nanoseconds;
    char text[256];
    *ticks = 0;
    if (stat("/proc/self/ns/time", &mine) != 0)
        return errno == ENOENT; /* a kernel without them */
    if (stat("/proc/self/ns/time_for_children", &childrens) != 0 || mine.st_ino != childrens.st_ino)
        return false; /* what can be read is the offset of the next process */
    int fd = open("/proc/self/timens_offsets", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    text[length > 0 ? length : 0] = 0;
    const char *line = strstr(text, "boottime");
    if (!line || sscanf(line, "boottime %lld %lld", &seconds, &nanoseconds) != 2)
        return false;
    long hertz = sysconf(_SC_CLK_TCK);
    *ticks = seconds * hertz + nanoseconds * hertz / 1000000000;
    return true;
}

/* A start time as it is in the first time namespace of the machine: the same for all who read it. */
static bool unshifted(uint64_t *start_time)
{
    int64_t offset;
    if (!boottime_offset(&offset))
        return false;
    *start_time -= (uint64_t)offset;
    return true;
}

int dpx_process_self(uint64_t *start_time, uint64_t *pid_namespace)
{
    char state;
    struct stat namespace;
    errno = 0;
    if (!read_stat("/proc/self/stat", &state, start_time))
        return errno != 0 ? -errno : -ENOENT;
    if (!unshifted(start_time))
        *start_time = 0;
    if (stat("/proc/self/ns/pid", &namespace) != 0)
        return -errno;
    *pid_namespace = (uint64_t)namespace.st_ino;
    return 0;
}

/* A zombie's memory and files are gone once no other thread of it is left. */
static bool alone(uint64_t pid)
{
    char path[64];
    uint32_t tasks = 0;
    snprintf(path, sizeof path, "/proc/%llu/task", (unsigned long long)pid);
    DIR *directory = opendir(path);
    if (!directory)
        return false;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;)
        tasks += entry->d_name[0] != '.';
    closedir(directory);
    return tasks == 1;
}

/* /proc may be that of another pid namespace, where the same number is another process. */
static bool own_proc(void)
{
    char link[32];
    ssize_t length = readlink("/proc/self", link, sizeof link - 1);
    link[length > 0 ? length : 0] = 0;
    return strtol(link, NULL, 10) == (long)getpid();
}

/* Offsets of namespaces are rounded to ticks. */
static bool same_start(uint64_t one, uint64_t other)
{
    return one - other + 1 <= 2;
}

/* True only when certain.  A /proc that hides other users' processes proves nothing, so the
 * kernel itself is asked whether the number is in use. */
bool dpx_process_gone(uint64_t pid, uint64_t start_time)
{
    char path[64];
    char state;
    uint64_t started;
    if (pid == 0 || pid > INT32_MAX)
        return false;
    if (kill((pid_t)pid, 0) != 0 && errno == ESRCH)
        return true;
    snprintf(path, sizeof path, "/proc/%llu/stat", (unsigned long long)pid);
    if (start_time == 0 || !own_proc() || !read_stat(path, &state, &started) || !unshifted(&started))
        return false;
    if (!same_start(started, start_time))
        return true;
    return state == 'Z' && alone(pid);
}
