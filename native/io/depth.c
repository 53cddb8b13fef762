/* How many I/Os of a batch are in flight at a time: as many as the storage takes without letting them wait for each
 * other.
 *
 * Storage that is fast gets as many as a worker can hold.  On a network, or a busy array, more in flight than it serves
 * at once only lie in a queue, and a heartbeat that comes meanwhile lies behind them.  What an I/O takes beyond the
 * quickest one is time in such a queue; where that grows too long, the window halves, and where it is short, the window
 * grows by what has returned.  (Storage that is far away takes long for each, and serves many at once: no reason to
 * send it few.) */
#include "inside.h"

#define FIRST 16u
#define LEAST 4u

void dpx_depth_start(dpx_depth *depth)
{
    atomic_store(&depth->window, FIRST);
    atomic_store(&depth->quickest, 0);
    atomic_store(&depth->lowered_at, 0);
}

uint32_t dpx_depth_now(const dpx_depth *depth)
{
    return atomic_load_explicit(&depth->window, memory_order_relaxed);
}

/* The workers of a lane may overtake each other here: each of them is right, more or less. */
void dpx_depth_learn(dpx_depth *depth, const dpx_return *returned, uint64_t queueing)
{
    uint32_t window = dpx_depth_now(depth);
    uint64_t known = atomic_load_explicit(&depth->quickest, memory_order_relaxed);
    /* It becomes slower little by little where the storage does, for good. */
    uint64_t quickest = known == 0 || returned->quickest < known ? returned->quickest : known + known / 64;
    uint64_t slowest = returned->now - returned->oldest;
    uint64_t waited = slowest > quickest ? slowest - quickest : 0;
    atomic_store_explicit(&depth->quickest, quickest > 0 ? quickest : 1, memory_order_relaxed);
    if (waited > queueing) {
        if (window == LEAST || returned->oldest < atomic_load_explicit(&depth->lowered_at, memory_order_relaxed))
            return;
        window = window / 2 > LEAST ? window / 2 : LEAST;
        atomic_store_explicit(&depth->lowered_at, returned->now, memory_order_relaxed);
    } else if (waited < queueing / 4 && returned->in_flight >= window) {
        window = window + returned->count < DPX_WORK_DEPTH ? window + returned->count : DPX_WORK_DEPTH;
    } else {
        return;
    }
    atomic_store_explicit(&depth->window, window, memory_order_relaxed);
}
