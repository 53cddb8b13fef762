/* What the fuzz targets share: input taken piece by piece, and checks that end the program. */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../native/format/bulk.h"
#include "../../native/format/wire.h"

enum { BLOCK_MAX = DPX_BLOCK_MAX };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Holds in release builds too: a fuzzer without it finds nothing but crashes. */
#define MUST(condition, ...)                                                  \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: violated: %s\n", __FILE__, __LINE__, #condition); \
            fprintf(stderr, "  " __VA_ARGS__);                                \
            fputc('\n', stderr);                                              \
            abort();                                                          \
        }                                                                     \
    } while (0)

typedef struct input {
    const uint8_t *data;
    size_t left;
} input;

/* The next bytes; zeros when there are none left. */
static inline void take_bytes(input *in, void *into, size_t count)
{
    size_t got = count < in->left ? count : in->left;
    memset(into, 0, count);
    if (got > 0)
        memcpy(into, in->data, got);
    in->data += got;
    in->left -= got;
}

static inline uint8_t take8(input *in)
{
    uint8_t value;
    take_bytes(in, &value, sizeof value);
    return value;
}

static inline uint32_t take32(input *in)
{
    uint32_t value;
    take_bytes(in, &value, sizeof value);
    return value;
}

static inline uint64_t take64(input *in)
{
    uint64_t value;
    take_bytes(in, &value, sizeof value);
    return value;
}

static inline dpx_geometry shape_of(input *in)
{
    static const uint32_t hosts[] = {2, 3, 64, 113, 1009, 4096};
    static const uint32_t disks[] = {1, 3, 5, 3};
    uint8_t way = take8(in);
    dpx_geometry geometry = {.block_size = way & 1 ? 4096 : 512,
                             .max_hosts = hosts[(way >> 1 & 7) % 6],
                             .max_leases = way & 16 ? 1024 : 5,
                             .disks = disks[way >> 5 & 3],
                             .outage_tolerance = 40000000000,
                             .kill_grace = 10000000000,
                             .watchdog_timeout = 9000000000,
                             .claim_time = 1000000000,
                             .name = "fuzz"};
    memset(geometry.uuid.bytes, 0x5a, sizeof geometry.uuid.bytes);
    for (uint32_t d = 0; d < geometry.disks; d++)
        geometry.disk_generation[d] = d + 1;
    MUST(dpx_geometry_derive(&geometry), "shape %u", way);
    return geometry;
}

#endif
