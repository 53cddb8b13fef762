/* Small lockspaces, initialised once per process and copied at the start of each history. */
#include "simulate.h"

#include <stdlib.h>
#include <string.h>

static struct preset {
    dpx_geometry geometry;
    bool ready;
    uint8_t *image[DPX_MAX_DISKS];
} presets[PRESETS];

static const uint64_t tolerances[] = {400, 500, 1000, 1000, 2000, 5000}; /* S, ms */

static void derive(struct preset *preset, uint32_t number)
{
    rng r = {.state = UINT64_C(0x70726573) * (number + 1)};
    dpx_geometry *g = &preset->geometry;
    uint32_t dice = number % 20;
    g->disks = dice < 11 ? 1 : dice < 19 ? 3 : 5;
    g->block_size = number % 12 == 7 ? 4096 : 512;
    g->max_hosts = 2 + rng_below(&r, MAX_SLOTS - 1);
    if (g->max_hosts < 4 && rng_below(&r, 3) > 0)
        g->max_hosts = 4;
    g->max_leases = 3 + rng_below(&r, MAX_AREAS - 2);
    g->outage_tolerance = tolerances[rng_below(&r, 6)] * DPX_MS;
    static const uint32_t kill_parts[] = {4, 8, 20};
    g->kill_grace = g->outage_tolerance / kill_parts[rng_below(&r, 3)];
    g->watchdog_timeout = g->kill_grace / (1 + rng_below(&r, 2));
    static const uint32_t claim_parts[] = {40, 20, 10, 5};
    g->claim_time = g->outage_tolerance / claim_parts[rng_below(&r, 4)];
    for (uint32_t i = 0; i < 16; i++)
        g->uuid.bytes[i] = (uint8_t)rng_next(&r);
    for (uint32_t d = 0; d < g->disks; d++)
        g->disk_generation[d] = 1;
    memcpy(g->name, "simulated", 10);
    g->created_at = 1;
    if (!dpx_geometry_derive(g)) {
        fprintf(stderr, "preset %u has no valid geometry\n", number);
        abort();
    }
    preset->ready = true;
}

const dpx_geometry *preset_geometry(uint32_t number)
{
    if (!presets[number].ready)
        derive(&presets[number], number);
    return &presets[number].geometry;
}

static void draw_image(struct preset *preset, uint32_t disk)
{
    const dpx_geometry *g = &preset->geometry;
    size_t bytes = (size_t)g->total_blocks * g->block_size;
    uint8_t *image = aligned_alloc(4096, (bytes + 4095) & ~(size_t)4095);
    if (!image)
        abort();
    for (uint64_t index = 1; index < g->total_blocks; index++)
        dpx_empty_encode(image + index * g->block_size, g, disk, index, 1);
    dpx_superblock_encode(image, g, disk, 1, 1);
    preset->image[disk] = image;
}

void name_of(uint32_t name, char *out, size_t *length)
{
    *length = 4;
    memcpy(out, "vm-0", 5);
    out[3] = (char)('0' + name);
}

/* A lease that exists from the start: its header as a creation long ago left it. */
static void write_header(world *w, uint32_t name, const dpx_uuid *uuid)
{
    const dpx_geometry *g = w->geometry;
    char text[8];
    size_t length;
    name_of(name, text, &length);
    uint32_t area = dpx_home_area(g, text, length);
    dpx_header header;
    for (;; area = (area + 1) % g->max_leases) {
        dpx_header_decode(disk_block(w, 0, dpx_header_block(g, area)), &header);
        if (header.state == DPX_LEASE_FREE)
            break;
    }
    header.sequence++;
    header.area = area;
    header.state = DPX_LEASE_IN_USE;
    header.lease = *uuid;
    header.first_ballot = DPX_BALLOT_SLOTS;
    header.created_at = 1;
    header.name_length = (uint8_t)length;
    memcpy(header.name, text, length + 1);
    for (uint32_t d = 0; d < g->disks; d++)
        dpx_header_encode(disk_block(w, d, dpx_header_block(g, area)), g, d, &header);
}

void template_load(world *w, uint32_t number)
{
    struct preset *preset = &presets[number];
    const dpx_geometry *g = w->geometry;
    for (uint32_t d = 0; d < g->disks; d++) {
        if (!preset->image[d])
            draw_image(preset, d);
        memcpy(w->disks[d], preset->image[d], (size_t)g->total_blocks * g->block_size);
    }
    for (uint32_t name = 0; name < w->plan.created; name++) {
        dpx_uuid uuid = uuid_draw(w);
        write_header(w, name, &uuid);
    }
}
