/* The one source of chance in a history: everything follows from its 64-bit seed. */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

typedef struct rng {
    uint64_t state;
} rng;

/* splitmix64: one addition and two multiplications, good enough to drive faults. */
static inline uint64_t rng_next(rng *r)
{
    uint64_t z = (r->state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* 0 … bound-1; the bias of a multiplication by 2^-32 does not matter here. */
static inline uint32_t rng_below(rng *r, uint32_t bound)
{
    return (uint32_t)(((rng_next(r) >> 32) * bound) >> 32);
}

/* 0 … bound-1 for times; 0 when bound is 0. */
static inline uint64_t rng_time(rng *r, uint64_t bound)
{
    return bound == 0 ? 0 : rng_next(r) % bound;
}

static inline uint64_t rng_between(rng *r, uint64_t low, uint64_t high)
{
    return low + rng_time(r, high - low + 1);
}

/* A probability as a threshold on 32 bits; 0 never happens, UINT32_MAX nearly always. */
typedef uint32_t odds;

static inline odds odds_of(double probability)
{
    return (odds)(probability >= 1.0 ? 4294967295.0 : probability * 4294967296.0);
}

/* A probability of 0 draws nothing, so that a fault that is off costs nothing. */
static inline bool chance(rng *r, odds probability)
{
    return probability != 0 && (uint32_t)(rng_next(r) >> 32) < probability;
}

#endif
