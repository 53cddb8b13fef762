/* simulate: runs histories, one per seed, and reports. */
#include "simulate.h"

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { MAX_JOBS = 64, MAX_SHOWN = 20, MAX_FAILURES = 256 };

typedef struct failure {
    uint64_t seed;
    enum violation violation;
    char complaint[400];
} failure;

/* Shared with the workers: each writes its own part. */
typedef struct worker {
    tally tally;
    uint64_t seed;     /* the one it is at */
    uint64_t next;     /* … and the one to go on with after a crash */
    bool finished;
    uint32_t failure_count;
    failure failures[MAX_FAILURES];
} worker;

typedef struct options {
    uint64_t seed, histories;
    double seconds;
    uint32_t jobs;
    uint32_t themes;
    bool one, trace, report, coverage, keep_going, stretched, net, sightings;
} options;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_RAW, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void note_failure(worker *self, const world *w)
{
    if (self->failure_count == MAX_FAILURES)
        return;
    failure *f = &self->failures[self->failure_count++];
    f->seed = w->seed;
    f->violation = w->violation;
    memcpy(f->complaint, w->complaint, sizeof f->complaint);
}

static world *new_world(const options *o)
{
    world *w = world_new();
    w->stretched = o->stretched;
    w->lenient = o->net;
    w->sightings = o->sightings;
    w->themes = o->themes;
    return w;
}

static void work(const options *o, worker *self, uint32_t stride, double until)
{
    world *w = new_world(o);
    while (self->next < o->seed + o->histories) {
        self->seed = self->next;
        self->next += stride;
        bool last = o->trace && self->seed + 1 == o->seed + o->histories;
        if (world_run(w, self->seed, &self->tally, last ? stdout : NULL) != VIOLATION_NONE) {
            note_failure(self, w);
            if (!o->keep_going)
                break;
        }
        if (o->seconds > 0 && (self->tally.histories & 63) == 0 && now() > until)
            break;
    }
    self->finished = true;
}

static pid_t start(const options *o, worker *self, double until)
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* not longer than who asked for it */
        work(o, self, o->jobs, until);
        fflush(stdout);
        _exit(0);
    }
    if (pid < 0) {
        fprintf(stderr, "simulate: fork: %s\n", strerror(errno));
        exit(2);
    }
    return pid;
}

/* A worker that died did so in the history of self->seed. */
static void note_crash(worker *self, int status)
{
    self->tally.violations[VIOLATION_CRASH]++;
    self->tally.histories++;
    if (self->failure_count == MAX_FAILURES)
        return;
    failure *f = &self->failures[self->failure_count++];
    f->seed = self->seed;
    f->violation = VIOLATION_CRASH;
    if (WIFSIGNALED(status))
        snprintf(f->complaint, sizeof f->complaint, "signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(f->complaint, sizeof f->complaint, "exit status %d", WEXITSTATUS(status));
}

static void run_all(const options *o, worker *workers, double until)
{
    pid_t pids[MAX_JOBS];
    uint32_t running = o->jobs;
    for (uint32_t i = 0; i < o->jobs; i++) {
        workers[i].next = o->seed + i;
        pids[i] = start(o, &workers[i], until);
    }
    while (running > 0) {
        int status;
        pid_t pid = wait(&status);
        for (uint32_t i = 0; i < o->jobs; i++) {
            if (pids[i] != pid)
                continue;
            if (workers[i].finished) {
                running--;
            } else {
                note_crash(&workers[i], status);
                if (o->keep_going)
                    pids[i] = start(o, &workers[i], until);
                else
                    running--;
            }
        }
    }
}

static void add(tally *sum, const tally *part)
{
    sum->histories += part->histories;
    sum->digest += part->digest;
    sum->events += part->events;
    sum->ios += part->ios;
    sum->writes += part->writes;
    for (uint32_t i = 0; i < FAULT_COUNT; i++)
        sum->faults[i] += part->faults[i];
    for (uint32_t i = 0; i < OUT_COUNT; i++)
        sum->outcomes[i] += part->outcomes[i];
    for (uint32_t i = 0; i < VIOLATION_COUNT; i++)
        sum->violations[i] += part->violations[i];
    for (uint32_t i = 0; i < RANKS; i++) {
        ranking_note(&sum->longest, part->longest.rank[i].value, part->longest.rank[i].seed);
        ranking_note(&sum->slowest, part->slowest.rank[i].value, part->slowest.rank[i].seed);
    }
}

static void print_table(const char *title, const char *const names[], const uint64_t counts[], uint32_t count)
{
    printf("\n%s\n", title);
    for (uint32_t i = 0; i < count; i++)
        printf("  %-40s %14llu\n", names[i], (unsigned long long)counts[i]);
}

static void print_ranking(const char *what, const ranking *r, double unit, const char *of)
{
    printf("%s", what);
    for (uint32_t i = 0; i < RANKS && r->rank[i].value > 0; i++)
        printf("%s %.*f%s (seed %llu)", i ? "," : ":", unit < 1, (double)r->rank[i].value * unit, of,
               (unsigned long long)r->rank[i].seed);
    printf("\n");
}

static void print_report(const options *o, const tally *sum, uint64_t through, double seconds)
{
    double rate = (double)sum->histories / seconds;
    printf("seeds %llu to %llu, %u job%s, %.1f s\n", (unsigned long long)o->seed, (unsigned long long)through,
           o->jobs, o->jobs > 1 ? "s" : "", seconds);
    printf("histories %llu (%.0f/s), I/Os %llu (%.0f per history, %.0f/s), events %llu, digest %016llx\n",
           (unsigned long long)sum->histories, rate, (unsigned long long)sum->ios,
           (double)sum->ios / (double)(sum->histories ? sum->histories : 1), (double)sum->ios / seconds,
           (unsigned long long)sum->events, (unsigned long long)sum->digest);
    print_ranking("longest histories, I/Os", &sum->longest, 1, "");
    print_ranking("slowest to serve everybody once faults stopped, of the bound", &sum->slowest, 0.1, " %");
    if (!o->report)
        return;
    print_table("faults", fault_names, sum->faults, FAULT_COUNT);
    print_table("outcomes", outcome_names, sum->outcomes, OUT_COUNT);
    print_table("violations", violation_names + 1, sum->violations + 1, VIOLATION_COUNT - 1);
}

static int conclude(const options *o, const worker *workers, const tally *sum)
{
    uint32_t shown = 0;
    uint64_t violations = 0;
    int status = 0;
    for (uint32_t i = 1; i < VIOLATION_COUNT; i++)
        violations += sum->violations[i];
    uint64_t kinds[VIOLATION_COUNT] = {0};
    for (uint32_t i = 0; i < o->jobs; i++) {
        for (uint32_t n = 0; n < workers[i].failure_count && shown < MAX_SHOWN; n++) {
            const failure *f = &workers[i].failures[n];
            if (++kinds[f->violation] > 4)
                continue; /* a few of each kind */
            shown++;
            printf("\nVIOLATION (%s) %s\n  simulate --seed %llu%s%s%s --trace\n", violation_names[f->violation],
                   f->complaint, (unsigned long long)f->seed, o->stretched ? " --stretched" : "",
                   o->net ? " --net" : "", o->sightings ? " --sightings" : "");
        }
    }
    if (violations > 0) {
        printf("\n%llu violation%s\n", (unsigned long long)violations, violations > 1 ? "s" : "");
        status = 1;
    }
    uint32_t kinds_of_fault = o->stretched ? FAULT_COUNT : FAULT_ORDINARY;
    for (uint32_t i = 0; o->coverage && i < kinds_of_fault; i++) {
        if (sum->faults[i] > 0)
            continue;
        printf("fault that never occurred: %s\n", fault_names[i]);
        status = status ? status : 3;
    }
    return status;
}

static int run_one(const options *o)
{
    tally count = {0};
    world *w = new_world(o);
    enum violation v = world_run(w, o->seed, &count, o->trace ? stdout : NULL);
    printf("seed %llu: %llu I/Os, %llu events, ", (unsigned long long)o->seed, (unsigned long long)count.ios,
           (unsigned long long)count.events);
    if (v == VIOLATION_NONE)
        printf("no violation\n");
    else
        printf("VIOLATION (%s) %s\n", violation_names[v], w->complaint);
    return v != VIOLATION_NONE;
}

static void usage(void)
{
    puts("simulate [--stretched] [--histories N] [--seconds T] [--seed S] [--jobs N] [--report] [--coverage]\n"
         "         [--keep-going]\n"
         "simulate --seed S --trace        one history, in words\n"
         "\n"
         "  --stretched     longer histories that strike at moments of their own: README.md\n"
         "  --theme NAME    of these only one kind, --without NAME: all but this one (may be repeated): sleepers,\n"
         "                  cuts, bits, reverts, changers, claimers, lives, none\n"
         "  --net           whoever overlooks its death is a violation only if its next looks at leases miss it\n"
         "  --sightings     processes are short-lived, and those of one machine share what they have seen\n"
         "  --histories N   how many, with seeds S, S+1, ... (default 10000)\n"
         "  --seconds T     stop after that time\n"
         "  --jobs N        processes (default 1)\n"
         "  --report        print faults, outcomes and violations by kind\n"
         "  --coverage      fail when some kind of fault never occurred\n"
         "  --keep-going    do not stop at the first violation\n"
         "exit status: 0 fine, 1 violations, 2 usage, 3 coverage");
}

static uint32_t theme_bit(const char *name)
{
    uint32_t i = 0;
    while (theme_names[i] && strcmp(theme_names[i], name) != 0)
        i++;
    return theme_names[i] ? 1u << i : 0;
}

static bool parse(int count, char **arguments, options *o)
{
    static const struct option known[] = {
        {"histories", required_argument, NULL, 'n'}, {"seconds", required_argument, NULL, 't'},
        {"seed", required_argument, NULL, 's'},      {"jobs", required_argument, NULL, 'j'},
        {"report", no_argument, NULL, 'r'},          {"trace", no_argument, NULL, 'T'},
        {"coverage", no_argument, NULL, 'c'},        {"keep-going", no_argument, NULL, 'k'},
        {"theme", required_argument, NULL, 'M'},     {"without", required_argument, NULL, 'W'},
        {"stretched", no_argument, NULL, 'S'},       {"net", no_argument, NULL, 'N'},
        {"sightings", no_argument, NULL, 'g'},       {"help", no_argument, NULL, 'h'},            {NULL, 0, NULL, 0},
    };
    bool many = false;
    bool seeded = false;
    int option;
    while ((option = getopt_long(count, arguments, "", known, NULL)) != -1) {
        switch (option) {
        case 'n': o->histories = strtoull(optarg, NULL, 0); many = true; break;
        case 't': o->seconds = strtod(optarg, NULL); many = true; break;
        case 's': o->seed = strtoull(optarg, NULL, 0); seeded = true; break;
        case 'j': o->jobs = (uint32_t)strtoul(optarg, NULL, 0); break;
        case 'r': o->report = true; break;
        case 'T': o->trace = true; break;
        case 'c': o->coverage = true; break;
        case 'k': o->keep_going = true; break;
        case 'S': o->stretched = true; break;
        case 'N': o->net = true; break;
        case 'g': o->sightings = true; break;
        case 'M': o->stretched = true; o->themes = theme_bit(optarg); break;
        case 'W': o->stretched = true; o->themes &= ~theme_bit(optarg); break;
        default: return false;
        }
    }
    o->one = seeded && !many;
    if (o->seconds > 0 && o->histories == 10000)
        o->histories = UINT64_C(1) << 40;
    return optind == count && o->themes != 0 && o->jobs >= 1 && o->jobs <= MAX_JOBS;
}

int main(int count, char **arguments)
{
    options o = {.seed = 1, .histories = 10000, .jobs = 1, .themes = UINT32_MAX};
    if (!parse(count, arguments, &o)) {
        usage();
        return 2;
    }
    if (o.one)
        return run_one(&o);
    worker *workers = mmap(NULL, o.jobs * sizeof *workers, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (workers == MAP_FAILED) {
        perror("simulate: mmap");
        return 2;
    }
    tally sum = {0};
    double began = now();
    run_all(&o, workers, began + o.seconds);
    uint64_t highest = o.seed;
    for (uint32_t i = 0; i < o.jobs; i++) {
        add(&sum, &workers[i].tally);
        highest = workers[i].seed > highest ? workers[i].seed : highest;
    }
    print_report(&o, &sum, highest, now() - began);
    return conclude(&o, workers, &sum);
}
