/* What differs in the core of a886b2f (format 1), which this simulator convicts with the seeds of README.md: so that
 * they can be replayed.  `make NATIVE=… BUILD=…` builds against its checkout. */
#ifndef SIM_CORES_H
#define SIM_CORES_H

#include "simulate.h"

#if DPX_FORMAT_VERSION == 1
typedef struct dpx_notice {
    uint32_t about, certificate;
} dpx_notice;

static inline void notice_decode(const uint8_t *data, const dpx_geometry *geometry, dpx_incarnation *who,
                                 uint64_t *sequence, dpx_notice *entries)
{
    uint32_t abouts[DPX_BLOCK_MAX / 4];
    *who = (dpx_incarnation){0};
    dpx_notice_decode(data, geometry, &who->generation, sequence, abouts);
    for (uint32_t i = 0; i < geometry->max_hosts; i++)
        entries[i] = (dpx_notice){.about = abouts[i]};
}

/* It told nobody, and nobody could be asked. */
static inline bool dpx_lease_must_tell(const dpx_lease *lease)
{
    return lease == NULL;
}

static inline bool dpx_heart_ask(dpx_heart *heart, const dpx_incarnation *who, uint32_t area)
{
    return heart == NULL && who->slot == area;
}

static inline bool dpx_heart_asked(dpx_heart *heart, uint32_t *area)
{
    *area = 0;
    return heart == NULL;
}

static inline void dpx_heart_unask(dpx_heart *heart)
{
    (void)heart;
}

#define heart_place(memory, world, claim, now) \
    dpx_heart_place(memory, world, dpx_claim_record(claim), dpx_claim_notices(claim), now)
#else
#define notice_decode dpx_notice_decode
#define heart_place dpx_heart_place
#endif

#endif
