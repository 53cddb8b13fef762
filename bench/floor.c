/* The floor: the same I/Os as a lease operation, made bare, to hold diskpaxos against.
 *
 *   floor PATH
 *
 * opens PATH with O_DIRECT | O_DSYNC as diskpaxos does and then obeys lines on standard
 * input, one at a time, so that its operations can alternate with somebody else's:
 *
 *   COUNT DEPTH AT STEP UNTIL STEPS
 *
 * STEPS is a sequence like r36864w512r36864: a read, a write, a read of so many bytes, each
 * begun when the one before has completed.  Each is made COUNT times, at most DEPTH of them in
 * flight together: writes at AT, AT + STEP, …, reads at AT rounded down to a multiple of 4096, and
 * so on.  If UNTIL (nanoseconds of CLOCK_BOOTTIME) is not 0, the sequence is repeated until then.
 * The answer: the nanoseconds that it took, and how often the sequence was done.  What is written
 * is what was there before: nothing on the disk changes.
 *
 * Plain pwrite and pread for COUNT 1; for more, Linux AIO by raw system calls.  Where COUNT is more
 * than DEPTH, a quarter of those in flight is waited for before more are submitted.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/aio_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define MOST 4096u /* I/Os of a step */
#define STEPS 8u

typedef struct step {
    int writing;
    size_t bytes;
} step;

typedef struct order {
    unsigned count, depth, steps;
    uint64_t at, apart, until;
    step step[STEPS];
} order;

static int disk;
static aio_context_t context;
static unsigned context_room; /* I/Os in flight that it has room for */
static uint8_t *writes, *reads; /* one piece per I/O */
static size_t write_room, read_room;
static struct iocb blocks[MOST];
static struct iocb *pointers[MOST];
static struct io_event events[MOST];

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void wrong(const char *what)
{
    fprintf(stderr, "floor: %s\n", what);
    exit(2);
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_BOOTTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* Whole pages for one I/O, so that neighbours do not share any. */
static size_t piece(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static void grow(uint8_t **buffer, size_t *room, size_t bytes)
{
    if (bytes <= *room)
        return;
    if (*room != 0)
        munmap(*buffer, *room);
    *buffer = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (*buffer == MAP_FAILED)
        die("mmap");
    *room = bytes;
}

static uint64_t place(const order *o, const step *s, unsigned i)
{
    uint64_t at = o->at + i * o->apart;
    return s->writing ? at : at / PAGE * PAGE;
}

static void one(const order *o, const step *s)
{
    off_t at = (off_t)place(o, s, 0);
    ssize_t n = s->writing ? pwrite(disk, writes, s->bytes, at) : pread(disk, reads, s->bytes, at);
    if (n != (ssize_t)s->bytes)
        wrong(s->writing ? "short write" : "short read");
}

/* A context, once there is a batch: those of a whole machine are limited (fs.aio-max-nr). */
static void make_context(unsigned depth)
{
    if (depth <= context_room)
        return;
    if (context_room != 0)
        syscall(SYS_io_destroy, context);
    context = 0;
    if (syscall(SYS_io_setup, depth, &context) < 0)
        die("io_setup");
    context_room = depth;
}

static long submit(long from, long until)
{
    long n = syscall(SYS_io_submit, context, until - from, pointers + from);
    if (n <= 0)
        die("io_submit");
    return n;
}

/* Waits for at least so many. */
static long reap(const step *s, long least, long most)
{
    long n = syscall(SYS_io_getevents, context, least, most, events, NULL);
    if (n < 0 && errno != EINTR)
        die("io_getevents");
    for (long i = 0; i < n; i++)
        if (events[i].res != (int64_t)s->bytes)
            wrong(s->writing ? "short write" : "short read");
    return n > 0 ? n : 0;
}

/* All of one step, as many in flight as there may be; returns when all have completed. */
static void batch(const order *o, const step *s)
{
    for (unsigned i = 0; i < o->count; i++) {
        memset(&blocks[i], 0, sizeof blocks[i]);
        blocks[i].aio_fildes = (uint32_t)disk;
        blocks[i].aio_lio_opcode = s->writing ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
        blocks[i].aio_buf = (uint64_t)(uintptr_t)((s->writing ? writes : reads) + i * piece(s->bytes));
        blocks[i].aio_nbytes = s->bytes;
        blocks[i].aio_offset = (int64_t)place(o, s, i);
        pointers[i] = &blocks[i];
    }
    long count = (long)o->count, begun = 0, done = 0;
    while (done < count) {
        long full = done + (long)o->depth < count ? done + (long)o->depth : count;
        while (begun < full)
            begun += submit(begun, full);
        long in_flight = begun - done;
        done += reap(s, begun < count ? (in_flight + 3) / 4 : in_flight, in_flight);
    }
}

/* Memory for all steps, and in it what is on the disk, so that writing it again changes nothing. */
static void prepare(const order *o)
{
    size_t written = 0;
    for (unsigned k = 0; k < o->steps; k++) {
        const step *s = &o->step[k];
        grow(s->writing ? &writes : &reads, s->writing ? &write_room : &read_room, o->count * piece(s->bytes));
        if (s->writing && written != 0 && written != s->bytes)
            wrong("writes of different lengths");
        written = s->writing ? s->bytes : written;
    }
    for (unsigned i = 0; written != 0 && i < o->count; i++)
        if (pread(disk, writes + i * piece(written), written, (off_t)(o->at + i * o->apart)) != (ssize_t)written)
            wrong("short read");
}

static unsigned long obey(const order *o)
{
    unsigned long times = 0;
    do {
        for (unsigned k = 0; k < o->steps; k++)
            (o->count == 1 ? one : batch)(o, &o->step[k]);
        times++;
    } while (now() < o->until);
    return times;
}

/* r36864w512 → its steps. */
static void parse(order *o, const char *text)
{
    for (o->steps = 0; *text != '\0'; o->steps++) {
        if (o->steps == STEPS || (*text != 'r' && *text != 'w') || !isdigit((unsigned char)text[1]))
            wrong("steps are like r36864w512r36864");
        char *end;
        o->step[o->steps] = (step){*text == 'w', strtoul(text + 1, &end, 10)};
        text = end;
    }
}

int main(int count, char **arguments)
{
    if (count != 2)
        wrong("usage: floor PATH");
    disk = open(arguments[1], O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (disk < 0)
        die(arguments[1]);
    order o;
    char steps[128];
    while (scanf("%u %u %" SCNu64 " %" SCNu64 " %" SCNu64 " %127s", &o.count, &o.depth, &o.at, &o.apart, &o.until,
                 steps) == 6) {
        if (o.count < 1 || o.count > MOST || o.depth < 1 || o.depth > MOST || o.apart % PAGE != 0)
            wrong("out of range");
        parse(&o, steps);
        prepare(&o);
        if (o.count > 1)
            make_context(o.depth < o.count ? o.depth : o.count);
        uint64_t from = now();
        unsigned long times = obey(&o);
        printf("%" PRIu64 " %lu\n", now() - from, times);
        fflush(stdout);
    }
    return 0;
}
