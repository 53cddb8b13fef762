/* Claiming a host slot (Fischer's timed exclusion): protocol, section 4. */
#ifndef DPX_PROTOCOL_CLAIM_H
#define DPX_PROTOCOL_CLAIM_H

#include "notices.h"
#include "peers.h"

typedef struct dpx_claim dpx_claim;

#define DPX_ANY_SLOT UINT32_MAX

#define DPX_CLAIM_NOTE 1u /* sequence of the notice blocks that a claim writes */
#define DPX_CLAIM_ACTIVE 2u /* … and of the active record that ends it; those of heartbeats come after */

size_t dpx_claim_memory(const dpx_geometry *geometry);

/* world: self, lifetime_end and finished are set by a claim that is done.  me: host, boot,
 * process, names, versions, times; its who and state are the claim's to fill. */
dpx_claim *dpx_claim_place(void *memory, dpx_world *world);

/* only: DPX_ANY_SLOT, or the one slot to claim (dead and drained, or free).  nonces come
 * from the caller: fresh and random for every begin; later attempts derive from it.
 * reclaim: claim, then leave at once (cleaning up a dead and drained slot).
 * wait_until: with no free slot, how long to watch for one (a dead host of this machine). */
void dpx_claim_begin(dpx_claim *claim, const dpx_slot_record *me, const dpx_uuid *nonce, uint32_t only,
                     bool reclaim, uint64_t wait_until, uint64_t now);

/* An administrator says that the owner of the one slot to claim is gone for good, and with him all that could still
 * be written there: once it was silent for T_dead, it is dead and drained.  For when nobody can join to say so. */
void dpx_claim_retire(dpx_claim *claim);

dpx_request *dpx_claim_step(dpx_claim *claim, uint64_t now);
void dpx_claim_complete(dpx_claim *claim, dpx_request *request, uint64_t now);
uint64_t dpx_claim_wake(const dpx_claim *claim);
dpx_verdict dpx_claim_verdict(const dpx_claim *claim);
const dpx_cause *dpx_claim_cause(const dpx_claim *claim);
bool dpx_claim_quiet(const dpx_claim *claim);
/* Attempts that came to nothing with their claim written: once there is a verdict, all that they wrote has returned. */
typedef struct dpx_void {
    dpx_incarnation who;
    uint64_t owned; /* the generation that the slot's notes showed */
} dpx_void;
uint32_t dpx_claim_voids(const dpx_claim *claim, const dpx_void **voids);
/* A request is still out on this disk: the slot's block there is suspect, so the heart must
 * be told (dpx_heart_suspect) until it returns. */
bool dpx_claim_busy(const dpx_claim *claim, uint32_t disk);

/* Attempts that came to nothing since the storage took longer than T_claim allows. */
uint32_t dpx_claim_slow(const dpx_claim *claim);
/* … and how long those I/Os took, on the disk that was too slow, which must fit into T_claim one after the other, ns;
 * 0: none has returned. */
typedef struct dpx_claim_pace {
    uint64_t table;
    uint64_t notices;
    uint64_t write;
} dpx_claim_pace;
dpx_claim_pace dpx_claim_paced(const dpx_claim *claim);

/* When done: the active record as written, and the notices carried on from the slot's
 * earlier life (max_hosts entries, inside the claim's memory). */
const dpx_slot_record *dpx_claim_record(const dpx_claim *claim);
const dpx_notice *dpx_claim_notices(const dpx_claim *claim);
/* … per disk: is the note durable there; which certificate was carried on there; and what each slot's
 * record was, to the bit, in the table that was read before the claim was written (0: none was). */
bool dpx_claim_noted(const dpx_claim *claim, uint32_t disk);
uint32_t dpx_claim_certificate(const dpx_claim *claim, uint32_t disk, uint32_t slot);
uint32_t dpx_claim_shown(const dpx_claim *claim, uint32_t disk, uint32_t slot);
/* … and what its notice block about our slot was, to the bit (0: it was not read, or damaged). */
uint32_t dpx_claim_read(const dpx_claim *claim, uint32_t disk, uint32_t slot);

#endif
