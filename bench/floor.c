/* The floor: the same I/Os as a lease operation, made bare, to hold diskpaxos against.
 *
 *   floor PATH
 *
 * opens PATH with O_DIRECT | O_DSYNC as diskpaxos does and then obeys lines on standard
 * input, one at a time, so that its operations can alternate with somebody else's:
 *
 *   COUNT WRITE_AT STEP WRITE_BYTES READ_BYTES
 *
 * does COUNT writes of WRITE_BYTES (0: none), at WRITE_AT, WRITE_AT + STEP, …, then as many
 * reads of READ_BYTES (0: none), the first at WRITE_AT rounded down to a multiple of 4096, and
 * answers with the nanoseconds that this took.  What is written is what was there before: nothing
 * on the disk changes.
 *
 * Plain pwrite and pread for COUNT 1; for more, Linux AIO by raw system calls, all writes in
 * flight together, then all reads, as a batch of leases does it.
 */
#define _GNU_SOURCE
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
#define MOST 4096u /* operations in one batch */

typedef struct order {
    unsigned count;
    uint64_t write_at, step;
    size_t write_bytes, read_bytes;
} order;

static int disk;
static aio_context_t context;
static uint8_t *writes, *reads; /* one piece per operation */
static struct iocb blocks[MOST];
static struct iocb *pointers[MOST];
static struct io_event events[MOST];

static void die(const char *what)
{
    fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void short_transfer(const char *what)
{
    fprintf(stderr, "floor: short %s\n", what);
    exit(1);
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_BOOTTIME, &time);
    return (uint64_t)time.tv_sec * UINT64_C(1000000000) + (uint64_t)time.tv_nsec;
}

static void *buffer(size_t bytes)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE;
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    return memory;
}

static size_t piece(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static void one(const order *o)
{
    if (o->write_bytes != 0 &&
        pwrite(disk, writes, o->write_bytes, (off_t)o->write_at) != (ssize_t)o->write_bytes)
        short_transfer("write");
    if (o->read_bytes != 0 &&
        pread(disk, reads, o->read_bytes, (off_t)(o->write_at / PAGE * PAGE)) != (ssize_t)o->read_bytes)
        short_transfer("read");
}

/* All of one kind in flight together; returns when all have completed. */
static void batch(const order *o, int opcode)
{
    int writing = opcode == IOCB_CMD_PWRITE;
    size_t bytes = writing ? o->write_bytes : o->read_bytes;
    for (unsigned i = 0; i < o->count; i++) {
        uint64_t at = o->write_at + i * o->step;
        memset(&blocks[i], 0, sizeof blocks[i]);
        blocks[i].aio_fildes = (uint32_t)disk;
        blocks[i].aio_lio_opcode = (uint16_t)opcode;
        blocks[i].aio_buf = (uint64_t)(uintptr_t)((writing ? writes : reads) + i * piece(bytes));
        blocks[i].aio_nbytes = bytes;
        blocks[i].aio_offset = (int64_t)(writing ? at : at / PAGE * PAGE);
        pointers[i] = &blocks[i];
    }
    for (long done = 0; done < (long)o->count;) {
        long n = syscall(SYS_io_submit, context, (long)o->count - done, pointers + done);
        if (n <= 0)
            die("io_submit");
        done += n;
    }
    for (long done = 0; done < (long)o->count;) {
        long n = syscall(SYS_io_getevents, context, 1L, (long)o->count - done, events, NULL);
        if (n < 0 && errno != EINTR)
            die("io_getevents");
        for (long i = 0; i < n; i++)
            if (events[i].res != (int64_t)bytes)
                short_transfer(writing ? "write" : "read");
        done += n > 0 ? n : 0;
    }
}

/* Keeps what is there, so that writing it again changes nothing. */
static void fetch(const order *o)
{
    for (unsigned i = 0; o->write_bytes != 0 && i < o->count; i++)
        if (pread(disk, writes + i * piece(o->write_bytes), o->write_bytes,
                  (off_t)(o->write_at + i * o->step)) != (ssize_t)o->write_bytes)
            short_transfer("read");
}

static uint64_t obey(const order *o)
{
    uint64_t from = now();
    if (o->count == 1) {
        one(o);
    } else {
        if (o->write_bytes != 0)
            batch(o, IOCB_CMD_PWRITE);
        if (o->read_bytes != 0)
            batch(o, IOCB_CMD_PREAD);
    }
    return now() - from;
}

int main(int count, char **arguments)
{
    if (count != 2) {
        fprintf(stderr, "usage: floor PATH\n");
        return 2;
    }
    disk = open(arguments[1], O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    if (disk < 0)
        die(arguments[1]);
    if (syscall(SYS_io_setup, MOST, &context) < 0)
        die("io_setup");
    size_t write_room = 0, read_room = 0;
    order o;
    while (scanf("%u %" SCNu64 " %" SCNu64 " %zu %zu", &o.count, &o.write_at, &o.step, &o.write_bytes,
                 &o.read_bytes) == 5) {
        if (o.count < 1 || o.count > MOST || o.step % PAGE != 0) {
            fprintf(stderr, "floor: out of range\n");
            return 2;
        }
        if (o.count * piece(o.write_bytes) > write_room)
            writes = buffer(write_room = o.count * piece(o.write_bytes));
        if (o.count * piece(o.read_bytes) > read_room)
            reads = buffer(read_room = o.count * piece(o.read_bytes));
        fetch(&o);
        printf("%" PRIu64 "\n", obey(&o));
        fflush(stdout);
    }
    return 0;
}
