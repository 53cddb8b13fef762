/* What the tests of the host room share: lockspaces to work on, and short ways to ask. */
#ifndef DPX_TEST_HOSTS_H
#define DPX_TEST_HOSTS_H

#include "disks.h"
#include "host/host.h"

#define MS UINT64_C(1000000)

/* Where lockspaces lie: memory, unless the caller names a folder.  These tests are about
 * time, and disks of test machines have hiccups longer than the lifetimes used here. */
static inline bool prepare_hosts(int count, char **arguments, const char *program)
{
    static char *memory[] = {NULL, "/dev/shm"};
    if (count > 1 && arguments[1][0])
        return prepare_folder(count, arguments, program);
    return prepare_folder(access(memory[1], W_OK) == 0 ? 2 : 1, memory, program);
}

static inline dpx_geometry geometry_for(uint32_t disks, uint32_t hosts, uint32_t leases, uint64_t lifetime)
{
    static uint8_t serial;
    dpx_geometry geometry = {.block_size = 512,
                             .max_hosts = hosts,
                             .max_leases = leases,
                             .disks = disks,
                             .outage_tolerance = lifetime,
                             .kill_grace = 100 * MS,
                             .watchdog_timeout = 100 * MS,
                             .claim_time = 50 * MS,
                             .created_at = 1,
                             .name = "test"};
    geometry.uuid.bytes[0] = ++serial;
    geometry.uuid.bytes[15] = (uint8_t)getpid();
    for (uint32_t d = 0; d < disks; d++)
        geometry.disk_generation[d] = 1;
    CHECK(dpx_geometry_derive(&geometry));
    return geometry;
}

static inline void format_disk(const dpx_geometry *geometry, uint32_t disk, const char *path)
{
    size_t bytes = geometry->total_blocks * geometry->block_size;
    uint8_t *image = calloc(1, bytes);
    for (uint64_t block = 1; block < geometry->total_blocks; block++)
        dpx_empty_encode(image + block * geometry->block_size, geometry, disk, block, 1);
    dpx_superblock_encode(image, geometry, disk, 1, 1);
    int fd = open(path, O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0600);
    CHECK(fd >= 0 && write(fd, image, bytes) == (ssize_t)bytes && fsync(fd) == 0);
    close(fd);
    free(image);
}

/* paths[]: file names in the folder, made here. */
typedef struct lockspace {
    dpx_geometry geometry;
    char paths[DPX_MAX_DISKS][400];
    const char *list[DPX_MAX_DISKS];
} lockspace;

static inline void make_lockspace(lockspace *made, const char *name, const dpx_geometry *geometry)
{
    made->geometry = *geometry;
    for (uint32_t d = 0; d < geometry->disks; d++) {
        snprintf(made->paths[d], sizeof made->paths[d], "%s/%s.%u", folder, name, d);
        made->list[d] = made->paths[d];
        format_disk(geometry, d, made->paths[d]);
    }
}

static inline dpx_status open_status(const char *const *paths, uint32_t count, dpx_failure *failure)
{
    dpx_space *space = NULL;
    dpx_status status = dpx_space_open(paths, count, false, 5 * SECOND, &space, failure);
    CHECK((status == DPX_OK) == (space != NULL));
    dpx_space_close(space);
    return status;
}

static inline dpx_space *open_space(const lockspace *made)
{
    dpx_space *space = NULL;
    dpx_failure failure;
    dpx_status status = dpx_space_open(made->list, made->geometry.disks, false, 5 * SECOND, &space, &failure);
    if (!CHECK_EQ(status, DPX_OK)) {
        fprintf(stderr, "cannot open: %s (%s)\n", dpx_status_text(failure.status), failure.path);
        exit(2);
    }
    return space;
}

static inline dpx_join_options options_of(const char *name, uint8_t machine)
{
    dpx_join_options options = {.slot = DPX_ANY_SLOT, .software = 1};
    snprintf(options.host_name, sizeof options.host_name, "%s", name);
    options.machine.bytes[0] = machine;
    options.boot.bytes[0] = machine;
    return options;
}

static inline dpx_host *join_as(dpx_space *space, const char *name, uint8_t machine)
{
    dpx_join_options options = options_of(name, machine);
    dpx_failure failure;
    dpx_host *host = NULL;
    if (!CHECK_EQ(dpx_host_join(space, &options, 5 * SECOND, &host, &failure), DPX_OK)) {
        fprintf(stderr, "cannot join: %s (errno %d)\n", dpx_status_text(failure.status), failure.error);
        exit(2);
    }
    return host;
}

static inline dpx_ask ask_for(const char *name, enum dpx_mode mode)
{
    return (dpx_ask){
        .name = name, .name_length = strlen(name), .mode = mode, .label = "test", .label_length = 4};
}

static inline dpx_status take(dpx_host *host, dpx_ask *ask, uint64_t timeout, dpx_failure *failure)
{
    return dpx_host_acquire(host, ask, 1, true, timeout, failure);
}

static inline dpx_status let_go(dpx_host *host, const dpx_ask *ask)
{
    dpx_failure failure;
    return dpx_host_release(host, &ask->handle, 1, 5 * SECOND, &failure);
}

/* Waits for an event of this kind; others are passed over. */
static inline bool await_event(dpx_host *host, dpx_event_kind kind, uint64_t timeout, dpx_event *event)
{
    uint64_t deadline = dpx_now() + timeout;
    do {
        while (dpx_host_next_event(host, event))
            if (event->kind == kind)
                return true;
        usleep(2000);
    } while (dpx_now() < deadline);
    return false;
}

static inline void end_host(dpx_host *host, dpx_space *space)
{
    dpx_failure failure;
    CHECK_EQ(dpx_host_leave(host, 5 * SECOND, &failure), DPX_OK);
    CHECK_EQ(dpx_host_state(host).end, DPX_END_LEFT);
    dpx_host_destroy(host);
    dpx_space_close(space);
}

#endif
