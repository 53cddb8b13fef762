/* Notice blocks: whose they are, and when they may be believed.  Protocol, sections 2 and 5. */
#ifndef DPX_PROTOCOL_NOTICES_H
#define DPX_PROTOCOL_NOTICES_H

#include "world.h"

/* Sound, and written by this very incarnation. */
bool dpx_notices_of(const dpx_geometry *geometry, uint32_t disk, uint32_t slot, uint32_t part,
                    const dpx_incarnation *who, const uint8_t *data);

/* ‡S21: what a slot's block says is certain beside a record of that very incarnation.  (Anything else may be a late
 * writer's, over what the owner wrote.) */
bool dpx_notices_certain(const dpx_geometry *geometry, uint32_t disk, uint32_t slot, uint32_t part, const uint8_t *row,
                         const uint8_t *data);

/* What a claimer goes by, who looks for generations: a sound block that is not older than the slot's record on that
 * disk.  Beside an active or free record, of that incarnation or of a later owner (whose record was covered); a
 * claiming record, or a damaged one (row NULL), says nothing about the block beside it. */
bool dpx_notices_believed(const dpx_geometry *geometry, uint32_t disk, uint32_t slot, uint32_t part,
                          const uint8_t *row, const uint8_t *data);

/* The 31 bits of a notice, read as the generation nearest to this one. */
uint64_t dpx_notice_generation(uint32_t about, uint64_t near);

#endif
