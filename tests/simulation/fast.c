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

#include "format/layout.h"

uint32_t __wrap_dpx_block_crc(const void *data, size_t length);

typedef uint64_t lanes __attribute__((vector_size(64)));

#define FIELD offsetof(dpx_disk_common, crc32c)

static void add(lanes *sum, const uint8_t *at)
{
    lanes part;
    memcpy(&part, at, sizeof part);
    *sum = *sum + (*sum << 7) + part;
}

/* 64 bytes at a time in eight lanes, each weighted by its round (two sums side by side: the even and the odd rounds);
 * then every lane by an odd factor of its own: any one bit that flips changes the sum.  The field itself counts as
 * zero. */
uint32_t __wrap_dpx_block_crc(const void *data, size_t length)
{
    static const lanes factors = {0xbf58476d1ce4e5b9, 0x94d049bb133111eb, 0xbf58476d1ce4e5bd, 0x94d049bb133111ef,
                                  0xbf58476d1ce4e5c1, 0x94d049bb133111f3, 0xbf58476d1ce4e5c5, 0x94d049bb133111f7};
    const uint8_t *at = data;
    const size_t step = sizeof(lanes);
    uint32_t field;
    lanes even, odd;
    memcpy(&field, at + FIELD, sizeof field);
    memcpy(&even, at, step);
    memcpy(&odd, at + step, step);
    even[FIELD / 8] -= (uint64_t)field << (FIELD % 8 * 8);
    for (size_t i = 2 * step; i < length; i += 2 * step) {
        add(&even, at + i);
        add(&odd, at + i + step);
    }
    lanes sum = (even + (even << 5) + odd) * factors;
    uint64_t all = sum[0] + sum[1] + sum[2] + sum[3] + sum[4] + sum[5] + sum[6] + sum[7];
    all ^= all >> 32;
    return (uint32_t)(all ^ all >> 16);
}
