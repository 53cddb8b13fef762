#include "world.h"

bool dpx_world_over(dpx_world *world, uint64_t now)
{
    if (!world->finished && now >= world->lifetime_end)
        world->finished = true;
    return world->finished;
}

uint64_t dpx_random(dpx_world *world)
{
    uint64_t x = world->random ? world->random : UINT64_C(0x9e3779b97f4a7c15);
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    world->random = x;
    return x * UINT64_C(0x2545f4914f6cdd1d);
}

uint64_t dpx_ballot_above(const dpx_world *world, uint64_t top, uint64_t rounds)
{
    if (top >= DPX_BALLOT_CEILING)
        return 0; /* near 2^64 the sum would begin anew, below every ballot */
    uint64_t ballot = (top / DPX_BALLOT_SLOTS + rounds) * DPX_BALLOT_SLOTS + world->self.slot;
    return ballot < DPX_BALLOT_CEILING ? ballot : 0;
}

const char *dpx_verdict_text(dpx_verdict verdict)
{
    switch (verdict) {
    case DPX_RUNNING: return "running";
    case DPX_DONE: return "done";
    case DPX_REFUSED: return "refused: a live host's flag is in the way";
    case DPX_STALE: return "stale: taken exclusively since";
    case DPX_NOT_FOUND: return "no lease of this name";
    case DPX_EXISTS: return "the name exists already";
    case DPX_FULL: return "nothing left";
    case DPX_CHANGED: return "the lease's header changed meanwhile";
    case DPX_CHANGE_OPEN: return "a dead host left a header change half made";
    case DPX_UNDRAINED: return "a dead host's header write may still come";
    case DPX_DAMAGED: return "damaged blocks";
    case DPX_STORAGE: return "I/O failed or took too long";
    case DPX_LOST: return "lost";
    case DPX_FINISHED: return "this incarnation's life is over";
    case DPX_CEILING: return "ballots are used up";
    case DPX_BUSY: return "every attempt collided with another";
    case DPX_GAVE_UP: return "given up by the caller";
    }
    return "unknown verdict";
}
