/* Inside the host room: what a joined host is made of.
 *
 * One mutex per host (`lock`) guards everything here.  Machines are stepped under it by
 * whoever brings the event: an I/O thread that completed a request, the heart thread or
 * the steward whose alarm went off, a caller who begins something.  Nothing that touches
 * storage is ever done under it: requests are only queued (io/disk.h).
 *
 * A task is one machine with its memory.  It may outlive the call that began it: a round
 * that hangs, or still lowers its flag, belongs to the engine until it is quiet.
 */
#ifndef DPX_HOST_ENGINE_H
#define DPX_HOST_ENGINE_H

#include "members.h"

#include <sys/types.h>

#include "../protocol/change.h"
#include "../protocol/claim.h"
#include "host.h"

#define DPX_POOL_KEEP 8u     /* rounds of one lease kept for the next take */
#define DPX_SPARE_KEEP (60 * DPX_SECOND) /* … and the memory of a batch for the next one of its size */
#define DPX_WAKES_DEFERRED 8u
#define DPX_NEWS_KEPT 256u
#define DPX_WATCHES 2u       /* watch rounds under way at a time */
#define DPX_WATCH_BYTES (UINT64_C(2) << 20) /* of area buffers in one watch round, per disk */
#define DPX_WATCH_LEASES 32u
#define DPX_BURIALS 8u       /* background releases under way at a time */
#define DPX_FINDS_AGAIN 16u  /* how often an acquire follows a lease that keeps changing */

typedef struct dpx_entry dpx_entry;
typedef struct dpx_hold dpx_hold;
typedef struct dpx_task dpx_task;
typedef struct dpx_keeping dpx_keeping; /* recall.c */

/* ---- waiting ---- */

/* A thread inside the engine.  Kept in a pool for the host's life, because whoever wakes
 * it does so after letting go of the lock. */
typedef struct dpx_caller {
    _Atomic uint32_t word; /* futex: 1 when something happened */
    struct dpx_caller *next;
    struct dpx_caller *previous;
} dpx_caller;

/* A timer on CLOCK_BOOTTIME that one thread sleeps on and any thread may bring forward. */
typedef struct dpx_alarm {
    int fd;
    uint64_t armed; /* DPX_NEVER: its thread is awake, or sleeps for ever */
} dpx_alarm;

/* What this process may still write under one nonce (writers.c).  Kept in what writes: no memory can be missing. */
typedef struct dpx_writer {
    dpx_uuid nonce;
    bool listed;
    struct dpx_writer *next;
    struct dpx_writer *previous;
} dpx_writer;

/* ---- leases ---- */

typedef enum dpx_busy {
    DPX_IDLE = 0,
    DPX_BUSY_TAKING,
    DPX_BUSY_WAITING,   /* a take that may wait long for flags of others */
    DPX_BUSY_RELEASING,
    DPX_BUSY_LOWERING,  /* nobody's round any more: it voids or releases in the background */
    DPX_BUSY_WATCHING,
    DPX_BUSY_CHANGING,
} dpx_busy;

/* A lease as this host knows it.  Lives as long as the host: what it knows of its own
 * blocks must not be forgotten while it may write there. */
struct dpx_entry {
    dpx_lease lease;
    dpx_entry *chain;     /* of the name table */
    dpx_entry *next;      /* of all entries */
    uint64_t hash;
    dpx_hold *holds;      /* handles, lost ones included */
    uint32_t holders;
    bool lost;            /* watching found it lost; until the last handle is gone */
    bool damage_told;
    dpx_busy busy;
    enum dpx_mode busy_mode;
    uint64_t watch_due;
    uint64_t pass;        /* marks of queue.c */
    bool pass_exclusive;
};

struct dpx_hold {
    uint64_t handle;
    dpx_entry *entry;
    dpx_hold *next;       /* of the entry's, or of the free ones */
    dpx_hold *previous;
    dpx_hold *next_news;
    bool news;            /* its loss waits to be told */
    dpx_hold_state state;
    enum dpx_mode mode;
    uint64_t token;
    dpx_uuid lease;
};

/* A caller's claim on some entries against other callers of this host; FIFO. */
typedef struct dpx_queued {
    dpx_caller *caller;
    dpx_entry **entries;
    const enum dpx_mode *modes; /* NULL: all exclusive */
    uint32_t count;
    dpx_busy busy;   /* what the entries become when granted */
    bool lowers;     /* a release: holders do not stand in its way */
    bool once;       /* tries once: wants to know of every change */
    bool granted;
    struct dpx_queued *next;
    struct dpx_queued *previous;
} dpx_queued;

/* ---- machines ---- */

typedef enum dpx_task_kind { DPX_TASK_ROUND, DPX_TASK_CHANGE, DPX_TASK_CLAIM, DPX_TASK_HEART } dpx_task_kind;

struct dpx_task {
    dpx_host *host;
    dpx_task_kind kind;
    union {
        dpx_round *round;
        dpx_change *change;
        dpx_claim *claim;
        dpx_heart *heart;
    } machine;
    void *memory; /* of the machine */
    size_t bytes;
    uint32_t capacity;
    uint32_t count;
    dpx_wish *wishes;     /* capacity of them, as of the entries */
    dpx_entry **entries;
    dpx_wish one_wish;
    dpx_entry *one_entry;
    dpx_lease scratch;    /* of a change that mends an area, whatever lease it is */
    dpx_world *world;     /* whose lifetime gates its writes */
    dpx_world own_world;  /* of a claim on behalf of a dead host … */
    dpx_writer writer;    /* … whose record names this process, too */
    _Atomic uint64_t gate;
    dpx_alarm *alarm;
    uint64_t wake;
    dpx_caller *caller;   /* who waits for the verdict */
    void (*ended)(dpx_task *task); /* once, under the lock, when the verdict is there */
    bool active;
    bool reported;
    bool owned;           /* a thread still reads it: not to be recycled */
    bool near;            /* whoever steps it sleeps until its one request is complete */
    bool patient;         /* whoever waits for it does so for as long as its I/Os return one after the other */
    bool keeps;           /* its entries become free when its flag is down */
    uint64_t fitted_at;   /* when it was last given out for about as many leases as it has room for */
    uint32_t outstanding;
    uint32_t out[DPX_MAX_DISKS];
    uint32_t out_since[DPX_MAX_DISKS]; /* of the host's `downs`, when the last request was issued */
    dpx_task *next;
    dpx_task *previous;
};

/* ---- the host ---- */

struct dpx_host {
    pthread_mutex_t lock;
    dpx_space *space;
    dpx_geometry geometry;
    pid_t pid;
    dpx_join_options options;
    dpx_slot_record me;
    dpx_world world;
    void *peers_memory;
    _Atomic uint64_t gate; /* of every lease and heartbeat write: the lifetime, 0 when finished */
    dpx_listener listener;
    bool joined;
    bool leaving;
    bool over;
    dpx_end end;
    bool destroyed;
    uint32_t outstanding;  /* requests with the disks */
    dpx_writer writer;     /* until the life is over, nobody holds a handle, and all I/O has returned */

    dpx_caller *callers;      /* inside */
    dpx_caller *callers_free;
    uint32_t inside;
    dpx_caller *waiter;       /* waits for the first heartbeat, or for calm */
    const _Atomic uint32_t *wakes[DPX_WAKES_DEFERRED];
    uint32_t wake_count;

    dpx_arena arena;          /* of rounds of one lease */
    dpx_task *active;
    dpx_task *pool;
    uint32_t pooled;
    dpx_task *spare_batch;    /* the largest round of several leases that is not at work */
    dpx_task *trash;          /* freed by the steward, outside the lock */
    dpx_task *heart;
    dpx_task *claim;          /* while it may still hold a write of the slot record */
    dpx_task *spare_change;
    uint32_t watches;
    bool watch_wanted;
    uint32_t burials;
    dpx_task *reclaim;
    uint32_t reclaim_slot;
    uint64_t reclaim_after;
    uint64_t asked_until;     /* until when our requests to others stand; 0: there are none */
    bool asked;               /* others asked us to write our own block anew … */
    uint32_t asked_area;      /* … here */

    dpx_entry *entries;
    dpx_entry **table;
    uint32_t table_size;      /* a power of two */
    uint32_t entry_count;
    dpx_entry *directory;
    dpx_entry *nameless;      /* for work on an area whose name does not matter */
    dpx_entry **owners;       /* per area: whose own block this host's block there is */
    dpx_task *resolver;       /* a change that writes in an area without a name of ours: nobody else may … */
    uint32_t resolved_area;   /* … write there until it has ended */
    dpx_hold **holds;
    uint32_t holds_size;
    uint32_t held;            /* handles */
    dpx_hold *holds_free;
    uint64_t serial;
    dpx_queued *queue_first;
    dpx_queued *queue_last;
    dpx_queued *joining;
    uint64_t pass;

    bool stopping;
    pthread_t heart_thread;
    pthread_t steward_thread;
    bool heart_started;
    bool steward_started;
    void *heart_stack;
    size_t heart_stack_bytes;
    dpx_alarm heart_alarm;
    dpx_alarm steward_alarm;
    uint64_t next_chores;
    uint64_t next_hurry;
    uint64_t wants_known;     /* dpx_peers.wants, when the steward was last told */
    dpx_keeping *keeping;     /* NULL: nothing is kept for later processes */
    bool stalled[DPX_MAX_DISKS];
    bool disk_down[DPX_MAX_DISKS]; /* as last told */
    uint32_t downs[DPX_MAX_DISKS]; /* how often it was not to be used … */
    bool unlooked[DPX_MAX_DISKS];  /* … and the heart has not looked at our slot there and written it since */
    uint64_t beaten[DPX_MAX_DISKS]; /* sequence of the last record of ours that is durable there; 0: none */
    uint32_t copies;               /* disks (bits) whose path leads to a copy that lacks it */
    bool realtime;
    int harden_error;

    int event_fd;
    bool event_raised;
    dpx_hold *lost_first;
    dpx_hold *lost_last;
    bool end_news;
    dpx_event news[DPX_NEWS_KEPT]; /* a ring */
    uint32_t news_first;
    uint32_t news_count;
};

/* engine.c: entering, leaving, waiting */
dpx_status dpx_enter(dpx_host *host, dpx_caller **caller, dpx_failure *failure);
dpx_caller *dpx_caller_new(dpx_host *host); /* NULL: no memory */
void dpx_exit(dpx_host *host, dpx_caller *caller); /* lets go of the lock */
void dpx_lock(dpx_host *host);
void dpx_unlock(dpx_host *host);
void dpx_wake_caller(dpx_host *host, dpx_caller *caller);
/* Lets go of the lock while waiting.  False: the deadline has passed, or the caller's own
 * patience is at its end (then *deadline becomes 0). */
bool dpx_wait(dpx_host *host, dpx_caller *caller, uint64_t *deadline);
void dpx_life(dpx_host *host); /* the lifetime test; over → everyone is told, at once */
void dpx_finish(dpx_host *host, dpx_end end);
void dpx_rest(dpx_host *host); /* is this life over, and with it all that it could still write? */
uint64_t dpx_wall(void);
uint64_t dpx_deadline(uint64_t now, uint64_t timeout);
/* How long a call that tries once waits for an answer of the storage. */
uint64_t dpx_patience(const dpx_host *host);
int dpx_random_bytes(void *data, size_t bytes);

/* failures.c */
void dpx_failure_clear(dpx_failure *failure);
dpx_status dpx_fail(dpx_failure *failure, dpx_status status);
dpx_status dpx_fail_errno(dpx_failure *failure, int error);
dpx_status dpx_fail_finished(const dpx_host *host, dpx_failure *failure);
dpx_status dpx_fail_unanswered(const dpx_host *host, bool once, dpx_failure *failure);
dpx_status dpx_fail_verdict(const dpx_host *host, dpx_failure *failure, dpx_verdict verdict,
                            const dpx_cause *cause);
/* DPX_E_TIMEOUT, or DPX_E_HELD where somebody was seen to hold one of these. */
dpx_status dpx_fail_timeout(const dpx_host *host, dpx_entry *const *entries, uint32_t count, dpx_failure *failure);
void dpx_failure_flag(const dpx_host *host, dpx_failure *failure, const dpx_flag *flag);
void dpx_failure_path(const dpx_space *space, dpx_failure *failure); /* of its disk */

/* alarm.c */
int dpx_alarm_open(dpx_alarm *alarm);
void dpx_alarm_close(dpx_alarm *alarm);
void dpx_alarm_set(dpx_alarm *alarm, uint64_t when);
void dpx_alarm_sooner(dpx_alarm *alarm, uint64_t when); /* never later than it is */
void dpx_alarm_sleep(dpx_alarm *alarm);                 /* until it goes off; without the lock */
/* Starts a thread with all signals blocked; stack: NULL, or so many bytes (-EINVAL: too few). */
#define DPX_STACK (256u * 1024u)
int dpx_host_thread(pthread_t *thread, void *(*main)(void *), void *argument, void *stack, size_t bytes);

/* join.c */
void dpx_host_free(dpx_host *host);
dpx_member_vet dpx_vet_copy; /* peers.c */
void dpx_tell_disk(dpx_host *host, uint32_t disk, bool up, int error); /* steward.c; so are the next two */
bool dpx_majority_well(const dpx_host *host); /* of several disks: present, and not hanging */
bool dpx_stalled(const dpx_host *host, uint32_t disk, uint64_t now);

/* tasks.c: memory and stepping of machines */
dpx_task *dpx_task_new(dpx_host *host, dpx_task_kind kind, uint32_t capacity); /* without the lock, too */
void dpx_task_free(dpx_task *task);
dpx_task *dpx_task_round(dpx_host *host, uint32_t capacity); /* may let go of the lock; NULL: no memory */
void dpx_task_tidy(dpx_host *host, uint64_t now); /* gives back the memory of a batch that nobody repeats */
void dpx_task_start(dpx_task *task);  /* after the machine's begin: active, driven */
void dpx_task_drive(dpx_task *task);  /* the task may be gone afterwards, unless owned */
bool dpx_task_await(dpx_task *task, dpx_caller *caller, uint64_t *deadline);
bool dpx_task_moves(const dpx_task *task, uint64_t *deadline); /* engine.c: a deadline that is to come again */
/* The owner is through with it.  While it has no verdict its entries are the engine's
 * (DPX_BUSY_LOWERING); otherwise they are left as they are. */
void dpx_task_drop(dpx_task *task);
void dpx_task_cancel(dpx_task *task);
dpx_verdict dpx_task_verdict(const dpx_task *task);
const dpx_cause *dpx_task_cause(const dpx_task *task);
bool dpx_task_quiet(const dpx_task *task);
bool dpx_task_lowering(const dpx_task *task);

/* table.c: entries and handles */
int dpx_table_open(dpx_host *host);
void dpx_table_close(dpx_host *host);
dpx_entry *dpx_entry_find(dpx_host *host, const char *name, size_t length); /* NULL: never met */
dpx_entry *dpx_entry_get(dpx_host *host, const char *name, size_t length);  /* NULL: no memory */
/* Two names of this host must not write in one area (one may have moved there after the
 * other was deleted elsewhere).  entry NULL: a change that mends a stranger's area.  False:
 * the other one is busy there, or held. */
bool dpx_area_claim(dpx_host *host, dpx_entry *entry, uint32_t area);
/* The entry that knows this area, or the nameless one, to be pointed there.  NULL: no memory. */
dpx_entry *dpx_entry_by_area(dpx_host *host, uint32_t area);
dpx_hold *dpx_hold_new(dpx_host *host);                    /* NULL: no memory; in no entry yet */
void dpx_hold_give(dpx_host *host, dpx_hold *hold, dpx_entry *entry);
void dpx_hold_drop(dpx_host *host, dpx_hold *hold);        /* out of its entry, if it is in one */
dpx_hold *dpx_hold_find(const dpx_host *host, uint64_t handle);
void dpx_entry_lose(dpx_host *host, dpx_entry *entry);     /* all its handles are lost */

/* queue.c: conflicts within the host are settled before any I/O */
void dpx_queue_join(dpx_host *host, dpx_queued *queued);
void dpx_queue_leave(dpx_host *host, dpx_queued *queued);
bool dpx_queue_await(dpx_host *host, dpx_queued *queued, uint64_t *deadline);
void dpx_queue_kick(dpx_host *host);
/* What stands in the way of an entry wanted in this mode. */
typedef enum dpx_bar { DPX_BAR_NONE, DPX_BAR_HELD, DPX_BAR_BUSY, DPX_BAR_LOWERING } dpx_bar;
dpx_bar dpx_entry_bar(const dpx_entry *entry, enum dpx_mode mode, bool lowers);

/* events.c */
void dpx_tell(dpx_host *host, const dpx_event *event);
void dpx_tell_lost(dpx_host *host, dpx_hold *hold);
void dpx_untell(dpx_host *host, dpx_hold *hold);
void dpx_tell_end(dpx_host *host);

/* directory.c: one header change, waited for: for the storage and for other changes, not for holders.  The directory is
 * reserved meanwhile, and whoever waited for a holder with it would keep all other changes of this host. */
#define DPX_HELD_PAUSE (UINT64_C(150) * DPX_MS) /* between two tries at what a holder is in the way of */
typedef struct dpx_order {
    dpx_change_kind kind;
    dpx_entry *entry;  /* NULL (resolve): whatever lease has the area */
    uint32_t area;
    uint64_t deadline; /* becomes 0 when the caller's own patience is at its end */
    dpx_cause cause;   /* out */
} dpx_order;
/* DPX_RUNNING: no answer in time (failure says why); the entry may then be the engine's for
 * a while yet (DPX_BUSY_LOWERING). */
dpx_verdict dpx_change_run(dpx_host *host, dpx_caller *caller, dpx_order *order, dpx_failure *failure);

/* recall.c: what was seen of the slots, for and from other processes of this machine */
void dpx_recall_open(dpx_host *host);  /* before the first look */
void dpx_recall_run(dpx_host *host, uint64_t now);
void dpx_recall_close(dpx_host *host); /* without the lock, all threads of the host having ended */

/* process.c: this process, and whether others are gone */
int dpx_process_self(uint64_t *start_time, uint64_t *pid_namespace);
/* start_time: as that process found it itself; 0: it could not tell. */
bool dpx_process_gone(uint64_t pid, uint64_t start_time);

/* heal.c: own blocks that are damaged */
typedef enum dpx_heal {
    DPX_HEAL_NOT,   /* nothing that can be done from here */
    DPX_HEALED,     /* it was ours, and is written anew: worth another try */
    DPX_HEAL_ASKED, /* its owner lives, and is asked to write it: worth another try after a while */
} dpx_heal;
/* cause: of a round that met damage; mine: the entries that the caller has reserved. */
dpx_heal dpx_heal_met(dpx_host *host, dpx_caller *caller, const dpx_cause *cause, dpx_entry *const *mine,
                      uint32_t count);
bool dpx_heal_ask(dpx_host *host, uint32_t slot, uint32_t area); /* false: nobody lives there */
void dpx_heal_run(dpx_host *host, uint64_t now);

/* writers.c: what this process may still write */
void dpx_writer_enter(dpx_writer *writer, const dpx_uuid *nonce); /* instead of what it wrote under before */
void dpx_writer_leave(dpx_writer *writer);
bool dpx_writer_lives(const dpx_uuid *nonce);
void dpx_voids_add(const dpx_void *voids, uint32_t count); /* claims of this process that came to nothing */
bool dpx_voids_find(const dpx_incarnation *who, uint64_t *owned);
void dpx_voids_forget(const dpx_incarnation *who);

/* heart_thread.c, steward.c, watch.c, reclaim.c, peers.c */
int dpx_heart_start(dpx_host *host);
int dpx_steward_start(dpx_host *host);
void dpx_watch_run(dpx_host *host, uint64_t now);
uint64_t dpx_watch_period(const dpx_host *host);
void dpx_watch_plan(dpx_host *host, dpx_entry *entry, uint64_t now);
void dpx_orphans_run(dpx_host *host);
void dpx_reclaim_run(dpx_host *host, uint64_t now);
int dpx_reclaim_start(dpx_host *host, uint32_t slot);
void dpx_check_processes(dpx_host *host);

#endif
