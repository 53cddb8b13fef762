/* An opened lockspace: its disks, verified.  Reading needs no more; joining starts here. */
#ifndef DPX_HOST_SPACE_H
#define DPX_HOST_SPACE_H

#include "../io/disk.h"
#include "failure.h"

typedef struct dpx_space dpx_space;

typedef struct dpx_space_disk {
    char path[512];
    bool assigned;        /* index is known (a superblock was read) */
    uint32_t index;
    bool online;
    dpx_status trouble;   /* why not */
    int error;            /* positive errno */
    bool network;
    bool block_device;
    uint64_t oldest;      /* issue of the oldest I/O still in flight, or 0 */
} dpx_space_disk;

/* Opens all paths at once, each in its own thread, and verifies every superblock.  A
 * majority must be sound; the others are tried again in the background.  Disks that belong
 * elsewhere, or twice, are errors and not merely absent.  timeout: ns. */
dpx_status dpx_space_open(const char *const *paths, uint32_t count, bool read_only, uint64_t timeout,
                          dpx_space **out, dpx_failure *failure);

/* Ends threads and frees; what hangs in the kernel is left behind.  Hosts first. */
void dpx_space_close(dpx_space *space);

const dpx_geometry *dpx_space_geometry(const dpx_space *space);
uint32_t dpx_space_disks(const dpx_space *space, dpx_space_disk *disks, uint32_t capacity);

/* Plain reads and writes for inspection and maintenance; data aligned to 4096.
 * disk: index in the lockspace.  dpx_space_write is for `repair` and `rebuild` alone. */
dpx_status dpx_space_read(dpx_space *space, uint32_t disk, uint64_t block, uint32_t count, void *data,
                          uint64_t timeout, dpx_failure *failure);
dpx_status dpx_space_write(dpx_space *space, uint32_t disk, uint64_t block, uint32_t count, const void *data,
                           uint64_t timeout, dpx_failure *failure);

#endif
