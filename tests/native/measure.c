/* What checking a lease area costs, and what the hop to an I/O thread adds to a write and a
 * read: both interleaved in one run, because disks have moods.
 *
 *   measure [FOLDER]
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "format/format.h"
#include "io/disk.h"

#define ROUNDS 4000u
#define AREA_BLOCKS 72u

static int ascending(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return left < right ? -1 : left > right;
}

static double median(uint64_t *times)
{
    qsort(times, ROUNDS, sizeof *times, ascending);
    return (double)times[ROUNDS / 2] / 1000;
}

static void measure_check(void)
{
    dpx_geometry geometry = {
        .block_size = 512, .max_hosts = 64, .max_leases = 1024, .disks = 1, .outage_tolerance = 4,
        .kill_grace = 3, .watchdog_timeout = 2, .claim_time = 1,
    };
    if (!dpx_geometry_derive(&geometry))
        exit(1);
    static _Alignas(4096) uint8_t area[AREA_BLOCKS * 512];
    static uint64_t times[ROUNDS];
    uint64_t at = dpx_header_block(&geometry, 9);
    unsigned flawed = 0;
    for (uint32_t i = 0; i < AREA_BLOCKS; i++)
        dpx_empty_encode(area + i * 512, &geometry, 0, at + i, 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        uint64_t start = dpx_now();
        for (uint32_t i = 0; i <= geometry.max_hosts; i++)
            flawed += dpx_block_check(area + i * 512, &geometry, i ? DPX_KIND_OWN : DPX_KIND_HEADER, 0,
                                      at + i) != DPX_SOUND;
        times[round] = dpx_now() - start;
    }
    printf("check of 65 blocks:  %7.1f us  (%u flawed)\n", median(times), flawed);
}

static void wake_caller(void *context, dpx_request *request)
{
    (void)request;
    sem_post(context);
}

static uint64_t bare(int fd, void *out, void *in)
{
    uint64_t start = dpx_now();
    if (pwrite(fd, out, 512, 512) != 512 || pread(fd, in, AREA_BLOCKS * 512, 0) != AREA_BLOCKS * 512)
        perror("bare I/O");
    return dpx_now() - start;
}

static uint64_t hop(dpx_disk *disk, dpx_lane lane, void *out, void *in)
{
    sem_t done;
    _Atomic uint64_t gate = UINT64_MAX;
    dpx_extent write = {.block = 1, .count = 1, .data = out};
    dpx_extent read = {.block = 0, .count = AREA_BLOCKS, .data = in};
    dpx_request request = {.write_count = 1, .read_count = 1, .writes = &write, .reads = &read};
    sem_init(&done, 0, 0);
    uint64_t start = dpx_now();
    dpx_disk_submit(disk, lane, &request, &gate, wake_caller, &done);
    while (sem_wait(&done) != 0)
        continue;
    uint64_t took = dpx_now() - start;
    if (request.error)
        fprintf(stderr, "error %d\n", request.error);
    sem_destroy(&done);
    return took;
}

int main(int count, char **arguments)
{
    char path[512];
    snprintf(path, sizeof path, "%s/dpx-measure-XXXXXX", count > 1 ? arguments[1] : "/var/tmp");
    int fd = mkstemp(path);
    uint8_t *buffer = dpx_buffer_new(2 * AREA_BLOCKS * 512);
    dpx_disk *disk;
    dpx_disk_facts facts;
    static uint64_t plain[ROUNDS], work[ROUNDS], heart[ROUNDS];
    measure_check();
    if (fd < 0 || !buffer || pwrite(fd, buffer, AREA_BLOCKS * 512, 0) < 0 || fsync(fd) != 0) {
        perror(path);
        return 1;
    }
    int direct = open(path, O_RDWR | O_DIRECT | O_DSYNC | O_CLOEXEC);
    int error = dpx_disk_start(path, false, 2, &disk);
    if (error == 0)
        error = dpx_disk_open(disk, dpx_now() + UINT64_C(5000000000), &facts);
    unlink(path);
    if (error != 0 || direct < 0) {
        fprintf(stderr, "%s: error %d\n", path, error);
        return 1;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        plain[i] = bare(direct, buffer, buffer + AREA_BLOCKS * 512);
        work[i] = hop(disk, DPX_LANE_WORK, buffer, buffer + AREA_BLOCKS * 512);
        heart[i] = hop(disk, DPX_LANE_HEART, buffer, buffer + AREA_BLOCKS * 512);
    }
    double base = median(plain), worker = median(work), beat = median(heart);
    printf("write and read:      %7.1f us  bare\n", base);
    printf("  by the work lane:  %7.1f us  x %.3f\n", worker, worker / base);
    printf("  by the heart lane: %7.1f us  x %.3f\n", beat, beat / base);
    dpx_disk_stop(disk, dpx_now() + UINT64_C(5000000000));
    return 0;
}
