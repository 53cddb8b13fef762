/* Why an operation of the host room did not do what was asked: everything that a typed
 * error of the Python shell needs.  A plain value; no ownership. */
#ifndef DPX_HOST_FAILURE_H
#define DPX_HOST_FAILURE_H

#include "../protocol/world.h"

typedef enum dpx_status {
    DPX_OK = 0,
    /* opening */
    DPX_E_SYSTEM,          /* error: an errno of open, fstat, mmap, pthread_create, …; path */
    DPX_E_NOT_LOCKSPACE,   /* no diskpaxos magic at the start of path */
    DPX_E_VERSION,         /* format version of another release */
    DPX_E_FEATURE,         /* unknown incompatible feature bits: value */
    DPX_E_SUPERBLOCK,      /* superblock damaged: flaw */
    DPX_E_TRUNCATED,       /* path is shorter than the superblock says: value = bytes wanted */
    DPX_E_BLOCK_SIZE,      /* device's logical block (value) is above the lockspace's */
    DPX_E_NO_DIRECT_IO,    /* O_DIRECT unsupported there */
    DPX_E_OTHER_LOCKSPACE, /* path belongs to another lockspace than the first */
    DPX_E_SAME_DISK,       /* two paths lead to one disk */
    DPX_E_DISK_COUNT,      /* value = disks the lockspace has; more paths than that, or no majority of them */
    DPX_E_OUTDATED_DISK,   /* disk generation below the others': rebuild it first */
    DPX_E_NO_MAJORITY,     /* too few disks answer: path, error of the last one */
    DPX_E_READ_ONLY,       /* the lockspace was opened for reading only */
    /* joining */
    DPX_E_NO_SLOT,         /* all slots in use; which wait for what: dpx_space_slots */
    DPX_E_COLLIDED,        /* all attempts to claim a slot met another claimer */
    DPX_E_NOT_DRAINED,     /* the slot asked for is alive, or dead and not drained */
    DPX_E_TIMING,          /* joining takes longer here than T_claim allows: disk, path */
    /* leases: the verdicts of the protocol room */
    DPX_E_HELD,            /* flag, host_name; item */
    DPX_E_HELD_HERE,       /* by this very host (another thread or holder): item */
    DPX_E_STALE,
    DPX_E_NOT_FOUND,
    DPX_E_EXISTS,
    DPX_E_FULL,            /* no lease area left */
    DPX_E_UNDRAINED,       /* a dead host's header change may still land: flag, host_name */
    DPX_E_DAMAGED,         /* flaw, disk, block */
    DPX_E_STORAGE,         /* error (-ETIMEDOUT: over the I/O limit), disk; an attempt is voided */
    DPX_E_LOST,
    DPX_E_FINISHED,        /* end: why this host's life is over */
    DPX_E_CEILING,
    DPX_E_TIMEOUT,         /* the caller's time ran out before an answer; nothing was taken */
    DPX_E_INVALID,         /* bad handle or argument */
    DPX_E_FORKED,          /* used in a child of the process that joined */
    DPX_E_BUSY,            /* leave: leases are still held */
} dpx_status;

typedef struct dpx_failure {
    dpx_status status;
    int error;       /* positive errno, 0 when there is none */
    uint32_t item;   /* which of several leases */
    uint32_t disk;   /* the one that failed; DPX_NO_DISK */
    uint64_t block;
    uint64_t value;
    dpx_flaw flaw;
    int end;         /* dpx_end of protocol/heart.h */
    dpx_flag flag;   /* the holder in the way … */
    bool alive;      /* … whose last heartbeat was seen to come in the last S / 4 … */
    bool dead;       /* … or who is known to be dead … */
    bool watched;    /* … its record was seen here … */
    uint64_t silent_for; /* … and has not moved for so long … */
    uint64_t free_in;    /* … and is free after so long, ns, without a move */
    uint64_t claim_time; /* T_claim, and what must fit into it: table and notices read, claim written; 0: not known */
    uint64_t took[3];
    bool lowering;   /* our own attempt is still being voided in the background */
    char host_name[DPX_HOST_NAME_MAX + 1]; /* of the holder in the way, as its slot record says */
    char path[512];
} dpx_failure;

const char *dpx_status_text(dpx_status status);

#endif
