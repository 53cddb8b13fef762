/* A client of a sanlock daemon, told what to do line by line, which times each call itself.
 *
 *   sanlock-client PATH OFFSET
 *
 * PATH, from OFFSET on, is a sanlock lockspace called "bench" (1 MiB), then one resource
 * r0, r1, … after the other (1 MiB each): sanlock's defaults for 512-byte sectors.  The daemon
 * is the one of SANLOCK_RUN_DIR.  Lines on standard input; times in nanoseconds, those of
 * CLOCK_BOOTTIME where they say when:
 *
 *   format IO_TIMEOUT RESOURCES       write lockspace and resources
 *   join HOST_ID IO_TIMEOUT           add_lockspace
 *   leave HOST_ID                     rem_lockspace
 *   take FIRST COUNT SHARED           acquire resources FIRST … in one call
 *   release FIRST COUNT               and release them in one call
 *   until FIRST DEADLINE PAUSE        take one again and again, PAUSE apart, until it is had
 *   at FIRST START                    take one at this time
 *   fight FIRST START END PAUSE       from START to END: take, release, again; PAUSE after a refusal
 *
 * Each is answered by one line: what sanlock returned (0: success), when the call began, when
 * it ended; of fight: 0, how often it was refused, and for each taking when it was first tried,
 * had, and when its release began.  The calls are libsanlock's public ones.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <sanlock.h>
#include <sanlock_admin.h>
#include <sanlock_resource.h>

#define MEBI (1024u * 1024u)

typedef struct sanlk_resource resource;

static struct sanlk_lockspace space;
static resource *wanted[SANLK_MAX_RESOURCES];
static uint64_t base;
static int registered = -1;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void sleep_until(uint64_t when)
{
    struct timespec t = {(time_t)(when / 1000000000u), (long)(when % 1000000000u)};
    while (clock_nanosleep(CLOCK_BOOTTIME, TIMER_ABSTIME, &t, NULL) == EINTR)
        ;
}

static resource *name(unsigned slot, unsigned number)
{
    resource *r = wanted[slot];
    memset(r, 0, sizeof *r + sizeof(struct sanlk_disk));
    memcpy(r->lockspace_name, space.name, sizeof r->lockspace_name);
    snprintf(r->name, sizeof r->name, "r%u", number);
    r->num_disks = 1;
    memcpy(r->disks[0].path, space.host_id_disk.path, sizeof r->disks[0].path);
    r->disks[0].offset = base + (uint64_t)(1 + number) * MEBI;
    return r;
}

static int format(uint32_t io_timeout, unsigned resources)
{
    int rv = sanlock_write_lockspace(&space, 0, 0, io_timeout);
    for (unsigned i = 0; rv == 0 && i < resources; i++)
        rv = sanlock_write_resource(name(0, i), 0, 0, 0);
    return rv;
}

static int take(unsigned first, unsigned count, int shared)
{
    for (unsigned i = 0; i < count; i++)
        name(i, first + i)->flags |= shared ? SANLK_RES_SHARED : 0;
    if (registered < 0)
        registered = sanlock_register();
    return registered < 0 ? registered : sanlock_acquire(registered, -1, 0, (int)count, wanted, NULL);
}

static int release(unsigned first, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        name(i, first + i);
    return sanlock_release(registered, -1, 0, (int)count, wanted);
}

static int until(unsigned first, uint64_t deadline, uint64_t pause)
{
    for (;;) {
        int rv = take(first, 1, 0);
        if (rv == 0 || now() >= deadline)
            return rv;
        sleep_until(now() + pause);
    }
}

static void fight(unsigned first, uint64_t start, uint64_t end, uint64_t pause)
{
    size_t taken = 0, room = 1u << 20;
    uint64_t *times = malloc(room * 3 * sizeof *times);
    unsigned long refused = 0;
    int rv = times == NULL ? -ENOMEM : 0;
    sleep_until(start);
    while (rv == 0 && now() < end && taken < room) {
        uint64_t begin = now();
        int got;
        while ((got = take(first, 1, 0)) != 0 && now() < end) {
            refused++;
            if (pause != 0)
                sleep_until(now() + pause);
        }
        if (got != 0)
            break;
        times[3 * taken] = begin;
        times[3 * taken + 1] = now();
        times[3 * taken++ + 2] = now();
        rv = release(first, 1);
    }
    printf("%d %lu", rv, refused);
    for (size_t i = 0; i < 3 * taken; i++)
        printf(" %" PRIu64, times[i]);
    printf("\n");
    free(times);
}

/* Every command but fight.  Returns what sanlock said; begin: when it was asked. */
static int obey(const char *verb, const uint64_t *n, uint64_t *begin)
{
    unsigned first = (unsigned)n[0], count = (unsigned)n[1];
    *begin = now();
    if (strcmp(verb, "take") == 0 && count <= SANLK_MAX_RESOURCES)
        return take(first, count, n[2] != 0);
    if (strcmp(verb, "release") == 0 && count <= SANLK_MAX_RESOURCES)
        return release(first, count);
    if (strcmp(verb, "until") == 0)
        return until(first, n[1], n[2]);
    if (strcmp(verb, "at") == 0) {
        sleep_until(n[1]);
        *begin = now();
        return take(first, 1, 0);
    }
    if (strcmp(verb, "format") == 0)
        return format((uint32_t)n[0], count);
    space.host_id = n[0];
    if (strcmp(verb, "join") == 0)
        return sanlock_add_lockspace_timeout(&space, 0, (uint32_t)n[1]);
    if (strcmp(verb, "leave") == 0)
        return sanlock_rem_lockspace(&space, 0);
    fprintf(stderr, "sanlock-client: what is %s?\n", verb);
    exit(2);
}

int main(int count, char **arguments)
{
    if (count != 3 || strlen(arguments[1]) >= sizeof space.host_id_disk.path) {
        fprintf(stderr, "usage: sanlock-client PATH OFFSET\n");
        return 2;
    }
    base = strtoull(arguments[2], NULL, 10);
    snprintf(space.name, sizeof space.name, "bench");
    snprintf(space.host_id_disk.path, sizeof space.host_id_disk.path, "%s", arguments[1]);
    space.host_id_disk.offset = base;
    for (unsigned i = 0; i < SANLK_MAX_RESOURCES; i++)
        if ((wanted[i] = calloc(1, sizeof(resource) + sizeof(struct sanlk_disk))) == NULL)
            return 1;
    char line[256], verb[16];
    while (fgets(line, sizeof line, stdin) != NULL) {
        uint64_t n[4] = {0}, begin;
        if (sscanf(line, "%15s %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, verb, &n[0], &n[1], &n[2], &n[3]) < 2)
            return 2;
        if (strcmp(verb, "fight") == 0) {
            fight((unsigned)n[0], n[1], n[2], n[3]);
        } else {
            int rv = obey(verb, n, &begin);
            printf("%d %" PRIu64 " %" PRIu64 "\n", rv, begin, now());
        }
        fflush(stdout);
    }
    return 0;
}
