/* Private to this room: how a disk is made up.
 *
 *   lane     a queue of requests and the workers that carry them out, one request each
 *   worker   a thread with an AIO context; the only threads that submit and reap
 *   opener   the thread that opens and closes, either of which may hang
 *   clerk    the thread that completes what was never started.  It touches no storage, so it
 *            never hangs, and callers may hold locks that callbacks want
 *
 * Locks: desk before lane; the clerk's is taken alone; none while calling back.
 */
#ifndef DPX_IO_INSIDE_H
#define DPX_IO_INSIDE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sched.h>

#include "disk.h"

#define DPX_LANES 2u
#define DPX_WORK_DEPTH 128u /* I/Os in flight per worker, at most */
#define DPX_HEART_DEPTH 32u
#define DPX_MAX_WORKERS 64u /* per lane, replacements for hung ones included */
#define DPX_STACK_BYTES (256u * 1024u)
#define DPX_QUEUEING UINT64_C(100000000) /* ns; until it is set */

/* ---- sleeping and waking (clock.c) ---- */

/* Sleeps while *word is `value`, at most until `deadline` (CLOCK_BOOTTIME, ns; UINT64_MAX:
 * for ever).  May return early.  False: the deadline has come. */
bool dpx_sleep(_Atomic uint32_t *word, uint32_t value, uint64_t deadline);
void dpx_wake(_Atomic uint32_t *word, int threads);

/* ---- threads (thread.c) ---- */

typedef struct dpx_thread {
    pthread_t id;
    void *stack; /* guard page and stack */
    size_t stack_bytes;
    bool running;
    const char *name;
    void (*body)(void *argument);
    void *argument;
} dpx_thread;

/* All signals are blocked in it: they belong to the program.  0 or -errno. */
int dpx_thread_start(dpx_thread *thread, const char *name, void (*body)(void *), void *argument);
void dpx_thread_join(dpx_thread *thread);  /* and frees the stack */
void dpx_thread_leave(dpx_thread *thread); /* never joined: it may hang for ever */
/* Locks the stack in memory; real-time priority.  0 or -errno of the first refusal. */
int dpx_thread_harden(dpx_thread *thread, int realtime_priority);

/* Where a sleeping thread wakes: bound to the processor of whoever wakes it and goes to sleep next, it
 * starts there as soon as that is free, with warm caches and no other processor to be roused
 * (docs/decisions/0012).  Awake, it runs where it may again. */
typedef struct dpx_bond {
    pid_t thread;
    bool bound;
    cpu_set_t before;
} dpx_bond;

void dpx_bond_self(dpx_bond *bond); /* this thread's */
void dpx_bond_here(dpx_bond *bond); /* before it is woken */
void dpx_bond_end(dpx_bond *bond);  /* by the thread itself, once it is awake */

/* A mutex that lends the priority of who waits for it to who holds it, where supported. */
int dpx_lock_init(pthread_mutex_t *lock);

/* ---- opened files ---- */

typedef struct dpx_handle {
    int fd;
    bool plain; /* single I/Os are plain calls */
    _Atomic uint32_t users; /* each lane while it is the current one, and each worker using it */
    struct dpx_handle *next;
} dpx_handle;

/* ---- how many in flight (depth.c) ---- */

/* Of a lane.  Its workers share it. */
typedef struct dpx_depth {
    _Atomic uint32_t window;     /* I/Os of one request in flight */
    _Atomic uint64_t quickest;   /* what an I/O takes here that waits for no other one, ns; 0: not known yet */
    _Atomic uint64_t lowered_at; /* what was issued before says nothing of the present window */
} dpx_depth;

void dpx_depth_start(dpx_depth *depth);
uint32_t dpx_depth_now(const dpx_depth *depth);
/* Some I/Os have returned at `now`: how many, how many were in flight, how long the quickest of them took, when the
 * oldest of them was issued; queueing: how long one may wait for others. */
typedef struct dpx_return {
    uint64_t now;
    uint32_t count;
    uint32_t in_flight;
    uint64_t quickest;
    uint64_t oldest;
} dpx_return;
void dpx_depth_learn(dpx_depth *depth, const dpx_return *returned, uint64_t queueing);

/* ---- AIO (aio.c) ---- */

typedef struct dpx_aio {
    aio_context_t context;
    uint32_t depth;
    uint32_t free_count;
    uint32_t free[DPX_WORK_DEPTH]; /* slots not in flight */
    struct iocb control[DPX_WORK_DEPTH];
    dpx_extent *extent[DPX_WORK_DEPTH];
    _Atomic uint64_t issued[DPX_WORK_DEPTH]; /* per slot; 0: not in flight */
    struct iocb *list[DPX_WORK_DEPTH];
    struct io_event events[DPX_WORK_DEPTH];
} dpx_aio;

int dpx_aio_start(dpx_aio *aio, uint32_t depth);
void dpx_aio_end(dpx_aio *aio);
uint64_t dpx_aio_oldest(const dpx_aio *aio);

/* Asked immediately before each submission: 0, or why nothing more may be issued. */
typedef int dpx_permit(void *context, bool write, uint64_t *now);

typedef struct dpx_batch {
    int fd;
    bool plain; /* a single extent: by a plain call */
    bool write;
    uint32_t block_size;
    dpx_extent *extents;
    uint32_t count;
    dpx_permit *permit;
    void *context;
    dpx_depth *depth;
    uint64_t queueing;
    _Atomic uint64_t *moved_at; /* out: when one last returned */
    uint64_t issued_at;    /* out: before the first submission, 0: none */
    uint64_t completed_at; /* out: after the last return */
    bool issued;           /* out: something may have reached the device */
} dpx_batch;

/* Puts all extents in flight, as many at a time as the context holds, and waits for all of
 * them.  0 or the error of the first extent that has one. */
int dpx_aio_run(dpx_aio *aio, dpx_batch *batch);

/* ---- lanes and workers (lane.c) ---- */

typedef struct dpx_worker {
    dpx_thread thread;
    struct dpx_disk *disk;
    struct dpx_queue *lane;
    struct dpx_worker *next_idle;
    dpx_bond bond;         /* whoever has taken it off the idle ones may set it, then rings */
    _Atomic uint32_t bell; /* 1: look at the queue */
    bool calling;          /* in a callback: this thread's own */
    bool kept;             /* … which queued a request that this worker takes next */
    dpx_aio aio;
} dpx_worker;

typedef struct dpx_queue {
    pthread_mutex_t lock;
    dpx_request *head;
    dpx_request *tail;
    dpx_worker *idle;
    uint32_t busy;    /* workers that carry a request or call back */
    uint32_t calling; /* … that call back */
    bool closed;      /* takes no requests any more */
    bool abandoned;   /* what hangs is left behind: issues nothing, calls nobody */
    bool quit;
    dpx_handle *handle; /* where requests go; NULL: not open */
    const char *name;
    uint32_t depth; /* at most */
    dpx_depth now;
    uint32_t wanted;
    _Atomic uint32_t worker_count;
    dpx_worker *workers[DPX_MAX_WORKERS];
} dpx_queue;

int dpx_lane_init(struct dpx_disk *disk, dpx_queue *lane, const char *name, uint32_t depth,
                  uint32_t wanted);
int dpx_lane_add_worker(struct dpx_disk *disk, dpx_queue *lane);
void dpx_lane_submit(struct dpx_disk *disk, dpx_queue *lane, dpx_request *request, bool near);
/* Unlinks and returns the queued requests older than `since`, in order. */
dpx_request *dpx_lane_take_older(dpx_queue *lane, uint64_t since);
/* From now on requests go to another handle (NULL: nowhere), of which the lane becomes a user.
 * What was queued was meant for the old one and is refused.  Returns the old one, NULL if
 * there was none: the lane's use of it is the caller's to end. */
dpx_handle *dpx_lane_change(struct dpx_disk *disk, dpx_queue *lane, dpx_handle *handle);
/* Nothing queued, carried or called back. */
bool dpx_lane_idle(dpx_queue *lane);
void dpx_lane_close(dpx_queue *lane);
/* From now on its workers issue nothing and call nobody, and none is calling. */
void dpx_lane_abandon(struct dpx_disk *disk, dpx_queue *lane);
void dpx_lane_quit(dpx_queue *lane);
/* After quit: waits for the workers and frees them. */
void dpx_lane_end(dpx_queue *lane);

/* ---- the clerk (clerk.c) ---- */

typedef struct dpx_clerk {
    dpx_thread thread;
    pthread_mutex_t lock;
    dpx_request *head;
    dpx_request *tail;
    bool calling;
    bool quit;
    _Atomic uint32_t bell;
} dpx_clerk;

int dpx_clerk_start(struct dpx_disk *disk);
/* A chain of requests, linked through queue.next, none of which was started. */
void dpx_clerk_give(struct dpx_disk *disk, dpx_request *chain, int error);
bool dpx_clerk_idle(struct dpx_disk *disk);
void dpx_clerk_quit(struct dpx_disk *disk);

/* ---- the opener (opener.c) ---- */

/* What callers wait for, and the opener does. */
typedef struct dpx_errand {
    uint32_t waiting;  /* callers; with none, what was opened is closed again */
    uint64_t begun;    /* attempts, counted … */
    uint64_t finished; /* … so begun > finished: one is running */
    bool wanted;       /* the next one */
    int error;         /* of the last one that finished */
    dpx_disk_facts facts;
} dpx_errand;

typedef struct dpx_opener {
    dpx_thread thread;
    pthread_mutex_t lock; /* "desk" */
    dpx_errand open;
    dpx_errand look;      /* where the path leads now */
    dpx_handle *closing;
    uint32_t open_handles; /* not closed yet */
    bool quit;
    bool gone; /* its thread has ended */
    _Atomic uint32_t bell;
} dpx_opener;

int dpx_opener_start(struct dpx_disk *disk);
/* A user of the handle less; the last one hands it to the opener to be closed. */
void dpx_handle_drop(struct dpx_disk *disk, dpx_handle *handle);
bool dpx_opener_idle(struct dpx_disk *disk); /* nothing open, nothing being opened or closed */
void dpx_opener_quit(struct dpx_disk *disk);
int dpx_path_open(const char *path, bool read_only, int *fd, dpx_disk_facts *facts); /* path.c */
int dpx_path_leads(const char *path, dpx_disk_facts *facts);

/* ---- the disk ---- */

struct dpx_disk {
    char *path; /* absolute */
    bool read_only;
    _Atomic bool opened;
    _Atomic uint32_t block_size;
    _Atomic uint64_t queueing;
    _Atomic uint32_t outstanding;
    _Atomic int realtime_priority; /* once hardened; for replacement workers; 0: not */
    _Atomic uint32_t watchers;     /* threads that may sleep on `event` */
    _Atomic uint32_t event;        /* counts moments at which something became idle or ended */
    dpx_queue lanes[DPX_LANES];
    dpx_clerk clerk;
    dpx_opener opener;
};

/* Sleeps until something has happened since `seen` was read from `event`.  False: deadline. */
static inline bool dpx_disk_await(dpx_disk *disk, uint32_t seen, uint64_t deadline)
{
    return dpx_sleep(&disk->event, seen, deadline);
}

/* Something became idle or ended. */
static inline void dpx_disk_event(dpx_disk *disk)
{
    atomic_fetch_add(&disk->event, 1);
    if (atomic_load(&disk->watchers))
        dpx_wake(&disk->event, INT32_MAX);
}

#endif
