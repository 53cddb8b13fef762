/* Inside the host room: the disks of an opened lockspace and how they are kept. */
#ifndef DPX_HOST_MEMBERS_H
#define DPX_HOST_MEMBERS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* CLOCK_BOOTTIME, syscall and the like; so this comes before system headers */
#endif
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "space.h"

#define DPX_WORKERS 4u /* I/O threads per disk besides the heartbeat's */
#define DPX_QUEUEING_PART 32u /* of an I/O's limit: so long one may wait behind others, and a heartbeat, too */

/* One path.  What it shows is judged before it counts: at opening, and again whenever it
 * failed. */
typedef struct dpx_member {
    char path[512];
    dpx_disk *disk;
    bool assigned;
    uint32_t index;
    _Atomic bool online;   /* open, and its superblock was found right since */
    _Atomic bool doubted;  /* an I/O failed: look at the superblock again */
    dpx_status trouble;
    int error;
    bool opened;           /* facts are known */
    bool wanders;          /* its numbers change with every look, there is nothing to go by */
    dpx_disk_facts facts;
    dpx_disk_facts led;    /* where the path led when it last led elsewhere */
    dpx_disk_facts used;   /* … of what was last taken into use; the mender's own */
} dpx_member;

/* Told by the mender's thread, with no lock of the space held. */
typedef void dpx_member_news(void *context, uint32_t disk, bool up, int error);

/* Asked by the mender's thread before a disk whose path leads to another file or device now is taken into use: false:
 * it is a copy that lacks what was written to the other one.  It may read; `gone`: nobody wants to know any more. */
typedef bool dpx_member_vet(void *context, dpx_disk *disk, uint32_t index, const _Atomic bool *gone);

typedef struct dpx_listener {
    dpx_member_news *news;
    dpx_member_vet *vet;
    void *context;
    _Atomic bool gone;
    struct dpx_listener *next;
} dpx_listener;

struct dpx_space {
    pthread_mutex_t lock;      /* trouble, error, facts, assignment, the mender's sleep */
    pthread_mutex_t listening; /* the listeners; held while they are told */
    dpx_geometry geometry;
    dpx_geometry expected;     /* the mender's own: with the disk generations that it has met since */
    bool read_only;
    pid_t pid; /* of the process that has the threads */
    uint32_t count;
    dpx_member members[DPX_MAX_DISKS];
    dpx_member *_Atomic by_index[DPX_MAX_DISKS];
    dpx_listener *listeners;
    pthread_t mender;
    bool mending;
    _Atomic bool stopping;
    _Atomic uint32_t alarm; /* futex: the mender is wanted */
};

/* What a look at a path showed. */
typedef struct dpx_look {
    dpx_failure failure; /* status DPX_OK: a sound superblock */
    dpx_disk_facts facts;
    bool opened;
    dpx_geometry geometry;
    uint32_t index;
} dpx_look;

/* transfer.c: one read or write, waited for.  0 or -errno; -ETIMEDOUT leaves the I/O to itself. */
int dpx_transfer(dpx_disk *disk, bool write, uint64_t block, uint32_t count, uint32_t block_size, void *data,
                 uint64_t deadline, const _Atomic bool *stop);

/* look.c.  open_by: 0: it is open already. */
void dpx_look_at(dpx_member *member, uint32_t block_size, uint64_t open_by, uint64_t read_by,
                 const _Atomic bool *stop, dpx_look *look);
/* What a sound superblock must agree with to belong to this lockspace: DPX_OK or why not. */
dpx_status dpx_look_matches(const dpx_look *look, const dpx_geometry *geometry, dpx_failure *failure);

/* space.c: what the lockspace asks of a disk that it is to use: the size of blocks, and how long one I/O waits behind
 * others. */
void dpx_member_shape(const dpx_space *space, dpx_member *member);

/* mender.c */
int dpx_mender_start(dpx_space *space);
void dpx_mender_stop(dpx_space *space);
void dpx_space_listen(dpx_space *space, dpx_listener *listener);
void dpx_space_unlisten(dpx_space *space, dpx_listener *listener);
/* An I/O error, as seen by whoever got it. */
void dpx_space_doubt(dpx_space *space, uint32_t disk, int error);
/* NULL: absent, or not to be used now. */
dpx_disk *dpx_space_disk_of(const dpx_space *space, uint32_t disk);

/* Futexes: all waiting is relative and in short slices, so no clock can be set under it. */
void dpx_futex_wait(const _Atomic uint32_t *word, uint32_t value, uint64_t timeout);
void dpx_futex_wake(const _Atomic uint32_t *word);

#endif
