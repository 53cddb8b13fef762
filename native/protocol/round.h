/* Lease rounds: protocol, section 3.  One machine takes, releases, watches, finds.
 *
 *   find     Look (R …)                           follow the probing until the name is met
 *   take     [Look] Raise (W R) judge …           void on anything but "taken"
 *   release  W
 *   watch    R [W R]                              own flag still there, nobody took it
 *   rewrite  R W                                  repair of an own block
 *
 * A round works on any number of leases at once: one ballot, all writes in flight
 * together, then all reads; all or nothing.  One round per lease at a time: the driver's
 * duty, as is settling conflicts within the host first.
 *
 * Duties of the driver, in order: dpx_round_begin; then, at begin, after every completion
 * and whenever dpx_round_wake has come, call dpx_round_step until it returns NULL and
 * carry out each request; when dpx_round_verdict is not DPX_RUNNING the outcome is
 * final, but the memory stays in use until dpx_round_quiet.
 */
#ifndef DPX_PROTOCOL_ROUND_H
#define DPX_PROTOCOL_ROUND_H

#include "lease.h"

typedef enum dpx_round_kind {
    DPX_ROUND_FIND,
    DPX_ROUND_TAKE,
    DPX_ROUND_RELEASE,
    DPX_ROUND_WATCH,
    DPX_ROUND_REWRITE,
} dpx_round_kind;

/* What is wanted of one lease, and what came of it. */
typedef struct dpx_wish {
    dpx_lease *lease;
    enum dpx_mode mode;     /* take */
    bool resume;            /* take: only if not taken exclusively since (resume_lease, resume_token) */
    dpx_uuid resume_lease;
    uint64_t resume_token;
    uint64_t change_token;  /* ≠ 0 (dpx_change only): take the area at lease->header as it is, to change it */
    bool resolving;         /* dpx_change only: … though a dead host left a change half made there */
    bool under_directory;   /* dpx_change only, find: lease 0 is held, and so whoever else changes a header is dead */
    uint32_t target;        /* dpx_change only: goes into the own block, for people */
    uint8_t label_length;   /* take: shown to others; at most 64 bytes */
    char label[65];

    uint64_t token;         /* out, take */
    dpx_verdict outcome;    /* out, watch and find: DPX_DONE, DPX_LOST, DPX_NOT_FOUND, … per lease */
    bool vacant;            /* out, find: a free or tombstone area was met on the way … */
    dpx_header vacancy;     /* … and this is its header */
    bool healed;            /* out, watch: the own flag had regressed or was damaged and was raised again */
} dpx_wish;

typedef struct dpx_round dpx_round;

/* Bytes for a round of up to `capacity` leases; the memory must be aligned to 4096. */
size_t dpx_round_memory(const dpx_geometry *geometry, uint32_t capacity);
dpx_round *dpx_round_place(void *memory, dpx_world *world, uint32_t capacity);

/* wait_until: until when a take waits for flags in the way (now: try once; DPX_NEVER).
 * The wishes stay in place until the round is quiet. */
void dpx_round_begin(dpx_round *round, dpx_round_kind kind, dpx_wish *wishes, uint32_t count,
                     uint64_t wait_until, uint64_t now);

dpx_request *dpx_round_step(dpx_round *round, uint64_t now);
void dpx_round_complete(dpx_round *round, dpx_request *request, uint64_t now);
uint64_t dpx_round_wake(const dpx_round *round);

/* The caller lost interest: a take ends as soon as it can, voided. */
void dpx_round_cancel(dpx_round *round);

dpx_verdict dpx_round_verdict(const dpx_round *round);
const dpx_cause *dpx_round_cause(const dpx_round *round);
bool dpx_round_quiet(const dpx_round *round);
/* When an I/O of a request that is under way last returned; 0: none has. */
uint64_t dpx_round_moved(const dpx_round *round);

/* A void or release that cannot reach its majority yet: shown to people meanwhile. */
bool dpx_round_lowering(const dpx_round *round);

#endif
