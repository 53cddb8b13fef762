/* Many blocks at a time: for `init`, inspection, `repair` and `rebuild`. */
#ifndef DPX_FORMAT_BULK_H
#define DPX_FORMAT_BULK_H

#include "format.h"

/* Fills `data` with the empty blocks first … first+count-1 of an empty lockspace.  A block
 * of zeros stands in the superblock's place: that one comes last. */
void dpx_bulk_empty(void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t first, uint64_t count,
                    uint64_t written_at);

/* One dpx_flaw per block into `flaws`; padding is sound whatever it holds.  Returns how
 * many blocks are not. */
uint64_t dpx_bulk_check(const void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t first,
                        uint64_t count, uint8_t *flaws);

/* Makes blocks that were copied from another disk, or changed in place, valid on `disk`:
 * puts its index and a right checksum into every block that begins with the magic. */
void dpx_bulk_seal(void *data, const dpx_geometry *geometry, uint32_t disk, uint64_t count);

#endif
