/* The heartbeat: own record, then everybody's; verdicts about oneself and others.
 * Protocol, sections 4 and 5.  Same driver duties as round.h; the gate (lifetime) applies
 * to its writes too. */
#ifndef DPX_PROTOCOL_HEART_H
#define DPX_PROTOCOL_HEART_H

#include "claim.h"

typedef enum dpx_end {
    DPX_ALIVE = 0,
    DPX_END_LIFETIME,   /* storage unreachable for S, or this process was stopped */
    DPX_END_REPLACED,   /* the own slot shows a higher generation, or is free, or has another nonce */
    DPX_END_NOTICE,     /* a death notice about this incarnation was found */
    DPX_END_OWN_BLOCK,  /* a block of a newer incarnation of this slot was found in a lease area */
    DPX_END_LEFT,       /* left in good order */
    DPX_END_GONE,       /* the lockspace was formatted anew, or wiped */
    DPX_END_REVERTED,   /* the disks show writes of this incarnation that it never issued: its memory is an old one */
    DPX_END_COPY,       /* the storage was replaced by a copy that lacks what this incarnation wrote */
} dpx_end;

const char *dpx_end_text(dpx_end end);

typedef struct dpx_heart dpx_heart;

size_t dpx_heart_memory(const dpx_geometry *geometry);

/* From a finished claim: its record and notices, and what it saw.  period: S / 8. */
dpx_heart *dpx_heart_place(void *memory, dpx_world *world, const dpx_claim *claim, uint64_t now);

dpx_request *dpx_heart_step(dpx_heart *heart, uint64_t now);
void dpx_heart_complete(dpx_heart *heart, dpx_request *request, uint64_t now);
uint64_t dpx_heart_wake(const dpx_heart *heart);
bool dpx_heart_quiet(const dpx_heart *heart);

/* The claim's own write on this disk has not returned yet (true), or now has (false):
 * never two writes of one block in flight. */
void dpx_heart_suspect(dpx_heart *heart, uint32_t disk, bool in_flight);

/* Beat as soon as possible instead of at the next period (someone waits for a verdict). */
void dpx_heart_hurry(dpx_heart *heart);

/* An administrator's or a fence's word: the slot's generation is dead by order; the notice
 * about it carries the fenced bit, so that it also counts as drained. */
void dpx_heart_retire(dpx_heart *heart, uint32_t slot, uint64_t generation);
/* … and whether that notice is durable and the slot was re-read unmoved since. */
bool dpx_heart_retired(const dpx_heart *heart, uint32_t slot, uint64_t generation);

/* It is decided that this generation of the slot is dead, and the notice that says so is on its way. */
bool dpx_heart_judging(const dpx_heart *heart, uint32_t slot, uint64_t generation);

/* The driver promises: nothing is held and no lease write is in flight.  Writes `free`
 * once the heart's own writes have returned; ends with DPX_END_LEFT. */
void dpx_heart_leave(dpx_heart *heart);

/* Asks the owner of another slot to write its own block in an area anew: it is damaged there.  The request stands
 * until all are taken back; false: it stands already. */
bool dpx_heart_ask(dpx_heart *heart, const dpx_incarnation *who, uint32_t area);
void dpx_heart_unask(dpx_heart *heart);
/* An area where somebody has asked us to do so, once for each request; false: none. */
bool dpx_heart_asked(dpx_heart *heart, uint32_t *area);

dpx_end dpx_heart_end(const dpx_heart *heart);
/* Why a world is over that no heartbeat ended. */
static inline dpx_end dpx_world_end(const dpx_world *world, uint64_t now)
{
    if (world->reverted)
        return DPX_END_REVERTED;
    return now >= world->lifetime_end ? DPX_END_LIFETIME : DPX_END_OWN_BLOCK;
}

typedef struct dpx_heart_numbers {
    uint64_t beats;          /* completed */
    uint64_t missed;         /* begun and not completed in time, or failed */
    uint64_t last_issue;     /* of the last one that completed */
    uint64_t last_duration;  /* ns, from issue to completion */
    uint64_t worst_duration;
    uint32_t notices;        /* written about others and still carried */
    uint64_t counter;        /* as last written */
} dpx_heart_numbers;
dpx_heart_numbers dpx_heart_count(const dpx_heart *heart);

#endif
