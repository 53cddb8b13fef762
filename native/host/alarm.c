/* Timers on CLOCK_BOOTTIME (which no condition variable offers: a machine that was
 * suspended must find its deadlines passed), and threads that no signal interrupts. */
#include "engine.h"

#include <errno.h>
#include <signal.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

int dpx_alarm_open(dpx_alarm *alarm)
{
    alarm->armed = DPX_NEVER;
    alarm->fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC);
    return alarm->fd < 0 ? -errno : 0;
}

void dpx_alarm_close(dpx_alarm *alarm)
{
    if (alarm->fd >= 0)
        close(alarm->fd);
    alarm->fd = -1;
}

void dpx_alarm_set(dpx_alarm *alarm, uint64_t when)
{
    struct itimerspec spec = {{0, 0}, {0, 0}}; /* all zero: disarmed */
    alarm->armed = when;
    if (when != DPX_NEVER) {
        if (when == 0)
            when = 1; /* long ago: goes off at once */
        spec.it_value.tv_sec = (time_t)(when / DPX_SECOND);
        spec.it_value.tv_nsec = (long)(when % DPX_SECOND);
    }
    timerfd_settime(alarm->fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void dpx_alarm_sooner(dpx_alarm *alarm, uint64_t when)
{
    if (when < alarm->armed)
        dpx_alarm_set(alarm, when);
}

void dpx_alarm_sleep(dpx_alarm *alarm)
{
    uint64_t times;
    while (read(alarm->fd, &times, sizeof times) < 0 && errno == EINTR)
        continue;
}

int dpx_host_thread(pthread_t *thread, void *(*main)(void *), void *argument, void *stack, size_t bytes)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    if (pthread_attr_init(&attributes) != 0)
        return -ENOMEM;
    int refused = stack ? pthread_attr_setstack(&attributes, stack, bytes) : 0;
    if (refused != 0) {
        pthread_attr_destroy(&attributes);
        return -refused;
    }
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, &attributes, main, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -error;
}
