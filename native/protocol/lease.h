/* What this incarnation knows of one lease between rounds. */
#ifndef DPX_PROTOCOL_LEASE_H
#define DPX_PROTOCOL_LEASE_H

#include "world.h"

typedef struct dpx_lease {
    uint8_t name_length;
    char name[DPX_LEASE_NAME_MAX + 1];

    bool located;      /* area and header are known */
    dpx_header header; /* as last read on a majority (area in it) */
    bool undecided;    /* … while a change of it was under way: it may be on a minority, and gone tomorrow */

    bool known;        /* the own block was read (or written) by this incarnation */
    uint64_t sequence; /* of the last write issued, or carried on */
    uint64_t ballot;
    uint64_t least_ballot; /* ours go above it, whatever the area shows: it was used */
    uint64_t hold;     /* what is really held (0 or token); an attempt lives in its round */
    uint64_t token;    /* of what is held: hold, or the larger last_exclusive seen (shared) */
    enum dpx_mode mode;
    uint64_t last_exclusive;
    uint64_t certainly_taken; /* highest ballot at which a holder of this slot took it exclusively, no attempt's */
    bool overrides;    /* while held: a dead host's flag was ignored, and no certain taking is above that yet … */
    uint64_t told;     /* … and the hold that our block says to be a holder's */
    uint64_t others_exclusive; /* while held: highest last_exclusive of others that is known to be no taking since */
    uint64_t directory_token;
    uint64_t change_token; /* while this incarnation changes this area's header */
    uint64_t inherited;    /* change_token of a change that an earlier owner of the slot left half made here */
    uint32_t target;
    uint64_t held_since;
    uint8_t label_length;
    char label[65];
    uint64_t done[DPX_MAX_DISKS]; /* sequence of the last completed write, per disk; 0: none */

    bool cached;         /* the last read was complete, and is what the next two fields say */
    uint64_t top_ballot; /* highest ballot, hold or first_ballot of the area */
    dpx_flag flag;       /* a flag that was in the way, hold = 0: none */
    uint64_t top_ticket; /* highest ticket of others, … */
    uint64_t own_ticket; /* … and the last one of ours: none is used twice in a row */
    uint32_t waiters;    /* others' marks that a newcomer gives way to … */
    uint32_t ahead;      /* … and those that this waiter gives way to */

    dpx_mark passed;        /* had its chance and did not use it: this mark and earlier ones count no more */
    dpx_mark deferred;      /* the first one ahead, … */
    uint64_t deferred_for;  /* … how long the lease was seen free for it … */
    uint64_t deferred_from; /* … and when last; 0: it was not free then */
} dpx_lease;

/* A ballot of this incarnation in the area, under whatever name, may be on a disk whatever a majority shows: the
 * write that carried it returned an error.  What is learnt there is no lower. */
void dpx_lease_ballot(const dpx_world *world, dpx_lease *lease, uint64_t ballot);

/* Forgets where the lease is and all that goes with the place; nothing may be held. */
void dpx_lease_unlocate(dpx_lease *lease);

/* False: another name of this host has written in the lease's area since. */
bool dpx_lease_current(const dpx_world *world, const dpx_lease *lease);

/* What was ignored to take it may come back, and must find that it has lost: our block has to say so now. */
bool dpx_lease_must_tell(const dpx_lease *lease);

/* The own block as it was found: does it tell of a change that somebody before us left half made? */
void dpx_lease_inherit(const dpx_world *world, dpx_lease *lease, const dpx_own *own);

/* Forgets everything; name: checked by the caller (dpx_name_valid). */
void dpx_lease_reset(dpx_lease *lease, const char *name, size_t name_length);

#endif
