/* Header changes, one at a time under lease 0: create, delete, and resolving what a dead
 * changer left half made.  Protocol, section 3, "Create and delete".  Same driver duties
 * as round.h. */
#ifndef DPX_PROTOCOL_CHANGE_H
#define DPX_PROTOCOL_CHANGE_H

#include "round.h"

typedef enum dpx_change_kind {
    DPX_CHANGE_CREATE,
    DPX_CHANGE_DELETE,
    DPX_CHANGE_RESOLVE, /* complete or undo what a dead changer left at lease->header.area */
} dpx_change_kind;

typedef struct dpx_change dpx_change;

size_t dpx_change_memory(const dpx_geometry *geometry);

/* directory: the host's knowledge of lease 0 (the same object for every change of this
 * host; changes of one host do not overlap). */
dpx_change *dpx_change_place(void *memory, dpx_world *world, dpx_lease *directory);

/* lease: named; filled as after a take-less find when done.  uuid: for create, fresh and
 * random.  For resolve only lease->header.area counts (the area that a cause named). */
void dpx_change_begin(dpx_change *change, dpx_change_kind kind, dpx_lease *lease, const dpx_uuid *uuid,
                      uint64_t wait_until, uint64_t now);

dpx_request *dpx_change_step(dpx_change *change, uint64_t now);
void dpx_change_complete(dpx_change *change, dpx_request *request, uint64_t now);
uint64_t dpx_change_wake(const dpx_change *change);
void dpx_change_cancel(dpx_change *change);
dpx_verdict dpx_change_verdict(const dpx_change *change);
const dpx_cause *dpx_change_cause(const dpx_change *change);
bool dpx_change_quiet(const dpx_change *change);

#endif
