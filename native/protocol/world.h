/* What all machines of one host share: who it is, until when it may act, whom it sees.
 *
 * Every function of this room is pure: time comes in as `now` (CLOCK_BOOTTIME, ns), blocks
 * come in through completed requests, and what to do next goes out.  Nothing here calls
 * the system, reads a clock, locks or allocates.  The driver serialises all calls that
 * share one dpx_world.
 */
#ifndef DPX_PROTOCOL_WORLD_H
#define DPX_PROTOCOL_WORLD_H

#include "../format/format.h"
#include "../format/request.h"

#define DPX_NEVER UINT64_MAX
#define DPX_MS UINT64_C(1000000)
#define DPX_SECOND UINT64_C(1000000000)

typedef struct dpx_peers dpx_peers;

typedef struct dpx_world {
    const dpx_geometry *geometry;
    dpx_incarnation self;  /* set by the claim */
    dpx_peers *peers;
    uint64_t lifetime_end; /* the claim sets it, heartbeats move it; DPX_NEVER never occurs */
    bool finished;         /* final: no write is issued any more */
    bool reverted;         /* … because a block shows what this incarnation never wrote: its memory was set back */
    uint64_t wall;         /* wall clock, ns: only copied into blocks, for people */
    uint64_t random;       /* state of dpx_random; any seed */
    uint8_t *in_flight;    /* max_leases bytes, zeroed by the driver: per area, the disks (bits) on which
                              a write of the own block or the header has not returned: suspect there */
    uint64_t *sequences;   /* max_leases, zeroed by the driver: per area, the sequence of this incarnation's
                              last own block there, under whatever name; NULL: the driver itself sees to it
                              that no name goes by what it knew before another one wrote in its area */
    uint64_t *ballots;     /* the same of its highest ballot there, issued or about to be; NULL: as with sequences */
    uint64_t *written;     /* max_leases * DPX_MAX_DISKS, zeroed by the driver: the same of the last write that
                              completed, per area and disk, so that a copy older than that is known for one
                              by whatever name it is read; NULL: each lease knows only its own */
} dpx_world;

static inline uint32_t dpx_majority(const dpx_geometry *geometry)
{
    return geometry->disks / 2 + 1;
}

/* How long one I/O may take before the machine goes on without it: S / 4. */
static inline uint64_t dpx_io_limit(const dpx_geometry *geometry)
{
    return geometry->outage_tolerance / 4;
}

/* The lifetime test: true once this incarnation may not act any more; then it is final. */
bool dpx_world_over(dpx_world *world, uint64_t now);

/* xorshift64*: jitter needs no better. */
uint64_t dpx_random(dpx_world *world);

/* Why a machine ended as it did. */
typedef enum dpx_verdict {
    DPX_RUNNING = 0,
    DPX_DONE,        /* taken, released, kept, found, joined, created, … as asked */
    DPX_REFUSED,     /* a live flag is in the way: cause.flag */
    DPX_STALE,       /* resume: taken exclusively since, or another lease UUID */
    DPX_NOT_FOUND,   /* no lease of this name (FIND, TAKE, delete) */
    DPX_EXISTS,      /* create: the name is there already */
    DPX_FULL,        /* create: no area left; claim: no slot left */
    DPX_CHANGED,     /* the header is not (any more) what was meant: find the lease again */
    DPX_CHANGE_OPEN, /* a dead host left a header change half made here: resolve first */
    DPX_UNDRAINED,   /* … and its last write may still come: wait for its slot to be drained */
    DPX_DAMAGED,     /* a majority of disks is unreadable by damage: cause.flaw, disk, block */
    DPX_STORAGE,     /* I/O failed or took longer than the limit: cause.error, disk */
    DPX_LOST,        /* a held lease is not ours any more */
    DPX_FINISHED,    /* this incarnation's life is over */
    DPX_CEILING,     /* ballots are used up: the lease must be deleted and created again */
    DPX_BUSY,        /* claim: all attempts collided */
    DPX_GAVE_UP,     /* the driver cancelled, or wait_until passed with nothing in the way to name */
} dpx_verdict;

const char *dpx_verdict_text(dpx_verdict verdict);

/* This host's ballot so many rounds above `top`, whatever a block claims that to be; 0: past the ceiling. */
uint64_t dpx_ballot_above(const dpx_world *world, uint64_t top, uint64_t rounds);

/* A raised flag of another incarnation, as it was seen. */
typedef struct dpx_flag {
    dpx_incarnation who;
    uint64_t hold; /* 0: no flag */
    enum dpx_mode mode;
    uint64_t seen_at; /* completion of the read that showed it first … */
    uint64_t last_seen; /* … and of the latest one that did */
    uint64_t held_since;
    uint8_t label_length;
    char label[65];
} dpx_flag;

/* A waiter's mark: who comes first among those who wait.  Advice only: it allows nothing that the
 * flags forbid. */
typedef struct dpx_mark {
    uint64_t ticket; /* 0: none.  Lower ones come first, of equal ones the lower slot */
    uint64_t generation;
    uint32_t slot;
} dpx_mark;

#define DPX_NO_DISK UINT32_MAX /* none in particular */

typedef struct dpx_cause {
    uint32_t item;  /* which wish of the round */
    int32_t error;  /* -errno */
    uint32_t disk;  /* the one that failed; DPX_NO_DISK */
    uint64_t block;
    uint32_t area;  /* of DPX_CHANGE_OPEN, DPX_UNDRAINED: what to resolve */
    dpx_flaw flaw;
    dpx_flag flag;
} dpx_cause;

#define DPX_NO_CAUSE ((dpx_cause){.disk = DPX_NO_DISK})

#endif
