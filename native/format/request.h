/* What a pure machine asks of a disk: some writes, then some reads.
 *
 * The driver of the machine (I/O engine, simulator, fuzzer) carries it out:
 *   1. Immediately before the writes are issued it reads its clock; at or past the gate
 *      (the host's lifetime) it issues nothing and completes the request with -ETIME.
 *   2. All writes are put in flight together.  When all have returned, and all without
 *      error, the reads are put in flight together; after a failed write the reads get
 *      -ECANCELED.
 *   3. The request is complete when everything that was issued has returned.  It may
 *      never be: then the machine goes on without that disk.
 * A short transfer is an error (-EIO).  The machine owns the request and its memory, which
 * must stay in place until completion.
 */
#ifndef DPX_FORMAT_REQUEST_H
#define DPX_FORMAT_REQUEST_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct dpx_extent {
    uint64_t block;
    uint32_t count; /* blocks */
    int32_t error;  /* out: 0 or -errno */
    void *data;     /* aligned to 512 at least, and to the block size */
} dpx_extent;

typedef struct dpx_request {
    uint32_t disk;
    uint32_t write_count;
    uint32_t read_count;
    dpx_extent *writes;
    dpx_extent *reads;

    /* Out, by the driver; times on CLOCK_BOOTTIME, ns; 0: it did not come to that. */
    int32_t error;               /* 0, or the first error of any extent, or why nothing was issued */
    bool writes_issued;          /* false: no write of this request can ever reach the disk */
    uint64_t write_issued_at;    /* immediately before */
    uint64_t write_completed_at; /* when the last write had returned */
    uint64_t read_issued_at;
    uint64_t read_completed_at;
    _Atomic uint64_t moved_at;   /* while it is carried out: when one of its I/Os last returned */

    bool outstanding; /* the machine's: handed out and not yet completed */
    uint32_t sweep;   /* the machine's: which of its sweeps it belongs to */
    void *driver;     /* the driver's own */

    struct { /* the I/O room's, while it has the request */
        struct dpx_request *next;
        uint64_t since;
        const void *gate;
        void (*done)(void *context, struct dpx_request *request);
        void *context;
    } queue;
} dpx_request;

#endif
