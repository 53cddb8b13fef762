/* A joined host: the engine that drives the protocol machines over the disks.
 *
 * Threads: per disk its I/O threads (io/disk.h), whose completions step the machines; one
 * heart thread (heartbeats, verdicts, lifetime; never touches Python); one steward thread
 * (timers of rounds, watching what is held, reopening disks, reclaiming drained slots).
 * Callers block on a condition with a deadline; a caller that gives up leaves its round to
 * the engine, which voids it.  All functions are thread-safe.
 */
#ifndef DPX_HOST_HOST_H
#define DPX_HOST_HOST_H

#include "../protocol/claim.h"
#include "../protocol/heart.h"
#include "space.h"

typedef struct dpx_host dpx_host;

/* Asked about every 100 ms by the calling thread while it waits in a function below (join,
 * acquire, release, leave, retire, resolve, …), without any lock held.  True: the call ends
 * as if its time had run out (DPX_E_TIMEOUT, or DPX_E_HELD where a holder was seen; an acquire has taken
 * nothing, its round is voided).  So signals reach a caller that waits for ever.  NULL: never. */
typedef bool dpx_impatient(void *context);

typedef struct dpx_join_options {
    char host_name[DPX_HOST_NAME_MAX + 1];
    uint32_t slot;          /* DPX_ANY_SLOT, or one slot (repair) … */
    bool retire;            /* … whose owner is gone for good, as an administrator says */
    bool realtime;          /* try real-time priority and mlock for the heart */
    dpx_uuid machine;       /* host UUID */
    dpx_uuid boot;
    uint32_t software;
    dpx_impatient *impatient; /* for every wait of this host, the join included */
    void *context;            /* given to it */
    char runtime_directory[512]; /* of this machine's own, where sightings are kept (‡D11); "": they are not */
} dpx_join_options;

/* timeout: ns; how long to keep trying (collisions, a full lockspace whose slots become
 * free).  On success *out is joined and its heart beats. */
dpx_status dpx_host_join(dpx_space *space, const dpx_join_options *options, uint64_t timeout, dpx_host **out,
                         dpx_failure *failure);

/* Writes the slot free; DPX_E_BUSY while something is held.  After DPX_OK the host is over.  timeout 0: one I/O
 * time limit for what is on its way, one for the record: a write that a disk holds on to may never come back. */
dpx_status dpx_host_leave(dpx_host *host, uint64_t timeout, dpx_failure *failure);

/* Stops the threads and frees, leaving or not: an unfreed slot is left to die.  Never blocks
 * on storage: what hangs in the kernel keeps its memory.  In a forked child it does nothing. */
void dpx_host_destroy(dpx_host *host);

/* ---- leases ---- */

#define DPX_FOREVER UINT64_MAX

typedef struct dpx_ask {
    const char *name;        /* UTF-8, checked with dpx_name_valid */
    size_t name_length;
    enum dpx_mode mode;
    bool resume;             /* with a state: (lease UUID, token) */
    dpx_uuid resume_lease;
    uint64_t resume_token;
    const char *label;       /* of the holder; at most 64 bytes count */
    size_t label_length;
    /* out */
    uint64_t handle;         /* ≠ 0; one per acquired lease and holder */
    uint64_t token;
    dpx_uuid lease;
} dpx_ask;

/* All or none, in one set of rounds.  timeout: ns; 0: try once; DPX_FOREVER.  The same name
 * twice in one call is DPX_E_INVALID.  create: missing leases are created first. */
dpx_status dpx_host_acquire(dpx_host *host, dpx_ask *asks, uint32_t count, bool create, uint64_t timeout,
                            dpx_failure *failure);

/* Releases all (one round for those whose last local holder goes).  Handles of leases that
 * were lost are merely forgotten.  DPX_E_TIMEOUT / DPX_E_STORAGE: not durable yet, the
 * engine keeps trying until it is or the host is over; the handles are gone either way. */
dpx_status dpx_host_release(dpx_host *host, const uint64_t *handles, uint32_t count, uint64_t timeout,
                            dpx_failure *failure);

dpx_status dpx_host_create(dpx_host *host, const char *name, size_t name_length, uint64_t timeout,
                           dpx_failure *failure);
dpx_status dpx_host_delete(dpx_host *host, const char *name, size_t name_length, uint64_t timeout,
                           dpx_failure *failure);

typedef enum dpx_hold_state { DPX_HOLD_HELD = 1, DPX_HOLD_LOST, DPX_HOLD_UNKNOWN } dpx_hold_state;

typedef struct dpx_hold_info {
    uint64_t handle;
    dpx_hold_state state;
    dpx_uuid lease;
    uint64_t token;
    enum dpx_mode mode;
    uint8_t name_length;
    char name[DPX_LEASE_NAME_MAX + 1];
} dpx_hold_info;

dpx_hold_info dpx_host_hold(dpx_host *host, uint64_t handle); /* UNKNOWN: released or never there */
dpx_hold_state dpx_host_hold_state(dpx_host *host, uint64_t handle);
uint32_t dpx_host_holds(dpx_host *host, dpx_hold_info *holds, uint32_t capacity); /* how many there are */

/* ---- life ---- */

typedef struct dpx_host_status {
    dpx_end end;             /* DPX_ALIVE while the lifetime runs */
    dpx_incarnation who;
    uint64_t lifetime_end;   /* CLOCK_BOOTTIME, ns; the moment holders must be stopped from */
    uint64_t remaining;      /* ns of lifetime; 0 when over */
    bool realtime;           /* real-time priority and locked memory were granted */
    int harden_error;        /* positive errno of what was refused */
    uint32_t lowering;       /* voids and releases not durable yet */
    dpx_heart_numbers heart;
} dpx_host_status;
dpx_host_status dpx_host_state(dpx_host *host);

/* Readable (an eventfd, level-triggered until dpx_host_next_event finds nothing) when an event waits. */
int dpx_host_event_fd(const dpx_host *host);

typedef enum dpx_event_kind {
    DPX_EVENT_NONE = 0,
    DPX_EVENT_LOST,      /* handle: lost, with `end` when the whole host is over */
    DPX_EVENT_FINISHED,  /* end */
    DPX_EVENT_HEALED,    /* an own block had regressed or was damaged and was raised again: name */
    DPX_EVENT_DISK_DOWN, /* disk, error */
    DPX_EVENT_DISK_UP,   /* disk */
    DPX_EVENT_DAMAGED,   /* watching found damage: name, disk, block */
    DPX_EVENT_RECLAIMED, /* slot: a dead and drained slot was freed */
} dpx_event_kind;

typedef struct dpx_event {
    dpx_event_kind kind;
    uint64_t handle;
    dpx_end end;
    uint32_t disk;
    uint32_t slot;
    int error;
    uint64_t block;
    char name[DPX_LEASE_NAME_MAX + 1];
} dpx_event;

bool dpx_host_next_event(dpx_host *host, dpx_event *event);

/* ---- looking after others ---- */

/* An administrator declares that the slot's writes cannot come any more.  Waits until the
 * slot is silent for T_dead, writes the notice with the retired bit, claims the slot and
 * leaves it.  DPX_E_TIMEOUT before that: nothing but perhaps the notice was changed. */
dpx_status dpx_host_retire(dpx_host *host, uint32_t slot, uint64_t timeout, dpx_failure *failure);

/* Rewrites this host's own block of an area (protocol 7): for `repair`, after joining in that slot. */
/* Asks the owner of another slot to write its damaged own block in an area anew.  DPX_E_NOT_FOUND: nobody
 * lives there. */
dpx_status dpx_host_ask(dpx_host *host, uint32_t slot, uint32_t area, dpx_failure *failure);
dpx_status dpx_host_rewrite(dpx_host *host, uint32_t area, uint64_t timeout, dpx_failure *failure);

/* Completes or undoes the header change that a dead host left half made in this area. */
dpx_status dpx_host_resolve(dpx_host *host, uint32_t area, uint64_t timeout, dpx_failure *failure);

typedef struct dpx_peer_info {
    dpx_slot_record record;
    bool self;
    bool free;
    bool damaged;
    bool dead;
    int drain;              /* dpx_drain of protocol/peers.h */
    bool moved;             /* its counter was seen to grow (dpx_peer.moved_at) */
    uint64_t silent_for;    /* ns since its record last moved, as watched by this host */
    uint64_t until_silent;  /* ns */
} dpx_peer_info;
uint32_t dpx_host_peers(dpx_host *host, dpx_peer_info *peers, uint32_t capacity);

#endif
