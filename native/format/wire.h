/* Private to this room: little-endian fields in place, and what several codecs share.
 *
 * Fields are read and written by copy, never through the structure's own types, so a block
 * may lie anywhere and the host may be of either byte order.
 */
#ifndef DPX_FORMAT_WIRE_H
#define DPX_FORMAT_WIRE_H

#include <string.h>

#include "format.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define DPX_WIRE16(value) (value)
#define DPX_WIRE32(value) (value)
#define DPX_WIRE64(value) (value)
#else
#define DPX_WIRE16(value) __builtin_bswap16(value)
#define DPX_WIRE32(value) __builtin_bswap32(value)
#define DPX_WIRE64(value) __builtin_bswap64(value)
#endif

static inline uint16_t dpx_load16(const void *field)
{
    uint16_t value;
    memcpy(&value, field, sizeof value);
    return DPX_WIRE16(value);
}

static inline uint32_t dpx_load32(const void *field)
{
    uint32_t value;
    memcpy(&value, field, sizeof value);
    return DPX_WIRE32(value);
}

static inline uint64_t dpx_load64(const void *field)
{
    uint64_t value;
    memcpy(&value, field, sizeof value);
    return DPX_WIRE64(value);
}

static inline void dpx_store16(void *field, uint16_t value)
{
    value = DPX_WIRE16(value);
    memcpy(field, &value, sizeof value);
}

static inline void dpx_store32(void *field, uint32_t value)
{
    value = DPX_WIRE32(value);
    memcpy(field, &value, sizeof value);
}

static inline void dpx_store64(void *field, uint64_t value)
{
    value = DPX_WIRE64(value);
    memcpy(field, &value, sizeof value);
}

/* Length of a text in an array that it may fill. */
static inline size_t dpx_text_length(const char *text, size_t limit)
{
    const char *end = memchr(text, 0, limit);
    return end ? (size_t)(end - text) : limit;
}

/* CRC-32C of a block with its checksum field taken as zero. */
uint32_t dpx_block_crc(const void *data, size_t length);

/* Zeroes the block and fills the common header, all but the checksum, which
 * dpx_block_seal adds when everything else is in place. */
void dpx_block_open(void *data, const dpx_geometry *geometry, enum dpx_kind kind, uint32_t disk,
                    uint64_t index, uint64_t generation, uint64_t sequence, uint64_t written_at);
void dpx_block_seal(void *data, const dpx_geometry *geometry);

/* Magic, version and checksum: what can be judged without knowing the lockspace. */
dpx_flaw dpx_block_intact(const void *data, size_t length);

void dpx_shape_store(dpx_disk_shape *shape, const dpx_geometry *geometry);
void dpx_shape_load(const dpx_disk_shape *shape, dpx_geometry *geometry);
/* The shape that every record repeats.  Disk generations may differ (rebuild raises them),
 * and timings may (a rebuilt superblock takes the largest found), but must be possible. */
bool dpx_shape_sound(const dpx_disk_shape *shape, const dpx_geometry *geometry);
bool dpx_times_sound(uint64_t outage_tolerance, uint64_t kill_grace, uint64_t watchdog_timeout,
                     uint64_t claim_time);
dpx_flaw dpx_superblock_check(const void *data, const dpx_geometry *geometry);

/* Text that may be missing: empty, or a valid name within the limit. */
bool dpx_text_sound(const uint8_t *text, size_t length, size_t limit);
/* Copies a label, at most `limit` bytes and never half a character; what is no text becomes
 * '?', so that a careless caller cannot write a block that everybody takes for damaged.
 * Returns its length. */
size_t dpx_label_store(uint8_t *field, size_t limit, const char *text, size_t length);
/* Copies a text field out and terminates it; a length above the limit is cut. */
size_t dpx_text_load(char *text, size_t limit, const uint8_t *field, size_t length);

#endif
