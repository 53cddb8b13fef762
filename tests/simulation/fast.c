/* A cheaper checksum for most simulated histories.
 *
 * Half of a history's time would go into CRC-32C (some 80 ns a block, several blocks a read).
 * What the machines need of it is that sound blocks pass and damaged ones do not; that the
 * real one is right is tested elsewhere (tests/unit), and the sanitised build uses it.  The
 * linker puts this one in the place of dpx_block_crc (--wrap); all other code is what ships.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "../../native/format/layout.h"

uint32_t __wrap_dpx_block_crc(const void *data, size_t length);

typedef uint64_t lanes __attribute__((vector_size(16)));

#define FIELD offsetof(dpx_disk_common, crc32c)

/* Every 32-bit word is multiplied by an odd factor of its position: any one that changes
 * changes the sum. */
uint32_t __wrap_dpx_block_crc(const void *data, size_t length)
{
    const uint8_t *at = data;
    lanes sum[4] = {{1, 2}, {3, 4}, {5, 6}, {7, 8}};
    uint32_t field;
    memcpy(&field, at + FIELD, sizeof field);
    for (size_t i = 0; i < length; i += sizeof sum) {
        lanes part[4];
        memcpy(part, at + i, sizeof part);
        for (int n = 0; n < 4; n++)
            sum[n] = sum[n] + (sum[n] << 7) + part[n];
    }
    uint64_t all = 0;
    for (int n = 0; n < 4; n++)
        all = (all * 31 + sum[n][0]) * 31 + sum[n][1];
    /* The field itself counts as zero: subtract what it contributed. */
    uint64_t weight = (uint64_t)field << (FIELD % 8 * 8);
    for (size_t i = 64; i < length; i += 64)
        weight += weight << 7;
    for (int n = 7; n > (int)(FIELD / 8); n--)
        weight *= 31;
    all -= weight;
    all ^= all >> 32;
    return (uint32_t)(all ^ all >> 16);
}
