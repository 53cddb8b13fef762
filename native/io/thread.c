/* Threads with stacks of our own: known addresses, so that they can be locked in memory. */
#include "inside.h"

#include <errno.h>
#include <signal.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static size_t guard_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void *enter(void *argument)
{
    dpx_thread *thread = argument;
    thread->body(thread->argument);
    return NULL;
}

static int create(dpx_thread *thread, const pthread_attr_t *attributes)
{
    /* The new thread inherits the mask; it must never run a handler, not even at its start. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&thread->id, attributes, enter, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error == 0)
        pthread_setname_np(thread->id, thread->name);
    return -error;
}

static int start_on_stack(dpx_thread *thread, size_t bytes)
{
    size_t guard = guard_bytes();
    thread->stack = dpx_buffer_new(guard + bytes);
    thread->stack_bytes = bytes;
    if (!thread->stack)
        return -ENOMEM;
    pthread_attr_t attributes;
    int error = -pthread_attr_init(&attributes);
    if (error == 0) {
        mprotect(thread->stack, guard, PROT_NONE);
        error = -pthread_attr_setstack(&attributes, (char *)thread->stack + guard, bytes);
        if (error == 0)
            error = create(thread, &attributes);
        pthread_attr_destroy(&attributes);
    }
    if (error != 0)
        dpx_buffer_free(thread->stack, guard + bytes);
    return error;
}

int dpx_thread_start(dpx_thread *thread, const char *name, void (*body)(void *), void *argument)
{
    thread->name = name;
    thread->body = body;
    thread->argument = argument;
    int error = start_on_stack(thread, DPX_STACK_BYTES);
    /* The C library puts the thread-local data of all libraries of the process there too,
     * and some of them have a lot. */
    if (error == -EINVAL)
        error = start_on_stack(thread, 8 * DPX_STACK_BYTES);
    thread->running = error == 0;
    return error;
}

void dpx_thread_join(dpx_thread *thread)
{
    if (!thread->running)
        return;
    pthread_join(thread->id, NULL);
    dpx_buffer_free(thread->stack, guard_bytes() + thread->stack_bytes);
    thread->running = false;
}

void dpx_thread_leave(dpx_thread *thread)
{
    if (thread->running)
        pthread_detach(thread->id);
}

int dpx_thread_harden(dpx_thread *thread, int realtime_priority)
{
    int error = 0;
    if (mlock((char *)thread->stack + guard_bytes(), thread->stack_bytes) != 0)
        error = -errno;
    struct sched_param parameter = {.sched_priority = realtime_priority};
    int refused = -pthread_setschedparam(thread->id, SCHED_RR, &parameter);
    return error ? error : refused;
}

void dpx_bond_self(dpx_bond *bond)
{
    bond->thread = (pid_t)syscall(SYS_gettid);
}

/* Refused (no longer allowed to run here, more processors than the set has room for): the kernel
 * chooses, as it does otherwise. */
void dpx_bond_here(dpx_bond *bond)
{
    int here = sched_getcpu();
    if (here < 0)
        return;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET((size_t)here, &one);
    bond->bound = sched_getaffinity(bond->thread, sizeof bond->before, &bond->before) == 0 &&
                  sched_setaffinity(bond->thread, sizeof one, &one) == 0;
}

void dpx_bond_end(dpx_bond *bond)
{
    if (bond->bound && sched_setaffinity(0, sizeof bond->before, &bond->before) != 0) {
        memset(&bond->before, 0xff, sizeof bond->before); /* none of them is left: wherever the cpuset permits */
        sched_setaffinity(0, sizeof bond->before, &bond->before);
    }
    bond->bound = false;
}

int dpx_lock_init(pthread_mutex_t *lock)
{
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (error != 0)
        return -error;
    /* Where the C library or kernel knows none, an ordinary mutex serves. */
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    error = pthread_mutex_init(lock, &attributes);
    if (error != 0)
        error = pthread_mutex_init(lock, NULL);
    pthread_mutexattr_destroy(&attributes);
    return -error;
}
