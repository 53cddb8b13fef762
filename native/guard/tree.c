#define _GNU_SOURCE
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

struct process {
    pid_t pid;
    pid_t parent;
    char state;
    bool below;
    uint64_t started; /* clock ticks since boot: tells a reused pid from the process that was seen */
};

/* On a machine with more processes than this, the ones beyond are found in later rounds:
 * each SIGKILL hands a process's children to the root. */
#define PROCESSES 32768
static struct process processes[PROCESSES];
static size_t process_count;
static pid_t below[PROCESSES]; /* the pids of those marked */
static size_t below_count;

/* False: no such process, or not readable. */
static bool read_process(pid_t pid, struct process *process)
{
    char path[64];
    char text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0)
        return false;
    text[length] = 0;
    /* "pid (name) state ppid …", start time the 22nd.  The name may hold anything, so what
     * comes after its last ')' counts. */
    const char *rest = strrchr(text, ')');
    int parent = 0;
    unsigned long long started = 0;
    *process = (struct process){.pid = pid};
    static const char format[] = " %c %d %*s %*s %*s %*s %*s %*s %*s %*s %*s"
                                 " %*s %*s %*s %*s %*s %*s %*s %*s %llu";
    if (rest == NULL || sscanf(rest + 1, format, &process->state, &parent, &started) != 3)
        return false;
    process->parent = (pid_t)parent;
    process->started = started;
    return true;
}

bool tree_readable(pid_t self)
{
    struct process process;
    return read_process(self, &process) && process.parent == getppid();
}

struct directory_entry { /* of getdents64: readdir would allocate */
    uint64_t inode;
    int64_t offset;
    unsigned short length;
    unsigned char type;
    char name[];
};

static void list_processes(void)
{
    static _Alignas(8) char buffer[32768];
    long length;
    process_count = 0;
    int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    while ((length = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0) {
        for (long at = 0; at < length;) {
            const struct directory_entry *entry = (const void *)(buffer + at);
            at += entry->length;
            char *end;
            long pid = strtol(entry->name, &end, 10);
            if (*end != 0 || pid <= 0 || process_count == PROCESSES)
                continue;
            if (read_process((pid_t)pid, &processes[process_count]))
                process_count++;
        }
    }
    close(fd);
}

static bool is_below(pid_t pid)
{
    for (size_t i = 0; i < below_count; i++)
        if (below[i] == pid)
            return true;
    return false;
}

/* Generation by generation, until none is added. */
static void mark_below(pid_t root)
{
    bool more = true;
    below_count = 0;
    while (more) {
        more = false;
        for (size_t i = 0; i < process_count; i++) {
            struct process *process = &processes[i];
            if (process->below || process->pid == root)
                continue;
            if (process->parent != root && !is_below(process->parent))
                continue;
            process->below = true;
            below[below_count++] = process->pid;
            more = true;
        }
    }
}

/* Never hits another process that was given the pid of the one seen. */
static void signal_process(const struct process *process, int number)
{
    struct process now;
    int fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
    if (fd < 0 && errno == ESRCH)
        return;
    if (read_process(process->pid, &now) && now.started == process->started) {
        if (fd >= 0)
            (void)syscall(SYS_pidfd_send_signal, fd, number, NULL, 0);
        else /* a kernel before 5.3, or no descriptor left */
            (void)kill(process->pid, number);
    }
    if (fd >= 0)
        close(fd);
}

uint64_t tree_signal(pid_t root, int number)
{
    uint64_t count = 0;
    list_processes();
    mark_below(root);
    for (size_t i = 0; i < process_count; i++) {
        if (!processes[i].below || processes[i].state == 'Z' || processes[i].state == 'X')
            continue;
        signal_process(&processes[i], number);
        count++;
    }
    return count;
}
