/* The guard of `diskpaxos run`: nothing that the command started outlives the lease.
 *
 *   run (Python, holds the lease) ── guard ── command ── …
 *
 * The guard is the command's parent and the reaper of all its orphans (PR_SET_CHILD_SUBREAPER),
 * so whatever the command starts stays below the guard, however often it forks or makes
 * sessions.  It ends all of it when one of these happens:
 *
 *   - run dies: parent-death signal (it arrives even while a thread of run still hangs in
 *     the kernel), or the control socket is closed;                     SIGKILL, at once
 *   - run says so;                                                      as run says
 *   - the lease's lifetime is over, on CLOCK_BOOTTIME, as last told by run, whether or not
 *     run is alive, stopped or frozen;                                  SIGTERM, then SIGKILL
 *   - the command itself exits and leaves others behind.                SIGTERM, then SIGKILL
 *
 * It gives up never: it exits when it has no child left.  If the guard is killed, the
 * command dies by its own parent-death signal, and run, which is a subreaper too, ends the rest.
 *
 * The command shares run's process group and session, so that a terminal treats it as if
 * run were not there.  The guard leaves them (setsid) once the command is started: a signal to
 * the whole group never hits it.
 *
 * usage: _guard SOCKET PID-OF-RUN COMMAND [ARGUMENT …]
 *
 * The socket (AF_UNIX, SOCK_SEQPACKET) carries `struct message` both ways, in the byte order of
 * the machine; its counterpart is diskpaxos/cli/guard.py.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tree.h"

/* From run. */
#define SAY_START 1    /* a: SIGTERM at, b: SIGKILL at, c: fencing token, d: grace for leftovers */
#define SAY_DEADLINE 2 /* a, b: the same two moments, moved; they never move back */
#define SAY_SIGNAL 3   /* a: signal for the command */
#define SAY_END 4      /* SIGTERM now; b: SIGKILL at */
#define SAY_KILL 5     /* SIGKILL now */
/* To run. */
#define TELL_READY 65
#define TELL_STARTED 66 /* a: pid */
#define TELL_FAILED 67  /* a: errno of fork or exec; nothing ran */
#define TELL_ENDING 68  /* the lifetime is over: everything is being ended */
#define TELL_STOPPED 69 /* the command was suspended from the terminal, and has been continued */
#define TELL_EXITED 70  /* a: wait status of the command, b: how many it left behind */

/* Moments: CLOCK_BOOTTIME, ns.  Durations: ns. */
struct message {
    uint64_t kind;
    uint64_t a;
    uint64_t b;
    uint64_t c;
    uint64_t d;
};

#define NEVER UINT64_MAX
#define SECOND UINT64_C(1000000000)
#define MILLISECOND UINT64_C(1000000)
#define KILL_AGAIN (5 * MILLISECOND)         /* how soon to look for survivors of a SIGKILL … */
#define KILL_AGAIN_LATEST (200 * MILLISECOND) /* … doubling up to this: they hang in the kernel */
/* For what is about to exit by itself after the command (the end of a pipe, say). */
#define PATIENCE (100 * MILLISECOND)

static struct {
    /* As run was started, restored in the command: signals and priority. */
    struct sigaction child_before;
    sigset_t mask_before;
    int policy_before;
    struct sched_param priority_before;
    int nice_before;

    int control;
    int signals; /* signalfd: SIGCHLD and the parent-death signal */
    int timer;
    int exec_pipe; /* ends, or brings an errno, when the command's exec is over; -1: not open */
    pid_t self;
    pid_t run;
    char **arguments;

    pid_t command; /* 0: not started */
    bool command_over;
    bool childless;
    int status;
    uint64_t left_behind;

    uint64_t term_at;
    uint64_t kill_at;
    uint64_t leave_at; /* SIGKILL for what an exited command left behind */
    uint64_t again;    /* pause before the next SIGKILL */
    uint64_t grace;
    bool ending; /* SIGTERM was sent; final */
    bool killing;
    bool run_gone;
} guard;

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "diskpaxos run: guard: %s: %s\n", what, strerror(errno));
    exit(125);
}

static uint64_t boottime(void)
{
    struct timespec now;
    if (clock_gettime(CLOCK_BOOTTIME, &now) != 0)
        fail("clock_gettime");
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- talking to run ------------------------------------------------------------------ */

static void tell(uint64_t kind, uint64_t a, uint64_t b)
{
    struct message message = {.kind = kind, .a = a, .b = b};
    /* run may be stopped or dead: never wait for it. */
    (void)send(guard.control, &message, sizeof message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A politely asked process that is stopped must run to hear it. */
static void begin_ending(bool asked)
{
    if (guard.ending)
        return;
    guard.ending = true;
    uint64_t count = tree_signal(guard.self, SIGTERM);
    tree_signal(guard.self, SIGCONT);
    if (guard.command_over)
        guard.left_behind = count;
    else if (!asked)
        tell(TELL_ENDING, 0, 0);
}

static _Noreturn void become_command(int report)
{
    int error = 0;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != guard.self)
        _exit(125);
    /* SCHED_RESET_ON_FORK has made it 0, which would lift a command that is to be nice. */
    (void)sched_setscheduler(0, guard.policy_before, &guard.priority_before);
    (void)setpriority(PRIO_PROCESS, 0, guard.nice_before);
    sigaction(SIGCHLD, &guard.child_before, NULL);
    sigprocmask(SIG_SETMASK, &guard.mask_before, NULL);
    execvp(guard.arguments[0], guard.arguments);
    error = errno;
    if (write(report, &error, sizeof error) != (ssize_t)sizeof error)
        _exit(126);
    _exit(127);
}

/* There is nothing to guard: the guard ends. */
static void cannot_start(int error)
{
    tell(TELL_FAILED, (uint64_t)error, 0);
    guard.killing = true;
}

static void start_command(const struct message *message)
{
    char token[32];
    int ends[2];
    guard.term_at = message->a;
    guard.kill_at = message->b;
    guard.grace = message->d;
    snprintf(token, sizeof token, "%llu", (unsigned long long)message->c);
    if (boottime() >= guard.term_at) {
        cannot_start(ETIME);
        return;
    }
    if (setenv("DISKPAXOS_TOKEN", token, 1) != 0 || pipe2(ends, O_CLOEXEC) != 0) {
        cannot_start(errno);
        return;
    }
    pid_t child = fork();
    if (child < 0) {
        cannot_start(errno);
        return;
    }
    if (child == 0)
        become_command(ends[1]);
    close(ends[1]);
    guard.exec_pipe = ends[0];
    guard.command = child;
    guard.childless = false;
    /* Only now, so that the command stays in run's session. */
    (void)setsid();
}

static void hear_exec(void)
{
    int error = 0;
    ssize_t length = read(guard.exec_pipe, &error, sizeof error);
    if (length < 0 && errno == EINTR)
        return;
    close(guard.exec_pipe);
    guard.exec_pipe = -1;
    if (length == (ssize_t)sizeof error)
        tell(TELL_FAILED, (uint64_t)error, 0);
    else
        tell(TELL_STARTED, (uint64_t)guard.command, 0);
}

static void hear_run(void)
{
    struct message message;
    ssize_t length = recv(guard.control, &message, sizeof message, MSG_DONTWAIT);
    if (length < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (length != (ssize_t)sizeof message) {
        guard.run_gone = true;
        return;
    }
    switch (message.kind) {
    case SAY_START:
        if (guard.command == 0)
            start_command(&message);
        break;
    case SAY_DEADLINE:
        if (message.a > guard.term_at && !guard.ending && !guard.command_over)
            guard.term_at = message.a;
        if (message.b > guard.kill_at && !guard.ending)
            guard.kill_at = message.b;
        break;
    case SAY_SIGNAL:
        if (guard.command != 0 && !guard.command_over)
            kill(guard.command, (int)message.a);
        break;
    case SAY_END:
        guard.kill_at = earlier(guard.kill_at, message.b);
        begin_ending(true);
        break;
    case SAY_KILL:
        guard.killing = true;
        break;
    default:
        guard.run_gone = true; /* not the run that this guard was built with */
    }
}

/* ---- children ------------------------------------------------------------------------ */

/* A stopped run would lose its lease, so run does not stop; then its command must not either,
 * or the terminal would seem dead.  Only the terminal's stop is undone: SIGSTOP is somebody's wish. */
static void undo_stop(void)
{
    pid_t group = getpgid(guard.command);
    if (group > 0)
        kill(-group, SIGCONT);
    kill(guard.command, SIGCONT);
    tell(TELL_STOPPED, 0, 0);
}

static void reap(void)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
        if (pid != guard.command)
            continue;
        if (WIFSTOPPED(status)) {
            if (WSTOPSIG(status) == SIGTSTP && !guard.ending)
                undo_stop();
            continue;
        }
        guard.command_over = true;
        guard.status = status;
    }
    guard.childless = pid < 0 && errno == ECHILD;
    if (guard.command_over && !guard.childless && !guard.ending && guard.leave_at == NEVER) {
        uint64_t now = boottime();
        guard.term_at = earlier(guard.term_at, now + PATIENCE);
        guard.leave_at = now + PATIENCE + guard.grace;
    }
}

/* The parent-death signal comes from run's main thread.  Who the parent is now does not
 * tell: while another thread of run hangs in the kernel, that thread inherits the guard. */
static void drain_signals(void)
{
    struct signalfd_siginfo info;
    while (read(guard.signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        if (info.ssi_pid == (uint32_t)guard.run || getppid() != guard.run)
            guard.run_gone = true;
    }
    if (guard.command != 0)
        reap();
}

/* ---- time ---------------------------------------------------------------------------- */

static void judge(void)
{
    uint64_t now = boottime();
    if (guard.run_gone || now >= earlier(guard.kill_at, guard.leave_at))
        guard.killing = true;
    if (guard.command == 0)
        return;
    if (!guard.killing && now >= guard.term_at)
        begin_ending(false);
    if (guard.killing) {
        guard.ending = true;
        tree_signal(guard.self, SIGKILL);
        reap();
    }
}

static void arm(void)
{
    uint64_t next = earlier(guard.kill_at, guard.leave_at);
    if (!guard.ending)
        next = earlier(next, guard.term_at);
    if (guard.killing) {
        next = boottime() + guard.again;
        guard.again = earlier(2 * guard.again, KILL_AGAIN_LATEST);
    }
    struct itimerspec when = {0};
    if (next != NEVER) {
        when.it_value.tv_sec = (time_t)(next / SECOND);
        when.it_value.tv_nsec = (long)(next % SECOND);
        if (next == 0)
            when.it_value.tv_nsec = 1; /* zero would disarm */
    }
    if (timerfd_settime(guard.timer, TFD_TIMER_ABSTIME, &when, NULL) != 0)
        fail("timerfd_settime");
}

static void wait_for_something(void)
{
    struct pollfd waits[] = {
        {.fd = guard.control, .events = POLLIN},
        {.fd = guard.signals, .events = POLLIN},
        {.fd = guard.timer, .events = POLLIN},
        {.fd = guard.exec_pipe, .events = POLLIN},
    };
    if (guard.run_gone)
        waits[0].fd = -1; /* its end of file would wake us for ever */
    arm();
    if (poll(waits, 4, -1) < 0) {
        if (errno == EINTR)
            return;
        fail("poll");
    }
    if (waits[2].revents != 0) {
        uint64_t expirations;
        if (read(guard.timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN)
            fail("timer");
    }
    if (waits[3].revents != 0)
        hear_exec();
    if (waits[1].revents != 0)
        drain_signals();
    if (waits[0].revents != 0)
        hear_run();
}

/* ---- set-up -------------------------------------------------------------------------- */

/* All are blocked, the terminal's too, so that none ends or stops the guard; and one that is
 * passed on to the command before its exec waits there until it can be heard. */
static void take_signals(void)
{
    sigset_t all;
    sigset_t wanted;
    struct sigaction usual = {.sa_handler = SIG_DFL};
    int death = SIGRTMIN;
    sigfillset(&all);
    if (sigprocmask(SIG_BLOCK, &all, &guard.mask_before) != 0)
        fail("sigprocmask");
    sigaction(SIGCHLD, &usual, &guard.child_before);
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, death);
    guard.signals = signalfd(-1, &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
    if (guard.signals < 0)
        fail("signalfd");
    if (prctl(PR_SET_PDEATHSIG, death) != 0)
        fail("PR_SET_PDEATHSIG");
    if (getppid() != guard.run) /* it died before it could be noticed */
        exit(125);
}

/* So that the guard acts in time on a busy machine, and also when its own file lies on
 * storage that hangs.  Best effort: it works without. */
static void harden(void)
{
    struct sched_param priority = {.sched_priority = 1};
    guard.policy_before = sched_getscheduler(0);
    (void)sched_getparam(0, &guard.priority_before);
    guard.nice_before = getpriority(PRIO_PROCESS, 0);
    (void)mlockall(MCL_CURRENT | MCL_FUTURE);
    (void)sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &priority);
}

static int number(const char *text)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == 0 || *end != 0 || value < 0 || value > INT32_MAX) {
        errno = EINVAL;
        fail(text);
    }
    return (int)value;
}

int main(int count, char **arguments)
{
    if (count < 4) {
        fputs("this program belongs to `diskpaxos run` and is of no use by itself\n", stderr);
        return 125;
    }
    guard.control = number(arguments[1]);
    guard.run = (pid_t)number(arguments[2]);
    guard.arguments = arguments + 3;
    guard.self = getpid();
    guard.exec_pipe = -1;
    guard.term_at = guard.kill_at = guard.leave_at = NEVER;
    guard.childless = true;
    guard.again = KILL_AGAIN;
    if (fcntl(guard.control, F_SETFD, FD_CLOEXEC) != 0)
        fail("control socket");
    if (!tree_readable(guard.self)) {
        errno = ENOENT;
        fail("/proc, where it would find what the command starts");
    }
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        fail("PR_SET_CHILD_SUBREAPER");
    guard.timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (guard.timer < 0)
        fail("timerfd_create");
    take_signals();
    harden();
    tell(TELL_READY, 0, 0);

    while (!(guard.childless && (guard.command != 0 || guard.run_gone || guard.killing))) {
        wait_for_something();
        judge();
    }
    if (guard.command != 0)
        tell(TELL_EXITED, (uint64_t)guard.status, guard.left_behind);
    return 0;
}
