/* One disk of a lockspace: a file or block device, reached with O_DIRECT | O_DSYNC only
 * from I/O threads of its own.
 *
 * Every system call that touches the storage (open, fstat, ioctl, io_submit, close) may
 * hang in the kernel, so all of them are made by the disk's threads; callers wait
 * elsewhere, with deadlines.  Inside the threads Linux AIO by raw system calls: it keeps a
 * batch in flight, and a process exit waits for it (protocol, section 5).  A single I/O is a
 * plain call where an exit waits for those, too.
 *
 * Lanes: the heartbeat has a thread to itself; all other requests share a small pool, so
 * that a batch of a thousand leases never stands in the way of a heartbeat.
 *
 * This room knows blocks and requests, nothing of leases.
 */
#ifndef DPX_IO_DISK_H
#define DPX_IO_DISK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../format/request.h"

typedef struct dpx_disk dpx_disk;

typedef enum dpx_lane { DPX_LANE_HEART = 0, DPX_LANE_WORK = 1 } dpx_lane;

typedef struct dpx_disk_facts {
    uint64_t bytes;          /* size of the file or device */
    uint32_t logical_block;  /* of the device; what O_DIRECT wants (512 for most files) */
    bool block_device;
    bool network;            /* on NFS (statfs) */
    bool plain_drains;       /* a plain call there ends before its process does, whatever kills that */
    uint64_t device;         /* st_dev and st_ino, or st_rdev and 0: the same disk given twice? */
    uint64_t inode;
} dpx_disk_facts;

/* Starts the threads (workers for DPX_LANE_WORK, at least 1).  Nothing is opened yet.
 * 0 or -errno. */
int dpx_disk_start(const char *path, bool read_only, uint32_t workers, dpx_disk **out);

/* Opens in an I/O thread; waits at most until `deadline` (CLOCK_BOOTTIME, ns).  May be
 * called again after a failure or to reopen (the path may lead to another device now):
 * the old descriptor is closed once its I/O has returned, and what was queued for it and not
 * started gets -ENODEV; a failed attempt leaves the old one in use.  0, -ETIMEDOUT (the thread may
 * still be hanging in it; try again later), or -errno: -ENOENT, -EACCES, -EROFS,
 * -EINVAL (O_DIRECT not supported there), -EISDIR and -ENODEV for what is neither a
 * regular file nor a block device. */
int dpx_disk_open(dpx_disk *disk, uint64_t deadline, dpx_disk_facts *facts);
bool dpx_disk_is_open(const dpx_disk *disk);
/* Where the path leads now, which may be elsewhere than when it was opened: only `device` and `inode` are told.  Waits
 * like dpx_disk_open. */
int dpx_disk_leads(dpx_disk *disk, uint64_t deadline, dpx_disk_facts *facts);

/* Geometry of requests: bytes per block.  Set once the superblock is known; 512 before. */
void dpx_disk_block_size(dpx_disk *disk, uint32_t bytes);

/* How long an I/O may wait behind others that were issued together with it, ns: as many are in flight at a time as keep
 * below that, so that a heartbeat does not wait behind a batch for longer.  100 ms until it is set. */
void dpx_disk_queueing(dpx_disk *disk, uint64_t time);

/* Called in a thread of the disk (never the caller's, not even for a request that is refused or
 * expired) when a request is complete, without any lock held. */
typedef void dpx_disk_done(void *context, dpx_request *request);

/* Queues a request (request.h says how it is carried out).  Never blocks on storage.
 * gate: no write is issued at or after *gate (CLOCK_BOOTTIME, ns); NULL: no gate.
 * A disk that is not open completes it at once with -ENODEV; a read-only one refuses writes with -EROFS. */
void dpx_disk_submit(dpx_disk *disk, dpx_lane lane, dpx_request *request, const _Atomic uint64_t *gate,
                     dpx_disk_done *done, void *context);
/* Likewise, by a thread that sleeps until it is complete: the worker that is woken starts on this
 * processor, which is about to be free. */
void dpx_disk_submit_near(dpx_disk *disk, dpx_lane lane, dpx_request *request, const _Atomic uint64_t *gate,
                          dpx_disk_done *done, void *context);

/* Completes with -ETIMEDOUT, nothing issued, every request that has been queued without
 * being started since before `since`.  (What was issued can only be waited for.) */
void dpx_disk_expire(dpx_disk *disk, uint64_t since);

/* Issue time of the oldest I/O that has not returned, 0 if there is none. */
uint64_t dpx_disk_oldest(const dpx_disk *disk);
/* Requests submitted whose callback has not begun. */
uint32_t dpx_disk_outstanding(const dpx_disk *disk);

/* Pins the heartbeat lane's stack and gives it real-time priority where permitted.
 * Returns 0 or the -errno of the first refusal (the rest is tried all the same). */
int dpx_disk_harden(dpx_disk *disk, int realtime_priority);

/* Waits until `deadline` for all I/O to return, then ends the threads and frees.  False:
 * something still hangs; the disk is left to itself for ever (its threads must not be
 * pulled from under the kernel) and its memory is not freed.  By then what was not started
 * has completed with -ECANCELED, as does what is submitted meanwhile; of what hangs nothing
 * more is issued, the memory stays in use, and no callback comes.  It waits for callbacks:
 * no lock that they take may be held, and none may call it. */
bool dpx_disk_stop(dpx_disk *disk, uint64_t deadline);

/* CLOCK_BOOTTIME, ns. */
uint64_t dpx_now(void);

/* Memory for I/O: aligned to 4096, zeroed, by mmap; NULL without memory. */
void *dpx_buffer_new(size_t bytes);
void dpx_buffer_free(void *buffer, size_t bytes);

/* Such memory for single requests, many of which fit into one large page: a read into it is one stretch
 * of the machine's memory where the kernel grants that page (docs/decisions/0013). */
typedef struct dpx_arena {
    uint8_t *page; /* NULL: nothing to give */
    size_t piece;  /* whole small pages */
    uint32_t count;
    _Atomic uint64_t taken; /* a bit per piece */
} dpx_arena;

void dpx_arena_open(dpx_arena *arena, size_t piece); /* without memory, or for large pieces: an empty one */
void dpx_arena_close(dpx_arena *arena);
/* Any thread's.  As it was given back, not zeroed; NULL: none is left. */
void *dpx_arena_take(dpx_arena *arena);
bool dpx_arena_give(dpx_arena *arena, void *piece); /* false: not one of them */

#endif
